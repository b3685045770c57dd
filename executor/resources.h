/* What the builder may take, and what it took. */
#ifndef RESOURCES_H
#define RESOURCES_H

#include <stdint.h>
#include <sys/resource.h>

/* Limits of the builder and all its processes, before it is cloned. */
void resources_limit(uint32_t processes_max);

/* For what nobody counts. */
#define UNKNOWN UINT64_MAX

/* LOG_CLOSED: still ran when nobody could write to its log any more, and was killed for that. */
enum exit_kind { EXITED, SIGNALLED, NOT_STARTED, LOG_CLOSED };

/* Payload of FRAME_EXITED, little-endian. */
struct __attribute__((packed)) exited {
	uint8_t kind;
	uint8_t value;			/* exit status, signal, or errno of execve */
	uint64_t user_microseconds;
	uint64_t system_microseconds;
	uint64_t resident_bytes_max;	/* of the largest process; of the whole build, where more of it was seen */
	uint64_t scratch_bytes_free;
	uint64_t scratch_inodes_free;
	uint64_t memory_peak_bytes;	/* of the whole build */
	uint64_t oom_kills;		/* of its processes */
};

struct exited resources_used(int status, int not_started, const struct rusage *usage);

#endif
