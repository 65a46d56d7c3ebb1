#include "tests/unit/worker/launch_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/payload/payload.h"

struct script script;

static int64_t script_mono_us(void)
{
    return script.now_ms * 1000;
}

static int64_t script_wall_ms(void)
{
    return 1800000000000 + script.now_ms;
}

#define CALLED(...) buf_printf(&script.calls, __VA_ARGS__)

static int act(enum step step, struct err *e)
{
    for (int64_t end = script.now_ms + script.takes_ms[step]; script.now_ms < end;) {
        int64_t left = end - script.now_ms;
        script.now_ms += left < 1000 ? left : 1000;
        if (!script.heart_stops) {
            (void)heartbeat_round(script.worker.heartbeat);
        }
    }
    if (script.fail[step] == ERR_NONE) {
        return 0;
    }
    (void)err_set(e, script.fail[step], 500, "scripted");
    e->retry_after_ms = script.retry_after_ms;
    return -1;
}

int queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    assert_ptr_equal(q, script.worker.queue);
    assert_string_equal(m->id, "message-1");
    assert_int_equal(lease_ms, LEASE_MS);
    script.extended++;
    if (script.extension_lost) {
        return err_set(e, ERR_CONFLICT, 0, "scripted");
    }
    (void)snprintf(m->receipt, sizeof m->receipt, "receipt-%d", script.extended);
    return 0;
}

int ledger_reserve(struct ledger *l, const struct ledger_reserve *r, struct ledger_reservation *out,
                   struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    CALLED("reserve job %lld of %s in %s for %s by %s on '%s', at most %lld/%lld/%lld,"
           " %.0f/s %lld, %.0f/s %lld\n",
           (long long)r->request->job.id, r->request->class_name, r->scope, r->deployment,
           r->provider, r->host, (long long)r->caps.fleet, (long long)r->caps.class_max,
           (long long)r->caps.repository, r->caps.rate_per_second, (long long)r->caps.rate_burst,
           r->caps.class_rate_per_second, (long long)r->caps.class_rate_burst);
    *out = script.reservation;
    return act(STEP_RESERVE, e);
}

int ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    assert_string_equal(name, "mf-1");
    script.stamped++;
    return script.row_lost ? err_set(e, ERR_CONFLICT, 0, "scripted") : 0;
}

/* Once ended, the earlier launch counts no more. */
int takeover_dead_launch(struct worker *w, const struct config *c,
                         const struct launch_request *request, const char *scope,
                         struct takeover *out, struct err *e)
{
    assert_ptr_equal(w, &script.worker);
    assert_int_equal(c->worker.lease_ms, LEASE_MS);
    CALLED("take over for job %lld in %s\n", (long long)request->job.id, scope);
    *out = script.earlier;
    if (out->ended) {
        script.reservation.outcome = LEDGER_RESERVED;
    }
    return script.takeover_fails ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

const char *ledger_outcome_name(enum ledger_outcome o)
{
    static const char *const names[] = {"reserved",   "satisfied",       "obsolete", "full_fleet",
                                        "full_class", "full_repository", "rate"};
    return names[o];
}

int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                      struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    assert_null(changed);
    assert_null(a->reason);
    if (a->to == VM_REGISTERED) {
        assert_null(a->vm_id);
        CALLED("row %s is registered as %lld\n", a->vm, (long long)a->runner_id);
        return act(STEP_ADVANCE_REGISTERED, e);
    }
    assert_int_equal(a->to, VM_LAUNCHED);
    CALLED("row %s is launched as %s until +%lld\n", a->vm, a->vm_id,
           (long long)(a->deadline_ms - script_wall_ms()));
    return act(STEP_RECORD, e);
}

int ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                     const char *detail, struct err *e)
{
    (void)e;
    assert_ptr_equal(l, script.worker.ledger);
    CALLED("timeline %lld '%s' %s: %s\n", (long long)job_id, vm, what, detail);
    return 0;
}

int github_register_runner(struct github *g, const struct github_register *r,
                           struct github_jit *out, struct err *e)
{
    assert_ptr_equal(g, script.worker.github);
    CALLED("register %s in %s (%lld), labels %s.., group %s\n", r->name, r->scope->name,
           (long long)r->scope->installation_id, r->labels->items[0], r->group);
    if (act(STEP_REGISTER, e) != 0) {
        return -1;
    }
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
    assert_string_equal(repository, "acme/app");
    struct github_scope s = {.installation_id = installation_id};
    memcpy(s.name, organization, strlen(organization) + 1);
    return s;
}

struct github_scope github_scope_parse(const char *name, int64_t installation_id)
{
    struct github_scope s = {.installation_id = installation_id};
    (void)snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

bool vm_host_bound(const struct vm_provider *p)
{
    return strcmp(((const struct config_class *)(const void *)p)->provider, "hosted") == 0;
}

static void assert_payload(const struct vm_spec *spec)
{
    struct err e = {0};
    struct buf expected;
    struct payload p = {
        .jit_config = SLICE("bm90aGluZyBzZWNyZXQ="),
        .runner_name = slice_of(spec->name),
        .http_proxy = SLICE("http://plain:1"),
        .https_proxy = SLICE("http://secure:2"),
        .no_proxy = SLICE("near.example"),
        .idle_seconds = 10,
        .max_duration_seconds = 60,
    };
    buf_init(&expected, PAYLOAD_PACKED_MAX);
    assert_int_equal(payload_pack(&p, &expected, &e), 0);
    assert_true(slice_eq(buf_slice(&expected), spec->payload));
    buf_fini(&expected);
}

int vm_run(struct vm_provider *p, const struct vm_spec *spec, char *out_id, struct err *e)
{
    assert_ptr_equal(p, script.class);
    assert_payload(spec);
    CALLED("run %s with token %s for %lld ms\n", spec->name, spec->client_token,
           (long long)spec->max_duration_ms);
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
    assert_ptr_equal(f, script.worker.fleet);
    assert_string_equal(class_name, script.class->name);
    return (struct vm_provider *)(uintptr_t)script.class; /* never looked into */
}

const char *fleet_host(const struct fleet *f)
{
    (void)f;
    return "here";
}

int fleet_end_vm(struct fleet *f, const struct ledger_vm *vm, const struct fleet_end *how,
                 struct err *e)
{
    assert_ptr_equal(f, script.worker.fleet);
    CALLED("end %s, state %d, runner %lld, machine '%s', grace %lld%s%s: %s\n", vm->name,
           (int)vm->state, (long long)vm->runner_id, vm->vm_id, (long long)how->grace_ms,
           how->spare_if_busy ? ", spare if busy" : "", how->nothing_runs ? ", nothing runs" : "",
           how->reason);
    return script.rollback_fails ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

void worker_done(struct worker *w, const struct queue_message *m)
{
    assert_ptr_equal(w, &script.worker);
    CALLED("done %s by %s\n", m->id, m->receipt);
}

void worker_return(struct worker *w, const struct queue_message *m, const struct queue_return *r)
{
    assert_ptr_equal(w, &script.worker);
    bool random = r->spend_attempt && script.retry_after_ms == 0;
    CALLED("return %s by %s in %lld ms%s: %s\n", m->id, m->receipt,
           random ? -1LL : (long long)r->delay_ms, r->spend_attempt ? ", spent" : "", r->reason);
}

void worker_bury(struct worker *w, const struct queue_message *m, const char *reason)
{
    assert_ptr_equal(w, &script.worker);
    CALLED("bury %s: %s\n", m->id, reason);
}

void worker_reject(struct worker *w, const struct queue_message *m, const struct err *why)
{
    assert_ptr_equal(w, &script.worker);
    CALLED("reject %s: %s\n", m->id, why->message);
}

static int lane_object; /* never looked into */

void lane_reserved(struct lane *lane)
{
    assert_ptr_equal(lane, &lane_object);
    CALLED("slot decided\n");
}

void lane_pause_until(struct lane *lane, int64_t mono_ms)
{
    assert_ptr_equal(lane, &lane_object);
    CALLED("pause the class for %lld ms\n", (long long)(mono_ms - script.now_ms));
}

struct class_circuit *lane_circuit(struct lane *lane)
{
    assert_ptr_equal(lane, &lane_object);
    return NULL;
}

bool class_circuit_counts(const struct err *e)
{
    return e->class == ERR_PERMANENT;
}

void class_circuit_launched(struct class_circuit *b, const char *message_id)
{
    (void)b;
    CALLED("circuit: %s launched\n", message_id);
}

struct class_circuit_refusal class_circuit_refused(struct class_circuit *b, const struct config *c,
                                                   const char *message_id, int64_t job_id,
                                                   const struct err *why)
{
    (void)b;
    assert_int_equal(c->retry.max_attempts, 3);
    CALLED("circuit: %s of job %lld refused: %s\n", message_id, (long long)job_id, why->message);
    return script.refusal;
}

void queue_message_fini(struct queue_message *m)
{
    free(m->body);
    m->body = NULL;
}

/* --- one launch --- */

static char text_self_hosted[] = "self-hosted";
static char text_small[] = "small";
static char text_arm[] = "arm";
static char text_hosted[] = "hosted";
static char text_remote[] = "remote";
static char text_group[] = "Fleet";
static char text_default[] = "Default";
static char text_none[] = "";
static char text_deployment[] = "t";
static char text_http[] = "http://plain:1";
static char text_https[] = "http://secure:2";
static char text_near[] = "near.example";
static char *labels[] = {text_self_hosted};

/* Two of everything: the first has a group of its own and is bound to its host. */
static const struct config_class classes[] = {
    {.name = text_small,
     .labels = {labels, 1},
     .provider = text_hosted,
     .runner_group = text_group,
     .max_vms = 3,
     .launch_rate = {3, 4},
     .max_duration_seconds = 60,
     .idle_seconds = 10,
     .proxy = {.http = text_http, .https = text_https, .no_proxy = text_near}},
    {.name = text_arm,
     .labels = {labels, 1},
     .provider = text_remote,
     .runner_group = text_none,
     .max_vms = 5,
     .launch_rate = {7, 8},
     .max_duration_seconds = 60,
     .idle_seconds = 10,
     .proxy = {.http = text_http, .https = text_https, .no_proxy = text_near}},
};

static void launch_body(const char *body, int64_t attempts)
{
    struct config_class mine[2] = {classes[0], classes[1]};
    struct config c = {.deployment = text_deployment, .classes = mine, .class_count = 2};
    c.github.runner_group = text_default;
    c.worker.lease_ms = LEASE_MS;
    c.reaper.startup_timeout_ms = TIMEOUT_MS;
    c.limits.max_vms = 9;
    c.limits.max_vms_per_repository = 2;
    c.limits.launch_rate = (struct config_rate){1, 2};
    c.retry = (struct config_retry){.max_attempts = 3, .base_ms = 10, .cap_ms = 100};
    struct queue_message m = {.attempts = attempts, .body = strdup(body), .body_len = strlen(body)};
    memcpy(m.id, "message-1", 10);
    memcpy(m.receipt, "receipt-0", 10);
    launch(&script.worker, (struct lane *)&lane_object, &c, &m);
    queue_message_fini(&m);
}

/* Launches a job of that class, and says every call that was made for it. */
const char *script_calls_for(size_t class, int64_t attempts)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED,
                           .job.id = 42,
                           .job.run_id = 1,
                           .job.run_attempt = 1,
                           .job.installation_id = 5};
    struct buf body;
    script.class = &classes[class];
    memcpy(ev.status, "queued", 7);
    memcpy(ev.job.repository, "acme/app", 9);
    memcpy(ev.job.organization, "acme", 5);
    memcpy(ev.job.class_name, script.class->name, strlen(script.class->name) + 1);
    buf_init(&body, 65536);
    struct launch_request request = launch_request_of(&ev);
    launch_request_encode(&request, 1, &body);
    launch_body(body.data, attempts);
    buf_fini(&body);
    return script.calls.data;
}

static void forget(void)
{
    buf_fini(&script.calls);
    heartbeat_free(script.worker.heartbeat);
}

static void begin(void)
{
    script = (struct script){.now_ms = START_MS};
    buf_init(&script.calls, 65536);
    script.reservation.wait_ms = 250;
    memcpy(script.reservation.vm.name, "mf-1", 5);
    memcpy(script.reservation.vm.client_token, "token-1", 8);
    script.worker.queue = (struct queue *)&script.now_ms; /* never looked into, as these: */
    script.worker.ledger = (struct ledger *)&script.extended;
    script.worker.github = (struct github *)&script.fail;
    script.worker.fleet = (struct fleet *)&script.takes_ms;
    stop_init(&script.worker.intake);
    script.worker.heartbeat = heartbeat_new(&script.worker);
}

void script_again(void)
{
    forget();
    begin();
}

int script_set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = script_mono_us,
                                               .wall_ms = script_wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    begin();
    return 0;
}

int script_tear_down(void **state)
{
    (void)state;
    forget();
    return 0;
}

const char *script_calls_for_body(const char *body)
{
    script.class = &classes[0];
    launch_body(body, 0);
    return script.calls.data;
}
