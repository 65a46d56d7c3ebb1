/*
 * The console's server: each request is judged, then it is a file, a place in the stream, or a question
 * for the stores.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/metrics.h"
#include "common/http/server.h"
#include "deploy/ctl/console/console.h"

/* Nothing but this server's own files, nothing inline, no frame around it, and no string that becomes
 * markup (trusted types). */
#define HEADERS                                                                                    \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src "   \
    "'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "    \
    "require-trusted-types-for 'script'; trusted-types 'none'\r\n"                                 \
    "X-Content-Type-Options: nosniff\r\n"                                                          \
    "X-Frame-Options: DENY\r\n"                                                                    \
    "Referrer-Policy: no-referrer\r\n"                                                             \
    "Cross-Origin-Opener-Policy: same-origin\r\n"                                                  \
    "Cross-Origin-Resource-Policy: same-origin\r\n"
#define JSON_TYPE "application/json"
#define NO_STORE "Cache-Control: no-store\r\n"

struct console {
    const struct guard *guard;
    struct http_server *server;
    struct feed *feed;
    struct answers *answers;
};

static void reply_error(struct http_exchange *x, int status, const char *headers, const char *why)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_append_cstr(&body, "{\"error\":");
    buf_append_json(&body, slice_of(why));
    buf_append_cstr(&body, "}\n");
    http_exchange_reply(
        x, &(struct http_page){
               .status = status, .type = JSON_TYPE, .headers = headers, .body = buf_slice(&body)});
    buf_fini(&body);
}

/* --- files --- */

static bool has_etag(const struct http_request *r, const char *etag)
{
    struct slice headers = r->headers;
    struct slice name;
    struct slice value;
    while (http_request_next_header(&headers, &name, &value)) {
        if (slice_eq_nocase(name, SLICE("if-none-match")) && slice_eq_cstr(value, etag)) {
            return true;
        }
    }
    return false;
}

static void reply_file(struct http_exchange *x, const struct http_request *r,
                       const struct console_file *f)
{
    char headers[160];
    bool is_known = has_etag(r, f->etag);
    (void)snprintf(headers, sizeof headers, "Cache-Control: no-cache\r\nETag: %s\r\n", f->etag);
    http_exchange_reply(
        x, &(struct http_page){.status = is_known ? 304 : 200,
                               .type = f->type,
                               .headers = headers,
                               .body = {(const char *)f->bytes, is_known ? 0 : f->size}});
}

/* --- metrics --- */

static void reply_metrics(struct http_exchange *x)
{
    struct buf body;
    buf_init(&body, CONSOLE_ANSWER_LIMIT_BYTES);
    metrics_render(&body);
    http_exchange_reply(x, &(struct http_page){.status = body.failed ? 500 : 200,
                                               .type = "text/plain; version=0.0.4; charset=utf-8",
                                               .headers = NO_STORE,
                                               .body = buf_slice(&body)});
    buf_fini(&body);
}

/* --- the stream --- */

static void set_viewers(struct console *s)
{
    size_t n = http_server_streams(s->server);
    feed_set_viewers(s->feed, n);
    console_show_viewers(n);
}

static void begin_stream(struct console *s, struct http_exchange *x)
{
    struct buf first;
    buf_init(&first, 2 * CONSOLE_EVENT_LIMIT_BYTES);
    buf_append_cstr(&first, "retry: 2000\n\n");
    feed_append_last(s->feed, &first);
    const struct http_page page = {.status = 200,
                                   .type = "text/event-stream",
                                   .headers = NO_STORE "X-Accel-Buffering: no\r\n",
                                   .body = buf_slice(&first)};
    if (http_exchange_stream(x, &page)) {
        set_viewers(s);
    } else {
        char why[120];
        console_limit_reached(CONSOLE_LIMIT_VIEWERS);
        (void)snprintf(why, sizeof why, "%d people look already: try again later",
                       CONSOLE_STREAMS_MAX);
        reply_error(x, 503, NO_STORE "Retry-After: 10\r\n", why);
    }
    buf_fini(&first);
}

static void push_event(struct console *s)
{
    struct buf event;
    buf_init(&event, CONSOLE_EVENT_LIMIT_BYTES);
    if (feed_take(s->feed, &event)) {
        http_server_push(s->server, buf_slice(&event));
    }
    set_viewers(s); /* some may have left */
    buf_fini(&event);
}

/* --- questions --- */

static void ask(struct console *s, struct http_exchange *x, const struct http_request *r)
{
    char target[CONSOLE_TARGET_SIZE];
    int n = snprintf(target, sizeof target, "%.*s%s%.*s", SLICE_ARG(r->path),
                     r->query.len > 0 ? "?" : "", SLICE_ARG(r->query));
    if (n < 0 || (size_t)n >= sizeof target) {
        console_limit_reached(HTTP_LIMIT_HEAD);
        reply_error(x, 414, NO_STORE, "the URL is too long");
    } else if (!answers_ask(s->answers, http_exchange_id(x), target)) {
        console_limit_reached(CONSOLE_LIMIT_REQUESTS);
        reply_error(x, 503, NO_STORE "Retry-After: 2\r\n",
                    "too many requests wait for the stores: try again");
    }
}

static void send_answers(struct console *s)
{
    struct answer a;
    while (answers_take(s->answers, &a)) {
        struct http_exchange *x = http_server_find(s->server, a.id);
        if (x != NULL) {
            http_exchange_reply(x, &(struct http_page){.status = a.status,
                                                       .type = JSON_TYPE,
                                                       .headers = NO_STORE,
                                                       .body = buf_slice(&a.body)});
        }
        buf_fini(&a.body);
    }
}

/* --- the server --- */

static void on_request(void *arg, struct http_exchange *x, const struct http_request *r)
{
    struct console *s = arg;
    const struct guard_verdict v = guard_judge(s->guard, r);
    const struct console_file *file = console_file_of(r->path);
    if (v.status != 200) {
        reply_error(x, v.status, v.status == 405 ? NO_STORE "Allow: GET, HEAD\r\n" : NO_STORE,
                    v.why);
    } else if (file != NULL) {
        reply_file(x, r, file);
    } else if (slice_eq_cstr(r->path, ROUTE_METRICS)) {
        reply_metrics(x);
    } else if (slice_eq_cstr(r->path, ROUTE_STREAM)) {
        begin_stream(s, x);
    } else if (slice_starts_with(r->path, SLICE(ROUTE_API))) {
        ask(s, x, r);
    } else {
        reply_error(x, 404, NO_STORE, "there is no such page");
    }
}

static void on_limit(void *arg, const char *limit)
{
    (void)arg;
    console_limit_reached(limit);
}

static void on_console_wake(void *arg)
{
    struct console *s = arg;
    push_event(s);
    send_answers(s);
}

int console_open(const struct console_options *o, struct console **out, struct err *e)
{
    struct console *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    const struct http_server_options server = {.what = "--listen",
                                               .listen = o->listen,
                                               .hint = "choose another with --listen",
                                               .connections = CONSOLE_CONNECTIONS_MAX,
                                               .streams = CONSOLE_STREAMS_MAX,
                                               .stall_ms = CONSOLE_STALL_MS,
                                               .pending_bytes = CONSOLE_PENDING_LIMIT_BYTES,
                                               .reply_seconds = CONSOLE_REPLY_SECONDS,
                                               .host_is_needed = true,
                                               .headers = HEADERS,
                                               .on_request = on_request,
                                               .on_wake = on_console_wake,
                                               .on_limit = on_limit,
                                               .arg = s};
    s->guard = o->guard;
    console_metrics_begin();
    if (http_server_open(&server, &s->server, e) != 0 ||
        feed_start(o->ctl, o->every_ms, http_server_wake_fd(s->server), &s->feed, e) != 0 ||
        answers_start(o->ctl, http_server_wake_fd(s->server), &s->answers, e) != 0) {
        console_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

int console_port(const struct console *s)
{
    return http_server_port(s->server);
}

void console_run(struct console *s)
{
    http_server_run(s->server);
}

void console_stop(struct console *s)
{
    http_server_stop(s->server);
}

void console_close(struct console *s)
{
    answers_stop(s->answers);
    feed_stop(s->feed);
    http_server_close(s->server);
    free(s);
}
