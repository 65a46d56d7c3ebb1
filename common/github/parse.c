#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/internal.h"
#include "common/github/json.h"
#include "common/job/event.h"

#define JIT_CONFIG_BYTES_MAX (128u * 1024)

/* NULL unless the body is one JSON object. */
static json_t *load_object(struct slice body)
{
    json_t *root = github_json_load(body);
    if (root != NULL && !json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* A member that is a positive integer; 0 otherwise. */
static int64_t positive_member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    int64_t number = json_is_integer(value) ? (int64_t)json_integer_value(value) : 0;
    return number > 0 ? number : 0;
}

static bool read_runner(const json_t *item, struct github_runner *out)
{
    *out = (struct github_runner){.id = positive_member(item, "id")};
    github_json_copy(item, "name", out->name, sizeof out->name);
    out->online = slice_eq_cstr(github_json_text(item, "status"), "online");
    out->busy = json_is_true(json_object_get(item, "busy"));
    return out->id > 0;
}

int github_parse_runner(struct slice body, struct github_runner *out, struct err *e)
{
    struct github_runner r;
    json_t *root = load_object(body);
    bool ok = root != NULL && read_runner(root, &r);
    json_decref(root);
    if (!ok) {
        return github_json_senseless(e, "runner");
    }
    *out = r;
    return 0;
}

int github_parse_runners(struct slice body, github_runner_fn *each, void *arg,
                         struct github_page *out, struct err *e)
{
    json_t *root = load_object(body);
    const json_t *list = json_object_get(root, "runners");
    struct github_page page = {.count = json_array_size(list),
                               .total = json_integer_value(json_object_get(root, "total_count"))};
    int rc = json_is_array(list) ? 0 : github_json_senseless(e, "list of runners");
    for (size_t i = 0; i < page.count && !page.stopped; i++) {
        struct github_runner r;
        if (read_runner(json_array_get(list, i), &r)) {
            page.stopped = each(arg, &r) != 0;
        }
    }
    json_decref(root);
    if (rc == 0) {
        *out = page;
    }
    return rc;
}

static bool is_base64_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("+/=-_", c) == NULL)) {
            return false;
        }
    }
    return s.len > 0 && s.len <= JIT_CONFIG_BYTES_MAX;
}

int github_parse_jit(struct slice body, struct github_jit *out, struct err *e)
{
    int rc = 0;
    json_t *root = load_object(body);
    int64_t id = positive_member(json_object_get(root, "runner"), "id");
    struct slice config = github_json_text(root, "encoded_jit_config");
    if (id == 0 || !is_base64_text(config)) {
        rc = github_json_senseless(e, "JIT configuration");
    } else {
        *out = (struct github_jit){.runner_id = id, .config = slice_dup(config)};
    }
    json_decref(root);
    return rc;
}

int github_parse_groups(struct slice body, const char *name, struct github_group *out,
                        size_t *count, struct err *e)
{
    json_t *root = load_object(body);
    const json_t *list = json_object_get(root, "runner_groups");
    if (!json_is_array(list)) {
        json_decref(root);
        return github_json_senseless(e, "list of runner groups");
    }
    struct github_group found = {.id = 0};
    for (size_t i = 0; i < json_array_size(list) && found.id == 0; i++) {
        const json_t *item = json_array_get(list, i);
        if (slice_eq_nocase(github_json_text(item, "name"), slice_of(name))) {
            found.id = positive_member(item, "id");
            found.allows_public =
                !json_is_false(json_object_get(item, "allows_public_repositories"));
            github_json_copy(item, "visibility", found.visibility, sizeof found.visibility);
        }
    }
    *out = found;
    *count = json_array_size(list);
    json_decref(root);
    return 0;
}

static void read_labels(const json_t *list, char out[JOB_LABELS_SIZE])
{
    struct slice labels[JOB_LABELS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < JOB_LABELS_MAX; i++) {
        const json_t *item = json_array_get(list, i);
        if (json_is_string(item)) {
            labels[n++] = (struct slice){json_string_value(item), json_string_length(item)};
        }
    }
    if (json_array_size(list) > JOB_LABELS_MAX) {
        labels[n - 1] = SLICE(JOB_LABELS_CUT);
    }
    job_labels_join(labels, n, out);
}

static int64_t time_member(const json_t *object, const char *key)
{
    char text[40];
    github_json_copy(object, key, text, sizeof text);
    int64_t at_ms = clock_parse_utc(text);
    return at_ms > 0 ? at_ms : 0;
}

int github_parse_job(struct slice body, struct github_job *out, struct err *e)
{
    json_t *root = load_object(body);
    struct github_job job = {.id = positive_member(root, "id"),
                             .run_id = positive_member(root, "run_id"),
                             .created_ms = time_member(root, "created_at")};
    read_labels(json_object_get(root, "labels"), job.labels);
    github_json_copy(root, "status", job.status, sizeof job.status);
    github_json_copy(root, "conclusion", job.conclusion, sizeof job.conclusion);
    github_json_copy(root, "runner_name", job.runner_name, sizeof job.runner_name);
    github_json_copy(root, "head_sha", job.head_sha, sizeof job.head_sha);
    job.runner_id = positive_member(root, "runner_id");
    json_decref(root);
    if (job.id == 0 || job.status[0] == '\0') {
        return github_json_senseless(e, "workflow job");
    }
    *out = job;
    return 0;
}

int github_parse_installation(struct slice body, int64_t *id, struct err *e)
{
    json_t *root = load_object(body);
    int64_t found = positive_member(root, "id");
    json_decref(root);
    if (found == 0) {
        return github_json_senseless(e, "installation of the App");
    }
    *id = found;
    return 0;
}

/* It becomes part of a header: only visible ASCII. GitHub does not define its form and length. */
static bool is_access_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~') {
            return false;
        }
    }
    return s.len > 0 && s.len <= GITHUB_TOKEN_BYTES;
}

int github_parse_token(struct slice body, struct buf *token, int64_t *expires_ms, struct err *e)
{
    int rc = 0;
    char expires[40];
    json_t *root = load_object(body);
    struct slice text = github_json_text(root, "token");
    if (!is_access_token(text)) {
        rc = github_json_senseless(e, "installation token");
    } else {
        buf_append(token, text);
        github_json_copy(root, "expires_at", expires, sizeof expires);
        *expires_ms = clock_parse_utc(expires);
    }
    json_decref(root);
    return rc;
}

bool github_more_pages(struct slice link, size_t count)
{
    if (count == 0) {
        return false; /* despite the header: the listing would never end */
    }
    if (link.len == 0) {
        return count >= GITHUB_PAGE_ITEMS;
    }
    struct slice one;
    while (link.len > 0) {
        slice_cut(link, ',', &one, &link);
        if (one.len > 0 && memmem(one.ptr, one.len, "rel=\"next\"", 10) != NULL) {
            return true;
        }
    }
    return false;
}

void github_printable(struct slice in, char *out, size_t size)
{
    size_t n = 0;
    for (; n + 1 < size && n < in.len; n++) {
        out[n] = in.ptr[n] >= ' ' && in.ptr[n] <= '~' ? in.ptr[n] : '?';
    }
    out[n] = '\0';
}

void github_parse_message(struct slice body, char *out, size_t size)
{
    json_t *root = load_object(body);
    github_printable(github_json_text(root, "message"), out, size);
    json_decref(root);
}
