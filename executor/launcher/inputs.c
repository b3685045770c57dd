/* Sources are the server's, which has verified them; what is bound nobody below may change or unmount. */
#include "inputs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../die.h"

enum { INPUTS_BYTES_MAX = 64 << 20 };

/* Binds a file or directory; a symlink is made again, since nothing can be mounted on one. */
static void bind_input(const char *source, const char *target)
{
	char link[4096];
	struct stat status;
	ssize_t length;
	int fd;

	if (lstat(source, &status))
		die("stat of %s", source);
	if (S_ISLNK(status.st_mode)) {
		length = readlink(source, link, sizeof(link) - 1);
		if (length < 0)
			die("readlink of %s", source);
		link[length] = 0;
		if (symlink(link, target))
			die("symlink %s", target);
		return;
	}
	if (S_ISDIR(status.st_mode)) {
		if (mkdir(target, 0755))
			die("mkdir of %s", target);
	} else {
		fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
		if (fd < 0)
			die("open of %s", target);
		close(fd);
	}
	if (mount(source, target, NULL, MS_BIND, NULL))
		die("mounting %s on %s", source, target);
}

void inputs_bind(void)
{
	size_t length = 0, room = 0;
	char *inputs = NULL;

	for (;;) {
		ssize_t count;

		if (length == room) {
			char *more = room < INPUTS_BYTES_MAX ? realloc(inputs, room = 2 * room + 65536) : NULL;

			if (!more)
				die_plainly("reading the inputs: more than %zu bytes", length);
			inputs = more;
		}
		count = read(0, inputs + length, room - length);
		if (count < 0)
			die("reading the inputs");
		if (count == 0)
			break;
		length += (size_t)count;
	}
	for (char *at = inputs; at < inputs + length;) {
		char *source = at, *target = memchr(source, 0, length - (size_t)(source - inputs));

		at = target ? memchr(target + 1, 0, length - (size_t)(target + 1 - inputs)) : NULL;
		if (!target || !at)
			die_plainly("reading the inputs: expected source and target, found the end");
		bind_input(source, target + 1);
		at++;
	}
	free(inputs);
}
