#include "worker/takeover.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/github/budget.h"

#define PAGE 256
#define LAUNCHING (1u << VM_RESERVED | 1u << VM_REGISTERED)
/* After that long no other row is tried: a launch's step has a deadline, and each row may cost a
 * call that times out. */
#define TRY_MAX_MS 10000

/* --- silence that is confirmed ---
 *
 * While the ledger refuses writes every launch falls silent, the living ones too. So a silent row
 * is noted in its timeline, which the ledger must accept, and is taken over only if it is still
 * silent a third of a lease later: a living worker has tried again by then several times. */
#define TIME_BITS 40 /* of monotonic ms: 34 years */
#define NEAR 16

static uint64_t hash_of(const struct ledger_vm *vm)
{
    char text[VM_NAME_SIZE + 32];
    (void)snprintf(text, sizeof text, "%s %lld", vm->name, (long long)vm->heartbeat_ms);
    return hash_text(text);
}

/* A note is the time of the first look, and what is left of the hash. */
static bool is_note_of(uint64_t note, uint64_t hash)
{
    return note != 0 && note >> TIME_BITS == hash >> TIME_BITS;
}

static int64_t time_of_note(uint64_t note)
{
    return (int64_t)(note & ((UINT64_C(1) << TIME_BITS) - 1));
}

/* The place of the row's note, or where it belongs: a free one, or the oldest of those near. */
static _Atomic uint64_t *place_of_note(struct worker *w, uint64_t hash)
{
    _Atomic uint64_t *best = &w->silent_rows[hash % WORKER_SILENT_ROWS];
    for (uint64_t i = 0; i < NEAR; i++) {
        _Atomic uint64_t *place = &w->silent_rows[(hash + i) % WORKER_SILENT_ROWS];
        uint64_t note = atomic_load(place);
        if (is_note_of(note, hash)) {
            return place;
        }
        best = time_of_note(note) < time_of_note(atomic_load(best)) ? place : best;
    }
    return best;
}

/* When this process noted that silence; 0: not yet. */
static int64_t noted_at(struct worker *w, uint64_t hash)
{
    uint64_t note = atomic_load(place_of_note(w, hash));
    return is_note_of(note, hash) ? time_of_note(note) : 0;
}

static bool note_silence(struct worker *w, const struct ledger_vm *vm, uint64_t hash)
{
    struct err e = {0};
    char detail[96];
    (void)snprintf(detail, sizeof detail, "since %lld ms: its worker died, unless it reports soon",
                   (long long)(ledger_now_ms(w->ledger) - vm->heartbeat_ms));
    if (ledger_log_event(w->ledger, 0, vm->name, "silent", detail, &e) != 0) {
        log_debug("timeline_write_failed", LOG_STR("vm", vm->name), LOG_ERR(&e));
        return false;
    }
    uint64_t now = (uint64_t)clock_mono_ms() & ((UINT64_C(1) << TIME_BITS) - 1);
    atomic_store(place_of_note(w, hash), hash >> TIME_BITS << TIME_BITS | now);
    return true;
}

/* The state of a scan of the launching rows. */
struct search {
    struct worker *worker;
    const struct launch_request *request;
    const char *scope;
    int64_t silent_since_ms; /* an older last heartbeat: its worker is dead */
    int64_t try_until_ms;    /* monotonic */
    bool ended;              /* a dead launch of the job's scope and class no longer counts as
                              * supply */
    bool remains;            /* one remains that cannot be terminated here, or not now */
    bool unconfirmed;        /* one may yet report */
    int64_t confirm_ms;
    int64_t own_heartbeat_ms; /* last heartbeat of the launch reserved for this job; 0 none */
};

/* Whether the row has left the launching states, whoever moved it: it became busy, it is `ending`,
 * or another worker was faster. */
static bool is_no_longer_launching(struct worker *w, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct ledger_vm now;
    return ledger_vm_get(w->ledger, vm->name, &now, &e) == 0 &&
           (LAUNCHING & 1u << (unsigned)now.state) == 0;
}

/* Returns whether the row no longer counts as a launch in progress. */
static bool terminate_row(struct worker *w, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct fleet_termination how = {.reason = "its worker died; the launch starts again"};
    if (fleet_terminate_vm(w->fleet, vm, &how, &e) == 0) {
        log_info("launch_taken_over", LOG_STR("vm", vm->name), LOG_INT("job_id", vm->for_job),
                 LOG_INT("silent_ms", ledger_now_ms(w->ledger) - vm->heartbeat_ms));
        return true;
    }
    /* A conflict is no error: another worker was faster, or its runner is busy after all. */
    if (fleet_lacks_evidence(&e)) {
        log_info("launch_takeover_failed", LOG_STR("vm", vm->name), LOG_INT("job_id", vm->for_job),
                 LOG_ERR(&e), LOG_STR("action", "the reaper decides by the runner list"));
    } else if (e.class != ERR_CONFLICT && !github_budget_refused(&e)) {
        log_warn("launch_takeover_failed", LOG_STR("vm", vm->name), LOG_INT("job_id", vm->for_job),
                 LOG_ERR(&e), LOG_STR("action", "the takeover is retried later"));
    }
    return is_no_longer_launching(w, vm);
}

static bool is_confirmed_silent(struct search *s, const struct ledger_vm *vm)
{
    uint64_t hash = hash_of(vm);
    int64_t at = noted_at(s->worker, hash);
    bool confirmed = at != 0 && clock_mono_ms() - at >= s->confirm_ms;
    if (!confirmed) {
        s->unconfirmed |= at != 0 || note_silence(s->worker, vm, hash);
    }
    return confirmed;
}

static void check_row(struct search *s, const struct ledger_vm *vm)
{
    bool supplies =
        strcmp(vm->scope, s->scope) == 0 && strcmp(vm->class_name, s->request->class_name) == 0;
    if (supplies && vm->heartbeat_ms < s->silent_since_ms) {
        bool may_try = fleet_reaches(s->worker->fleet, vm) && clock_mono_ms() < s->try_until_ms &&
                       is_confirmed_silent(s, vm);
        s->ended = may_try && terminate_row(s->worker, vm);
        s->remains |= !s->ended;
    } else if (vm->for_job == s->request->job.id && vm->for_job > 0) {
        s->own_heartbeat_ms = vm->heartbeat_ms;
    }
}

/* Stops at the first one that is terminated. */
static int check_launching_rows(struct search *s, struct err *e)
{
    char after[VM_NAME_SIZE] = "";
    size_t n = PAGE;
    while (n == PAGE && !s->ended) {
        struct ledger_vm *vms = NULL;
        if (ledger_vm_list(s->worker->ledger, LAUNCHING, after, PAGE, &vms, &n, e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < n && !s->ended; i++) {
            check_row(s, &vms[i]);
            memcpy(after, vms[i].name, sizeof after);
        }
        free(vms);
    }
    return 0;
}

int takeover_dead_launch(struct worker *w, const struct config *c,
                         const struct launch_request *request, const char *scope,
                         struct takeover *out, struct err *e)
{
    int64_t limit_ms = ledger_heartbeat_limit_ms(c->worker.visibility_timeout_ms);
    int64_t now = ledger_now_ms(w->ledger);
    struct search s = {.worker = w,
                       .request = request,
                       .scope = scope,
                       .silent_since_ms = now - limit_ms,
                       .confirm_ms = c->worker.visibility_timeout_ms / 3,
                       .try_until_ms = clock_mono_ms() + TRY_MAX_MS};
    *out = (struct takeover){.ended = false};
    if (check_launching_rows(&s, e) != 0) {
        return -1;
    }
    out->ended = s.ended;
    if (s.ended) {
        return 0;
    }
    if (s.own_heartbeat_ms > 0) {
        out->wait_ms = s.own_heartbeat_ms + limit_ms - now + 1;
    } else if (s.unconfirmed) {
        out->wait_ms = s.confirm_ms;
    } else if (s.remains) {
        out->wait_ms = limit_ms;
    }
    return 0;
}
