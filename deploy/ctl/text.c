#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "deploy/ctl/ctl.h"

json_t *ctl_text(const char *s)
{
    struct buf quoted;
    buf_init(&quoted, 6 * strlen(s) + 2);
    buf_append_json(&quoted, slice_of(s));
    json_t *text = json_loadb(quoted.data, quoted.len, JSON_DECODE_ANY, NULL);
    ASSERT(text != NULL);
    buf_fini(&quoted);
    return text;
}

json_t *ctl_time(int64_t wall_ms)
{
    char text[32];
    if (wall_ms == 0) {
        return json_null();
    }
    clock_format_utc(wall_ms, text, sizeof text);
    return json_string(text);
}

const char *ctl_duration(int64_t ms, char out[24])
{
    ms = ms > 0 ? ms : 0;
    long long s = ms / 1000;
    if (ms < 60000) {
        (void)snprintf(out, 24, "%lld.%lld s", s, (long long)(ms % 1000) / 100);
    } else if (s < 3600) {
        (void)snprintf(out, 24, "%lldm%02llds", s / 60, s % 60);
    } else {
        (void)snprintf(out, 24, "%lldh%02lldm", s / 3600, s / 60 % 60);
    }
    return out;
}

const char *ctl_str(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

int64_t ctl_int(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

void ctl_done_print(const json_t *answer)
{
    printable_line(stdout, "%s", ctl_str(answer, "did"));
}

void ctl_json_print(const json_t *answer)
{
    char *text = json_dumps(answer, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    ASSERT(text != NULL);
    printable_lines(stdout, slice_of(text));
    free(text);
}

/* What follows the last "/job/" of a page's URL, or "/jobs/" of the API's; the whole text if there is
 * neither. The query and the fragment are no part of it. */
static struct slice cut_job_id(const char *given)
{
    static const char *const parts[] = {"/job/", "/jobs/"};
    const char *end = given + strcspn(given, "?#");
    struct slice id = {given, (size_t)(end - given)};
    for (const char *at = given; at < end; at++) {
        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            size_t len = strlen(parts[i]);
            if (strncmp(at, parts[i], len) == 0 && at + len <= end) {
                id = (struct slice){at + len, strcspn(at + len, "/?#")};
            }
        }
    }
    return id;
}

int ctl_read_job(const char *given, int64_t *out_id, struct err *e)
{
    int64_t id = 0;
    if (!slice_to_int64(cut_job_id(given), &id) || id <= 0) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "\"%s\" is neither a job's id nor a job's URL: open the job (not the run) on "
            "GitHub and copy the address, which ends in /job/ID",
            given);
    }
    *out_id = id;
    return 0;
}
