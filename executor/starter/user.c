/*
 * Only /etc/passwd is read, not what else may know users: a static program has no name service, and this is a user of
 * the machine.
 */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../die.h"

static int find(const char *name, struct user *user)
{
	FILE *users = fopen("/etc/passwd", "re");
	struct passwd *entry;
	int found = 0;

	while (users && !found && (entry = fgetpwent(users)))
		if (!strcmp(entry->pw_name, name)) {
			*user = (struct user){ entry->pw_uid, entry->pw_gid };
			found = 1;
		}
	if (users)
		fclose(users);
	return found;
}

static int has_id(const char *file, unsigned id)
{
	char line[1024];
	FILE *stream = fopen(file, "re");
	int found = 0;

	while (stream && !found && fgets(line, sizeof(line), stream)) {
		unsigned at;

		found = sscanf(line, "%*[^:]:%*[^:]:%u", &at) == 1 && at == id;
	}
	if (stream)
		fclose(stream);
	return found;
}

static void append(const char *file, const char *format, const char *name, unsigned id)
{
	FILE *stream = fopen(file, "ae");

	if (!stream || fprintf(stream, format, name, id, id) < 0 || fclose(stream))
		die("adding %s to %s", name, file);
}

/* Where there is no useradd: the two lines that it would write. */
static void add_directly(const char *name)
{
	unsigned id = 999;

	while (id > 100 && (has_id("/etc/passwd", id) || has_id("/etc/group", id)))
		id--;
	append("/etc/group", "%s:x:%u:\n", name, id);
	append("/etc/passwd", "%s:x:%u:%u:Drover, a remote builder for Nix:/nonexistent:/usr/sbin/nologin\n", name, id);
}

struct user user_ensure(const char *name)
{
	struct user user;
	int status;
	pid_t pid;

	if (find(name, &user))
		return user;
	dprintf(2, "drover: adding the system user %s\n", name);
	pid = fork();
	if (pid == 0) {
		execlp("useradd", "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
		       "--shell", "/usr/sbin/nologin", "--comment", "Drover, a remote builder for Nix", name, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("running useradd");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		add_directly(name);
	if (!find(name, &user))
		die_plainly("the user %s could not be made", name);
	return user;
}

/* The group that is let use KVM, where one is: virtual machines run as whoever they please, in the groups of the server. */
static size_t kvm_group(gid_t *group)
{
	struct stat status;

	if (stat("/dev/kvm", &status) || !(status.st_mode & S_IWGRP) || status.st_gid == 0)
		return 0;
	*group = status.st_gid;
	return 1;
}

void user_become(const struct user *user)
{
	gid_t kvm;
	size_t groups = kvm_group(&kvm);

	for (unsigned long capability = 0; !prctl(PR_CAPBSET_READ, capability, 0, 0, 0) ||
					   prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0))
			die("giving up capability %lu", capability);
	if (setgroups(groups, &kvm) || setresgid(user->gid, user->gid, user->gid) ||
	    setresuid(user->uid, user->uid, user->uid))
		die("becoming user %u", user->uid);
	if (!setresuid(0, 0, 0) || errno != EPERM)
		die_plainly("root could be had again");
}
