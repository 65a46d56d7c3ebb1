/*
 * A scope's connection to the service: REST gives a registration token, and that gives the service's address with a token of about
 * an hour. A registration token is as new as an installation's, and may be unknown to GitHub's other parts for
 * some seconds: a refusal is asked again, as GitHub's own client does.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/github/json.h"
#include "common/github/scale_sets/internal.h"

#define RENEW_BEFORE_MS 60000
#define UNKNOWN_LIFE_MS (INT64_C(10) * 60 * 1000)
#define REFUSED_TRIES 4
#define REFUSED_WAIT_MS 1000 /* the first wait, doubled each time */
#define ANSWER_LIMIT_BYTES ((size_t)256 * 1024)

void set_connection_fini(struct set_connection *c)
{
    if (c->token.data != NULL) {
        explicit_bzero(c->token.data, c->token.cap);
    }
    buf_fini(&c->token);
    buf_fini(&c->url);
}

static void connection_init(struct set_connection *c)
{
    buf_init(&c->url, SET_URL_BYTES / 2);
    buf_init(&c->token, GITHUB_TOKEN_BYTES);
}

int64_t set_token_expires_ms(struct slice jwt)
{
    struct slice head;
    struct slice rest;
    struct slice claims;
    struct buf padded;
    struct buf text;
    json_int_t seconds = 0;
    slice_cut(jwt, '.', &head, &rest);
    slice_cut(rest, '.', &claims, &rest);
    buf_init(&padded, GITHUB_TOKEN_BYTES + 4);
    buf_init(&text, GITHUB_TOKEN_BYTES);
    for (size_t i = 0; i < claims.len; i++) { /* to the alphabet that the decoder takes */
        char c = claims.ptr[i];
        buf_append_byte(&padded, c == '-' ? '+' : c == '_' ? '/' : c);
    }
    for (size_t i = claims.len; i % 4 != 0; i++) {
        buf_append_byte(&padded, '=');
    }
    if (!padded.failed && codec_unbase64(&text, buf_slice(&padded))) {
        json_t *root = github_json_load(buf_slice(&text));
        seconds = json_integer_value(json_object_get(root, "exp"));
        json_decref(root);
    }
    buf_fini(&padded);
    buf_fini(&text);
    return seconds > 0 && seconds < INT64_MAX / 1000 ? (int64_t)seconds * 1000 : -1;
}

int set_web_url(const char *api_url, const struct github_scope *s, struct buf *out, struct err *e)
{
    static const char api[] = "https://api.";
    static const char enterprise_server[] = "/api/v3";
    struct buf path;
    struct slice base = slice_of(api_url);
    size_t tail = sizeof enterprise_server - 1;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_scope(&path, s, e);
    if (rc == 0) {
        struct slice place = buf_slice(&path);
        size_t kind = slice_starts_with(place, SLICE("/orgs/"))    ? sizeof "/orgs" - 1
                      : slice_starts_with(place, SLICE("/repos/")) ? sizeof "/repos" - 1
                                                                   : 0;
        bool is_server =
            base.len > tail && memcmp(base.ptr + base.len - tail, enterprise_server, tail) == 0;
        base.len -= is_server ? tail : 0;
        if (slice_starts_with(base, SLICE("https://api."))) {
            buf_append_cstr(out, "https://");
            base = (struct slice){base.ptr + sizeof api - 1, base.len - (sizeof api - 1)};
        }
        buf_append(out, base);
        buf_append(out, (struct slice){place.ptr + kind, place.len - kind});
        rc = out->failed ? err_set(e, ERR_PERMANENT, 0, "github.api_url is too long") : 0;
    }
    buf_fini(&path);
    return rc;
}

static int get_registration_token(struct github *g, const struct github_scope *s, struct buf *token,
                                  struct err *e)
{
    struct http_response r;
    struct buf path;
    int64_t expires_ms;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_scope(&path, s, e);
    if (rc == 0) {
        buf_append_cstr(&path, "/actions/runners/registration-token");
        const struct github_call call = {.op = GITHUB_OP_CONNECT_SETS,
                                         .method = "POST",
                                         .path = path.data,
                                         .limit_bytes = ANSWER_LIMIT_BYTES};
        rc = github_call(g, s, &call, &r, e);
    }
    buf_fini(&path);
    if (rc == 0) {
        rc = github_parse_token(buf_slice(&r.body), token, &expires_ms, e);
        http_response_fini(&r);
    }
    return rc == 0 ? 0 : err_wrap(e, "registration token");
}

static void connect_body(const struct buf *url, struct buf *body)
{
    buf_append_cstr(body, "{\"url\":");
    buf_append_json(body, buf_slice(url));
    buf_append_cstr(body, ",\"runner_event\":\"register\"}");
}

int set_identity(struct github *g, const struct github_scope *s, struct github_identity **out,
                 struct err *e)
{
    struct github_choice c;
    if (github_choose(g, s, GITHUB_BY_SHARE, &c, e) != 0) {
        return -1;
    }
    *out = c.list[0];
    return 0;
}

static int ask_for_connection(struct github *g, const struct github_scope *s,
                              const struct buf *registration, struct set_connection *out,
                              struct err *e)
{
    struct github_identity *i = NULL;
    struct buf place;
    struct buf url;
    struct buf body;
    struct http_response r;
    buf_init(&place, SET_URL_BYTES);
    buf_init(&url, SET_URL_BYTES);
    buf_init(&body, SET_BODY_BYTES);
    int rc = set_identity(g, s, &i, e) == 0 ? set_web_url(i->api_url, s, &place, e) : -1;
    if (rc == 0) {
        connect_body(&place, &body);
        buf_printf(&url, "%s/actions/runner-registration", i->api_url);
        const struct set_request q = {.operation = "scale_set",
                                      .method = "POST",
                                      .url = url.data,
                                      .scheme = "RemoteAuth",
                                      .token = buf_slice(registration),
                                      .body = buf_slice(&body),
                                      .limit_bytes = ANSWER_LIMIT_BYTES};
        rc = set_send(g, &q, &r, e);
    }
    buf_fini(&place);
    buf_fini(&url);
    buf_fini(&body);
    if (rc == 0) {
        rc = set_parse_connection(set_text(&r), out, e);
        http_response_fini(&r);
    }
    return rc == 0 ? 0 : err_wrap(e, "connecting to the service of scale sets");
}

static int connect_once(struct github *g, const struct github_scope *s, struct set_connection *out,
                        struct err *e)
{
    struct buf registration;
    buf_init(&registration, GITHUB_TOKEN_BYTES);
    int rc = get_registration_token(g, s, &registration, e);
    for (int try = 1; rc == 0; try++) {
        rc = ask_for_connection(g, s, &registration, out, e);
        if (rc == 0 || e->class != ERR_AUTH || try == REFUSED_TRIES) {
            break;
        }
        clock_sleep_until(clock_mono_ms() + ((int64_t)REFUSED_WAIT_MS << (try - 1)));
        rc = 0;
    }
    if (registration.data != NULL) {
        explicit_bzero(registration.data, registration.cap);
    }
    buf_fini(&registration);
    return rc;
}

struct wanted {
    struct github *g;
    const struct github_scope *scope;
};

/* The value is the address and the token in two lines. */
static int fetch_connection(void *arg, struct github_fetched *out, struct err *e)
{
    const struct wanted *w = arg;
    struct set_connection c;
    connection_init(&c);
    int rc = connect_once(w->g, w->scope, &c, e);
    if (rc == 0) {
        int64_t now_ms = clock_wall_ms();
        int64_t expires_ms = set_token_expires_ms(buf_slice(&c.token));
        out->valid_ms = expires_ms > now_ms ? expires_ms : now_ms + UNKNOWN_LIFE_MS;
        out->fresh_ms = out->valid_ms - RENEW_BEFORE_MS;
        buf_append(&out->value, buf_slice(&c.url));
        buf_append_byte(&out->value, '\n');
        buf_append(&out->value, buf_slice(&c.token));
    }
    set_connection_fini(&c);
    return rc;
}

static void key_of(const struct github_scope *s, char out[CACHE_KEY_BYTES])
{
    (void)snprintf(out, CACHE_KEY_BYTES, "connection/%s", s->name);
}

int set_connection_get(struct github *g, const struct github_scope *s, struct set_connection *out,
                       struct err *e)
{
    char key[CACHE_KEY_BYTES];
    struct buf value;
    struct slice url;
    struct slice token;
    struct wanted w = {g, s};
    key_of(s, key);
    connection_init(out);
    buf_init(&value, SET_URL_BYTES + GITHUB_TOKEN_BYTES);
    int rc = github_cache_get(g->sets, key, fetch_connection, &w, &value, NULL, e);
    if (rc == 0) {
        slice_cut(buf_slice(&value), '\n', &url, &token);
        buf_append(&out->url, url);
        buf_append(&out->token, token);
    } else {
        set_connection_fini(out);
    }
    if (value.data != NULL) {
        explicit_bzero(value.data, value.cap);
    }
    buf_fini(&value);
    return rc;
}

void set_connection_drop(struct github *g, const struct github_scope *s,
                         const struct set_connection *c)
{
    char key[CACHE_KEY_BYTES];
    struct buf value;
    key_of(s, key);
    buf_init(&value, SET_URL_BYTES + GITHUB_TOKEN_BYTES);
    buf_append(&value, buf_slice(&c->url));
    buf_append_byte(&value, '\n');
    buf_append(&value, buf_slice(&c->token));
    github_cache_drop(g->sets, key, buf_slice(&value));
    if (value.data != NULL) {
        explicit_bzero(value.data, value.cap);
    }
    buf_fini(&value);
}
