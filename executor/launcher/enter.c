/* Each is irrevocable: what was given up is not had again. */
#include "enter.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "../die.h"

void end_with_parent(void)
{
	static pid_t parent;

	if (!parent)
		parent = getppid();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		die_plainly("the parent is gone");
}

long number(const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || end == text || value < 0)
		die_plainly("expected a number, found %s", text);
	return value;
}

void enter(const char *descriptor, int keeps_groups)
{
	int namespace = (int)number(descriptor);

	if (setns(namespace, CLONE_NEWUSER))
		die("setns to the user namespace");
	close(namespace);
	if ((!keeps_groups && setgroups(0, NULL)) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		die("becoming id 0 of the user namespace");
	if (prctl(PR_SET_DUMPABLE, 1))
		die("prctl");
	end_with_parent();
}

/* As id 0 of the wide namespace, so that nobody below has any say over it. */
void enter_network(const char *process)
{
	char path[64];
	int namespace;

	if (!strcmp(process, "none")) {
		if (unshare(CLONE_NEWNET))
			die("making a network namespace");
		return;
	}
	snprintf(path, sizeof(path), "/proc/%ld/ns/net", number(process));
	namespace = open(path, O_RDONLY | O_CLOEXEC);
	if (namespace < 0 || setns(namespace, CLONE_NEWNET))
		die("entering the network of process %s", process);
	close(namespace);
}
