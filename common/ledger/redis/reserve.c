#include <string.h>

#include "common/ledger/redis/redis.h"

/* --- arguments of reserve and capacity --- */
static void put_real(struct redis_args *a, double value)
{
    struct ledger_redis_name n = ledger_redis_named("%.17g", value);
    redis_arg(a, ledger_redis_slice(&n));
}

static void put_buckets(struct redis_args *a, const char *target, const char *class_name,
                        const struct ledger_caps *caps)
{
    char bucket[LEDGER_BUCKET_SIZE];
    struct ledger_redis_name class_bucket =
        ledger_redis_named(LEDGER_BUCKET_CLASS "%s", class_name);
    ledger_bucket_of_launch(target, bucket);
    redis_arg_text(a, bucket);
    redis_arg(a, ledger_redis_slice(&class_bucket));
    put_real(a, caps->rate_per_second);
    redis_arg_int(a, caps->rate_burst);
    put_real(a, caps->class_rate_per_second);
    redis_arg_int(a, caps->class_rate_burst);
}

/* --- reserve --- */
struct reserve {
    const struct ledger_reserve *r;
    const char *vm_name;
    const char *client_token;
    struct ledger_job job; /* after */
    struct ledger_reservation out;
};

static void put_request(struct redis_args *a, const struct reserve *s)
{
    const struct ledger_reserve *r = s->r;
    struct ledger_redis_name id = ledger_redis_id(r->request->job.id);
    struct ledger_redis_name pair = ledger_redis_pair(r->scope, r->request->class_name);
    redis_arg(a, ledger_redis_slice(&id));
    redis_arg_text(a, s->vm_name);
    redis_arg(a, ledger_redis_slice(&pair));
    redis_arg_text(a, r->request->class_name);
    redis_arg_text(a, r->request->job.repository);
    redis_arg_text(a, r->target);
    redis_arg_int(a, r->request->spare);
    redis_arg_int(a, s->job.state == JOB_WAITING ? 1 : 0);
    redis_arg_int(a, r->caps.fleet);
    redis_arg_int(a, r->caps.class_max);
    redis_arg_int(a, r->caps.repository);
    redis_arg_int(a, r->caps.target_max);
    put_buckets(a, r->target, r->request->class_name, &r->caps);
    redis_arg_int(a, LEDGER_LINES_MAX);
    redis_arg_int(a, LEDGER_LINES_FIRST);
}

/* Records the job as waiting, unless it is further on. */
static int redis_record_waiting(struct ledger_redis_txn *t, struct reserve *s, struct err *e)
{
    const struct ledger_reserve *r = s->r;
    struct ledger_line line;
    bool known;
    memset(&s->job, 0, sizeof s->job);
    if (r->request->job.id == 0) {
        return 0;
    }
    if (ledger_redis_load_job(t, r->request->job.id, &s->job, &known, e) != 0) {
        return -1;
    }
    struct ledger_job before = s->job;
    int64_t waits_logged; /* the script stores it */
    struct ledger_change change =
        ledger_reserve_apply_wait(r, &s->job, known, &waits_logged, ledger_redis_now(t->l), &line);
    s->out.queued = (struct ledger_queued){change.state, known, before.state};
    ledger_redis_write_job(&t->writes, known ? &before : NULL, &s->job);
    if (change.state) {
        ledger_redis_write_new_waits(&t->writes, s->job.facts.id);
    }
    ledger_redis_write_line(&t->writes, s->job.facts.id, "", &line);
    return 0;
}

static int redis_read_outcome(const struct redis_reply *reply, struct reserve *s, struct err *e)
{
    int64_t outcome = redis_reply_int(redis_reply_at(reply, 2), -1);
    if (outcome < 0 || outcome >= LEDGER_OUTCOMES) {
        return err_set(e, ERR_RETRY, 0, "the ledger's script returned no outcome");
    }
    s->out.outcome = (enum ledger_outcome)outcome;
    s->out.wait_ms = redis_reply_int(redis_reply_at(reply, 3), 0);
    s->out.demand = redis_reply_int(redis_reply_at(reply, 4), 0);
    s->out.supply = redis_reply_int(redis_reply_at(reply, 5), 0);
    if (s->out.outcome != LEDGER_RESERVED) {
        memset(&s->out.vm, 0, sizeof s->out.vm);
    }
    return 0;
}

static int redis_reserve_round(struct ledger_redis_txn *t, struct reserve *s, bool *done,
                               struct err *e)
{
    static const struct redis_script script = {"ledger reserve", ledger_redis_lua_reserve};
    struct ledger_redis_name lines = ledger_redis_named("vm_jobs:%s", s->vm_name);
    struct ledger_redis_name id = ledger_redis_id(s->r->request->job.id);
    struct ledger_redis_writes birth;
    struct redis_reply *reply = NULL;
    struct redis_args a;
    s->out = (struct ledger_reservation){.outcome = LEDGER_OBSOLETE};
    if (redis_record_waiting(t, s, e) != 0) {
        return -1;
    }
    ledger_rule_new_vm(&s->out.vm, s->r, s->vm_name, s->client_token, ledger_redis_now(t->l));
    ledger_redis_writes_init(&birth);
    ledger_redis_write_vm(&birth, NULL, &s->out.vm);
    if (s->job.facts.id != 0) {
        LEDGER_REDIS_WRITE(&birth, "SADD", ledger_redis_slice(&lines), ledger_redis_slice(&id));
    }
    ledger_redis_args(&a);
    put_request(&a, s);
    ledger_redis_put_guards(t, &a);
    ledger_redis_put_writes(&t->writes, &a);
    ledger_redis_put_writes(&birth, &a);
    int rc = ledger_redis_eval(t->l, &script, &a, true, &reply, e);
    if (rc == 0) {
        *done = ledger_redis_held(t, reply);
    }
    if (rc == 0 && slice_eq_cstr(redis_reply_bytes(redis_reply_at(reply, 1)), "taken")) {
        rc = err_set(e, ERR_CONFLICT, 0, "VM %s exists already", s->vm_name);
    } else if (rc == 0 && *done) {
        rc = redis_read_outcome(reply, s, e);
    }
    redis_reply_free(reply);
    redis_args_fini(&a);
    ledger_redis_writes_fini(&birth);
    return rc;
}

int ledger_redis_reserve(void *state, const struct ledger_reserve *r, const char *vm_name,
                         const char *client_token, struct ledger_reservation *out, struct err *e)
{
    struct reserve s = {.r = r, .vm_name = vm_name, .client_token = client_token};
    struct ledger_redis_txn t;
    bool done = false;
    int rc;
    ledger_redis_begin(&t, state);
    do {
        rc = redis_reserve_round(&t, &s, &done, e);
    } while (rc == 0 && !done && (rc = ledger_redis_again(&t, e)) == 0);
    if (rc == 0 && s.job.facts.id != 0) {
        ledger_redis_saw_job(state, &s.job, &t.writes.job_more);
    }
    if (rc == 0 && s.out.outcome == LEDGER_RESERVED) {
        ledger_redis_saw_vm(state, &s.out.vm, &t.writes.vm_more); /* nothing: it is new */
    }
    ledger_redis_end(&t);
    if (rc == 0) {
        *out = s.out;
    }
    return rc;
}

/* --- capacity --- */
int ledger_redis_capacity(void *state, const char *class_name, const struct ledger_caps *caps,
                          struct ledger_capacity *out, struct err *e)
{
    static const struct redis_script script = {"ledger capacity", ledger_redis_lua_capacity};
    struct redis_reply *r = NULL;
    struct redis_args a;
    ledger_redis_args(&a);
    redis_arg_text(&a, class_name);
    put_buckets(&a, "", class_name, caps);
    int rc = ledger_redis_eval(state, &script, &a, false, &r, e);
    redis_args_fini(&a);
    if (rc != 0) {
        return -1;
    }
    *out = (struct ledger_capacity){.fleet_used = redis_reply_int(redis_reply_at(r, 2), 0),
                                    .class_used = redis_reply_int(redis_reply_at(r, 3), 0),
                                    .rate_wait_ms = redis_reply_int(redis_reply_at(r, 4), 0)};
    redis_reply_free(r);
    return 0;
}

int ledger_redis_targets_read(void *state, struct ledger_target_use *targets, size_t n,
                              struct err *e)
{
    static const struct redis_script script = {"ledger targets", ledger_redis_lua_targets};
    struct redis_reply *r = NULL;
    struct redis_args a;
    ledger_redis_args(&a);
    redis_arg_int(&a, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        char bucket[LEDGER_BUCKET_SIZE];
        ledger_bucket_of_launch(targets[i].name, bucket);
        redis_arg_text(&a, targets[i].name);
        redis_arg_text(&a, bucket);
        put_real(&a, targets[i].rate_per_second);
        redis_arg_int(&a, targets[i].rate_burst);
    }
    int rc = ledger_redis_eval(state, &script, &a, false, &r, e);
    redis_args_fini(&a);
    if (rc != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        targets[i].used = redis_reply_int(redis_reply_at(r, 2 + 2 * i), 0);
        targets[i].rate_wait_ms = redis_reply_int(redis_reply_at(r, 3 + 2 * i), 0);
    }
    redis_reply_free(r);
    return 0;
}

int ledger_redis_release_seq(void *state, int64_t *out, struct err *e)
{
    static const char *const words[] = {"freed", NULL};
    struct redis_reply *r = NULL;
    if (ledger_redis_call(state, "HGET", "meta", words, &r, e) != 0) {
        return -1;
    }
    *out = redis_reply_int(r, 0);
    redis_reply_free(r);
    return 0;
}
