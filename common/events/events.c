#include "common/events/events.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/random.h"
#include "common/events/record.h"
#include "common/events/sink.h"
#include "common/events/span.h"
#include "common/kafka/client.h"

struct events {
    char deployment[64];
    char instance[96];
    struct event_source source;
    int64_t seq; /* atomic: of the last record */
    struct sink *file;
    struct sink *kafka;
    struct sink *traces;
};

static void name_instance(struct events *ev)
{
    char host[65] = "";
    char unique[17];
    random_hex(unique, 8);
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') {
        (void)snprintf(host, sizeof host, "localhost");
    }
    (void)snprintf(ev->instance, sizeof ev->instance, "%s/%s", host, unique);
}

static struct sink_target traces_of(const struct events_options *o, const struct event_source *from)
{
    return (struct sink_target){.url = o->traces,
                                .headers = o->headers,
                                .header_count = o->header_count,
                                .buffer = o->traces_buffer,
                                .from = from};
}

static int open_sinks(struct events *ev, const struct events_options *o, struct err *e)
{
    const struct sink_target file = {.url = o->file, .buffer = o->buffer};
    const struct sink_target kafka = {.url = o->kafka, .buffer = o->buffer};
    const struct sink_target traces = traces_of(o, &ev->source);
    if (file.url[0] != '\0' && sink_open(&sink_ops_file, &file, &ev->file, e) != 0) {
        return -1;
    }
    if (kafka.url[0] != '\0' && sink_open(&sink_ops_kafka, &kafka, &ev->kafka, e) != 0) {
        return -1;
    }
    if (traces.url[0] != '\0' && sink_open(&sink_ops_traces, &traces, &ev->traces, e) != 0) {
        return -1;
    }
    return 0;
}

int events_open(const struct events_options *o, struct events **out, struct err *e)
{
    *out = NULL;
    if (o->file[0] == '\0' && o->kafka[0] == '\0' && o->traces[0] == '\0') {
        return 0;
    }
    struct events *ev = calloc(1, sizeof *ev);
    ASSERT(ev != NULL);
    (void)snprintf(ev->deployment, sizeof ev->deployment, "%s", o->deployment);
    name_instance(ev);
    ev->source = (struct event_source){o->program, ev->deployment, ev->instance};
    if (open_sinks(ev, o, e) != 0) {
        events_close(ev, 0);
        return err_wrap(e, "events");
    }
    *out = ev;
    return 0;
}

void events_close(struct events *ev, int64_t timeout_ms)
{
    if (ev == NULL) {
        return;
    }
    sink_close(ev->file, timeout_ms);
    sink_close(ev->kafka, timeout_ms);
    sink_close(ev->traces, timeout_ms);
    free(ev);
}

static void make_key(const struct ledger_transition *t, char *out, size_t size)
{
    int64_t job_id = event_record_job(t);
    if (job_id != 0) {
        (void)snprintf(out, size, "%" PRId64, job_id);
    } else {
        (void)snprintf(out, size, "%s", t->vm->name);
    }
}

static void put_record(struct events *ev, const struct ledger_transition *t, const char *key)
{
    struct buf json;
    if (ev->file == NULL && ev->kafka == NULL) {
        return;
    }
    buf_init(&json, EVENT_MAX_BYTES);
    int64_t seq = __atomic_add_fetch(&ev->seq, 1, __ATOMIC_RELAXED);
    event_record_append(&json, &ev->source, seq, t);
    ASSERT(!json.failed);
    if (ev->file != NULL) {
        sink_put(ev->file, slice_of(key), buf_slice(&json));
    }
    if (ev->kafka != NULL) {
        sink_put(ev->kafka, slice_of(key), buf_slice(&json));
    }
    buf_fini(&json);
}

static void put_spans(struct events *ev, const struct ledger_transition *t, const char *key)
{
    struct buf spans;
    if (ev->traces == NULL) {
        return;
    }
    buf_init(&spans, SPANS_MAX_BYTES);
    spans_append(&spans, t);
    ASSERT(!spans.failed);
    if (spans.len > 0) {
        sink_put(ev->traces, slice_of(key), buf_slice(&spans));
    }
    buf_fini(&spans);
}

void events_record(void *arg, const struct ledger_transition *t)
{
    struct events *ev = arg;
    char key[VM_NAME_SIZE];
    if (ev == NULL) {
        return;
    }
    make_key(t, key, sizeof key);
    put_record(ev, t, key);
    put_spans(ev, t, key);
}

/* --- checks --- */
int events_check_file(const char *path, struct err *e)
{
    char folder[4096];
    if (access(path, W_OK) == 0) {
        return 0;
    }
    if (errno != ENOENT) {
        return err_set(e, ERR_PERMANENT, errno, "cannot write to %s: %s", path, strerror(errno));
    }
    (void)snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        slash[slash == folder ? 1 : 0] = '\0';
    }
    if (access(slash != NULL ? folder : ".", W_OK | X_OK) != 0) {
        return err_set(e, ERR_PERMANENT, errno, "cannot create %s: %s", path, strerror(errno));
    }
    return 0;
}

static int check_topic(const struct kafka_cluster *c, rd_kafka_t *rk, struct err *e)
{
    const struct rd_kafka_metadata *found = NULL;
    const char *name = kafka_cluster_prefix(c);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    if (topic == NULL) {
        return kafka_error(c, rd_kafka_last_error(), "name the topic of events", e);
    }
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(rk, 0, topic, &found, (int)kafka_cluster_timeout_ms(c));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && found->topic_cnt == 1) {
        code = found->topics[0].err;
    }
    rd_kafka_topic_destroy(topic);
    if (found != NULL) {
        rd_kafka_metadata_destroy(found);
    }
    char what[128];
    (void)snprintf(what, sizeof what, "find the topic %s", name);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return 0;
    }
    (void)kafka_error(c, code, what, e);
    return e->class == ERR_NOT_FOUND ? err_wrap(e, "create it (deploy/docs/events.md)") : -1;
}

int events_check_kafka(const char *url, struct err *e)
{
    struct kafka_cluster *c = NULL;
    rd_kafka_t *rk = NULL;
    if (kafka_cluster_new(url, NULL, 0, &c, e) != 0) {
        return -1;
    }
    int rc = kafka_client_new(RD_KAFKA_PRODUCER, kafka_conf_new(c, NULL), &rk, e);
    if (rc == 0) {
        rc = check_topic(c, rk, e);
        rd_kafka_destroy(rk);
    }
    kafka_cluster_free(c);
    return rc;
}

int events_check_traces(const struct events_options *o, struct err *e)
{
    const struct event_source from = {o->program, o->deployment, "check"};
    const struct sink_target target = traces_of(o, &from);
    return traces_check(&target, e);
}
