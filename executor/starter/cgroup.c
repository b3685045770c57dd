/*
 * Below the group that we were started in, `drover.PID` in each hierarchy. In version 1 the server itself is in it; in
 * version 2 in a leaf of it, because there only leaves have processes. So one without processes is left over from a
 * server that has died.
 */
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../die.h"

static const char *const controllers[] = { "memory", "cpu", "pids" };

#define UNIFIED_CONTROLLERS "+memory +cpu +pids"

enum { MAKE_TRIES = 100 };

/* Whether a comma-separated list has the word. */
static int has(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
		if (!strncmp(list, word, length) && strchr(",\n", list[length]))
			return 1;
	return 0;
}

/* The path of our group in the hierarchy of the controller; "" is version 2's. */
static int own_path(const char *controller, char *path)
{
	char line[PATH_MAX + 256];
	FILE *groups = fopen("/proc/self/cgroup", "re");
	int found = 0;

	while (groups && !found && fgets(line, sizeof(line), groups)) {
		char *list = strchr(line, ':'), *at = list ? strchr(list + 1, ':') : NULL;

		if (!at)
			continue;
		*at++ = 0;
		at[strcspn(at, "\n")] = 0;
		found = *controller ? has(list + 1, controller) : !list[1];
		if (found)
			snprintf(path, PATH_MAX, "%s", at);
	}
	if (groups)
		fclose(groups);
	return found;
}

/* Where the hierarchy is mounted, and which of its groups is there. */
static int mount_point(const char *controller, char *point, char *root)
{
	char line[2 * PATH_MAX + 512];
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	int found = 0;

	while (mounts && !found && fgets(line, sizeof(line), mounts)) {
		char *rest = strstr(line, " - "), type[64], options[512];

		found = rest && sscanf(rest, " - %63s %*s %511s", type, options) == 2 &&
			!strcmp(type, *controller ? "cgroup" : "cgroup2") && (!*controller || has(options, controller)) &&
			sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) == 2;
	}
	if (mounts)
		fclose(mounts);
	return found;
}

/* The directory of the group that we are in. */
static int own_group(const char *controller, char *directory)
{
	char path[PATH_MAX], point[PATH_MAX], root[PATH_MAX];
	size_t length;

	if (!own_path(controller, path) || !mount_point(controller, point, root))
		return 0;
	length = strcmp(root, "/") ? strlen(root) : 0;
	if (!strcmp(path, "/"))
		path[0] = 0;
	return snprintf(directory, PATH_MAX, "%s%s", point, strncmp(path, root, length) ? path : path + length) < PATH_MAX;
}

/* Whether a process is in the group itself or in the named one below it. */
static int populated(const char *directory, const char *below)
{
	char path[PATH_MAX + 64], byte;
	int fd, found;

	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", directory, below);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	found = fd >= 0 && read(fd, &byte, 1) == 1;
	if (fd >= 0)
		close(fd);
	return found;
}

/* Removes the groups in a directory whose names begin so; those of servers that live stay. */
static void remove_left_over(const char *directory, const char *prefix)
{
	DIR *groups = opendir(directory);
	struct dirent *entry;

	while (groups && (entry = readdir(groups))) {
		char path[PATH_MAX];

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >= PATH_MAX)
			continue;
		if (*prefix && !populated(path, ".") && !populated(path, "server"))
			remove_left_over(path, "");
		rmdir(path);
	}
	if (groups)
		closedir(groups);
}

static int write_file(const char *directory, const char *name, const char *text)
{
	char path[PATH_MAX + 64];
	int fd, failed;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	failed = write(fd, text, strlen(text)) < 0;
	close(fd);
	return failed ? -1 : 0;
}

static int give(const struct user *user, const char *directory, const char *name)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return chown(path, user->uid, user->gid);
}

/* What is there already, of a try before, is as good. */
static int make_group(const char *path)
{
	return mkdir(path, 0755) && errno != EEXIST ? -1 : 0;
}

static int try_to_make(const struct user *user, const char *controller, char *directory)
{
	char group[PATH_MAX], leaf[PATH_MAX + 16];

	if (!own_group(controller, group)) {
		errno = ENOTSUP;
		return -1;
	}
	remove_left_over(group, "drover.");
	if (snprintf(directory, PATH_MAX, "%s/drover.%d", group, getpid()) >= PATH_MAX)
		return -1;
	if (make_group(directory))
		return -1;
	if (*controller) {
		if (give(user, directory, ".") || give(user, directory, "cgroup.procs") || give(user, directory, "tasks"))
			return -1;
		return write_file(directory, "cgroup.procs", "0");
	}
	snprintf(leaf, sizeof(leaf), "%s/server", directory);
	if (make_group(leaf) || write_file(leaf, "cgroup.procs", "0"))
		return -1;
	/* Refused while other processes are in our own group, which is then not ours to divide. */
	if (write_file(group, "cgroup.subtree_control", UNIFIED_CONTROLLERS) ||
	    write_file(directory, "cgroup.subtree_control", UNIFIED_CONTROLLERS))
		return -1;
	if (give(user, directory, ".") || give(user, directory, "cgroup.procs") || give(user, leaf, "cgroup.procs"))
		return -1;
	return give(user, directory, "cgroup.subtree_control");
}

/* Another that starts just now takes a group that is not yet entered for left over. */
static int make(const struct user *user, const char *controller, char *directory)
{
	int failed = -1;

	for (int tries = 0; failed && tries < MAKE_TRIES; tries++) {
		failed = try_to_make(user, controller, directory);
		if (failed && errno != ENOENT && errno != ENODEV)
			break;
	}
	return failed;
}

static void add(struct cgroups *cgroups, const char *name, const char *directory)
{
	snprintf(cgroups->items[cgroups->count++], CGROUP_BYTES_MAX, "%s=%s", name, directory);
}

struct cgroups cgroup_make(const struct user *user)
{
	struct cgroups cgroups = { .count = 0 };
	char directory[PATH_MAX];

	if (!own_path("memory", directory)) {
		if (!make(user, "", directory))
			add(&cgroups, "unified", directory);
		else
			dprintf(2, "drover: no limits of memory, CPU and processes by control group: %s\n", strerror(errno));
		return cgroups;
	}
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++)
		if (!make(user, controllers[i], directory))
			add(&cgroups, controllers[i], directory);
		else
			dprintf(2, "drover: no limits by the control group %s: %s\n", controllers[i], strerror(errno));
	return cgroups;
}
