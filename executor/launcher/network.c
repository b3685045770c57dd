/*
 * Three processes. The launcher's own waits, and is who is told to end. The keeper lives in the build's namespace,
 * having made it and the gate. pasta is the keeper's child. Each is killed when its parent ends.
 */
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../die.h"
#include "rtnetlink.h"

enum { PREFIXES_MAX = 4096 };

#define BUILD_4 "192.0.0.66"
#define BUILD_6 "fd72:6f76:6572::2"

/* Nobody else's: the IETF keeps the first for wires like this one, and the second is a network that nobody announces. */
static const struct addresses {
	const char *everywhere;
	const char *build;	/* with the length of the wire's network */
	const char *gate;
	const char *gateway;	/* of the build: the gate's address alone */
	const char *outside;	/* of the gate: pasta, which answers to every name */
} versions[] = {
	{ "0.0.0.0/0", BUILD_4 "/30", "192.0.0.65/30", "192.0.0.65", "192.0.0.70" },
	{ "::/0", BUILD_6 "/64", "fd72:6f76:6572::1/64", "fd72:6f76:6572::1", "fe80::1" },
};

static const struct {
	const char *path;
	const char *value;
	int version;	/* of those above, which has to be there */
} gate_settings[] = {
	{ "/proc/sys/net/ipv4/ip_forward", "1", 0 },
	{ "/proc/sys/net/ipv6/conf/all/forwarding", "1", 1 },
	{ "/proc/sys/net/ipv6/conf/default/accept_dad", "0", 1 },	/* else it waits before it speaks */
};

struct asked {
	int program;
	const char *inside;	/* the resolver; NULL for none */
	const char *resolver;
	char *const *prefixes;
	int versions;
};

/* A namespace that we are not in any more. */
struct gate {
	int namespace;
	int routes;
	int arrivals;	/* of interfaces */
};

static struct asked parse(char *const *words)
{
	struct asked asked = {
		.program = open(words[0], O_PATH | O_CLOEXEC),
		.prefixes = words + 2,
		.versions = 1,
	};
	char *equals = strchr(words[1], '=');

	if (asked.program < 0)
		die("opening %s", words[0]);
	if (equals) {
		*equals = 0;
		asked.inside = words[1];
		asked.resolver = equals + 1;
	}
	for (int i = 0; asked.prefixes[i]; i++) {
		if (i == PREFIXES_MAX || !strchr("+-", asked.prefixes[i][0]))
			die_plainly("expected %d prefixes with a sign at most, found %s", PREFIXES_MAX,
				    asked.prefixes[i]);
		if (strchr(asked.prefixes[i], ':'))
			asked.versions = 2;
	}
	return asked;
}

static void die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		die_plainly("the parent is gone");
}

static void say(int fd)
{
	if (write(fd, "", 1) != 1)
		die("speaking to the other process of a network");
}

static void hear(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		die_plainly("the other process of a network is gone");
}

static int open_namespace(pid_t process)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", process);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		die("opening %s", path);
	return fd;
}

static void add(const char **words, const char *option, const char *value)
{
	while (*words)
		words++;
	words[0] = option;
	words[1] = value;
}

static _Noreturn void become_pasta(const struct asked *asked, int gate)
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
	add(words, "--address", BUILD_4);
	if (asked->versions == 2)
		add(words, "--address", BUILD_6);
	else
		add(words, "--ipv4-only", NULL);
	add(words, "--dns", asked->inside ? asked->resolver : "none");
	if (asked->inside)
		add(words, "--dns-forward", asked->inside);
	/* By descriptor: this user may not be able to walk to the program. */
	syscall(SYS_execveat, asked->program, "", (char *const *)words, environment, AT_EMPTY_PATH);
	die("execveat of pasta");
}

/* It stays in the network that we are in now. At our first word the gate is ours; at our second it begins. */
static pid_t fork_pasta(const struct asked *asked, const int ends[2])
{
	pid_t keeper = getpid(), pasta = fork();

	if (pasta < 0)
		die("fork");
	if (pasta == 0) {
		int gate;

		die_with(keeper);
		hear(ends[1]);
		gate = open_namespace(keeper);
		say(ends[1]);
		hear(ends[1]);
		become_pasta(asked, gate);
	}
	return pasta;
}

static void write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		die("writing %s", path);
	close(fd);
}

/* It refuses before there is a way out, so that there never is one to what may not be reached. */
static struct gate make_gate(const struct asked *asked)
{
	struct gate gate;

	if (unshare(CLONE_NEWNET))
		die("making a network namespace");
	for (size_t i = 0; i < sizeof(gate_settings) / sizeof(gate_settings[0]); i++)
		if (gate_settings[i].version < asked->versions)
			write_setting(gate_settings[i].path, gate_settings[i].value);
	gate.namespace = open_namespace(getpid());
	gate.routes = rtnetlink_open();
	gate.arrivals = rtnetlink_listen();
	for (char *const *word = asked->prefixes; *word; word++) {
		const struct prefix prefix = prefix_parse(*word + 1);

		if (**word == '-')
			rtnetlink_refuse(gate.routes, &prefix);
	}
	return gate;
}

/* The namespace that we stay in, and its wire to the gate. */
static void make_build(const struct asked *asked, const struct gate *gate)
{
	int build;

	if (unshare(CLONE_NEWNET))
		die("making a network namespace");
	build = rtnetlink_open();
	rtnetlink_raise(build, "lo");
	rtnetlink_pair(build, "eth0", "build", gate->namespace);
	rtnetlink_raise(build, "eth0");
	rtnetlink_raise(gate->routes, "build");
	for (int i = 0; i < asked->versions; i++) {
		const struct prefix own = prefix_parse(versions[i].build), other = prefix_parse(versions[i].gate);
		const struct prefix all = prefix_parse(versions[i].everywhere);
		const struct prefix gateway = prefix_parse(versions[i].gateway);

		rtnetlink_address(build, "eth0", &own);
		rtnetlink_address(gate->routes, "build", &other);
		rtnetlink_route(build, &all, "eth0", &gateway);
	}
	close(build);
}

static void let_out(const struct gate *gate, const char *text)
{
	const struct prefix prefix = prefix_parse(text), outside = prefix_parse(versions[!!strchr(text, ':')].outside);

	rtnetlink_route(gate->routes, &prefix, "outside", &outside);
}

static _Noreturn void keep(const struct asked *asked)
{
	struct gate gate;
	int ends[2], status;
	pid_t pasta;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("socketpair");
	pasta = fork_pasta(asked, ends);
	gate = make_gate(asked);
	say(ends[0]);
	hear(ends[0]);
	make_build(asked, &gate);
	say(ends[0]);
	close(ends[1]);
	if (rtnetlink_await(gate.arrivals, "outside", (int)syscall(SYS_pidfd_open, pasta, 0)))
		die_plainly("pasta has ended early");
	rtnetlink_raise(gate.routes, "outside");
	for (char *const *word = asked->prefixes; *word; word++)
		if (**word == '+')
			let_out(&gate, *word + 1);
	if (asked->inside)
		let_out(&gate, asked->inside);
	dprintf(1, "%d\n", getpid());
	while (waitpid(pasta, &status, 0) < 0)
		if (errno != EINTR)
			die("waiting for pasta");
	die_plainly("pasta has ended with status %d", status);
}

static void write_map(pid_t process, const char *file, unsigned id)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/proc/%d/%s", process, file);
	snprintf(text, sizeof(text), "0 %u 1", id);
	write_setting(path, text);
}

/* The keeper is root of a namespace in which it is the only user there is, and outside of which it is `id`. */
static _Noreturn void become_keeper(const struct asked *asked, pid_t launcher, int end, const sigset_t *signals)
{
	hear(end);
	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		die("becoming id 0 of the network's namespace");
	/* The change of user has cleared what was set before; and who may not be looked at cannot look at itself. */
	if (prctl(PR_SET_DUMPABLE, 1) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("prctl");
	die_with(launcher);
	if (sigprocmask(SIG_UNBLOCK, signals, NULL) || syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC))
		die("close_range");
	keep(asked);
}

/* Returns once every child is gone, whosoever child it was at first. */
static void await_all(pid_t keeper, const sigset_t *signals)
{
	for (;;) {
		pid_t ended = waitpid(-1, NULL, WNOHANG);

		if (ended < 0)
			return;
		if (ended == 0 && sigwaitinfo(signals, NULL) == SIGTERM)
			kill(keeper, SIGKILL);
	}
}

void network_run(unsigned id, char *const *words)
{
	const struct asked asked = parse(words);
	pid_t launcher = getpid(), keeper;
	sigset_t signals;
	int ends[2];

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) || prctl(PR_SET_CHILD_SUBREAPER, 1) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		die("starting a network");
	keeper = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (keeper < 0)
		die("clone");
	if (keeper == 0)
		become_keeper(&asked, launcher, ends[1], &signals);
	write_map(keeper, "uid_map", id);
	write_map(keeper, "gid_map", id);
	say(ends[0]);
	close(1);
	await_all(keeper, &signals);
}
