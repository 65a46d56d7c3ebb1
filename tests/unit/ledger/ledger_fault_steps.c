#include "tests/unit/ledger/ledger_fault_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/messages.h"
#include "common/ledger/rules.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_way.h"

/* The VM that was reserved last. */
static char vm_name[VM_NAME_SIZE];

/* --- what stands before --- */
#define WIDE                                                                                       \
    {                                                                                              \
        .fleet = 9, .class_max = 9                                                                 \
    }
#define RATED                                                                                      \
    {                                                                                              \
        .fleet = 9, .class_max = 9, .rate_per_second = 1, .rate_burst = 2,                         \
        .class_rate_per_second = 1, .class_rate_burst = 2                                          \
    }

static void job_waits(struct ledger *l)
{
    way_note(l, 2, JOB_ACTION_QUEUED, "");
}

static void vm_is_reserved(struct ledger *l)
{
    struct ledger_reservation r = way_reserve(l, 1, (struct ledger_caps)RATED);
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    memcpy(vm_name, r.vm.name, sizeof vm_name);
}

static void vm_is_reserved_and_a_job_waits(struct ledger *l)
{
    vm_is_reserved(l);
    job_waits(l);
}

static void launches_are_paused(struct ledger *l)
{
    struct err e;
    MUST(ledger_rate_pause(l, LEDGER_BUCKET_LAUNCH, FAULTS_WALL_MS + 60000, &e));
}

static void tokens_are_gone(struct ledger *l)
{
    struct ledger_caps rated = RATED;
    assert_int_equal(way_reserve(l, 1, rated).outcome, LEDGER_RESERVED);
    assert_int_equal(way_reserve(l, 2, rated).outcome, LEDGER_RESERVED);
}

static void vm_is_registered(struct ledger *l)
{
    vm_is_reserved(l);
    way_bring(l, vm_name, VM_REGISTERED);
}

static void vm_is_launched(struct ledger *l)
{
    vm_is_reserved(l);
    way_bring(l, vm_name, VM_LAUNCHED);
}

static void vm_is_busy(struct ledger *l)
{
    vm_is_launched(l);
    way_note(l, 1, JOB_ACTION_IN_PROGRESS, vm_name);
}

static void vm_is_busy_before_its_launch_is_recorded(struct ledger *l)
{
    vm_is_registered(l);
    way_note(l, 1, JOB_ACTION_IN_PROGRESS, vm_name);
}

static void vm_is_ending(struct ledger *l)
{
    vm_is_busy(l);
    way_note(l, 1, JOB_ACTION_COMPLETED, vm_name);
}

static void token_is_taken(struct ledger *l)
{
    struct ledger_bucket b = {.name = "api", .per_second = 1, .burst = 1};
    int64_t wait_ms;
    struct err e;
    MUST(ledger_rate_take(l, &b, 1, &wait_ms, &e));
    assert_int_equal(wait_ms, 0);
}

static void all_is_over(struct ledger *l)
{
    vm_is_ending(l);
    way_end(l, vm_name, VM_GONE);
    struct job_event seen = way_event(3, JOB_ACTION_WAITING, "");
    struct ledger_effect effect;
    struct err e;
    MUST(ledger_apply_event(l, &seen, "octo", &effect, &e));
    token_is_taken(l);
}

static void job_is_seen(struct ledger *l)
{
    way_note(l, 2, JOB_ACTION_WAITING, "");
}

static void timelines_are_full(struct ledger *l)
{
    struct err e;
    vm_is_reserved(l);
    for (int i = 0; i <= LEDGER_LINES_MAX; i++) {
        char detail[16];
        (void)snprintf(detail, sizeof detail, "%d", i);
        MUST(ledger_log_event(l, 1, "", "retry", detail, &e));
        MUST(ledger_log_event(l, 0, vm_name, "retry", detail, &e));
    }
}

static void lease_is_held(struct ledger *l)
{
    bool held;
    int64_t fence;
    struct err e;
    MUST(ledger_lease(l, "sweep", "one", 1000, &held, &fence, &e));
    assert_true(held);
}

static int64_t cell_version;

static void cell_is_there(struct ledger *l)
{
    struct err e;
    MUST(ledger_cell_put(l, "circuit", "github", "open", 0, &cell_version, &e));
}

static void mark_is_set(struct ledger *l)
{
    struct err e;
    MUST(ledger_counter_set(l, "opens", 5, &e));
}

/* --- runs --- */
static int reserve(struct ledger *l, const struct fault_step *s, union fault_output *out,
                   struct err *e)
{
    struct job_event ev = way_event(s->id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = s->caps,
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box"};
    return ledger_reserve(l, &r, &out->reservation, e);
}

static int apply_event(struct ledger *l, const struct fault_step *s, union fault_output *out,
                       struct err *e)
{
    const char *other = s->text != NULL ? s->text : "";
    struct job_event ev = way_event(s->id, s->action, s->runs ? vm_name : other);
    return ledger_apply_event(l, &ev, "octo", &out->effect, e);
}

static int reconcile(struct ledger *l, const struct fault_step *s, union fault_output *out,
                     struct err *e)
{
    (void)out;
    return ledger_reconcile_job(l, s->id, (enum ledger_job_state)s->to, NULL, "GitHub says so", e);
}

static int relaunched(struct ledger *l, const struct fault_step *s, union fault_output *out,
                      struct err *e)
{
    (void)out;
    return ledger_job_relaunched(l, s->id, e);
}

static int advance_paced(struct ledger *l, const struct fault_step *s, union fault_output *out,
                         struct err *e)
{
    (void)s;
    const struct ledger_bucket pace = {"run/a", 5, 1};
    const struct ledger_advance a = {.vm = vm_name, .to = VM_REGISTERED, .runner_id = 7};
    return ledger_vm_advance_paced(l, &a, &pace, &out->number, e);
}

static int advance(struct ledger *l, const struct fault_step *s, union fault_output *out,
                   struct err *e)
{
    struct ledger_advance a = {.vm = vm_name,
                               .to = (enum ledger_vm_state)s->to,
                               .runner_id = s->to == VM_REGISTERED ? 7 : 0,
                               .vm_id = s->to == VM_LAUNCHED ? "vm-1" : NULL,
                               .deadline_ms = s->to == VM_LAUNCHED ? FAULTS_WALL_MS + 3600000 : 0};
    return ledger_vm_advance(l, &a, &out->changed, e);
}

static int heartbeat(struct ledger *l, const struct fault_step *s, union fault_output *out,
                     struct err *e)
{
    (void)s;
    (void)out;
    return ledger_vm_heartbeat(l, vm_name, e);
}

static int log_event(struct ledger *l, const struct fault_step *s, union fault_output *out,
                     struct err *e)
{
    (void)out;
    return ledger_log_event(l, s->id, s->runs ? vm_name : "", "retry", s->text, e);
}

static int take_lease(struct ledger *l, const struct fault_step *s, union fault_output *out,
                      struct err *e)
{
    return ledger_lease(l, "sweep", s->text, 1000, &out->lease.held, &out->lease.fence, e);
}

static int release_lease(struct ledger *l, const struct fault_step *s, union fault_output *out,
                         struct err *e)
{
    (void)out;
    return ledger_lease_release(l, "sweep", s->text, e);
}

static int put_cell(struct ledger *l, const struct fault_step *s, union fault_output *out,
                    struct err *e)
{
    int64_t expected = s->id == 0 ? 0 : cell_version;
    return ledger_cell_put(l, "circuit", "github", s->text, expected, &out->number, e);
}

static int get_cell(struct ledger *l, const struct fault_step *s, union fault_output *out,
                    struct err *e)
{
    (void)s;
    return ledger_cell_get(l, "circuit", "github", &out->cell, e);
}

static int set_mark(struct ledger *l, const struct fault_step *s, union fault_output *out,
                    struct err *e)
{
    (void)out;
    return ledger_counter_set(l, "opens", s->id, e);
}

static int add_mark(struct ledger *l, const struct fault_step *s, union fault_output *out,
                    struct err *e)
{
    return ledger_counter_add(l, "opens", s->id, &out->number, e);
}

static int get_mark(struct ledger *l, const struct fault_step *s, union fault_output *out,
                    struct err *e)
{
    (void)s;
    return ledger_counter_get(l, "opens", &out->number, e);
}

static int take_token(struct ledger *l, const struct fault_step *s, union fault_output *out,
                      struct err *e)
{
    struct ledger_bucket b = {.name = "api", .per_second = 1, .burst = 1};
    (void)s;
    return ledger_rate_take(l, &b, 1, &out->number, e);
}

static int pause_bucket(struct ledger *l, const struct fault_step *s, union fault_output *out,
                        struct err *e)
{
    (void)s;
    (void)out;
    return ledger_rate_pause(l, "api", FAULTS_WALL_MS + 60000, e);
}

static int look_at_room(struct ledger *l, const struct fault_step *s, union fault_output *out,
                        struct err *e)
{
    return ledger_capacity(l, "small", &s->caps, &out->room, e);
}

static int get_freed(struct ledger *l, const struct fault_step *s, union fault_output *out,
                     struct err *e)
{
    (void)s;
    return ledger_release_seq(l, &out->number, e);
}

static int get_job(struct ledger *l, const struct fault_step *s, union fault_output *out,
                   struct err *e)
{
    return ledger_job_get(l, s->id, &out->job, e);
}

static int get_vm(struct ledger *l, const struct fault_step *s, union fault_output *out,
                  struct err *e)
{
    (void)s;
    return ledger_vm_get(l, vm_name, &out->vm, e);
}

/* Lists: the pointer has its own type while it is filled in. */
#define LIST(type, call)                                                                           \
    do {                                                                                           \
        struct type *items = out->list.items;                                                      \
        size_t *n = &out->list.n;                                                                  \
        int rc = (call);                                                                           \
        out->list.items = items;                                                                   \
        (void)s;                                                                                   \
        return rc;                                                                                 \
    } while (0)

static int list_vms(struct ledger *l, const struct fault_step *s, union fault_output *out,
                    struct err *e)
{
    LIST(ledger_vm, ledger_vm_list(l, (unsigned)s->to, "", 10, &items, n, e));
}

static int list_waiting(struct ledger *l, const struct fault_step *s, union fault_output *out,
                        struct err *e)
{
    LIST(ledger_job, ledger_jobs_waiting(l, "octo", "small", FAULTS_WALL_MS + 1, 10, &items, n, e));
}

static int list_balances(struct ledger *l, const struct fault_step *s, union fault_output *out,
                         struct err *e)
{
    LIST(ledger_balance, ledger_balances(l, &items, n, e));
}

static int list_scopes(struct ledger *l, const struct fault_step *s, union fault_output *out,
                       struct err *e)
{
    LIST(ledger_scope, ledger_scopes(l, &items, n, e));
}

static int read_timeline(struct ledger *l, const struct fault_step *s, union fault_output *out,
                         struct err *e)
{
    LIST(ledger_entry, ledger_timeline(l, s->id, &items, n, e));
}

static int list_cells(struct ledger *l, const struct fault_step *s, union fault_output *out,
                      struct err *e)
{
    LIST(ledger_cell, ledger_cell_list(l, "circuit", &items, n, e));
}

static int list_counts(struct ledger *l, const struct fault_step *s, union fault_output *out,
                       struct err *e)
{
    LIST(ledger_count, ledger_counts(l, &items, n, e));
}

static int repair(struct ledger *l, const struct fault_step *s, union fault_output *out,
                  struct err *e)
{
    LIST(ledger_repair, ledger_repair(l, &items, n, &out->list.suspected, e));
}

static int tidy(struct ledger *l, const struct fault_step *s, union fault_output *out,
                struct err *e)
{
    (void)s;
    return ledger_tidy(l, FAULTS_WALL_MS + 1, 10, &out->number, e);
}

static int ping(struct ledger *l, const struct fault_step *s, union fault_output *out,
                struct err *e)
{
    (void)s;
    (void)out;
    return ledger_ping(l, e);
}

/* --- all steps --- */
#define LIVE ((1 << VM_GONE) - 1)
#define ALL (2 * LIVE + 1)

const struct fault_step fault_steps[] = {
    {"reserve: reserved", NULL, reserve, .id = 1, .reserves = true, .to = LEDGER_RESERVED,
     .caps = WIDE},
    {"reserve: reserved, with tokens", job_waits, reserve, .id = 2, .reserves = true,
     .to = LEDGER_RESERVED, .caps = RATED, .tokens = true},
    {"reserve: reserved, no job", job_waits, reserve, .id = 0, .reserves = true,
     .to = LEDGER_RESERVED, .caps = RATED, .tokens = true},
    {"reserve: satisfied", vm_is_reserved, reserve, .id = 1, .reserves = true,
     .to = LEDGER_SATISFIED, .caps = RATED},
    {"reserve: obsolete", vm_is_busy, reserve, .id = 1, .reserves = true, .to = LEDGER_OBSOLETE,
     .caps = WIDE},
    {"reserve: full fleet", vm_is_reserved, reserve, .id = 2, .reserves = true,
     .to = LEDGER_FULL_FLEET, .caps = {.fleet = 1}},
    {"reserve: full class", vm_is_reserved, reserve, .id = 2, .reserves = true,
     .to = LEDGER_FULL_CLASS, .caps = {.fleet = 9, .class_max = 1}},
    {"reserve: full repository", vm_is_reserved, reserve, .id = 2, .reserves = true,
     .to = LEDGER_FULL_REPOSITORY, .caps = {.fleet = 9, .class_max = 9, .repository = 1}},
    {"reserve: paused", launches_are_paused, reserve, .id = 1, .reserves = true, .to = LEDGER_RATE,
     .caps = RATED},
    {"reserve: no token", tokens_are_gone, reserve, .id = 3, .reserves = true, .to = LEDGER_RATE,
     .caps = RATED},
    {"reserve: no token, clock set back", tokens_are_gone, reserve, -300000, .id = 3,
     .reserves = true, .to = LEDGER_RATE, .caps = RATED, .tokens = true},
    {"event: queued", NULL, apply_event, .id = 2, .action = JOB_ACTION_QUEUED},
    {"event: queued again", job_waits, apply_event, .id = 2, .action = JOB_ACTION_QUEUED},
    {"event: queued after approval", job_is_seen, apply_event, .id = 2,
     .action = JOB_ACTION_QUEUED},
    {"event: held back", NULL, apply_event, .id = 2, .action = JOB_ACTION_WAITING},
    {"event: in progress", vm_is_launched, apply_event, .id = 1, .action = JOB_ACTION_IN_PROGRESS,
     .runs = true},
    {"event: in progress elsewhere", job_waits, apply_event, .id = 2,
     .action = JOB_ACTION_IN_PROGRESS},
    {"event: in progress on an unknown runner", job_waits, apply_event, .id = 2,
     .action = JOB_ACTION_IN_PROGRESS, .text = "somebody's"},
    {"event: in progress of another's VM", vm_is_reserved_and_a_job_waits, apply_event, .id = 2,
     .action = JOB_ACTION_IN_PROGRESS, .runs = true},
    {"event: completed", vm_is_busy, apply_event, .id = 1, .action = JOB_ACTION_COMPLETED,
     .runs = true},
    {"event: completed of an unknown job", vm_is_launched, apply_event, .id = 2,
     .action = JOB_ACTION_COMPLETED, .runs = true},
    {"event: cancelled", job_waits, apply_event, .id = 2, .action = JOB_ACTION_COMPLETED},
    {"reconcile: done", vm_is_busy, reconcile, .id = 1, .to = JOB_DONE},
    {"reconcile: cancelled", job_waits, reconcile, .id = 2, .to = JOB_CANCELLED},
    {"reconcile: running already", vm_is_busy, reconcile, .id = 1, .to = JOB_RUNNING},
    {"relaunched", job_waits, relaunched, 1000, .id = 2},
    {"advance: registered", vm_is_reserved, advance, .to = VM_REGISTERED},
    {"advance: launched", vm_is_registered, advance, .to = VM_LAUNCHED},
    {"advance: launched late", vm_is_busy_before_its_launch_is_recorded, advance,
     .to = VM_LAUNCHED},
    {"advance: ending", vm_is_launched, advance, .to = VM_ENDING},
    {"advance: gone", vm_is_ending, advance, .to = VM_GONE},
    {"advance: paced", vm_is_reserved, advance_paced, .to = VM_REGISTERED},
    {"advance: there already", vm_is_ending, advance, .to = VM_ENDING},
    {"heartbeat", vm_is_reserved, heartbeat, 1000, .id = 0},
    {"heartbeat: busy by now", vm_is_busy, heartbeat, 1000, .id = 0},
    {"log: job", vm_is_reserved, log_event, .id = 1, .text = "one"},
    {"log: job and VM", vm_is_reserved, log_event, .id = 1, .runs = true, .text = "one"},
    {"log: VM", vm_is_reserved, log_event, .runs = true, .text = "one"},
    {"log: job, full", timelines_are_full, log_event, .slow = true, .id = 1, .text = "one"},
    {"log: VM, full", timelines_are_full, log_event, .slow = true, .runs = true, .text = "one"},
    {"lease: new", NULL, take_lease, .text = "one"},
    {"lease: renewed", lease_is_held, take_lease, 500, .text = "one"},
    {"lease: another's", lease_is_held, take_lease, 500, .text = "two"},
    {"lease: taken over", lease_is_held, take_lease, 5000, .text = "two"},
    {"lease: released", lease_is_held, release_lease, .text = "one"},
    {"lease: another's released", lease_is_held, release_lease, .text = "two"},
    {"cell: new", NULL, put_cell, .text = "open"},
    {"cell: changed", cell_is_there, put_cell, .id = 1, .text = "closed"},
    {"cell: removed", cell_is_there, put_cell, .id = 1, .text = NULL},
    {"cell: got", cell_is_there, get_cell, .id = 0},
    {"cell: listed", cell_is_there, list_cells, .lists = true},
    {"mark: set", mark_is_set, set_mark, .id = 3},
    {"mark: added to", mark_is_set, add_mark, .id = 3},
    {"mark: got", mark_is_set, get_mark, .id = 0},
    {"rate: taken", NULL, take_token, .id = 0},
    {"rate: empty", token_is_taken, take_token, .id = 0},
    {"rate: empty, clock set back", token_is_taken, take_token, -300000, .id = 0},
    {"rate: paused", token_is_taken, pause_bucket, .id = 0},
    {"room", vm_is_reserved, look_at_room, .caps = RATED},
    {"room: clock set back", tokens_are_gone, look_at_room, -300000, .in_parts = true,
     .caps = RATED},
    {"freed", all_is_over, get_freed, .id = 0},
    {"job", job_waits, get_job, .id = 2},
    {"VM", vm_is_reserved, get_vm, .id = 0},
    {"VMs: live", vm_is_reserved, list_vms, .to = LIVE, .lists = true},
    {"VMs: all", vm_is_reserved, list_vms, .to = ALL, .lists = true},
    {"jobs waiting", job_waits, list_waiting, .lists = true},
    {"balances", vm_is_reserved_and_a_job_waits, list_balances, .lists = true},
    {"scopes", vm_is_reserved, list_scopes, .lists = true},
    {"timeline", vm_is_busy, read_timeline, .id = 1, .lists = true},
    {"counts", vm_is_busy, list_counts, .lists = true},
    {"tidy", all_is_over, tidy, .in_parts = true},
    {"repair", vm_is_busy, repair, .lists = true, .only_where_repaired = true},
    {"ping", NULL, ping, .id = 0},
};

_Static_assert(COUNT_OF(fault_steps) <= FAULT_STEPS_MAX, "room for what is known of them");
const size_t fault_step_count = COUNT_OF(fault_steps);
