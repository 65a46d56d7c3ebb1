#include "worker/share.h"

static size_t threads_of(const struct share_class *c)
{
    return c->launching + (c->polled ? 1 : 0);
}

/* Threads reserved for the other classes: one each, and for a class with work its share. */
static size_t claimed_by_others(const struct share_class *classes, size_t count, size_t but,
                                size_t share)
{
    size_t claimed = 0;
    for (size_t i = 0; i < count; i++) {
        size_t due = classes[i].retired ? 0 : classes[i].has_work ? share : 1;
        size_t held = threads_of(&classes[i]);
        claimed += i != but && held < due ? due - held : 0;
    }
    return claimed;
}

/* Whether a goes before b. */
static bool precedes(const struct share_class *a, const struct share_class *b)
{
    if (a->launching != b->launching) {
        return a->launching < b->launching;
    }
    if (a->has_work != b->has_work) {
        return a->has_work;
    }
    return a->picked < b->picked;
}

static size_t count_served(const struct share_class *classes, size_t count)
{
    size_t served = 0;
    for (size_t i = 0; i < count; i++) {
        served += !classes[i].retired;
    }
    return served > 0 ? served : 1;
}

int share_pick(const struct share_class *classes, size_t count, size_t threads, size_t idle)
{
    int best = -1;
    size_t share = threads / count_served(classes, count);
    for (size_t i = 0; i < count && idle > 0; i++) {
        bool within_share = classes[i].launching < share;
        if (classes[i].polled || classes[i].retired ||
            (!within_share && idle - 1 < claimed_by_others(classes, count, i, share))) {
            continue;
        }
        if (best < 0 || precedes(&classes[i], &classes[best])) {
            best = (int)i;
        }
    }
    return best;
}
