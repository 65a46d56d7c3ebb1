#include "reaper/pull/seen.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"

void seen_init(struct seen *s)
{
    *s = (struct seen){.waiting = calloc(SEEN_WAITING_MAX, sizeof s->waiting[0]),
                       .handled = calloc(SEEN_HANDLED_MAX, sizeof s->handled[0])};
    ASSERT(s->waiting != NULL && s->handled != NULL);
}

void seen_fini(struct seen *s)
{
    free(s->waiting);
    free(s->handled);
    *s = (struct seen){.waiting = NULL};
}

void seen_clear(struct seen *s)
{
    s->waiting_count = 0;
    s->handled_count = 0;
    s->dropped_ms = 0;
}

static struct seen_handled *find_handled(const struct seen *s, uint64_t guid)
{
    for (size_t i = s->handled_count; i > 0; i--) {
        if (s->handled[i - 1].guid == guid) {
            return &s->handled[i - 1];
        }
    }
    return NULL;
}

static bool waits(const struct seen *s, uint64_t guid)
{
    for (size_t i = 0; i < s->waiting_count; i++) {
        if (s->waiting[i].guid == guid) {
            return true;
        }
    }
    return false;
}

static struct seen_waiting *newest_waiting(struct seen *s)
{
    struct seen_waiting *newest = &s->waiting[0];
    for (size_t i = 1; i < s->waiting_count; i++) {
        if (s->waiting[i].entry.delivered_ms > newest->entry.delivered_ms) {
            newest = &s->waiting[i];
        }
    }
    return newest;
}

static void note_dropped(struct seen *s, int64_t delivered_ms)
{
    if (s->dropped_ms == 0 || delivered_ms < s->dropped_ms) {
        s->dropped_ms = delivered_ms;
    }
}

/* The log is read from its newest entry on, so the older ones have precedence: what is dropped is read
 * again. */
static struct seen_waiting *find_room(struct seen *s, int64_t delivered_ms)
{
    if (s->waiting_count < SEEN_WAITING_MAX) {
        return &s->waiting[s->waiting_count++];
    }
    struct seen_waiting *newest = newest_waiting(s);
    if (newest->entry.delivered_ms <= delivered_ms) {
        note_dropped(s, delivered_ms);
        return NULL;
    }
    note_dropped(s, newest->entry.delivered_ms);
    return newest;
}

void seen_add(struct seen *s, const struct github_delivery *d, bool doubtful)
{
    uint64_t guid = hash_text(d->guid);
    if (find_handled(s, guid) != NULL) {
        seen_handle(s, guid,
                    d->delivered_ms); /* a redelivery: remembered as long as it is listed */
        return;
    }
    if (waits(s, guid)) {
        return;
    }
    struct seen_waiting *w = find_room(s, d->delivered_ms);
    if (w != NULL) {
        *w = (struct seen_waiting){.entry = *d, .guid = guid, .doubtful = doubtful};
    }
}

static int older_first(const void *a, const void *b)
{
    const struct github_delivery *x = &((const struct seen_waiting *)a)->entry;
    const struct github_delivery *y = &((const struct seen_waiting *)b)->entry;
    if (x->delivered_ms != y->delivered_ms) {
        return x->delivered_ms < y->delivered_ms ? -1 : 1;
    }
    return (x->id > y->id) - (x->id < y->id);
}

void seen_sort(struct seen *s)
{
    qsort(s->waiting, s->waiting_count, sizeof s->waiting[0], older_first);
}

void seen_remove_done(struct seen *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->waiting_count; i++) {
        if (!s->waiting[i].done) {
            s->waiting[kept++] = s->waiting[i];
        }
    }
    s->waiting_count = kept;
}

int64_t seen_oldest_ms(const struct seen *s)
{
    return s->waiting_count > 0 ? s->waiting[0].entry.delivered_ms : 0;
}

bool seen_is_handled(const struct seen *s, uint64_t guid)
{
    return find_handled(s, guid) != NULL;
}

void seen_handle(struct seen *s, uint64_t guid, int64_t delivered_ms)
{
    struct seen_handled *h = find_handled(s, guid);
    if (h != NULL) {
        h->delivered_ms = delivered_ms > h->delivered_ms ? delivered_ms : h->delivered_ms;
        return;
    }
    if (s->handled_count == SEEN_HANDLED_MAX) {
        s->handled_count--;
        memmove(s->handled, s->handled + 1, s->handled_count * sizeof s->handled[0]);
    }
    s->handled[s->handled_count++] = (struct seen_handled){guid, delivered_ms};
}

void seen_forget_before(struct seen *s, int64_t delivered_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->handled_count; i++) {
        if (s->handled[i].delivered_ms >= delivered_ms) {
            s->handled[kept++] = s->handled[i];
        }
    }
    s->handled_count = kept;
}
