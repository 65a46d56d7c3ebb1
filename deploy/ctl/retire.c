/*
 * `mayflyctl class retire CLASS`: what is left of a class for which nothing is launched any more.
 *
 * The jobs of its lane, and those that the ledger has waiting for it, are routed by their labels to
 * another class, or their messages become dead letters. The ledger counts a job that is routed for its
 * new class at once. Its circuits are removed. A request that two runs of this command put is launched
 * once (ledger_reserve).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/github.h"
#include "common/job/lane.h"
#include "common/job/publish.h"
#include "common/ledger/circuit.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/ctl.h"

#define LEASE_MS 60000
#define BATCH 10
#define PAGE 500
#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyz0123456789-"

struct retiring {
    struct ctl *ctl;
    const char *class_name;
    char lane[LAUNCH_LANE_SIZE];
    int64_t format;
    int64_t *moved; /* the ids of the jobs that were put for another class */
    size_t moved_count;
    size_t dead;
    size_t left; /* jobs that wait and that no class accepts */
};

/* Its demand moves with it, however long it waits in the lane of its new class. */
static int move_in_ledger(struct retiring *r, const struct launch_request *request,
                          const struct config_class *to, struct err *e)
{
    const struct github_scope scope = github_scope_of(r->ctl->config, to, &request->job);
    char name[SCOPE_SIZE];
    struct ledger_effect effect;
    const struct job_event ev = {.action = JOB_ACTION_QUEUED,
                                 .status = "queued",
                                 .received_ms = request->requested_ms,
                                 .job = request->job};
    scope_name_make(scope.name, scope.group, name);
    return ledger_apply_event(r->ctl->ledger, &ev, name, &effect, e);
}

static int put(struct retiring *r, struct launch_request *request, const struct config_class *to,
               struct err *e)
{
    struct job_message m;
    request->scope[0] = '\0'; /* the other class may have another */
    (void)snprintf(request->class_name, sizeof request->class_name, "%s", to->name);
    (void)snprintf(request->job.class_name, sizeof request->job.class_name, "%s", to->name);
    job_message_of_launch(request, r->format, &m);
    int rc = job_publish(r->ctl->queue, &m, e);
    job_message_fini(&m);
    if (rc == 0) {
        r->moved = reallocarray(r->moved, r->moved_count + 1, sizeof r->moved[0]);
        ASSERT(r->moved != NULL);
        r->moved[r->moved_count++] = request->job.id;
        rc = move_in_ledger(r, request, to, e);
    }
    return rc;
}

static int retire_message(struct retiring *r, const struct queue_message *m, struct err *e)
{
    struct launch_request request;
    char reason[200];
    const char *why = "no other class accepts its labels";
    const struct config_class *to = NULL;
    if (launch_request_decode((struct slice){m->body, m->body_len}, &request, e) != 0) {
        why = "it cannot be read";
    } else {
        to = request.job.id != 0 ? config_route_joined(r->ctl->config, request.job.labels) : NULL;
    }
    if (to != NULL) {
        return put(r, &request, to, e) != 0 || queue_ack(r->ctl->queue, m, 1, e) != 0 ? -1 : 0;
    }
    (void)snprintf(reason, sizeof reason, "its class %s was retired, and %s", r->class_name, why);
    r->dead++;
    return queue_dead_letter(r->ctl->queue, m, reason, e);
}

static int retire_lane(struct retiring *r, struct err *e)
{
    size_t got = 0;
    int rc = 0;
    do {
        struct queue_message batch[BATCH] = {0};
        rc = queue_receive(r->ctl->queue, r->lane, BATCH, LEASE_MS,
                           queue_poll_wait_ms(r->ctl->queue), batch, &got, e);
        for (size_t i = 0; rc == 0 && i < got; i++) {
            rc = retire_message(r, &batch[i], e);
        }
        for (size_t i = 0; i < got; i++) {
            queue_message_fini(&batch[i]);
        }
    } while (rc == 0 && got > 0);
    return rc;
}

static bool was_moved(const struct retiring *r, int64_t job_id)
{
    for (size_t i = 0; i < r->moved_count; i++) {
        if (r->moved[i] == job_id) {
            return true;
        }
    }
    return false;
}

/* Its request was lost, or a worker has it: then it is put twice, and launched once. */
static int retire_job(struct retiring *r, const struct ledger_job *job, struct err *e)
{
    const struct config_class *to = config_route_joined(r->ctl->config, job->facts.labels);
    struct launch_request request = {
        .reason = "retired", .requested_ms = clock_wall_ms(), .job = job->facts};
    if (was_moved(r, job->facts.id)) {
        return 0;
    }
    if (to == NULL) {
        r->left++;
        return 0;
    }
    return put(r, &request, to, e);
}

/* Those that are routed leave the list; those that are not stay its oldest, and are passed over. */
static int retire_scope(struct retiring *r, const char *scope, struct err *e)
{
    size_t left_before = r->left;
    size_t count = 0;
    size_t max = PAGE;
    size_t moved_before;
    int rc = 0;
    do {
        struct ledger_job *jobs = NULL;
        moved_before = r->moved_count;
        r->left = left_before;
        rc = ledger_jobs_waiting(r->ctl->ledger, scope, r->class_name, clock_wall_ms() + 1, max,
                                 &jobs, &count, e);
        for (size_t k = 0; rc == 0 && k < count; k++) {
            rc = retire_job(r, &jobs[k], e);
        }
        free(jobs);
        bool is_last = count < max;
        max = r->left - left_before + PAGE;
        count = is_last ? 0 : count;
    } while (rc == 0 && count > 0 && (r->moved_count > moved_before || max > count));
    return rc;
}

static int retire_jobs(struct retiring *r, struct err *e)
{
    struct ledger_balance *all = NULL;
    size_t n = 0;
    int rc = ledger_balances(r->ctl->ledger, &all, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (strcmp(all[i].class_name, r->class_name) == 0 && all[i].demand > 0) {
            rc = retire_scope(r, all[i].scope, e);
        }
    }
    free(all);
    return rc;
}

/* "class:NAME", and "class:NAME@HOST". */
static bool is_circuit_of(const char *subject, const char *class_name)
{
    size_t n = strlen(class_name);
    return strncmp(subject, "class:", 6) == 0 && strncmp(subject + 6, class_name, n) == 0 &&
           (subject[6 + n] == '\0' || subject[6 + n] == '@');
}

static int remove_circuits(struct retiring *r, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int rc = ledger_cell_list(r->ctl->ledger, CIRCUIT_KIND, &cells, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (is_circuit_of(cells[i].name, r->class_name)) {
            rc = ledger_cell_put(r->ctl->ledger, CIRCUIT_KIND, cells[i].name, NULL,
                                 cells[i].version, NULL, e);
        }
    }
    free(cells);
    return rc;
}

/* What workers hold, or have returned for later. */
static int count_rest(struct retiring *r, int64_t *out, struct err *e)
{
    struct queue_depth *depth = NULL;
    size_t n = 0;
    if (queue_depths(r->ctl->queue, r->lane, &depth, &n, e) != 0) {
        return -1;
    }
    *out = n > 0 ? depth[0].ready + depth[0].leased + depth[0].delayed : 0;
    free(depth);
    return 0;
}

/* What the ledger and the queue have of a class that is not configured. */
static int check_known(const struct ctl *c, const char *class_name, struct err *e)
{
    struct ledger_count *counts = NULL;
    struct queue_depth *depths = NULL;
    size_t n = 0;
    size_t lanes = 0;
    char lane[LAUNCH_LANE_SIZE];
    bool known = false;
    if (ledger_counts(c->ledger, &counts, &n, e) != 0 ||
        queue_depths(c->queue, NULL, &depths, &lanes, e) != 0) {
        free(counts);
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        known = known || strcmp(counts[i].class_name, class_name) == 0;
    }
    (void)launch_lane(class_name, lane);
    for (size_t i = 0; i < lanes; i++) {
        known = known || strcmp(depths[i].lane, lane) == 0;
    }
    free(counts);
    free(depths);
    return known ? 0
                 : err_set(e, ERR_NOT_FOUND, 0,
                           "there is no class %s: it is not configured, and neither the ledger nor "
                           "the queue has anything of it (mayflyctl status shows the classes)",
                           class_name);
}

static int check_retired(const struct ctl *c, const char *class_name, struct err *e)
{
    const struct config_class *class = config_class_by_name(c->config, slice_of(class_name));
    size_t n = strlen(class_name);
    if (n == 0 || n >= CLASS_NAME_SIZE || strspn(class_name, NAME_CHARACTERS) != n) {
        return err_set(e, ERR_PERMANENT, 0, "\"%.40s\" is not the name of a class", class_name);
    }
    if (class != NULL && !config_class_is_retired(class)) {
        return err_set(
            e, ERR_CONFLICT, 0,
            "class %s is in use: set its max_vms to 0, or remove it, in the configuration of "
            "all programs and send them SIGHUP, then run this command",
            class_name);
    }
    return class != NULL ? 0 : check_known(c, class_name, e);
}

int ctl_class_retire(struct ctl *c, json_t **out, struct err *e)
{
    struct retiring r = {.ctl = c, .class_name = c->argv[0]};
    char did[400];
    int64_t rest = 0;
    if (check_retired(c, r.class_name, e) != 0 || ledger_format_get(c->ledger, &r.format, e) != 0) {
        return -1;
    }
    (void)launch_lane(r.class_name, r.lane);
    int rc = retire_lane(&r, e) != 0 || retire_jobs(&r, e) != 0 || remove_circuits(&r, e) != 0 ||
                     count_rest(&r, &rest, e) != 0
                 ? -1
                 : 0;
    free(r.moved);
    if (rc != 0) {
        return err_wrap(e, "class %s is not retired yet: run the command again", r.class_name);
    }
    (void)snprintf(
        did, sizeof did,
        "class %s: %zu jobs are routed to other classes, %zu messages are dead letters; %zu "
        "jobs that wait have labels that no class accepts; %lld messages are with a worker "
        "or delayed%s",
        r.class_name, r.moved_count, r.dead, r.left, (long long)rest,
        rest > 0 ? ": run the command again later" : "");
    *out = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "class", r.class_name, "routed",
                     (json_int_t)r.moved_count, "dead", (json_int_t)r.dead, "unroutable",
                     (json_int_t)r.left, "rest", (json_int_t)rest, "did", ctl_text(did));
    return 0;
}
