/*
 * What is said on the channel between the host and the executor, and how it is read and written.
 *
 * A frame is a type (u8), the length of its payload (u32, little-endian, at most FRAME_MAX) and the payload.
 * src/sandbox/executor/Frame.ts declares the same, and has the order in which each side speaks:
 *
 *   executor  BOOTED                  a machine of the build's own, and no other; a copy of one that has said so does not
 *   host      SEED, CLOCK, NETWORK    to such a machine
 *   executor  READY
 *   host      PROGRAM, ARGUMENT*, VARIABLE*, (BUILD_FILE | ETC_FILE, FILE_DATA*)*, OUTPUT*, RUN
 *   executor  LOG*, EXITED
 *   host      SEND                    any number of times, each answered before the next by
 *   executor  NAR_DATA*, NAR_END | NAR_REFUSED
 *   host      QUIT
 *
 * At any time after READY an executor in a machine of its own says HEARTBEAT, every second; any may say FAILED and end.
 * The host may close the channel, which ends everything.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HEADER_BYTES = 5,
	FRAME_MAX = 1 << 20,
	CHANNEL = 3,	/* the descriptor that it comes on, unless told otherwise */
};

enum frame_type {
	/* from the host */
	FRAME_PROGRAM = 1,	/* path of the builder */
	FRAME_ARGUMENT,		/* one word of argv, the zeroth first */
	FRAME_VARIABLE,		/* NAME=VALUE */
	FRAME_BUILD_FILE,	/* name of a file in the build directory; its contents follow */
	FRAME_ETC_FILE,		/* name of a file in /etc; its contents follow */
	FRAME_FILE_DATA,	/* bytes of the file named last */
	FRAME_OUTPUT,		/* base name of a declared output */
	FRAME_RUN,		/* u32 flags, u32 most processes, host name: all is told, begin */
	FRAME_SEND,		/* base name of the output to send */
	FRAME_CLOCK,		/* u64 nanoseconds since 1970 */
	FRAME_SEED,		/* 32 bytes of chance */
	FRAME_QUIT,		/* end */
	FRAME_NETWORK,		/* words, as in wire.h; or nothing */
	/* from the executor */
	FRAME_READY = 0x81,	/* u32 version of the protocol */
	FRAME_LOG,		/* what the builder wrote to its terminal */
	FRAME_EXITED,		/* struct exited, then a byte for each declared output: 1 if it is there */
	FRAME_NAR_DATA,
	FRAME_NAR_END,
	FRAME_NAR_REFUSED,	/* u8 enum refusal, path below the store directory */
	FRAME_FAILED,		/* call: what it was about: error */
	FRAME_HEARTBEAT,
	FRAME_BOOTED,		/* the machine is up, and waits for its first frame */
};

enum { PROTOCOL_VERSION = 4 };

/* Of FRAME_RUN. */
enum {
	RUN_NETWORK = 1,	/* shares the network of the executor */
	RUN_LINUX32 = 2,	/* says that it is a 32-bit machine */
	RUN_KVM = 4,		/* has /dev/kvm */
};

enum refusal {
	REFUSED_MISSING = 1,
	REFUSED_SUSPICIOUS,	/* ownership or permission of the output itself */
	REFUSED_OWNERSHIP,	/* a file in it is not the builder's */
	REFUSED_TYPE,		/* neither file, directory nor symlink */
	REFUSED_DEPTH,
	REFUSED_ENTRIES,	/* more names in one directory than are held in memory */
};

struct frame {
	uint8_t type;
	uint32_t length;
	uint8_t *payload;	/* valid until the next is read; followed by a NUL that is not counted */
};

/* Uses another descriptor than CHANNEL. */
void channel_open(int fd);
int channel_fd(void);

/*
 * Uses the descriptor of a machine's port. Who ends then ends the machine: `end` is called, with 0 if it is by the
 * host's wish. Without a descriptor, -1, failures go to the console.
 */
void channel_of_machine(int fd, void (*end)(int status));

/* From now on a sign of life every second, whenever we wait, and `also` is called with it. */
void channel_beat(void (*also)(void));

/* As poll, without a limit of time. */
int channel_poll(struct pollfd *events, nfds_t count);

/* Ends this process, or its machine. */
_Noreturn void channel_end(int status);

/* Waits for a frame. When the host has gone, or says QUIT, there is nothing left to do, and the process ends. */
struct frame channel_read(void);
void channel_write(enum frame_type type, const void *payload, size_t length);

/* The same of a payload that stands HEADER_BYTES bytes behind `frame`: in one piece, which is what a port takes best. */
void channel_write_whole(enum frame_type type, uint8_t *frame, size_t length);

/* Tells the host which call failed, with errno, and what it was about; then ends. */
_Noreturn void fail(const char *call, const char *about);

/* The same for what the host has asked and should not have. */
_Noreturn void fail_with(const char *what, const char *about);

#endif
