/* Makes directories reachable for a user who cannot walk to them, at the same paths, in a mount namespace of our own. */
#ifndef REACH_H
#define REACH_H

#include <stddef.h>

#include "user.h"

enum { REACH_MAX = 16 };

/* `paths` are absolute. Ends with an error if one of them cannot be used even so. */
void reach(const struct user *user, const char *const *paths, size_t count);

#endif
