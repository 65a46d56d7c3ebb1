/* Which deliveries of GitHub's log are new and concern us. */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/liveness.h"
#include "reaper/pull/internal.h"

#define KEPT_MS (3 * 24 * 3600 * 1000LL) /* GitHub's log goes back no further */
#define DEEP_READINGS 4                  /* in the time by which entries may be late */
#define PACED_INTERVALS 6 /* while the hourly limit spreads the calls: payloads come first */

struct page {
    struct pull *pull;
    size_t count;
    int64_t newest_ms;
    int64_t oldest_ms;
};

static bool concerns_us(const struct github_delivery *d)
{
    enum job_action ignored;
    return strcmp(d->event, "workflow_job") == 0 && job_action_parse(slice_of(d->action), &ignored);
}

static int see_entry(void *arg, const struct github_delivery *d)
{
    struct page *page = arg;
    struct pull *p = page->pull;
    page->count++;
    page->newest_ms = d->delivered_ms > page->newest_ms ? d->delivered_ms : page->newest_ms;
    page->oldest_ms =
        page->count == 1 || d->delivered_ms < page->oldest_ms ? d->delivered_ms : page->oldest_ms;
    if (d->delivered_ms < p->floor_ms || !concerns_us(d)) {
        return 0;
    }
    if (d->ok) {
        seen_handle(&p->seen, hash_text(d->guid), d->delivered_ms);
    } else {
        seen_add(&p->seen, d, p->first);
    }
    return 0;
}

static void begin_walk(struct pull *p, const struct config *c)
{
    struct pull_walk *w = &p->walk;
    int64_t overlap_ms = c->reaper.deliveries.overlap_ms;
    int64_t oldest_ms = clock_wall_ms() - KEPT_MS;
    bool deep = overlap_ms > 0 && clock_mono_ms() >= p->deep_due_ms;
    int64_t until_ms = p->reached_ms - (deep ? overlap_ms : 0);
    *w = (struct pull_walk){.under_way = true, .deep = deep};
    w->until_ms = p->reached_ms > 0 && until_ms > p->floor_ms ? until_ms : p->floor_ms;
    w->until_ms = w->until_ms > oldest_ms ? w->until_ms : oldest_ms;
    p->seen.dropped_ms = 0;
}

static void finish_walk(struct pull *p, const struct config *c)
{
    struct pull_walk *w = &p->walk;
    int64_t reached_ms = p->seen.dropped_ms > 0 ? p->seen.dropped_ms - 1 : w->newest_ms;
    int64_t now_ms = clock_mono_ms();
    p->reached_ms = reached_ms > p->reached_ms ? reached_ms : p->reached_ms;
    p->deep_due_ms = w->deep || p->first ? now_ms + c->reaper.deliveries.overlap_ms / DEEP_READINGS
                                         : p->deep_due_ms;
    p->due_ms = now_ms + c->github.pull_interval_ms * (p->paced ? PACED_INTERVALS : 1);
    p->first = false;
    w->under_way = false;
    metric_set(p->metrics.last_read, clock_wall_ms() / 1000);
}

/* *more: there is another page. */
static int read_page(struct pull *p, const struct config *c, bool *more, struct err *e)
{
    struct pull_walk *w = &p->walk;
    struct page page = {.pull = p};
    char next[GITHUB_CURSOR_BYTES];
    *more = false;
    if (github_list_deliveries(p->r->github, &p->hook, w->cursor, see_entry, &page, next, e) != 0) {
        /* A cursor may expire: then from the newest again. */
        w->under_way = e->class == ERR_RETRY || e->class == ERR_THROTTLED;
        return -1;
    }
    w->newest_ms = w->newest_ms > 0 ? w->newest_ms : page.newest_ms;
    if (page.count == 0 || page.oldest_ms < w->until_ms || next[0] == '\0') {
        finish_walk(p, c);
        return 0;
    }
    memcpy(w->cursor, next, sizeof w->cursor);
    *more = true;
    return 0;
}

/* After a reading that found no room for all, the next one waits until there is. */
bool pull_log_is_due(const struct pull *p)
{
    bool has_room = p->seen.dropped_ms == 0 || p->seen.waiting_count < SEEN_WAITING_MAX / 2;
    return p->walk.under_way || (has_room && clock_mono_ms() >= p->due_ms);
}

int pull_read_log(struct pull *p, const struct config *c, struct err *e)
{
    bool more = true;
    int failed = 0;
    if (!p->walk.under_way) {
        begin_walk(p, c);
    }
    while (more && failed == 0 && !wakeup_raised(&p->r->stop) && pull_still_holds(p, c) &&
           pull_calls_allowed(p, 1) > 0) {
        liveness_beat();
        failed = read_page(p, c, &more, e);
    }
    seen_sort(&p->seen);
    return failed;
}
