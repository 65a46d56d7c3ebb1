#include <stdio.h>
#include <string.h>

#include "common/base/calls.h"
#include "common/base/clock.h"
#include "common/github/internal.h"
#include "common/ledger/ledger.h"

#define WAIT_BUDGET_MS 2000
#define HEADERS_MAX 5
#define YOUNG_MS 5000 /* a token that GitHub may not know everywhere yet */
#define YOUNG_WAITS 3

/* The headers of one request; lines point into the bufs. */
struct headers {
    struct buf authorization; /* a secret */
    struct buf version;
    const char *lines[HEADERS_MAX];
    size_t count;
};

int github_take(struct github *g, const struct ledger_bucket *b, const char *setting, struct err *e)
{
    int64_t until_ms = clock_mono_ms() + WAIT_BUDGET_MS;
    int64_t wait_ms = 0;
    while (g->ledger != NULL) {
        if (ledger_rate_take(g->ledger, b, 1, &wait_ms, e) != 0) {
            (void)err_said_by(e, ERR_FROM_LEDGER);
            return err_wrap(e, "rate bucket %s", b->name);
        }
        if (wait_ms <= 0) {
            break;
        }
        if (clock_mono_ms() + wait_ms > until_ms) {
            (void)err_set(e, ERR_THROTTLED, 0,
                          "rate bucket %s: no call to GitHub for another %lld ms: wait, or raise "
                          "%s if GitHub allows more",
                          b->name, (long long)wait_ms, setting);
            e->retry_after_ms = wait_ms;
            return -1;
        }
        clock_sleep_until(clock_mono_ms() + wait_ms);
    }
    return 0;
}

static int take_call(struct github *g, const char *bucket, struct err *e)
{
    const struct ledger_bucket b = {bucket, g->rate.per_second, g->rate.burst};
    return github_take(g, &b, "github.rate", e);
}

static void headers_init(struct headers *h, const struct github *g, const struct github_pass *pass,
                         const struct github_call *call)
{
    *h = (struct headers){.count = 0};
    buf_init(&h->authorization, GITHUB_TOKEN_BYTES + 64);
    buf_init(&h->version, 256);
    buf_append_cstr(&h->authorization, "Authorization: Bearer ");
    buf_append(&h->authorization, buf_slice(&pass->token));
    ASSERT(!h->authorization.failed);
    h->lines[h->count++] = h->authorization.data;
    h->lines[h->count++] = "Accept: application/vnd.github+json";
    if (g->api_version[0] != '\0') {
        buf_printf(&h->version, "X-GitHub-Api-Version: %s", g->api_version);
        h->lines[h->count++] = h->version.data;
    }
    if (call->body.len > 0) {
        h->lines[h->count++] = "Content-Type: application/json";
    }
}

static void headers_fini(struct headers *h)
{
    explicit_bzero(h->authorization.data, h->authorization.cap);
    buf_fini(&h->authorization);
    buf_fini(&h->version);
}

static int send_call(struct github *g, const struct github_pass *pass,
                     const struct github_call *call, struct http_response *out, struct err *e)
{
    struct headers h;
    struct buf url;
    headers_init(&h, g, pass, call);
    buf_init(&url, 4096);
    buf_printf(&url, "%s%s", pass->identity->api_url, call->path);
    struct http_request r = {.method = call->method,
                             .url = url.data,
                             .headers = h.lines,
                             .header_count = h.count,
                             .body = call->body,
                             .response_limit_bytes = call->limit_bytes};
    int rc = url.failed ? err_set(e, ERR_PERMANENT, 0, "github.api_url is too long")
                        : http_send(g->http, &r, out, e);
    buf_fini(&url);
    headers_fini(&h);
    return rc;
}

/* Closes the bucket for every process. If the ledger is unavailable, the next call reaches the
 * limit again and closes the bucket then. */
static void close_github_bucket(struct github *g, const char *bucket, int64_t wait_ms)
{
    struct err ignored;
    if (g->ledger != NULL) {
        int rc = ledger_rate_pause(g->ledger, bucket, clock_wall_ms() + wait_ms, &ignored);
        (void)rc;
    }
}

static void record_limits(struct github *g, struct github_bucket *b, const char *bucket,
                          const struct github_verdict *v)
{
    github_budget_observe(g, b, v);
    pthread_mutex_lock(&g->lock);
    if (v->secondary) {
        b->secondary_hits++;
    } else if (v->class == ERR_NONE) {
        b->secondary_hits = 0;
    }
    pthread_mutex_unlock(&g->lock);
    if (v->close) {
        close_github_bucket(g, bucket, v->wait_ms);
    }
}

static const char *hint_for(const struct github_identity *i, const struct github_verdict *v,
                            int status)
{
    switch (v->class) {
    case ERR_AUTH:
        if (status == 403) {
            return "grant the App or token the permission that this call needs";
        }
        return github_is_app(i) ? "check the App's id and private key (github.app, github.apps) "
                                  "and this host's clock"
                                : "check github.token: it may have expired or been revoked";
    case ERR_NOT_FOUND:
        return "it does not exist, or the App or token may not see it";
    case ERR_CONFLICT:
        return "it exists already or is in use";
    case ERR_PERMANENT:
        return "GitHub rejects this request";
    case ERR_THROTTLED:
        return "a rate limit; all processes wait until it ends";
    case ERR_NONE:
    case ERR_RETRY:
    case ERR_CAPACITY:
        break;
    }
    return "try again";
}

static int fail_with_response(const struct github_identity *i, const struct github_call *call,
                              int status, const struct github_verdict *v, struct err *e)
{
    struct slice path = slice_of(call->path);
    struct slice query;
    slice_cut(path, '?', &path, &query);
    (void)err_set(e, v->class, status, "GitHub answered %d%s%s%s to %s %.*s: %s%s%s%s%s%s%s",
                  status, v->message[0] != '\0' ? " \"" : "", v->message,
                  v->message[0] != '\0' ? "\"" : "", call->method, SLICE_ARG(path),
                  hint_for(i, v, status), v->permissions[0] != '\0' ? " (GitHub accepts: " : "",
                  v->permissions, v->permissions[0] != '\0' ? ")" : "",
                  v->request_id[0] != '\0' ? " [request " : "", v->request_id,
                  v->request_id[0] != '\0' ? "]" : "");
    e->retry_after_ms = v->wait_ms;
    return -1;
}

/* The operation of mayfly_call_seconds: reads of one thing, and of lists, are alike. */
static const char *group_of(enum github_op op)
{
    static const char *const names[GITHUB_OPS] = {[GITHUB_OP_MINT_TOKEN] = "mint_token",
                                                  [GITHUB_OP_REGISTER_RUNNER] = "register_runner",
                                                  [GITHUB_OP_DELETE_RUNNER] = "delete_runner",
                                                  [GITHUB_OP_LIST_INSTALLATIONS] = "list",
                                                  [GITHUB_OP_LIST_REPOSITORIES] = "list",
                                                  [GITHUB_OP_LIST_GROUPS] = "list",
                                                  [GITHUB_OP_LIST_RUNNERS] = "list",
                                                  [GITHUB_OP_LIST_RUNS] = "list",
                                                  [GITHUB_OP_LIST_RUN_JOBS] = "list",
                                                  [GITHUB_OP_LIST_DELIVERIES] = "list",
                                                  [GITHUB_OP_CONNECT_SETS] = "scale_set",
                                                  [GITHUB_OP_CREATE_CHECK_RUN] = "give_up",
                                                  [GITHUB_OP_CANCEL_RUN] = "give_up",
                                                  [GITHUB_OP_REDELIVER] = "redeliver"};
    return names[op] != NULL ? names[op] : "get";
}

static int check_response(struct github *g, const struct github_pass *pass,
                          const struct github_call *call, const struct http_response *r,
                          struct err *e)
{
    struct github_verdict v;
    struct github_bucket *b = github_bucket(g, pass->bucket);
    pthread_mutex_lock(&g->lock);
    struct github_silence silence = {.pause_ms = g->secondary_limit_backoff_ms,
                                     .hits = b->secondary_hits};
    pthread_mutex_unlock(&g->lock);
    github_judge(r, clock_wall_ms(), &silence, &v);
    record_limits(g, b, pass->paced, &v);
    calls_observe("github", group_of(call->op), v.class, r->elapsed_us);
    return v.class == ERR_NONE ? 0 : fail_with_response(pass->identity, call, r->status, &v, e);
}

int github_call_with(struct github *g, const struct github_pass *pass,
                     const struct github_call *call, struct http_response *out, struct err *e)
{
    struct http_response r;
    if (take_call(g, pass->paced, e) != 0) {
        return -1;
    }
    int64_t began_us = clock_mono_us();
    if (send_call(g, pass, call, &r, e) != 0) {
        calls_observe("github", group_of(call->op), e->class, clock_mono_us() - began_us);
        return err_wrap(e, "GitHub");
    }
    if (check_response(g, pass, call, &r, e) != 0) {
        http_response_fini(&r);
        return -1;
    }
    *out = r;
    return 0;
}

/* What a call with a token has met so far. */
struct refusals {
    int waits; /* for the token to be known */
    bool renewed;
};

/* After a 401: whether to call again. As GitHub's own client does it: after 1, 2 and 4 s while the
 * token is young. */
static bool call_again(const struct github_pass *pass, struct refusals *r)
{
    if (r->waits < YOUNG_WAITS && github_pass_age_ms(pass) < YOUNG_MS) {
        clock_sleep_until(clock_mono_ms() + ((int64_t)1000 << r->waits++));
        return true;
    }
    github_pass_drop(pass);
    bool again = !r->renewed && pass->installation > 0;
    *r = (struct refusals){.renewed = true};
    return again;
}

static int call_by(struct github *g, struct github_identity *i, const struct github_scope *s,
                   const struct github_call *call, struct http_response *out, struct err *e)
{
    bool again = false;
    int rc = -1;
    struct refusals refusals = {.waits = 0};
    do {
        struct github_pass pass;
        if (github_pass_get(g, i, s, &pass, e) != 0) {
            return -1;
        }
        rc = github_call_with(g, &pass, call, out, e);
        bool refused = rc != 0 && e->class == ERR_AUTH && e->code == 401;
        again = refused && call_again(&pass, &refusals);
        github_pass_fini(&pass);
    } while (again);
    if (rc != 0) { /* a personal token is all that we have, as an App's key is */
        bool is_identity = !github_is_app(i) && e->code == 401;
        (void)err_said_by(e, is_identity ? ERR_FROM_APP : ERR_FROM_GITHUB);
        return github_error_of(g, i, e);
    }
    return 0;
}

static enum github_order order_of(enum github_op op)
{
    return op == GITHUB_OP_REGISTER_RUNNER ? GITHUB_IN_TURN : GITHUB_BY_SHARE;
}

int github_call(struct github *g, const struct github_scope *s, const struct github_call *call,
                struct http_response *out, struct err *e)
{
    struct github_choice c;
    int rc = -1;
    if (github_choose(g, s, order_of(call->op), &c, e) != 0) {
        return -1;
    }
    do {
        struct github_identity *i = c.list[c.at];
        bool registers = call->op == GITHUB_OP_REGISTER_RUNNER;
        rc = registers ? github_registration_turn(g, i, s, e) : 0;
        rc = rc == 0 ? call_by(g, i, s, call, out, e) : -1;
    } while (rc != 0 && github_choose_next(g, s, &c, e));
    return rc;
}

static bool is_github_name(struct slice s)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || strchr(allowed, s.ptr[i]) == NULL) {
            return false;
        }
    }
    return s.len > 0 && !slice_eq_cstr(s, ".") && !slice_eq_cstr(s, "..");
}

/* An enterprise's name has its folder in GitHub's API already. */
int github_path_scope(struct buf *path, const struct github_scope *s, struct err *e)
{
    struct slice owner;
    struct slice name;
    struct slice whole = {s->name, strnlen(s->name, sizeof s->name)};
    bool two = slice_cut(whole, '/', &owner, &name);
    bool nested = s->is_repository || s->is_enterprise;
    if (two != nested || !is_github_name(owner) || (two && !is_github_name(name))) {
        return err_set(e, ERR_PERMANENT, 0, "\"%.*s\" is not a %s of GitHub", SLICE_ARG(whole),
                       s->is_repository   ? "repository (owner/name)"
                       : s->is_enterprise ? "enterprise"
                                          : "organisation");
    }
    buf_printf(path, "%s/%.*s",
               s->is_repository   ? "/repos"
               : s->is_enterprise ? ""
                                  : "/orgs",
               SLICE_ARG(whole));
    return 0;
}
