/*
 * A clone below /root, or a data directory below a private one, is out of the reach of the user that the server
 * becomes. So over the topmost directory that stops it a tmpfs is mounted, and what is needed is bound into that.
 * All is opened before anything is covered. Nobody else sees any of it.
 */
#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../die.h"

/* The length of the shortest prefix of `path` that the user may not search; 0 if there is none. */
static size_t blocked(const struct user *user, const char *path)
{
	char prefix[PATH_MAX];
	unsigned result = 0;
	int answer[2];
	pid_t child;

	if (pipe2(answer, O_CLOEXEC))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		if (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) ||
		    setresuid(user->uid, user->uid, user->uid))
			_exit(1);
		for (size_t length = 1; path[length - 1] && !result; length++) {
			if (path[length] != '/' && path[length])
				continue;
			memcpy(prefix, path, length);
			prefix[length] = 0;
			if (access(prefix, X_OK))
				result = (unsigned)length;
		}
		_exit(write(answer[1], &result, sizeof(result)) != sizeof(result));
	}
	close(answer[1]);
	if (read(answer[0], &result, sizeof(result)) != sizeof(result))
		die_plainly("asking whether user %u can reach %s", user->uid, path);
	close(answer[0]);
	waitpid(child, NULL, 0);
	return result;
}

static void make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			die("making %s", path);
		*at = '/';
	}
	if (mkdir(path, 0755) && errno != EEXIST)
		die("making %s", path);
}

static void bind(int fd, const char *path)
{
	char source[64], target[PATH_MAX];

	snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	snprintf(target, sizeof(target), "%s", path);
	make_parents(target);
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL))
		die("binding %s", path);
}

void reach(const struct user *user, const char *const *paths, size_t count)
{
	char covers[REACH_MAX][PATH_MAX] = { 0 };
	int fds[REACH_MAX];

	/* First: what is bound has to be of this namespace. */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		die("making a mount namespace");
	for (size_t i = 0; i < count; i++) {
		size_t length = blocked(user, paths[i]);

		fds[i] = open(paths[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fds[i] < 0)
			die("opening %s", paths[i]);
		/* The directory itself has to be usable: only the way to it can be mended. */
		if (length == strlen(paths[i]))
			die_plainly("user %u may not enter %s: chmod go+rx it", user->uid, paths[i]);
		memcpy(covers[i], paths[i], length);
	}
	for (size_t i = 0; i < count; i++) {
		if (!covers[i][0])
			continue;
		for (size_t before = 0; before <= i; before++)
			if (before == i && mount("drover", covers[i], "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"))
				die("mounting a tmpfs on %s", covers[i]);
			else if (!strcmp(covers[before], covers[i]))
				break;
		bind(fds[i], paths[i]);
	}
	for (size_t i = 0; i < count; i++) {
		close(fds[i]);
		if (blocked(user, paths[i]))
			die_plainly("user %u cannot reach %s", user->uid, paths[i]);
	}
}
