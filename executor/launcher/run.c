/*
 * Two processes: this one waits, is who is told to end, and clears up. Its child is the first process of a pid namespace,
 * and becomes the executor.
 */
#include "run.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../channel.h"
#include "../die.h"
#include "enter.h"
#include "inputs.h"
#include "remove.h"

enum { CGROUPS_MAX = 8 };

static void make_directory(const char *path, mode_t mode, uid_t owner, gid_t group)
{
	if (mkdir(path, 0700) || chown(path, owner, group) || chmod(path, mode))
		die("making %s", path);
}

/* Where the executor starts; see sandbox.h. */
static void make_scratch(const char *scratch, uid_t root, gid_t builder)
{
	if (mkdir(scratch, 0700) || chdir(scratch))
		die("making %s", scratch);
	make_directory("root", 0750, root, builder);
	make_directory("root/nix", 0755, root, root);
	make_directory("root/nix/store", 01775, root, builder);
	make_directory("proc", 0755, root, root);
	if (chown(".", root, root))
		die("chown of %s", scratch);
}

static int open_to_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die("opening %s", path);
	return fd;
}

static void write_text(int fd, const char *text, const char *what)
{
	if (write(fd, text, strlen(text)) < 0)
		die("writing %s", what);
	close(fd);
}

/* The child: binds while it is still id 0 of the wide namespace, then goes down into its own and becomes another. */
static _Noreturn void execute(const char *executor, const char *network, const int ready[2], const int go[2])
{
	char *const words[] = { "executor", NULL }, *const environment[] = { NULL };
	int program = open(executor, O_PATH | O_CLOEXEC);
	sigset_t none;
	char byte;

	/* Ours alone is the other end, so that its death is heard of. */
	close(ready[0]);
	close(go[1]);
	if (program < 0)
		die("open of %s", executor);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || syscall(SYS_close_range, CHANNEL + 1, ~0u, CLOSE_RANGE_CLOEXEC))
		die("prctl");
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL))
		die("making mounts private");
	enter_network(network);
	inputs_bind();
	if (mount("proc", "proc", "proc", 0, NULL))
		die("mounting proc");
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		die("unshare");
	if (prctl(PR_SET_DUMPABLE, 1) || write(ready[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
		die("waiting for the user map");
	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		die("becoming id 0 of the build's namespace");
	sigemptyset(&none);
	/* The change of user has cleared it. If the parent has died meanwhile, so has the channel's other end. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || sigprocmask(SIG_SETMASK, &none, NULL))
		die("prctl");
	/* By descriptor: this user cannot walk to the program. */
	syscall(SYS_execveat, program, "", words, environment, AT_EMPTY_PATH);
	die("execveat of %s", executor);
}

static void write_map(pid_t pid, const char *file, long root, long builder)
{
	char path[64], text[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	snprintf(text, sizeof(text), "0 %ld 1\n1 %ld 1\n", root, builder);
	write_text(open_to_write(path), text, path);
}

static void await(pid_t child, const sigset_t *signals)
{
	int status;

	for (;;) {
		int signal = sigwaitinfo(signals, NULL);

		if (signal == SIGTERM)
			kill(child, SIGKILL);
		if (signal == SIGCHLD && waitpid(child, &status, WNOHANG) == child)
			return;
	}
}

void run(char **words, char **cgroups)
{
	const char *scratch = words[1], *executor = words[4];
	long root = number(words[2]), builder = number(words[3]);
	int ready[2], go[2], entrances[CGROUPS_MAX], count = 0;
	sigset_t signals;
	char byte, text[16];
	pid_t child;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) || pipe2(ready, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		die("pipe");
	/* While we are still who may. */
	for (; count < CGROUPS_MAX && cgroups[count]; count++)
		entrances[count] = open_to_write(cgroups[count]);
	enter(words[0], 0);
	make_scratch(scratch, (uid_t)root, (gid_t)builder);
	child = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, NULL);
	if (child < 0)
		die("clone");
	if (child == 0)
		execute(executor, words[5], ready, go);
	close(ready[1]);
	close(CHANNEL);
	if (read(ready[0], &byte, 1) == 1) {
		snprintf(text, sizeof(text), "%d", child);
		for (int i = 0; i < count; i++)
			write_text(entrances[i], text, cgroups[i]);
		write_map(child, "uid_map", root, builder);
		write_map(child, "gid_map", root, builder);
		if (write(go[1], "", 1) != 1)
			die("starting the executor");
	}
	await(child, &signals);
	if (chdir("/") || remove_tree(scratch))
		die("removing %s", scratch);
}
