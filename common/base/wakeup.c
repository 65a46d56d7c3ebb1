#include "common/base/wakeup.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "common/base/attr.h"
#include "common/base/cond.h"

void wakeup_init(struct wakeup *s)
{
    *s = (struct wakeup){0};
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    cond_init(&s->cond);
}

void wakeup_fini(struct wakeup *s)
{
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
}

void wakeup_raise(struct wakeup *s)
{
    pthread_mutex_lock(&s->lock);
    s->raised = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

bool wakeup_raised(struct wakeup *s)
{
    pthread_mutex_lock(&s->lock);
    bool raised = s->raised;
    pthread_mutex_unlock(&s->lock);
    return raised;
}

void wakeup_signal(struct wakeup *s)
{
    pthread_mutex_lock(&s->lock);
    s->wakes++;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

uint64_t wakeup_count(struct wakeup *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t wakes = s->wakes;
    pthread_mutex_unlock(&s->lock);
    return wakes;
}

static bool wait_for_wakeup(struct wakeup *s, uint64_t seen, bool wakes_count, int64_t timeout_ms)
{
    int64_t until_us = cond_deadline_us(timeout_ms);
    while (!s->raised && (!wakes_count || s->wakes == seen) &&
           cond_wait_until(&s->cond, &s->lock, until_us)) {
    }
    return s->raised;
}

bool wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms)
{
    pthread_mutex_lock(&s->lock);
    bool raised = wait_for_wakeup(s, seen, true, timeout_ms);
    pthread_mutex_unlock(&s->lock);
    return raised;
}

bool wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    pthread_mutex_lock(&s->lock);
    bool raised = wait_for_wakeup(s, 0, false, timeout_ms);
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

void signals_block(void)
{
    sigset_t set;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    program_signals(&set);
    ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    ASSERT(sigaction(SIGPIPE, &ignore, NULL) == 0);
    ASSERT(sigaction(SIGXFSZ, &ignore, NULL) == 0);
}

int signals_wait(int64_t timeout_ms)
{
    sigset_t set;
    int signal_number = -1;
    int64_t until_us = cond_deadline_us(timeout_ms);
    program_signals(&set);
    do {
        int64_t left_us = until_us - cond_deadline_us(0);
        left_us = left_us > 0 ? left_us : 0;
        struct timespec left = {.tv_sec = (time_t)(left_us / 1000000),
                                .tv_nsec = (long)(left_us % 1000000 * 1000)};
        signal_number = sigtimedwait(&set, NULL, &left);
        /* Another signal's handler, or a debugger, can end the call early. */
    } while (signal_number < 0 && errno == EINTR);
    return signal_number > 0 ? signal_number : 0;
}

bool signals_stop_pending(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}
