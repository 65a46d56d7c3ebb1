#include "common/kafka/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/kafka/internal.h"

/* librdkafka's own deadline of a request comes first; this one is for a client that is stuck. */
#define EVENT_MARGIN_MS 1000
#define VISIBLE_POLL_MS 50

/* --- metadata --- */
static int read_metadata(const struct kafka_cluster *c, rd_kafka_t *rk, bool topics,
                         const struct rd_kafka_metadata **out, struct err *e)
{
    /* All topics and never one by its name: asked for by name, a missing topic may be created. */
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, topics, NULL, out, (int)c->timeout_ms);
    return code != RD_KAFKA_RESP_ERR_NO_ERROR
               ? kafka_error(c, code, "read the cluster's metadata", e)
               : 0;
}

static const struct rd_kafka_metadata_topic *find_topic(const struct rd_kafka_metadata *m,
                                                        const char *name)
{
    for (int i = 0; i < m->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &m->topics[i];
        if (strcmp(t->topic, name) == 0 && t->partition_cnt > 0) {
            return t;
        }
    }
    return NULL;
}

static int fewest_replicas(const struct rd_kafka_metadata_topic *t)
{
    int fewest = t->partitions[0].replica_cnt;
    for (int i = 1; i < t->partition_cnt; i++) {
        if (t->partitions[i].replica_cnt < fewest) {
            fewest = t->partitions[i].replica_cnt;
        }
    }
    return fewest;
}

static bool has_leaders(const struct rd_kafka_metadata_topic *t, int partitions)
{
    if (t == NULL || t->partition_cnt < partitions) {
        return false;
    }
    for (int i = 0; i < t->partition_cnt; i++) {
        if (t->partitions[i].leader < 0) {
            return false;
        }
    }
    return true;
}

int kafka_brokers_count(const struct kafka_cluster *c, rd_kafka_t *rk, int *out, struct err *e)
{
    const struct rd_kafka_metadata *m;
    if (read_metadata(c, rk, false, &m, e) != 0) {
        return -1;
    }
    *out = m->broker_cnt;
    rd_kafka_metadata_destroy(m);
    return 0;
}

/* --- admin requests --- */
struct admin {
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
};

static struct admin admin_new(const struct kafka_cluster *c, rd_kafka_t *rk, rd_kafka_admin_op_t op)
{
    char why[128];
    struct admin a = {rd_kafka_queue_new(rk), rd_kafka_AdminOptions_new(rk, op)};
    ASSERT(rd_kafka_AdminOptions_set_request_timeout(a.options, (int)c->timeout_ms, why,
                                                     sizeof why) == RD_KAFKA_RESP_ERR_NO_ERROR);
    return a;
}

/* Ends the request; *out is owned by the caller on success. */
static int admin_finish(const struct kafka_cluster *c, struct admin *a, const char *what,
                        rd_kafka_event_t **out, struct err *e)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(a->queue, (int)c->timeout_ms + EVENT_MARGIN_MS);
    rd_kafka_AdminOptions_destroy(a->options);
    rd_kafka_queue_destroy(a->queue);
    rd_kafka_resp_err_t code =
        event != NULL ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)kafka_error_text(c, code, what,
                               event != NULL ? rd_kafka_event_error_string(event) : NULL, e);
        if (event != NULL) {
            rd_kafka_event_destroy(event);
        }
        return -1;
    }
    *out = event;
    return 0;
}

/* --- settings --- */
static int64_t number_of(const char *value)
{
    int64_t number;
    return slice_to_int64(slice_of(value), &number) ? number : 0;
}

static void take_config(struct kafka_topic *t, const char *name, const char *value)
{
    if (value == NULL) {
        return;
    }
    if (strcmp(name, "retention.ms") == 0) {
        t->retention_ms = number_of(value);
    } else if (strcmp(name, "retention.bytes") == 0) {
        t->retention_bytes = number_of(value);
    } else if (strcmp(name, "min.insync.replicas") == 0) {
        t->min_insync = (int)number_of(value);
    } else if (strcmp(name, "cleanup.policy") == 0) {
        t->compacted = strstr(value, "compact") != NULL;
        t->deletes = strstr(value, "delete") != NULL;
    }
}

static int take_resource(const struct kafka_cluster *c, const rd_kafka_ConfigResource_t *resource,
                         struct kafka_topic *t, struct err *e)
{
    char what[KAFKA_TOPIC_NAME_SIZE + 40];
    size_t count = 0;
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
        code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        return 0;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)snprintf(what, sizeof what, "read the settings of topic %s", t->name);
        return kafka_error_text(c, code, what, rd_kafka_ConfigResource_error_string(resource), e);
    }
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        take_config(t, rd_kafka_ConfigEntry_name(entries[i]),
                    rd_kafka_ConfigEntry_value(entries[i]));
    }
    t->configs_known = true;
    return 0;
}

static int take_configs(const struct kafka_cluster *c, rd_kafka_event_t *event,
                        struct kafka_topic *topics, size_t n, struct err *e)
{
    size_t count = 0;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &count);
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < n; i++) {
            if (strcmp(topics[i].name, rd_kafka_ConfigResource_name(resources[r])) == 0 &&
                take_resource(c, resources[r], &topics[i], e) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int read_configs(const struct kafka_cluster *c, rd_kafka_t *rk, struct kafka_topic *topics,
                        size_t n, struct err *e)
{
    size_t count = 0;
    rd_kafka_event_t *event = NULL;
    rd_kafka_ConfigResource_t **resources = calloc(n, sizeof(void *));
    ASSERT(resources != NULL);
    for (size_t i = 0; i < n; i++) {
        if (topics[i].exists) {
            resources[count++] =
                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i].name);
        }
    }
    int rc = 0;
    if (count > 0) {
        struct admin a = admin_new(c, rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
        rd_kafka_DescribeConfigs(rk, resources, count, a.options, a.queue);
        rc = admin_finish(c, &a, "read the settings of the topics", &event, e);
    }
    if (rc == 0 && event != NULL) {
        rc = take_configs(c, event, topics, n, e);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_ConfigResource_destroy_array(resources, count);
    free(resources);
    return rc;
}

int kafka_topics_describe(const struct kafka_cluster *c, rd_kafka_t *rk, struct kafka_topic *topics,
                          size_t n, struct err *e)
{
    const struct rd_kafka_metadata *m;
    if (n == 0) {
        return 0;
    }
    if (read_metadata(c, rk, true, &m, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        const struct rd_kafka_metadata_topic *found = find_topic(m, topics[i].name);
        struct kafka_topic filled = {.exists = found != NULL};
        memcpy(filled.name, topics[i].name, sizeof filled.name);
        if (found != NULL) {
            filled.partitions = found->partition_cnt;
            filled.replicas = fewest_replicas(found);
        }
        topics[i] = filled;
    }
    rd_kafka_metadata_destroy(m);
    return read_configs(c, rk, topics, n, e);
}

/* --- creating --- */
static void set_config(rd_kafka_NewTopic_t *topic, const char *name, const char *value)
{
    ASSERT(rd_kafka_NewTopic_set_config(topic, name, value) == RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void set_number(rd_kafka_NewTopic_t *topic, const char *name, int64_t value)
{
    char text[24];
    if (value != 0) {
        (void)snprintf(text, sizeof text, "%" PRId64, value);
        set_config(topic, name, text);
    }
}

static rd_kafka_NewTopic_t *new_topic(const struct kafka_topic_wish *w)
{
    char why[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(w->name, w->partitions > 0 ? w->partitions : -1,
                              w->replicas > 0 ? w->replicas : -1, why, sizeof why);
    ASSERT(topic != NULL);
    set_number(topic, "retention.ms", w->retention_ms);
    set_number(topic, "min.insync.replicas", w->min_insync);
    if (w->compacted) {
        set_config(topic, "cleanup.policy", "compact");
    }
    if (w->append_time) {
        set_config(topic, "message.timestamp.type", "LogAppendTime");
    }
    return topic;
}

static int check_created(const struct kafka_cluster *c, rd_kafka_event_t *event, struct err *e)
{
    char what[KAFKA_TOPIC_NAME_SIZE + 24];
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            (void)snprintf(what, sizeof what, "create topic %s",
                           rd_kafka_topic_result_name(results[i]));
            return kafka_error_text(c, code, what, rd_kafka_topic_result_error_string(results[i]),
                                    e);
        }
    }
    return 0;
}

static const struct kafka_topic_wish *find_invisible(const struct rd_kafka_metadata *m,
                                                     const struct kafka_topic_wish *wishes,
                                                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!has_leaders(find_topic(m, wishes[i].name), 1)) {
            return &wishes[i];
        }
    }
    return NULL;
}

static int wait_visible(const struct kafka_cluster *c, rd_kafka_t *rk,
                        const struct kafka_topic_wish *wishes, size_t n, struct err *e)
{
    int64_t until = clock_mono_ms() + c->timeout_ms;
    for (;;) {
        const struct rd_kafka_metadata *m;
        if (read_metadata(c, rk, true, &m, e) != 0) {
            return -1;
        }
        const struct kafka_topic_wish *missing = find_invisible(m, wishes, n);
        rd_kafka_metadata_destroy(m);
        if (missing == NULL) {
            return 0;
        }
        if (clock_mono_ms() >= until) {
            return err_set(e, ERR_RETRY, 0,
                           "topic %s on Kafka (%s) was created, or was there, but this user sees "
                           "no leader of it yet: wait, or check its ACLs",
                           missing->name, c->brokers);
        }
        clock_sleep_until(clock_mono_ms() + VISIBLE_POLL_MS);
    }
}

int kafka_topics_create(const struct kafka_cluster *c, rd_kafka_t *rk,
                        const struct kafka_topic_wish *wishes, size_t n, struct err *e)
{
    char why[128];
    rd_kafka_event_t *event = NULL;
    if (n == 0) {
        return 0;
    }
    rd_kafka_NewTopic_t **topics = calloc(n, sizeof(void *));
    ASSERT(topics != NULL);
    for (size_t i = 0; i < n; i++) {
        topics[i] = new_topic(&wishes[i]);
    }
    struct admin a = admin_new(c, rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    ASSERT(rd_kafka_AdminOptions_set_operation_timeout(a.options, (int)c->timeout_ms, why,
                                                       sizeof why) == RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_CreateTopics(rk, topics, n, a.options, a.queue);
    int rc = admin_finish(c, &a, "create topics", &event, e);
    rd_kafka_NewTopic_destroy_array(topics, n);
    free(topics);
    if (rc == 0) {
        rc = check_created(c, event, e);
        rd_kafka_event_destroy(event);
    }
    return rc == 0 ? wait_visible(c, rk, wishes, n, e) : -1;
}
