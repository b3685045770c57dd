/*
 * Ranges are handed out by a socket in the abstract namespace: one name for each range, bound by whoever has it, free
 * as soon as that one is dead. The range of the data directory is remembered in it, for what a crash leaves behind.
 */
#include "ids.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../die.h"
#include "../launcher/remove.h"

/* Above what people, subordinate ranges and containers are given, below what overflows. */
enum { ROOT_FIRST = 0x70000000, ROOT_COUNT = 256 * IDS_COUNT };

struct range {
	unsigned first;
	unsigned count;
};

/* The first line of the file that gives a range to the user, by name or by number. */
static struct range subordinate(const char *file, const char *user, uid_t uid)
{
	struct range range = { 0 };
	char line[512], number[16];
	FILE *ranges = fopen(file, "re");

	snprintf(number, sizeof(number), "%u", uid);
	while (ranges && fgets(line, sizeof(line), ranges)) {
		char *name = strtok(line, ":"), *first = strtok(NULL, ":"), *count = strtok(NULL, ":\n");

		if (!count || (strcmp(name, user) && strcmp(name, number)))
			continue;
		range = (struct range){ (unsigned)strtoul(first, NULL, 10), (unsigned)strtoul(count, NULL, 10) };
		break;
	}
	if (ranges)
		fclose(ranges);
	if (range.count < IDS_COUNT)
		die_plainly("%s gives %s no range of %d ids: usermod --add-subuids and --add-subgids as root, or start as root",
			    file, user, IDS_COUNT);
	return range;
}

/* A descriptor that holds the range, or -1 if another server does. */
static int lock(unsigned first)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "drover/ids/%u", first);

	if (fd < 0)
		die("socket");
	if (!bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)))
		return fd;
	close(fd);
	return -1;
}

static unsigned remembered(const char *file)
{
	unsigned first = 0;
	FILE *stream = fopen(file, "re");

	if (stream && fscanf(stream, "%u", &first) != 1)
		first = 0;
	if (stream)
		fclose(stream);
	return first;
}

/* Nothing is followed: the directory belongs to the server, and this may be root. */
static void remember(const char *file, unsigned first)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || dprintf(fd, "%u\n", first) < 0 || close(fd))
		die("writing %s", file);
}

struct ids ids_take(const char *data, const char *user, uid_t uid, int as_root)
{
	struct range range = { ROOT_FIRST, ROOT_COUNT };
	struct ids ids = { 0, -1 };
	char file[4096], scratch[4096];
	unsigned before;

	if (!as_root) {
		struct range groups = subordinate("/etc/subgid", user, uid);

		range = subordinate("/etc/subuid", user, uid);
		if (groups.first != range.first)
			die_plainly("/etc/subuid and /etc/subgid begin at different ids for %s: make them the same", user);
		range.count = range.count < groups.count ? range.count : groups.count;
	}
	snprintf(file, sizeof(file), "%s/sub-uids", data);
	before = remembered(file);
	if (before >= range.first && before - range.first + IDS_COUNT <= range.count)
		ids = (struct ids){ before, lock(before) };
	for (unsigned at = range.first; ids.lock < 0 && at - range.first + IDS_COUNT <= range.count; at += IDS_COUNT)
		ids = (struct ids){ at, lock(at) };
	if (ids.lock < 0)
		die_plainly("every range of %d ids from %u on is another server's", IDS_COUNT, range.first);
	if (ids.first == before)
		return ids;
	snprintf(scratch, sizeof(scratch), "%s/scratch", data);
	if (before && as_root && remove_tree(scratch))
		die("removing %s", scratch);
	remember(file, ids.first);
	return ids;
}

/* Each map in one write, which is all that the kernel takes. */
static void write_map(pid_t child, const char *name, unsigned self, unsigned first)
{
	char file[64], text[64];
	int fd, length;

	snprintf(file, sizeof(file), "/proc/%d/%s", child, name);
	length = snprintf(text, sizeof(text), "0 %u 1\n1 %u %d\n", self, first, IDS_COUNT);
	fd = open(file, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)length) != length)
		die("writing the map of the user namespace");
	close(fd);
}

/* What an ordinary user needs a set-user-ID program for. */
static void run_map(const char *program, pid_t child, unsigned self, unsigned first)
{
	char words[4][16];
	pid_t pid;
	int status;

	snprintf(words[0], sizeof(words[0]), "%d", child);
	snprintf(words[1], sizeof(words[1]), "%u", self);
	snprintf(words[2], sizeof(words[2]), "%u", first);
	snprintf(words[3], sizeof(words[3]), "%d", IDS_COUNT);
	pid = fork();
	if (pid == 0) {
		execlp(program, program, words[0], "0", words[1], "1", "1", words[2], words[3], (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("running %s", program);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		die_plainly("%s is missing: install the package uidmap, or start as root", program);
	if (status)
		die_plainly("%s refused the range from %u: see /etc/subuid and /etc/subgid", program, first);
}

int ids_namespace(const struct ids *ids, uid_t uid, gid_t gid, int as_root)
{
	int ready[2], done[2], fd;
	char path[64], byte;
	pid_t child;

	if (pipe2(ready, O_CLOEXEC) || pipe2(done, O_CLOEXEC))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		close(done[1]);
		/* Whoever is the effective user when it is made owns it, and may enter it. */
		if (as_root && (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid)))
			die("becoming user %u", uid);
		if (unshare(CLONE_NEWUSER))
			die("making a user namespace (see user.max_user_namespaces; none can be made inside a chroot)");
		if (write(ready[1], "", 1) != 1 || read(done[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	if (as_root) {
		write_map(child, "uid_map", uid, ids->first);
		write_map(child, "gid_map", gid, ids->first);
	} else {
		run_map("newuidmap", child, uid, ids->first);
		run_map("newgidmap", child, gid, ids->first);
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/user", child);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		die("opening %s", path);
	close(done[1]);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(done[0]);
	return fd;
}
