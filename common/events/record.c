#include "common/events/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/job/scope.h"

static void add_key(struct buf *out, const char *key)
{
    buf_append_byte(out, ',');
    buf_append_json(out, slice_of(key));
    buf_append_byte(out, ':');
}

/* Unknown values are left out. */
static void add_text(struct buf *out, const char *key, const char *value)
{
    if (value[0] != '\0') {
        add_key(out, key);
        buf_append_json(out, slice_of(value));
    }
}

static void add_number(struct buf *out, const char *key, int64_t value)
{
    if (value != 0) {
        add_key(out, key);
        buf_printf(out, "%" PRId64, value);
    }
}

static void add_time(struct buf *out, const char *key, int64_t wall_ms)
{
    char text[32];
    if (wall_ms > 0) {
        clock_format_utc(wall_ms, text, sizeof text);
        add_text(out, key, text);
    }
}

/* The clocks of two processes may differ: never negative. */
static void add_duration(struct buf *out, const char *key, int64_t from_ms, int64_t to_ms)
{
    if (from_ms > 0 && to_ms > 0) {
        add_key(out, key);
        buf_printf(out, "%" PRId64, to_ms > from_ms ? to_ms - from_ms : 0);
    }
}

static void add_scope(struct buf *out, const char *scope)
{
    char place[SCOPE_SIZE];
    char group[SCOPE_GROUP_SIZE];
    struct slice first = scope_place(scope);
    struct slice second = scope_group(scope);
    (void)snprintf(place, sizeof place, "%.*s", SLICE_ARG(first));
    (void)snprintf(group, sizeof group, "%.*s", SLICE_ARG(second));
    add_text(out, "scope", place);
    add_text(out, "runner_group", group);
}

static void add_job(struct buf *out, const struct ledger_job *j)
{
    const struct job *f = &j->facts;
    add_number(out, "run_id", f->run_id);
    add_number(out, "run_attempt", f->run_attempt);
    add_text(out, "job_name", f->name);
    add_text(out, "workflow", f->workflow);
    add_text(out, "repository", f->repository);
    add_scope(out, j->scope);
    add_text(out, "class", f->class_name);
    add_text(out, "runner", f->runner_name);
    add_text(out, "conclusion", f->conclusion);
    add_number(out, "relaunches", j->relaunches);
    add_time(out, "created_at", f->created_ms);
    add_duration(out, "wait_ms", j->waiting_ms, j->running_ms);
    add_duration(out, "run_ms", j->running_ms, j->ended_ms);
}

static void add_vm(struct buf *out, const struct ledger_vm *v)
{
    add_text(out, "vm", v->name);
    add_text(out, "vm_id", v->vm_id);
    add_text(out, "runner", v->name);
    add_number(out, "runner_id", v->runner_id);
    add_number(out, "launched_for", v->for_job);
    add_text(out, "repository", v->repository);
    add_scope(out, v->scope);
    add_text(out, "class", v->class_name);
    add_text(out, "provider", v->provider);
    add_text(out, "host", v->host);
    add_duration(out, "launch_ms", v->reserved_ms, v->launched_ms);
    add_duration(out, "idle_ms", v->launched_ms, v->busy_ms);
    add_duration(out, "busy_ms", v->busy_ms, v->ending_ms);
    add_duration(out, "end_ms", v->ending_ms, v->gone_ms);
    add_duration(out, "slot_ms", v->reserved_ms, v->gone_ms);
}

int64_t event_record_job(const struct ledger_transition *t)
{
    if (t->job != NULL) {
        return t->job->facts.id;
    }
    return t->vm->job_id != 0 ? t->vm->job_id : t->vm->for_job;
}

void event_record_append(struct buf *out, const struct event_source *from, int64_t seq,
                         const struct ledger_transition *t)
{
    buf_printf(out, "{\"schema\":%d", EVENT_SCHEMA);
    add_time(out, "time", t->at_ms);
    add_text(out, "program", from->program);
    add_text(out, "deployment", from->deployment);
    add_text(out, "instance", from->instance);
    add_number(out, "seq", seq);
    add_text(out, "kind", t->job != NULL ? "job" : "vm");
    add_number(out, "job_id", event_record_job(t));
    add_text(out, "from", t->from);
    add_text(out, "to", t->to);
    add_text(out, "reason", t->reason);
    if (t->job != NULL) {
        add_job(out, t->job);
    } else {
        add_vm(out, t->vm);
    }
    buf_append_byte(out, '}');
}
