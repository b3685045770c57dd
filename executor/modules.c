/* Each module after those that it needs, which the composer of the initramfs has seen to. */
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "channel.h"

enum { NAME_BYTES_MAX = 256 };

static void load(int directory, const char *name)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("open", name);
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		fail("finit_module", name);
	close(fd);
	unlinkat(directory, name, 0);
}

void modules_load(int initramfs, const char *list)
{
	int directory = openat(initramfs, "modules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int order = directory < 0 ? -1 : openat(directory, list, O_RDONLY | O_CLOEXEC);
	FILE *names = order < 0 ? NULL : fdopen(order, "r");
	char name[NAME_BYTES_MAX];

	if (!names)
		fail("open", list);
	while (fgets(name, sizeof(name), names)) {
		name[strcspn(name, "\n")] = 0;
		load(directory, name);
	}
	fclose(names);
	close(directory);
}
