#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"

#define TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 5000

static const int64_t seconds_bounds_ms[] = {5, 25, 100, 500, 1000, 2500, 10000};

/* --- metrics ---------------------------------------------------------------------------------- */

static const char *outcome_name(size_t outcome)
{
    if (outcome == AWS_OUTCOMES - 1) {
        return "no_answer";
    }
    return outcome == ERR_NONE ? "ok" : err_class_name((enum err_class)outcome);
}

static void label_operation(const struct aws_client *c, const char *operation, struct buf *out)
{
    buf_reset(out);
    metrics_label(out, "service", c->service);
    metrics_label(out, "operation", operation);
}

static void register_operation(const struct aws_client *c, struct aws_operation_metrics *m)
{
    struct buf labels;
    buf_init(&labels, 512);
    label_operation(c, m->operation, &labels);
    m->seconds = metrics_histogram("mayfly_aws_call_seconds", labels.data, seconds_bounds_ms,
                                   COUNT_OF(seconds_bounds_ms));
    for (size_t i = 0; i < AWS_OUTCOMES; i++) {
        label_operation(c, m->operation, &labels);
        metrics_label(&labels, "outcome", outcome_name(i));
        m->outcomes[i] = metrics_counter("mayfly_aws_calls_total", labels.data);
    }
    buf_fini(&labels);
}

static struct aws_operation_metrics *metrics_of(struct aws_client *c, const char *operation)
{
    for (size_t i = 0; i < c->metric_count; i++) {
        if (strcmp(c->metrics[i].operation, operation) == 0) {
            return &c->metrics[i];
        }
    }
    ASSERT(c->metric_count < AWS_OPERATIONS_MAX);
    struct aws_operation_metrics *m = &c->metrics[c->metric_count++];
    m->operation = operation;
    register_operation(c, m);
    return m;
}

void aws_count_call(struct aws_client *c, const char *operation, enum err_class class,
                    bool no_answer, int64_t elapsed_us)
{
    pthread_mutex_lock(&c->lock);
    struct aws_operation_metrics *m = metrics_of(c, operation);
    pthread_mutex_unlock(&c->lock);
    metric_inc(m->outcomes[no_answer ? AWS_OUTCOMES - 1 : (size_t) class]);
    if (!no_answer) {
        metric_observe_us(m->seconds, elapsed_us);
    }
}

/* --- clients ---------------------------------------------------------------------------------- */

/* Without the default port, since proxies and load balancers remove it too. */
static void split_endpoint(struct aws_client *c)
{
    struct slice url = slice_of(c->place.endpoint);
    bool secure = slice_starts_with(url, SLICE("https:"));
    struct slice port = secure ? SLICE(":443") : SLICE(":80");
    size_t start = secure ? 8 : 7;
    struct slice rest = {url.ptr + start, url.len - start};
    struct slice path;
    (void)slice_cut(rest, '/', &c->host, &path);
    c->base = (struct slice){c->host.ptr + c->host.len, rest.len - c->host.len};
    if (c->host.len > port.len &&
        memcmp(c->host.ptr + c->host.len - port.len, port.ptr, port.len) == 0) {
        c->host.len -= port.len;
    }
}

int aws_client_open_with(const struct aws_client_options *o, const struct aws_keys *keys,
                         struct aws_client **out, struct err *e)
{
    struct http_client *http = NULL;
    struct aws_place place = {NULL, NULL, NULL};
    aws_defaults_pin(1);
    if (aws_place_find(o, &place, e) != 0) {
        aws_defaults_pin(-1);
        return err_wrap(e, "%s", o->service);
    }
    int64_t timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : TIMEOUT_MS;
    struct http_client_options ho = {
        .user_agent = "mayfly/" MAYFLY_VERSION,
        .proxy = aws_defaults_now()->proxy,
        .proxy_setting = "aws.proxy",
        .ca_file = place.ca_file,
        .ca_setting = "AWS_CA_BUNDLE or the profile's ca_bundle",
        .connect_timeout_ms = timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS,
        .timeout_ms = timeout_ms,
        .max_idle = o->max_idle,
        .no_redirects = true};
    if (http_client_new(&ho, &http, e) != 0) {
        aws_place_fini(&place);
        aws_defaults_pin(-1);
        return err_wrap(e, "%s", o->service);
    }
    struct aws_client *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->http = http;
    c->place = place;
    c->service = slice_dup(slice_of(o->service));
    c->keys = keys;
    c->rules = o->rules;
    c->timeout_ms = timeout_ms;
    split_endpoint(c);
    sigv4_cache_init(&c->cache);
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
    *out = c;
    return 0;
}

int aws_client_open(const struct aws_client_options *o, struct aws_client **out, struct err *e)
{
    struct aws_client *c = NULL;
    if (aws_client_open_with(o, NULL, &c, e) != 0) {
        return -1;
    }
    c->credentials = aws_credentials_acquire();
    *out = c;
    return 0;
}

void aws_client_close(struct aws_client *c)
{
    if (c == NULL) {
        return;
    }
    aws_credentials_release(c->credentials);
    http_client_free(c->http);
    aws_place_fini(&c->place);
    sigv4_cache_fini(&c->cache);
    pthread_mutex_destroy(&c->lock);
    free(c->service);
    free(c);
    aws_defaults_pin(-1);
}

const char *aws_client_region(const struct aws_client *c)
{
    return c->place.region;
}

const char *aws_client_endpoint(const struct aws_client *c)
{
    return c->place.endpoint;
}
