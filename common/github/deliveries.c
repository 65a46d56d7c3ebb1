/* Source: docs.github.com, "REST API endpoints for webhook deliveries" of Apps, organisations and
 * repositories. */
#include <inttypes.h>

#include "common/github/internal.h"

/* Headers and both bodies of one delivery. */
#define PAYLOAD_LIMIT_BYTES ((size_t)8 * 1024 * 1024)

bool github_hook_of(const struct config *c, struct github_hook *out)
{
    const struct config_hook *hook = &c->github.hook;
    *out = (struct github_hook){.id = hook->id};
    if (hook->id > 0) {
        const char *owner = hook->repository[0] != '\0' ? hook->repository : hook->organization;
        out->scope = github_scope_parse(owner, c->github.installation);
        return true;
    }
    return config_has_app(c);
}

int github_path_hook(struct buf *path, const struct github_hook *h, struct err *e)
{
    if (h->id == 0) {
        buf_append_cstr(path, "/app/hook");
        return 0;
    }
    if (github_path_scope(path, &h->scope, e) != 0) {
        return -1;
    }
    buf_printf(path, "/hooks/%" PRId64, h->id);
    return 0;
}

int github_call_hook(struct github *g, const struct github_hook *h, const struct github_call *call,
                     struct http_response *out, struct err *e)
{
    return h->id == 0 ? github_call_app(g, &g->identities[h->app], call, out, e)
                      : github_call(g, &h->scope, call, out, e);
}

static int log_path(struct buf *path, const struct github_hook *h, struct err *e)
{
    int rc = github_path_hook(path, h, e);
    buf_append_cstr(path, "/deliveries");
    return rc;
}

int github_list_deliveries(struct github *g, const struct github_hook *h, const char *cursor,
                           github_delivery_fn *each, void *arg, char next[GITHUB_CURSOR_BYTES],
                           struct err *e)
{
    struct buf path;
    struct http_response r;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = log_path(&path, h, e);
    if (rc == 0) {
        buf_printf(&path, "?per_page=%d%s%s", GITHUB_PAGE_ITEMS,
                   cursor[0] != '\0' ? "&cursor=" : "", cursor);
        const struct github_call call = {
            .op = GITHUB_OP_LIST_DELIVERIES, .method = "GET", .path = path.data};
        rc = path.failed ? err_set(e, ERR_PERMANENT, 0, "the cursor of the deliveries is too long")
                         : github_call_hook(g, h, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return err_wrap(e, "listing webhook deliveries");
    }
    rc = github_parse_deliveries(buf_slice(&r.body), each, arg, e);
    if (rc == 0 && !github_next_cursor(http_header(&r, "link"), next, GITHUB_CURSOR_BYTES)) {
        next[0] = '\0';
    }
    http_response_fini(&r);
    return rc;
}

static int get_delivery(struct github *g, const struct github_hook *h, int64_t id,
                        struct http_response *r, struct err *e)
{
    struct buf path;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = log_path(&path, h, e);
    if (rc == 0) {
        buf_printf(&path, "/%" PRId64, id);
        const struct github_call call = {.op = GITHUB_OP_GET_DELIVERY,
                                         .method = "GET",
                                         .path = path.data,
                                         .limit_bytes = PAYLOAD_LIMIT_BYTES};
        rc = github_call_hook(g, h, &call, r, e);
    }
    buf_fini(&path);
    return rc == 0 ? 0 : err_wrap(e, "reading webhook delivery %" PRId64, id);
}

int github_delivery_payload(struct github *g, const struct github_hook *h, int64_t id,
                            struct buf *out, struct err *e)
{
    struct http_response r;
    if (get_delivery(g, h, id, &r, e) != 0) {
        return -1;
    }
    int rc = github_parse_payload(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

int github_delivery_repository(struct github *g, const struct github_hook *h, int64_t id,
                               char out[REPOSITORY_SIZE], struct err *e)
{
    struct http_response r;
    if (get_delivery(g, h, id, &r, e) != 0) {
        return -1;
    }
    int rc = github_parse_delivery_repository(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}

int github_redeliver(struct github *g, const struct github_hook *h, int64_t id, struct err *e)
{
    struct buf path;
    struct http_response r;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = log_path(&path, h, e);
    if (rc == 0) {
        buf_printf(&path, "/%" PRId64 "/attempts", id);
        const struct github_call call = {
            .op = GITHUB_OP_REDELIVER, .method = "POST", .path = path.data};
        rc = github_call_hook(g, h, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return err_wrap(e, "requesting redelivery of webhook delivery %" PRId64, id);
    }
    http_response_fini(&r);
    return 0;
}
