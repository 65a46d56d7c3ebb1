#include <stdio.h>
#include <string.h>

#include "common/base/calls.h"
#include "common/base/clock.h"
#include "common/github/scale_sets/internal.h"

#define HEADERS_MAX 4
#define SILENCE_MS 60000 /* after a 429 without a time */

/* The response's status as an error of what was asked. */
static int fail_with_status(const struct set_request *q, const struct http_response *r,
                            const struct github_verdict *v, struct err *e)
{
    char message[200];
    struct slice path = slice_of(q->url);
    const char *host = strstr(q->url, "://");
    struct slice query;
    path = host != NULL ? slice_of(host + 3) : path;
    slice_cut(path, '?', &path, &query);
    github_parse_message(set_text(r), message, sizeof message);
    (void)err_set(e, v->class, r->status, "GitHub answered %d%s%s%s to %s %.*s%s%s%s", r->status,
                  message[0] != '\0' ? " \"" : "", message, message[0] != '\0' ? "\"" : "",
                  q->method, SLICE_ARG(path), v->request_id[0] != '\0' ? " [request " : "",
                  v->request_id, v->request_id[0] != '\0' ? "]" : "");
    e->retry_after_ms = v->wait_ms;
    return err_said_by(e, ERR_FROM_GITHUB);
}

static int judge_response(const struct set_request *q, struct http_response *r, struct err *e)
{
    const struct github_silence silence = {.pause_ms = SILENCE_MS};
    struct github_verdict v;
    github_judge(r, clock_wall_ms(), &silence, &v);
    if (q->operation != NULL || v.class != ERR_NONE) {
        calls_observe("github", q->operation != NULL ? q->operation : "scale_set", v.class,
                      r->elapsed_us);
    }
    return v.class == ERR_NONE ? 0 : fail_with_status(q, r, &v, e);
}

int set_send(struct github *g, const struct set_request *q, struct http_response *out,
             struct err *e)
{
    struct buf authorization;
    const char *lines[HEADERS_MAX];
    size_t count = 0;
    struct http_response r;
    buf_init(&authorization, GITHUB_TOKEN_BYTES + 64);
    buf_printf(&authorization, "Authorization: %s ", q->scheme);
    buf_append(&authorization, q->token);
    ASSERT(!authorization.failed);
    lines[count++] = authorization.data;
    lines[count++] = "Accept: application/json; api-version=" SET_API_VERSION;
    if (q->body.len > 0) {
        lines[count++] = "Content-Type: application/json";
    }
    if (q->header != NULL) {
        lines[count++] = q->header;
    }
    const struct http_request request = {.method = q->method,
                                         .url = q->url,
                                         .headers = lines,
                                         .header_count = count,
                                         .body = q->body,
                                         .timeout_ms = q->timeout_ms,
                                         .response_limit_bytes = q->limit_bytes,
                                         .wait = q->wait,
                                         .wait_arg = q->wait_arg};
    int64_t began_us = clock_mono_us();
    int rc = http_send(g->http, &request, &r, e);
    explicit_bzero(authorization.data, authorization.cap);
    buf_fini(&authorization);
    if (rc != 0) {
        if (e->code != HTTP_STOPPED) {
            calls_observe("github", q->operation != NULL ? q->operation : "scale_set", e->class,
                          clock_mono_us() - began_us);
        }
        (void)err_said_by(e, ERR_FROM_GITHUB);
        return err_wrap(e, "GitHub");
    }
    if (judge_response(q, &r, e) != 0) {
        http_response_fini(&r);
        return -1;
    }
    *out = r;
    return 0;
}

static int call_once(struct github *g, const struct set_connection *c, const struct set_call *call,
                     struct http_response *out, struct err *e)
{
    char url[SET_URL_BYTES];
    const char *mark = strchr(call->path, '?') != NULL ? "&" : "?";
    int length = snprintf(url, sizeof url, "%s%s%sapi-version=" SET_API_VERSION, c->url.data,
                          call->path, mark);
    if (length < 0 || (size_t)length >= sizeof url) {
        return err_set(e, ERR_PERMANENT, 0, "the service's address is too long");
    }
    const struct set_request q = {.operation = call->operation,
                                  .method = call->method,
                                  .url = url,
                                  .scheme = "Bearer",
                                  .token = buf_slice(&c->token),
                                  .body = call->body,
                                  .limit_bytes = call->limit_bytes,
                                  .timeout_ms = call->timeout_ms};
    return set_send(g, &q, out, e);
}

int set_call(struct github *g, const struct github_scope *s, const struct set_call *call,
             struct http_response *out, struct err *e)
{
    bool again = false;
    int rc = -1;
    int tries = 0;
    do {
        struct set_connection c;
        if (set_connection_get(g, s, &c, e) != 0) {
            return -1;
        }
        rc = call_once(g, &c, call, out, e);
        again = rc != 0 && e->code == 401 && ++tries < 2;
        if (rc != 0 && e->code == 401) {
            set_connection_drop(g, s, &c);
        }
        set_connection_fini(&c);
    } while (again);
    return rc;
}
