#include "common/base/stop.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "common/base/attr.h"

void stop_init(struct stop *s)
{
    pthread_condattr_t attr;
    *s = (struct stop){0};
    ASSERT(pthread_condattr_init(&attr) == 0);
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&s->cond, &attr) == 0);
    pthread_condattr_destroy(&attr);
}

void stop_fini(struct stop *s)
{
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
}

void stop_raise(struct stop *s)
{
    pthread_mutex_lock(&s->lock);
    s->raised = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

bool stop_raised(struct stop *s)
{
    pthread_mutex_lock(&s->lock);
    bool raised = s->raised;
    pthread_mutex_unlock(&s->lock);
    return raised;
}

void stop_wake(struct stop *s)
{
    pthread_mutex_lock(&s->lock);
    s->wakes++;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

uint64_t stop_wakes(struct stop *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t wakes = s->wakes;
    pthread_mutex_unlock(&s->lock);
    return wakes;
}

/* The condition's own clock, not the injectable one: the kernel does the waiting. */
static struct timespec after_ms(int64_t timeout_ms)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    int64_t ns = ts.tv_nsec + timeout_ms % 1000 * 1000000;
    ts.tv_sec += (time_t)(timeout_ms / 1000 + ns / 1000000000);
    ts.tv_nsec = (long)(ns % 1000000000);
    return ts;
}

static bool wait_locked(struct stop *s, uint64_t seen, bool wakes_count, int64_t timeout_ms)
{
    struct timespec until = after_ms(timeout_ms > 0 ? timeout_ms : 0);
    while (!s->raised && (!wakes_count || s->wakes == seen)) {
        if (pthread_cond_timedwait(&s->cond, &s->lock, &until) == ETIMEDOUT) {
            break;
        }
    }
    return s->raised;
}

bool stop_wait(struct stop *s, uint64_t seen, int64_t timeout_ms)
{
    pthread_mutex_lock(&s->lock);
    bool raised = wait_locked(s, seen, true, timeout_ms);
    pthread_mutex_unlock(&s->lock);
    return raised;
}

bool stop_sleep(struct stop *s, int64_t timeout_ms)
{
    pthread_mutex_lock(&s->lock);
    bool raised = wait_locked(s, 0, false, timeout_ms);
    pthread_mutex_unlock(&s->lock);
    return raised;
}

static void program_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void stop_block_signals(void)
{
    sigset_t set;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    program_signals(&set);
    ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    ASSERT(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

int stop_wait_signal(int64_t timeout_ms)
{
    sigset_t set;
    int signal_number = -1;
    struct timespec until = after_ms(timeout_ms);
    struct timespec now;
    program_signals(&set);
    do {
        ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
        int64_t left_ns = (until.tv_sec - now.tv_sec) * 1000000000 + until.tv_nsec - now.tv_nsec;
        left_ns = left_ns > 0 ? left_ns : 0;
        struct timespec left = {.tv_sec = (time_t)(left_ns / 1000000000),
                                .tv_nsec = (long)(left_ns % 1000000000)};
        signal_number = sigtimedwait(&set, NULL, &left);
        /* Another signal's handler, or a debugger, ends the call early; not the wait. */
    } while (signal_number < 0 && errno == EINTR);
    return signal_number > 0 ? signal_number : 0;
}
