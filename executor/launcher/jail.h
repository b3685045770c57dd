/* Runs a program as somebody who owns nothing, with a few directories of ours in sight. */
#ifndef JAIL_H
#define JAIL_H

/*
 * Becomes the program, under the id of the user namespace that we are in. The directories are found as /tmp/0, /tmp/1, …:
 * places that this id can walk to, whoever may walk to where they are. Both lists end with NULL. Descriptors up to
 * `last` stay open, all others are closed.
 */
_Noreturn void jail(unsigned id, char *const *directories, char *const *program, int last);

/* The descriptor of the port of a network, where there is one; those before it are others'. */
enum { JAIL_PORT = 8 };

#endif
