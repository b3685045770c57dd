/*
 * Starts one executor in a namespace of its own, and removes what it leaves; and does so for what a crash has left.
 *
 *   launcher run NAMESPACE SCRATCH ROOT BUILDER EXECUTOR NETWORK [CGROUP.PROCS...]    inputs on stdin, channel on 3
 *   launcher jail NAMESPACE ID GROUPS NETWORK [DIRECTORY...] -- PROGRAM [ARGUMENT...]
 *   launcher network NAMESPACE ID FOR PASTA RESOLVER PREFIX...
 *   launcher remove NAMESPACE DIRECTORY...
 *   launcher sweep FIRST COUNT
 *   launcher ticks
 *
 * NAMESPACE is the descriptor of the wide user namespace, in which 0 is the user that the server runs as. ROOT and
 * BUILDER are two further ids in it, for users and groups alike. The executor runs as ROOT and its builder as BUILDER:
 * neither is the server, so who gets out of the builder's namespace, and then out of the executor's, still owns
 * nothing. What only the server may read, the inputs, is bound into place before the executor begins.
 *
 * NETWORK is a process whose network the executor shares, or `none`: then it has one of its own with nothing in it. Such
 * a process is told by `network`, which is told of in network.h. Nothing that we start is ever in the host's. A program
 * in a jail shares nothing: it is given the port of that network as its descriptor 8.
 *
 * `run` ends once everything that it started is gone and SCRATCH is removed. SIGTERM makes that happen now. `jail`
 * becomes the program, as ID, with the directories as jail.h says; GROUPS is `keep` where the server's supplementary
 * groups are what lets it use a device, else `drop`. `sweep` kills whoever runs under one of COUNT ids from FIRST on,
 * and waits until they are gone. `ticks` writes what ticks.h says to stdout.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../channel.h"
#include "../die.h"
#include "jail.h"
#include "network.h"
#include "remove.h"
#include "tap.h"
#include "ticks.h"

enum { INPUTS_BYTES_MAX = 64 << 20, CGROUPS_MAX = 8 };

static long number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || end == text || value < 0)
		die_plainly("expected a number, found %s", text);
	return value;
}

/* Becomes id 0 of the wide namespace, whoever we were. Nothing that it starts needs the descriptor. */
static void enter(const char *descriptor, int keeps_groups)
{
	int namespace = (int)number(descriptor);

	if (setns(namespace, CLONE_NEWUSER))
		die("setns to the user namespace");
	close(namespace);
	if ((!keeps_groups && setgroups(0, NULL)) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		die("becoming id 0 of the user namespace");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 1))
		die("prctl");
}

static void make_directory(const char *path, mode_t mode, uid_t owner, gid_t group)
{
	if (mkdir(path, 0700) || chown(path, owner, group) || chmod(path, mode))
		die("making %s", path);
}

/* Where the executor starts; see sandbox.h. */
static void make_scratch(const char *scratch, uid_t root, gid_t builder)
{
	if (mkdir(scratch, 0700) || chdir(scratch))
		die("making %s", scratch);
	make_directory("root", 0750, root, builder);
	make_directory("root/nix", 0755, root, root);
	make_directory("root/nix/store", 01775, root, builder);
	make_directory("proc", 0755, root, root);
	if (chown(".", root, root))
		die("chown of %s", scratch);
}

/* Binds a file or directory; a symlink is made again, since nothing can be mounted on one. */
static void bind_input(const char *source, const char *target)
{
	char link[4096];
	struct stat status;
	ssize_t length;
	int fd;

	if (lstat(source, &status))
		die("stat of %s", source);
	if (S_ISLNK(status.st_mode)) {
		length = readlink(source, link, sizeof(link) - 1);
		if (length < 0)
			die("readlink of %s", source);
		link[length] = 0;
		if (symlink(link, target))
			die("symlink %s", target);
		return;
	}
	if (S_ISDIR(status.st_mode)) {
		if (mkdir(target, 0755))
			die("mkdir of %s", target);
	} else {
		fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
		if (fd < 0)
			die("open of %s", target);
		close(fd);
	}
	if (mount(source, target, NULL, MS_BIND, NULL))
		die("mounting %s on %s", source, target);
}

/* Reads `source NUL target NUL` until the end; targets are below the scratch directory. */
static void bind_inputs(void)
{
	size_t length = 0, room = 0;
	char *inputs = NULL;

	for (;;) {
		ssize_t count;

		if (length == room) {
			char *more = room < INPUTS_BYTES_MAX ? realloc(inputs, room = 2 * room + 65536) : NULL;

			if (!more)
				die_plainly("reading the inputs: more than %zu bytes", length);
			inputs = more;
		}
		count = read(0, inputs + length, room - length);
		if (count < 0)
			die("reading the inputs");
		if (count == 0)
			break;
		length += (size_t)count;
	}
	for (char *at = inputs; at < inputs + length;) {
		char *source = at, *target = memchr(source, 0, length - (size_t)(source - inputs));

		at = target ? memchr(target + 1, 0, length - (size_t)(target + 1 - inputs)) : NULL;
		if (!target || !at)
			die_plainly("reading the inputs: expected source and target, found the end");
		bind_input(source, target + 1);
		at++;
	}
	free(inputs);
}

static int open_to_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die("opening %s", path);
	return fd;
}

static void write_text(int fd, const char *text, const char *what)
{
	if (write(fd, text, strlen(text)) < 0)
		die("writing %s", what);
	close(fd);
}

/* As id 0 of the wide namespace, so that nobody below has any say over it. */
static void enter_network(const char *process)
{
	char path[64];
	int namespace;

	if (!strcmp(process, "none")) {
		if (unshare(CLONE_NEWNET))
			die("making a network namespace");
		return;
	}
	snprintf(path, sizeof(path), "/proc/%ld/ns/net", number(process));
	namespace = open(path, O_RDONLY | O_CLOEXEC);
	if (namespace < 0 || setns(namespace, CLONE_NEWNET))
		die("entering the network of process %s", process);
	close(namespace);
}

/* The child: binds while it is still id 0 of the wide namespace, then goes down into its own and becomes another. */
static _Noreturn void execute(const char *executor, const char *network, int ready, int go)
{
	char *const words[] = { "executor", NULL }, *const environment[] = { NULL };
	int program = open(executor, O_PATH | O_CLOEXEC);
	sigset_t none;
	char byte;

	if (program < 0)
		die("open of %s", executor);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || syscall(SYS_close_range, CHANNEL + 1, ~0u, CLOSE_RANGE_CLOEXEC))
		die("prctl");
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL))
		die("making mounts private");
	enter_network(network);
	bind_inputs();
	if (mount("proc", "proc", "proc", 0, NULL))
		die("mounting proc");
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		die("unshare");
	if (prctl(PR_SET_DUMPABLE, 1) || write(ready, "", 1) != 1 || read(go, &byte, 1) != 1)
		die("waiting for the user map");
	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		die("becoming id 0 of the build's namespace");
	sigemptyset(&none);
	/* The change of user has cleared it. If the parent has died meanwhile, so has the channel's other end. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || sigprocmask(SIG_SETMASK, &none, NULL))
		die("prctl");
	/* By descriptor: this user cannot walk to the program. */
	syscall(SYS_execveat, program, "", words, environment, AT_EMPTY_PATH);
	die("execveat of %s", executor);
}

static void write_map(pid_t pid, const char *file, long root, long builder)
{
	char path[64], text[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	snprintf(text, sizeof(text), "0 %ld 1\n1 %ld 1\n", root, builder);
	write_text(open_to_write(path), text, path);
}

static void await(pid_t child, const sigset_t *signals)
{
	int status;

	for (;;) {
		int signal = sigwaitinfo(signals, NULL);

		if (signal == SIGTERM)
			kill(child, SIGKILL);
		if (signal == SIGCHLD && waitpid(child, &status, WNOHANG) == child)
			return;
	}
}

static void run(char **words, char **cgroups)
{
	const char *scratch = words[1], *executor = words[4];
	long root = number(words[2]), builder = number(words[3]);
	int ready[2], go[2], entrances[CGROUPS_MAX], count = 0;
	sigset_t signals;
	char byte, text[16];
	pid_t child;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) || pipe2(ready, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		die("pipe");
	/* While we are still who may. */
	for (; cgroups[count] && count < CGROUPS_MAX; count++)
		entrances[count] = open_to_write(cgroups[count]);
	enter(words[0], 0);
	make_scratch(scratch, (uid_t)root, (gid_t)builder);
	child = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child < 0)
		die("clone");
	if (child == 0)
		execute(executor, words[5], ready[1], go[0]);
	close(ready[1]);
	close(CHANNEL);
	if (read(ready[0], &byte, 1) == 1) {
		snprintf(text, sizeof(text), "%d", child);
		for (int i = 0; i < count; i++)
			write_text(entrances[i], text, cgroups[i]);
		write_map(child, "uid_map", root, builder);
		write_map(child, "gid_map", root, builder);
		if (write(go[1], "", 1) != 1)
			die("starting the executor");
	}
	await(child, &signals);
	if (chdir("/") || remove_tree(scratch))
		die("removing %s", scratch);
}

/* Its place is free: whoever started us has left it so. */
static void open_port(const char *process)
{
	int port;

	enter_network(process);
	port = tap_open(NETWORK_PORT);
	if ((port != JAIL_PORT && dup2(port, JAIL_PORT) != JAIL_PORT) || fcntl(JAIL_PORT, F_SETFD, 0))
		die("dup2 of the port");
}

static void run_jailed(char **words)
{
	char **end = words + 4;
	int has_port = strcmp(words[3], "none");

	while (*end && strcmp(*end, "--"))
		end++;
	if (!*end || !end[1])
		die_plainly("expected -- and a program");
	*end = NULL;
	enter(words[0], !strcmp(words[2], "keep"));
	if (has_port)
		open_port(words[3]);
	jail((unsigned)number(words[1]), words + 4, end + 1, has_port ? JAIL_PORT : JAIL_PORT - 1);
}

static int belongs(const char *process, long first, long count)
{
	char path[64], line[256];
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/status", process);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		long uid = strncmp(line, "Uid:", 4) ? -1 : strtol(line + 4, NULL, 10);

		if (!strncmp(line, "State:\tZ", 8))
			break;
		found |= uid >= first && uid < first + count;
	}
	fclose(file);
	return found;
}

/* Kills what it finds and waits for it; returns how many there were. */
static int sweep(long first, long count)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	if (!processes)
		die("opening /proc");
	while ((entry = readdir(processes))) {
		struct pollfd ended = { .events = POLLIN };

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || !belongs(entry->d_name, first, count))
			continue;
		ended.fd = (int)syscall(SYS_pidfd_open, atoi(entry->d_name), 0);
		/* Again, now that the number cannot come to mean another. */
		if (ended.fd >= 0 && belongs(entry->d_name, first, count)) {
			found++;
			if (syscall(SYS_pidfd_send_signal, ended.fd, SIGKILL, NULL, 0) && errno != ESRCH)
				die("killing process %s", entry->d_name);
			while (poll(&ended, 1, -1) < 0 && errno == EINTR)
				;
		}
		if (ended.fd >= 0)
			close(ended.fd);
	}
	closedir(processes);
	return found;
}

int main(int count, char **words)
{
	pid_t parent = getppid();

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		die("the parent is gone");
	if (count >= 8 && !strcmp(words[1], "run")) {
		run(words + 2, words + 8);
	} else if (count >= 8 && !strcmp(words[1], "jail")) {
		run_jailed(words + 2);
	} else if (count >= 7 && !strcmp(words[1], "network")) {
		enter(words[2], 0);
		return network_run((unsigned)number(words[3]), words + 4);
	} else if (count >= 4 && !strcmp(words[1], "remove")) {
		enter(words[2], 0);
		for (char **path = words + 3; *path; path++)
			if (remove_tree(*path))
				die("removing %s", *path);
	} else if (count == 4 && !strcmp(words[1], "sweep")) {
		while (sweep(number(words[2]), number(words[3])) > 0)
			;
	} else if (count == 2 && !strcmp(words[1], "ticks")) {
		dprintf(1, "%ld\n", ticks_kilohertz());
	} else {
		dprintf(2, "usage: launcher run|jail|network|remove|sweep|ticks ...\n");
		return 2;
	}
	return 0;
}
