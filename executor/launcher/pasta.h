/* pasta, of the package passt: the process that makes sockets of the host's for what comes out of a gate; see network.h. */
#ifndef PASTA_H
#define PASTA_H

#include <sys/types.h>

/* Shows it, in a mount namespace of our own, the one resolver that it is to ask. */
void pasta_write_resolver(const char *resolver);

/*
 * Becomes it. `gate` is the descriptor of the network namespace; `resolver` the address within by which the build asks
 * for names, or NULL; the addresses are the build's, of which that of version 6 may be NULL.
 */
_Noreturn void pasta_become(int program, int gate, const char *resolver, const char *address4, const char *address6);

/*
 * Waits until it has given up what it has no use for: it does so only after its interface is there, and no build is to
 * meet it before. Ends us if it ends.
 */
void pasta_await_filter(pid_t pasta);

#endif
