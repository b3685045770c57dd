/* The control group of the builder, in a machine of its own; a process of the host is in one that the host made. */
#ifndef GROUP_H
#define GROUP_H

#include <sys/types.h>

#include "resources.h"

#define GROUPS_DIRECTORY "/sys/fs/cgroup"

/* Makes it, with all the machine's memory but what the kernel and the executor need. */
void group_make(void);

/* Puts a process into it, if there is one. */
void group_take(pid_t pid);

/* Looks how much is held at the moment of what could not be given back. */
void group_watch(void);

/* Adds what it has counted and seen; nothing, if there is none. */
void group_count(struct exited *exited);

#endif
