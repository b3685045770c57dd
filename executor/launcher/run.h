/* Runs one executor as a process of this host, and removes what it leaves. */
#ifndef RUN_H
#define RUN_H

/* `words`: NAMESPACE SCRATCH ROOT BUILDER EXECUTOR NETWORK, as main.c says; `cgroups` end with NULL. */
void run(char **words, char **cgroups);

#endif
