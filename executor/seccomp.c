/*
 * One BPF program for every architecture that this kernel lets a process use, since a builder may switch.
 *
 * The list is that of the newest Nix. Nix 2.8 does not yet know of fchmodat2, and lets attributes be read and listed.
 */
#include "seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NEVER = -1 };

struct rule {
	int number;
	int mode;	/* which argument is a mode without set-ID bits; NEVER: whatever the arguments */
};

#define SET_ID_BITS 06000
#define X32 0x40000000

/* Since 5.1, new calls have one number everywhere. */
#define COMMON_RULES(abi) \
	{ (abi) | 452, 2 },		/* fchmodat2 */ \
	{ (abi) | 463, NEVER },		/* setxattrat */ \
	{ (abi) | 464, NEVER },		/* getxattrat */ \
	{ (abi) | 465, NEVER }		/* listxattrat */

#define X86_64_RULES(abi) \
	{ (abi) | 90, 1 },		/* chmod */ \
	{ (abi) | 91, 1 },		/* fchmod */ \
	{ (abi) | 268, 2 },		/* fchmodat */ \
	{ (abi) | 188, NEVER },		/* setxattr, lsetxattr, fsetxattr */ \
	{ (abi) | 189, NEVER }, \
	{ (abi) | 190, NEVER }, \
	{ (abi) | 191, NEVER },		/* getxattr, lgetxattr, fgetxattr */ \
	{ (abi) | 192, NEVER }, \
	{ (abi) | 193, NEVER }, \
	{ (abi) | 194, NEVER },		/* listxattr, llistxattr, flistxattr */ \
	{ (abi) | 195, NEVER }, \
	{ (abi) | 196, NEVER }, \
	COMMON_RULES(abi)

/* i386 and 32-bit Arm differ in one number. */
#define RULES_32(fchmodat) \
	{ 15, 1 },			/* chmod */ \
	{ 94, 1 },			/* fchmod */ \
	{ (fchmodat), 2 }, \
	{ 226, NEVER },			/* setxattr, lsetxattr, fsetxattr */ \
	{ 227, NEVER }, \
	{ 228, NEVER }, \
	{ 229, NEVER },			/* getxattr, lgetxattr, fgetxattr */ \
	{ 230, NEVER }, \
	{ 231, NEVER }, \
	{ 232, NEVER },			/* listxattr, llistxattr, flistxattr */ \
	{ 233, NEVER }, \
	{ 234, NEVER }, \
	COMMON_RULES(0)

#if defined(__x86_64__)
static const struct rule rules_64[] = { X86_64_RULES(0), X86_64_RULES(X32) };
static const struct rule rules_32[] = { RULES_32(306) };
#define ARCHITECTURE_64 AUDIT_ARCH_X86_64
#define ARCHITECTURE_32 AUDIT_ARCH_I386
#elif defined(__aarch64__)
static const struct rule rules_64[] = {
	{ 52, 1 },			/* fchmod */
	{ 53, 2 },			/* fchmodat */
	{ 5, NEVER },			/* setxattr, lsetxattr, fsetxattr */
	{ 6, NEVER },
	{ 7, NEVER },
	{ 8, NEVER },			/* getxattr, lgetxattr, fgetxattr */
	{ 9, NEVER },
	{ 10, NEVER },
	{ 11, NEVER },			/* listxattr, llistxattr, flistxattr */
	{ 12, NEVER },
	{ 13, NEVER },
	COMMON_RULES(0)
};
static const struct rule rules_32[] = { RULES_32(333) };
#define ARCHITECTURE_64 AUDIT_ARCH_AARCH64
#define ARCHITECTURE_32 AUDIT_ARCH_ARM
#else
#error "no list of system calls for this architecture"
#endif

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* The longest that a rule becomes. */
enum { RULE_LENGTH = 5 };

static struct sock_filter program[RULE_LENGTH * (COUNT(rules_64) + COUNT(rules_32)) + 16];
static unsigned short length;

static void emit(uint16_t code, uint8_t yes, uint8_t no, uint32_t value)
{
	program[length++] = (struct sock_filter){ code, yes, no, value };
}

static void load(size_t offset)
{
	emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(uint32_t value)
{
	emit(BPF_RET | BPF_K, 0, 0, value);
}

static void emit_rule(const struct rule *rule)
{
	if (rule->mode == NEVER) {
		emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)rule->number);
		answer(SECCOMP_RET_ERRNO | ENOTSUP);
		return;
	}
	emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, (uint32_t)rule->number);
	/* The lower half: both architectures are little-endian. */
	load(offsetof(struct seccomp_data, args) + 8 * (size_t)rule->mode);
	emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, SET_ID_BITS);
	answer(SECCOMP_RET_ERRNO | EPERM);
	answer(SECCOMP_RET_ALLOW);
}

static void emit_architecture(uint32_t architecture, const struct rule *rules, size_t count)
{
	unsigned short jump;

	load(offsetof(struct seccomp_data, arch));
	emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, architecture);
	jump = length;
	emit(BPF_JMP | BPF_JA, 0, 0, 0);
	load(offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++)
		emit_rule(&rules[i]);
	answer(SECCOMP_RET_ALLOW);
	program[jump].k = length - jump - 1u;
}

int seccomp_install(void)
{
	struct sock_fprog filter;

	length = 0;
	emit_architecture(ARCHITECTURE_64, rules_64, COUNT(rules_64));
	emit_architecture(ARCHITECTURE_32, rules_32, COUNT(rules_32));
	answer(SECCOMP_RET_KILL_PROCESS);
	filter = (struct sock_fprog){ length, program };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
}
