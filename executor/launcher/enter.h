/* How the launcher gets to be who it has to be, and where. */
#ifndef ENTER_H
#define ENTER_H

/* Ends us when whoever started this program ends, or has ended. A change of user undoes it. Not for children of ours. */
void end_with_parent(void);

/* A word of our own that is a number, not negative. */
long number(const char *text);

/* Becomes id 0 of the wide namespace, by its descriptor, whoever we were. Nothing that it starts needs the descriptor. */
void enter(const char *descriptor, int keeps_groups);

/* The network of a process, by its number; or, by `none`, one of its own with nothing in it. */
void enter_network(const char *process);

#endif
