/*
 * A condition variable whose waits use the kernel's monotonic clock: neither a jump of the wall
 * clock nor a test's clock affects them. It is a pthread_cond_t otherwise: signal, broadcast and
 * destroy it as such.
 */
#ifndef MAYFLY_BASE_COND_H
#define MAYFLY_BASE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void cond_init(pthread_cond_t *cond);

/* The time timeout_ms from now (below 0: now) on the kernel's monotonic clock, in microseconds. */
int64_t cond_deadline_us(int64_t timeout_ms);

/* Waits until signalled (true; spurious wakeups are possible) or until that clock passes until_us
 * (false). */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us);

#endif
