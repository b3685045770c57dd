/*
 * Removes a tree of any depth with two descriptors and no recursion: a directory found inside a directory is first
 * moved up to the top, so nothing is ever more than two levels down.
 *
 * What is removed was made by a build, and inputs may once have been mounted in it. So no symlink is followed, and no
 * mount point is entered: better a scratch directory that stays than a store that goes.
 */
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_below(int parent, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, parent, name, &how, sizeof(how));
}

/* Moves a directory up to the top, under a name that is free there. */
static int move_up(int from, const char *name, int top, uint64_t *moved)
{
	char place[32];
	int failed;

	do {
		snprintf(place, sizeof(place), "moved.%llu", (unsigned long long)(*moved)++);
		failed = renameat(from, name, top, place);
	} while (failed && (errno == ENOTEMPTY || errno == EEXIST));
	return failed;
}

/* Removes what is no directory and moves up what is one; -1 on the first failure. */
static int empty(int top, const char *name, uint64_t *moved)
{
	int fd = open_below(top, name), failed = 0;
	struct dirent *entry;
	DIR *stream;

	if (fd < 0)
		return -1;
	/* A build may have taken its own rights away. */
	if (fchmod(fd, 0700) || !(stream = fdopendir(fd))) {
		close(fd);
		return -1;
	}
	while (!failed && (errno = 0, entry = readdir(stream))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!unlinkat(fd, entry->d_name, 0))
			continue;
		if (errno != EISDIR || move_up(fd, entry->d_name, top, moved))
			failed = errno;
	}
	failed = failed ? failed : errno;
	closedir(stream);
	errno = failed;
	return failed ? -1 : 0;
}

/* One round over the top; more may have come up meanwhile. Returns how many entries it met. */
static int sweep(int top, uint64_t *moved)
{
	DIR *stream = fdopendir(dup(top));
	struct dirent *entry;
	int met = 0, failed = 0;

	if (!stream)
		return -1;
	rewinddir(stream);
	while (!failed && (errno = 0, entry = readdir(stream))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		met++;
		if (!unlinkat(top, entry->d_name, 0))
			continue;
		if (errno != EISDIR || empty(top, entry->d_name, moved) || unlinkat(top, entry->d_name, AT_REMOVEDIR))
			failed = errno;
	}
	closedir(stream);
	errno = failed;
	return failed ? -1 : met;
}

int remove_tree(const char *path)
{
	uint64_t moved = 0;
	int met, failed, top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (top < 0)
		return errno == ENOENT ? 0 : -1;
	do
		met = sweep(top, &moved);
	while (met > 0);
	failed = errno;
	close(top);
	errno = failed;
	return met < 0 ? -1 : rmdir(path);
}
