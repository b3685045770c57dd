/* A control group of our own, given to the user that the server becomes: the limits of builds are set below it. */
#ifndef CGROUP_H
#define CGROUP_H

#include "user.h"

enum { CGROUPS_MAX = 4, CGROUP_BYTES_MAX = 4352 };

struct cgroups {
	/* `CONTROLLER=DIRECTORY`, of version 1, or `unified=DIRECTORY`. */
	char items[CGROUPS_MAX][CGROUP_BYTES_MAX];
	int count;
};

/* Moves this process into it. What cannot be had is said on stderr, and is no error. */
struct cgroups cgroup_make(const struct user *user);

#endif
