/* Over the directory, in which there is nothing else, since nothing can be mounted on what is not there. */
#include "tun.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { TUN_MAJOR = 10, TUN_MINOR = 200 };

static const char directory[] = "/dev/net", device[] = "/dev/net/tun";

void tun_ensure(void)
{
	struct stat status;

	if (!stat(device, &status) && (status.st_mode & 0006) == 0006)
		return;
	if (mount("drover", directory, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k"))
		return;
	if (mknod(device, S_IFCHR | 0666, makedev(TUN_MAJOR, TUN_MINOR)) || chmod(device, 0666))
		umount(directory);
}
