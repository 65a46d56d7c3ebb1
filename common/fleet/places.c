#include "common/fleet/places.h"

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/fleet/caps.h"
#include "common/fleet/internal.h"

/* One that may take the launch, as far as its circuits go. */
struct candidate {
    const struct config_class *place;
    size_t index;
    struct subjects subjects;
};

struct choosing {
    const struct places_query *query;
    struct places_choice *out;
    struct candidate list[PLACES_MAX];
    struct ledger_target_use uses[PLACES_MAX];
    size_t count;
};

/* --- which have not answered --- */

void places_call_began(struct fleet *f, const char *place)
{
    struct fleet_class *class = fleet_class_find(f, place);
    if (class != NULL && class->calls++ == 0) {
        class->heard_ms = clock_mono_ms();
    }
}

void places_call_ended(struct fleet *f, const char *place, bool answered)
{
    struct fleet_class *class = fleet_class_find(f, place);
    if (class != NULL) {
        class->heard_ms = answered ? clock_mono_ms() : class->heard_ms;
        class->calls--;
    }
}

static bool is_silent(const struct fleet *f, const struct config_class *place)
{
    const struct fleet_class *class = fleet_class_find(f, place->name);
    return class != NULL && class->calls > 0 &&
           clock_mono_ms() - class->heard_ms > PLACES_SILENT_MS;
}

/* --- circuits --- */

/* The place that is stopped for the shortest time stands for all. */
static void add_stopped(struct choosing *c, const struct subjects *s,
                        const struct circuits_stop *stop)
{
    struct places_choice *out = c->out;
    if (out->hold == PLACES_NONE || stop->wait_ms < out->stop.wait_ms) {
        out->hold = PLACES_CIRCUIT;
        out->stop = *stop;
        out->subjects = *s;
        out->wait_ms = stop->wait_ms;
    }
}

static void look_at(struct choosing *c, const struct config_class *place, size_t index)
{
    const struct places_query *q = c->query;
    struct vm_provider *p = fleet_provider(q->fleet, place->name);
    struct candidate *next = &c->list[c->count];
    if (p == NULL || (place->target != NULL && place->target->weight == 0) ||
        (q->without >> index & 1) != 0) {
        return;
    }
    *next = (struct candidate){.place = place, .index = index};
    subjects_of_class(place, p, fleet_host(q->fleet), &next->subjects);
    const struct circuits_stop stop = circuits_stop_of(q->circuits, &next->subjects);
    if (stop.wait_ms > 0) {
        add_stopped(c, &next->subjects, &stop);
        return;
    }
    const struct ledger_caps caps = fleet_caps(q->config, place);
    c->uses[c->count++] = (struct ledger_target_use){.name = config_place_target(place),
                                                     .rate_per_second = caps.rate_per_second,
                                                     .rate_burst = caps.rate_burst};
}

/* --- the largest free share --- */

static int64_t cap_of(const struct config *c, const struct config_target *t)
{
    return t->max_vms > 0 ? t->max_vms : c->limits.max_vms;
}

/* What is taken is the largest. */
static double score_of(const struct choosing *c, size_t i)
{
    const struct config_target *t = c->list[i].place->target;
    double cap = (double)cap_of(c->query->config, t);
    double share = (cap - (double)c->uses[i].used) / cap * (double)t->weight;
    double silent = is_silent(c->query->fleet, c->list[i].place) ? 1e-6 : 1;
    double any_of_equals = 1 + (double)random_below(1000) * 1e-6;
    return share * silent * any_of_equals;
}

static void take(struct choosing *c, size_t i)
{
    c->out->hold = PLACES_NOTHING;
    c->out->place = c->list[i].place;
    c->out->index = c->list[i].index;
    c->out->subjects = c->list[i].subjects;
    c->out->wait_ms = 0;
}

/* A slot is released at any time: that others wait for a token, or for a circuit, is shorter. */
static void add_held(struct choosing *c, const struct ledger_target_use *u, bool full)
{
    struct places_choice *out = c->out;
    if (full) {
        out->hold = out->hold == PLACES_NONE ? PLACES_FULL : out->hold;
    } else if (out->hold != PLACES_RATE || u->rate_wait_ms < out->wait_ms) {
        out->hold = PLACES_RATE;
        out->wait_ms = u->rate_wait_ms;
    }
}

static int choose_target(struct choosing *c, struct err *e)
{
    double best = 0;
    size_t found = c->count;
    if (c->count > 0 && ledger_targets_read(c->query->ledger, c->uses, c->count, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct ledger_target_use *u = &c->uses[i];
        bool full = u->used >= cap_of(c->query->config, c->list[i].place->target);
        if (full || u->rate_wait_ms > 0) {
            add_held(c, u, full);
            continue;
        }
        double score = score_of(c, i);
        if (score > best) {
            best = score;
            found = i;
        }
    }
    if (found < c->count) {
        take(c, found);
    }
    return 0;
}

int places_choose(const struct places_query *q, struct places_choice *out, struct err *e)
{
    struct choosing c = {.query = q, .out = out};
    const struct config_class *const *places = NULL;
    size_t n = config_launch_places(q->config, q->class, &places);
    *out = (struct places_choice){.hold = PLACES_NONE};
    for (size_t i = 0; i < n && i < PLACES_MAX; i++) {
        look_at(&c, places[i], i);
    }
    if (q->class->target_count > 0 && !q->circuits_alone) {
        return choose_target(&c, e);
    }
    if (c.count > 0) {
        take(&c, 0);
    }
    return 0;
}
