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
#include "../rtnetlink.h"
#include "pasta.h"
#include "tap.h"

enum { PREFIXES_MAX = 4096 };

enum side { BUILD, GATE };

#define BUILD_4 "192.0.0.66"
#define BUILD_6 "fd72:6f76:6572::2"

/* Nobody else's: the IETF keeps the first for wires like this one, and the second is a network that nobody announces. */
static const struct addresses {
	const char *build;	/* with the length of the wire's network */
	const char *gate;
	const char *next[2];	/* on the way out: of the build the gate, and of that pasta, which answers to every name */
} versions[] = {
	{ BUILD_4 "/30", "192.0.0.65/30", { "192.0.0.65", "192.0.0.70" } },
	{ BUILD_6 "/64", "fd72:6f76:6572::1/64", { "fd72:6f76:6572::1", "fe80::1" } },
};

static const struct {
	const char *path;
	const char *value;
	int version;	/* of those above, which has to be there */
} gate_settings[] = {
	{ "/proc/sys/net/ipv4/ip_forward", "1", 0 },
	{ "/proc/sys/net/ipv4/icmp_ratemask", "0", 0 },		/* each is told at once that it is refused */
	{ "/proc/sys/net/ipv6/conf/all/forwarding", "1", 1 },
	{ "/proc/sys/net/ipv6/icmp/ratelimit", "0", 1 },
	/* Who is on the wire has no say in where packets go. */
	{ "/proc/sys/net/ipv4/conf/all/accept_redirects", "0", 0 },
	{ "/proc/sys/net/ipv4/conf/all/accept_source_route", "0", 0 },
	{ "/proc/sys/net/ipv6/conf/default/accept_ra", "0", 1 },
	{ "/proc/sys/net/ipv6/conf/default/accept_redirects", "0", 1 },
	{ "/proc/sys/net/ipv6/conf/default/accept_dad", "0", 1 },	/* else it waits before it speaks */
};

struct asked {
	int program;
	int is_machine;
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
		.program = open(words[1], O_PATH | O_CLOEXEC),
		.is_machine = !strcmp(words[0], "machine"),
		.prefixes = words + 3,
		.versions = 1,
	};
	char *equals = strchr(words[2], '=');

	if (!asked.is_machine && strcmp(words[0], "process"))
		die_plainly("expected machine or process, found %s", words[0]);
	if (asked.program < 0)
		die("opening %s", words[1]);
	if (equals) {
		*equals = 0;
		asked.inside = words[2];
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

/* It stays in the network that we are in now. At our first word the gate is ours; at our second it begins. */
static pid_t fork_pasta(const struct asked *asked, const int ends[2])
{
	pid_t keeper = getpid(), pasta = fork();

	if (pasta < 0)
		die("fork");
	if (pasta == 0) {
		int gate;

		die_with(keeper);
		/* What is read from it is the keeper's word, and pasta listens to builds. */
		if (dup2(2, 1) < 0)
			die("dup2");
		hear(ends[1]);
		gate = open_namespace(keeper);
		say(ends[1]);
		hear(ends[1]);
		pasta_become(asked->program, gate, asked->inside, BUILD_4, asked->versions == 2 ? BUILD_6 : NULL);
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

static void refuse(const struct asked *asked, int routes)
{
	for (char *const *word = asked->prefixes; *word; word++) {
		const struct prefix prefix = prefix_parse(*word + 1);

		if (**word == '-')
			rtnetlink_refuse(routes, &prefix);
	}
}

static void add_route(int routes, const char *text, enum side side)
{
	const struct addresses *version = &versions[!!strchr(text, ':')];
	const struct prefix to = prefix_parse(text), next = prefix_parse(version->next[side]);

	rtnetlink_route(routes, &to, side == BUILD ? "eth0" : "outside", &next);
}

static void let_out(const struct asked *asked, int routes, enum side side)
{
	for (char *const *word = asked->prefixes; *word; word++)
		if (**word == '+')
			add_route(routes, *word + 1, side);
	if (asked->inside)
		add_route(routes, asked->inside, side);
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
	refuse(asked, gate.routes);
	return gate;
}

/* The gate's end of the wire. */
static void raise_wire(const struct asked *asked, const struct gate *gate)
{
	rtnetlink_raise(gate->routes, "build");
	for (int i = 0; i < asked->versions; i++) {
		const struct prefix own = prefix_parse(versions[i].gate);

		rtnetlink_address(gate->routes, "build", &own);
	}
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
	raise_wire(asked, gate);
	for (int i = 0; i < asked->versions; i++) {
		const struct prefix own = prefix_parse(versions[i].build);

		rtnetlink_address(build, "eth0", &own);
	}
	/* The same again: what the gate refuses it says to be so, but not always at once. */
	refuse(asked, build);
	let_out(asked, build, BUILD);
	close(build);
}

/* In one write, so that it is read as one. */
static void tell(const struct asked *asked)
{
	char line[256];
	int length = snprintf(line, sizeof(line), "%d", getpid());

	for (int i = 0; i < asked->versions; i++)
		length += snprintf(line + length, sizeof(line) - (size_t)length, " %s %s", versions[i].build,
				   versions[i].next[BUILD]);
	dprintf(1, "%s\n", line);
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
	if (asked->is_machine) {
		tap_make(NETWORK_PORT);
		raise_wire(asked, &gate);
	} else {
		make_build(asked, &gate);
	}
	say(ends[0]);
	close(ends[1]);
	if (rtnetlink_await(gate.arrivals, "outside", (int)syscall(SYS_pidfd_open, pasta, 0)))
		die_plainly("pasta has ended early");
	rtnetlink_raise(gate.routes, "outside");
	let_out(asked, gate.routes, GATE);
	pasta_await_filter(pasta);
	tell(asked);
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
static _Noreturn void become_keeper(const struct asked *asked, pid_t launcher, const int ends[2], const sigset_t *signals)
{
	/* Ours alone is the other end, so that the launcher's death is heard of. */
	close(ends[0]);
	hear(ends[1]);
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

/* Returns once every child is gone, whosoever child it was at first: 0 if that was asked for. */
static int await_all(pid_t keeper, const sigset_t *signals)
{
	int result = 1;

	for (;;) {
		pid_t ended = waitpid(-1, NULL, WNOHANG);

		if (ended < 0)
			return result;
		if (ended == 0 && sigwaitinfo(signals, NULL) == SIGTERM) {
			result = 0;
			kill(keeper, SIGKILL);
		}
	}
}

int network_run(unsigned id, char *const *words)
{
	const struct asked asked = parse(words);
	pid_t launcher = getpid(), keeper;
	sigset_t signals;
	int ends[2];

	if (asked.inside)
		pasta_write_resolver(asked.resolver);
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
		become_keeper(&asked, launcher, ends, &signals);
	write_map(keeper, "uid_map", id);
	write_map(keeper, "gid_map", id);
	say(ends[0]);
	close(1);
	return await_all(keeper, &signals);
}
