/*
 * The executor: makes the sandbox of Nix, runs one builder in it, and hands over its log and its outputs.
 *
 * It is PID 1 of a machine, or of a pid namespace, so that its end is the end of all that it started, and root there,
 * while the builder is somebody else. It decides nothing: argv, environment, files and limits are told by the host,
 * which also judges how the builder ended. What it needs to find where it starts stands in sandbox.h, what is said to
 * the host and when in channel.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "builder.h"
#include "channel.h"
#include "group.h"
#include "job.h"
#include "nar.h"
#include "pid1.h"
#include "resources.h"
#include "sandbox.h"

enum {
	LOG_CHUNK = 32 << 10,
	ENDING_MILLISECONDS = 100,	/* between the end of a process's files and its own */
	LOG_PATIENCE_MILLISECONDS = 2,	/* a terminal gives a few bytes at a time; frames are better large */
};

static int open_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		fail("open", path);
	return fd;
}

/* Sends what the terminal has; false once nobody can write to it any more. */
static int forward_log(int master)
{
	static char log[LOG_CHUNK];
	struct pollfd more = { .fd = master, .events = POLLIN };
	size_t length = 0;
	int open = 1;

	while (length < sizeof(log)) {
		ssize_t count = read(master, log + length, sizeof(log) - length);

		if (count < 0 && errno == EAGAIN) {
			/* Not again after a pause: a builder that writes slowly has its lines at once. */
			if (length == 0 || poll(&more, 1, LOG_PATIENCE_MILLISECONDS) <= 0)
				break;
			continue;
		}
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			open = 0;
			break;
		}
		length += (size_t)count;
	}
	if (length > 0)
		channel_write(FRAME_LOG, log, length);
	return open;
}

/*
 * Until the builder has closed its terminal or ended; then it is killed, as Nix does, and all with it. One that was
 * killed by somebody else closes its terminal just before it has ended, which is no doing of its own.
 */
static struct exited await(const struct builder *builder, int master)
{
	struct pollfd events[] = {
		{ .fd = master, .events = POLLIN },
		{ .fd = channel_fd(), .events = POLLRDHUP },
		{ .fd = (int)syscall(SYS_pidfd_open, builder->pid, 0), .events = POLLIN },
	};
	struct rusage usage;
	struct exited exited;
	int status, goes_on = 0;

	if (events[2].fd < 0)
		fail("pidfd_open", "the builder");
	for (;;) {
		if (channel_poll(events, 3) < 0)
			fail("poll", "the builder");
		if (events[1].revents)
			channel_end(0);
		if (events[0].revents && !forward_log(master)) {
			goes_on = poll(&events[2], 1, ENDING_MILLISECONDS) == 0;
			break;
		}
		if (events[2].revents && !events[0].revents)
			break;
	}
	kill(builder->pid, SIGKILL);
	/* What has much memory or many processes takes a while to be gone, and we live meanwhile. */
	while (!events[2].revents) {
		if (channel_poll(&events[1], 2) < 0)
			fail("poll", "the builder");
		if (events[1].revents)
			channel_end(0);
	}
	if (wait4(builder->pid, &status, 0, &usage) != builder->pid)
		fail("wait4", "the builder");
	close(events[2].fd);
	exited = resources_used(status, builder->not_started, &usage);
	if (goes_on && exited.kind == SIGNALLED)
		exited.kind = LOG_CLOSED;
	return exited;
}

static void tell_exit(const struct exited *exited, const struct job *job, int store)
{
	uint8_t payload[sizeof(*exited) + OUTPUTS_MAX];
	struct stat status;

	memcpy(payload, exited, sizeof(*exited));
	for (size_t i = 0; i < job->outputs.count; i++)
		payload[sizeof(*exited) + i] = !fstatat(store, job->outputs.items[i], &status, AT_SYMLINK_NOFOLLOW);
	channel_write(FRAME_EXITED, payload, sizeof(*exited) + job->outputs.count);
}

static void send_outputs(const struct job *job, int store)
{
	for (;;) {
		struct frame frame = channel_read();
		const char *output = job_output(job, frame.payload, frame.length);

		if (frame.type != FRAME_SEND || !output)
			fail_with("sending outputs", "asked for what is no output");
		nar_send(store, output, BUILDER);
	}
}

int main(int count, char **words)
{
	const uint8_t version[4] = { PROTOCOL_VERSION };
	/* What the kernel calls its first program. */
	const int is_machine = !strcmp(words[0], "/init");
	static struct job job;
	struct terminal terminal;
	struct builder builder;
	struct exited exited;
	int store;

	/* Executed by descriptor, it would be called by its number. */
	prctl(PR_SET_NAME, "executor");
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	if (is_machine) {
		pid1_start();
		pid1_wake();
	} else if (count > 1) {
		channel_open(atoi(words[1]));
	}
	fcntl(channel_fd(), F_SETFD, FD_CLOEXEC);
	store = open_directory(STORE);
	sandbox_prepare();
	channel_write(FRAME_READY, version, sizeof(version));
	if (is_machine)
		channel_beat(group_watch);
	job_receive(&job, open_directory(BUILD_DIRECTORY), open_directory(ETC_DIRECTORY));
	sandbox_mount(&job);
	terminal = sandbox_terminal();
	builder = builder_start(&job, &terminal);
	exited = await(&builder, terminal.master);
	tell_exit(&exited, &job, store);
	send_outputs(&job, store);
}
