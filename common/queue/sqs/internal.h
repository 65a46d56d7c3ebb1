/*
 * Shared by the files of the SQS queue: its state, one call, the form of a message.
 *
 * For common/queue/sqs/ alone. A message's body is sent as it is if SQS allows its characters, else
 * as "=" and base64. What SQS does not store goes into message attributes, each only where needed:
 *   id         of the first copy (default: SQS's own)       key
 *   attempts                                                reason
 *   enqueued   ms (default: when it was sent)               lane      of a dead letter
 *   hold       delay in ms after it was sent                encoding  base64
 *   dead_lettered  ms
 * The group is SQS's MessageGroupId. A receipt is "<end of the lease, monotonic ms> <group>
 * <receipt handle>".
 */
#ifndef MAYFLY_QUEUE_SQS_INTERNAL_H
#define MAYFLY_QUEUE_SQS_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

#include "common/aws/aws.h"
#include "common/queue/queue_backend.h"
#include "common/queue/sqs/thread_pool.h"
#include "common/queue/sqs/url.h"

/* The size limit of one batch, and of each message in it. "The maximum allowed individual message
 * size and the maximum total payload size […] are both 1 MiB 1,048,576 bytes" (API reference,
 * SendMessageBatch, November 2026). Until August 2025 the limit was 256 KiB, and queues created
 * then may still have it (MaximumMessageSize). Ten usual messages have 20 kB. */
#define SQS_BATCH_BYTES_MAX 262144
#define SQS_BATCH_MAX 10        /* entries of a batch call, and messages of a receive */
#define SQS_DELAY_MAX_S 900     /* DelaySeconds */
#define SQS_VISIBLE_MAX_S 43200 /* VisibilityTimeout, also from the receive to the last change */
#define SQS_GROUP_MAX 128       /* MessageGroupId */
#define SQS_HANDLE_MAX 1024     /* "Queue and message identifiers", developer guide */
/* Each byte of a batch as \u00XX, and its frame. */
#define SQS_REQUEST_MAX_BYTES (8u * 1024 * 1024)

struct sqs_target { /* one queue, by value */
    char name[SQS_NAME_MAX + 1];
    char url[SQS_ADDRESS_SIZE];
    struct sqs_lane *lane; /* whose queue it is */
    bool dead;
};

struct sqs_lane {
    char lane[QUEUE_LANE_MAX + 1];
    /* Of the lane's queue and of its dead-letter queue; "" until known. */
    char url[2][SQS_ADDRESS_SIZE];
    bool no_groups[2]; /* it has refused a MessageGroupId */
    size_t polls;      /* long polls in progress */
    bool busy;         /* the last poll returned messages */
    struct sqs_lane *next;
};

struct queue_sqs {
    struct sqs_url config;
    struct aws_client *client;
    struct sqs_thread_pool *pool;
    pthread_mutex_t lock;   /* of all below; lanes are only added */
    pthread_cond_t changed; /* a poll ended, or queue_interrupt; monotonic */
    struct sqs_lane *lanes;
    bool interrupted;
};

/* --- lanes and their queues (sqs/lanes.c) --- */
struct sqs_lane *queue_sqs_lane(struct queue_sqs *q, const char *lane);
/* The lane's queue, or its dead-letter queue; looked up once, and with create=1 created.
 * ERR_PERMANENT with its name if it does not exist. */
MUST_CHECK int queue_sqs_target(struct queue_sqs *q, const char *lane, bool dead,
                                struct sqs_target *out, struct err *e);
/* The same without creating it. *there: whether it exists. */
MUST_CHECK int queue_sqs_find_target(struct queue_sqs *q, const char *lane, bool dead,
                                     struct sqs_target *out, bool *there, struct err *e);
struct sqs_lanes {
    char (*names)[QUEUE_LANE_MAX + 1]; /* owned, sorted */
    size_t count;
};
/* The lanes named in the URL, and those whose queue's name begins with the URL's prefix. */
MUST_CHECK int queue_sqs_list(struct queue_sqs *q, struct sqs_lanes *out, struct err *e);
void queue_sqs_lanes_fini(struct sqs_lanes *l);

/* --- one call (sqs/call.c) --- */
/* *out: the response, an object; owned: json_decref. body: the whole request. target: names the
 * queue in errors; its cached URL is dropped if SQS reports that the queue does not exist. refusal:
 * as aws_send's; may be NULL. wait_s: added to the timeout, for a long poll. */
struct sqs_call {
    const char *operation;
    const struct sqs_target *target; /* NULL: none */
    struct slice body;
    int64_t wait_s;
};
MUST_CHECK int queue_sqs_send(struct queue_sqs *q, const struct sqs_call *c, json_t **out,
                              struct aws_refusal *refusal, struct err *e);
extern const struct aws_error_rule queue_sqs_rules[];
/* Starts a request's object with the target's QueueUrl; more members follow, then '}'. */
void queue_sqs_begin(struct buf *out, const struct sqs_target *t);

/* The result of one entry of a batch call; an entry that the response does not mention failed. */
struct sqs_failure {
    bool failed;
    bool sender_fault; /* SenderFault: the same entry can never succeed */
    char code[80];
    char message[240]; /* SQS quotes the value that it refuses */
};
void queue_sqs_failures(const json_t *response, size_t n, struct sqs_failure *out);
enum err_class queue_sqs_failure_class(const struct sqs_failure *f);
bool queue_sqs_is_stale(const char *code); /* the receipt handle is no longer valid */

/* Where standard queues have no groups, SQS refuses a message that has one: such a queue gets its
 * messages without, and hands them out in their order alone. Whether e is that refusal, for the first
 * time: then send again. */
bool queue_sqs_drops_groups(struct queue_sqs *q, const struct sqs_target *t, const struct err *e);
bool queue_sqs_takes_groups(struct queue_sqs *q, const struct sqs_target *t);

/* --- messages (sqs/message.c) --- */
struct sqs_record { /* a message to send; borrows */
    struct slice body;
    const char *id;    /* "": SQS's own becomes it */
    const char *key;   /* "" none */
    const char *group; /* as it was put, or a MessageGroupId; "" none */
    const char *reason;
    const char *lane;         /* of a dead letter; else "" */
    int64_t attempts;         /* 0: none */
    int64_t enqueued_ms;      /* 0: now */
    int64_t dead_lettered_ms; /* 0: not dead */
    int64_t delay_ms;
};
/* Appends the members of a SendMessage's object, each with a comma before it. Returns the message's
 * size as SQS counts it. */
size_t queue_sqs_write(const struct sqs_record *r, struct buf *out);
size_t queue_sqs_size(const struct sqs_record *r);
/* Maps a text (a repository) to a MessageGroupId: 1 to 128 of SQS's characters, the same for the
 * same text; "" for "". */
void queue_sqs_group(const char *text, char out[SQS_GROUP_MAX + 1]);

struct sqs_received {
    struct queue_message m; /* owns its body; no receipt yet */
    char group[SQS_GROUP_MAX + 1];
    char reason[512];
    char handle[SQS_HANDLE_MAX + 1];
    int64_t dead_lettered_ms;
    int64_t due_ms; /* on the server's clock; 0: at once */
};
/* Reads one message of a ReceiveMessage response. False if a required member is missing. */
bool queue_sqs_read(const json_t *o, const char *lane, struct sqs_received *out);

void queue_sqs_receipt(struct queue_message *m, const char *group, const char *handle,
                       int64_t until_mono_ms);
struct sqs_lease {
    int64_t until_mono_ms;
    char group[SQS_GROUP_MAX + 1];
    const char *handle; /* into the message */
};
/* False if the receipt is malformed. */
bool queue_sqs_lease(const struct queue_message *m, struct sqs_lease *out);

/* --- calls on one message (sqs/sqs.c) --- */
/* Rounds up to whole seconds, SQS's unit. */
int64_t queue_sqs_seconds(int64_t ms);
MUST_CHECK int queue_sqs_send_one(struct queue_sqs *q, const struct sqs_target *t,
                                  const struct sqs_record *r, struct err *e);
MUST_CHECK int queue_sqs_delete(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                                struct err *e);
/* *too_long: SQS rejected it since the lease would exceed 12 hours (then -1, and *e). */
MUST_CHECK int queue_sqs_hide(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                              int64_t seconds, bool *too_long, struct err *e);

/* One ReceiveMessage: up to max messages, hidden for hide_s, also those that are not due yet. out
 * has max elements; the caller owns the bodies. */
struct sqs_receive {
    const struct sqs_target *target;
    const char *lane;
    size_t max;
    int64_t hide_s;
    int64_t wait_s;
};
MUST_CHECK int queue_sqs_receive(struct queue_sqs *q, const struct sqs_receive *r,
                                 struct sqs_received *out, size_t *got, struct err *e);

queue_put_fn queue_sqs_put;       /* sqs/put.c */
queue_poll_fn queue_sqs_poll;     /* sqs/receive.c */
queue_depths_fn queue_sqs_depths; /* sqs/admin.c */
extern const struct queue_admin_ops queue_sqs_admin;
queue_check_fn queue_sqs_check; /* sqs/check.c */
/* Gets a queue's attributes. names: a JSON list. *out: the object of attributes; owned:
 * json_decref.
 */
MUST_CHECK int queue_sqs_attributes(struct queue_sqs *q, const struct sqs_target *t,
                                    const char *names, json_t **out, struct err *e);
int64_t queue_sqs_attribute(const json_t *attributes, const char *name, int64_t absent);

#endif
