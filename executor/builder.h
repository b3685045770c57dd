/* The builder: PID 1 of a pid namespace of its own, so that when it ends everything that it started has ended. */
#ifndef BUILDER_H
#define BUILDER_H

#include <sys/types.h>

#include "job.h"
#include "sandbox.h"

struct builder {
	pid_t pid;
	int not_started;	/* errno of execve, or 0 */
};

/* Returns once the program runs, or could not be executed. */
struct builder builder_start(const struct job *job, const struct terminal *terminal);

#endif
