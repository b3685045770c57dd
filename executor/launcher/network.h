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
 * pasta (of passt) makes the host's sockets for what comes through. It and the one that keeps the namespaces run as an
 * id of their own, in a user namespace of their own, so that neither the build nor its executor has any say over them.
 */
#ifndef NETWORK_H
#define NETWORK_H

/*
 * Makes it, and returns when it is gone: 0 if SIGTERM has ended it, else 1. `words` end with NULL: the program of passt; INSIDE=OUTSIDE,
 * the address at which the build finds a resolver and that of the host's, or `none`; and prefixes, +PREFIX for what may
 * be reached and -PREFIX for what may not, of which the longest counts. Addresses of IP version 6 are there if any
 * prefix is of them.
 *
 * We are id 0 of the user namespace, of which `id` is another. Once the network is there, the number of a process in
 * the build's namespace is written to stdout.
 */
int network_run(unsigned id, char *const *words);

#endif
