/*
 * A builder that needs more than its machine has is killed whole, and counted: without a limit below the machine's own
 * the kernel might kill one process of many, and nobody could tell whether it was for lack of memory.
 */
#include "group.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "channel.h"

#define GROUP GROUPS_DIRECTORY "/build"

/* What the kernel takes beside its page cache for a builder of many processes, and the executor. */
enum { RESERVE_BYTES = 48 << 20 };

/* Of memory.stat: what is neither a file's nor a cache's, and so has to stay. */
static const char *const held[] = { "anon ", "shmem ", "pagetables ", "kernel_stack ", "slab_unreclaimable " };

static int made;
static uint64_t held_bytes_max;

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail("write", path);
	close(fd);
}

void group_make(void)
{
	struct sysinfo machine;
	char limit[32];

	if (sysinfo(&machine))
		fail("sysinfo", "the machine's memory");
	snprintf(limit, sizeof(limit), "%lld", (long long)machine.totalram * machine.mem_unit - RESERVE_BYTES);
	put(GROUPS_DIRECTORY "/cgroup.subtree_control", "+memory");
	if (mkdir(GROUP, 0755))
		fail("mkdir", GROUP);
	put(GROUP "/memory.max", limit);
	put(GROUP "/memory.oom.group", "1");
	made = 1;
}

void group_take(pid_t pid)
{
	char text[16];

	if (!made)
		return;
	snprintf(text, sizeof(text), "%d", pid);
	put(GROUP "/cgroup.procs", text);
}

/* The number behind `name`, which begins a line; the first number of all, if `name` is empty. */
static uint64_t counted(const char *path, const char *name)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (length < 0)
		fail("read", path);
	close(fd);
	text[length] = 0;
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, strlen(name)))
			return strtoull(line + strlen(name), NULL, 10);
	}
	return UNKNOWN;
}

void group_watch(void)
{
	uint64_t bytes = 0;

	if (!made)
		return;
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		uint64_t some = counted(GROUP "/memory.stat", held[i]);

		bytes += some == UNKNOWN ? 0 : some;
	}
	if (bytes > held_bytes_max)
		held_bytes_max = bytes;
}

void group_count(struct exited *exited)
{
	if (!made)
		return;
	if (held_bytes_max > exited->resident_bytes_max)
		exited->resident_bytes_max = held_bytes_max;
	exited->memory_peak_bytes = counted(GROUP "/memory.peak", "");
	exited->oom_kills = counted(GROUP "/memory.events", "oom_kill ");
	exited->user_microseconds = counted(GROUP "/cpu.stat", "user_usec ");
	exited->system_microseconds = counted(GROUP "/cpu.stat", "system_usec ");
}
