/*
 * `mayflyctl dlq …`: the dead-letter queue: what is in it, why, and what to do with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "deploy/ctl/ctl.h"

#define LIST_MAX 100
#define NO_LIMIT INT32_MAX

/* The state of its job in the ledger; -1: it has none there, or the ledger does not respond, without
 * which the dead letters can be read all the same. */
static int job_state(struct ctl *c, const char *key)
{
    struct ledger_job job;
    struct err e;
    int64_t id;
    if (!slice_to_int64(slice_of(key), &id) || id <= 0 ||
        ledger_job_get(c->ledger, id, &job, &e) != 0) {
        return -1;
    }
    return (int)job.state;
}

static void add_state(json_t *o, int state)
{
    bool known = state >= 0;
    bool over = state == JOB_DONE || state == JOB_CANCELLED;
    json_object_set_new(o, "job_state",
                        known ? json_string(ledger_job_state_name((enum ledger_job_state)state))
                              : json_null());
    json_object_set_new(o, "job_over", known ? json_boolean(over) : json_null());
}

static json_t *describe_entry(struct ctl *c, const struct queue_entry *q)
{
    /* What others wrote to the store need not be UTF-8. */
    json_t *o =
        json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o}", "message", ctl_text(q->message.id), "lane",
                  ctl_text(q->message.lane), "job", ctl_text(q->message.key), "attempts",
                  (json_int_t)q->message.attempts, "enqueued_at", ctl_time(q->message.enqueued_ms),
                  "dead_lettered_at", ctl_time(q->dead_lettered_ms), "reason", ctl_text(q->reason));
    add_state(o, job_state(c, q->message.key));
    return o;
}

static int list_dead_letters(struct ctl *c, size_t max, json_t **out, struct err *e)
{
    struct queue_entry *entries = NULL;
    size_t n = 0;
    if (queue_dead(c->queue, NULL, max, &entries, &n, e) != 0) {
        return -1;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, describe_entry(c, &entries[i]));
    }
    queue_entries_free(entries, n);
    *out = list;
    return 0;
}

/* On stderr, so that the list on stdout stays one with --json too. */
static void report_rest(struct ctl *c)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    struct err e;
    if (queue_depths(c->queue, NULL, &depths, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            dead += depths[i].dead;
        }
        free(depths);
    }
    if (dead != LIST_MAX) {
        fprintf(stderr,
                "mayflyctl: these are the oldest %d of %s%lld dead letters: mayflyctl dlq list all "
                "shows all\n",
                LIST_MAX, queue_can(c->queue, QUEUE_DEPTHS) ? "" : "about ", (long long)dead);
    }
}

int ctl_dlq_list(struct ctl *c, json_t **out, struct err *e)
{
    bool all = c->argc > 0;
    if (all && strcmp(c->argv[0], "all") != 0) {
        c->exit_code = CTL_EXIT_USAGE;
        return err_set(e, ERR_PERMANENT, 0, "dlq list takes nothing, or the word all");
    }
    if (list_dead_letters(c, all ? NO_LIMIT : LIST_MAX, out, e) != 0) {
        return -1;
    }
    if (!all && !c->serves && json_array_size(*out) == LIST_MAX) {
        report_rest(c);
    }
    return 0;
}

void ctl_dlq_list_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    if (json_array_size(answer) == 0) {
        printable_line(stdout, "the dead-letter queue is empty");
    }
    json_array_foreach(answer, i, o)
    {
        printable_line(stdout, "%s  %s  job %s  %lld attempts  %s", ctl_str(o, "message"),
                       ctl_str(o, "lane"), ctl_str(o, "job"), (long long)ctl_int(o, "attempts"),
                       ctl_str(o, "dead_lettered_at"));
        printable_line(stdout, "    %s", ctl_str(o, "reason"));
        if (json_is_true(json_object_get(o, "job_over"))) {
            printable_line(stdout,
                           "    the job is over (%s): nobody needs this message; the reaper "
                           "deletes it after reaper.retention",
                           ctl_str(o, "job_state"));
        }
    }
}

int ctl_dlq_show(struct ctl *c, json_t **out, struct err *e)
{
    struct queue_entry *entries = NULL;
    size_t n = 0;
    json_t *found = NULL;
    if (queue_dead(c->queue, NULL, NO_LIMIT, &entries, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && found == NULL; i++) {
        if (strcmp(entries[i].message.id, c->argv[0]) == 0) {
            found = describe_entry(c, &entries[i]);
            json_t *body =
                json_loadb(entries[i].message.body, entries[i].message.body_len, 0, NULL);
            json_object_set_new(found, "body",
                                body != NULL ? body : ctl_text(entries[i].message.body));
        }
    }
    queue_entries_free(entries, n);
    if (found == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "no message %s in the dead-letter queue (mayflyctl dlq list shows what is)",
                       c->argv[0]);
    }
    *out = found;
    return 0;
}

static json_t *did(const char *what, int64_t count)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%s: %lld", what, (long long)count);
    return json_pack("{s:o, s:I}", "did", ctl_text(text), "count", (json_int_t)count);
}

/* One that comes back while this runs has failed again: it is left. */
static enum queue_verdict redrive_older(void *arg, const struct queue_entry *entry)
{
    const int64_t *started_ms = arg;
    return entry->dead_lettered_ms <= *started_ms ? QUEUE_REDRIVE : QUEUE_LEAVE;
}

static int redrive_all(struct ctl *c, int64_t *count, struct err *e)
{
    int64_t started_ms = clock_wall_ms();
    if (queue_judge_dead(c->queue, redrive_older, &started_ms, count, e) != 0) {
        return err_wrap(e, "%lld messages were redriven, then", (long long)*count);
    }
    return 0;
}

int ctl_dlq_redrive(struct ctl *c, json_t **out, struct err *e)
{
    int64_t count = 0;
    if (strcmp(c->argv[0], "all") == 0) {
        if (redrive_all(c, &count, e) != 0) {
            return -1;
        }
    } else if (queue_redrive(c->queue, c->argv[0], e) != 0) {
        return -1;
    } else {
        count = 1;
    }
    *out = did("returned to their lanes", count);
    return 0;
}

int ctl_dlq_delete(struct ctl *c, json_t **out, struct err *e)
{
    if (queue_delete(c->queue, c->argv[0], e) != 0) {
        return -1;
    }
    *out = did("deleted", 1);
    return 0;
}
