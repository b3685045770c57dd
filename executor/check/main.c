/*
 * Runs under the sanitizers what parses and what writes: the receiver of jobs on frames that are wrong in every place,
 * and the NAR writer on trees of every kind. What they answer is for others to judge; here they must only survive.
 *
 *   check [SEED]
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../channel.h"
#include "../job.h"
#include "../nar.h"

enum { ROUNDS = 500, SANITIZER_STATUS = 99 };

static uint64_t state;

/* xorshift: the same tries for the same seed. */
static uint32_t chance(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16) % below;
}

static uint8_t bytes[64 << 10];
static size_t length;

static void add(uint8_t type, const char *payload, size_t size)
{
	uint8_t header[5] = { type, (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16), 0 };

	memcpy(bytes + length, header, sizeof(header));
	memcpy(bytes + length + sizeof(header), payload, size);
	length += sizeof(header) + size;
}

#define ADD(type, text) add(type, text, sizeof(text) - 1)

/* A job that is right but for frames too long or out of place, then wrong in a few bytes. */
static void compose(void)
{
	static const char long_name[1024];
	char name[8];

	length = 0;
	ADD(FRAME_PROGRAM, "/bin/sh");
	for (uint32_t i = chance(40) + 1; i > 0; i--)
		ADD(FRAME_ARGUMENT, "argument");
	for (uint32_t i = chance(40); i > 0; i--)
		ADD(FRAME_VARIABLE, "NAME=value");
	for (uint32_t i = chance(10); i > 0; i--) {
		add(FRAME_BUILD_FILE, name, (size_t)snprintf(name, sizeof(name), "f%u", i));
		ADD(FRAME_FILE_DATA, "contents");
	}
	for (uint32_t i = chance(20); i > 0; i--)
		ADD(FRAME_OUTPUT, "output");
	if (!chance(3))
		add((uint8_t)chance(FRAME_SEND + 2), long_name, chance(sizeof(long_name)));
	ADD(FRAME_RUN, "\0\0\0\0\377\0\0\0localhost");
	for (uint32_t wrong = chance(6); wrong > 0; wrong--)
		bytes[chance((uint32_t)length)] = (uint8_t)chance(256);
	if (!chance(4))
		length = chance((uint32_t)length);
}

/* Of this process's own, since files are made only where there are none. */
static int directory(const char *what)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%s.%d", what, getpid());
	mkdir(name, 0700);
	fd = open(name, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		exit(1);
	return fd;
}

/* In a child, since the end of what is tested is the end of its process. */
static void survives(void (*part)(int), int input, const char *what)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		/* Answers go nowhere. */
		signal(SIGPIPE, SIG_IGN);
		part(input);
		exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == SANITIZER_STATUS) {
		fprintf(stderr, "%s: status %x\n", what, status);
		exit(1);
	}
}

static void receive(int input)
{
	struct job job = { 0 };
	int build = directory("build"), etc = directory("etc");

	channel_open(input);
	job_receive(&job, build, etc);
	if (job.outputs.count > 0 && !job_output(&job, (uint8_t *)job.outputs.items[0], strlen(job.outputs.items[0])))
		exit(SANITIZER_STATUS);
}

static void write_nar(int output)
{
	channel_open(output);
	nar_send(AT_FDCWD, "tree", getuid());
}

/* Grows a tree by one entry somewhere in it. */
static void grow(void)
{
	static unsigned made;
	char path[4096] = "tree", target[64];
	uint32_t kind = chance(8);

	for (uint32_t depth = chance(70); depth > 0; depth--) {
		strcat(path, "/d");
		mkdir(path, 0755);
	}
	snprintf(path + strlen(path), 32, "/%u", made++);
	snprintf(target, sizeof(target), "%*s", (int)chance(60) + 1, "target");
	if (kind == 0)
		mkfifo(path, 0644);
	else if (kind < 3)
		symlink(target, path);
	else
		dprintf(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, kind < 5 ? 0755 : 0644), "%*s", (int)chance(100), "");
}

int main(int count, char **words)
{
	char place[] = "/tmp/drover-check-XXXXXX", remove[64];
	int failed;

	state = count > 1 ? strtoull(words[1], NULL, 10) | 1 : 88172645463325252u;
	if (!mkdtemp(place) || chdir(place))
		return 1;
	for (int round = 0; round < ROUNDS; round++) {
		int input = memfd_create("frames", 0);

		compose();
		if (write(input, bytes, length) != (ssize_t)length || lseek(input, 0, SEEK_SET))
			return 1;
		survives(receive, input, "receiving a job");
		close(input);
	}
	mkdir("tree", 0755);
	for (int round = 0; round < ROUNDS / 5; round++) {
		int output = open("/dev/null", O_RDWR);

		grow();
		survives(write_nar, output, "writing a NAR");
		close(output);
	}
	snprintf(remove, sizeof(remove), "rm -rf %s", place);
	failed = chdir("/") || system(remove);
	return failed ? 1 : 0;
}
