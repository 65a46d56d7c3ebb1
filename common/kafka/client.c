#include "common/kafka/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/kafka/internal.h"

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

static void log_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    log_debug("kafka_client", LOG_STR("facility", facility), LOG_STR("text", text));
}

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
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_opaque(conf, opaque);
    return conf;
}

int kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **out, struct err *e)
{
    char why[384];
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof why);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, ERR_PERMANENT, 0, "cannot make a Kafka client: %s", why);
    }
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
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ERR_NOT_FOUND},
    {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ERR_PERMANENT},
    {RD_KAFKA_RESP_ERR__INVALID_ARG, ERR_PERMANENT},
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

int kafka_error_text(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                     const char *text, struct err *e)
{
    return err_set(e, class_of(code), (int)code, "cannot %s on Kafka (%s): %s", what, c->brokers,
                   text != NULL && text[0] != '\0' ? text : rd_kafka_err2str(code));
}

int kafka_error(const struct kafka_cluster *c, rd_kafka_resp_err_t code, const char *what,
                struct err *e)
{
    return kafka_error_text(c, code, what, NULL, e);
}
