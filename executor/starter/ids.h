/* The range of user and group ids that builds run under, and the wide user namespace over it. */
#ifndef IDS_H
#define IDS_H

#include <sys/types.h>

/* Two ids for every build at a time. */
enum { IDS_COUNT = 4096 };

struct ids {
	unsigned first;
	int lock;	/* held as long as it is open */
};

/*
 * Takes a range that no other server has, the one that `data` had last if it is free. As root anywhere above all
 * users; else within what /etc/subuid and /etc/subgid give to `user`. What the data directory still has of another
 * range is removed, since nobody else could.
 */
struct ids ids_take(const char *data, const char *user, uid_t uid, int as_root);

/* A user namespace owned by `uid`, in which 0 is `uid` and 1 is the first of the range; returns a descriptor of it. */
int ids_namespace(const struct ids *ids, uid_t uid, gid_t gid, int as_root);

#endif
