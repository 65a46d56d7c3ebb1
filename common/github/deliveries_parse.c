/* Parsers of responses about webhook deliveries. All accept any bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/url_options.h"
#include "common/github/internal.h"
#include "common/github/json.h"

static int64_t integer_member(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

/* GitHub's documentation defines a failed delivery by a status other than "OK". The code is checked
 * too, since a redirect does not accept a delivery. */
static bool read_delivery(const json_t *item, struct github_delivery *out)
{
    char status[16];
    char delivered[40];
    int64_t code = integer_member(item, "status_code");
    *out = (struct github_delivery){.id = integer_member(item, "id"),
                                    .repository_id = integer_member(item, "repository_id"),
                                    .installation_id = integer_member(item, "installation_id")};
    github_json_copy(item, "guid", out->guid, sizeof out->guid);
    github_json_copy(item, "event", out->event, sizeof out->event);
    github_json_copy(item, "action", out->action, sizeof out->action);
    github_json_copy(item, "status", status, sizeof status);
    github_json_copy(item, "delivered_at", delivered, sizeof delivered);
    out->delivered_ms = clock_parse_utc(delivered);
    out->redelivery = json_is_true(json_object_get(item, "redelivery"));
    out->status_code = code >= 0 && code < 1000 ? (int)code : 0;
    out->ok = out->status_code >= 200 && out->status_code < 300 && strcmp(status, "OK") == 0;
    return out->id > 0 && out->guid[0] != '\0' && out->delivered_ms > 0;
}

int github_parse_deliveries(struct slice body, github_delivery_fn *each, void *arg, struct err *e)
{
    json_t *root = github_json_load(body);
    int rc = json_is_array(root) ? 0 : github_json_senseless(e, "list of webhook deliveries");
    bool stopped = false;
    for (size_t i = 0; rc == 0 && i < json_array_size(root) && !stopped; i++) {
        struct github_delivery d;
        if (read_delivery(json_array_get(root, i), &d)) {
            stopped = each(arg, &d) != 0;
        }
    }
    json_decref(root);
    return rc;
}

int github_parse_payload(struct slice body, struct buf *out, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *payload = json_object_get(json_object_get(root, "request"), "payload");
    int rc = 0;
    if (!json_is_object(root)) {
        rc = github_json_senseless(e, "webhook delivery");
    } else if (!json_is_object(payload)) {
        rc = err_set(e, ERR_NOT_FOUND, 0, "GitHub returned the delivery without its payload");
    } else {
        char *text = json_dumps(payload, JSON_COMPACT);
        ASSERT(text != NULL);
        buf_append_cstr(out, text);
        free(text);
        rc = out->failed ? err_set(e, ERR_PERMANENT, 0, "the delivery's payload is too large") : 0;
    }
    json_decref(root);
    return rc;
}

int github_parse_delivery_repository(struct slice body, char out[REPOSITORY_SIZE], struct err *e)
{
    char name[REPOSITORY_SIZE];
    json_t *root = github_json_load(body);
    const json_t *payload = json_object_get(json_object_get(root, "request"), "payload");
    int rc = json_is_object(root) ? 0 : github_json_senseless(e, "webhook delivery");
    github_json_copy(json_object_get(payload, "repository"), "full_name", name, sizeof name);
    if (rc == 0 && strchr(name, '/') == NULL) {
        rc = err_set(e, ERR_NOT_FOUND, 0, "GitHub returned the delivery without its repository");
    }
    if (rc == 0) {
        memcpy(out, name, sizeof name);
    }
    json_decref(root);
    return rc;
}

/* --- Link: <https://…/deliveries?per_page=100&cursor=v1_123>; rel="next" (RFC 8288) --- */

/* The query of the address between angle brackets. */
static struct slice query_of(struct slice link)
{
    struct slice before;
    struct slice address;
    struct slice query = {NULL, 0};
    if (slice_cut(link, '<', &before, &address)) {
        slice_cut(address, '>', &address, &before);
        slice_cut(address, '?', &before, &query);
    }
    return query;
}

/* The cursor is sent back unchanged. */
static bool is_query_value(struct slice s)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%=+/:,";
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || strchr(allowed, s.ptr[i]) == NULL) {
            return false;
        }
    }
    return s.len > 0;
}

static bool cursor_in(struct slice query, char *out, size_t size)
{
    struct slice key;
    struct slice value;
    while (url_next_parameter(&query, &key, &value)) {
        if (slice_eq(key, SLICE("cursor"))) {
            return is_query_value(value) && slice_to_cstr(value, out, size);
        }
    }
    return false;
}

bool github_next_cursor(struct slice link, char *out, size_t size)
{
    struct slice one;
    while (link.len > 0) {
        slice_cut(link, ',', &one, &link);
        if (one.len > 0 && memmem(one.ptr, one.len, "rel=\"next\"", 10) != NULL) {
            return cursor_in(query_of(one), out, size);
        }
    }
    return false;
}
