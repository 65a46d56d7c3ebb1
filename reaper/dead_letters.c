/*
 * Dead letters whose job is over: nobody needs them any more.
 *
 * A dead letter is kept for reaper.retention, and for as long as its job may still want a runner.
 * The ledger says when the job ended. A job that it does not know either was removed with its own
 * retention, or never got there; then GitHub has cancelled it after a day in its queue. One without
 * a job (it could not be read) stays until a person has seen it.
 */
#include <stdlib.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

#define INTERVAL_MS (60 * 60 * 1000LL) /* a list is a scan, and on SQS hides what it reads */
#define GITHUB_QUEUES_FOR_MS (24 * 60 * 60 * 1000LL)

int64_t sweep_dead_letters_interval_ms(const struct sweep *s)
{
    (void)s;
    return INTERVAL_MS;
}

static int dead_letters_exist(struct sweep *s, bool *exist, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    if (queue_depths(s->reaper->queue, NULL, &depths, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        dead += depths[i].dead;
    }
    free(depths);
    *exist = dead > 0;
    return 0;
}

/* Whether the job ended, or was given up by GitHub, before `before_ms`. */
static int is_over(struct sweep *s, const struct queue_entry *entry, int64_t before_ms, bool *over,
                   struct err *e)
{
    struct ledger_job job;
    int64_t id;
    *over = false;
    if (!slice_to_int64(slice_of(entry->message.key), &id) || id <= 0) {
        return 0;
    }
    if (ledger_job_get(s->reaper->ledger, id, &job, e) == 0) {
        *over = (job.state == JOB_DONE || job.state == JOB_CANCELLED) && job.ended_ms < before_ms;
        return 0;
    }
    if (e->class != ERR_NOT_FOUND) {
        return -1;
    }
    int64_t given_up_ms = s->now_ms - GITHUB_QUEUES_FOR_MS;
    *over = entry->dead_lettered_ms > 0 && entry->dead_lettered_ms < before_ms &&
            entry->dead_lettered_ms < given_up_ms;
    return 0;
}

struct judging {
    struct sweep *sweep;
    int failed;
    struct err *e;
};

static enum queue_verdict delete_if_over(void *arg, const struct queue_entry *entry)
{
    struct judging *j = arg;
    struct sweep *s = j->sweep;
    const struct queue_message *m = &entry->message;
    bool over = false;
    j->failed = is_over(s, entry, s->now_ms - s->config->reaper.retention_ms, &over, j->e);
    if (j->failed != 0 || s->lost) {
        return QUEUE_STOP;
    }
    if (!over || !sweep_still_holds(s, NULL)) {
        return QUEUE_LEAVE;
    }
    log_info("dead_letter_deleted", LOG_STR("message_id", m->id), LOG_STR("lane", m->lane),
             LOG_INT("job_id", strtoll(m->key, NULL, 10)), LOG_STR("reason", entry->reason));
    return QUEUE_DELETE;
}

int sweep_dead_letters(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct queue *q = s->reaper->queue;
    struct judging j = {.sweep = s, .e = e};
    bool exist = false;
    if (!queue_can(q, QUEUE_BROWSE) || queue_can(q, QUEUE_SCANS)) {
        return 0;
    }
    if (dead_letters_exist(s, &exist, e) != 0) {
        return -1;
    }
    int rc = exist ? queue_judge_dead(q, delete_if_over, &j, repairs, e) : 0;
    return rc != 0 ? rc : j.failed;
}
