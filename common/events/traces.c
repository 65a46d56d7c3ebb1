/*
 * The sink that sends spans to an OTLP collector: one POST of JSON for each batch (OTLP/HTTP,
 * opentelemetry.io/docs/specs/otlp). 429, 502, 503 and 504, and no response, are repeated; any other
 * refusal drops the batch, since the same would be refused again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/version.h"
#include "common/events/sink.h"
#include "common/events/span.h"
#include "common/http/client.h"

/* Also how much longer the end of the program may take while a collector does not respond. */
#define POST_TIMEOUT_MS 2000
#define RESPONSE_LIMIT_BYTES 65536
#define SHOWN_BYTES 200 /* of a refusal's body, in the log */

struct trace_collector {
    struct sink *sink;
    struct http_client *client;
    char *url;
    char **headers;
    size_t header_count;
    struct buf resource; /* the body before the spans */
    struct buf body;
};

static void collector_close(void *state)
{
    struct trace_collector *t = state;
    http_client_free(t->client);
    for (size_t i = 0; i < t->header_count; i++) {
        free(t->headers[i]);
    }
    buf_fini(&t->resource);
    buf_fini(&t->body);
    free(t->headers);
    free(t->url);
    free(t);
}

static void add_attribute(struct buf *out, const char *key, const char *value)
{
    buf_append_cstr(out, out->data[out->len - 1] == '[' ? "{\"key\":" : ",{\"key\":");
    buf_append_json(out, slice_of(key));
    buf_append_cstr(out, ",\"value\":{\"stringValue\":");
    buf_append_json(out, slice_of(value));
    buf_append_cstr(out, "}}");
}

static void describe_resource(struct buf *out, const struct event_source *from)
{
    buf_append_cstr(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    add_attribute(out, "service.name", from->program);
    add_attribute(out, "service.version", mayfly_version);
    add_attribute(out, "service.instance.id", from->instance);
    add_attribute(out, "mayfly.deployment", from->deployment);
    buf_append_cstr(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"mayfly\"},\"spans\":[");
}

static void add_header(struct trace_collector *t, const char *line)
{
    t->headers[t->header_count] = strdup(line);
    ASSERT(t->headers[t->header_count] != NULL);
    t->header_count++;
}

static int collector_open(const struct sink_target *target, struct sink *sink, void **out,
                          struct err *e)
{
    const struct http_client_options options = {.user_agent = "mayfly",
                                                .connect_timeout_ms = POST_TIMEOUT_MS,
                                                .timeout_ms = POST_TIMEOUT_MS,
                                                .max_idle = 1,
                                                .no_redirects = true};
    struct trace_collector *t = calloc(1, sizeof *t);
    ASSERT(t != NULL);
    t->sink = sink;
    buf_init(&t->resource, 4096);
    buf_init(&t->body, 4096 + (size_t)SINK_BATCH_MAX * (SPANS_MAX_BYTES + 1));
    t->url = strdup(target->url);
    t->headers = calloc(target->header_count + 1, sizeof *t->headers);
    ASSERT(t->url != NULL && t->headers != NULL);
    for (size_t i = 0; i < target->header_count; i++) {
        add_header(t, target->headers[i]);
    }
    add_header(t, "Content-Type: application/json");
    describe_resource(&t->resource, target->from);
    if (http_client_new(&options, &t->client, e) != 0) {
        collector_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

static bool is_temporary(int status)
{
    return status == 429 || status == 502 || status == 503 || status == 504;
}

/* ERR_RETRY: the same may be taken later. */
static int post(struct trace_collector *t, struct err *e)
{
    const struct http_request request = {.method = "POST",
                                         .url = t->url,
                                         .headers = (const char *const *)t->headers,
                                         .header_count = t->header_count,
                                         .body = buf_slice(&t->body),
                                         .response_limit_bytes = RESPONSE_LIMIT_BYTES};
    struct http_response response;
    if (http_send(t->client, &request, &response, e) != 0) {
        return -1;
    }
    int status = response.status;
    if (status < 200 || status > 299) {
        struct slice body = buf_slice(&response.body);
        body.len = body.len > SHOWN_BYTES ? SHOWN_BYTES : body.len;
        (void)err_set(e, is_temporary(status) ? ERR_RETRY : ERR_PERMANENT, status,
                      "the collector of traces returned %d: %.*s", status, SLICE_ARG(body));
    }
    http_response_fini(&response);
    return status < 200 || status > 299 ? -1 : 0;
}

static void make_body(struct trace_collector *t, const struct sink_record *records, size_t n)
{
    buf_reset(&t->body);
    buf_append(&t->body, buf_slice(&t->resource));
    for (size_t i = 0; i < n; i++) {
        buf_append_cstr(&t->body, i > 0 ? "," : "");
        buf_append(&t->body, records[i].json);
    }
    buf_append_cstr(&t->body, "]}]}]}");
    ASSERT(!t->body.failed);
}

static size_t collector_write(void *state, const struct sink_record *records, size_t n,
                              struct err *e)
{
    struct trace_collector *t = state;
    make_body(t, records, n);
    if (post(t, e) == 0) {
        sink_count_written(t->sink, (int64_t)n);
        return n;
    }
    if (e->class == ERR_RETRY) {
        return 0;
    }
    sink_count_dropped(t->sink, "delivery_failed", (int64_t)n);
    sink_report_failure(t->sink, e, "the spans are dropped; check traces.endpoint and headers");
    return n;
}

static void collector_idle(void *state)
{
    (void)state;
}

static int64_t collector_flush(void *state, int64_t timeout_ms)
{
    (void)state;
    (void)timeout_ms;
    return 0;
}

const struct sink_ops sink_ops_traces = {
    .name = "traces",
    .open = collector_open,
    .write = collector_write,
    .idle = collector_idle,
    .flush = collector_flush,
    .close = collector_close,
    .counts_itself = true,
};

int traces_check(const struct sink_target *target, struct err *e)
{
    void *state = NULL;
    if (collector_open(target, NULL, &state, e) != 0) {
        return -1;
    }
    make_body(state, NULL, 0);
    int rc = post(state, e);
    collector_close(state);
    return rc;
}
