/*
 * Stands in for QEMU, and is as bad as it can be: it says what an executor says, and as its log everything that it
 * tries and what it gets, a line each. Then it writes for ever and does not listen to any signal.
 *
 * What to try is told by the file `targets` beside the guest's kernel: a word and an argument a line.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { CHANNEL = 5, STATE = 8, READY = 0x81, LOG = 0x82, HEARTBEAT = 0x88 };
enum { DESCRIPTORS_MAX = 1024, PROCESSES_MAX = 1024 };

static void frame(unsigned char type, const void *payload, unsigned length)
{
	unsigned char header[5] = { type, length, length >> 8, length >> 16, length >> 24 };

	if (write(CHANNEL, header, sizeof(header)) < 0 || write(CHANNEL, payload, length) < 0)
		_exit(1);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line) - 1, format, arguments);
	va_end(arguments);
	line[length++] = '\n';
	frame(LOG, line, length);
}

static const char *got(long result)
{
	return result >= 0 ? "yes" : strerrorname_np(errno);
}

static void try_to_read(const char *path)
{
	char byte;
	int file = open(path, O_RDONLY);

	say("read %s: %s", path, file < 0 ? got(file) : got(read(file, &byte, 1)));
	close(file);
}

static void try_to_write(const char *path)
{
	say("write %s: %s", path, got(open(path, O_WRONLY | O_CREAT, 0666)));
}

/* Whether anybody says a word, or closes without one. */
static int is_served(int end)
{
	char byte;
	struct pollfd said = { .fd = end, .events = POLLIN };

	return poll(&said, 1, 2000) > 0 && read(end, &byte, 1) == 1;
}

/* `@NAME` is one of the abstract namespace. */
static void try_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int end = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	if (connect(end, (void *)&address, offsetof(struct sockaddr_un, sun_path) + strlen(path) + (path[0] != '@')))
		say("connect %s: %s", path, got(-1));
	else
		say("connect %s: %s", path, is_served(end) ? "yes" : "nobody is there");
	/* One that is let in stays, or its place would be free. */
}

static void try_inet(const char *where)
{
	char text[64];
	struct sockaddr_in address = { .sin_family = AF_INET };
	int end;

	strncpy(text, where, sizeof(text) - 1);
	address.sin_port = htons(atoi(strchr(text, ':') + 1));
	*strchr(text, ':') = 0;
	inet_pton(AF_INET, text, &address.sin_addr);
	errno = 0;
	end = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (end >= 0 && connect(end, (void *)&address, sizeof(address)) && errno == EINPROGRESS) {
		struct pollfd answered = { .fd = end, .events = POLLOUT };
		int error = ETIMEDOUT;

		if (poll(&answered, 1, 1000) > 0)
			getsockopt(end, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof(error) });
		errno = error;
	}
	say("connect %s: %s", where, errno ? got(-1) : "yes");
	close(end);
}

/* All that is in sight: what can be written to, and how much there is. */
static unsigned seen, readable;

static void walk(const char *directory)
{
	DIR *entries = opendir(*directory ? directory : "/");
	struct dirent *entry;
	struct stat status;
	char path[4096];

	while (entries && (entry = readdir(entries))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >= (int)sizeof(path))
			continue;
		if (lstat(path, &status) || S_ISLNK(status.st_mode))
			continue;
		/* A busy host takes its time for all of it, and who says nothing for long is taken for dead. */
		if (seen++ % 1000 == 0)
			frame(HEARTBEAT, "", 0);
		if (S_ISDIR(status.st_mode)) {
			walk(path);
			continue;
		}
		if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) {
			say("special %s", path);
			continue;
		}
		readable += access(path, R_OK) == 0;
		if (open(path, O_WRONLY | O_NONBLOCK) >= 0)
			say("writable %s", path);
	}
	if (entries)
		closedir(entries);
}

static void try_privileges(void)
{
	static const struct {
		const char *name;
		int domain, type;
	} kinds[] = {
		{ "netlink", AF_NETLINK, SOCK_RAW }, { "packet", AF_PACKET, SOCK_RAW },
		{ "raw", AF_INET, SOCK_RAW },	     { "vsock", AF_VSOCK, SOCK_STREAM },
	};
	int others = 0;

	say("setuid 0: %s", got(setresuid(0, 0, 0)));
	say("setuid another's: %s", got(setresuid(getuid() + 1, getuid() + 1, getuid() + 1)));
	say("setgid 0: %s", got(setresgid(0, 0, 0)));
	say("mount: %s", got(mount("none", "/run", "tmpfs", 0, NULL)));
	say("remount: %s", got(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)));
	say("umount: %s", got(umount2("/run", MNT_DETACH)));
	say("chroot: %s", got(chroot("/run")));
	say("mknod: %s", got(mknod("/run/x", S_IFBLK | 0600, 0xfe00)));
	say("kill all: %s", got(kill(-1, SIGTERM)));
	for (int pid = 1; pid < 100000; pid++)
		others += pid != getpid() && !kill(pid, 0);
	say("processes to signal: %d", others);
	say("ptrace its parent: %s", got(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)));
	say("bpf: %s", got(syscall(SYS_bpf, BPF_MAP_CREATE, &(union bpf_attr){ .map_type = BPF_MAP_TYPE_HASH }, sizeof(union bpf_attr))));
	say("open by handle: %s", got(syscall(SYS_open_by_handle_at, AT_FDCWD, &(unsigned[4]){ 8, 1, 2, 0 }, O_RDONLY)));
	say("priority: %s", got(syscall(SYS_setpriority, 0, 0, -20)));
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		int end = socket(kinds[i].domain, kinds[i].type, 0);

		say("socket %s: %s", kinds[i].name, got(end));
		close(end);
	}
}

/* What it is said to be a copy of, and others will be. */
static void try_state(void)
{
	struct timespec times[2] = { { 0 }, { 0 } };

	say("change the state, write: %s", got(write(STATE, "x", 1)));
	say("change the state, pwrite: %s", got(pwrite(STATE, "x", 1, 0)));
	say("change the state, truncate: %s", got(ftruncate(STATE, 0)));
	say("change the state, allocate: %s", got(fallocate(STATE, 0, 0, 4096)));
	say("change the state, map: %s",
	    got(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, STATE, 0) == MAP_FAILED ? -1 : 0));
	say("change the state, mode: %s", got(fchmod(STATE, 0666)));
	say("change the state, owner: %s", got(fchown(STATE, getuid(), -1)));
	say("change the state, times: %s", got(futimens(STATE, times)));
	say("change the state, attribute: %s", got(fsetxattr(STATE, "user.x", "x", 1, 0)));
	say("change the state, flags: %s", got(ioctl(STATE, FS_IOC_SETFLAGS, &(int){ FS_APPEND_FL })));
	say("change the state, link: %s", got(linkat(STATE, "", AT_FDCWD, "/run/state", AT_EMPTY_PATH)));
	say("change the state, open again: %s", got(open("/proc/self/fd/8", O_RDWR)));
	say("change the state, open again by /dev: %s", got(open("/dev/fd/8", O_RDWR)));
	/* The next one reads from where it likes, whatever becomes of this place in the file. */
	lseek(STATE, 0, SEEK_END);
}

static void tell_descriptors(void)
{
	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
		struct stat status;

		if (fstat(fd, &status))
			continue;
		say("descriptor %d: %s", fd,
		    S_ISSOCK(status.st_mode) ? "socket" :
		    S_ISFIFO(status.st_mode) ? "pipe" :
		    S_ISCHR(status.st_mode) ? "device" :
		    S_ISREG(status.st_mode) ? (status.st_nlink ? "file" : "file without a name") :
		    S_ISDIR(status.st_mode) ? "directory" : "something else");
	}
}

/* As many of itself as it may. They only wait. */
static int multiply(void)
{
	int made = 0;
	pid_t child;

	while (made < 10 * PROCESSES_MAX && (child = fork()) >= 0) {
		while (!child)
			pause();
		made++;
	}
	return made;
}

int main(void)
{
	static char noise[65536];
	unsigned char version[4] = { VERSION };
	char line[512], *argument;
	FILE *targets;

	/* Only in a jail does it do no harm: where it is root, or sees processes, it does nothing. */
	if (getuid() == 0 || access("/proc/self", F_OK) == 0)
		return 2;
	for (int each = 1; each < 65; each++)
		signal(each, SIG_IGN);
	frame(READY, version, sizeof(version));
	/* It does not do what it is told, but takes it. */
	if (!fork())
		while (read(CHANNEL, noise, sizeof(noise)) > 0)
			continue;
	tell_descriptors();
	targets = fopen("/guest/targets", "re");
	while (targets && fgets(line, sizeof(line), targets)) {
		line[strcspn(line, "\n")] = 0;
		argument = strchr(line, ' ');
		*argument++ = 0;
		if (!strcmp(line, "read"))
			try_to_read(argument);
		else if (!strcmp(line, "write"))
			try_to_write(argument);
		else if (!strcmp(line, "unix"))
			try_unix(argument);
		else
			try_inet(argument);
	}
	try_privileges();
	try_state();
	walk("");
	say("in sight: %u, to be read: %u", seen, readable);
	say("processes made: %d", multiply());
	say("done");
	memset(noise, 'x', sizeof(noise));
	for (;;)
		frame(LOG, noise, sizeof(noise));
}
