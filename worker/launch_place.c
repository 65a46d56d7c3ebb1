/* At which of its class's places a launch is tried. */
#include "common/base/clock.h"
#include "worker/launching.h"

/* A place that a launch may go to, but for the job's own circuits. */
struct spot {
    const struct config_class *place;
    size_t index;
    struct subjects subjects;
};

static void take_spot(struct launching *l, const struct spot *at)
{
    l->place = at->place;
    l->place_index = at->index;
    l->subjects = at->subjects;
}

static bool is_about_place(enum subject s)
{
    return s < SUBJECT_CIRCUITS && (SUBJECT_BIT(s) & SUBJECTS_OF_PROVIDER) != 0;
}

/* Whether a circuit stops this launch there. Where one is half-open, this launch is its probe. */
static bool is_stopped(const struct launching *l, const struct spot *at, struct circuits_stop *stop)
{
    int64_t until_ms = clock_wall_ms() + l->config->worker.visibility_timeout_ms;
    return circuits_enter(l->worker->circuits, &at->subjects, l->holder, until_ms, stop) > 0;
}

/* What the message waits for, as if the reservation had said so. */
static void set_held(struct launching *l, const struct places_choice *choice)
{
    bool full = choice->hold == PLACES_FULL;
    l->reservation = (struct ledger_reservation){.outcome = full ? LEDGER_FULL_TARGET : LEDGER_RATE,
                                                 .wait_ms = choice->wait_ms};
}

static enum launch_finding find_spot(struct launching *l, struct spot *at,
                                     struct circuits_stop *stop, struct err *e)
{
    struct worker *w = l->worker;
    struct places_query q = {.fleet = w->fleet,
                             .ledger = w->ledger,
                             .circuits = w->circuits,
                             .config = l->config,
                             .class = l->class,
                             .without = l->tried | lane_unknown_places(l->lane)};
    for (;;) {
        struct places_choice choice;
        if (places_choose(&q, &choice, e) != 0) {
            l->step = "place";
            (void)err_said_by(e, ERR_FROM_LEDGER);
            return LAUNCH_UNKNOWN;
        }
        *at = (struct spot){choice.place, choice.index, choice.subjects};
        if (choice.hold == PLACES_NOTHING || choice.hold == PLACES_CIRCUIT) {
            subjects_add_scope(&l->scope, l->class, l->group, l->request.job.repository,
                               &at->subjects);
        }
        if (choice.hold == PLACES_CIRCUIT) {
            *stop = choice.stop;
            return LAUNCH_STOPPED;
        }
        if (choice.hold != PLACES_NOTHING) {
            set_held(l, &choice);
            return LAUNCH_HELD;
        }
        if (!is_stopped(l, at, stop)) {
            return LAUNCH_FOUND;
        }
        if (at->place->target == NULL || !is_about_place(stop->subject)) {
            return LAUNCH_STOPPED;
        }
        q.without |= UINT64_C(1) << at->index; /* another launch probes it */
    }
}

enum launch_finding launch_find_place(struct launching *l, struct circuits_stop *stop,
                                      struct err *e)
{
    struct spot at;
    enum launch_finding found = find_spot(l, &at, stop, e);
    if (found == LAUNCH_FOUND || found == LAUNCH_STOPPED) {
        take_spot(l, &at);
    }
    return found;
}

/* Whether only the place is to blame: another may do. */
static bool is_the_places(const struct launching *l, enum launch_result result)
{
    if (result == LAUNCH_NOT_RESERVED) {
        return l->reservation.outcome == LEDGER_FULL_TARGET ||
               l->reservation.outcome == LEDGER_RATE;
    }
    return l->verdict.treatment == TREAT_WAIT && is_about_place(l->verdict.subject);
}

bool launch_go_elsewhere(struct launching *l, enum launch_result result, const struct err *why)
{
    struct spot at;
    struct circuits_stop stop;
    struct err e = {0};
    const struct ledger_reservation refused = l->reservation;
    if (l->place->target == NULL || !is_the_places(l, result) ||
        launch_time_left_ms(l) < l->config->reaper.startup_timeout_ms / 2) {
        return false;
    }
    l->tried |= UINT64_C(1) << l->place_index;
    if (find_spot(l, &at, &stop, &e) != LAUNCH_FOUND) {
        l->reservation = refused;
        return false;
    }
    if (result == LAUNCH_FAILED) {
        launch_report_elsewhere(l, at.place, why);
    }
    take_spot(l, &at);
    return true;
}
