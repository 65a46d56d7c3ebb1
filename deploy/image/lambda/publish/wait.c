#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "deploy/image/lambda/publish/publish.h"

#define PRINTED_MAX 2048

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* Gets the version, or (builds) the list of its builds. */
static int get_version(struct images *im, const char *arn, const char *version, bool builds,
                       json_t **out, struct err *e)
{
    struct buf path;
    buf_init(&path, 4096);
    images_path(&path, arn, version);
    if (builds) {
        buf_append_cstr(&path, "/builds");
    }
    int rc = images_call(im, builds ? "ListMicrovmImageBuilds" : "GetMicrovmImageVersion", "GET",
                         path.data, NULL, out, e);
    buf_fini(&path);
    return rc;
}

/* One line about the version and its builds. */
static void describe_version(const json_t *version_json, const json_t *builds, struct buf *out)
{
    const json_t *items = json_object_get(builds, "items");
    buf_reset(out);
    buf_append_cstr(out, member_text(version_json, "state"));
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *build = json_array_get(items, i);
        buf_printf(out, "%s%s %s: %s", i == 0 ? " (" : ", ", member_text(build, "chipset"),
                   member_text(build, "chipsetGeneration"), member_text(build, "buildState"));
    }
    buf_append_cstr(out, json_array_size(items) > 0 ? ")" : "");
}

static int print_failure(const struct publish_options *o, const json_t *version_json,
                         const json_t *builds, struct err *e)
{
    const json_t *items = json_object_get(builds, "items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *build = json_array_get(items, i);
        if (strcmp(member_text(build, "buildState"), "FAILED") == 0) {
            const char *reason = member_text(build, "stateReason");
            printable_line(stderr, "build %s (%s %s) failed: %s", member_text(build, "buildId"),
                           member_text(build, "chipset"), member_text(build, "chipsetGeneration"),
                           reason[0] != '\0' ? reason : "no reason was given");
        }
    }
    const char *reason = member_text(version_json, "stateReason");
    return err_set(
        e, ERR_PERMANENT, 0, "version %s failed: %s The build's output is in the log group %s%s",
        member_text(version_json, "imageVersion"),
        reason[0] != '\0' ? reason : "no reason was given.",
        o->log_group != NULL ? o->log_group : "that --log-group names: publish again with it",
        o->log_group != NULL ? "" : ", and let the build role write there");
}

/* Polls once and prints changes. *done is set when the wait has ended. */
static int poll_version(struct images *im, const struct publish_options *o, const char *arn,
                        const char *version, struct buf *printed, json_t **out, struct err *e)
{
    json_t *version_json = NULL;
    json_t *builds = NULL;
    struct buf line;
    buf_init(&line, PRINTED_MAX);
    int rc = get_version(im, arn, version, false, &version_json, e);
    /* Reads are eventually consistent: a version may not be visible yet. */
    bool absent = rc != 0 && e->class == ERR_NOT_FOUND;
    if (rc == 0) {
        rc = get_version(im, arn, version, true, &builds, e);
        absent = rc != 0 && e->class == ERR_NOT_FOUND;
    }
    if (rc == 0) {
        describe_version(version_json, builds, &line);
        if (!slice_eq(buf_slice(&line), buf_slice(printed))) {
            printable_lines(stderr, buf_slice(&line));
            buf_reset(printed);
            buf_append(printed, buf_slice(&line));
        }
        const char *state = member_text(version_json, "state");
        if (strcmp(state, "SUCCESSFUL") == 0) {
            *out = json_incref(version_json);
        } else if (strcmp(state, "PENDING") != 0 && strcmp(state, "IN_PROGRESS") != 0) {
            rc = print_failure(o, version_json, builds, e);
        }
    }
    buf_fini(&line);
    json_decref(version_json);
    json_decref(builds);
    return absent ? 0 : rc;
}

int publish_wait(struct images *im, const struct publish_options *o, const char *arn,
                 const char *version, json_t **out, struct err *e)
{
    int64_t until_ms = clock_mono_ms() + o->wait_seconds * 1000;
    struct buf printed;
    json_t *built = NULL;
    buf_init(&printed, PRINTED_MAX);
    int rc = poll_version(im, o, arn, version, &printed, &built, e);
    while (rc == 0 && built == NULL && clock_mono_ms() < until_ms) {
        clock_sleep_until(clock_mono_ms() + o->poll_ms);
        rc = poll_version(im, o, arn, version, &printed, &built, e);
    }
    if (rc == 0 && built == NULL) {
        rc = err_set(e, ERR_RETRY, 0,
                     "version %s was still %s after %lld s; it may finish later: see the command "
                     "versions",
                     version, printed.len > 0 ? printed.data : "unknown",
                     (long long)o->wait_seconds);
    }
    buf_fini(&printed);
    if (rc == 0) {
        *out = built;
    }
    return rc;
}
