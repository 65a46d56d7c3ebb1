#include "common/job/job_event.h"

#include <jansson.h>
#include <stddef.h>
#include <string.h>

#define RECORD_MAX_BYTES 4096
#define RECORD_USUAL_BYTES 700

enum field_kind { FIELD_NUMBER, FIELD_TEXT };

/* One member of the record and the place in struct job_event that holds it. */
struct field {
    const char *key;
    size_t offset;
    size_t size;
    enum field_kind kind;
    bool people_only; /* left out when the record would grow over its limit */
};

/* Where a member stands, and how many bytes it has. */
#define AT(member) offsetof(struct job_event, member), sizeof((struct job_event *)0)->member

static const struct field fields[] = {
    {"job", AT(job.id), FIELD_NUMBER, false},
    {"run", AT(job.run_id), FIELD_NUMBER, false},
    {"attempt", AT(job.run_attempt), FIELD_NUMBER, false},
    {"installation", AT(job.installation_id), FIELD_NUMBER, false},
    {"runner", AT(runner_id), FIELD_NUMBER, false},
    {"created_ms", AT(job.created_ms), FIELD_NUMBER, false},
    {"received_ms", AT(received_ms), FIELD_NUMBER, false},
    {"delivery", AT(delivery), FIELD_TEXT, false},
    {"status", AT(status), FIELD_TEXT, false},
    {"conclusion", AT(job.conclusion), FIELD_TEXT, false},
    {"repository", AT(job.repository), FIELD_TEXT, false},
    {"organization", AT(job.organization), FIELD_TEXT, false},
    {"runner_name", AT(job.runner_name), FIELD_TEXT, false},
    {"class", AT(job.class_name), FIELD_TEXT, false},
    {"name", AT(job.name), FIELD_TEXT, true},
    {"labels", AT(job.labels), FIELD_TEXT, true},
};

static const char *const action_names[] = {"queued", "waiting", "in_progress", "completed"};

const char *job_action_name(enum job_action a)
{
    ASSERT((size_t)a < COUNT_OF(action_names));
    return action_names[a];
}

bool job_action_parse(struct slice word, enum job_action *out)
{
    for (size_t i = 0; i < COUNT_OF(action_names); i++) {
        if (slice_eq_cstr(word, action_names[i])) {
            *out = (enum job_action)i;
            return true;
        }
    }
    return false;
}

/* Most text needs no escape, and one append for all of it is much cheaper than one for each byte:
 * this runs once for every delivery. */
static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < ' ' || s.ptr[i] > '~' || s.ptr[i] == '"' || s.ptr[i] == '\\') {
            return false;
        }
    }
    return true;
}

static void append_text(struct buf *out, struct slice s)
{
    if (!is_plain(s)) {
        buf_append_json(out, s);
        return;
    }
    buf_append_byte(out, '"');
    buf_append(out, s);
    buf_append_byte(out, '"');
}

static void append_number(struct buf *out, int64_t number)
{
    char digits[24];
    size_t at = sizeof digits;
    /* The magnitude as unsigned, since INT64_MIN has no positive twin. */
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        digits[--at] = '-';
    }
    buf_append(out, (struct slice){digits + at, sizeof digits - at});
}

static void append_key(struct buf *out, const struct field *f)
{
    buf_append(out, SLICE(",\""));
    buf_append_cstr(out, f->key);
    buf_append(out, SLICE("\":"));
}

static void append_field(struct buf *out, const struct job_event *ev, const struct field *f)
{
    const char *at = (const char *)ev + f->offset;
    int64_t number = 0;
    if (f->kind == FIELD_TEXT) {
        if (at[0] != '\0') {
            append_key(out, f);
            append_text(out, slice_of(at));
        }
        return;
    }
    memcpy(&number, at, sizeof number);
    if (number != 0) {
        append_key(out, f);
        append_number(out, number);
    }
}

static void append_record(struct buf *out, const struct job_event *ev, bool for_people)
{
    buf_append(out, SLICE("{\"v\":"));
    append_number(out, JOB_EVENT_VERSION);
    buf_append(out, SLICE(",\"action\":"));
    append_text(out, slice_of(job_action_name(ev->action)));
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (for_people || !fields[i].people_only) {
            append_field(out, ev, &fields[i]);
        }
    }
    buf_append_byte(out, '}');
}

void job_event_encode(const struct job_event *ev, struct buf *out)
{
    struct buf record;
    buf_init(&record, RECORD_MAX_BYTES);
    buf_reserve(&record, RECORD_USUAL_BYTES);
    append_record(&record, ev, true);
    /* Escaping may blow up what people wrote into names and labels; the rest always fits. */
    if (record.failed) {
        buf_reset(&record);
        append_record(&record, ev, false);
    }
    ASSERT(!record.failed);
    buf_append(out, buf_slice(&record));
    buf_fini(&record);
}

static int read_number(const json_t *value, const struct field *f, struct job_event *ev,
                       struct err *e)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return err_set(e, ERR_PERMANENT, 0, "job event: member '%s' is no integer from 0 on",
                       f->key);
    }
    int64_t number = json_integer_value(value);
    memcpy((char *)ev + f->offset, &number, sizeof number);
    return 0;
}

static int read_text(const json_t *value, const struct field *f, struct job_event *ev,
                     struct err *e)
{
    if (!json_is_string(value)) {
        return err_set(e, ERR_PERMANENT, 0, "job event: member '%s' is no string", f->key);
    }
    struct slice text = {json_string_value(value), json_string_length(value)};
    if (!slice_to_cstr(text, (char *)ev + f->offset, f->size)) {
        return err_set(e, ERR_PERMANENT, 0, "job event: member '%s' is longer than %zu bytes",
                       f->key, f->size - 1);
    }
    return 0;
}

static int read_fields(const json_t *root, struct job_event *ev, struct err *e)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        const struct field *f = &fields[i];
        const json_t *value = json_object_get(root, f->key);
        if (value == NULL) {
            continue;
        }
        if ((f->kind == FIELD_NUMBER ? read_number : read_text)(value, f, ev, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_head(const json_t *root, struct job_event *ev, struct err *e)
{
    const json_t *version = json_object_get(root, "v");
    if (!json_is_integer(version) || json_integer_value(version) < 1) {
        return err_set(e, ERR_PERMANENT, 0, "job event: no version");
    }
    if (json_integer_value(version) > JOB_EVENT_VERSION) {
        return err_set(e, ERR_PERMANENT, 0,
                       "job event: version %lld, written by a newer Mayfly; this one reads up to "
                       "%d: upgrade it",
                       (long long)json_integer_value(version), JOB_EVENT_VERSION);
    }
    const char *action = json_string_value(json_object_get(root, "action"));
    if (action == NULL || !job_action_parse(slice_of(action), &ev->action)) {
        return err_set(e, ERR_PERMANENT, 0, "job event: no action that is known");
    }
    return 0;
}

static int check_required(const struct job_event *ev, struct err *e)
{
    if (ev->job.id <= 0) {
        return err_set(e, ERR_PERMANENT, 0, "job event: no job id");
    }
    if (strchr(ev->job.repository, '/') == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "job event: no repository as owner/name");
    }
    return 0;
}

int job_event_decode(struct slice record, struct job_event *out, struct err *e)
{
    struct job_event ev = {0};
    json_error_t where;
    json_t *root = NULL;
    int result = -1;
    if (record.len == 0 || record.len > RECORD_MAX_BYTES) {
        return err_set(e, ERR_PERMANENT, 0, "job event: %zu bytes, want 1 to %d", record.len,
                       RECORD_MAX_BYTES);
    }
    root = json_loadb(record.ptr, record.len, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(root)) {
        err_set(e, ERR_PERMANENT, 0, "job event: no JSON object%s%s", root == NULL ? ": " : "",
                root == NULL ? where.text : "");
        goto out;
    }
    if (read_head(root, &ev, e) != 0 || read_fields(root, &ev, e) != 0 ||
        check_required(&ev, e) != 0) {
        goto out;
    }
    *out = ev;
    result = 0;
out:
    json_decref(root);
    return result;
}

bool job_event_wants_runner(const struct job_event *ev)
{
    return ev->action == JOB_ACTION_QUEUED && strcmp(ev->status, "waiting") != 0;
}
