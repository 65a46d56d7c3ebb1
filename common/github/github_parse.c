#include <jansson.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/github_internal.h"

#define JIT_CONFIG_BYTES_MAX (128u * 1024)

static int senseless(struct err *e, const char *what)
{
    return err_set(e, ERR_RETRY, 0,
                   "GitHub's answer is no %s: try again; if it stays so, check github.api_url",
                   what);
}

/* NULL unless the body is one JSON object. */
static json_t *load_object(struct slice body)
{
    json_t *root = json_loadb(body.len > 0 ? body.ptr : "", body.len, 0, NULL);
    if (root != NULL && !json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* A member that is an integer above zero; 0 otherwise. */
static int64_t positive(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    int64_t number = json_is_integer(value) ? (int64_t)json_integer_value(value) : 0;
    return number > 0 ? number : 0;
}

/* The empty slice when it is no string. Borrows from the object. */
static struct slice text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : (struct slice){NULL, 0};
}

/* A text that is longer than its place is none that we know: "" then. */
static void copy_text(const json_t *object, const char *key, char *out, size_t size)
{
    bool fits = slice_to_cstr(text_of(object, key), out, size);
    (void)fits;
}

static bool read_runner(const json_t *item, struct github_runner *out)
{
    *out = (struct github_runner){.id = positive(item, "id")};
    copy_text(item, "name", out->name, sizeof out->name);
    out->online = slice_eq_cstr(text_of(item, "status"), "online");
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
        return senseless(e, "runner");
    }
    *out = r;
    return 0;
}

int github_parse_runners(struct slice body, github_runner_fn *each, void *arg,
                         struct github_page *out, struct err *e)
{
    json_t *root = load_object(body);
    const json_t *list = json_object_get(root, "runners");
    struct github_page page = {.count = json_array_size(list)};
    int rc = json_is_array(list) ? 0 : senseless(e, "list of runners");
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
    int64_t id = positive(json_object_get(root, "runner"), "id");
    struct slice config = text_of(root, "encoded_jit_config");
    if (id == 0 || !is_base64_text(config)) {
        rc = senseless(e, "JIT configuration");
    } else {
        *out = (struct github_jit){.runner_id = id, .config = slice_dup(config)};
    }
    json_decref(root);
    return rc;
}

int github_parse_groups(struct slice body, const char *name, int64_t *id, size_t *count,
                        struct err *e)
{
    json_t *root = load_object(body);
    const json_t *list = json_object_get(root, "runner_groups");
    if (!json_is_array(list)) {
        json_decref(root);
        return senseless(e, "list of runner groups");
    }
    int64_t found = 0;
    for (size_t i = 0; i < json_array_size(list) && found == 0; i++) {
        const json_t *item = json_array_get(list, i);
        if (slice_eq_nocase(text_of(item, "name"), slice_of(name))) {
            found = positive(item, "id");
        }
    }
    *id = found;
    *count = json_array_size(list);
    json_decref(root);
    return 0;
}

int github_parse_job(struct slice body, struct github_job *out, struct err *e)
{
    json_t *root = load_object(body);
    struct github_job job = {.id = positive(root, "id")};
    copy_text(root, "status", job.status, sizeof job.status);
    copy_text(root, "conclusion", job.conclusion, sizeof job.conclusion);
    copy_text(root, "runner_name", job.runner_name, sizeof job.runner_name);
    job.runner_id = positive(root, "runner_id");
    json_decref(root);
    if (job.id == 0 || job.status[0] == '\0') {
        return senseless(e, "workflow job");
    }
    *out = job;
    return 0;
}

int github_parse_installation(struct slice body, int64_t *id, struct err *e)
{
    json_t *root = load_object(body);
    int64_t found = positive(root, "id");
    json_decref(root);
    if (found == 0) {
        return senseless(e, "installation of the App");
    }
    *id = found;
    return 0;
}

/* It goes into a header: nothing but visible ASCII. Its form and length are GitHub's own. */
static bool is_token(struct slice s)
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
    struct slice text = text_of(root, "token");
    if (!is_token(text)) {
        rc = senseless(e, "installation token");
    } else {
        buf_append(token, text);
        copy_text(root, "expires_at", expires, sizeof expires);
        *expires_ms = clock_parse_utc(expires);
    }
    json_decref(root);
    return rc;
}

bool github_more_pages(struct slice link, size_t count)
{
    if (count == 0) {
        return false; /* whatever the header says: it would be a walk without end */
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
    github_printable(text_of(root, "message"), out, size);
    json_decref(root);
}
