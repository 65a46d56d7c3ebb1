/*
 * What the files of the SQS queue share: its state, one call, the form of a message.
 *
 * For queue_sqs*.c alone. A message's body is ours where SQS allows its characters, else "=" and
 * base64; what SQS does not keep for us stands in message attributes, each only where it says
 * something: id (of the first copy; without it, SQS's own), key, attempts, enqueued (ms; without
 * it, when it was sent), hold (not to be taken for so many ms after it was sent), reason, buried
 * (ms), lane (of a dead one), encoding (base64). The group is SQS's MessageGroupId. A receipt is
 * "<end of the lease, monotonic ms> <group> <receipt handle>".
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

/* What the messages of one batch may have together, and each alone. "The maximum allowed individual
 * message size and the maximum total payload size […] are both 1 MiB 1,048,576 bytes" (API
 * reference, SendMessageBatch, November 2026); until August 2025 it was this, which queues made
 * then may still have (MaximumMessageSize). Ten of our usual messages have 20 kB. */
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
};

struct sqs_lane {
    char lane[QUEUE_LANE_MAX + 1];
    /* Of the lane's queue and of its dead letters', once known; "" before. */
    char url[2][SQS_ADDRESS_SIZE];
    size_t polls; /* long polls under way */
    bool busy;    /* the last one found something */
    struct sqs_lane *next;
};

struct queue_sqs {
    struct sqs_url config;
    struct aws_client *client;
    struct sqs_thread_pool *crew;
    pthread_mutex_t lock;   /* of all below; lanes are only added */
    pthread_cond_t changed; /* a poll ended, or everything does; monotonic */
    struct sqs_lane *lanes;
    bool ended;
};

/* --- lanes and their queues (sqs/lanes.c) --- */
struct sqs_lane *queue_sqs_lane(struct queue_sqs *q, const char *lane);
/* The lane's queue, or its dead letters'; looked up once, and with create=1 made. ERR_PERMANENT if
 * there is none, with its name. */
MUST_CHECK int queue_sqs_target(struct queue_sqs *q, const char *lane, bool dead,
                                struct sqs_target *out, struct err *e);
/* The same without making it: *there says whether it exists. */
MUST_CHECK int queue_sqs_find_target(struct queue_sqs *q, const char *lane, bool dead,
                                     struct sqs_target *out, bool *there, struct err *e);
struct sqs_lanes {
    char (*names)[QUEUE_LANE_MAX + 1]; /* owned, sorted */
    size_t count;
};
/* Those of the URL and those whose queues' names begin with its prefix. */
MUST_CHECK int queue_sqs_list(struct queue_sqs *q, struct sqs_lanes *out, struct err *e);
void queue_sqs_lanes_fini(struct sqs_lanes *l);

/* --- one call (sqs/call.c) --- */
/* *out: the answer, an object; owned: json_decref. body: the whole request. target: for messages,
 * and to forget its URL when SQS knows it no more. refusal: may be NULL; as aws_send's. wait_s: how
 * long the store may take its time. */
struct sqs_call {
    const char *operation;
    const struct sqs_target *target; /* NULL: none */
    struct slice body;
    int64_t wait_s;
};
MUST_CHECK int queue_sqs_send(struct queue_sqs *q, const struct sqs_call *c, json_t **out,
                              struct aws_refusal *refusal, struct err *e);
extern const struct aws_error_rule queue_sqs_rules[];
/* Begins a request's object with the target's QueueUrl; more members follow, then '}'. */
void queue_sqs_begin(struct buf *out, const struct sqs_target *t);

/* Failed entries of a batch call, and entries that its answer does not mention at all. */
struct sqs_failure {
    bool failed;
    bool ours; /* SenderFault: the same entry can never succeed */
    char code[80];
    char message[160];
};
void queue_sqs_failures(const json_t *answer, size_t n, struct sqs_failure *out);
enum err_class queue_sqs_failure_class(const struct sqs_failure *f);
bool queue_sqs_is_stale(const char *code); /* says that a receipt handle is none any more */

/* --- messages (sqs/message.c) --- */
struct sqs_record { /* what is to be sent; borrows */
    struct slice body;
    const char *id;    /* "" : SQS's own is to be it */
    const char *key;   /* "" none */
    const char *group; /* as it was put, or a MessageGroupId; "" none */
    const char *reason;
    const char *lane;    /* for a dead one; "" else */
    int64_t attempts;    /* 0: none */
    int64_t enqueued_ms; /* 0: now */
    int64_t buried_ms;   /* 0: not dead */
    int64_t delay_ms;
};
/* Appends the members of a SendMessage's object, each with a comma before it. Returns what the
 * message counts for SQS's limit on bytes. */
size_t queue_sqs_write(const struct sqs_record *r, struct buf *out);
size_t queue_sqs_size(const struct sqs_record *r);
/* A repository or the like as MessageGroupId: 1 to 128 of SQS's characters, the same for the same
 * text; "" for "". */
void queue_sqs_group(const char *text, char out[SQS_GROUP_MAX + 1]);

struct sqs_received {
    struct queue_message m; /* owns its body; no receipt yet */
    char group[SQS_GROUP_MAX + 1];
    char reason[512];
    char handle[SQS_HANDLE_MAX + 1];
    int64_t buried_ms;
    int64_t due_ms; /* on the server's clock; 0: at once */
};
/* One of ReceiveMessage's. False if it lacks what every message has. */
bool queue_sqs_read(const json_t *o, const char *lane, struct sqs_received *out);

void queue_sqs_receipt(struct queue_message *m, const char *group, const char *handle,
                       int64_t until_mono_ms);
struct sqs_lease {
    int64_t until_mono_ms;
    char group[SQS_GROUP_MAX + 1];
    const char *handle; /* into the message */
};
/* False if it is none of ours. */
bool queue_sqs_lease(const struct queue_message *m, struct sqs_lease *out);

/* --- one message's steps (sqs/sqs.c) --- */
/* Whole seconds that are not less, which is all that SQS has. */
int64_t queue_sqs_seconds(int64_t ms);
MUST_CHECK int queue_sqs_send_one(struct queue_sqs *q, const struct sqs_target *t,
                                  const struct sqs_record *r, struct err *e);
MUST_CHECK int queue_sqs_delete(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                                struct err *e);
/* *too_long: SQS refused since the message would be held for over 12 hours (then -1, and *e). */
MUST_CHECK int queue_sqs_hide(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                              int64_t seconds, bool *too_long, struct err *e);

/* A receive without its judgement: up to max messages, hidden for hide_s. out has max places; the
 * bodies are owned by the caller. */
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
/* Asks for a queue's attributes; the answer's object of them is *out (json_decref). names: a JSON
 * list. */
MUST_CHECK int queue_sqs_attributes(struct queue_sqs *q, const struct sqs_target *t,
                                    const char *names, json_t **out, struct err *e);
int64_t queue_sqs_attribute(const json_t *attributes, const char *name, int64_t absent);

#endif
