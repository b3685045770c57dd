/*
 * Receives the job. The host is trusted to ask for whatever it likes, but not to be free of bugs: names are single
 * components, and everything that is held has a bound.
 */
#include "job.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "sandbox.h"

/* Every string of the job; only what is used of it takes memory. */
static char text[WORDS_BYTES_MAX];
static size_t used;

static char *copy(const struct frame *frame)
{
	char *start = text + used;

	if (memchr(frame->payload, 0, frame->length))
		fail_with("reading the job", "a string with a NUL in it");
	if (frame->length + 1 > sizeof(text) - used)
		fail_with("reading the job", "more than 8 MiB of arguments and environment");
	memcpy(start, frame->payload, frame->length + 1);
	used += frame->length + 1;
	return start;
}

static void add(struct words *words, const struct frame *frame)
{
	/* Doubles at every power of two. */
	if ((words->count & (words->count + 1)) == 0) {
		char **items = realloc(words->items, (2 * words->count + 2) * sizeof(*items));

		if (!items)
			fail("realloc", "the job");
		words->items = items;
	}
	words->items[words->count++] = copy(frame);
	words->items[words->count] = NULL;
}

static void check_name(const struct frame *frame)
{
	const char *name = (const char *)frame->payload;

	if (frame->length == 0 || frame->length > NAME_BYTES_MAX || strlen(name) != frame->length ||
	    strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		fail_with("reading the job: expected the name of a file, found", name);
}

static int create(int directory, const struct frame *frame, uid_t uid, gid_t gid)
{
	const char *name = (const char *)frame->payload;
	int fd;

	check_name(frame);
	fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("open", name);
	if (fchown(fd, uid, gid))
		fail("fchown", name);
	return fd;
}

static void append(int fd, const struct frame *frame)
{
	size_t done = 0;

	if (fd < 0)
		fail_with("reading the job", "contents of no file");
	while (done < frame->length) {
		ssize_t count = write(fd, frame->payload + done, frame->length - done);

		if (count < 0)
			fail("write", "a file of the job");
		done += (size_t)count;
	}
}

static uint32_t number(const uint8_t *bytes)
{
	return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void settle(struct job *job, const struct frame *frame)
{
	if (frame->length < 8 || frame->length - 8 > HOSTNAME_BYTES_MAX)
		fail_with("reading the job", "a frame RUN of the wrong length");
	if (!job->program || !job->argv.count)
		fail_with("reading the job", "no program, or no argument 0");
	if (!job->environment.items)
		job->environment.items = calloc(1, sizeof(char *));
	if (!job->environment.items)
		fail("calloc", "the environment");
	job->flags = number(frame->payload);
	job->processes_max = number(frame->payload + 4);
	memcpy(job->hostname, frame->payload + 8, frame->length - 8);
}

void job_receive(struct job *job, int build, int etc)
{
	int fd = -1;

	for (;;) {
		struct frame frame = channel_read();

		if (frame.type != FRAME_FILE_DATA && fd >= 0) {
			close(fd);
			fd = -1;
		}
		switch (frame.type) {
		case FRAME_PROGRAM:
			job->program = copy(&frame);
			break;
		case FRAME_ARGUMENT:
			add(&job->argv, &frame);
			break;
		case FRAME_VARIABLE:
			add(&job->environment, &frame);
			break;
		case FRAME_BUILD_FILE:
			fd = create(build, &frame, BUILDER, BUILDER);
			break;
		case FRAME_ETC_FILE:
			fd = create(etc, &frame, 0, 0);
			break;
		case FRAME_FILE_DATA:
			append(fd, &frame);
			break;
		case FRAME_OUTPUT:
			check_name(&frame);
			if (job->outputs.count == OUTPUTS_MAX)
				fail_with("reading the job", "more than 4096 outputs");
			add(&job->outputs, &frame);
			break;
		case FRAME_RUN:
			settle(job, &frame);
			return;
		default:
			fail_with("reading the job", "a frame that does not belong to it");
		}
	}
}

const char *job_output(const struct job *job, const uint8_t *name, size_t length)
{
	for (size_t i = 0; i < job->outputs.count; i++) {
		const char *output = job->outputs.items[i];

		if (strlen(output) == length && !memcmp(output, name, length))
			return output;
	}
	return NULL;
}
