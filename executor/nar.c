/*
 * The NAR writer: iterative, with a stack of open directories, and nothing followed that is a symlink.
 *
 * Only called when nobody is left who could change what it reads. Names are sorted bytewise. Of the metadata only the
 * owner's x counts, so hard links, times and other bits make no difference.
 */
#include "nar.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"

/* With its header as long as a power of two: the port of a machine takes 32 KiB at a time. */
enum { CHUNK = FRAME_MAX - HEADER_BYTES };

static uint8_t whole[FRAME_MAX];
static uint8_t *const chunk = whole + HEADER_BYTES;
static size_t filled;

static void flush(void)
{
	if (filled > 0)
		channel_write_whole(FRAME_NAR_DATA, whole, filled);
	filled = 0;
}

static void put(const void *bytes, size_t length)
{
	const uint8_t *from = bytes;

	while (length > 0) {
		size_t part = length < CHUNK - filled ? length : CHUNK - filled;

		memcpy(chunk + filled, from, part);
		filled += part;
		from += part;
		length -= part;
		if (filled == CHUNK)
			flush();
	}
}

static void put_number(uint64_t value)
{
	uint8_t bytes[8];

	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	put(bytes, sizeof(bytes));
}

static void put_padding(uint64_t length)
{
	static const uint8_t zeros[8];

	put(zeros, -length & 7);
}

static void put_bytes(const void *bytes, size_t length)
{
	put_number(length);
	put(bytes, length);
	put_padding(length);
}

static void put_words(const char *const *words)
{
	for (; *words; words++)
		put_bytes(*words, strlen(*words));
}

#define PUT(...) put_words((const char *const[]){ __VA_ARGS__, NULL })

/* A directory under way. */
struct level {
	int fd;
	char *names;		/* one after the other, each with its NUL */
	char **sorted;
	size_t count;
	size_t next;
	size_t path_length;	/* of the path up to and with this directory */
};

static struct level stack[NAR_DEPTH_MAX + 1];
static int depth;
static char path[(NAR_DEPTH_MAX + 2) * (NAME_MAX + 1)];

static void end_levels(void)
{
	for (; depth > 0; depth--) {
		close(stack[depth - 1].fd);
		free(stack[depth - 1].names);
		free(stack[depth - 1].sorted);
	}
}

/* The host learns why, and takes nothing of what it has been sent. */
static int refuse(enum refusal reason)
{
	uint8_t payload[1 + sizeof(path)];
	size_t length = strlen(path);

	payload[0] = (uint8_t)reason;
	memcpy(payload + 1, path, length);
	end_levels();
	filled = 0;
	channel_write(FRAME_NAR_REFUSED, payload, 1 + length);
	return -1;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads the names of the directory; -1 if there are more than are held. */
static int read_names(struct level *level)
{
	DIR *stream = fdopendir(dup(level->fd));
	size_t used = 0, room = 0;
	struct dirent *entry;
	char *at;

	if (!stream)
		fail("fdopendir", path);
	while ((errno = 0, entry = readdir(stream))) {
		size_t length = strlen(entry->d_name) + 1;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (used + length + (level->count + 1) * sizeof(char *) > NAR_DIRECTORY_BYTES_MAX) {
			closedir(stream);
			return -1;
		}
		if (used + length > room) {
			char *names = realloc(level->names, room = 2 * room + 4096);

			if (!names)
				fail("realloc", path);
			level->names = names;
		}
		memcpy(level->names + used, entry->d_name, length);
		used += length;
		level->count++;
	}
	if (errno)
		fail("readdir", path);
	closedir(stream);
	level->sorted = calloc(level->count + 1, sizeof(char *));
	if (!level->sorted)
		fail("calloc", path);
	at = level->names;
	for (size_t i = 0; i < level->count; i++, at += strlen(at) + 1)
		level->sorted[i] = at;
	qsort(level->sorted, level->count, sizeof(char *), compare);
	return 0;
}

static int open_level(int parent, const char *name)
{
	struct level *level = &stack[depth];

	if (depth > NAR_DEPTH_MAX)
		return refuse(REFUSED_DEPTH);
	*level = (struct level){ .path_length = strlen(path) };
	level->fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (level->fd < 0)
		fail("open", path);
	depth++;
	if (read_names(level))
		return refuse(REFUSED_ENTRIES);
	PUT("(", "type", "directory");
	return 0;
}

static void put_file(int parent, const char *name, const struct stat *status)
{
	uint64_t left = (uint64_t)status->st_size;
	int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		fail("open", path);
	PUT("(", "type", "regular");
	if (status->st_mode & S_IXUSR)
		PUT("executable", "");
	PUT("contents");
	put_number(left);
	while (left > 0) {
		size_t room = CHUNK - filled;
		ssize_t count = read(fd, chunk + filled, left < room ? left : room);

		if (count <= 0)
			fail("read", path);
		filled += (size_t)count;
		left -= (uint64_t)count;
		if (filled == CHUNK)
			flush();
	}
	put_padding((uint64_t)status->st_size);
	PUT(")");
	close(fd);
}

static void put_symlink(int parent, const char *name)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(parent, name, target, sizeof(target));

	if (length < 0)
		fail("readlink", path);
	PUT("(", "type", "symlink", "target");
	put_bytes(target, (size_t)length);
	PUT(")");
}

/* Writes a file or a symlink, or opens a directory; -1 once it has been refused. */
static int put_node(int parent, const char *name, uid_t owner)
{
	struct stat status;

	if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW)) {
		if (depth == 0 && errno == ENOENT)
			return refuse(REFUSED_MISSING);
		fail("stat", path);
	}
	if (depth == 0 && (status.st_uid != owner ||
			   (!S_ISLNK(status.st_mode) && (status.st_mode & (S_IWGRP | S_IWOTH)))))
		return refuse(REFUSED_SUSPICIOUS);
	if (status.st_uid != owner)
		return refuse(REFUSED_OWNERSHIP);
	switch (status.st_mode & S_IFMT) {
	case S_IFREG:
		put_file(parent, name, &status);
		return 0;
	case S_IFLNK:
		put_symlink(parent, name);
		return 0;
	case S_IFDIR:
		return open_level(parent, name);
	default:
		return refuse(REFUSED_TYPE);
	}
}

/* The next entry of the innermost directory, or its end. */
static int step(uid_t owner)
{
	struct level *level = &stack[depth - 1];
	const char *name;
	int before = depth;

	path[level->path_length] = 0;
	if (level->next == level->count) {
		close(level->fd);
		free(level->names);
		free(level->sorted);
		depth--;
		PUT(")");
		/* Also of the entry that the directory was. */
		if (depth > 0)
			PUT(")");
		return 0;
	}
	name = level->sorted[level->next++];
	snprintf(path + level->path_length, sizeof(path) - level->path_length, "/%s", name);
	PUT("entry", "(", "name", name, "node");
	if (put_node(level->fd, name, owner))
		return -1;
	if (depth == before)
		PUT(")");
	return 0;
}

void nar_send(int store, const char *name, uid_t owner)
{
	snprintf(path, sizeof(path), "%s", name);
	filled = 0;
	PUT("nix-archive-1");
	if (put_node(store, name, owner))
		return;
	while (depth > 0)
		if (step(owner))
			return;
	flush();
	channel_write(FRAME_NAR_END, NULL, 0);
}
