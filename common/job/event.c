#include "common/job/event.h"

#include <string.h>

#include "common/job/fields.h"

static const char *const action_names[] = {"queued", "waiting", "in_progress", "completed", NULL};

static const struct record_field fields[] = {
    WORD_FIELD("action", struct job_event, action, action_names),
    JOB_FIELDS(struct job_event),
    TEXT_FIELD("class", struct job_event, job.class_name),
    NUMBER_FIELD("runner", struct job_event, runner_id),
    NUMBER_FIELD("received_ms", struct job_event, received_ms),
    TEXT_FIELD("delivery", struct job_event, delivery),
    TEXT_FIELD("status", struct job_event, status),
    {0},
};

const char *job_action_name(enum job_action a)
{
    ASSERT((size_t)a < COUNT_OF(action_names) - 1);
    return action_names[a];
}

bool job_action_parse(struct slice word, enum job_action *out)
{
    for (size_t i = 0; action_names[i] != NULL; i++) {
        if (slice_eq_cstr(word, action_names[i])) {
            *out = (enum job_action)i;
            return true;
        }
    }
    return false;
}

void job_event_encode(const struct job_event *ev, int64_t format, struct buf *out)
{
    record_encode(fields, ev, format, out);
}

int job_fields_check(const char *what, const struct job *job, struct err *e)
{
    if (job->id <= 0) {
        return err_set(e, ERR_PERMANENT, 0, "%s: no job id", what);
    }
    if (strchr(job->repository, '/') == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "%s: no repository as owner/name", what);
    }
    return 0;
}

int job_event_decode(struct slice record, struct job_event *out, struct err *e)
{
    struct job_event ev = {0};
    if (record_decode("job event", fields, record, &ev, e) != 0 ||
        job_fields_check("job event", &ev.job, e) != 0) {
        return -1;
    }
    *out = ev;
    return 0;
}

bool job_event_wants_runner(const struct job_event *ev)
{
    return ev->action == JOB_ACTION_QUEUED && strcmp(ev->status, "waiting") != 0;
}

/* --- labels ---------------------------------------------------------------------------------- */

static bool wants_quotes(struct slice label)
{
    return label.len == 0 || memchr(label.ptr, ',', label.len) != NULL;
}

void job_labels_join(const struct slice *labels, size_t n, char out[JOB_LABELS_SIZE])
{
    const size_t limit = JOB_LABELS_SIZE - sizeof "," JOB_LABELS_CUT;
    size_t at = 0;
    bool fits = true;
    for (size_t i = 0; i < n && fits; i++) {
        fits = labels[i].len + 3 <= limit - at;
        const struct slice label = fits ? labels[i] : SLICE(JOB_LABELS_CUT);
        bool quoted = fits && wants_quotes(label);
        if (i > 0) {
            out[at++] = ',';
        }
        if (quoted) {
            out[at++] = '"';
        }
        if (label.len > 0) {
            memcpy(out + at, label.ptr, label.len);
            at += label.len;
        }
        if (quoted) {
            out[at++] = '"';
        }
    }
    out[at] = '\0';
}

/* Of the first label in `joined`, which is not empty. */
static size_t first_label_length(struct slice joined)
{
    for (size_t i = 1; joined.ptr[0] == '"' && i < joined.len; i++) {
        if (joined.ptr[i] == '"' && (i + 1 == joined.len || joined.ptr[i + 1] == ',')) {
            return i + 1;
        }
    }
    const char *comma = memchr(joined.ptr, ',', joined.len);
    return comma != NULL ? (size_t)(comma - joined.ptr) : joined.len;
}

size_t job_labels_split(const char *joined, struct slice out[JOB_LABELS_MAX])
{
    struct slice rest = slice_of(joined);
    size_t n = 0;
    while (rest.len > 0 && n < JOB_LABELS_MAX) {
        size_t len = first_label_length(rest);
        out[n++] = (struct slice){rest.ptr, len};
        len += len < rest.len ? 1 : 0;
        rest = (struct slice){rest.ptr + len, rest.len - len};
    }
    return n;
}
