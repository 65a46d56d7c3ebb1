/* Shared by the files of common/kafka: what the URL said. */
#ifndef MAYFLY_KAFKA_INTERNAL_H
#define MAYFLY_KAFKA_INTERNAL_H

#include "common/kafka/client.h"

#define KAFKA_PATH_SIZE 512

struct kafka_cluster {
    char brokers[1024]; /* "host:port,…" */
    char prefix[65];
    int64_t timeout_ms;
    int64_t tls;
    char ca[KAFKA_PATH_SIZE];
    char cert[KAFKA_PATH_SIZE];
    char key[KAFKA_PATH_SIZE];
};

/* As kafka_error; text: what the broker said, NULL or "" if nothing. */
int kafka_error_text(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                     const char *text, struct err *e);

#endif
