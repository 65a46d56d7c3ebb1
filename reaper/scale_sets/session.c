#include <stdio.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/job/publish.h"
#include "common/job/vm_name.h"
#include "common/ledger/kinds.h"
#include "common/program/presence.h"
#include "reaper/scale_sets/internal.h"

#define DECIDE_APART_MS 1000 /* messages that come faster are answered together */
#define RETRY_BASE_MS 1000
#define RETRY_MAX_MS 30000
#define CONFLICT_WAIT_MS 5000
#define CONFLICT_LONG_MS (INT64_C(10) * 60 * 1000)
#define AWAY_FAILURES 3 /* in a row, before they are reported */

/* --- the lease --- */

/* If the ledger fails, what was held stays held: GitHub lets no other poll. */
static void request_lease(struct scale_set *s, const struct config *c)
{
    struct err e = {0};
    struct sweep_moment before = sweep_moment_now();
    int64_t fence;
    bool held = false;
    if (ledger_lease(s->r->ledger, s->lease, s->r->holder, c->reaper.lease_duration_ms, &held,
                     &fence, &e) != 0) {
        log_debug("scale_set_retry", LOG_STR("set", s->name), LOG_STR("scope", s->scope.name),
                  LOG_ERR(&e), LOG_INT("wait_ms", 0));
        return;
    }
    if (s->held && !held) {
        metric_inc(metrics_counter("mayfly_reaper_leases_lost_total", ""));
        log_warn("lease_lost", LOG_STR("lease", s->lease), LOG_INT("fence", fence),
                 LOG_STR("action", "the new lease holder continues"));
    }
    s->held = held;
    s->requested = before;
}

static bool hold_lease(struct scale_set *s, const struct config *c)
{
    if (!s->held || sweep_moment_passed_ms(&s->requested) * 3 > c->reaper.lease_duration_ms) {
        request_lease(s, c);
    }
    return s->held;
}

/* While a poll waits. */
static bool goes_on(void *arg)
{
    struct scale_set *s = arg;
    const struct config *c = config_live_get(s->r->config);
    bool on = !wakeup_raised(&s->r->stop) && hold_lease(s, c);
    config_live_put(s->r->config, c);
    return on;
}

static void close_session(struct scale_set *s)
{
    github_set_close(s->session);
    s->session = NULL;
    s->decided_ms = 0;
    s->plan = (struct set_plan){.outstanding = 0};
    metric_set(s->metrics.session, 0);
}

void set_release(struct scale_set *s)
{
    struct err e = {0};
    close_session(s);
    if (s->held && ledger_lease_release(s->r->ledger, s->lease, s->r->holder, &e) != 0) {
        log_warn("lease_release_failed", LOG_ERR(&e),
                 LOG_STR("action", "the lease expires by itself"));
    }
    s->held = false;
}

/* --- trouble --- */

/* For `mayflyctl status`; "" removes it. */
static void set_notice(struct scale_set *s, const char *text)
{
    struct err ignored = {0};
    struct ledger_cell cell;
    char name[LEDGER_CELL_NAME];
    (void)snprintf(name, sizeof name, "scale set: %.64s of %.110s", s->name, s->scope.name);
    if (strcmp(s->notice, text) == 0 ||
        ledger_cell_get(s->r->ledger, LEDGER_KIND_NOTICE, name, &cell, &ignored) != 0) {
        return;
    }
    bool nothing = text[0] == '\0' && cell.version == 0;
    if (nothing ||
        ledger_cell_put(s->r->ledger, LEDGER_KIND_NOTICE, name, text[0] != '\0' ? text : NULL,
                        cell.version, NULL, &ignored) == 0) {
        (void)snprintf(s->notice, sizeof s->notice, "%s", text);
    }
}

static int64_t retry_wait_ms(const struct scale_set *s, const struct err *e)
{
    int64_t wait_ms = backoff_ceiling_ms(RETRY_BASE_MS, RETRY_MAX_MS, s->failures) / 2 +
                      backoff_full_jitter_ms(RETRY_BASE_MS, RETRY_MAX_MS, s->failures) / 2;
    return e->retry_after_ms > wait_ms ? e->retry_after_ms : wait_ms;
}

/* A session that is gone, or whose token nobody accepts any more, is opened anew. */
static bool is_of_session(const struct err *e)
{
    bool passes = e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_CAPACITY;
    return !passes && (e->from == ERR_FROM_GITHUB || e->from == ERR_FROM_APP);
}

/* Returns how long to wait. */
static int64_t note_failure(struct scale_set *s, const struct err *e)
{
    char text[LEDGER_CELL_VALUE];
    bool passes = e->class == ERR_RETRY || e->class == ERR_THROTTLED;
    s->failures++;
    metric_inc(s->metrics.errors);
    if (is_of_session(e)) {
        close_session(s);
    }
    int64_t wait_ms = retry_wait_ms(s, e);
    if (passes && s->failures < AWAY_FAILURES) {
        log_debug("scale_set_retry", LOG_STR("set", s->name), LOG_STR("scope", s->scope.name),
                  LOG_ERR(e), LOG_INT("wait_ms", wait_ms));
        return wait_ms;
    }
    if (!s->away && (!is_of_session(e) || s->failures > 1)) {
        s->away = true;
        log_warn("scale_set_failed", LOG_STR("set", s->name), LOG_STR("scope", s->scope.name),
                 LOG_ERR(e),
                 LOG_STR("action", "its jobs wait at GitHub; what it counts then is met when the "
                                   "call succeeds"));
        (void)snprintf(text, sizeof text,
                       "scale set %s of %s: GitHub is not asked for jobs: %s; they wait", s->name,
                       s->scope.name, e->message);
        set_notice(s, text);
    }
    return wait_ms;
}

static void note_success(struct scale_set *s)
{
    if (s->away) {
        log_info("scale_set_resumed", LOG_STR("set", s->name), LOG_STR("scope", s->scope.name));
    }
    s->away = false;
    s->failures = 0;
    s->conflict_since_ms = 0;
    set_notice(s, "");
}

/* --- the session --- */

static void set_statistics(struct scale_set *s, const struct github_set_statistics *now)
{
    s->statistics = *now;
    metric_set(s->metrics.assigned, now->assigned);
    metric_set(s->metrics.running, now->running);
}

/* The session of a reaper that was killed ends by itself, minutes later. */
static int64_t wait_for_other_session(struct scale_set *s, const struct err *e)
{
    if (s->conflict_since_ms == 0) {
        s->conflict_since_ms = clock_mono_ms();
        log_info("scale_set_session_waits", LOG_STR("set", s->name),
                 LOG_STR("scope", s->scope.name), LOG_ERR(e),
                 LOG_STR("action", "GitHub ends the other session some minutes after its last "
                                   "poll; this one is opened then"));
    }
    if (clock_mono_ms() - s->conflict_since_ms > CONFLICT_LONG_MS) {
        return note_failure(s, e);
    }
    return CONFLICT_WAIT_MS / 2 + (int64_t)random_below(CONFLICT_WAIT_MS);
}

static int open_session(struct scale_set *s, struct err *e)
{
    char owner[sizeof s->r->holder + 24];
    char unique[17];
    struct github_set_statistics statistics;
    const struct github_scale_set set = {.scope = s->scope, .name = s->name, .group = s->group};
    random_hex(unique, 8); /* GitHub is said to take two sessions of one owner for the same */
    (void)snprintf(owner, sizeof owner, "%s-%s", s->r->holder, unique);
    if (github_set_open(s->r->github, &set, owner, &statistics, &s->session, e) != 0) {
        return -1;
    }
    set_statistics(s, &statistics);
    metric_set(s->metrics.session, 1);
    log_info("scale_set_session_opened", LOG_STR("set", s->name), LOG_STR("scope", s->scope.name),
             LOG_INT("assigned", statistics.assigned), LOG_INT("running", statistics.running));
    return 0;
}

/* --- messages --- */

static int publish_event(struct scale_set *s, int64_t message_id, const struct job_event *ev,
                         struct err *e)
{
    struct job_event event = *ev;
    struct job_message message;
    struct slice owner;
    struct slice name;
    event.received_ms = clock_wall_ms();
    event.job.installation_id = s->scope.installation_id;
    memcpy(event.job.class_name, s->class_name, sizeof event.job.class_name);
    if (!s->scope.is_repository && slice_cut(slice_of(ev->job.repository), '/', &owner, &name)) {
        bool fits = slice_to_cstr(owner, event.job.organization, sizeof event.job.organization);
        (void)fits;
    }
    (void)snprintf(event.delivery, sizeof event.delivery, "%.36s/%lld", s->name,
                   (long long)message_id);
    job_message_of_event(&event, presence_format(s->r->presence), &message);
    int rc = job_publish(s->r->queue, &message, e);
    job_message_fini(&message);
    return rc;
}

static void note_begun(struct scale_set *s, const char *runner)
{
    if (slice_to_cstr(slice_of(runner), s->begun[s->begun_next], VM_NAME_SIZE)) {
        s->begun_next = (s->begun_next + 1) % SET_BEGUN_MAX;
    }
}

/* A job that ended without a runner concerns no VM. */
static int publish_events(struct scale_set *s, const struct github_set_message *m, struct err *e)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct github_set_job *job = &m->jobs[i];
        bool concerns_vm = job->what == SET_JOB_STARTED || job->what == SET_JOB_COMPLETED;
        if (!concerns_vm || job->event.job.runner_name[0] == '\0') {
            continue;
        }
        if (publish_event(s, m->id, &job->event, e) != 0) {
            return -1;
        }
        note_begun(s, job->event.job.runner_name);
    }
    return 0;
}

/* Where GitHub assigns by itself there are none to acquire. A job that was lost to another, or cancelled, is
 * no error. */
static int acquire_jobs(struct scale_set *s, const struct github_set_message *m, struct err *e)
{
    int64_t ids[GITHUB_SET_JOBS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->jobs[i].what == SET_JOB_AVAILABLE) {
            ids[n++] = m->jobs[i].request_id;
        }
    }
    return n > 0 ? github_set_acquire(s->session, ids, n, e) : 0;
}

/* Deleted last: until then it comes again, and what was done twice does no harm. */
static int handle_message(struct scale_set *s, const struct github_set_message *m, struct err *e)
{
    metric_inc(s->metrics.messages);
    if (publish_events(s, m, e) != 0 || acquire_jobs(s, m, e) != 0 ||
        github_set_delete_message(s->session, m->id, e) != 0) {
        return -1;
    }
    set_statistics(s, &m->statistics);
    return 0;
}

/* One poll. The demand is met whether a message came or not: VMs may have been lost. */
static int poll_once(struct scale_set *s, const struct config *c, struct err *e)
{
    struct github_set_message m = {.id = 0};
    int64_t capacity;
    if (set_capacity(s, c, &capacity, e) != 0 ||
        github_set_poll(s->session, capacity, goes_on, s, &m, e) != 0) {
        return -1;
    }
    int rc = m.id > 0 ? handle_message(s, &m, e) : 0;
    github_set_message_fini(&m);
    return rc == 0 ? set_meet_demand(s, c, e) : -1;
}

/* --- the thread --- */

static int64_t turn(struct scale_set *s, const struct config *c)
{
    struct err e = {0};
    if (!hold_lease(s, c)) {
        close_session(s);
        return c->reaper.lease_duration_ms / 3;
    }
    if (s->session == NULL && open_session(s, &e) != 0) {
        return e.class == ERR_CONFLICT ? wait_for_other_session(s, &e) : note_failure(s, &e);
    }
    if (s->decided_ms == 0 && set_meet_demand(s, c, &e) != 0) {
        return note_failure(s, &e);
    }
    if (poll_once(s, c, &e) != 0) {
        return e.code == HTTP_STOPPED ? 0 : note_failure(s, &e);
    }
    note_success(s);
    int64_t since_ms = clock_mono_ms() - s->decided_ms;
    return since_ms < DECIDE_APART_MS ? DECIDE_APART_MS - since_ms : 0;
}

int64_t set_turn(struct scale_set *s)
{
    const struct config *c = config_live_get(s->r->config);
    int64_t wait_ms = turn(s, c);
    config_live_put(s->r->config, c);
    return wait_ms;
}

void *set_poll_until_stopped(void *arg)
{
    struct scale_set *s = arg;
    int64_t wait_ms = 0;
    liveness_enter("a thread of sources[]", LIVENESS_LIMIT_MS);
    do {
        liveness_beat();
        wait_ms = set_turn(s);
    } while (!wakeup_sleep(&s->r->stop, wait_ms));
    set_release(s);
    liveness_leave();
    return NULL;
}
