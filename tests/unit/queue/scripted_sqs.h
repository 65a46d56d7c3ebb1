/*
 * A scripted SQS for the tests of its queue: for each operation the scripted answers in order, then
 * its usual one, in which everything succeeds. Every request can be looked at afterwards.
 *
 * A test begins with a queue of sqs://m, open, whose queues' URLs are https://sqs.test/1/<name>.
 */
#ifndef MAYFLY_TESTS_SCRIPTED_SQS_H
#define MAYFLY_TESTS_SCRIPTED_SQS_H

#include <pthread.h>
#include <stdbool.h>

#include <jansson.h>

#include "common/queue/queue.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/http/http_server.h"

#define HOUR_MS (3600LL * 1000)

struct scripted {
    const char *operation; /* NULL: end */
    int status;
    const char *body;
    const char *headers; /* NULL: none */
};

struct scripted_sqs {
    struct http_server *server;
    struct queue *q;
    const struct scripted *script; /* up to 16 */
    bool used[16];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Long polls are answered when this is over; under the lock, as the next. */
    bool hold_receives;
    int held;
};

int scripted_sqs_setup(void **state);
int scripted_sqs_teardown(void **state);
/* Opens another queue in place of f->q: "PREFIX?option=value". */
int scripted_sqs_open(struct scripted_sqs *f, const char *rest, struct err *e);

const char *operation_of(const struct served_request *r);
/* The n-th request of an operation, from 0; NULL if there were fewer. Owned: json_decref. */
json_t *asked(struct scripted_sqs *f, const char *operation, size_t n);
size_t times_asked(struct scripted_sqs *f, const char *operation);
/* A member, or a message attribute, as text; "" without it. */
const char *text_of(const json_t *o, const char *name);
const char *attribute_of(const json_t *o, const char *name);

/* items[0..n): one to the lane events each, whose body is its number. */
#define ITEMS_MAX 40
extern struct queue_item items[ITEMS_MAX];
void number_items(size_t n);

/* A received message that was sent at 1,000,000,000,000 ms (2001-09-09 01:46:40). */
#define MESSAGE(attributes)                                                                        \
    "{\"Messages\":[{\"MessageId\":\"id-1\",\"ReceiptHandle\":\"handle\",\"Body\":\"body\","       \
    "\"Attributes\":{\"SentTimestamp\":\"1000000000000\",\"MessageGroupId\":\"octo/repo\"},"       \
    "\"MessageAttributes\":{" attributes "}}]}"
#define HELD_20_MINUTES "\"hold\":{\"DataType\":\"Number\",\"StringValue\":\"1200000\"}"
/* Takes the one that is scripted. */
struct queue_message must_take(struct scripted_sqs *f, int64_t lease_ms);

#endif
