/*
 * The sandbox's directory tree, and the terminal of its builder.
 *
 * The executor starts in a directory of its own, as root of a user namespace in which BUILDER is another user, and
 * finds there, made by whoever started it:
 *
 *   root/             the root of the sandbox to be, 0750, of group BUILDER
 *   root/nix/store/   01775, of group BUILDER, with the inputs in it
 *   proc/             procfs of the executor's own pid namespace
 *   sh                a static shell
 *
 * Where the inputs come from (bind mounts here, an overlay in a VM) is no business of the executor.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "job.h"

/* The user and group of the builder, in the executor's user namespace. */
enum { BUILDER = 1 };

/* The same in the builder's own, which is what it sees of itself. */
#define BUILDER_UID "1000"
#define BUILDER_GID "100"

#define STORE "root/nix/store"
#define BUILD_DIRECTORY "build"
#define ETC_DIRECTORY "root/etc"

/* Makes the directories, empty. */
void sandbox_prepare(void);

/* Mounts what belongs into them. */
void sandbox_mount(const struct job *job);

struct terminal {
	int master;
	int slave;
};

/* A pseudo-terminal in raw mode, in a devpts of its own. */
struct terminal sandbox_terminal(void);

#endif
