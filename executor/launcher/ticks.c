/*
 * Against the system's clock, over a twentieth of a second. Whoever is stopped between two readings of what belongs
 * together sees it by their distance, so the closest of many are taken.
 */
#include "ticks.h"

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

enum { TRIES = 1000, PAUSE_NANOSECONDS = 50 * 1000 * 1000 };

struct reading {
	int64_t nanoseconds;
	uint64_t ticks;
};

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_RAW, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static struct reading take(void)
{
	struct reading best = { 0 };
	int64_t closest = INT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		int64_t before = now();
		uint64_t ticks = __rdtsc();
		int64_t after = now();

		if (after - before < closest) {
			closest = after - before;
			best = (struct reading){ before + closest / 2, ticks };
		}
	}
	return best;
}

long ticks_kilohertz(void)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_NANOSECONDS };
	struct reading first = take(), last;

	nanosleep(&pause, NULL);
	last = take();
	return (long)((double)(last.ticks - first.ticks) * 1e6 / (double)(last.nanoseconds - first.nanoseconds));
}
#else
long ticks_kilohertz(void)
{
	return 0;
}
#endif
