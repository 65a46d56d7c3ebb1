/*
 * The local page, on libevent's evhttp: it serves one person for some minutes, so that its limits
 * (size of a request, 10 s for each) are enough.
 *
 * GitHub's code is exchanged in the handler of the request that brings it: other tabs wait, and a
 * signal is handled after it, so that no App is made whose key nobody kept.
 */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/printable.h"
#include "common/base/random.h"
#include "deploy/ctl/app/app.h"

#define REQUEST_LIMIT_BYTES 8192
#define REQUEST_SECONDS 10
#define LAST_PAGE_SECONDS 5 /* for the browser to read it */
#define PAGE_LIMIT_BYTES ((size_t)64 * 1024)
#define MANIFEST_LIMIT_BYTES 8192

enum outcome { WAITING, DONE, FAILED };

struct server {
    const struct app_page *page;
    struct app_session session;
    struct event_base *base;
    enum outcome outcome;
    struct err *e;
};

/* --- pages --- */

static void append_html(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buf_append_cstr(out, "&amp;");
            break;
        case '<':
            buf_append_cstr(out, "&lt;");
            break;
        case '>':
            buf_append_cstr(out, "&gt;");
            break;
        case '"':
            buf_append_cstr(out, "&quot;");
            break;
        default:
            buf_append_byte(out, *text);
        }
    }
}

static void append_text(struct buf *out, const char *tag, const char *text)
{
    buf_printf(out, "<%s>", tag);
    append_html(out, text);
    buf_printf(out, "</%s>\n", tag);
}

static void append_form(const struct server *s, struct buf *out)
{
    const struct app_plan *plan = s->page->plan;
    struct buf action;
    struct buf manifest;
    char redirect[64];
    (void)snprintf(redirect, sizeof redirect, "%s/created", s->session.origin);
    buf_init(&action, MANIFEST_LIMIT_BYTES);
    buf_init(&manifest, MANIFEST_LIMIT_BYTES);
    app_form_action(plan, s->session.state, &action);
    app_manifest(plan, redirect, &manifest);
    append_text(out, "p",
                "GitHub shows what the App may do, and lets you change its name. After "
                "that it returns here, and the credentials are kept on the machine where "
                "mayflyctl runs.");
    buf_append_cstr(out, "<form method=\"post\" action=\"");
    append_html(out, action.data);
    buf_append_cstr(out, "\">\n<input type=\"hidden\" name=\"manifest\" value=\"");
    append_html(out, manifest.data);
    buf_append_cstr(out, "\">\n<button type=\"submit\">Create ");
    append_html(out, plan->name);
    buf_append_cstr(out, " at ");
    append_html(out, plan->web);
    buf_append_cstr(out, "</button>\n</form>\n");
    buf_fini(&manifest);
    buf_fini(&action);
}

static void begin_page(struct buf *out, const char *nonce, const char *title)
{
    buf_init(out, PAGE_LIMIT_BYTES);
    buf_printf(out,
               "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
               "<title>Mayfly: GitHub App</title>\n<style nonce=\"%s\">"
               "body{font:1.1em/1.5 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}"
               "button{font:inherit;padding:.5em 1em}</style></head><body>\n",
               nonce);
    append_text(out, "h1", title);
}

/* No form-action: browsers apply it to redirects, and GitHub's to a login may leave its host. */
static void send_page(struct evhttp_request *req, int status, const char *nonce, struct buf *page)
{
    struct evkeyvalq *h = evhttp_request_get_output_headers(req);
    struct evbuffer *body = evbuffer_new();
    char policy[160];
    ASSERT(body != NULL);
    (void)snprintf(policy, sizeof policy,
                   "default-src 'none'; style-src 'nonce-%s'; base-uri 'none'; frame-ancestors "
                   "'none'",
                   nonce);
    buf_append_cstr(page, "</body></html>\n");
    ASSERT(evbuffer_add(body, page->data, page->len) == 0);
    evhttp_add_header(h, "Content-Type", "text/html; charset=utf-8");
    evhttp_add_header(h, "Content-Security-Policy", policy);
    evhttp_add_header(h, "Cache-Control", "no-store");
    evhttp_add_header(h, "Referrer-Policy", "origin");
    evhttp_add_header(h, "X-Content-Type-Options", "nosniff");
    evhttp_add_header(h, "X-Frame-Options", "DENY");
    evhttp_add_header(h, "Connection", "close");
    evhttp_send_reply(req, status, NULL, body);
    evbuffer_free(body);
    buf_fini(page);
}

/* --- requests --- */

static void end_loop(struct evhttp_request *req, void *arg)
{
    struct server *s = arg;
    (void)req;
    (void)event_base_loopexit(s->base, NULL);
}

/* The command ends when the last page is sent, or its reader is gone. */
static void end_after(struct server *s, struct evhttp_request *req)
{
    const struct timeval most = {.tv_sec = LAST_PAGE_SECONDS};
    evhttp_request_set_on_complete_cb(req, end_loop, s);
    (void)event_base_loopexit(s->base, &most);
}

static void finish_exchange(struct server *s, struct evhttp_request *req, const char *code,
                            const char *nonce)
{
    struct err e = {0};
    struct buf page;
    if (s->page->exchange(s->page->arg, code, &e) == 0) {
        s->outcome = DONE;
        begin_page(&page, nonce, "The App is created");
        append_text(&page, "p",
                    "Its credentials are kept. Go on in the terminal: install the App "
                    "next. This page can be closed.");
        end_after(s, req);
        send_page(req, 200, nonce, &page);
        return;
    }
    begin_page(&page, nonce, "The App's credentials are not here yet");
    append_text(&page, "p", e.message);
    if (e.class == ERR_RETRY) {
        printable_line(stderr, "%s; reload the page to try again", e.message);
        append_text(&page, "p",
                    "Reload this page to try again. GitHub's code is valid for one hour.");
    } else {
        s->outcome = FAILED;
        *s->e = e;
        end_after(s, req);
    }
    send_page(req, 502, nonce, &page);
}

static void show_form(struct server *s, struct evhttp_request *req, const char *nonce)
{
    struct buf page;
    char cookie[160];
    (void)snprintf(cookie, sizeof cookie, "%s=%s; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax",
                   s->session.cookie_name, s->session.cookie);
    evhttp_add_header(evhttp_request_get_output_headers(req), "Set-Cookie", cookie);
    begin_page(&page, nonce, "Create the GitHub App");
    append_form(s, &page);
    send_page(req, 200, nonce, &page);
}

static void refuse(struct evhttp_request *req, const struct app_verdict *v, const char *nonce)
{
    struct buf page;
    begin_page(&page, nonce, "Refused");
    append_text(&page, "p", v->reason);
    send_page(req, v->status, nonce, &page);
}

static void on_request(struct evhttp_request *req, void *arg)
{
    struct server *s = arg;
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(req);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    struct app_verdict v;
    char nonce[33];
    random_hex(nonce, 16);
    const struct app_request r = {
        .path = slice_of(uri != NULL ? evhttp_uri_get_path(uri) : NULL),
        .query = slice_of(uri != NULL ? evhttp_uri_get_query(uri) : NULL),
        .host = evhttp_find_header(headers, "Host"),
        .cookie = evhttp_find_header(headers, "Cookie"),
    };
    app_session_judge(&s->session, &r, &v);
    if (v.step != APP_REFUSE && s->outcome != WAITING) {
        v = (struct app_verdict){.status = 410, .reason = "The command has ended."};
    }
    switch (v.step) {
    case APP_SHOW:
        show_form(s, req, nonce);
        break;
    case APP_EXCHANGE:
        finish_exchange(s, req, v.code, nonce);
        break;
    case APP_REFUSE:
        refuse(req, &v, nonce);
        break;
    }
    explicit_bzero(&v, sizeof v);
}

/* --- the server --- */

void app_block_signals(bool block)
{
    sigset_t set;
    ASSERT(sigemptyset(&set) == 0 && sigaddset(&set, SIGINT) == 0 &&
           sigaddset(&set, SIGTERM) == 0 && sigaddset(&set, SIGHUP) == 0);
    ASSERT(pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL) == 0);
}

static int bound_port(struct evhttp_bound_socket *bound)
{
    struct sockaddr_in at = {0};
    socklen_t len = sizeof at;
    ASSERT(getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&at, &len) == 0);
    return ntohs(at.sin_port);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    struct server *s = arg;
    (void)what;
    if (s->outcome == WAITING) {
        s->outcome = FAILED;
        (void)err_set(
            s->e, ERR_PERMANENT, 0,
            "ended by %s before GitHub returned: nothing is kept; an App that GitHub made "
            "all the same can be deleted there",
            number == SIGINT ? "Ctrl-C" : "a signal");
        (void)event_base_loopexit(s->base, NULL);
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct server *s = arg;
    (void)fd;
    (void)what;
    if (s->outcome == WAITING) {
        s->outcome = FAILED;
        (void)err_set(s->e, ERR_PERMANENT, 0,
                      "GitHub did not return within an hour: nothing is kept");
        (void)event_base_loopexit(s->base, NULL);
    }
}

/* Beside the URL in the terminal; a machine without a desktop has none. */
static bool open_browser(const char *url)
{
    char program[] = "xdg-open";
    char *argv[] = {program, strdup(url), NULL};
    posix_spawn_file_actions_t quiet;
    pid_t pid = 0;
    bool desktop = getenv("DISPLAY") != NULL || getenv("WAYLAND_DISPLAY") != NULL;
    ASSERT(argv[1] != NULL && posix_spawn_file_actions_init(&quiet) == 0);
    for (int fd = 0; fd <= 2; fd++) {
        ASSERT(posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0) == 0);
    }
    bool opened = desktop && posix_spawnp(&pid, program, &quiet, NULL, argv, environ) == 0;
    posix_spawn_file_actions_destroy(&quiet);
    free(argv[1]);
    return opened;
}

static void print_where(const struct server *s, int port)
{
    char url[128];
    (void)snprintf(url, sizeof url, "%s/start/%s", s->session.origin, s->session.token);
    fprintf(stderr, "Open this page in a browser:\n\n    %s\n\n", url);
    if (!s->page->open_browser || !open_browser(url)) {
        fprintf(stderr,
                "A browser on another machine reaches it through a tunnel, started there:\n\n"
                "    ssh -N -L %d:127.0.0.1:%d THIS-HOST\n\n",
                port, port);
    }
    fprintf(stderr, "Waiting for GitHub; Ctrl-C ends it.\n");
}

static int listen_and_wait(struct server *s, struct evhttp *http, struct err *e)
{
    const struct timeval most = {.tv_sec = s->page->timeout_ms / 1000,
                                 .tv_usec = s->page->timeout_ms % 1000 * 1000};
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
    struct event *events[] = {
        evsignal_new(s->base, SIGINT, on_signal, s), evsignal_new(s->base, SIGTERM, on_signal, s),
        evsignal_new(s->base, SIGHUP, on_signal, s), evtimer_new(s->base, on_timeout, s)};
    if (bound == NULL) {
        (void)err_set(e, ERR_RETRY, 0, "cannot listen on 127.0.0.1");
        s->outcome = FAILED;
    }
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        ASSERT(events[i] != NULL && event_add(events[i], i == 3 ? &most : NULL) == 0);
    }
    if (bound != NULL) {
        int port = bound_port(bound);
        app_session_init(&s->session, port);
        print_where(s, port);
        app_block_signals(false);
        (void)event_base_dispatch(s->base);
        app_block_signals(true);
    }
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        event_free(events[i]);
    }
    return s->outcome == DONE ? 0 : -1;
}

int app_page_serve(const struct app_page *page, struct err *e)
{
    struct server s = {.page = page, .e = e, .base = event_base_new()};
    ASSERT(s.base != NULL);
    struct evhttp *http = evhttp_new(s.base);
    ASSERT(http != NULL);
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET);
    evhttp_set_max_headers_size(http, REQUEST_LIMIT_BYTES);
    evhttp_set_max_body_size(http, REQUEST_LIMIT_BYTES);
    evhttp_set_timeout(http, REQUEST_SECONDS);
    evhttp_set_gencb(http, on_request, &s);
    int rc = listen_and_wait(&s, http, e);
    evhttp_free(http);
    event_base_free(s.base);
    explicit_bzero(&s.session, sizeof s.session);
    return rc;
}
