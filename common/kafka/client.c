#include "common/kafka/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/kafka/internal.h"

#define BROKERS_SHOWN 160 /* characters, in messages */

const char *kafka_cluster_prefix(const struct kafka_cluster *c)
{
    return c->prefix;
}

const char *kafka_cluster_brokers(const struct kafka_cluster *c)
{
    return c->brokers;
}

int64_t kafka_cluster_timeout_ms(const struct kafka_cluster *c)
{
    return c->timeout_ms;
}

/* --- configuration --- */
void kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char why[256];
    ASSERT(rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK);
}

static void set_number(rd_kafka_conf_t *conf, const char *name, int64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    kafka_conf_set(conf, name, text);
}

/* --- the clusters of clients --- */
/* A client's opaque is the caller's, so its cluster is looked up by a number in this property of its
 * configuration, which librdkafka only hands to the callback that asks for tokens. (Its interceptors
 * would do, but 2.0.2 frees them twice when a client cannot be made.) */
#define NUMBER_PROPERTY "sasl.oauthbearer.config"

static pthread_mutex_t clusters_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kafka_cluster *clusters;
static int64_t last_number;

void kafka_cluster_add(struct kafka_cluster *c)
{
    pthread_mutex_lock(&clusters_lock);
    c->number = ++last_number;
    c->next = clusters;
    clusters = c;
    pthread_mutex_unlock(&clusters_lock);
}

void kafka_cluster_remove(const struct kafka_cluster *c)
{
    pthread_mutex_lock(&clusters_lock);
    struct kafka_cluster **link = &clusters;
    while (*link != c) {
        link = &(*link)->next;
    }
    *link = c->next;
    pthread_mutex_unlock(&clusters_lock);
}

const struct kafka_cluster *kafka_cluster_of(const rd_kafka_t *rk)
{
    char text[24];
    size_t size = sizeof text;
    int64_t number;
    /* It takes no const, but changes nothing. */
    const rd_kafka_conf_t *conf = rd_kafka_conf((rd_kafka_t *)(uintptr_t)rk);
    if (rd_kafka_conf_get(conf, NUMBER_PROPERTY, text, &size) != RD_KAFKA_CONF_OK ||
        !slice_to_int64(slice_of(text), &number)) {
        return NULL;
    }
    pthread_mutex_lock(&clusters_lock);
    const struct kafka_cluster *c = clusters;
    while (c != NULL && c->number != number) {
        c = c->next;
    }
    pthread_mutex_unlock(&clusters_lock);
    return c;
}

/* --- logs --- */
/* The name of the thread precedes what is said. */
static const char *without_thread(const char *text)
{
    const char *end = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ") : NULL;
    return end != NULL ? end + 3 : text;
}

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *line)
{
    const struct kafka_cluster *c = kafka_cluster_of(rk);
    const char *text = without_thread(line);
    (void)level;
    if (c != NULL && strcmp(facility, "FAIL") == 0 &&
        kafka_trouble_remember(c, kafka_trouble_class(text), text)) {
        log_warn("kafka_auth_failed", LOG_STR("error", text));
        return;
    }
    log_debug("kafka_client", LOG_STR("facility", facility), LOG_STR("text", text));
}

/* --- clients --- */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_cluster *c, void *opaque)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    kafka_conf_set(conf, "bootstrap.servers", c->brokers);
    kafka_conf_set(conf, "client.id", "mayfly");
    set_number(conf, "socket.timeout.ms", c->timeout_ms);
    set_number(conf, "socket.connection.setup.timeout.ms", c->timeout_ms);
    kafka_conf_set(conf, "socket.nagle.disable", "true");
    kafka_conf_set(conf, "socket.keepalive.enable", "true");
    kafka_conf_set(conf, "reconnect.backoff.max.ms", "2000");
    kafka_security_apply(c, conf);
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_opaque(conf, opaque);
    set_number(conf, NUMBER_PROPERTY, c->number);
    return conf;
}

int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, struct err *e)
{
    char why[384];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (rk == NULL) {
        if (type == RD_KAFKA_PRODUCER) {
            rd_kafka_conf_destroy(conf); /* a consumer's may have interceptors, freed twice then */
        }
        return err_set(e, ERR_PERMANENT, 0, "cannot make a Kafka client: %s", why);
    }
    kafka_security_start(kafka_cluster_of(rk), rk);
    *out = rk;
    return 0;
}

/* --- errors --- */
/* What is not listed is transient or unknown: ERR_RETRY. */
static const struct {
    rd_kafka_resp_err_t code;
    enum err_class class;
} classes[] = {
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERR_AUTH},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERR_AUTH},
    {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ERR_AUTH},
    {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ERR_AUTH},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, ERR_AUTH},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, ERR_AUTH},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_INVALID_CONFIG, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_POLICY_VIOLATION, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, ERR_CAPACITY},
    {RD_KAFKA_RESP_ERR__QUEUE_FULL, ERR_CAPACITY},
};

static enum err_class class_of(rd_kafka_resp_err_t code)
{
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        if (classes[i].code == code) {
            return classes[i].class;
        }
    }
    return ERR_RETRY;
}

/* The call only waited, so that the reason is in what connections ended with. */
static bool is_silence(rd_kafka_resp_err_t code)
{
    static const rd_kafka_resp_err_t codes[] = {
        RD_KAFKA_RESP_ERR__TRANSPORT,     RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
        RD_KAFKA_RESP_ERR__TIMED_OUT,     RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
        RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR__RESOLVE};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        if (codes[i] == code) {
            return true;
        }
    }
    return false;
}

/* What a person can do about it; "" if the broker's text says it. */
static const char *hint_for(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                   code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
                   code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
               ? ": this user lacks an ACL (deploy/docs/kafka.md, Permissions)"
               : "";
}

int kafka_error_text(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                     const char *text, struct err *e)
{
    struct err trouble;
    const char *said = text != NULL && text[0] != '\0' ? text : rd_kafka_err2str(code);
    if (is_silence(code) && kafka_cluster_trouble(c, &trouble)) {
        return err_set(e, trouble.class, (int)code, "cannot %s on Kafka (%.*s): %s: %s", what,
                       BROKERS_SHOWN, c->brokers, said, trouble.message);
    }
    return err_set(e, class_of(code), (int)code, "cannot %s on Kafka (%.*s): %s%s", what,
                   BROKERS_SHOWN, c->brokers, said, hint_for(code));
}

int kafka_error(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                struct err *e)
{
    return kafka_error_text(c, code, what, NULL, e);
}
