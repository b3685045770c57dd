/* Processes are found by number and held by descriptor, so that a number that comes to mean another is not killed. */
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../die.h"

static int belongs(const char *process, long first, long count)
{
	char path[64], line[256];
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/status", process);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file)) {
		long uid = strncmp(line, "Uid:", 4) ? -1 : strtol(line + 4, NULL, 10);

		if (!strncmp(line, "State:\tZ", 8))
			break;
		found |= uid >= first && uid < first + count;
	}
	fclose(file);
	return found;
}

int sweep(long first, long count)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	if (!processes)
		die("opening /proc");
	while ((entry = readdir(processes))) {
		struct pollfd ended = { .events = POLLIN };

		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || !belongs(entry->d_name, first, count))
			continue;
		ended.fd = (int)syscall(SYS_pidfd_open, atoi(entry->d_name), 0);
		/* Again, now that the number cannot come to mean another. */
		if (ended.fd >= 0 && belongs(entry->d_name, first, count)) {
			found++;
			if (syscall(SYS_pidfd_send_signal, ended.fd, SIGKILL, NULL, 0) && errno != ESRCH)
				die("killing process %s", entry->d_name);
			while (poll(&ended, 1, -1) < 0 && errno == EINTR)
				;
		}
		if (ended.fd >= 0)
			close(ended.fd);
	}
	closedir(processes);
	return found;
}
