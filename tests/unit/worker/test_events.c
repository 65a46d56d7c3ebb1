/*
 * The events lane: a batch is applied one by one and keeps its leases however slow the ledger is.
 * Queue and ledger are scripted, and time is the script's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/enders.h"
#include "worker/events.h"

#define LEASE_MS 30000

/* One thread serves the lane, and the test looks only after it was joined. */
static struct script {
    struct buf calls;
    int messages;      /* of the one batch */
    int bad;           /* which of them nobody can read; 0 none */
    int failing;       /* which of them the ledger refuses; 0 none */
    bool take_fails;   /* the first time */
    bool extend_fails; /* the lease is another's */
    bool done_fails;
    int64_t takes_ms; /* one step of the ledger */
    int64_t now_ms;
    int takes;
    struct worker worker;
} script;

#define CALLED(...) buf_printf(&script.calls, __VA_ARGS__)

static int64_t mono_us(void)
{
    return script.now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + script.now_ms;
}

int64_t queue_patience_ms(const struct queue *q)
{
    assert_ptr_equal(q, script.worker.queue);
    return 1234;
}

static void fill(struct queue_message *m, int n)
{
    struct buf body;
    struct job_event ev = {.action = JOB_ACTION_COMPLETED, .job = {.id = n, .run_id = 1}};
    memcpy(ev.status, "completed", 10);
    memcpy(ev.job.repository, "acme/app", 9);
    memcpy(ev.job.organization, "acme", 5);
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "vm-%d", n);
    buf_init(&body, 65536);
    if (n == script.bad) {
        buf_append_cstr(&body, "{");
    } else {
        job_event_encode(&ev, 1, &body);
    }
    (void)snprintf(m->id, sizeof m->id, "m-%d", n);
    m->body = slice_dup(buf_slice(&body));
    m->body_len = body.len;
    buf_fini(&body);
}

int queue_take(struct queue *q, const char *lane, size_t max, int64_t lease_ms, int64_t wait_ms,
               struct queue_message *out, size_t *got, struct err *e)
{
    assert_ptr_equal(q, script.worker.queue);
    assert_string_equal(lane, "events");
    assert_int_equal(lease_ms, LEASE_MS);
    assert_int_equal(wait_ms, 1234);
    assert_true(max >= (size_t)script.messages);
    if (script.take_fails) {
        script.take_fails = false;
        CALLED("take fails\n");
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    if (script.takes++ > 0) {
        stop_raise(&script.worker.intake);
        return 0;
    }
    for (int i = 0; i < script.messages; i++) {
        fill(&out[i], i + 1);
    }
    *got = (size_t)script.messages;
    return 0;
}

int queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    assert_ptr_equal(q, script.worker.queue);
    assert_int_equal(lease_ms, LEASE_MS);
    CALLED("extend %s\n", m->id);
    (void)snprintf(m->receipt, sizeof m->receipt, "+");
    return script.extend_fails ? err_set(e, ERR_CONFLICT, 0, "scripted") : 0;
}

int queue_done(struct queue *q, const struct queue_message *m, size_t n, struct err *e)
{
    assert_ptr_equal(q, script.worker.queue);
    CALLED("done");
    for (size_t i = 0; i < n; i++) {
        CALLED(" %s%s", m[i].id, m[i].receipt);
    }
    CALLED("\n");
    return script.done_fails ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

void queue_message_fini(struct queue_message *m)
{
    free(m->body);
    m->body = NULL;
}

int ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                       struct ledger_effect *out, struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    CALLED("apply %lld in %s\n", (long long)ev->job.id, scope);
    script.now_ms += script.takes_ms;
    *out = (struct ledger_effect){.after = JOB_DONE, .vm_changed = ev->job.id % 2 == 0};
    memcpy(out->vm.name, ev->job.runner_name, strlen(ev->job.runner_name) + 1);
    out->vm.state = VM_ENDING;
    return ev->job.id == script.failing ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

const char *ledger_job_state_name(enum ledger_job_state s)
{
    (void)s;
    return "done";
}

struct github_scope github_scope_of(const struct config *c, const char *repository,
                                    const char *organization, int64_t installation_id)
{
    (void)c;
    assert_string_equal(repository, "acme/app");
    struct github_scope s = {.installation_id = installation_id};
    memcpy(s.name, organization, strlen(organization) + 1);
    return s;
}

void enders_give(struct enders *s, const struct ledger_vm *vm)
{
    assert_ptr_equal(s, script.worker.enders);
    CALLED("end %s\n", vm->name);
}

void worker_return(struct worker *w, const struct queue_message *m, const struct queue_return *r)
{
    assert_ptr_equal(w, &script.worker);
    assert_in_range(r->delay_ms, 1, 5000);
    assert_false(r->spend_attempt);
    CALLED("return %s: %s\n", m->id, r->reason);
}

void worker_reject(struct worker *w, const struct queue_message *m, const struct err *why)
{
    assert_ptr_equal(w, &script.worker);
    assert_true(strlen(why->message) > 0);
    CALLED("reject %s\n", m->id);
}

void worker_stop_intake(struct worker *w)
{
    (void)w;
    fail();
}

static const char *calls_of_a_batch(void)
{
    struct err e = {0};
    struct events *events = NULL;
    assert_int_equal(events_start(&script.worker, 1, &events, &e), 0);
    events_join(events);
    return script.calls.data;
}

static int set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    struct config *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->worker.lease_ms = LEASE_MS;
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    script = (struct script){.now_ms = 5000, .messages = 4};
    buf_init(&script.calls, 65536);
    script.worker.queue = (struct queue *)&script.now_ms; /* never looked into, as these: */
    script.worker.ledger = (struct ledger *)&script.takes_ms;
    script.worker.enders = (struct enders *)&script.messages;
    script.worker.config = config_live_new(c, NULL, CONFIG_FOR_WORKER);
    stop_init(&script.worker.intake);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clock_set_source(NULL);
    config_live_free(script.worker.config);
    stop_fini(&script.worker.intake);
    buf_fini(&script.calls);
    return 0;
}

static void batch_is_applied_one_by_one_and_acknowledged_together(void **state)
{
    (void)state;
    assert_string_equal(calls_of_a_batch(), "apply 1 in acme\n"
                                            "apply 2 in acme\nend vm-2\n"
                                            "apply 3 in acme\n"
                                            "apply 4 in acme\nend vm-4\n"
                                            "done m-1 m-2 m-3 m-4\n");
}

static void what_fails_goes_back_and_what_cannot_be_read_is_rejected(void **state)
{
    (void)state;
    script.bad = 2;
    script.failing = 3;
    script.done_fails = true; /* they come again, which does no harm */
    assert_string_equal(calls_of_a_batch(), "apply 1 in acme\n"
                                            "reject m-2\n"
                                            "apply 3 in acme\nreturn m-3: scripted\n"
                                            "apply 4 in acme\nend vm-4\n"
                                            "done m-1 m-4\n");
}

/* A third of a lease a step: what is applied is acknowledged, and what is not is extended. */
static void slow_ledger_costs_no_lease(void **state)
{
    (void)state;
    script.takes_ms = LEASE_MS / 3;
    assert_string_equal(calls_of_a_batch(), "apply 1 in acme\n"
                                            "done m-1\nextend m-2\nextend m-3\nextend m-4\n"
                                            "apply 2 in acme\nend vm-2\n"
                                            "done m-2+\nextend m-3\nextend m-4\n"
                                            "apply 3 in acme\n"
                                            "done m-3+\nextend m-4\n"
                                            "apply 4 in acme\nend vm-4\n"
                                            "done m-4+\n");
}

static void lease_that_is_lost_all_the_same_is_no_harm(void **state)
{
    (void)state;
    script.messages = 2;
    script.takes_ms = LEASE_MS / 3;
    script.extend_fails = true;
    assert_string_equal(calls_of_a_batch(), "apply 1 in acme\ndone m-1\nextend m-2\n"
                                            "apply 2 in acme\nend vm-2\ndone m-2+\n");
}

static void take_that_fails_is_tried_again(void **state)
{
    (void)state;
    script.messages = 1;
    script.take_fails = true;
    assert_string_equal(calls_of_a_batch(), "take fails\napply 1 in acme\ndone m-1\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(batch_is_applied_one_by_one_and_acknowledged_together),
        CASE(what_fails_goes_back_and_what_cannot_be_read_is_rejected),
        CASE(slow_ledger_costs_no_lease),
        CASE(lease_that_is_lost_all_the_same_is_no_harm),
        CASE(take_that_fails_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
