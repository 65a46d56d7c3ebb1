/*
 * Shared by the files of common/kafka and their tests.
 *
 * url.c reads the URL, security.c checks and applies what it says of TLS and SASL, msk_iam.c makes
 * the tokens of MSK's IAM, trouble.c remembers why connections failed, client.c makes clients.
 */
#ifndef MAYFLY_KAFKA_INTERNAL_H
#define MAYFLY_KAFKA_INTERNAL_H

#include "common/aws/credentials.h"
#include "common/base/buf.h"
#include "common/kafka/client.h"

#define KAFKA_PATH_SIZE 512

struct kafka_trouble;

/* A token for SASL OAUTHBEARER. */
struct kafka_token {
    struct buf text;    /* a secret; kafka_token_fini */
    int64_t expires_ms; /* on this host's wall clock */
};
void kafka_token_fini(struct kafka_token *t);

struct kafka_cluster {
    char brokers[1024]; /* "host:port,…" */
    char prefix[65];
    int64_t timeout_ms;
    int64_t tls;
    char ca[KAFKA_PATH_SIZE];
    char cert[KAFKA_PATH_SIZE];
    char key[KAFKA_PATH_SIZE];
    char sasl[16]; /* as in the URL; "": none */
    char user[256];
    char password_file[KAFKA_PATH_SIZE];
    char region[64];
    struct buf password;                 /* a secret */
    struct aws_credentials *credentials; /* msk-iam; else NULL */
    /* Makes a token; kafka_msk_token. Tests have another. */
    int (*make_token)(const struct kafka_cluster *c, struct kafka_token *out, struct err *e);
    struct kafka_trouble *trouble;
    int64_t number;             /* of kafka_cluster_add */
    struct kafka_cluster *next; /* of all that were added */
};

/* --- security.c --- */

/* Checks the options of security together, and reads the password. */
MUST_CHECK int kafka_security_open(struct kafka_cluster *c, struct err *e);
void kafka_security_close(struct kafka_cluster *c);
void kafka_security_apply(const struct kafka_cluster *c, rd_kafka_conf_t *conf);
/* Starts what keeps a client's token valid. */
void kafka_security_start(const struct kafka_cluster *c, rd_kafka_t *rk);
/* Whether SCRAM of this librdkafka (rd_kafka_version()) is accepted by Kafka since 3.8.1. */
bool kafka_scram_works(int version);

/* --- msk_iam.c --- */

MUST_CHECK int kafka_msk_token(const struct kafka_cluster *c, struct kafka_token *out,
                               struct err *e);
/* With these keys, at this time of AWS's clock. Appends the token. */
MUST_CHECK int kafka_msk_sign(const struct aws_keys *keys, const char *region, int64_t wall_ms,
                              struct buf *out, struct err *e);

/* --- trouble.c --- */

struct kafka_trouble *kafka_trouble_new(void);
void kafka_trouble_free(struct kafka_trouble *t);
/* Whether it should be logged: ERR_AUTH, at most once in 30 s. */
bool kafka_trouble_remember(const struct kafka_cluster *c, enum err_class class, const char *text);
/* What librdkafka logs of a failed connection: ERR_AUTH if credentials or certificates were
 * refused, else ERR_RETRY. */
enum err_class kafka_trouble_class(const char *text);

/* --- client.c --- */

/* Between these two, kafka_cluster_of finds the cluster by its clients. */
void kafka_cluster_add(struct kafka_cluster *c);
void kafka_cluster_remove(const struct kafka_cluster *c);
/* The cluster of a client, for callbacks; NULL for one that was not made here. */
const struct kafka_cluster *kafka_cluster_of(const rd_kafka_t *rk);
/* As kafka_error; text: what the broker said, NULL or "" if nothing. */
int kafka_error_text(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                     const char *text, struct err *e);

#endif
