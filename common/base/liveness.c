#include "common/base/liveness.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/queue.h>

#include "common/base/attr.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define RESTING INT64_MAX

struct loop {
    LIST_ENTRY(loop) link; /* under `lock`, as the next three */
    const char *name;      /* NULL: not entered */
    int64_t limit_ms;
    bool reported;
    int64_t beat_ms; /* atomic; monotonic: when it last moved, or RESTING */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, loop) loops = LIST_HEAD_INITIALIZER(loops);
static _Thread_local struct loop this_loop;

void liveness_enter(const char *name, int64_t limit_ms)
{
    struct loop *l = &this_loop;
    ASSERT(l->name == NULL && limit_ms > 0);
    *l = (struct loop){.name = name, .limit_ms = limit_ms, .beat_ms = clock_mono_ms()};
    (void)pthread_mutex_lock(&lock);
    LIST_INSERT_HEAD(&loops, l, link);
    (void)pthread_mutex_unlock(&lock);
}

void liveness_leave(void)
{
    ASSERT(this_loop.name != NULL);
    (void)pthread_mutex_lock(&lock);
    LIST_REMOVE(&this_loop, link);
    (void)pthread_mutex_unlock(&lock);
    this_loop.name = NULL;
}

static void set_beat(int64_t ms)
{
    if (this_loop.name != NULL) {
        __atomic_store_n(&this_loop.beat_ms, ms, __ATOMIC_RELAXED);
    }
}

void liveness_beat(void)
{
    if (this_loop.name != NULL) {
        set_beat(clock_mono_ms());
    }
}

void liveness_rest(void)
{
    set_beat(RESTING);
}

/* How long a loop has not moved; 0 while it rests. */
static int64_t still_ms(const struct loop *l)
{
    int64_t beat_ms = __atomic_load_n(&l->beat_ms, __ATOMIC_RELAXED);
    return beat_ms == RESTING ? 0 : clock_mono_ms() - beat_ms;
}

static void report_stuck(struct loop *l, int64_t ms, struct buf *why)
{
    buf_printf(why, "%s%s has not moved for %" PRId64 " s", why->len > 0 ? "; " : "", l->name,
               ms / 1000);
    if (!l->reported) {
        l->reported = true;
        log_error("loop_stuck", LOG_STR("loop", l->name), LOG_INT("duration_ms", ms),
                  LOG_STR("action", "/healthz fails until it moves; restart the program"));
    }
}

bool liveness_check(struct buf *why)
{
    bool alive = true;
    struct loop *l;
    (void)pthread_mutex_lock(&lock);
    LIST_FOREACH(l, &loops, link)
    {
        int64_t ms = still_ms(l);
        if (ms > l->limit_ms) {
            report_stuck(l, ms, why);
            alive = false;
        } else {
            l->reported = false;
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return alive;
}
