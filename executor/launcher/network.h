/*
 * A network for one build that reaches the outside, but only where the policy lets it.
 *
 *   the build's namespace              the gate                            the host's
 *   eth0 ───────────── wire ─────────── build   routes   outside ── pasta ── sockets
 *
 * What is sent leaves the build by one interface, and is then forwarded by the gate: a namespace with nobody in it,
 * whose routes are the policy. A sender chooses an address, but not by which of the gate's routes it is sent. In its
 * own namespace it could: bound to an interface, a socket is not held by a route that refuses.
 *
 * A machine has its network card in the place of eth0, and the gate's end of the wire is a port (tap.h). Then there is no
 * namespace but the gate, and the routes of the build are whatever its guest likes: those of the gate hold.
 *
 * pasta (of passt) makes the host's sockets for what comes through. It and the one that keeps the namespaces run as an
 * id of their own, in a user namespace of their own, so that neither the build nor its executor has any say over them.
 */
#ifndef NETWORK_H
#define NETWORK_H

/*
 * Makes it, and returns when it is gone: 0 if SIGTERM has ended it, else 1. `words` end with NULL: `process` or
 * `machine`, what the build is to be; the program of passt; INSIDE=OUTSIDE, the address at which the build finds a
 * resolver and that of the host's, or `none`; and prefixes, +PREFIX for what may be reached and -PREFIX for what may
 * not, of which the longest counts. Addresses of IP version 6 are there if any prefix is of them.
 *
 * We are id 0 of the user namespace, of which `id` is another. Once the network is there, a line is written to stdout:
 * the number of a process in the build's namespace, or in the gate, whose port is NETWORK_PORT; and for each version of
 * IP the address of the build, with the length of its network, and that of the gate.
 */
#define NETWORK_PORT "build"

int network_run(unsigned id, char *const *words);

#endif
