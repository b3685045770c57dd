/*
 * Frames go as they are. The kernel could be told of each what the sender has left undone, its checksum or its division
 * into packets, which is faster: but what it is told comes from a guest, and is read by the host's kernel.
 */
#include "tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../die.h"

int tap_open(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("opening /dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request))
		die("opening the port %s", name);
	return fd;
}

void tap_make(const char *name)
{
	int fd = tap_open(name);

	if (ioctl(fd, TUNSETPERSIST, 1))
		die("making the port %s", name);
	close(fd);
}
