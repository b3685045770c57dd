/*
 * Devices are there when their driver's module has loaded; what the host does about them comes a moment later. It is
 * looked again, without an end: the host has the deadline.
 */
#include "devices.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"

static void wait_a_little(void)
{
	static const struct timespec millisecond = { .tv_nsec = 1000000 };

	nanosleep(&millisecond, NULL);
}

/* Whether the first line of a file is this. */
static int says(const char *directory, const char *device, const char *file, const char *text)
{
	char path[320], line[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "%s/%.64s/%s", directory, device, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	length = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (length < 0)
		return 0;
	line[length] = 0;
	line[strcspn(line, "\n")] = 0;
	return !strcmp(line, text);
}

/* The path of the device in /dev whose directory in `class` has a file that says `text`; 0 while there is none. */
static int find(const char *class, const char *file, const char *text, char *path, size_t size)
{
	DIR *devices = opendir(class);
	struct dirent *entry;
	int found = 0;

	if (!devices)
		return 0;
	while (!found && (entry = readdir(devices))) {
		found = says(class, entry->d_name, file, text);
		if (found)
			snprintf(path, size, "/dev/%.48s", entry->d_name);
	}
	closedir(devices);
	return found && !access(path, F_OK);
}

int device_port(const char *name)
{
	struct pollfd port = { 0 };
	char path[64];

	while (!find("/sys/class/virtio-ports", "name", name, path, sizeof(path)))
		wait_a_little();
	/* Else a write waits for ever once the host has gone, where a poll would tell. */
	port.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port.fd < 0)
		fail("open", path);
	/* Until then reading finds an end. */
	while (poll(&port, 1, 0) > 0 && port.revents & POLLHUP)
		wait_a_little();
	return port.fd;
}

void device_disk(const char *serial, char *path, size_t size)
{
	while (!find("/sys/block", "serial", serial, path, size))
		wait_a_little();
}
