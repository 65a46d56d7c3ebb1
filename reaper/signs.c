#include "reaper/signs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/metrics.h"
#include "common/job/job.h"

#define STALE_FACTOR 2

struct sign {
    enum sign_kind kind;
    char source[SCOPE_SIZE];
    char subject[192];
    int64_t first_ms; /* monotonic */
    int64_t seen_ms;
    int64_t sweep; /* the last one that saw it or was unsure */
};

static struct metric *dropped_metric(void)
{
    return metrics_counter("mayfly_reaper_observations_dropped_total", "");
}

void signs_fini(struct signs *t)
{
    free(t->list);
    *t = (struct signs){0};
}

void signs_begin(struct signs *t, int64_t fence)
{
    t->count = t->fence == fence ? t->count : 0;
    t->fence = fence;
    t->sweep++;
}

static struct sign *find_sign(struct signs *t, const struct sign_of *of)
{
    for (size_t i = 0; i < t->count; i++) {
        struct sign *s = &t->list[i];
        if (s->kind == of->kind && strcmp(s->subject, of->subject) == 0 &&
            strcmp(s->source, of->source) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct sign *place_for_one_more(struct signs *t, int64_t stale_ms)
{
    if (t->list == NULL) {
        t->list = calloc(SIGNS_MAX, sizeof *t->list);
        ASSERT(t->list != NULL);
    }
    if (t->count < SIGNS_MAX) {
        return &t->list[t->count++];
    }
    struct sign *oldest = &t->list[0];
    for (size_t i = 1; i < t->count; i++) {
        oldest = t->list[i].seen_ms < oldest->seen_ms ? &t->list[i] : oldest;
    }
    return oldest->seen_ms <= stale_ms ? oldest : NULL;
}

bool signs_see(struct signs *t, const struct sign_of *of, int64_t now_ms, int64_t confirm_after_ms)
{
    struct sign *s = find_sign(t, of);
    if (s == NULL) {
        s = place_for_one_more(t, now_ms - STALE_FACTOR * confirm_after_ms);
        if (s == NULL) {
            metric_inc(dropped_metric());
            return false;
        }
        *s = (struct sign){.kind = of->kind, .first_ms = now_ms, .sweep = t->sweep};
        (void)snprintf(s->source, sizeof s->source, "%s", of->source);
        (void)snprintf(s->subject, sizeof s->subject, "%s", of->subject);
        s->seen_ms = now_ms;
        return false;
    }
    bool later_sweep = s->sweep != t->sweep;
    s->sweep = t->sweep;
    s->seen_ms = now_ms;
    return later_sweep && now_ms - s->first_ms >= confirm_after_ms;
}

bool signs_young(struct signs *t, const struct sign_of *of, int64_t now_ms,
                 int64_t confirm_after_ms)
{
    const struct sign *s = find_sign(t, of);
    return s != NULL && now_ms - s->first_ms < confirm_after_ms;
}

bool signs_any(const struct signs *t, enum sign_kind kind, const char *source)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->list[i].kind == kind && strcmp(t->list[i].source, source) == 0) {
            return true;
        }
    }
    return false;
}

void signs_unsure(struct signs *t, const struct sign_of *of)
{
    struct sign *s = find_sign(t, of);
    if (s != NULL) {
        s->sweep = t->sweep;
    }
}

void signs_scan_ended(struct signs *t, enum sign_kind kind, const char *source)
{
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct sign *s = &t->list[i];
        if (s->kind != kind || s->sweep == t->sweep || strcmp(s->source, source) != 0) {
            t->list[kept++] = *s;
        }
    }
    t->count = kept;
}
