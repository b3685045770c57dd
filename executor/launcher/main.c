/*
 * Starts one executor in a namespace of its own, and removes what it leaves; and does so for what a crash has left.
 *
 *   launcher run NAMESPACE SCRATCH ROOT BUILDER EXECUTOR NETWORK [CGROUP.PROCS...]    inputs on stdin, channel on 3
 *   launcher jail NAMESPACE ID GROUPS NETWORK [DIRECTORY...] -- PROGRAM [ARGUMENT...]
 *   launcher network NAMESPACE ID FOR PASTA RESOLVER PREFIX...
 *   launcher remove NAMESPACE DIRECTORY...
 *   launcher sweep FIRST COUNT
 *   launcher ticks
 *
 * NAMESPACE is the descriptor of the wide user namespace, in which 0 is the user that the server runs as. ROOT and
 * BUILDER are two further ids in it, for users and groups alike. The executor runs as ROOT and its builder as BUILDER:
 * neither is the server, so who gets out of the builder's namespace, and then out of the executor's, still owns
 * nothing. What only the server may read, the inputs, is bound into place before the executor begins.
 *
 * NETWORK is a process whose network the executor shares, or `none`: then it has one of its own with nothing in it. Such
 * a process is told by `network`, which is told of in network.h. Nothing that we start is ever in the host's. A program
 * in a jail shares nothing: it is given the port of that network as its descriptor 8. With `given` it has no network, and
 * descriptor 8 is what whoever started us has put there.
 *
 * `run` ends once everything that it started is gone and SCRATCH is removed. SIGTERM makes that happen now. `jail`
 * becomes the program, as ID, with the directories as jail.h says; GROUPS is `keep` where the server's supplementary
 * groups are what lets it use a device, else `drop`. `sweep` kills whoever runs under one of COUNT ids from FIRST on,
 * and waits until they are gone. `ticks` writes what ticks.h says to stdout.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../die.h"
#include "enter.h"
#include "jail.h"
#include "network.h"
#include "remove.h"
#include "run.h"
#include "sweep.h"
#include "tap.h"
#include "ticks.h"

/* Its place is free: whoever started us has left it so. */
static void open_port(const char *process)
{
	int port;

	enter_network(process);
	port = tap_open(NETWORK_PORT);
	if ((port != JAIL_PORT && dup2(port, JAIL_PORT) != JAIL_PORT) || fcntl(JAIL_PORT, F_SETFD, 0))
		die("dup2 of the port");
}

static void run_jailed(char **words)
{
	char **end = words + 4;
	int is_given = !strcmp(words[3], "given");
	int has_port = !is_given && strcmp(words[3], "none");

	while (*end && strcmp(*end, "--"))
		end++;
	if (!*end || !end[1])
		die_plainly("expected -- and a program");
	*end = NULL;
	enter(words[0], !strcmp(words[2], "keep"));
	if (has_port)
		open_port(words[3]);
	jail((unsigned)number(words[1]), words + 4, end + 1, has_port || is_given ? JAIL_PORT : JAIL_PORT - 1);
}

int main(int count, char **words)
{
	end_with_parent();
	if (count >= 8 && !strcmp(words[1], "run")) {
		run(words + 2, words + 8);
	} else if (count >= 8 && !strcmp(words[1], "jail")) {
		run_jailed(words + 2);
	} else if (count >= 7 && !strcmp(words[1], "network")) {
		enter(words[2], 0);
		return network_run((unsigned)number(words[3]), words + 4);
	} else if (count >= 4 && !strcmp(words[1], "remove")) {
		enter(words[2], 0);
		for (char **path = words + 3; *path; path++)
			if (remove_tree(*path))
				die("removing %s", *path);
	} else if (count == 4 && !strcmp(words[1], "sweep")) {
		while (sweep(number(words[2]), number(words[3])) > 0)
			;
	} else if (count == 2 && !strcmp(words[1], "ticks")) {
		dprintf(1, "%ld\n", ticks_kilohertz());
	} else {
		dprintf(2, "usage: launcher run|jail|network|remove|sweep|ticks ...\n");
		return 2;
	}
	return 0;
}
