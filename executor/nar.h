/* Writes an output as a NAR, in the order and with the metadata that Nix gives it. */
#ifndef NAR_H
#define NAR_H

#include <sys/types.h>

enum {
	NAR_DEPTH_MAX = 64,			/* components below the output itself */
	NAR_DIRECTORY_BYTES_MAX = 64 << 20,	/* names of one directory, with what it costs to hold them */
};

/* Sends `name` in the directory `store` to the host, or why not. All of it has to be `owner`'s. */
void nar_send(int store, const char *name, uid_t owner);

#endif
