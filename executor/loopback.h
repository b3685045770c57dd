/* The loopback interface, which every network namespace has, and has down. */
#ifndef LOOPBACK_H
#define LOOPBACK_H

/* Raises that of the caller's namespace; -1 and errno where it cannot. */
int loopback_raise(void);

#endif
