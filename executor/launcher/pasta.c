/* Its words, and what it reads and shows of itself. */
#include "pasta.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../die.h"

static void add(const char **words, const char *option, const char *value)
{
	while (*words)
		words++;
	words[0] = option;
	words[1] = value;
}

_Noreturn void pasta_become(int program, int gate, const char *resolver, const char *address4, const char *address6)
{
	char path[32];
	char *const environment[] = { NULL };
	const char *words[40] = {
		"pasta", "--foreground", "--quiet", "--netns-only", "--no-netns-quit", "--ns-ifname", "outside",
		/* Nothing of the host's is to be had by another name, and nobody comes in. */
		"--no-map-gw", "-t", "none", "-u", "none", "-T", "none", "-U", "none",
	};

	snprintf(path, sizeof(path), "/proc/self/fd/%d", gate);
	add(words, "--netns", path);
	add(words, "--address", address4);
	if (address6)
		add(words, "--address", address6);
	else
		add(words, "--ipv4-only", NULL);
	if (resolver)
		add(words, "--dns-forward", resolver);
	/* By descriptor: this user may not be able to walk to the program. */
	syscall(SYS_execveat, program, "", (char *const *)words, environment, AT_EMPTY_PATH);
	die("execveat of pasta");
}

static int has_filter(pid_t process)
{
	char path[64], line[256];
	int found = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", process);
	status = fopen(path, "re");
	while (status && !found && fgets(line, sizeof(line), status))
		found = !strcmp(line, "Seccomp:\t2\n");
	if (status)
		fclose(status);
	return found;
}

void pasta_await_filter(pid_t pasta)
{
	static const struct timespec millisecond = { .tv_nsec = 1000000 };

	while (!has_filter(pasta)) {
		if (waitpid(pasta, NULL, WNOHANG))
			die_plainly("pasta has ended early");
		nanosleep(&millisecond, NULL);
	}
}

/* The one that pasta reads; told of a resolver in its arguments, it would ask whoever is at the host's loopback. */
void pasta_write_resolver(const char *resolver)
{
	FILE *file;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL))
		die("unshare");
	if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k"))
		die("mounting /tmp");
	file = fopen("/tmp/resolv.conf", "we");
	if (!file || fprintf(file, "nameserver %s\n", resolver) < 0 || fclose(file))
		die("writing resolv.conf");
	if (chmod("/tmp/resolv.conf", 0644) || mount("/tmp/resolv.conf", "/etc/resolv.conf", NULL, MS_BIND, NULL))
		die("mounting resolv.conf");
}
