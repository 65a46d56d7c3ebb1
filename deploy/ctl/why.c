/*
 * `mayflyctl why JOB`: the timeline of a job from its delivery to the end of its VM, and what it
 * waits for now.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/fleet/caps.h"
#include "common/job/lane.h"
#include "common/ledger/kinds.h"
#include "deploy/ctl/circuits.h"
#include "deploy/ctl/ctl.h"

/* What is known about one job. */
struct facts {
    int64_t id;
    bool in_ledger;
    struct ledger_job job;
    bool queue_unsearched; /* the queue cannot be searched: whether a message waits is not known */
    bool in_queue;
    struct queue_entry entry; /* the first of its messages; owns nothing */
    bool has_capacity;
    struct ledger_capacity capacity;
    int64_t fleet_max;
    const struct config_class *class;
    int64_t demand;
    int64_t supply;
    int64_t jobless;            /* VMs of its class in a row that ended without a job */
    struct ctl_circuit circuit; /* that stops it; subject "": none does */
    struct ledger_entry *timeline;
    size_t timeline_count;
};

static PRINTF(1, 2) json_t *sentence(const char *fmt, ...)
{
    char text[900];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ctl_text(n < 0 ? "" : text);
}

static const char *class_name_of(const struct facts *f)
{
    if (f->in_ledger) {
        return f->job.facts.class_name;
    }
    const char *class_name = launch_lane_class(f->entry.message.lane);
    return class_name != NULL ? class_name : "";
}

/* Not every queue knows. */
static const char *messages_before(const struct queue_entry *q, char out[40])
{
    if (q->ahead < 0) {
        return "an unknown number of messages";
    }
    (void)snprintf(out, 40, "%lld messages", (long long)q->ahead);
    return out;
}

static json_t *waits_for_circuit(const struct facts *f)
{
    const struct circuit *o = &f->circuit.circuit;
    char since[24];
    char next[24];
    char probe[48] = "is due";
    int64_t now = clock_wall_ms();
    if (circuit_wait_ms(o, now) > 0) {
        (void)snprintf(probe, sizeof probe, "is in %s",
                       ctl_duration(circuit_wait_ms(o, now), next));
    }
    return sentence("%s, whose circuit has been open for %s: the next probe %s, and nothing of "
                    "the job is spent until then. It said: %s",
                    f->circuit.subject, ctl_duration(now - o->since_ms, since), probe, o->why);
}

static json_t *waits_for_class(const struct facts *f)
{
    return sentence("runner class \"%s\", which this configuration does not have: it runs when the "
                    "class is configured again; if that is not intended, cancel it at GitHub",
                    class_name_of(f));
}

/* NULL: no cap and no rate keeps the class from launching. `before`: what waits with it. */
static json_t *waits_for_capacity(const struct facts *f, const char *before)
{
    char when[24];
    if (f->class == NULL || !f->has_capacity) {
        return NULL;
    }
    if (f->capacity.class_used >= f->class->max_vms) {
        return sentence("a slot of class %s, which is full: %lld of %lld VMs (classes.max_vms); %s",
                        f->class->name, (long long)f->capacity.class_used,
                        (long long)f->class->max_vms, before);
    }
    if (f->capacity.fleet_used >= f->fleet_max) {
        return sentence("a slot: the fleet is full, %lld of %lld VMs (limits.max_vms); %s",
                        (long long)f->capacity.fleet_used, (long long)f->fleet_max, before);
    }
    if (f->capacity.rate_wait_ms > 0) {
        return sentence("the launch rate (limits.launch_rate): a token in %s; %s",
                        ctl_duration(f->capacity.rate_wait_ms, when), before);
    }
    return NULL;
}

/* Its launch request is in its lane. */
static json_t *waits_in_lane(const struct facts *f)
{
    char messages[40];
    char before[64];
    json_t *capacity;
    if (f->class == NULL && class_name_of(f)[0] != '\0') {
        return waits_for_class(f);
    }
    (void)snprintf(before, sizeof before, "%s are before it", messages_before(&f->entry, messages));
    capacity = waits_for_capacity(f, before);
    return capacity != NULL
               ? capacity
               : sentence("a worker that receives lane %s (%s before it). If this lasts: is a "
                          "worker running, and has the fleet capacity (mayflyctl status)?",
                          f->entry.message.lane, messages);
}

static json_t *waits_in_queue(const struct facts *f)
{
    const struct queue_entry *q = &f->entry;
    char when[24];
    int64_t left = q->due_ms - clock_wall_ms();
    if (f->circuit.subject[0] != '\0' && q->place != QUEUE_DEAD && q->place != QUEUE_LEASED) {
        return waits_for_circuit(f);
    }
    switch (q->place) {
    case QUEUE_DEAD:
        return sentence("a person: its message %s is in the dead-letter queue (%s). Fix the "
                        "cause, then: mayflyctl dlq redrive %s",
                        q->message.id, q->reason, q->message.id);
    case QUEUE_LEASED:
        return sentence("a worker, which has received its message %s and launches its VM (if that "
                        "worker is gone, its "
                        "visibility timeout expires in %s)",
                        q->message.id, ctl_duration(left > 0 ? left : 0, when));
    case QUEUE_DELAYED:
        return sentence("its next try in %s, after %lld attempts; the last ended with: %s",
                        ctl_duration(left > 0 ? left : 0, when), (long long)q->message.attempts,
                        q->reason[0] != '\0' ? q->reason : "no reason recorded");
    case QUEUE_READY:
        break;
    }
    return waits_in_lane(f);
}

/* What GitHub said last about the group of the job's runners; NULL: nothing since it waits. */
static const char *refusal_of_group(const struct facts *f)
{
    for (size_t i = f->timeline_count; i-- > 0;) {
        const struct ledger_entry *t = &f->timeline[i];
        if (t->at_ms >= f->job.waiting_ms && strcmp(t->what, LEDGER_NOT_ADMITTED) == 0) {
            return t->detail;
        }
    }
    return NULL;
}

static json_t *waits_for_runner(const struct facts *f)
{
    const char *refusal = refusal_of_group(f);
    char lane[LAUNCH_LANE_SIZE];
    char others[64];
    json_t *capacity;
    if (f->in_queue) {
        return waits_in_queue(f);
    }
    if (f->circuit.subject[0] != '\0' && f->supply < f->demand) {
        return waits_for_circuit(f);
    }
    (void)snprintf(others, sizeof others, "%lld VMs are on their way for %lld waiting jobs",
                   (long long)f->supply, (long long)f->demand);
    capacity = f->supply < f->demand ? waits_for_capacity(f, others) : NULL;
    if (capacity != NULL) {
        return capacity;
    }
    if (f->queue_unsearched && f->supply < f->demand) {
        return sentence(
            "a worker that receives lane %s, or the reaper, which relaunches it within seconds "
            "(after three times reaper.relaunch_after): %lld VMs for %lld waiting jobs (this queue "
            "cannot "
            "be searched for the job's message: mayflyctl status shows how many wait, "
            "mayflyctl dlq list those in the dead-letter queue)",
            launch_lane(f->job.facts.class_name, lane), (long long)f->supply, (long long)f->demand);
    }
    if (f->class == NULL) {
        return waits_for_class(f);
    }
    if (refusal != NULL) {
        return sentence("an admission: %s", refusal);
    }
    if (f->supply >= f->demand) {
        return sentence(
            "GitHub, which assigns it to the next runner: %lld VMs are starting or idle for %lld "
            "waiting jobs of class %s",
            (long long)f->supply, (long long)f->demand, f->job.facts.class_name);
    }
    return sentence("the reaper, which relaunches it (is a reaper running?): "
                    "%lld VMs for %lld waiting jobs of class %s",
                    (long long)f->supply, (long long)f->demand, f->job.facts.class_name);
}

static json_t *waits_for(const struct facts *f)
{
    if (!f->in_ledger && f->queue_unsearched) {
        return sentence(
            "a worker that receives lane events, if its delivery arrived: job %lld is not "
            "in the ledger yet, and this queue cannot be searched for its message",
            (long long)f->id);
    }
    if (!f->in_ledger) {
        return f->in_queue
                   ? waits_in_queue(f)
                   : sentence("nothing: job %lld is not known here. Did its delivery arrive "
                              "(GitHub's webhook page), and do its labels and repository "
                              "match a class? Is its repository public, and "
                              "github.public_repositories `refuse`?",
                              (long long)f->id);
    }
    switch (f->job.state) {
    case JOB_SEEN:
        return sentence(
            "GitHub: it is held back (environment protection, or a concurrency group); GitHub "
            "queues it afterwards");
    case JOB_WAITING:
        return waits_for_runner(f);
    case JOB_RUNNING:
        return sentence("its own end: it is running on %s", f->job.facts.runner_name);
    case JOB_DONE:
    case JOB_CANCELLED:
        break;
    }
    return sentence("nothing: it has ended (%s)", f->job.facts.conclusion[0] != '\0'
                                                      ? f->job.facts.conclusion
                                                      : ledger_job_state_name(f->job.state));
}

static int gather_queue(struct ctl *c, struct facts *f, struct err *e)
{
    struct queue_entry *entries = NULL;
    size_t n = 0;
    char key[32];
    f->queue_unsearched = !queue_can(c->queue, QUEUE_FIND);
    if (f->queue_unsearched) {
        return 0;
    }
    (void)snprintf(key, sizeof key, "%lld", (long long)f->id);
    if (queue_find(c->queue, key, 16, &entries, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && !f->in_queue; i++) {
        f->in_queue = launch_lane_class(entries[i].message.lane) != NULL;
        f->entry = entries[i];
        f->entry.message.body = NULL;
    }
    queue_entries_free(entries, n);
    return 0;
}

static int gather_capacity(struct ctl *c, struct facts *f, struct err *e)
{
    struct ledger_balance *b = NULL;
    size_t n = 0;
    f->class = config_class_by_name(c->config, slice_of(class_name_of(f)));
    if (f->class != NULL) {
        struct ledger_caps caps = fleet_caps(c->config, f->class);
        if (ledger_capacity(c->ledger, f->class->name, &caps, &f->capacity, e) != 0) {
            return -1;
        }
        char name[LEDGER_CELL_NAME];
        (void)snprintf(name, sizeof name, LEDGER_COUNTER_JOBLESS "%s", f->class->name);
        if (ledger_counter_get(c->ledger, name, &f->jobless, e) != 0) {
            return -1;
        }
        f->has_capacity = true;
        f->fleet_max = c->config->limits.max_vms;
        if (ctl_circuit_of_job(c, &f->job.facts, f->class, &f->circuit, e) != 0) {
            return -1;
        }
    }
    if (!f->in_ledger) {
        return 0;
    }
    if (ledger_balances(c->ledger, &b, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(b[i].scope, f->job.scope) == 0 &&
            strcmp(b[i].class_name, f->job.facts.class_name) == 0) {
            f->demand = b[i].demand;
            f->supply = b[i].supply;
        }
    }
    free(b);
    return 0;
}

static void add_timeline(const struct facts *f, json_t *answer)
{
    const struct ledger_entry *entries = f->timeline;
    json_t *list = json_array();
    json_object_set_new(answer, "timeline", list);
    for (size_t i = 0; i < f->timeline_count; i++) {
        int64_t last = entries[i > 0 ? i - 1 : 0].at_ms;
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:I, s:o, s:o, s:o}", "at", ctl_time(entries[i].at_ms),
                            "since_start_ms", (json_int_t)(entries[i].at_ms - entries[0].at_ms),
                            "since_last_ms", (json_int_t)(entries[i].at_ms - last), "vm",
                            ctl_text(entries[i].vm), "what", ctl_text(entries[i].what), "detail",
                            ctl_text(entries[i].detail)));
    }
}

static void add_job(const struct facts *f, json_t *answer)
{
    const struct ledger_job *j = &f->job;
    json_object_set_new(answer, "state", ctl_text(ledger_job_state_name(j->state)));
    json_object_set_new(answer, "name", ctl_text(j->facts.name));
    json_object_set_new(answer, "repository", ctl_text(j->facts.repository));
    json_object_set_new(answer, "class", ctl_text(j->facts.class_name));
    json_object_set_new(answer, "labels", ctl_text(j->facts.labels));
    json_object_set_new(answer, "run", json_integer(j->facts.run_id));
    json_object_set_new(answer, "runner", ctl_text(j->facts.runner_name));
    json_object_set_new(answer, "conclusion", ctl_text(j->facts.conclusion));
    json_object_set_new(answer, "created_at", ctl_time(j->facts.created_ms));
    int64_t until = j->running_ms > 0 ? j->running_ms : j->ended_ms;
    until = until > 0 ? until : clock_wall_ms();
    json_object_set_new(answer, "waited_ms",
                        json_integer(j->waiting_ms > 0 ? until - j->waiting_ms : 0));
    int64_t ran = j->ended_ms > 0 ? j->ended_ms : clock_wall_ms();
    json_object_set_new(answer, "ran_ms",
                        json_integer(j->running_ms > 0 ? ran - j->running_ms : 0));
}

static int gather(struct ctl *c, struct facts *f, struct err *e)
{
    f->in_ledger = ledger_job_get(c->ledger, f->id, &f->job, e) == 0;
    if (!f->in_ledger && e->class != ERR_NOT_FOUND) {
        return -1;
    }
    return gather_queue(c, f, e) != 0 || gather_capacity(c, f, e) != 0 ||
                   ledger_timeline(c->ledger, f->id, &f->timeline, &f->timeline_count, e) != 0
               ? -1
               : 0;
}

int ctl_why(struct ctl *c, json_t **out, struct err *e)
{
    struct facts f = {0};
    if (ctl_read_job(c->argv[0], &f.id, e) != 0 || gather(c, &f, e) != 0) {
        return -1;
    }
    json_t *answer =
        json_pack("{s:I, s:b}", "job", (json_int_t)f.id, "known", f.in_ledger || f.in_queue);
    if (f.in_ledger) {
        add_job(&f, answer);
    }
    json_object_set_new(answer, "waits_for", waits_for(&f));
    if (f.jobless >= LEDGER_JOBLESS_MANY) {
        json_object_set_new(
            answer, "class_gets_no_jobs",
            sentence("the last %lld VMs of class %s ended without ever having had a job: %s",
                     (long long)f.jobless, f.class->name, LEDGER_JOBLESS_ACTION));
    }
    add_timeline(&f, answer);
    free(f.timeline);
    *out = answer;
    return 0;
}

void ctl_why_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    char waited[24];
    char ran[24];
    printable_line(stdout, "job %lld: %s", (long long)ctl_int(answer, "job"),
                   ctl_str(answer, "state")[0] != '\0' ? ctl_str(answer, "state")
                                                       : "not in the ledger");
    if (json_object_get(answer, "state") != NULL) {
        printable_line(stdout, "  \"%s\" of %s, class %s, labels %s", ctl_str(answer, "name"),
                       ctl_str(answer, "repository"), ctl_str(answer, "class"),
                       ctl_str(answer, "labels"));
        printable_line(stdout, "  waited %s, ran %s",
                       ctl_duration(ctl_int(answer, "waited_ms"), waited),
                       ctl_duration(ctl_int(answer, "ran_ms"), ran));
    }
    printable_line(stdout, "  waits for %s", ctl_str(answer, "waits_for"));
    if (json_object_get(answer, "class_gets_no_jobs") != NULL) {
        printable_line(stdout, "  ! %s", ctl_str(answer, "class_gets_no_jobs"));
    }
    printable_line(stdout, "%s", "");
    json_array_foreach(json_object_get(answer, "timeline"), i, o)
    {
        printable_line(stdout, "  %s  +%-8s %-14s %s%s%s", ctl_str(o, "at"),
                       ctl_duration(ctl_int(o, "since_last_ms"), waited), ctl_str(o, "what"),
                       ctl_str(o, "vm"), ctl_str(o, "vm")[0] != '\0' ? ": " : "",
                       ctl_str(o, "detail"));
    }
}
