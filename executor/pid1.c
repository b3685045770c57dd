/*
 * Brings a machine up, in the order in which each step needs the one before. What fails is told on the channel once
 * there is one, and before that on the console; either way the machine ends.
 */
#include "pid1.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "devices.h"
#include "group.h"
#include "loopback.h"
#include "modules.h"
#include "sandbox.h"
#include "wire.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum {
	LAST_WORDS_MILLISECONDS = 2000,
	OPEN_FILES_MAX = 524288,	/* as systemd gives it; the kernel's own is 4096 */
	SEED_BYTES = 32,
};

/* Disks are mounted later, once they are there. */
static const struct {
	const char *type;
	const char *target;
	const char *options;
} mounts[] = {
	{ "devtmpfs", "/dev", "mode=0755" },
	{ "proc", "/proc", NULL },
	{ "sysfs", "/sys", NULL },
	{ "cgroup2", GROUPS_DIRECTORY, NULL },
};

static const char *const directories[] = { "/dev/pts", "/store", "/scratch" };

/* What a distribution sets at boot, and builders have come to expect. */
static const struct {
	const char *path;
	const char *value;
} settings[] = {
	{ "/proc/sys/kernel/pid_max", "4194304" },
	{ "/proc/sys/fs/protected_hardlinks", "1" },
	{ "/proc/sys/fs/protected_symlinks", "1" },
	{ "/proc/sys/fs/protected_fifos", "1" },
	{ "/proc/sys/fs/protected_regular", "2" },
	/* Who asks at once for more than there is would be refused, and fail; killed for it instead, it gets more. */
	{ "/proc/sys/vm/overcommit_memory", "1" },
	/* Should there be a network, the host alone says what its addresses are. */
	{ "/proc/sys/net/ipv6/conf/default/accept_ra", "0" },
};

/* As the launcher makes it of a directory of the host. */
static const struct {
	const char *path;
	mode_t mode;
	gid_t group;
} places[] = {
	{ "root", 0750, BUILDER },
	{ "root/nix", 0755, 0 },
	{ STORE, 0755, 0 },
	{ "proc", 0755, 0 },
	{ "upper", 01775, BUILDER },	/* shows through as the store directory */
	{ "work", 0700, 0 },
};

/* What the kernel has unpacked, until the machine is told its job. */
static int initramfs;

/* Whoever ends with an error still has words on their way: the host closes the channel when it has read them. */
static void end_machine(int status)
{
	struct pollfd host = { .fd = channel_fd() };

	if (status && host.fd >= 0)
		poll(&host, 1, LAST_WORDS_MILLISECONDS);
	reboot(RB_AUTOBOOT);
}

/* No root can be pivoted away from the one that the kernel unpacks into, so the executor goes to another. */
static void leave_initramfs(void)
{
	initramfs = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (initramfs < 0)
		fail("open", "/");
	if (mkdir("/new", 0755) || mount("none", "/new", "tmpfs", 0, "mode=0755"))
		fail("mount", "/new");
	if (chdir("/new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("moving to", "/new");
}

static void mount_all(void)
{
	for (size_t i = 0; i < COUNT(mounts); i++) {
		/* Those below another's are there already. */
		mkdir(mounts[i].target, 0755);
		if (mount("none", mounts[i].target, mounts[i].type, 0, mounts[i].options))
			fail("mount", mounts[i].target);
	}
	for (size_t i = 0; i < COUNT(directories); i++)
		if (mkdir(directories[i], 0755))
			fail("mkdir", directories[i]);
}

static void set_up_kernel(void)
{
	static const struct rlimit files = { OPEN_FILES_MAX, OPEN_FILES_MAX };
	static const struct rlimit processes = { RLIM_INFINITY, RLIM_INFINITY };

	for (size_t i = 0; i < COUNT(settings); i++) {
		int fd = open(settings[i].path, O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, settings[i].value, strlen(settings[i].value)) < 0)
			fail("write", settings[i].path);
		close(fd);
	}
	if (setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_NPROC, &processes))
		fail("setrlimit", "the first process");
	if (loopback_raise())
		fail("ioctl", "lo");
}

/* Whose copy we are looked for partitions on another disk, and may have kept what it read. */
static void forget_contents(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, BLKFLSBUF, 0))
		fail("ioctl", path);
	close(fd);
}

static void mount_disk(const char *serial, const char *target, const char *type, unsigned long flags)
{
	char path[64];

	device_disk(serial, path, sizeof(path));
	forget_contents(path);
	if (mount(path, target, type, flags, NULL))
		fail("mount", target);
}

/* Out of the initramfs, which is as good as gone. */
static void copy_shell(void)
{
	int from = openat(initramfs, "sh", O_RDONLY | O_CLOEXEC);
	int to = open("sh", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	ssize_t count;

	if (from < 0 || to < 0)
		fail("open", "sh");
	do
		count = sendfile(to, from, NULL, 1 << 20);
	while (count > 0);
	if (count < 0)
		fail("sendfile", "sh");
	close(from);
	close(to);
	unlinkat(initramfs, "sh", 0);
}

/* What sandbox.h describes, on the scratch disk: the store is the inputs, and above them what the build adds. */
static void make_places(void)
{
	if (chdir("/scratch"))
		fail("chdir", "/scratch");
	for (size_t i = 0; i < COUNT(places); i++) {
		const char *path = places[i].path;

		if (mkdir(path, 0700) || chown(path, 0, places[i].group) || chmod(path, places[i].mode))
			fail("mkdir", path);
	}
	copy_shell();
	if (mount("none", "proc", "proc", 0, NULL))
		fail("mount", "proc");
	/* Volatile: nothing of it is to outlive the machine, so nothing of it is ever synced. */
	if (mount("overlay", STORE, "overlay", MS_NOSUID | MS_NODEV | MS_NOATIME,
		  "lowerdir=/store,upperdir=/scratch/upper,workdir=/scratch/work,volatile"))
		fail("mount", "the overlay of the store");
}

void pid1_start(void)
{
	channel_of_machine(-1, end_machine);
	umask(022);
	leave_initramfs();
	mount_all();
	modules_load(initramfs, "order");
	channel_of_machine(device_port("drover.0"), end_machine);
	set_up_kernel();
	group_make();
	/* Here copies of this machine begin: nothing is under way, and nobody's disk has been mounted. */
	channel_write(FRAME_BOOTED, NULL, 0);
}

static uint64_t number(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

static void set_clock(const struct frame *frame)
{
	struct timespec now;
	uint64_t nanoseconds;

	if (frame->type != FRAME_CLOCK || frame->length != 8)
		fail_with("waiting for the time", "something else");
	nanoseconds = number(frame->payload);
	now.tv_sec = (time_t)(nanoseconds / 1000000000);
	now.tv_nsec = (long)(nanoseconds % 1000000000);
	if (clock_settime(CLOCK_REALTIME, &now))
		fail("clock_settime", "the time of the host");
}

/* Without it, machines that start alike would draw the same numbers, and some would wait long for any. */
static void add_chance(const struct frame *frame)
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[SEED_BYTES];
	} chance = { .info = { .entropy_count = 8 * SEED_BYTES, .buf_size = SEED_BYTES } };
	int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);

	if (frame->type != FRAME_SEED || frame->length != SEED_BYTES)
		fail_with("waiting for chance", "something else");
	memcpy(chance.bytes, frame->payload, SEED_BYTES);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &chance) || ioctl(fd, RNDRESEEDCRNG))
		fail("ioctl", "/dev/urandom");
	close(fd);
}

static void raise_network(const struct frame *frame)
{
	if (frame->type != FRAME_NETWORK)
		fail_with("waiting for a network", "something else");
	if (frame->length == 0)
		return;
	modules_load(initramfs, "network");
	wire_raise((char *)frame->payload);
}

void pid1_wake(void)
{
	struct frame frame = channel_read();

	add_chance(&frame);
	frame = channel_read();
	set_clock(&frame);
	frame = channel_read();
	raise_network(&frame);
	mount_disk("store", "/store", "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME);
	/* As a host has its own: there are programs whose tests look at such things. */
	mount_disk("scratch", "/scratch", "ext4", 0);
	make_places();
	close(initramfs);
}
