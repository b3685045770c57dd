/*
 * Resource limits and measures. Those of a cgroup come from the machine's own; where there is none, the host adds its.
 */
#include "resources.h"

#include <sys/statvfs.h>
#include <sys/wait.h>

#include "channel.h"
#include "group.h"
#include "sandbox.h"

/* As a daemon gets them from its init; a builder may raise the soft one. */
enum { OPEN_FILES = 1024, OPEN_FILES_MAX = 524288 };

static void limit(int resource, rlim_t soft, rlim_t hard, const char *name)
{
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)resource, &now))
		fail("getrlimit", name);
	now.rlim_max = hard < now.rlim_max ? hard : now.rlim_max;
	now.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
	if (setrlimit((__rlimit_resource_t)resource, &now))
		fail("setrlimit", name);
}

void resources_limit(uint32_t processes_max)
{
	/* Of the executor's own user, and of every user in namespaces below: a bound on the whole build. */
	limit(RLIMIT_NPROC, processes_max, processes_max, "RLIMIT_NPROC");
	limit(RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES_MAX, "RLIMIT_NOFILE");
	limit(RLIMIT_CORE, 0, RLIM_INFINITY, "RLIMIT_CORE");
}

static uint64_t microseconds(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

struct exited resources_used(int status, int not_started, const struct rusage *usage)
{
	struct statvfs scratch;
	struct exited exited = { .memory_peak_bytes = UNKNOWN, .oom_kills = UNKNOWN };

	if (statvfs(BUILD_DIRECTORY, &scratch))
		fail("statvfs", BUILD_DIRECTORY);
	exited.kind = not_started ? NOT_STARTED : WIFSIGNALED(status) ? SIGNALLED : EXITED;
	exited.value = (uint8_t)(not_started ? not_started : WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	exited.user_microseconds = microseconds(usage->ru_utime);
	exited.system_microseconds = microseconds(usage->ru_stime);
	exited.resident_bytes_max = (uint64_t)usage->ru_maxrss * 1024;
	exited.scratch_bytes_free = (uint64_t)scratch.f_bavail * scratch.f_frsize;
	exited.scratch_inodes_free = scratch.f_favail;
	group_count(&exited);
	return exited;
}
