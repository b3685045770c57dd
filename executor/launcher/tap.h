/*
 * A port of a network namespace that frames come out of and go into by a descriptor: what a virtual machine is plugged
 * into, which then needs no network of its own on the host.
 */
#ifndef TAP_H
#define TAP_H

/* Makes one of that name in the namespace that we are in. It stays until the namespace goes. */
void tap_make(const char *name);

/* A descriptor of the one that was made there. Nobody else may have one. */
int tap_open(const char *name);

#endif
