/*
 * What the kernel answers a build that asks it directly, one fact a line: `call.NAME`, a tab, `yes` or the error.
 *
 * It asks for what a build must not have, so where it could get that, as root of the machine, it asks for nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void say(const char *name, long result)
{
	if (result >= 0)
		printf("call.%s\tyes\n", name);
	else
		printf("call.%s\t%s\n", name, strerrorname_np(errno) ? strerrorname_np(errno) : "?");
}

static void say_number(const char *name, long value)
{
	printf("call.%s\t%ld\n", name, value);
}

#define CALL(name, ...) say(name, syscall(__VA_ARGS__))

/* In a child, since it changes the caller. */
#define APART(name, expression)                                  \
	do {                                                     \
		fflush(stdout);                                  \
		pid_t child = fork();                            \
		if (!child) {                                    \
			say(name, expression);                   \
			fflush(stdout);                          \
			_exit(0);                                \
		}                                                \
		waitpid(child, NULL, 0);                         \
	} while (0)

static const struct {
	const char *name;
	int domain, type;
} sockets[] = {
	{ "unix", AF_UNIX, SOCK_STREAM },	{ "inet", AF_INET, SOCK_STREAM },     { "inet6", AF_INET6, SOCK_STREAM },
	{ "inet.raw", AF_INET, SOCK_RAW },	{ "packet", AF_PACKET, SOCK_RAW },    { "netlink", AF_NETLINK, SOCK_RAW },
	{ "alg", AF_ALG, SOCK_SEQPACKET },	{ "vsock", AF_VSOCK, SOCK_STREAM },   { "inet.ping", AF_INET, SOCK_DGRAM },
	{ "key", AF_KEY, SOCK_RAW },		{ "bluetooth", AF_BLUETOOTH, SOCK_RAW },
};

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{ "core", RLIMIT_CORE },       { "stack", RLIMIT_STACK },     { "address-space", RLIMIT_AS },
	{ "file-size", RLIMIT_FSIZE }, { "processes", RLIMIT_NPROC }, { "files", RLIMIT_NOFILE },
};

int main(void)
{
	if (geteuid() == 0) {
		fputs("expected an ordinary user\n", stderr);
		return 2;
	}
	int file = open("asked", O_CREAT | O_RDWR, 0600);
	struct timeval now;
	struct statvfs place;
	sigset_t blocked;
	unsigned ignored = 0;

	/* What Nix refuses by its filter. */
	say("fchmod.setuid", fchmod(file, 04755));
	say("chmod.setgid", chmod("asked", 02755));
	CALL("fchmodat.setuid", SYS_fchmodat, AT_FDCWD, "asked", 04755, 0);
	say("fchmod", fchmod(file, 0644));
	say("setxattr", setxattr("asked", "user.x", "x", 1, 0));
	say("fsetxattr", fsetxattr(file, "user.x", "x", 1, 0));
	say("lsetxattr", lsetxattr("asked", "user.x", "x", 1, 0));
	say("getxattr", getxattr("asked", "user.x", NULL, 0));
	say("listxattr", listxattr("asked", NULL, 0));
	say("setxattr.trusted", setxattr("asked", "trusted.x", "x", 1, 0));
	CALL("mknodat.device", SYS_mknodat, AT_FDCWD, "device", S_IFCHR | 0600, 0x103);
	CALL("mknodat.socket", SYS_mknodat, AT_FDCWD, "socket", S_IFSOCK | 0600, 0);
	say("openat.setuid", open("born", O_CREAT | O_WRONLY, 04755));
	say_number("openat.setuid.mode", stat("born", &(struct stat){ 0 }) ? -1 : ({ struct stat s; stat("born", &s); (long)(s.st_mode & 07777); }));
	say("mkdir.setgid", mkdir("born-directory", 02755));
	say_number("mkdir.setgid.mode", ({ struct stat s; stat("born-directory", &s); (long)(s.st_mode & 07777); }));

	/* What it takes privileges for. */
	say("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
	say("mount.bind", mount("/build", "/tmp", NULL, MS_BIND, NULL));
	say("umount", umount2("/proc", 0));
	CALL("pivot_root", SYS_pivot_root, ".", ".");
	APART("chroot", chroot("."));
	APART("sethostname", sethostname("x", 1));
	gettimeofday(&now, NULL);
	APART("settimeofday", settimeofday(&now, NULL));
	APART("setuid.zero", setuid(0));
	APART("setgid.zero", setgid(0));
	APART("setgroups", syscall(SYS_setgroups, 0, NULL));
	APART("setresuid.other", setresuid(1234, 1234, 1234));
	APART("setpriority.up", setpriority(PRIO_PROCESS, 0, -1));
	APART("sched.realtime", sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }));
	APART("setrlimit.up", setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1u << 30, 1u << 30 }));
	CALL("reboot", SYS_reboot, 0, 0, 0, NULL);
	CALL("swapon", SYS_swapon, "/build/asked", 0);
	CALL("init_module", SYS_init_module, "", 0, "");
	CALL("kexec_load", SYS_kexec_load, 0, 0, NULL, 0);
	CALL("syslog", SYS_syslog, 3, (char[16]){ 0 }, 16);
	CALL("acct", SYS_acct, NULL);
	CALL("quotactl", SYS_quotactl, 0, NULL, 0, NULL);
	CALL("perf_event_open", SYS_perf_event_open, NULL, 0, -1, -1, 0);
	CALL("bpf", SYS_bpf, 0, NULL, 0);
	CALL("open_by_handle_at", SYS_open_by_handle_at, -1, NULL, 0);
	CALL("fanotify_init", SYS_fanotify_init, 0, 0);
	CALL("fsopen", SYS_fsopen, "tmpfs", 0);
	CALL("move_mount", SYS_move_mount, -1, "", -1, "", 0);

	/* Namespaces of its own. */
	APART("unshare.user", unshare(CLONE_NEWUSER));
	APART("unshare.mount", unshare(CLONE_NEWNS));
	APART("unshare.network", unshare(CLONE_NEWNET));
	APART("unshare.pid", unshare(CLONE_NEWPID));
	APART("unshare.user+mount", unshare(CLONE_NEWUSER | CLONE_NEWNS));
	APART("unshare.user+network", unshare(CLONE_NEWUSER | CLONE_NEWNET));

	/* What programs use and a sandbox might have taken. */
	APART("ptrace.traceme", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	APART("personality.linux32", personality(PER_LINUX32));
	APART("personality.no-randomize", personality(ADDR_NO_RANDOMIZE));
	say_number("personality", personality(0xffffffff));
	CALL("memfd_create", SYS_memfd_create, "x", 0);
	CALL("userfaultfd", SYS_userfaultfd, 0);
	CALL("userfaultfd.user", SYS_userfaultfd, 1);
	CALL("io_uring_setup", SYS_io_uring_setup, 0, NULL);
	CALL("keyctl", SYS_keyctl, 0, -3, 0);
	CALL("add_key", SYS_add_key, "user", "x", "x", 1, -2);
	CALL("inotify_init", SYS_inotify_init1, 0);
	CALL("eventfd", SYS_eventfd2, 0, 0);
	CALL("timerfd", SYS_timerfd_create, 1, 0);
	CALL("signalfd", SYS_signalfd4, -1, &(sigset_t){ 0 }, 8, 0);
	CALL("membarrier", SYS_membarrier, 0, 0, 0);
	CALL("rseq", SYS_rseq, NULL, 0, 0, 0);
	CALL("seccomp.actions", SYS_seccomp, 2, 0, &(unsigned){ 0x7fff0000 });
	CALL("statx", SYS_statx, AT_FDCWD, "asked", 0, 0x7ff, (char[256]){ 0 });
	CALL("copy_file_range", SYS_copy_file_range, file, NULL, file, NULL, 0, 0);
	CALL("renameat2.exchange", SYS_renameat2, AT_FDCWD, "asked", AT_FDCWD, "born", 2);
	CALL("openat2", SYS_openat2, AT_FDCWD, "asked", (unsigned long[3]){ 0 }, 24);
	CALL("openat.tmpfile", SYS_openat, AT_FDCWD, ".", O_TMPFILE | O_RDWR, 0600);
	CALL("fallocate", SYS_fallocate, file, 0, 0, 4096);
	CALL("fallocate.punch", SYS_fallocate, file, 3, 0, 4096);
	CALL("landlock", SYS_landlock_create_ruleset, NULL, 0, 1);
	CALL("pidfd_open", SYS_pidfd_open, getpid(), 0);
	CALL("clone3", SYS_clone3, NULL, 0);
	CALL("close_range", SYS_close_range, 1000, 1001, 0);
	CALL("faccessat2", SYS_faccessat2, AT_FDCWD, "asked", 0, 0);
	CALL("epoll", SYS_epoll_create1, 0);
	CALL("getrandom", SYS_getrandom, (char[8]){ 0 }, 8, 1);
	CALL("process_vm_readv", SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0);
	CALL("kcmp", SYS_kcmp, getpid(), getpid(), 0, 0, 0);
	CALL("sched_setaffinity", SYS_sched_setaffinity, 0, 8, &(unsigned long){ 1 });
	CALL("mlock", SYS_mlock, &now, sizeof(now));
	CALL("setsid", SYS_setsid);

	for (unsigned i = 0; i < sizeof(sockets) / sizeof(*sockets); i++) {
		char name[64];
		snprintf(name, sizeof(name), "socket.%s", sockets[i].name);
		say(name, socket(sockets[i].domain, sockets[i].type, sockets[i].type == SOCK_DGRAM ? 1 : 0));
	}
	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		struct rlimit limit;
		getrlimit(limits[i].resource, &limit);
		printf("limit.%s\t%ld %ld\n", limits[i].name, (long)limit.rlim_cur, (long)limit.rlim_max);
	}

	say_number("prctl.dumpable", prctl(PR_GET_DUMPABLE));
	say_number("prctl.no-new-privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say_number("prctl.seccomp", prctl(PR_GET_SECCOMP));
	say_number("prctl.keepcaps", prctl(PR_GET_KEEPCAPS));
	say_number("prctl.securebits", prctl(PR_GET_SECUREBITS));
	say_number("prctl.subreaper", ({ int on = -1; prctl(PR_GET_CHILD_SUBREAPER, &on); (long)on; }));
	say_number("prctl.parent-death-signal", ({ int on = -1; prctl(PR_GET_PDEATHSIG, &on); (long)on; }));
	say_number("prctl.timer-slack", prctl(PR_GET_TIMERSLACK));
	say_number("prctl.transparent-huge-pages-off", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	for (int each = 0; each < 40; each++)
		if (prctl(PR_CAPBSET_READ, each) == 1)
			ignored++;
	say_number("capabilities.bounding", ignored);
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	ignored = 0;
	for (int each = 1; each < 64; each++)
		ignored += sigismember(&blocked, each) == 1;
	say_number("signals.blocked", ignored);
	ignored = 0;
	for (int each = 1; each < 64; each++) {
		struct sigaction action;
		if (!sigaction(each, NULL, &action) && action.sa_handler == SIG_IGN)
			ignored++;
	}
	say_number("signals.ignored", ignored);
	say_number("priority", getpriority(PRIO_PROCESS, 0));
	say_number("scheduler", sched_getscheduler(0));
	statvfs(".", &place);
	say_number("statvfs.flags", (long)place.f_flag);
	say_number("statvfs.name-max", (long)place.f_namemax);
	say_number("sysconf.page", sysconf(_SC_PAGESIZE));
	say_number("sysconf.argument-max", sysconf(_SC_ARG_MAX));
	say_number("sysconf.clock-ticks", sysconf(_SC_CLK_TCK));
	return 0;
}
