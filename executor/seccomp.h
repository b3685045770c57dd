/* The system calls that Nix keeps from its builders: those that make set-user-ID files or extended attributes. */
#ifndef SECCOMP_H
#define SECCOMP_H

/* For this process and all that come of it. Returns -1 with errno set. */
int seccomp_install(void);

#endif
