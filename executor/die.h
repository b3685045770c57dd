/* How the starter and the launcher fail: one line on stderr that names the call and what it was about. */
#ifndef DIE_H
#define DIE_H

/* Prints the text and errno, and ends with status 1. */
_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...);

/* The same where errno says nothing. */
_Noreturn __attribute__((format(printf, 1, 2))) void die_plainly(const char *format, ...);

#endif
