/* Any text through the slice scan and through jansson: what one takes for an object, the other does
 * too, with the same values in every member that we take. jansson refuses some numbers and
 * characters that JSON allows. */
#include <jansson.h>
#include <string.h>

#include "common/github/webhook_scan.h"
#include "tests/fuzz/fuzz.h"

#define FLAGS (JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

/* Where each member stands, as jansson finds it. */
static const char *const paths[MEMBER_COUNT][2] = {
    [MEMBER_ACTION] = {"action", NULL},
    [MEMBER_JOB] = {"workflow_job", NULL},
    [MEMBER_JOB_ID] = {"workflow_job", "id"},
    [MEMBER_JOB_RUN_ID] = {"workflow_job", "run_id"},
    [MEMBER_JOB_RUN_ATTEMPT] = {"workflow_job", "run_attempt"},
    [MEMBER_JOB_STATUS] = {"workflow_job", "status"},
    [MEMBER_JOB_CONCLUSION] = {"workflow_job", "conclusion"},
    [MEMBER_JOB_LABELS] = {"workflow_job", "labels"},
    [MEMBER_JOB_RUNNER_ID] = {"workflow_job", "runner_id"},
    [MEMBER_JOB_RUNNER_NAME] = {"workflow_job", "runner_name"},
    [MEMBER_JOB_CREATED_AT] = {"workflow_job", "created_at"},
    [MEMBER_JOB_NAME] = {"workflow_job", "name"},
    [MEMBER_REPOSITORY] = {"repository", NULL},
    [MEMBER_REPOSITORY_FULL_NAME] = {"repository", "full_name"},
    [MEMBER_REPOSITORY_PRIVATE] = {"repository", "private"},
    [MEMBER_REPOSITORY_VISIBILITY] = {"repository", "visibility"},
    [MEMBER_ORGANIZATION] = {"organization", NULL},
    [MEMBER_ORGANIZATION_LOGIN] = {"organization", "login"},
    [MEMBER_INSTALLATION] = {"installation", NULL},
    [MEMBER_INSTALLATION_ID] = {"installation", "id"},
};

static const json_t *find(const json_t *root, const char *const path[2])
{
    const json_t *value = json_object_get(root, path[0]);
    return path[1] == NULL ? value : json_object_get(value, path[1]);
}

static void check_text(const json_t *value, struct slice raw)
{
    struct buf text;
    buf_init(&text, raw.len); /* more than its value, which may be empty */
    json_text(raw, &text);
    ASSERT(!text.failed && slice_eq(buf_slice(&text), (struct slice){json_string_value(value),
                                                                     json_string_length(value)}));
    buf_fini(&text);
}

static void check_member(const json_t *root, size_t member, struct slice raw)
{
    const json_t *expected = find(root, paths[member]);
    ASSERT((raw.ptr == NULL) == (expected == NULL));
    if (expected != NULL) {
        json_t *value = json_loadb(raw.ptr, raw.len, FLAGS | JSON_DECODE_ANY, NULL);
        ASSERT(value != NULL && json_equal(value, expected));
        ASSERT(json_is_string(value) == json_is_text(raw));
        if (json_is_text(raw)) {
            check_text(value, raw);
        }
        json_decref(value);
    }
}

static void check_labels(const json_t *root, struct slice raw)
{
    struct slice found[100];
    size_t n = 0;
    const json_t *labels = find(root, paths[MEMBER_JOB_LABELS]);
    if (raw.ptr == NULL || !json_scan_strings(raw, found, COUNT_OF(found), &n)) {
        return;
    }
    ASSERT(json_is_array(labels) && json_array_size(labels) == n);
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_loadb(found[i].ptr, found[i].len, FLAGS | JSON_DECODE_ANY, NULL);
        ASSERT(json_is_string(value) && json_equal(value, json_array_get(labels, i)));
        check_text(value, found[i]);
        json_decref(value);
    }
}

static bool is_beyond_jansson(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);
    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           strstr(error->text, "invalid Unicode") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct webhook_scan scan;
    const char *reason = NULL;
    const char *text = (const char *)data;
    json_error_t error;
    json_t *root = json_loadb(text, size, FLAGS, &error);
    if (!webhook_scan((struct slice){text, size}, &scan, &reason)) {
        ASSERT(reason != NULL);
        /* jansson reads over a NUL that stands where it expects a token. */
        ASSERT(strcmp(reason, "not_json") != 0 || !json_is_object(root) ||
               memchr(text, '\0', size) != NULL);
        json_decref(root);
        return 0;
    }
    ASSERT(json_is_object(root) || is_beyond_jansson(&error));
    if (root == NULL) {
        return 0;
    }
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        check_member(root, i, scan.member[i]);
    }
    check_labels(root, scan.member[MEMBER_JOB_LABELS]);
    json_decref(root);
    return 0;
}
