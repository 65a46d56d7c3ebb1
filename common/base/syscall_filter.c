#include "common/base/syscall_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the filter knows x86-64 and arm64"
#endif

#define CALL (uint32_t) offsetof(struct seccomp_data, nr)
#define ARGUMENT(n) (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n)) /* its low half */

static void add_rule(struct syscall_filter *f, struct sock_filter rule)
{
    ASSERT(f->count < SYSCALL_FILTER_MAX);
    f->rules[f->count++] = rule;
}

static void load(struct syscall_filter *f, uint32_t offset)
{
    add_rule(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

/* Each of the two is a number of rules to skip. */
static void jump(struct syscall_filter *f, uint16_t test, uint32_t value, uint8_t yes, uint8_t no)
{
    const uint16_t code = (uint16_t)(BPF_JMP | test | BPF_K);
    add_rule(f, (struct sock_filter)BPF_JUMP(code, value, yes, no));
}

static void end(struct syscall_filter *f, uint32_t action)
{
    add_rule(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* With the number of the call loaded, as after each function below. */
void syscall_filter_begin(struct syscall_filter *f)
{
    f->count = 0;
    load(f, offsetof(struct seccomp_data, arch));
    jump(f, BPF_JEQ, ARCHITECTURE, 1, 0);
    end(f, SECCOMP_RET_KILL_PROCESS);
    load(f, CALL);
#ifdef __x86_64__
    /* The x32 interface has the same calls under other numbers. */
    jump(f, BPF_JGE, 0x40000000, 0, 1);
    end(f, SECCOMP_RET_ERRNO | EPERM);
#endif
}

void syscall_filter_deny(struct syscall_filter *f, int call, uint32_t errnum)
{
    jump(f, BPF_JEQ, (uint32_t)call, 0, 1);
    end(f, SECCOMP_RET_ERRNO | errnum);
}

void syscall_filter_deny_all(struct syscall_filter *f, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        syscall_filter_deny(f, calls[i], EPERM);
    }
}

void syscall_filter_deny_value(struct syscall_filter *f, int call, unsigned argument,
                               uint32_t value)
{
    jump(f, BPF_JEQ, (uint32_t)call, 0, 4);
    load(f, ARGUMENT(argument));
    jump(f, BPF_JEQ, value, 0, 1);
    end(f, SECCOMP_RET_ERRNO | EPERM);
    load(f, CALL);
}

void syscall_filter_allow_values(struct syscall_filter *f, int call, unsigned argument,
                                 const uint32_t *values, size_t count)
{
    jump(f, BPF_JEQ, (uint32_t)call, 0, (uint8_t)(2 + 2 * count));
    load(f, ARGUMENT(argument));
    for (size_t i = 0; i < count; i++) {
        jump(f, BPF_JEQ, values[i], 0, 1);
        end(f, SECCOMP_RET_ALLOW);
    }
    end(f, SECCOMP_RET_ERRNO | EPERM);
}

static void allow_by_bits(struct syscall_filter *f, int call, unsigned argument, uint32_t bits,
                          bool when_set)
{
    jump(f, BPF_JEQ, (uint32_t)call, 0, 4);
    load(f, ARGUMENT(argument));
    jump(f, BPF_JSET, bits, when_set ? 1 : 0, when_set ? 0 : 1);
    end(f, SECCOMP_RET_ERRNO | EPERM);
    end(f, SECCOMP_RET_ALLOW);
}

void syscall_filter_allow_with_bits(struct syscall_filter *f, int call, unsigned argument,
                                    uint32_t bits)
{
    allow_by_bits(f, call, argument, bits, true);
}

void syscall_filter_allow_without_bits(struct syscall_filter *f, int call, unsigned argument,
                                       uint32_t bits)
{
    allow_by_bits(f, call, argument, bits, false);
}

int syscall_filter_install(struct syscall_filter *f)
{
    end(f, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {.len = f->count, .filter = f->rules};
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
