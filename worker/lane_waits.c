#include "worker/lane_waits.h"

#include <stdio.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/buf.h"

void lane_waits_add(struct lane_waits *w, enum lane_cause cause, const char *name, int64_t now_ms)
{
    struct lane_wait *last = w->count > 0 ? &w->list[w->count - 1] : NULL;
    if (last != NULL && last->cause == cause && strcmp(last->name, name) == 0 &&
        now_ms - last->to_ms <= LANE_WAIT_GAP_MS && now_ms >= last->to_ms) {
        last->to_ms = now_ms;
        return;
    }
    if (w->count == LANE_WAITS_MAX) {
        memmove(w->list, w->list + 1, (LANE_WAITS_MAX - 1) * sizeof w->list[0]);
        w->count--;
    }
    struct lane_wait *next = &w->list[w->count++];
    *next = (struct lane_wait){.cause = cause, .from_ms = now_ms, .to_ms = now_ms};
    slice_shorten(name, next->name, sizeof next->name);
}

static int64_t overlap_ms(const struct lane_wait *w, int64_t since_ms, int64_t until_ms)
{
    int64_t from_ms = w->from_ms > since_ms ? w->from_ms : since_ms;
    int64_t to_ms = w->to_ms < until_ms ? w->to_ms : until_ms;
    return to_ms > from_ms ? to_ms - from_ms : 0;
}

static bool is_same(const struct lane_wait *a, const struct lane_wait *b)
{
    return a->cause == b->cause && strcmp(a->name, b->name) == 0;
}

static void append_length(int64_t ms, struct buf *out)
{
    long long s = ms / 1000;
    if (s < 60) {
        buf_printf(out, "%lld.%lld s", s, (long long)(ms % 1000) / 100);
    } else if (s < 3600) {
        buf_printf(out, "%lldm%02llds", s / 60, s % 60);
    } else {
        buf_printf(out, "%lldh%02lldm", s / 3600, s / 60 % 60);
    }
}

static void append_cause(const struct lane_wait *w, struct buf *out)
{
    static const char *const before[LANE_CAUSES] = {
        [LANE_WAITS_FOR_FLEET] = " for a slot: the fleet was full",
        [LANE_WAITS_FOR_CLASS] = " for a slot of class ",
        [LANE_WAITS_FOR_TARGETS] = " for a slot at a target of class ",
        [LANE_WAITS_FOR_RATE] = " for a launch token",
        [LANE_WAITS_FOR_CIRCUIT] = " for ",
        [LANE_WAITS_WHILE_PAUSED] = " while its class was paused: ",
    };
    bool named = w->cause != LANE_WAITS_FOR_FLEET && w->cause != LANE_WAITS_FOR_RATE;
    buf_append_cstr(out, before[w->cause]);
    buf_append_cstr(out, named ? w->name : "");
    buf_append_cstr(out, w->cause == LANE_WAITS_FOR_CIRCUIT ? ", whose circuit was open" : "");
}

void lane_waits_describe(const struct lane_waits *w, int64_t since_ms, int64_t until_ms,
                         char out[LANE_WAITED_SIZE])
{
    struct buf text;
    buf_init(&text, (size_t)LANE_WAITS_MAX * LANE_WAITED_SIZE);
    for (size_t i = 0; i < w->count; i++) {
        const struct lane_wait *one = &w->list[i];
        int64_t ms = 0;
        bool is_first = true;
        for (size_t k = 0; k < w->count; k++) {
            bool same = is_same(&w->list[k], one);
            is_first = is_first && !(same && k < i);
            ms += same ? overlap_ms(&w->list[k], since_ms, until_ms) : 0;
        }
        if (is_first && ms >= LANE_WAIT_SHOWN_MS) {
            buf_append_cstr(&text, text.len > 0 ? "; " : "");
            append_length(ms, &text);
            append_cause(one, &text);
        }
    }
    slice_shorten(text.data != NULL ? text.data : "", out, LANE_WAITED_SIZE);
    buf_fini(&text);
}
