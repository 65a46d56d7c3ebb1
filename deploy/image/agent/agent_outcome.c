#include "deploy/image/agent/agent_outcome.h"

#include <signal.h>
#include <string.h>

#include "common/base/attr.h"

#define LISTENER_TERMINATED 1
#define LISTENER_CONFLICT 5
#define KILLED (128 + SIGKILL)

static const char *const reason_names[] = {
    [AGENT_JOB_DONE] = "job-done",
    [AGENT_NO_JOB] = "no-job",
    [AGENT_REGISTRATION_GONE] = "registration-gone",
    [AGENT_SESSION_CONFLICT] = "session-conflict",
    [AGENT_RUNNER_TOO_OLD] = "runner-too-old",
    [AGENT_RUNNER_FAILED] = "runner-failed",
    [AGENT_FAILED_IN_JOB] = "runner-failed-in-job",
    [AGENT_RUNNER_KILLED] = "runner-killed",
    [AGENT_IDLE_TIMEOUT] = "idle-timeout",
    [AGENT_MAX_DURATION] = "max-duration",
    [AGENT_BAD_PAYLOAD] = "bad-payload",
    [AGENT_NOT_UNIQUE] = "not-unique",
    [AGENT_TERMINATED] = "terminated",
};

const char *agent_reason_name(enum agent_reason reason)
{
    ASSERT((size_t)reason < COUNT_OF(reason_names));
    return reason_names[reason];
}

void agent_outcome_init(struct agent_outcome *o)
{
    *o = (struct agent_outcome){.announced = AGENT_NO_JOB};
}

/* GitHub's runner prefixes its progress lines with "2026-11-20 18:12:03Z: ". */
static struct slice without_time(struct slice line)
{
    const size_t width = sizeof("2026-11-20 18:12:03Z: ") - 1;
    if (line.len > width && line.ptr[0] >= '0' && line.ptr[0] <= '9' &&
        memcmp(line.ptr + width - 3, "Z: ", 3) == 0) {
        line.ptr += width;
        line.len -= width;
    }
    return line;
}

static bool contains(struct slice line, const char *text)
{
    return memmem(line.ptr, line.len, text, strlen(text)) != NULL;
}

static bool ends_with(struct slice line, const char *text)
{
    size_t len = strlen(text);
    line = slice_trim(line);
    return line.len >= len && memcmp(line.ptr + line.len - len, text, len) == 0;
}

/* The listener's and the helper's words for an end without a job. The code is that of the listener,
 * which the helper names where it is none of those that it knows. */
static void note_end(struct agent_outcome *o, struct slice line)
{
    static const struct {
        const char *text;
        enum agent_reason reason;
        int code;
    } ends[] = {
        {"The runner no longer exists on the server", AGENT_REGISTRATION_GONE, 0},
        {"runner registration has been deleted", AGENT_REGISTRATION_GONE, 0},
        {"A session for this runner already exists", AGENT_SESSION_CONFLICT, 0},
        {"exit with Session Conflict error", AGENT_SESSION_CONFLICT, LISTENER_CONFLICT},
        {"is deprecated and cannot receive messages", AGENT_RUNNER_TOO_OLD, 0},
        {"exit with terminated error", AGENT_NO_JOB, LISTENER_TERMINATED},
    };
    static const char unknown[] = "unknown error code: ";
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        if (contains(line, ends[i].text)) {
            o->announced = ends[i].reason != AGENT_NO_JOB ? ends[i].reason : o->announced;
            o->listener_code = ends[i].code != 0 ? ends[i].code : o->listener_code;
            return;
        }
    }
    const char *at = memmem(line.ptr, line.len, unknown, sizeof(unknown) - 1);
    int64_t code;
    if (at != NULL) {
        at += sizeof(unknown) - 1;
        struct slice digits = slice_trim((struct slice){at, line.len - (size_t)(at - line.ptr)});
        o->listener_code = slice_to_int64(digits, &code) && code > 0 && code < 256 ? (int)code : 0;
    }
}

enum agent_event agent_outcome_line(struct agent_outcome *o, struct slice line)
{
    line = without_time(line);
    if (slice_starts_with(line, SLICE("Running job:"))) {
        o->job = JOB_RUNNING;
        return EVENT_JOB_STARTED;
    }
    /* Each listener prints it once: while a job runs it is another listener's. What was announced
     * before was overcome. */
    if (slice_eq_cstr(line, "Listening for Jobs")) {
        o->job = o->job == JOB_RUNNING ? JOB_LOST : o->job;
        o->announced = AGENT_NO_JOB;
        o->listener_code = 0;
        return EVENT_LISTENING;
    }
    /* run.sh's word for a listener that ended; the next one may never get to listen. */
    if (slice_starts_with(line, SLICE("Restarting runner")) && o->job == JOB_RUNNING) {
        o->job = JOB_LOST;
        return EVENT_JOB_OVER;
    }
    if (slice_starts_with(line, SLICE("Job ")) && contains(line, " completed with result: ")) {
        o->job = JOB_OVER;
        o->job_failed = ends_with(line, " completed with result: Failed");
        return EVENT_JOB_OVER;
    }
    note_end(o, line);
    return EVENT_OTHER;
}

enum agent_reason agent_outcome_of(const struct agent_outcome *o, int exit_code, int *out_code)
{
    int code = exit_code != 0 ? exit_code : o->listener_code;
    *out_code = code;
    if (o->job == JOB_OVER) {
        return AGENT_JOB_DONE;
    }
    if (code == KILLED) {
        return AGENT_RUNNER_KILLED;
    }
    if (o->job != JOB_NONE) {
        return AGENT_FAILED_IN_JOB;
    }
    if (o->announced != AGENT_NO_JOB) {
        return o->announced;
    }
    return code != 0 ? AGENT_RUNNER_FAILED : AGENT_NO_JOB;
}
