/*
 * Starts the server as an ordinary user with the one privilege that it needs: a user namespace wide enough for builds.
 *
 *   starter --data DIRECTORY [--program DIRECTORY]... [--user NAME] -- COMMAND [ARGUMENT...]
 *
 * As root it makes the user if it is missing (`drover` unless told otherwise), the namespace, a control group, and a
 * mount namespace in which that user can reach the data and the program where they are; then it becomes that user for
 * good. As anybody else it stays who it is, and asks newuidmap for the namespace. It is then replaced by the command,
 * to which it adds
 *
 *   --user-namespace-fd N --sub-uids FIRST:COUNT [--cgroup CONTROLLER=DIRECTORY]...
 *
 * and which is killed when our parent dies.
 */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../die.h"
#include "cgroup.h"
#include "ids.h"
#include "reach.h"
#include "tun.h"
#include "user.h"

struct asked {
	const char *data;
	const char *user;
	const char *programs[REACH_MAX];
	size_t programs_count;
	char **command;
};

static struct asked parse(char **words)
{
	struct asked asked = { .user = "drover" };

	for (; words[0] && words[1]; words += 2) {
		if (!strcmp(words[0], "--")) {
			asked.command = words + 1;
			break;
		}
		if (!strcmp(words[0], "--data"))
			asked.data = words[1];
		else if (!strcmp(words[0], "--user"))
			asked.user = words[1];
		else if (!strcmp(words[0], "--program") && asked.programs_count < REACH_MAX - 1)
			asked.programs[asked.programs_count++] = words[1];
		else
			die_plainly("the starter has no option %s", words[0]);
	}
	if (!asked.data || !asked.command)
		die_plainly("usage: starter --data DIRECTORY [--program DIRECTORY]... [--user NAME] -- COMMAND...");
	return asked;
}

/* Makes the directory, and what leads to it, and returns its real path. */
static char *make_data(const char *data)
{
	char path[PATH_MAX], *real;

	snprintf(path, sizeof(path), "%s", data);
	for (char *at = path + 1; (at = strchr(at, '/')); at++) {
		*at = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			die("making %s", path);
		*at = '/';
	}
	if (mkdir(data, 0700) && errno != EEXIST)
		die("making %s", data);
	real = realpath(data, NULL);
	if (!real)
		die("resolving %s", data);
	return real;
}

static void make_reachable(const struct asked *asked, const struct user *user, const char *data)
{
	const char *paths[REACH_MAX];
	char *here = realpath(".", NULL);

	/* The shorter first: what is bound later may lie in what is bound before. */
	for (size_t i = 0; i < asked->programs_count; i++) {
		paths[i] = realpath(asked->programs[i], NULL);
		if (!paths[i])
			die("resolving %s", asked->programs[i]);
	}
	paths[asked->programs_count] = data;
	reach(user, paths, asked->programs_count + 1);
	if (!here || chdir(here))
		if (chdir("/"))
			die("chdir");
	free(here);
}

static _Noreturn void execute(const struct asked *asked, const struct ids *ids, int fd, const struct cgroups *cgroups)
{
	size_t count = 0, at = 0;
	char descriptor[16], range[32];
	char **words;

	while (asked->command[count])
		count++;
	words = calloc(count + 5 + 2 * CGROUPS_MAX, sizeof(*words));
	if (!words)
		die("calloc");
	for (; at < count; at++)
		words[at] = asked->command[at];
	snprintf(descriptor, sizeof(descriptor), "%d", fd);
	snprintf(range, sizeof(range), "%u:%d", ids->first, IDS_COUNT);
	words[at++] = "--user-namespace-fd";
	words[at++] = descriptor;
	words[at++] = "--sub-uids";
	words[at++] = range;
	for (int i = 0; i < cgroups->count; i++) {
		words[at++] = "--cgroup";
		words[at++] = (char *)cgroups->items[i];
	}
	execvp(words[0], words);
	die("executing %s", words[0]);
}

int main(int count, char **words)
{
	struct asked asked = parse(words + (count > 0));
	struct cgroups cgroups = { .count = 0 };
	struct user user = { getuid(), getgid() };
	pid_t parent = getppid();
	int as_root = geteuid() == 0, fd;
	char *data = make_data(asked.data);
	struct ids ids;

	if (as_root) {
		user = user_ensure(asked.user);
		if (chown(data, user.uid, user.gid) || chmod(data, 0700))
			die("giving %s to %s", data, asked.user);
	} else {
		struct passwd *self = NULL;
		FILE *users = fopen("/etc/passwd", "re");

		while (users && (self = fgetpwent(users)) && self->pw_uid != user.uid)
			;
		asked.user = self ? strdup(self->pw_name) : "";
		if (users)
			fclose(users);
	}
	ids = ids_take(data, asked.user, user.uid, as_root);
	fd = ids_namespace(&ids, user.uid, user.gid, as_root);
	cgroups = cgroup_make(&user);
	if (as_root) {
		make_reachable(&asked, &user, data);
		tun_ensure();
		user_become(&user);
	}
	/* Without whoever started us nobody can end us; SIGTERM, so that the database is stopped as well. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGTERM))
		die("prctl");
	if (getppid() != parent)
		die_plainly("the parent is gone");
	execute(&asked, &ids, fd, &cgroups);
}
