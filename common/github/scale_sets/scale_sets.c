#include "common/github/scale_sets/scale_sets.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/github/scale_sets/internal.h"

#define SETS "/_apis/runtime/runnerscalesets"
#define GROUPS "/_apis/runtime/runnergroups/"
#define AGENTS "/_apis/distributedtask/pools/0/agents"
#define DEFAULT_GROUP 1
#define POLL_TIMEOUT_MS 100000 /* GitHub answers after about 50 s */
#define CLOSE_TIMEOUT_MS 5000
#define ID_FRESH_MS (INT64_C(10) * 60 * 1000)
#define ID_VALID_MS (INT64_C(30) * 60 * 1000)
#define ANSWER_LIMIT_BYTES ((size_t)1024 * 1024)
#define MESSAGE_LIMIT_BYTES ((size_t)4 * 1024 * 1024)
#define ACQUIRE_BYTES ((size_t)16 * 1024)

struct github_set_session {
    struct github *g;
    struct github_scope scope;
    int64_t set_id;
    int64_t last_message; /* that was deleted: one that was only read must come again */
    struct set_session_facts facts;
};

/* --- the set ---------------------------------------------------------------------------------- */

/* One call, and what `read` finds in its response. */
typedef int read_fn(struct slice body, int64_t *out, struct err *e);

static int call_for_number(struct github *g, const struct github_scope *s,
                           const struct set_call *call, read_fn *read, int64_t *out, struct err *e)
{
    struct http_response r;
    if (set_call(g, s, call, &r, e) != 0) {
        return -1;
    }
    int rc = read(set_text(&r), out, e);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

static int group_id(struct github *g, const struct github_scale_set *set, int64_t *out,
                    struct err *e)
{
    struct buf path;
    *out = DEFAULT_GROUP;
    if (set->scope.is_repository || strcasecmp(set->group, "default") == 0) {
        return 0;
    }
    buf_init(&path, SET_URL_BYTES / 2);
    buf_append_cstr(&path, GROUPS "?groupName=");
    codec_percent(&path, slice_of(set->group));
    const struct set_call call = {.operation = "scale_set",
                                  .method = "GET",
                                  .path = path.data,
                                  .limit_bytes = ANSWER_LIMIT_BYTES};
    int rc = call_for_number(g, &set->scope, &call, set_parse_first_id, out, e);
    buf_fini(&path);
    if (rc == 0 && *out == 0) {
        (void)err_set(e, ERR_PERMANENT, 0,
                      "%s has no runner group \"%s\": create it there (Settings, Actions, Runner "
                      "groups), or name another in sources[].runner_group",
                      set->scope.name, set->group);
        return err_said_by(e, ERR_FROM_GITHUB);
    }
    return rc;
}

/* *out 0: there is none. */
static int find_set(struct github *g, const struct github_scale_set *set, int64_t group,
                    int64_t *out, struct err *e)
{
    struct buf path;
    buf_init(&path, SET_URL_BYTES / 2);
    buf_printf(&path, SETS "?runnerGroupId=%" PRId64 "&name=", group);
    codec_percent(&path, slice_of(set->name));
    const struct set_call call = {.operation = "scale_set",
                                  .method = "GET",
                                  .path = path.data,
                                  .limit_bytes = ANSWER_LIMIT_BYTES};
    int rc = call_for_number(g, &set->scope, &call, set_parse_first_id, out, e);
    buf_fini(&path);
    return rc;
}

/* Its runners are of the image, which is built anew for each release of the runner; one that updated itself would start its
 * job late. */
static int create_set(struct github *g, const struct github_scale_set *set, int64_t group,
                      int64_t *out, struct err *e)
{
    struct buf body;
    buf_init(&body, SET_BODY_BYTES);
    buf_append_cstr(&body, "{\"name\":");
    buf_append_json(&body, slice_of(set->name));
    buf_printf(&body,
               ",\"runnerGroupId\":%" PRId64 ",\"labels\":[{\"type\":\"System\",\"name\":", group);
    buf_append_json(&body, slice_of(set->name));
    buf_append_cstr(&body, "}],\"RunnerSetting\":{\"disableUpdate\":true}}");
    const struct set_call call = {.operation = "scale_set",
                                  .method = "POST",
                                  .path = SETS,
                                  .body = buf_slice(&body),
                                  .limit_bytes = ANSWER_LIMIT_BYTES};
    int rc = call_for_number(g, &set->scope, &call, set_parse_id, out, e);
    buf_fini(&body);
    return rc;
}

static int no_such_set(const struct github_scale_set *set, struct err *e)
{
    (void)err_set(e, ERR_NOT_FOUND, 404,
                  "%s has no scale set \"%s\" in the runner group \"%s\": mayfly-reaper creates it",
                  set->scope.name, set->name, set->scope.is_repository ? "Default" : set->group);
    return err_said_by(e, ERR_FROM_GITHUB);
}

struct wanted {
    struct github *g;
    const struct github_scale_set *set;
};

static int fetch_set_id(void *arg, struct github_fetched *out, struct err *e)
{
    const struct wanted *w = arg;
    int64_t group;
    int64_t id;
    if (group_id(w->g, w->set, &group, e) != 0 || find_set(w->g, w->set, group, &id, e) != 0) {
        return -1;
    }
    if (id == 0) {
        return no_such_set(w->set, e);
    }
    buf_append_int(&out->value, id);
    out->fresh_ms = clock_wall_ms() + ID_FRESH_MS;
    out->valid_ms = clock_wall_ms() + ID_VALID_MS;
    return 0;
}

static void id_key(const struct github_scale_set *set, char out[CACHE_KEY_BYTES])
{
    (void)snprintf(out, CACHE_KEY_BYTES, "set/%s/%.100s/%.64s", set->scope.name, set->group,
                   set->name);
}

/* text: the id as the cache has it, to drop it. */
static int get_set_id(struct github *g, const struct github_scale_set *set, struct buf *text,
                      bool *cached, struct err *e)
{
    char key[CACHE_KEY_BYTES];
    struct wanted w = {g, set};
    id_key(set, key);
    return github_cache_get(g->sets, key, fetch_set_id, &w, text, cached, e);
}

static int ensure_set(struct github *g, const struct github_scale_set *set, int64_t *id,
                      struct err *e)
{
    int64_t group;
    if (group_id(g, set, &group, e) != 0 || find_set(g, set, group, id, e) != 0) {
        return -1;
    }
    return *id != 0 ? 0 : create_set(g, set, group, id, e);
}

int github_set_exists(struct github *g, const struct github_scale_set *set, bool *exists,
                      struct err *e)
{
    int64_t group;
    int64_t id;
    if (group_id(g, set, &group, e) != 0 || find_set(g, set, group, &id, e) != 0) {
        return -1;
    }
    *exists = id != 0;
    return 0;
}

/* --- the session ------------------------------------------------------------------------------ */

static int call_session(struct github *g, const struct github_scope *scope, const char *method,
                        const char *path, struct slice body, struct set_session_facts *out,
                        struct err *e)
{
    struct http_response r;
    const struct set_call call = {.operation = "scale_set",
                                  .method = method,
                                  .path = path,
                                  .body = body,
                                  .limit_bytes = ANSWER_LIMIT_BYTES};
    if (set_call(g, scope, &call, &r, e) != 0) {
        return -1;
    }
    int rc = set_parse_session(set_text(&r), out, e);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

static int open_session(struct github *g, const struct github_scale_set *set, int64_t id,
                        const char *owner, struct set_session_facts *out, struct err *e)
{
    char path[128];
    struct buf body;
    buf_init(&body, SET_BODY_BYTES);
    buf_append_cstr(&body, "{\"ownerName\":");
    buf_append_json(&body, slice_of(owner));
    buf_append_byte(&body, '}');
    (void)snprintf(path, sizeof path, SETS "/%" PRId64 "/sessions", id);
    int rc = call_session(g, &set->scope, "POST", path, buf_slice(&body), out, e);
    buf_fini(&body);
    return rc;
}

int github_set_open(struct github *g, const struct github_scale_set *set, const char *owner,
                    struct github_set_statistics *statistics, struct github_set_session **out,
                    struct err *e)
{
    struct set_session_facts facts;
    int64_t id = 0;
    if (ensure_set(g, set, &id, e) != 0 || open_session(g, set, id, owner, &facts, e) != 0) {
        return err_wrap(e, "scale set %s of %s", set->name, set->scope.name);
    }
    struct github_set_session *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    *s = (struct github_set_session){.g = g, .scope = set->scope, .set_id = id, .facts = facts};
    *statistics = facts.statistics;
    *out = s;
    return 0;
}

static void session_path(const struct github_set_session *s, char out[256])
{
    (void)snprintf(out, 256, SETS "/%" PRId64 "/sessions/%s", s->set_id, s->facts.id);
}

/* Its token has expired. */
static int renew_session(struct github_set_session *s, struct err *e)
{
    char path[256];
    struct set_session_facts facts;
    session_path(s, path);
    if (call_session(s->g, &s->scope, "PATCH", path, (struct slice){NULL, 0}, &facts, e) != 0) {
        return err_wrap(e, "renewing the session");
    }
    set_session_facts_fini(&s->facts);
    s->facts = facts;
    return 0;
}

void github_set_close(struct github_set_session *s)
{
    char path[256];
    struct err ignored;
    struct http_response r;
    if (s == NULL) {
        return;
    }
    session_path(s, path);
    const struct set_call call = {.operation = "scale_set",
                                  .method = "DELETE",
                                  .path = path,
                                  .limit_bytes = ANSWER_LIMIT_BYTES,
                                  .timeout_ms = CLOSE_TIMEOUT_MS};
    if (set_call(s->g, &s->scope, &call, &r, &ignored) == 0) {
        http_response_fini(&r);
    }
    set_session_facts_fini(&s->facts);
    free(s);
}

/* --- its messages ----------------------------------------------------------------------------- */

/* Where a call with the session's token goes. */
enum place { AT_QUEUE, AT_MESSAGE, AT_SET };

struct queue_call {
    const char *method;
    enum place place;
    int64_t message; /* that is deleted; at the queue: the last one that was read */
    int64_t capacity;
    struct slice body;
    http_wait_fn *wait;
    void *wait_arg;
};

/* A message's path comes before the query that the queue's address has. */
static void queue_url(const struct github_set_session *s, const struct queue_call *call,
                      struct buf *out)
{
    struct slice path;
    struct slice query;
    bool has_query = slice_cut(buf_slice(&s->facts.url), '?', &path, &query);
    buf_append(out, path);
    if (call->place == AT_MESSAGE) {
        buf_printf(out, "/%" PRId64, call->message);
    }
    if (has_query) {
        buf_append_byte(out, '?');
        buf_append(out, query);
    }
    if (call->place == AT_QUEUE && call->message > 0) {
        buf_printf(out, "%clastMessageId=%" PRId64, has_query ? '&' : '?', call->message);
    }
}

static int set_url(struct github_set_session *s, struct buf *out, struct err *e)
{
    struct set_connection c;
    if (set_connection_get(s->g, &s->scope, &c, e) != 0) {
        return -1;
    }
    buf_printf(out, "%s" SETS "/%" PRId64 "/acquirejobs?api-version=" SET_API_VERSION, c.url.data,
               s->set_id);
    set_connection_fini(&c);
    return 0;
}

static int send_once(struct github_set_session *s, const struct queue_call *call,
                     struct http_response *out, struct err *e)
{
    char capacity[64];
    struct buf url;
    int rc = 0;
    buf_init(&url, SET_URL_BYTES);
    if (call->place == AT_SET) {
        rc = set_url(s, &url, e);
    } else {
        queue_url(s, call, &url);
    }
    if (rc == 0 && url.failed) {
        rc = err_set(e, ERR_PERMANENT, 0, "the address of the set's messages is too long");
    }
    if (rc == 0) {
        bool polls = call->place == AT_QUEUE;
        (void)snprintf(capacity, sizeof capacity, "X-ScaleSetMaxCapacity: %" PRId64,
                       call->capacity);
        const struct set_request q = {.operation = polls ? NULL : "scale_set",
                                      .method = call->method,
                                      .url = url.data,
                                      .scheme = "Bearer",
                                      .token = buf_slice(&s->facts.token),
                                      .header = polls ? capacity : NULL,
                                      .body = call->body,
                                      .limit_bytes = MESSAGE_LIMIT_BYTES,
                                      .timeout_ms = polls ? POLL_TIMEOUT_MS : 0,
                                      .wait = call->wait,
                                      .wait_arg = call->wait_arg};
        rc = set_send(s->g, &q, out, e);
    }
    buf_fini(&url);
    return rc;
}

static int call_queue(struct github_set_session *s, const struct queue_call *call,
                      struct http_response *out, struct err *e)
{
    int rc = send_once(s, call, out, e);
    if (rc == 0 || e->code != 401) {
        return rc;
    }
    return renew_session(s, e) == 0 ? send_once(s, call, out, e) : -1;
}

int github_set_poll(struct github_set_session *s, int64_t capacity, http_wait_fn *wait,
                    void *wait_arg, struct github_set_message *m, struct err *e)
{
    struct http_response r;
    const struct queue_call call = {.method = "GET",
                                    .place = AT_QUEUE,
                                    .message = s->last_message,
                                    .capacity = capacity,
                                    .wait = wait,
                                    .wait_arg = wait_arg};
    if (call_queue(s, &call, &r, e) != 0) {
        return -1;
    }
    *m = (struct github_set_message){.id = 0};
    struct slice text = set_text(&r);
    int rc = r.status == 202 || text.len == 0 ? 0 : set_parse_message(text, m, e);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

int github_set_delete_message(struct github_set_session *s, int64_t id, struct err *e)
{
    struct http_response r;
    const struct queue_call call = {.method = "DELETE", .place = AT_MESSAGE, .message = id};
    if (call_queue(s, &call, &r, e) != 0) {
        return -1;
    }
    http_response_fini(&r);
    s->last_message = id;
    return 0;
}

int github_set_acquire(struct github_set_session *s, const int64_t *request_ids, size_t n,
                       struct err *e)
{
    struct buf body;
    struct http_response r;
    buf_init(&body, ACQUIRE_BYTES);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&body, "%c%" PRId64, i == 0 ? '[' : ',', request_ids[i]);
    }
    buf_append_byte(&body, ']');
    const struct queue_call call = {.method = "POST", .place = AT_SET, .body = buf_slice(&body)};
    int rc = n == 0 ? 0 : call_queue(s, &call, &r, e);
    buf_fini(&body);
    if (rc == 0 && n > 0) {
        http_response_fini(&r);
    }
    return rc;
}

/* --- runners ---------------------------------------------------------------------------------- */

/* A runner of that name is left of an earlier attempt whose response was lost. */
static int remove_leftover(struct github *g, const struct github_scope *s, const char *name,
                           struct err *e)
{
    int64_t id = 0;
    struct http_response r;
    char path[256];
    (void)snprintf(path, sizeof path, AGENTS "?agentName=%s", name);
    struct set_call call = {
        .operation = "scale_set", .method = "GET", .path = path, .limit_bytes = ANSWER_LIMIT_BYTES};
    if (call_for_number(g, s, &call, set_parse_first_id, &id, e) != 0) {
        return -1;
    }
    if (id == 0) {
        return 0;
    }
    (void)snprintf(path, sizeof path, AGENTS "/%" PRId64, id);
    call.method = "DELETE";
    call.operation = "delete_runner";
    if (set_call(g, s, &call, &r, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    http_response_fini(&r);
    return 0;
}

static int register_in(struct github *g, const struct github_scale_set *set, struct slice set_id,
                       const char *name, struct github_jit *out, struct err *e)
{
    char path[128];
    struct buf body;
    struct http_response r;
    buf_init(&body, SET_BODY_BYTES);
    buf_append_cstr(&body, "{\"name\":");
    buf_append_json(&body, slice_of(name));
    buf_append_cstr(&body, ",\"workFolder\":\"_work\"}");
    (void)snprintf(path, sizeof path, SETS "/%.*s/generatejitconfig", SLICE_ARG(set_id));
    const struct set_call call = {.operation = "register_runner",
                                  .method = "POST",
                                  .path = path,
                                  .body = buf_slice(&body),
                                  .limit_bytes = ANSWER_LIMIT_BYTES};
    struct github_identity *i = NULL;
    int rc = set_identity(g, &set->scope, &i, e);
    rc = rc == 0 ? github_registration_turn(g, i, &set->scope, e) : rc;
    rc = rc == 0 ? set_call(g, &set->scope, &call, &r, e) : rc;
    buf_fini(&body);
    if (rc != 0) {
        return -1;
    }
    rc = set_parse_jit(set_text(&r), out, e);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

/* A set that was deleted and created again has another id: a 404 with one from the cache is asked again with a new one. */
static int register_once(struct github *g, const struct github_scale_set *set, const char *name,
                         struct github_jit *out, struct err *e)
{
    int rc = -1;
    bool again = false;
    for (int tries = 0; tries == 0 || again; tries++) {
        char key[CACHE_KEY_BYTES];
        struct buf id;
        bool cached = false;
        buf_init(&id, 32);
        rc = get_set_id(g, set, &id, &cached, e);
        rc = rc == 0 ? register_in(g, set, buf_slice(&id), name, out, e) : -1;
        bool unknown = rc != 0 && e->class == ERR_NOT_FOUND;
        if (unknown) {
            id_key(set, key);
            github_cache_drop(g->sets, key, buf_slice(&id));
        }
        again = unknown && cached && tries == 0;
        buf_fini(&id);
    }
    return rc;
}

int github_set_register_runner(struct github *g, const struct github_scale_set *set,
                               const char *name, struct github_jit *out, struct err *e)
{
    int rc = register_once(g, set, name, out, e);
    if (rc != 0 && e->class == ERR_CONFLICT) {
        rc = remove_leftover(g, &set->scope, name, e);
        rc = rc == 0 ? register_once(g, set, name, out, e) : rc;
    }
    return rc == 0 ? 0 : err_wrap(e, "registering runner %s in the scale set %s", name, set->name);
}
