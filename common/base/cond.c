#include "common/base/cond.h"

#include <errno.h>
#include <time.h>

#include "common/base/attr.h"
#include "common/base/liveness.h"

#define FOREVER_MS ((int64_t)1000 * 365 * 24 * 3600 * 1000)

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    ASSERT(pthread_condattr_init(&attr) == 0);
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us)
{
    const struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
                                   .tv_nsec = (long)(until_us % 1000000 * 1000)};
    liveness_rest();
    int rc = pthread_cond_timedwait(cond, lock, &until);
    liveness_beat();
    return rc != ETIMEDOUT;
}

int64_t cond_deadline_us(int64_t timeout_ms)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 +
           (timeout_ms < 0            ? 0
            : timeout_ms < FOREVER_MS ? timeout_ms * 1000
                                      : FOREVER_MS * 1000);
}
