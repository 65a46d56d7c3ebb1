/*
 * The queue on SQS: checks the queues' attributes for settings that could lose a job.
 */
#include <stdlib.h>
#include <string.h>

#include "common/queue/sqs/internal.h"

#define DAY_S (24LL * 3600)
#define RETENTION_LEAST_S DAY_S /* GitHub cancels a job that was queued for a day */
#define DEAD_RETENTION_LEAST_S (4 * DAY_S)
#define RECEIVES_LEAST 100
/* The largest message: 64 KiB as base64, and its attributes. */
#define SIZE_LEAST (96 * 1024)

static void check_redrive(const struct sqs_target *t, const json_t *attributes, struct buf *out)
{
    const char *text = json_string_value(json_object_get(attributes, "RedrivePolicy"));
    json_t *policy = text != NULL ? json_loads(text, 0, NULL) : NULL;
    json_t *limit = json_object_get(policy, "maxReceiveCount");
    int64_t receives = 0;
    /* SQS returns a number, also if it was set as a string. */
    if (json_is_integer(limit)) {
        receives = (int64_t)json_integer_value(limit);
    } else if (!slice_to_int64(slice_of(json_string_value(limit)), &receives)) {
        receives = 0;
    }
    if (limit != NULL && receives < RECEIVES_LEAST) {
        buf_printf(out,
                   "queue %s: its redrive policy dead-letters a message after %lld receives, but a "
                   "job that waits for a slot is received many times, so healthy jobs would be "
                   "dead-lettered. Remove the policy (Mayfly counts attempts itself), or set "
                   "maxReceiveCount to 1000\n",
                   t->name, (long long)receives);
    }
    json_decref(policy);
}

static void check_attributes(const struct sqs_target *t, bool dead, const json_t *attributes,
                             struct buf *out)
{
    int64_t retention = queue_sqs_attribute(attributes, "MessageRetentionPeriod", 14 * DAY_S);
    int64_t size = queue_sqs_attribute(attributes, "MaximumMessageSize", SIZE_LEAST);
    if (retention < (dead ? DEAD_RETENTION_LEAST_S : RETENTION_LEAST_S)) {
        buf_printf(out,
                   "queue %s: SQS deletes %s after %lld s (MessageRetentionPeriod): set 1209600, "
                   "the maximum\n",
                   t->name, dead ? "dead letters" : "waiting jobs", (long long)retention);
    }
    if (size < SIZE_LEAST) {
        buf_printf(out,
                   "queue %s: it rejects messages larger than %lld bytes (MaximumMessageSize), but "
                   "Mayfly's have up to %d: set 262144 or more\n",
                   t->name, (long long)size, SIZE_LEAST);
    }
    if (!dead) {
        check_redrive(t, attributes, out);
    }
}

static int check_queue(struct queue_sqs *q, const char *lane, bool dead, struct buf *out,
                       struct err *e)
{
    struct sqs_target target;
    json_t *attributes = NULL;
    bool there;
    if (queue_sqs_find_target(q, lane, dead, &target, &there, e) != 0) {
        return -1;
    }
    if (!there && !q->config.create) {
        buf_printf(out, "queue %s of lane %s%s does not exist: create it (deploy/docs/sqs.md)\n",
                   target.name, lane, dead ? ", for its dead letters," : "");
    }
    if (!there) {
        return 0;
    }
    if (queue_sqs_attributes(q, &target,
                             "\"MessageRetentionPeriod\",\"MaximumMessageSize\",\"RedrivePolicy\"",
                             &attributes, e) != 0) {
        return -1;
    }
    check_attributes(&target, dead, attributes, out);
    json_decref(attributes);
    return 0;
}

/* The lanes used so far, for credentials that may not list queues. */
static void add_used_lanes(struct queue_sqs *q, struct sqs_lanes *out)
{
    pthread_mutex_lock(&q->lock);
    for (const struct sqs_lane *l = q->lanes; l != NULL; l = l->next) {
        out->names = realloc(out->names, (out->count + 1) * sizeof *out->names);
        ASSERT(out->names != NULL);
        memcpy(out->names[out->count++], l->lane, sizeof l->lane);
    }
    pthread_mutex_unlock(&q->lock);
}

int queue_sqs_check(void *state, bool dead_letters, struct buf *out, struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_lanes lanes = {0};
    int rc = 0;
    if (queue_sqs_list(q, &lanes, e) != 0) {
        if (e->class != ERR_AUTH) {
            return -1;
        }
        buf_printf(out, "checked only the queues in use, since ListQueues failed: %s\n",
                   e->message);
        add_used_lanes(q, &lanes);
    }
    for (size_t i = 0; i < lanes.count && rc == 0; i++) {
        rc = check_queue(q, lanes.names[i], false, out, e);
        if (rc == 0 && dead_letters) {
            rc = check_queue(q, lanes.names[i], true, out, e);
        }
    }
    queue_sqs_lanes_fini(&lanes);
    return rc;
}
