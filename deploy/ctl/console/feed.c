/*
 * The stream's source: a thread that reads a snapshot of the stores each `every_ms` while somebody
 * looks, however many do.
 *
 * A store that is away does not end it: an event of trouble has the error and since when, and the page
 * goes on showing what it has. Each try after it opens the stores anew.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/thread.h"
#include "deploy/ctl/cli/report.h"
#include "deploy/ctl/cli/stores.h"
#include "deploy/ctl/commands.h"
#include "deploy/ctl/console/console.h"

struct feed {
    struct ctl ctl; /* the thread's own, with its stores */
    struct snapshot snapshot;
    int64_t every_ms;
    int64_t trouble_since_ms; /* wall clock; 0: the last try succeeded */
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    size_t viewers;
    struct buf event; /* the newest; empty: none yet */
    int64_t event_ms; /* monotonic */
    bool is_new;
    bool stopping;
};

void feed_append_event(struct buf *out, const char *name, struct slice data)
{
    buf_printf(out, "event: %s\ndata: ", name);
    buf_append(out, data);
    buf_append_cstr(out, "\n\n");
}

/* --- the thread --- */

static json_t *describe_trouble(struct feed *f, const struct err *e)
{
    f->trouble_since_ms = f->trouble_since_ms == 0 ? clock_wall_ms() : f->trouble_since_ms;
    json_t *o = report_object(e);
    json_object_set_new(o, "since", ctl_time(f->trouble_since_ms));
    json_object_set_new(o, "at", ctl_time(clock_wall_ms()));
    return o;
}

static json_t *read_stores(struct feed *f, const char **name)
{
    struct err e = {0};
    json_t *answer = NULL;
    *name = "snapshot";
    if (ctl_open_stores(&f->ctl, CTL_QUEUE | CTL_LEDGER, &e) != 0 ||
        snapshot_build(&f->snapshot, &f->ctl, &answer, &e) != 0) {
        ctl_close_stores(&f->ctl);
        *name = "trouble";
        return describe_trouble(f, &e);
    }
    f->trouble_since_ms = 0;
    return answer;
}

/* The text has no line's end in it: jansson escapes control characters. */
static void render(struct feed *f, const char *name, json_t *answer, size_t viewers,
                   struct buf *out)
{
    struct err e;
    json_object_set_new(answer, "viewers", json_integer((json_int_t)viewers));
    json_object_set_new(answer, "every_ms", json_integer(f->every_ms));
    char *text = json_dumps(answer, JSON_COMPACT);
    ASSERT(text != NULL);
    feed_append_event(out, name, slice_of(text));
    free(text);
    if (out->failed) {
        console_limit_reached(CONSOLE_LIMIT_SNAPSHOT);
        (void)err_set(&e, ERR_CAPACITY, 0, "a snapshot of this fleet is larger than %zu bytes",
                      CONSOLE_EVENT_LIMIT_BYTES);
        json_t *trouble = describe_trouble(f, &e);
        text = json_dumps(trouble, JSON_COMPACT);
        ASSERT(text != NULL);
        buf_reset(out);
        feed_append_event(out, "trouble", slice_of(text));
        free(text);
        json_decref(trouble);
    }
}

static void publish(struct feed *f, struct buf *event)
{
    const uint64_t one = 1;
    struct buf old = f->event;
    f->event = *event;
    f->event_ms = clock_mono_ms();
    f->is_new = true;
    buf_fini(&old);
    (void)!write(f->wake_fd, &one, sizeof one);
}

static void *run_feed(void *arg)
{
    struct feed *f = arg;
    int64_t next_us = cond_deadline_us(0);
    pthread_mutex_lock(&f->lock);
    while (!f->stopping) {
        if (f->viewers == 0) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        if (cond_wait_until(&f->changed, &f->lock, next_us)) {
            continue; /* viewers came or went: its time has not come */
        }
        struct buf event;
        const char *name = NULL;
        size_t viewers = f->viewers;
        next_us = cond_deadline_us(f->every_ms);
        pthread_mutex_unlock(&f->lock);
        json_t *answer = read_stores(f, &name);
        buf_init(&event, CONSOLE_EVENT_LIMIT_BYTES);
        render(f, name, answer, viewers, &event);
        json_decref(answer);
        pthread_mutex_lock(&f->lock);
        publish(f, &event);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* --- for the server --- */

void feed_set_viewers(struct feed *f, size_t viewers)
{
    pthread_mutex_lock(&f->lock);
    if (f->viewers != viewers) {
        f->viewers = viewers;
        pthread_cond_signal(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
}

bool feed_take(struct feed *f, struct buf *out)
{
    pthread_mutex_lock(&f->lock);
    bool is_new = f->is_new;
    if (is_new) {
        buf_append(out, buf_slice(&f->event));
        f->is_new = false;
    }
    pthread_mutex_unlock(&f->lock);
    return is_new;
}

void feed_append_last(struct feed *f, struct buf *out)
{
    pthread_mutex_lock(&f->lock);
    if (f->event.len > 0 && clock_mono_ms() - f->event_ms <= 2 * f->every_ms) {
        buf_append(out, buf_slice(&f->event));
    }
    pthread_mutex_unlock(&f->lock);
}

/* --- its life --- */

static void feed_free(struct feed *f)
{
    snapshot_fini(&f->snapshot);
    ctl_close_stores(&f->ctl);
    buf_fini(&f->event);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int feed_start(const struct ctl *c, int64_t every_ms, int wake_fd, struct feed **out, struct err *e)
{
    struct feed *f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    *f = (struct feed){
        .ctl = {.config = c->config, .serves = true}, .every_ms = every_ms, .wake_fd = wake_fd};
    ASSERT(pthread_mutex_init(&f->lock, NULL) == 0);
    cond_init(&f->changed);
    if (thread_start(&f->thread, "the console's feed", run_feed, f, e) != 0) {
        feed_free(f);
        return -1;
    }
    *out = f;
    return 0;
}

void feed_stop(struct feed *f)
{
    if (f == NULL) {
        return;
    }
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    feed_free(f);
}
