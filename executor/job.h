/*
 * The job: what the host wants run. Files go to disk as they come; only argv, the environment and the names of the
 * outputs are held.
 */
#ifndef JOB_H
#define JOB_H

#include <stddef.h>
#include <stdint.h>

enum {
	WORDS_BYTES_MAX = 8 << 20,	/* execve itself takes no more than 6 MiB */
	OUTPUTS_MAX = 4096,
	NAME_BYTES_MAX = 255,
	HOSTNAME_BYTES_MAX = 64,
};

/* Strings one after the other, and a NULL-terminated array of them. */
struct words {
	char **items;
	size_t count;
};

struct job {
	char *program;
	struct words argv;
	struct words environment;
	struct words outputs;
	uint32_t flags;
	uint32_t processes_max;
	char hostname[HOSTNAME_BYTES_MAX + 1];
};

/* Reads frames until FRAME_RUN. Files are made in the directories `build` and `etc`. */
void job_receive(struct job *job, int build, int etc);

/* The output of that base name that was declared; NULL if none was. */
const char *job_output(const struct job *job, const uint8_t *name, size_t length);

#endif
