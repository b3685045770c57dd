/*
 * Makes the tree. What a builder finds in it, stock Nix has there too: names, owners and modes are Nix's.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "channel.h"

static const struct {
	const char *path;
	mode_t mode;
	uid_t owner;
} directories[] = {
	{ "root/bin", 0755, 0 },
	{ "root/build", 0700, 0 },
	{ "root/dev", 0755, 0 },
	{ "root/dev/pts", 0755, 0 },
	{ "root/dev/shm", 0755, 0 },
	{ ETC_DIRECTORY, 0755, 0 },
	{ "root/proc", 0755, 0 },
	{ "root/tmp", 01777, 0 },
	{ BUILD_DIRECTORY, 0700, BUILDER },
};

static const struct {
	const char *source;
	const char *target;
	uint32_t flag;	/* of FRAME_RUN, needed for it; 0: always there */
} binds[] = {
	{ BUILD_DIRECTORY, "root/build", 0 },
	{ "sh", "root/bin/sh", 0 },
	{ "/dev/full", "root/dev/full", 0 },
	{ "/dev/kvm", "root/dev/kvm", RUN_KVM },
	{ "/dev/null", "root/dev/null", 0 },
	{ "/dev/random", "root/dev/random", 0 },
	{ "/dev/tty", "root/dev/tty", 0 },
	{ "/dev/urandom", "root/dev/urandom", 0 },
	{ "/dev/zero", "root/dev/zero", 0 },
};

static const struct {
	const char *target;
	const char *path;
} links[] = {
	{ "/proc/self/fd", "root/dev/fd" },
	{ "/proc/self/fd/0", "root/dev/stdin" },
	{ "/proc/self/fd/1", "root/dev/stdout" },
	{ "/proc/self/fd/2", "root/dev/stderr" },
	{ "/dev/pts/ptmx", "root/dev/ptmx" },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

void sandbox_prepare(void)
{
	for (size_t i = 0; i < COUNT(directories); i++) {
		const char *path = directories[i].path;

		if (mkdir(path, 0700))
			fail("mkdir", path);
		if (chown(path, directories[i].owner, directories[i].owner))
			fail("chown", path);
		if (chmod(path, directories[i].mode))
			fail("chmod", path);
	}
}

/* A bind mount of a file needs a file to be mounted on. */
static void make_target(const char *source, const char *target)
{
	struct stat status;
	int fd;

	if (stat(source, &status))
		fail("stat", source);
	if (S_ISDIR(status.st_mode))
		return;
	fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("open", target);
	close(fd);
}

void sandbox_mount(const struct job *job)
{
	for (size_t i = 0; i < COUNT(binds); i++) {
		if (binds[i].flag && !(job->flags & binds[i].flag))
			continue;
		make_target(binds[i].source, binds[i].target);
		if (mount(binds[i].source, binds[i].target, NULL, MS_BIND, NULL))
			fail("mount", binds[i].target);
	}
	for (size_t i = 0; i < COUNT(links); i++)
		if (symlink(links[i].target, links[i].path))
			fail("symlink", links[i].path);
}

struct terminal sandbox_terminal(void)
{
	struct terminal terminal;
	struct termios settings;
	char path[32];
	int number, locked = 0;

	/* In our own mount namespace, and there because the builder sees where its terminal was opened. */
	if (mount("none", "/dev/pts", "devpts", 0, "newinstance,mode=0620,ptmxmode=0666"))
		fail("mount", "/dev/pts");
	terminal.master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (terminal.master < 0)
		fail("open", "ptmx");
	if (ioctl(terminal.master, TIOCSPTLCK, &locked) || ioctl(terminal.master, TIOCGPTN, &number))
		fail("ioctl", "ptmx");
	snprintf(path, sizeof(path), "/dev/pts/%d", number);
	terminal.slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal.slave < 0)
		fail("open", path);
	/* Else the builder could not open /dev/stderr. */
	if (fchown(terminal.slave, BUILDER, 0) || fchmod(terminal.slave, 0600))
		fail("fchown", path);
	if (tcgetattr(terminal.slave, &settings))
		fail("tcgetattr", path);
	cfmakeraw(&settings);
	if (tcsetattr(terminal.slave, TCSANOW, &settings))
		fail("tcsetattr", path);
	return terminal;
}
