/*
 * Balance: a job that waits longer than its class's patience although too little is on its way for
 * it gets a new launch message. This is the second way of everything that can go wrong between a
 * launch message and a running job: lost VMs, stolen runners, removed registrations, vanished
 * messages.
 *
 * A message is an occasion, not its job's property: a worker that takes the message of a job that
 * runs already launches for another that waits. So what is missing is counted, for a class as a
 * whole: its demand, less its supply, less the messages in its lane. A job whose own message served
 * another needs none as long as there are enough of them, and at a cap the lane is long. Only where
 * several scopes share a class the count may err, since one's messages do nothing for the other;
 * there a job without a message that has waited many times its patience is asked for all the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/publish.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"

#define JOBS_PER_SWEEP 100 /* of one (scope, class); GitHub is asked about each */
#define OVERDUE_PATIENCES 10

int64_t sweep_patience_ms(const struct sweep *s, const struct config_class *class)
{
    return class->relaunch_after_ms > 0 ? class->relaunch_after_ms
                                        : s->config->reaper.relaunch_after_ms;
}

/* A job's own message. */
enum own {
    OWN_NONE,
    OWN_IN_LANE,    /* ready or delayed, so that count_messages() counted it */
    OWN_OUT_OF_LANE /* a worker has it, or a person has to look at why it was buried */
};

/* What one class lacks. */
struct lack {
    const struct config_class *class;
    int64_t missing; /* launch messages, of all scopes; negative: there are more than needed */
    int64_t scopes;  /* in which jobs wait that nothing is on its way for */
    int64_t out;     /* messages that workers have, and no job was found to own */
};

/* A queue that cannot search tells only how many messages are out: each stands for a job, once. */
static enum own own_unseen(struct lack *lack)
{
    if (lack->out <= 0) {
        return OWN_NONE;
    }
    lack->out--;
    return OWN_OUT_OF_LANE;
}

/* What a job that nothing may be on its way for has. */
static enum own find_own(struct sweep *s, struct lack *lack, const struct ledger_job *job)
{
    struct err e = {0};
    struct queue_entry *entries = NULL;
    size_t n = 0;
    enum own found = OWN_NONE;
    char key[32];
    if (!queue_can(s->reaper->queue, QUEUE_FIND)) {
        return own_unseen(lack);
    }
    (void)snprintf(key, sizeof key, "%lld", (long long)job->facts.id);
    if (queue_find(s->reaper->queue, key, 8, &entries, &n, &e) != 0) {
        return OWN_IN_LANE;
    }
    for (size_t i = 0; i < n; i++) {
        bool in_lane = entries[i].place == QUEUE_READY || entries[i].place == QUEUE_DELAYED;
        if (launch_lane_class(entries[i].message.lane) != NULL && found != OWN_IN_LANE) {
            found = in_lane ? OWN_IN_LANE : OWN_OUT_OF_LANE;
        }
    }
    queue_entries_free(entries, n);
    return found;
}

static int publish_request(struct sweep *s, const struct ledger_job *job, struct err *e)
{
    struct job_message message;
    struct launch_request request = {
        .reason = "relaunch", .requested_ms = clock_wall_ms(), .job = job->facts};
    memcpy(request.class_name, job->facts.class_name, sizeof request.class_name);
    job_message_of_launch(&request, presence_format(s->reaper->presence), &message);
    int failed = job_publish(s->reaper->queue, &message, e);
    job_message_fini(&message);
    return failed;
}

static int ask_again(struct sweep *s, const struct ledger_job *job, struct err *e)
{
    int failed = publish_request(s, job, e);
    if (failed == 0) {
        failed = ledger_job_relaunched(s->reaper->ledger, job->facts.id, e);
    }
    if (failed == 0) {
        log_info("job_relaunched", LOG_INT("job_id", job->facts.id),
                 LOG_STR("class", job->facts.class_name), LOG_STR("scope", job->scope),
                 LOG_INT("waiting_ms", s->now_ms - job->waiting_ms),
                 LOG_INT("relaunches", job->relaunches + 1));
    }
    return failed;
}

/* Room in the class; at a cap, waiting has its reason and needs no second message. */
static bool has_room(const struct sweep *s, const struct config_class *class)
{
    int64_t used = 0;
    int64_t of_fleet = 0;
    for (size_t i = 0; i < s->vm_count; i++) {
        int64_t one = s->vms[i].state != VM_GONE ? 1 : 0; /* else this very sweep ended it */
        used += strcmp(s->vms[i].class_name, class->name) == 0 ? one : 0;
        of_fleet += one;
    }
    return used < class->max_vms && of_fleet < s->config->limits.max_vms;
}

/* Messages that a worker has yet to take fill what is missing. A queue that cannot tell leaves the
 * word to each job's own message. */
static void count_messages(const struct sweep *s, struct lack *lack)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    char lane[LAUNCH_LANE_SIZE];
    if (queue_depths(s->reaper->queue, launch_lane(lack->class->name, lane), &depths, &n, &e) !=
        0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        lack->missing -= depths[i].ready + depths[i].delayed;
        lack->out += depths[i].leased;
    }
    free(depths);
}

/* Whether a job that has no message of its own is to be asked for. */
static bool is_due(const struct sweep *s, const struct lack *lack, const struct ledger_job *job)
{
    int64_t overdue_ms = s->now_ms - OVERDUE_PATIENCES * sweep_patience_ms(s, lack->class);
    return lack->missing > 0 || (lack->scopes > 1 && job->waiting_ms < overdue_ms);
}

static int balance_one(struct sweep *s, const struct ledger_balance *b, struct lack *lack,
                       int64_t *done, struct err *e)
{
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    int failed = 0;
    int64_t missing = b->demand - b->supply;
    if (missing <= 0 || (lack->missing <= 0 && lack->scopes < 2)) {
        return 0;
    }
    if (ledger_jobs_waiting(s->reaper->ledger, b->scope, b->class_name,
                            s->now_ms - sweep_patience_ms(s, lack->class), JOBS_PER_SWEEP, &jobs,
                            &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && missing > 0 && failed == 0; i++) {
        enum own own = is_due(s, lack, &jobs[i]) ? find_own(s, lack, &jobs[i]) : OWN_IN_LANE;
        if (own == OWN_IN_LANE) {
            continue;
        }
        /* Whatever comes of it: a job that waits no more was counted as one that does. */
        lack->missing--;
        missing--;
        enum job_status word =
            own == OWN_OUT_OF_LANE ? JOB_STATUS_OVER : sweep_job_status(s, &jobs[i]);
        if (word == JOB_STATUS_OVER || word == JOB_STATUS_UNKNOWN) {
            continue; /* in doubt (JOB_STATUS_UNAVAILABLE), launch: a surplus VM idles out */
        }
        if (!sweep_still_holds(s, NULL)) {
            break;
        }
        failed = ask_again(s, &jobs[i], e);
        *done += failed == 0 ? 1 : 0;
    }
    free(jobs);
    return failed;
}

static bool is_of(const struct ledger_balance *b, const struct config_class *class)
{
    return strcmp(b->class_name, class->name) == 0;
}

static int balance_class(struct sweep *s, struct lack *lack, int64_t *done, struct err *e)
{
    int failed = 0;
    for (size_t i = 0; i < s->balance_count; i++) {
        const struct ledger_balance *b = &s->balances[i];
        if (is_of(b, lack->class) && b->demand > b->supply) {
            lack->missing += b->demand - b->supply;
            lack->scopes++;
        }
    }
    for (size_t i = 0; i < s->balance_count && lack->scopes > 0; i++) {
        const struct ledger_balance *b = &s->balances[i];
        if (is_of(b, lack->class) && balance_one(s, b, lack, done, e) != 0) {
            failed = err_wrap(e, "balance of %s, class %s", b->scope, b->class_name);
        }
    }
    return failed;
}

int sweep_relaunch(struct sweep *s, int64_t *done, struct err *e)
{
    size_t n = 0;
    int failed = 0;
    struct lack *lacks = calloc(s->config->class_count, sizeof *lacks);
    ASSERT(lacks != NULL);
    /* All messages before the balances (sweep_read_balances says why). */
    for (size_t i = 0; i < s->config->class_count; i++) {
        const struct config_class *class = &s->config->classes[i];
        if (has_room(s, class)) {
            lacks[n].class = class;
            count_messages(s, &lacks[n++]);
        }
    }
    failed = n > 0 ? sweep_read_balances(s, e) : 0;
    for (size_t i = 0; i < n && s->balances_read; i++) {
        failed = balance_class(s, &lacks[i], done, e) != 0 ? -1 : failed;
    }
    free(lacks);
    return failed;
}
