#include "worker/lane.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/caps.h"
#include "common/fleet/places.h"
#include "common/job/lane.h"
#include "common/program/presence.h"
#include "worker/lane_waits.h"
#include "worker/probe.h"
#include "worker/reconcile.h"

#define RECHECK_MS 1000 /* the configuration and the stop are checked this often */
#define STORE_ERROR_PAUSE_MS 500
#define FULL_RECHECK_MS 1000 /* a reload may have raised the caps */
#define PAUSED_RECHECK_MS 1000
#define KNOWN_FOR_MS 20000 /* of a target; a launch checks that nothing was lost since */

struct lane {
    struct worker *worker;
    char *class_name;
    char queue_lane[LAUNCH_LANE_SIZE];
    int64_t unreserved;     /* received messages without a slot yet; atomic */
    int64_t known_since_ms; /* atomic */
    int64_t full_ms;        /* atomic, monotonic: when it was last seen at a cap; 0: never */
    /* By the places' order in the class; of the thread that polls, but for `unknown`. */
    _Atomic uint64_t unknown;           /* those whose VMs the ledger may not know */
    int64_t known_until_ms[PLACES_MAX]; /* monotonic */
    struct metric *full;
    struct metric *paused;
    bool was_paused; /* at the last poll */
    pthread_mutex_t lock;
    struct lane_waits waits; /* under the lock */
};

void lane_reservation_ended(struct lane *lane)
{
    __atomic_sub_fetch(&lane->unreserved, 1, __ATOMIC_ACQ_REL);
}

uint64_t lane_unknown_places(const struct lane *lane)
{
    return lane->unknown;
}

int64_t lane_known_since_ms(const struct lane *lane)
{
    return __atomic_load_n(&lane->known_since_ms, __ATOMIC_ACQUIRE);
}

bool lane_was_full(const struct lane *lane, int64_t within_ms)
{
    int64_t full_ms = __atomic_load_n(&lane->full_ms, __ATOMIC_ACQUIRE);
    return full_ms != 0 && clock_mono_ms() < full_ms + within_ms;
}

static void note_full(struct lane *lane)
{
    __atomic_store_n(&lane->full_ms, clock_mono_ms(), __ATOMIC_RELEASE);
}

static void note_wait(struct lane *lane, enum lane_cause cause, const char *name)
{
    (void)pthread_mutex_lock(&lane->lock);
    lane_waits_add(&lane->waits, cause, name, clock_wall_ms());
    (void)pthread_mutex_unlock(&lane->lock);
}

void lane_log_waits(struct lane *lane, int64_t job_id, const char *vm, int64_t since_ms)
{
    struct err e = {0};
    char waited[LANE_WAITED_SIZE];
    (void)pthread_mutex_lock(&lane->lock);
    lane_waits_describe(&lane->waits, since_ms, clock_wall_ms(), waited);
    (void)pthread_mutex_unlock(&lane->lock);
    if (waited[0] != '\0' && job_id != 0 &&
        ledger_log_event(lane->worker->ledger, job_id, vm, "waited", waited, &e) != 0) {
        log_debug("timeline_write_failed", LOG_INT("job_id", job_id), LOG_ERR(&e));
    }
}

/* The probes that are due at the class's places. */
static void probe_places(struct lane *lane, const struct config *c,
                         const struct config_class *class)
{
    struct worker *w = lane->worker;
    const struct config_class *const *places = NULL;
    size_t n = config_launch_places(c, class, &places);
    circuits_refresh(w->circuits);
    for (size_t i = 0; i < n; i++) {
        const struct vm_provider *p = fleet_provider(w->fleet, places[i]->name);
        struct subjects s;
        if (p != NULL) {
            subjects_of_class(places[i], p, fleet_host(w->fleet), &s);
            probe_due(w, c, places[i]->name, &s);
        }
    }
}

static bool is_drained(const struct lane *lane)
{
    const struct worker *w = lane->worker;
    const struct vm_provider *p = fleet_provider(w->fleet, lane->class_name);
    return w->presence != NULL && p != NULL && vm_host_bound(p) && presence_drained(w->presence);
}

static void note_pause(struct lane *lane, const struct ledger_pause *pause)
{
    bool paused = pause->since_ms != 0;
    metric_set(lane->paused, paused ? 1 : 0);
    if (paused && !lane->was_paused) {
        log_info("class_paused", LOG_STR("class", lane->class_name), LOG_STR("by", pause->by),
                 LOG_STR("reason", pause->reason),
                 LOG_STR("action", "its jobs wait, spending nothing, until mayflyctl resume"));
    } else if (!paused && lane->was_paused) {
        log_info("class_resumed", LOG_STR("class", lane->class_name));
    }
    lane->was_paused = paused;
}

/* Whether an operator has paused the class. */
static int read_pause(struct lane *lane, bool *out_paused, struct err *e)
{
    struct ledger_pause pause;
    if (pauses_get(lane->worker->pauses, lane->class_name, &pause, e) != 0) {
        return -1;
    }
    note_pause(lane, &pause);
    *out_paused = pause.since_ms != 0;
    if (*out_paused) {
        note_wait(lane, LANE_WAITS_WHILE_PAUSED, lane->class_name);
    }
    return 0;
}

static void log_capacity_unknown(const struct lane *lane, const struct err *e)
{
    log_warn("capacity_check_failed", LOG_STR("class", lane->class_name), LOG_ERR(e),
             LOG_STR("action", "no launch of this class starts until the ledger is available"));
}

/* What keeps launches from all places. */
static int64_t wait_for_place(struct lane *lane, const struct places_choice *choice)
{
    switch (choice->hold) {
    case PLACES_NOTHING:
        return 0;
    case PLACES_CIRCUIT:
        note_wait(lane, LANE_WAITS_FOR_CIRCUIT, choice->subjects.names[choice->stop.subject]);
        return choice->stop.wait_ms;
    case PLACES_FULL:
        note_full(lane);
        note_wait(lane, LANE_WAITS_FOR_TARGETS, lane->class_name);
        return -1;
    case PLACES_RATE:
        note_wait(lane, LANE_WAITS_FOR_RATE, lane->class_name);
        return choice->wait_ms;
    case PLACES_NONE:
        break;
    }
    return RECHECK_MS;
}

/* How long circuits keep all launches of the class; 0: they do not. */
static int64_t stopped_wait_ms(struct lane *lane, const struct config *c,
                               const struct config_class *class)
{
    struct worker *w = lane->worker;
    const struct places_query q = {.fleet = w->fleet,
                                   .ledger = w->ledger,
                                   .circuits = w->circuits,
                                   .config = c,
                                   .class = class,
                                   .circuits_alone = true};
    struct places_choice choice;
    struct err ignored = {0};
    probe_places(lane, c, class);
    return places_choose(&q, &choice, &ignored) == 0 ? wait_for_place(lane, &choice) : 0;
}

/* Whether the ledger knows the VMs of that place, which takes a list if it was lost. A class without
 * targets is asked about at each poll. */
static int64_t knowledge_wait_ms(struct lane *lane, const struct config *c,
                                 const struct places_choice *choice)
{
    int64_t now = clock_mono_ms();
    int64_t since_ms = lane_known_since_ms(lane);
    int64_t *until_ms = &lane->known_until_ms[choice->index];
    if (choice->place->target != NULL && now < *until_ms) {
        return 0;
    }
    int64_t wait_ms =
        reconcile_wait_ms(lane->worker, c, choice->place, &choice->subjects, &since_ms);
    if (wait_ms == 0) {
        *until_ms = now + KNOWN_FOR_MS;
        lane->unknown &= ~(UINT64_C(1) << choice->index);
        if (choice->place->target == NULL || since_ms > lane_known_since_ms(lane)) {
            __atomic_store_n(&lane->known_since_ms, since_ms, __ATOMIC_RELEASE);
        }
    } else {
        lane->unknown |= UINT64_C(1) << choice->index;
    }
    return wait_ms;
}

/* The wait until a launch may go to one of the places: 0 now, -1 until a slot is released. */
static int64_t places_wait_ms(struct lane *lane, const struct config *c,
                              const struct config_class *class)
{
    struct worker *w = lane->worker;
    struct places_query q = {.fleet = w->fleet,
                             .ledger = w->ledger,
                             .circuits = w->circuits,
                             .config = c,
                             .class = class};
    struct places_choice choice;
    struct err e = {0};
    int64_t wait_ms = 0;
    for (;;) {
        if (places_choose(&q, &choice, &e) != 0) {
            log_capacity_unknown(lane, &e);
            return STORE_ERROR_PAUSE_MS;
        }
        if (choice.hold != PLACES_NOTHING) {
            return wait_ms > 0 ? wait_ms : wait_for_place(lane, &choice);
        }
        wait_ms = knowledge_wait_ms(lane, c, &choice);
        if (wait_ms == 0 || choice.place->target == NULL) {
            return wait_ms;
        }
        q.without |= UINT64_C(1) << choice.index;
    }
}

/* The wait before this class may receive a message: 0 now, -1 until a slot is released. */
static int64_t capacity_wait_ms(struct lane *lane, const struct config *c,
                                const struct config_class *class)
{
    struct err e = {0};
    struct ledger_capacity capacity;
    struct ledger_caps caps = fleet_shared_caps(c, class);
    bool paused = false;
    int failed = read_pause(lane, &paused, &e);
    if (failed == 0 && paused) {
        return PAUSED_RECHECK_MS;
    }
    int64_t stopped_ms = failed == 0 ? stopped_wait_ms(lane, c, class) : 0;
    if (stopped_ms > 0) {
        return stopped_ms;
    }
    if (failed != 0 ||
        ledger_capacity(lane->worker->ledger, lane->class_name, &caps, &capacity, &e) != 0) {
        log_capacity_unknown(lane, &e);
        return STORE_ERROR_PAUSE_MS;
    }
    int64_t received = __atomic_load_n(&lane->unreserved, __ATOMIC_ACQUIRE);
    bool fleet_full = capacity.fleet_used + received >= caps.fleet;
    bool full = fleet_full || capacity.class_used + received >= caps.class_max;
    metric_set(lane->full, full ? 1 : 0);
    if (full) {
        note_full(lane);
        note_wait(lane, fleet_full ? LANE_WAITS_FOR_FLEET : LANE_WAITS_FOR_CLASS, lane->class_name);
        return -1;
    }
    if (capacity.rate_wait_ms > 0) {
        note_wait(lane, LANE_WAITS_FOR_RATE, lane->class_name);
        return capacity.rate_wait_ms;
    }
    /* After the capacity was read: a ledger that was emptied shows free slots. */
    return places_wait_ms(lane, c, class);
}

/* Sleeps until any process releases a slot. This process's own releases wake it at once, and
 * others' if the ledger sends notifications; otherwise the ledger's release counter is polled. */
static void wait_for_slot(struct lane *lane, const struct config *c, uint64_t wakes_seen)
{
    struct err e = {0};
    int64_t before = 0;
    int64_t give_up = clock_mono_ms() + FULL_RECHECK_MS;
    bool counted = ledger_release_seq(lane->worker->ledger, &before, &e) == 0;
    while (clock_mono_ms() < give_up) {
        int64_t now = before;
        int64_t nap_ms =
            ledger_watching(lane->worker->ledger) ? FULL_RECHECK_MS : c->worker.capacity_poll_ms;
        if (wakeup_wait(&lane->worker->intake, wakes_seen, nap_ms) ||
            wakeup_count(&lane->worker->intake) != wakes_seen) {
            return;
        }
        if (!counted || ledger_release_seq(lane->worker->ledger, &now, &e) != 0 || now != before) {
            return;
        }
    }
}

/* While the receive waited. The message goes back, unspent. */
static bool is_stopped_meanwhile(struct lane *lane, const struct queue_message *m)
{
    struct err ignored = {0}; /* the ledger will say so again when a slot is reserved */
    struct queue_return back = {.reason = NULL};
    bool paused = false;
    if (is_drained(lane)) {
        back.reason = "the host that received it is drained";
    } else if (read_pause(lane, &paused, &ignored) == 0 && paused) {
        back.reason = "its class is paused";
    } else {
        return false;
    }
    worker_nack(lane->worker, m, &back);
    return true;
}

bool lane_poll(struct lane *lane, const struct config *c, struct queue_message *m)
{
    struct err e = {0};
    size_t got = 0;
    uint64_t wakes_seen = wakeup_count(&lane->worker->intake);
    const struct config_class *class = config_class_by_name(c, slice_of(lane->class_name));
    if (is_drained(lane)) { /* its part of the lane is for other hosts */
        (void)wakeup_sleep(&lane->worker->intake, RECHECK_MS);
        return false;
    }
    int64_t wait_ms = class != NULL ? capacity_wait_ms(lane, c, class) : RECHECK_MS;
    if (class != NULL && wait_ms != 0) {
        queue_keep(lane->worker->queue, lane->queue_lane); /* a cap holds for every worker */
    }
    if (wait_ms < 0) {
        wait_for_slot(lane, c, wakes_seen);
        return false;
    }
    if (wait_ms > 0) {
        (void)wakeup_sleep(&lane->worker->intake, wait_ms < RECHECK_MS ? wait_ms : RECHECK_MS);
        return false;
    }
    if (queue_receive(lane->worker->queue, lane->queue_lane, 1, c->worker.visibility_timeout_ms,
                      queue_poll_wait_ms(lane->worker->queue), m, &got, &e) != 0) {
        log_warn("receive_failed", LOG_STR("lane", lane->queue_lane), LOG_ERR(&e),
                 LOG_STR("action", "receiving is retried in 500 ms"));
        (void)wakeup_sleep(&lane->worker->intake, STORE_ERROR_PAUSE_MS);
        return false;
    }
    if (got == 1 && is_stopped_meanwhile(lane, m)) {
        queue_message_fini(m);
        return false;
    }
    if (got == 1) {
        __atomic_add_fetch(&lane->unreserved, 1, __ATOMIC_ACQ_REL);
    }
    return got == 1;
}

struct lane *lane_new(struct worker *w, const struct config_class *class)
{
    struct lane *lane = calloc(1, sizeof *lane);
    const char *class_name = class->name;
    ASSERT(lane != NULL);
    lane->unknown = class->target_count > 0 ? UINT64_MAX : 0;
    struct buf label;
    buf_init(&label, 256);
    metrics_label(&label, "class", class_name);
    ASSERT(pthread_mutex_init(&lane->lock, NULL) == 0);
    lane->worker = w;
    lane->class_name = slice_dup(slice_of(class_name));
    (void)launch_lane(class_name, lane->queue_lane);
    lane->full = metrics_gauge("mayfly_worker_class_full", label.data);
    lane->paused = metrics_gauge("mayfly_worker_class_paused", label.data);
    buf_fini(&label);
    return lane;
}

const char *lane_class(const struct lane *lane)
{
    return lane->class_name;
}

void lane_free(struct lane *lane)
{
    (void)pthread_mutex_destroy(&lane->lock);
    free(lane->class_name);
    free(lane);
}
