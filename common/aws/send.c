#include <string.h>

#include "common/aws/errors.h"
#include "common/aws/internal.h"
#include "common/base/calls.h"
#include "common/base/clock.h"

#define URL_MAX ((size_t)16 << 10)
#define LINE_MAX_BYTES 1024
#define HEADERS_MAX 8
#define ANSWER_LIMIT_BYTES ((size_t)8 << 20)
#define SKEW_REFUSED_MS (4 * 60 * 1000) /* AWS tolerates five minutes */
#define SKEW_MIN_MS 2000                /* a Date has whole seconds */
#define THROTTLED_WAIT_MS 1000

/* --- AWS's clock ------------------------------------------------------------------------------ */

static int64_t skew_ms; /* atomic: AWS's clock minus the local one */

int64_t aws_wall_ms(void)
{
    return clock_wall_ms() + __atomic_load_n(&skew_ms, __ATOMIC_RELAXED);
}

void aws_forget_skew(void)
{
    __atomic_store_n(&skew_ms, 0, __ATOMIC_RELAXED);
}

/* A response dated between its call and now gives no information about the skew. */
static void update_skew(int64_t theirs_ms, int64_t signed_at_ms)
{
    if (theirs_ms >= 0 &&
        (theirs_ms < signed_at_ms - SKEW_MIN_MS || theirs_ms > aws_wall_ms() + SKEW_MIN_MS)) {
        __atomic_store_n(&skew_ms, theirs_ms - clock_wall_ms(), __ATOMIC_RELAXED);
    }
}

/* Whether the time in a refusal shows that the clock caused it. */
static bool was_off(int64_t theirs_ms, int64_t signed_at_ms)
{
    int64_t off_ms = theirs_ms - signed_at_ms;
    return theirs_ms >= 0 && (off_ms >= SKEW_REFUSED_MS || off_ms <= -SKEW_REFUSED_MS);
}

/* --- a call in progress ----------------------------------------------------------------------- */

struct sending {
    struct aws_client *client;
    const struct aws_call *call;
    struct buf url;
    struct buf path;
    int64_t deadline_ms;  /* monotonic; 0: not started */
    int64_t signed_at_ms; /* by the local clock plus the skew */
    char access_key[160]; /* that signed it; "": none */
    bool clock_set;       /* after a refusal of this call */
    bool renewed;         /* the credentials, after a refusal of this call */
    int doubtful;         /* sends without a response before the last one */
};

struct header_lines {
    const char *lines[HEADERS_MAX];
    size_t count;
    size_t signed_count;
    struct buf host;
    struct buf type;
    struct buf target;
};

static const char *method_of(const struct aws_call *call)
{
    return call->method != NULL ? call->method : "POST";
}

static bool has_body(const struct aws_call *call)
{
    const char *method = method_of(call);
    return call->body.len > 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static void header_lines_init(const struct sending *s, struct header_lines *out)
{
    const struct aws_call *call = s->call;
    const char *type = call->content_type != NULL ? call->content_type : "application/json";
    *out = (struct header_lines){0};
    buf_init(&out->host, LINE_MAX_BYTES);
    buf_init(&out->type, LINE_MAX_BYTES);
    buf_init(&out->target, LINE_MAX_BYTES);
    buf_printf(&out->host, "Host: %.*s", SLICE_ARG(s->client->host));
    out->lines[out->count++] = out->host.data;
    if (has_body(call)) {
        buf_printf(&out->type, "Content-Type: %s", type);
        out->lines[out->count++] = out->type.data;
    }
    if (call->target != NULL) {
        buf_printf(&out->target, "X-Amz-Target: %s.%s", call->target, call->operation);
        out->lines[out->count++] = out->target.data;
    }
    if (call->header != NULL) {
        out->lines[out->count++] = call->header;
    }
    ASSERT(!out->host.failed && !out->type.failed && !out->target.failed);
    out->signed_count = out->count;
}

static void header_lines_fini(struct header_lines *l)
{
    buf_fini(&l->host);
    buf_fini(&l->type);
    buf_fini(&l->target);
}

/* An endpoint, a path and a query with only one interpretation. */
static int make_url(struct sending *s, struct err *e)
{
    const struct aws_call *call = s->call;
    buf_append(&s->path, s->client->base);
    buf_append(&s->path, call->path.len > 0 || s->path.len > 0 ? call->path : SLICE("/"));
    size_t host_end = (size_t)(s->client->base.ptr - s->client->place.endpoint);
    buf_append(&s->url, (struct slice){s->client->place.endpoint, host_end});
    buf_append(&s->url, buf_slice(&s->path));
    if (call->query.len > 0) {
        buf_append_byte(&s->url, '?');
        buf_append(&s->url, call->query);
    }
    bool ok = !s->url.failed && !s->path.failed && s->path.len > 0 && s->path.data[0] == '/';
    for (size_t i = 0; ok && i < s->url.len; i++) {
        ok = s->url.data[i] > ' ' && s->url.data[i] < 0x7f && s->url.data[i] != '#';
    }
    ok = ok && memchr(s->path.data, '?', s->path.len) == NULL;
    return ok ? 0
              : err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                        "the URL cannot be sent: it is too long, or a part is not percent-encoded: "
                        "check the endpoint and the names in the call");
}

static int64_t call_left_ms(const struct sending *s)
{
    return s->deadline_ms - clock_mono_ms();
}

static int send_lines(struct sending *s, const struct header_lines *l, struct http_response *out,
                      struct err *e)
{
    int64_t timeout_ms = call_left_ms(s);
    struct http_request request = {.method = method_of(s->call),
                                   .url = s->url.data,
                                   .headers = l->lines,
                                   .header_count = l->count,
                                   .body = s->call->body,
                                   .timeout_ms = timeout_ms > 0 ? timeout_ms : 1,
                                   .response_limit_bytes = ANSWER_LIMIT_BYTES};
    return http_send(s->client->http, &request, out, e);
}

static int sign_and_send(struct sending *s, const struct aws_keys *keys, struct header_lines *l,
                         struct http_response *out, struct err *e)
{
    struct sigv4_lines added;
    struct sigv4_signer signer = {.access_key = keys->access_key,
                                  .secret_key = keys->secret_key,
                                  .session_token = keys->session_token,
                                  .region = s->client->place.region,
                                  .service = s->client->service,
                                  .cache = &s->client->cache};
    struct sigv4_request request = {.method = method_of(s->call),
                                    .path = buf_slice(&s->path),
                                    .query = s->call->query,
                                    .headers = l->lines,
                                    .header_count = l->signed_count,
                                    .body = s->call->body};
    s->signed_at_ms = aws_wall_ms();
    if (!slice_to_cstr(slice_of(keys->access_key), s->access_key, sizeof s->access_key)) {
        s->access_key[0] = '\0';
    }
    if (sigv4_sign(&signer, &request, s->signed_at_ms, &added, e) != 0) {
        e->code = HTTP_NOT_SENT;
        return -1;
    }
    l->lines[l->count++] = added.date;
    l->lines[l->count++] = added.authorization.data;
    if (added.token.len > 0) {
        l->lines[l->count++] = added.token.data;
    }
    int rc = send_lines(s, l, out, e);
    sigv4_lines_fini(&added);
    return rc;
}

/* The call's time limit starts once there are keys: looking them up has its own limits. */
static int send_signed(struct sending *s, struct http_response *out, struct err *e)
{
    struct aws_client *c = s->client;
    struct aws_keys found = {0};
    struct header_lines lines;
    if (c->credentials != NULL && aws_credentials_get(c->credentials, &found, e) != 0) {
        e->code = HTTP_NOT_SENT;
        return -1;
    }
    if (s->deadline_ms == 0) {
        int64_t timeout_ms = s->call->timeout_ms > 0 ? s->call->timeout_ms : c->timeout_ms;
        s->deadline_ms = clock_mono_ms() + timeout_ms;
    }
    const struct aws_keys *keys = c->credentials != NULL ? &found : c->keys;
    header_lines_init(s, &lines);
    lines.lines[lines.count++] = "Accept: application/json";
    int rc = keys != NULL ? sign_and_send(s, keys, &lines, out, e) : send_lines(s, &lines, out, e);
    header_lines_fini(&lines);
    aws_keys_fini(&found);
    return rc;
}

/* --- a refusal -------------------------------------------------------------------------------- */

static void count_resend(struct sending *s, const char *reason)
{
    struct buf labels;
    buf_init(&labels, 256);
    metrics_label(&labels, "service", s->client->service);
    metrics_label(&labels, "reason", reason);
    metric_inc(metrics_counter("mayfly_aws_resends_total", labels.data));
    buf_fini(&labels);
}

/* Whether another signature may succeed; each reason counts once. */
static bool may_resend(struct sending *s, const struct aws_answer *a)
{
    if (s->access_key[0] == '\0' || call_left_ms(s) <= 0) {
        return false;
    }
    if (!s->clock_set && aws_is_about_time(a) && was_off(a->date_ms, s->signed_at_ms)) {
        s->clock_set = true;
        count_resend(s, "clock");
        return true;
    }
    if (!s->renewed && s->client->credentials != NULL && aws_is_about_credentials(a) &&
        aws_credentials_refused(s->client->credentials, s->access_key)) {
        s->renewed = true;
        count_resend(s, "credentials");
        return true;
    }
    return false;
}

/* A refused call changed nothing, but an earlier send without a response may have. */
static int fail_call(const struct sending *s, const struct http_response *r,
                     const struct aws_answer *a, struct err *e)
{
    struct aws_verdict v = aws_classify(a, r->status, s->client->rules);
    bool named = a->name[0] != '\0';
    (void)err_set(e, v.class, s->doubtful > 0 ? 0 : r->status,
                  "%s: %s%s%s (HTTP %d, request %s): %s", s->call->operation,
                  named ? a->name : "no response from the service",
                  a->message[0] != '\0' ? ": " : "", a->message, r->status,
                  a->request_id[0] != '\0' ? a->request_id : "unknown", v.hint);
    bool wait = v.class == ERR_THROTTLED && a->retry_after_ms == 0;
    e->retry_after_ms = wait ? THROTTLED_WAIT_MS : a->retry_after_ms;
    return -1;
}

static void keep_refusal(const struct aws_answer *a, struct http_response *r,
                         struct aws_refusal *out)
{
    if (out == NULL) {
        return;
    }
    memcpy(out->name, a->name, sizeof out->name);
    out->status = r->status;
    out->body = r->body;
    r->body = (struct buf){0};
}

/* --- the call --------------------------------------------------------------------------------- */

static void count_call(const struct sending *s, enum err_class outcome, int64_t us)
{
    calls_observe(s->client->service, s->call->operation, outcome, us);
}

static int send_until_final(struct sending *s, struct http_response *out,
                            struct aws_refusal *refusal, struct err *e)
{
    for (;;) {
        struct http_response r;
        struct aws_answer a;
        int64_t began_us = clock_mono_us();
        if (send_signed(s, &r, e) != 0) {
            count_call(s, e->class, clock_mono_us() - began_us);
            e->code = s->doubtful > 0 ? 0 : e->code;
            return err_wrap(e, "%s", s->call->operation);
        }
        if (s->access_key[0] != '\0') {
            update_skew(aws_http_date(http_header(&r, "Date")), s->signed_at_ms);
        }
        if (r.status >= 200 && r.status < 300) {
            count_call(s, ERR_NONE, r.elapsed_us);
            r.sends += s->doubtful;
            *out = r;
            return 0;
        }
        s->doubtful += r.sends > 1 ? r.sends - 1 : 0;
        aws_answer_read(&r, &a);
        bool again = may_resend(s, &a);
        if (!again) {
            (void)fail_call(s, &r, &a, e);
            count_call(s, e->class, r.elapsed_us);
            keep_refusal(&a, &r, refusal);
        }
        http_response_fini(&r);
        if (!again) {
            return -1;
        }
    }
}

int aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
             struct aws_refusal *refusal, struct err *e)
{
    struct sending s = {.client = c, .call = call};
    if (refusal != NULL) {
        *refusal = (struct aws_refusal){0};
    }
    buf_init(&s.url, URL_MAX);
    buf_init(&s.path, URL_MAX);
    int rc = make_url(&s, e) == 0 ? send_until_final(&s, out, refusal, e)
                                  : err_wrap(e, "%s", call->operation);
    buf_fini(&s.url);
    buf_fini(&s.path);
    return rc;
}

void aws_refusal_fini(struct aws_refusal *r)
{
    if (r->body.data != NULL) {
        explicit_bzero(r->body.data, r->body.cap);
    }
    buf_fini(&r->body);
}

bool aws_changed_nothing(const struct err *e)
{
    return e->code == HTTP_NOT_SENT || (e->code >= 400 && e->class != ERR_RETRY);
}
