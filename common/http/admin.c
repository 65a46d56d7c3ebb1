#include "common/http/admin.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "common/http/readiness.h"
#include "common/http/server.h"

#define CONNECTIONS_MAX 32
#define CONNECTION_SECONDS 10
#define PAGE_LIMIT_BYTES (16u * 1024 * 1024)
#define PENDING_LIMIT_BYTES (4 * PAGE_LIMIT_BYTES)
#define WHY_LIMIT_BYTES 4096

/* A request for /readyz that is not answered yet. */
struct asked {
    uint64_t exchange;
    uint64_t number; /* of the request, among those for /readyz */
};

/* After admin_start everything but `readiness` belongs to the admin thread. */
struct admin {
    bool (*healthy)(void *arg, struct buf *why);
    void (*refresh)(void *arg);
    void *arg;
    struct http_server *server;
    struct readiness *readiness;
    struct asked asked[CONNECTIONS_MAX];
    size_t asked_count;
    pthread_t thread;
    bool started;
};

struct page {
    int status;
    const char *type;
    const char *headers; /* NULL none */
    struct buf body;
};

/* --- pages --- */

static void page_set(struct page *p, int status, const char *text)
{
    p->status = status;
    buf_append_cstr(&p->body, text);
}

static void page_metrics(struct admin *a, struct page *p)
{
    if (a->refresh != NULL) {
        a->refresh(a->arg);
    }
    p->type = "text/plain; version=0.0.4; charset=utf-8";
    page_set(p, 200, "");
    metrics_render(&p->body);
    if (p->body.failed) {
        buf_reset(&p->body);
        page_set(p, 500, "the metrics are larger than the page limit\n");
    }
}

/* 200 with `good`, or 503 with `bad` and the reason. */
static void page_verdict(struct page *p, bool is_good, const char *good, const char *bad,
                         const char *why)
{
    if (is_good) {
        page_set(p, 200, good);
    } else {
        page_set(p, 503, bad);
        buf_append_cstr(&p->body, why);
        buf_append_byte(&p->body, '\n');
    }
}

static void page_health(struct admin *a, struct page *p)
{
    struct buf why;
    buf_init(&why, WHY_LIMIT_BYTES);
    bool is_healthy = a->healthy == NULL || a->healthy(a->arg, &why);
    page_verdict(p, is_healthy, "ok\n", "stuck: ", why.len > 0 ? why.data : "");
    buf_fini(&why);
}

static void page_init(struct page *p)
{
    *p = (struct page){.type = "text/plain; charset=utf-8"};
    buf_init(&p->body, PAGE_LIMIT_BYTES);
}

static void page_send(struct http_exchange *x, const struct page *p)
{
    http_exchange_reply(x, &(struct http_page){.status = p->status,
                                               .type = p->type,
                                               .headers = p->headers,
                                               .body = buf_slice(&p->body)});
}

/* Those whose peers have left give their places to others. */
static void ask_readiness(struct admin *a, struct http_exchange *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->asked_count; i++) {
        if (http_server_find(a->server, a->asked[i].exchange) != NULL) {
            a->asked[kept++] = a->asked[i];
        }
    }
    ASSERT(kept < CONNECTIONS_MAX); /* x is open, and not among them */
    a->asked[kept++] = (struct asked){http_exchange_id(x), readiness_ask(a->readiness)};
    a->asked_count = kept;
}

/* Once `ready` has returned. */
static void send_readiness(void *arg)
{
    struct admin *a = arg;
    char why[READINESS_WHY_BYTES];
    bool is_ready = false;
    size_t kept = 0;
    struct page p;
    uint64_t answered = readiness_answer(a->readiness, &is_ready, why);
    page_init(&p);
    page_verdict(&p, is_ready, "ready\n", "not ready: ", why);
    for (size_t i = 0; i < a->asked_count; i++) {
        struct http_exchange *x = http_server_find(a->server, a->asked[i].exchange);
        if (a->asked[i].number > answered) {
            a->asked[kept++] = a->asked[i];
        } else if (x != NULL) {
            page_send(x, &p);
        }
    }
    a->asked_count = kept;
    buf_fini(&p.body);
}

static void on_admin_request(void *arg, struct http_exchange *x, const struct http_request *r)
{
    struct admin *a = arg;
    struct page p;
    page_init(&p);
    if (!slice_eq_cstr(r->method, "HEAD") && !slice_eq_cstr(r->method, "GET")) {
        p.headers = "Allow: GET, HEAD\r\n";
        page_set(&p, 405, "only GET and HEAD are supported\n");
    } else if (slice_eq_cstr(r->path, "/metrics")) {
        page_metrics(a, &p);
    } else if (slice_eq_cstr(r->path, "/healthz")) {
        page_health(a, &p);
    } else if (slice_eq_cstr(r->path, "/readyz")) {
        ask_readiness(a, x);
    } else {
        page_set(&p, 404, "there is /metrics, /healthz and /readyz\n");
    }
    if (p.status != 0) {
        page_send(x, &p);
    }
    buf_fini(&p.body);
}

/* --- the thread --- */

static void *run_server(void *arg)
{
    struct admin *a = arg;
    http_server_run(a->server);
    return NULL;
}

/* Also frees a half-started one. */
static void free_admin(struct admin *a)
{
    if (a->started) {
        http_server_stop(a->server);
        pthread_join(a->thread, NULL);
    }
    readiness_stop(a->readiness);
    http_server_close(a->server);
    free(a);
}

static int start(const struct admin_options *o, struct admin *a, struct err *e)
{
    /* Who asks here by hand need not name a host. */
    const struct http_server_options server = {
        .what = "admin address",
        .listen = o->listen,
        .hint = "choose another in the configuration (admin_listen)",
        .connections = CONNECTIONS_MAX,
        .pending_bytes = PENDING_LIMIT_BYTES,
        .reply_seconds = CONNECTION_SECONDS,
        .host_is_needed = false,
        .headers = "Cache-Control: no-store\r\n",
        .on_request = on_admin_request,
        .on_wake = send_readiness,
        .arg = a};
    if (http_server_open(&server, &a->server, e) != 0 ||
        readiness_start(o, http_server_wake_fd(a->server), &a->readiness, e) != 0 ||
        thread_start(&a->thread, "the admin thread", run_server, a, e) != 0) {
        return -1;
    }
    a->started = true;
    return 0;
}

int admin_start(const struct admin_options *o, struct admin **out, struct err *e)
{
    if (o->listen[0] == '\0') {
        *out = NULL;
        return 0;
    }
    struct admin *a = calloc(1, sizeof *a);
    ASSERT(a != NULL);
    *a = (struct admin){.healthy = o->healthy, .refresh = o->refresh, .arg = o->arg};
    if (start(o, a, e) != 0) {
        free_admin(a);
        return -1;
    }
    *out = a;
    return 0;
}

int admin_port(const struct admin *a)
{
    return a != NULL ? http_server_port(a->server) : 0;
}

void admin_stop(struct admin *a)
{
    if (a != NULL) {
        free_admin(a);
    }
}
