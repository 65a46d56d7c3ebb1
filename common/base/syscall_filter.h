/*
 * A seccomp(2) filter in the making: which system calls this process keeps, until its end and in all
 * processes that it starts. Begin it, add rules, install it.
 *
 * The first rule that names a call decides; a call that none names is allowed. Of an argument the
 * filter sees the low 32 bits. Calls of another architecture end the process. A filter holds
 * SYSCALL_FILTER_MAX rules of the kernel; more is an assertion.
 */
#ifndef MAYFLY_BASE_SYSCALL_FILTER_H
#define MAYFLY_BASE_SYSCALL_FILTER_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"

#define SYSCALL_FILTER_MAX 160

struct syscall_filter {
    struct sock_filter rules[SYSCALL_FILTER_MAX];
    unsigned short count;
};

void syscall_filter_begin(struct syscall_filter *f);

/* The call fails with this errno. */
void syscall_filter_deny(struct syscall_filter *f, int call, uint32_t errnum);

/* Each of the calls fails with EPERM. */
void syscall_filter_deny_all(struct syscall_filter *f, const int *calls, size_t count);

/* The call fails with EPERM when the argument (from 0) has this value. */
void syscall_filter_deny_value(struct syscall_filter *f, int call, unsigned argument,
                               uint32_t value);

/* The call is allowed with these values of an argument, and fails with EPERM otherwise. */
void syscall_filter_allow_values(struct syscall_filter *f, int call, unsigned argument,
                                 const uint32_t *values, size_t count);

/* The call is allowed when one of these bits of an argument is set, and fails with EPERM otherwise. */
void syscall_filter_allow_with_bits(struct syscall_filter *f, int call, unsigned argument,
                                    uint32_t bits);

/* The call is allowed when none of these bits of an argument is set, and fails with EPERM otherwise. */
void syscall_filter_allow_without_bits(struct syscall_filter *f, int call, unsigned argument,
                                       uint32_t bits);

/* no_new_privs is set (prctl(2)), or the process has CAP_SYS_ADMIN. Sets errno. */
MUST_CHECK int syscall_filter_install(struct syscall_filter *f);

#endif
