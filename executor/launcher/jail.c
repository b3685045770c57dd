/* How a program gets to be alone: a mount namespace with the directories in it, then another user. */
#include "jail.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../die.h"
#include "enter.h"

enum {
	DIRECTORIES_MAX = 8,
	PROCESSES_MAX = 1024,	/* QEMU has some eighty threads; one that is taken over would have all numbers there are */
};

/* It is on every machine, and the program looks for nothing in it. */
static const char place[] = "/tmp";

static void bind_directories(char *const *directories)
{
	int opened[DIRECTORIES_MAX], count = 0;
	char source[64], target[64];

	/* Before the place is covered, where some of them may be; but in the namespace that they are bound in. */
	for (; directories[count]; count++) {
		if (count == DIRECTORIES_MAX)
			die_plainly("expected at most %d directories, found more", DIRECTORIES_MAX);
		opened[count] = open(directories[count], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (opened[count] < 0)
			die("opening %s", directories[count]);
	}
	if (mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k"))
		die("mounting %s", place);
	for (int i = 0; i < count; i++) {
		snprintf(source, sizeof(source), "/proc/self/fd/%d", opened[i]);
		snprintf(target, sizeof(target), "%s/%d", place, i);
		if (mkdir(target, 0755) || mount(source, target, NULL, MS_BIND | MS_REC, NULL))
			die("mounting %s", directories[i]);
		close(opened[i]);
	}
}

void jail(unsigned id, char *const *directories, char *const *program, int last)
{
	static const struct rlimit processes = { PROCESSES_MAX, PROCESSES_MAX };
	char *const environment[] = { NULL };

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL))
		die("unshare");
	bind_directories(directories);
	if (chdir("/") || setresgid(id, id, id) || setresuid(id, id, id))
		die("becoming id %u of the user namespace", id);
	if (setrlimit(RLIMIT_NPROC, &processes))
		die("setrlimit");
	/* What the server has by accident, from who started it, is no business of the program's. */
	if (syscall(SYS_close_range, last + 1, ~0u, 0))
		die("close_range");
	/* The change of user has cleared it. */
	end_with_parent();
	execve(program[0], program, environment);
	die("execve of %s", program[0]);
}
