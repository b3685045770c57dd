/*
 * Starts the builder as stock Nix does: namespaces, then the new root, then everything given up, then execve.
 *
 * What fails before execve is our failure and is told on a pipe that execve closes. A program that cannot be executed
 * is the derivation's, and ends it with status 1 and Nix's own words in the log.
 */
#include "builder.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "group.h"
#include "loopback.h"
#include "resources.h"
#include "seccomp.h"

enum { EXECUTE = 1 };

/* What the child says on the pipe before it ends; nothing, if execve succeeds. */
struct trouble {
	int error;
	int step;	/* EXECUTE, or 0 */
	char call[40];
};

static int told;

static _Noreturn void give_up(const char *call, int step)
{
	struct trouble trouble = { .error = errno, .step = step };

	snprintf(trouble.call, sizeof(trouble.call), "%s", call);
	if (write(told, &trouble, sizeof(trouble)) != sizeof(trouble))
		_exit(2);
	_exit(1);
}

static void need(int failed, const char *call)
{
	if (failed)
		give_up(call, 0);
}

static void enter_root(void)
{
	need(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL), "making mounts private");
	need(mount("root", "root", NULL, MS_BIND | MS_REC, NULL), "binding the root");
	need(mount("none", "root/proc", "proc", 0, NULL), "mounting proc");
	need(mount("none", "root/dev/shm", "tmpfs", 0, "size=50%"), "mounting /dev/shm");
	need(mount("none", "root/dev/pts", "devpts", 0, "newinstance,mode=0620"), "mounting devpts");
	need(chmod("root/dev/pts/ptmx", 0666), "chmod of ptmx");
	need(chdir("root"), "chdir to the root");
	need(mkdir("real-root", 0500), "mkdir of real-root");
	need((int)syscall(SYS_pivot_root, ".", "real-root"), "pivot_root");
	need(chroot("."), "chroot");
	need(umount2("real-root", MNT_DETACH), "umount of the old root");
	need(rmdir("real-root"), "rmdir of real-root");
}

static void take_terminal(int slave)
{
	int null;

	need(setsid() < 0, "setsid");
	null = open("/dev/null", O_RDWR);
	need(null < 0, "open of /dev/null");
	need(dup2(null, 0) < 0 || dup2(slave, 1) < 0 || dup2(slave, 2) < 0, "dup2");
	/* The pipe is kept, and moved out of the way of what is closed. */
	need(dup2(told, 3) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC), "dup2");
	told = 3;
	need((int)syscall(SYS_close_range, 4, ~0u, 0), "close_range");
}

static void become_builder(const struct job *job)
{
	sigset_t none;
	int was;

	/* Before the change of user, which the filter outlives and without which nobody could lift it. */
	need(seccomp_install(), "seccomp");
	need((int)syscall(SYS_setresgid, atoi(BUILDER_GID), atoi(BUILDER_GID), atoi(BUILDER_GID)), "setresgid");
	need((int)syscall(SYS_setresuid, atoi(BUILDER_UID), atoi(BUILDER_UID), atoi(BUILDER_UID)), "setresuid");
	was = job->flags & RUN_LINUX32 ? PER_LINUX32 : personality(0xffffffff);
	need(was < 0 || personality((unsigned long)was | ADDR_NO_RANDOMIZE) < 0, "personality");
	umask(022);
	sigemptyset(&none);
	need(sigprocmask(SIG_SETMASK, &none, NULL) || signal(SIGPIPE, SIG_DFL) == SIG_ERR, "signals");
	need(chdir("/build"), "chdir to /build");
}

static _Noreturn void child(const struct job *job, const struct terminal *terminal, int go)
{
	char byte;

	need(read(go, &byte, 1) != 1, "waiting for the user map");
	if (!(job->flags & RUN_NETWORK))
		need(loopback_raise(), "raising lo");
	need(sethostname(job->hostname, strlen(job->hostname)), "sethostname");
	need(setdomainname("(none)", 6), "setdomainname");
	enter_root();
	take_terminal(terminal->slave);
	become_builder(job);
	execve(job->program, job->argv.items, job->environment.items);
	dprintf(2, "error: executing '%s': %s\n", job->program, strerror(errno));
	give_up("execve", EXECUTE);
}

/* Each in one write, which is all that the kernel takes. */
static void write_map(pid_t pid, const char *file, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "proc/%d/%s", pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fail("open", path);
	if (write(fd, text, strlen(text)) < 0)
		fail("write", path);
	close(fd);
}

struct builder builder_start(const struct job *job, const struct terminal *terminal)
{
	unsigned long namespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	struct builder builder = { 0 };
	struct trouble trouble;
	int go[2], pipes[2];
	ssize_t count;

	if (pipe2(go, O_CLOEXEC) || pipe2(pipes, O_CLOEXEC))
		fail("pipe", "the builder");
	resources_limit(job->processes_max);
	if (!(job->flags & RUN_NETWORK))
		namespaces |= CLONE_NEWNET;
	builder.pid = (pid_t)syscall(SYS_clone, namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
	if (builder.pid < 0)
		fail("clone", "the builder");
	if (builder.pid == 0) {
		told = pipes[1];
		child(job, terminal, go[0]);
	}
	close(pipes[1]);
	close(terminal->slave);
	write_map(builder.pid, "setgroups", "deny");
	write_map(builder.pid, "uid_map", BUILDER_UID " 1 1");
	write_map(builder.pid, "gid_map", BUILDER_GID " 1 1");
	group_take(builder.pid);
	if (write(go[1], "", 1) != 1)
		fail("write", "the builder's start");
	close(go[0]);
	close(go[1]);
	do
		count = read(pipes[0], &trouble, sizeof(trouble));
	while (count < 0 && errno == EINTR);
	close(pipes[0]);
	if (count != sizeof(trouble))
		return builder;
	if (trouble.step == EXECUTE) {
		builder.not_started = trouble.error;
		return builder;
	}
	trouble.call[sizeof(trouble.call) - 1] = 0;
	errno = trouble.error;
	fail(trouble.call, "the builder");
}
