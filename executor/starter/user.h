/* The system user that the server runs as when it was started as root. */
#ifndef USER_H
#define USER_H

#include <sys/types.h>

struct user {
	uid_t uid;
	gid_t gid;
};

/* Finds the user in /etc/passwd, or makes it and says so. */
struct user user_ensure(const char *name);

/* Becomes the user for good: no group but the one that may use KVM, no capability, and none to be had again. */
void user_become(const struct user *user);

#endif
