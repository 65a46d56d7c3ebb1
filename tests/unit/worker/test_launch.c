/*
 * The launch protocol, step by step: what is undone and how the message ends, for each step that
 * can fail. The ledger, GitHub, the provider and the queue are scripted here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "worker/launch.h"

enum step { STEP_RESERVE, STEP_REGISTER, STEP_ADVANCE_REGISTERED, STEP_RUN, STEP_RECORD, STEPS };

#define LEASE_MS 60000 /* worker.lease_ms */

static struct script {
    enum ledger_outcome outcome;
    enum err_class fail[STEPS]; /* ERR_NONE: the step works */
    int calls[STEPS];
    int ended; /* fleet_end_vm */
    bool nothing_runs;
    bool left_nothing; /* what vm_run_left_nothing says of ERR_RETRY */
    char ended_vm_id[64];
    int done;
    int returned;
    int buried;
    struct queue_return back;
    int reserved_told;
    int64_t paused_until;
    int refused;
    int launched;
    bool stopped;             /* by the breaker */
    int64_t registered_in_ms; /* how long the registration takes */
    int64_t now_us;
} script;

static int64_t script_mono_us(void)
{
    return script.now_us;
}

static int64_t script_wall_ms(void)
{
    return 1800000000000 + script.now_us / 1000;
}

static int act(enum step step, struct err *e)
{
    script.calls[step]++;
    return script.fail[step] == ERR_NONE ? 0 : err_set(e, script.fail[step], 500, "scripted");
}

int ledger_reserve(struct ledger *l, const struct ledger_reserve *r, struct ledger_reservation *out,
                   struct err *e)
{
    (void)l;
    assert_string_equal(r->scope, "acme");
    assert_int_equal(r->caps.class_max, 3);
    *out = (struct ledger_reservation){.outcome = script.outcome, .wait_ms = 250};
    if (script.outcome == LEDGER_RESERVED) {
        memcpy(out->vm.name, "mf-t-small-1", 13);
        memcpy(out->vm.client_token, "mf-t-small-1", 13);
    }
    return act(STEP_RESERVE, e);
}

const char *ledger_outcome_name(enum ledger_outcome o)
{
    (void)o;
    return "outcome";
}

int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                      struct err *e)
{
    (void)l;
    (void)changed;
    assert_string_equal(a->vm, "mf-t-small-1");
    if (a->to == VM_REGISTERED) {
        assert_int_equal(a->runner_id, 77);
        return act(STEP_ADVANCE_REGISTERED, e);
    }
    assert_int_equal(a->to, VM_LAUNCHED);
    assert_string_equal(a->vm_id, "machine-1");
    assert_true(a->deadline_ms > clock_wall_ms());
    return act(STEP_RECORD, e);
}

int ledger_tell(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                const char *detail, struct err *e)
{
    (void)l;
    (void)vm;
    (void)what;
    (void)detail;
    (void)e;
    assert_int_equal(job_id, 42);
    return 0;
}

int github_register_runner(struct github *g, const struct github_register *r,
                           struct github_jit *out, struct err *e)
{
    (void)g;
    assert_string_equal(r->name, "mf-t-small-1");
    assert_string_equal(r->group, "Default");
    if (act(STEP_REGISTER, e) != 0) {
        return -1;
    }
    script.now_us += script.registered_in_ms * 1000;
    out->runner_id = 77;
    out->config = strdup("bm90aGluZyBzZWNyZXQ=");
    return 0;
}

void github_jit_fini(struct github_jit *j)
{
    free(j->config);
    j->config = NULL;
}

struct github_scope github_scope_of(const struct config *c, const char *repository,
                                    const char *organization, int64_t installation_id)
{
    (void)c;
    (void)repository;
    struct github_scope s = {.installation_id = installation_id};
    memcpy(s.name, organization, strlen(organization) + 1);
    return s;
}

bool vm_host_bound(const struct vm_provider *p)
{
    (void)p;
    return true;
}

int vm_run(struct vm_provider *p, const struct vm_spec *spec, char *out_id, struct err *e)
{
    (void)p;
    assert_in_range(spec->payload.len, 1, 4096);
    assert_int_equal(spec->max_duration_ms, 60000);
    if (act(STEP_RUN, e) != 0) {
        return -1;
    }
    memcpy(out_id, "machine-1", 10);
    return 0;
}

bool vm_run_left_nothing(const struct err *e)
{
    return e->class != ERR_RETRY || script.left_nothing;
}

struct vm_provider *fleet_provider(const struct fleet *f, const char *class_name)
{
    (void)f;
    assert_string_equal(class_name, "small");
    return (struct vm_provider *)&script; /* never looked into */
}

const char *fleet_host(const struct fleet *f)
{
    (void)f;
    return "here";
}

int fleet_end_vm(struct fleet *f, const struct ledger_vm *vm, const struct fleet_end *how,
                 struct err *e)
{
    (void)f;
    (void)e;
    assert_string_equal(vm->name, "mf-t-small-1");
    assert_true(strncmp(how->reason, "launch failed", 13) == 0);
    memcpy(script.ended_vm_id, vm->vm_id, sizeof script.ended_vm_id);
    script.nothing_runs = how->nothing_runs;
    script.ended++;
    return 0;
}

void worker_done(struct worker *w, const struct queue_message *m)
{
    (void)w;
    (void)m;
    script.done++;
}

void worker_return(struct worker *w, const struct queue_message *m, const struct queue_return *r)
{
    (void)w;
    (void)m;
    script.returned++;
    script.back = *r;
    script.back.reason = NULL;
}

void worker_bury(struct worker *w, const struct queue_message *m, const char *reason)
{
    (void)w;
    (void)m;
    assert_true(strlen(reason) > 0);
    script.buried++;
}

void lane_reserved(struct lane *lane)
{
    (void)lane;
    script.reserved_told++;
}

void lane_pause_until(struct lane *lane, int64_t mono_ms)
{
    (void)lane;
    script.paused_until = mono_ms;
}

struct breaker *lane_breaker(struct lane *lane)
{
    (void)lane;
    return NULL;
}

bool breaker_counts(const struct err *e)
{
    return e->class == ERR_PERMANENT;
}

void breaker_launched(struct breaker *b, const char *message_id)
{
    (void)b;
    (void)message_id;
    script.launched++;
}

struct breaker_refusal breaker_refused(struct breaker *b, const struct config *c,
                                       const char *message_id, int64_t job_id,
                                       const struct err *why)
{
    (void)b;
    (void)c;
    (void)message_id;
    assert_int_equal(job_id, 42);
    assert_int_equal(why->class, ERR_PERMANENT);
    script.refused++;
    return (struct breaker_refusal){.stopped = script.stopped, .delay_ms = 7000};
}

static char text_self_hosted[] = "self-hosted";
static char text_small[] = "small";
static char text_qemu[] = "qemu";
static char text_empty[] = "";
static char text_default[] = "Default";
static char text_deployment[] = "t";

static void run_with_body(const char *body, int64_t attempts)
{
    char *labels[] = {text_self_hosted};
    struct config_class class = {.name = text_small,
                                 .labels = {labels, 1},
                                 .provider = text_qemu,
                                 .runner_group = text_empty,
                                 .max_vms = 3,
                                 .max_duration_seconds = 60,
                                 .idle_seconds = 10,
                                 .proxy = {text_empty, text_empty, text_empty}};
    struct config c = {.deployment = text_deployment, .classes = &class, .class_count = 1};
    c.github.runner_group = text_default;
    c.worker.lease_ms = LEASE_MS;
    c.retry = (struct config_retry){.max_attempts = 3, .base_ms = 10, .cap_ms = 100};
    struct worker w = {0};
    stop_init(&w.intake);
    struct queue_message m = {.attempts = attempts, .body = strdup(body), .body_len = strlen(body)};
    launch(&w, NULL, &c, &m);
    queue_message_fini(&m);
    stop_fini(&w.intake);
    assert_int_equal(script.reserved_told, 1);
    assert_int_equal(script.done + script.returned + script.buried, 1);
}

static void run(int64_t attempts)
{
    struct job_event ev = {
        .action = JOB_ACTION_QUEUED, .job_id = 42, .run_id = 1, .run_attempt = 1};
    struct buf body;
    memcpy(ev.status, "queued", 7);
    memcpy(ev.repository, "acme/app", 9);
    memcpy(ev.organization, "acme", 5);
    memcpy(ev.class_name, "small", 6);
    buf_init(&body, 65536);
    job_event_encode(&ev, &body);
    run_with_body(body.data, attempts);
    buf_fini(&body);
}

void queue_message_fini(struct queue_message *m)
{
    free(m->body);
    m->body = NULL;
}

static int reset(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = script_mono_us,
                                               .wall_ms = script_wall_ms};
    clock_set_source(&source);
    script = (struct script){.outcome = LEDGER_RESERVED, .now_us = 1000000};
    return 0;
}

static void launch_smooth_is_done_after_every_step(void **state)
{
    (void)state;
    run(0);
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(script.calls[i], 1);
    }
    assert_int_equal(script.done, 1);
    assert_int_equal(script.ended, 0);
    assert_int_equal(script.launched, 1);
}

static void launch_satisfied_or_obsolete_is_done_without_a_vm(void **state)
{
    (void)state;
    const enum ledger_outcome outcomes[] = {LEDGER_SATISFIED, LEDGER_OBSOLETE};
    for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
        reset(state);
        script.outcome = outcomes[i];
        run(0);
        assert_int_equal(script.done, 1);
        assert_int_equal(script.calls[STEP_REGISTER], 0);
    }
}

static void launch_full_or_rate_goes_back_unspent(void **state)
{
    (void)state;
    const enum ledger_outcome outcomes[] = {LEDGER_FULL_FLEET, LEDGER_FULL_CLASS,
                                            LEDGER_FULL_REPOSITORY, LEDGER_RATE};
    for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
        reset(state);
        script.outcome = outcomes[i];
        run(2);
        assert_int_equal(script.returned, 1);
        assert_false(script.back.spend_attempt);
        assert_true(script.back.delay_ms > 0);
        assert_int_equal(script.calls[STEP_REGISTER], 0);
    }
}

/* Else the last jobs of a burst wait for long beside slots that are free. */
static void launch_that_lost_a_race_for_a_slot_comes_back_soon(void **state)
{
    const struct {
        enum ledger_outcome outcome;
        int64_t least_ms;
        int64_t most_ms;
    } cases[] = {{LEDGER_FULL_FLEET, 1, 50},
                 {LEDGER_FULL_CLASS, 1, 50},
                 {LEDGER_FULL_REPOSITORY, 500, 5000}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        reset(state);
        script.outcome = cases[i].outcome;
        run(2);
        assert_in_range(script.back.delay_ms, cases[i].least_ms, cases[i].most_ms);
    }
}

static void launch_failed_at_any_step_is_undone_and_retried(void **state)
{
    (void)state;
    for (int step = STEP_REGISTER; step < STEPS; step++) {
        reset(state);
        script.fail[step] = ERR_RETRY;
        run(0);
        assert_int_equal(script.ended, 1);
        assert_int_equal(script.returned, 1);
        assert_true(script.back.spend_attempt);
        assert_string_equal(script.ended_vm_id, step == STEP_RECORD ? "machine-1" : "");
    }
}

/* Only an answer that was lost leaves room for doubt whether a machine runs. */
static void launch_failed_says_whether_something_may_run(void **state)
{
    const struct {
        enum step step;
        enum err_class class;
        bool left_nothing;
        bool nothing_runs;
    } cases[] = {
        {STEP_REGISTER, ERR_RETRY, false, true}, {STEP_ADVANCE_REGISTERED, ERR_RETRY, false, true},
        {STEP_RUN, ERR_RETRY, false, false},     {STEP_RUN, ERR_RETRY, true, true},
        {STEP_RUN, ERR_CAPACITY, false, true},   {STEP_RUN, ERR_PERMANENT, false, true},
        {STEP_RECORD, ERR_RETRY, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        reset(state);
        script.fail[cases[i].step] = cases[i].class;
        script.left_nothing = cases[i].left_nothing;
        run(0);
        assert_int_equal(script.ended, 1);
        assert_int_equal(script.nothing_runs, cases[i].nothing_runs);
    }
}

/* A worker that was frozen for so long that its row was taken for a dead one's. */
static void launch_that_stood_still_past_its_lease_asks_for_no_vm(void **state)
{
    (void)state;
    script.registered_in_ms = LEASE_MS;
    run(0);
    assert_int_equal(script.calls[STEP_RUN], 1);
    reset(state);
    script.registered_in_ms = LEASE_MS + 1;
    run(0);
    assert_int_equal(script.calls[STEP_RUN], 0);
    assert_int_equal(script.ended, 1);
    assert_true(script.nothing_runs);
    assert_int_equal(script.returned, 1);
}

static void launch_ledger_down_reserves_nothing_and_undoes_nothing(void **state)
{
    (void)state;
    script.fail[STEP_RESERVE] = ERR_RETRY;
    run(0);
    assert_int_equal(script.ended, 0);
    assert_int_equal(script.returned, 1);
}

static void launch_throttled_pauses_the_class_and_spends_nothing(void **state)
{
    (void)state;
    script.fail[STEP_REGISTER] = ERR_THROTTLED;
    int64_t before = clock_mono_ms();
    run(2);
    assert_int_equal(script.returned, 1);
    assert_false(script.back.spend_attempt);
    assert_true(script.paused_until > before);
}

static void launch_permanent_or_out_of_attempts_is_buried(void **state)
{
    (void)state;
    script.fail[STEP_RUN] = ERR_PERMANENT;
    run(0);
    assert_int_equal(script.buried, 1);
    assert_int_equal(script.ended, 1);
    reset(state);
    script.fail[STEP_RUN] = ERR_RETRY;
    run(2);
    assert_int_equal(script.buried, 1);
}

static void launch_over_quota_pauses_the_class_and_spends_nothing_however_often(void **state)
{
    (void)state;
    script.fail[STEP_RUN] = ERR_CAPACITY;
    int64_t before = clock_mono_ms();
    run(1000);
    assert_int_equal(script.returned, 1);
    assert_false(script.back.spend_attempt);
    assert_true(script.paused_until > before);
    assert_int_equal(script.refused, 0);
    assert_int_equal(script.ended, 1);
}

static void launch_refused_while_its_class_is_stopped_waits_unspent(void **state)
{
    (void)state;
    script.fail[STEP_RUN] = ERR_PERMANENT;
    script.stopped = true;
    run(2);
    assert_int_equal(script.refused, 1);
    assert_int_equal(script.buried, 0);
    assert_int_equal(script.returned, 1);
    assert_false(script.back.spend_attempt);
    assert_int_equal(script.back.delay_ms, 7000);
}

static void launch_refused_by_our_own_ledger_says_nothing_about_the_class(void **state)
{
    (void)state;
    script.fail[STEP_RECORD] = ERR_PERMANENT;
    run(0);
    assert_int_equal(script.refused, 0);
    assert_int_equal(script.buried, 1);
}

static void launch_unreadable_or_unknown_class_is_buried_untouched(void **state)
{
    (void)state;
    run_with_body("{\"v\":", 0);
    assert_int_equal(script.buried, 1);
    assert_int_equal(script.calls[STEP_RESERVE], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(launch_smooth_is_done_after_every_step, reset),
        cmocka_unit_test_setup(launch_satisfied_or_obsolete_is_done_without_a_vm, reset),
        cmocka_unit_test_setup(launch_full_or_rate_goes_back_unspent, reset),
        cmocka_unit_test_setup(launch_that_lost_a_race_for_a_slot_comes_back_soon, reset),
        cmocka_unit_test_setup(launch_failed_at_any_step_is_undone_and_retried, reset),
        cmocka_unit_test_setup(launch_failed_says_whether_something_may_run, reset),
        cmocka_unit_test_setup(launch_that_stood_still_past_its_lease_asks_for_no_vm, reset),
        cmocka_unit_test_setup(launch_ledger_down_reserves_nothing_and_undoes_nothing, reset),
        cmocka_unit_test_setup(launch_throttled_pauses_the_class_and_spends_nothing, reset),
        cmocka_unit_test_setup(launch_permanent_or_out_of_attempts_is_buried, reset),
        cmocka_unit_test_setup(launch_over_quota_pauses_the_class_and_spends_nothing_however_often,
                               reset),
        cmocka_unit_test_setup(launch_refused_while_its_class_is_stopped_waits_unspent, reset),
        cmocka_unit_test_setup(launch_refused_by_our_own_ledger_says_nothing_about_the_class,
                               reset),
        cmocka_unit_test_setup(launch_unreadable_or_unknown_class_is_buried_untouched, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
