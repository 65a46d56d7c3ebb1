#include "common/base/streak.h"

#include "common/base/clock.h"

void streak_init(struct streak *s)
{
    *s = (struct streak){.failures = 0};
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
}

void streak_fini(struct streak *s)
{
    pthread_mutex_destroy(&s->lock);
}

void streak_success(struct streak *s)
{
    pthread_mutex_lock(&s->lock);
    s->failures = 0;
    pthread_mutex_unlock(&s->lock);
}

void streak_failure(struct streak *s, const struct err *e)
{
    pthread_mutex_lock(&s->lock);
    s->failures++;
    s->last_ms = clock_mono_ms();
    s->last = *e;
    pthread_mutex_unlock(&s->lock);
}

bool streak_lasts(struct streak *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    bool lasts = s->failures >= STREAK_FAILURES && clock_mono_ms() - s->last_ms < STREAK_FORGET_MS;
    if (lasts) {
        *e = s->last;
    }
    pthread_mutex_unlock(&s->lock);
    return lasts;
}
