/*
 * The URL of a queue on Amazon SQS, and the names of its queues.
 *
 *     sqs://PREFIX[?option=value&…]
 *
 * Each lane has a queue, PREFIX-<lane>, and a dead-letter queue, PREFIX-<lane>-dead. A lane's '.'
 * is written '_', which no lane contains, so the lane can be derived from the name. The option
 * queue.<lane>=NAME-OR-URL sets another queue for a lane, and dead.<lane>=NAME-OR-URL another
 * dead-letter queue (default: the queue's name with -dead). With these options PREFIX may be empty;
 * then there are no other lanes. Other options: region, endpoint, account (of the queues' owner),
 * create, poll_wait, senders, timeout (deploy/docs/sqs.md). Values may contain %XX.
 *
 * Pure functions. Failures: ERR_PERMANENT with the cause in the URL or the lane's name.
 */
#ifndef MAYFLY_QUEUE_SQS_URL_H
#define MAYFLY_QUEUE_SQS_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/queue/queue.h"

/* "A queue name can have up to 80 characters. The following characters are accepted: alphanumeric
 * characters, hyphens (-), and underscores (_)": Amazon SQS standard queue quotas. */
#define SQS_NAME_MAX 80
#define SQS_ADDRESS_SIZE 512 /* of a queue's URL */

struct sqs_named { /* a lane whose queues the URL sets; "": not set */
    char lane[QUEUE_LANE_MAX + 1];
    char live[SQS_ADDRESS_SIZE];
    char dead[SQS_ADDRESS_SIZE];
};

struct sqs_url {
    char prefix[SQS_NAME_MAX + 1];
    char region[64];
    char endpoint[SQS_ADDRESS_SIZE];
    char account[16];
    bool create;
    int64_t poll_wait_ms; /* rounded down to whole seconds */
    int64_t senders;
    int64_t timeout_ms;
    struct sqs_named *named; /* owned */
    size_t named_count;
};

MUST_CHECK int sqs_url_parse(const char *url, struct sqs_url *out, struct err *e);
void sqs_url_fini(struct sqs_url *u); /* fine on a zeroed one */

/* The name or the URL of a lane's queue, or of its dead-letter queue. out: SQS_ADDRESS_SIZE bytes.
 */
MUST_CHECK int sqs_url_queue(const struct sqs_url *u, const char *lane, bool dead, char *out,
                             struct err *e);
bool sqs_is_address(const char *name_or_url); /* whether it is a URL */
/* A queue's name; of a URL, its last part. */
const char *sqs_name_of(const char *name_or_url);

/* The lane whose queue has that name with PREFIX; false if it is not this deployment's, or a
 * dead-letter queue. Only events and launch.<class> count, since another deployment's prefix may
 * start with this one. */
bool sqs_url_lane(const struct sqs_url *u, const char *name, char lane[QUEUE_LANE_MAX + 1]);

#endif
