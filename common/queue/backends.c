#include "common/queue/queue_backend.h"

/* Each is defined in its own folder. */
extern const struct queue_ops queue_ops_sqlite;
extern const struct queue_ops queue_ops_redis;
extern const struct queue_ops queue_ops_sqs;
extern const struct queue_ops queue_ops_kafka;

const struct queue_backend queue_backends[] = {
    {"sqlite", "sqlite:///path/to/file", &queue_ops_sqlite},
    {"memory", NULL, &queue_ops_sqlite},
    {"redis", "redis://HOST:PORT", &queue_ops_redis},
    {"rediss", NULL, &queue_ops_redis},
    {"sqs", "sqs://PREFIX", &queue_ops_sqs},
    {"kafka", "kafka://HOST:PORT/NAME", &queue_ops_kafka},
};
const size_t queue_backend_count = COUNT_OF(queue_backends);
