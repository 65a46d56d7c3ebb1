#include "deploy/image/agent/agent_core.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/payload/payload.h"

#define EXIT_CANNOT_RUN 127
#define EXIT_BAD_PAYLOAD 1

static const char *const reason_names[] = {
    [AGENT_JOB_DONE] = "job-done",         [AGENT_RUNNER_FAILED] = "runner-failed",
    [AGENT_IDLE_TIMEOUT] = "idle-timeout", [AGENT_MAX_DURATION] = "max-duration",
    [AGENT_BAD_PAYLOAD] = "bad-payload",   [AGENT_TERMINATED] = "terminated",
};

const char *agent_reason_name(enum agent_reason reason)
{
    ASSERT((size_t)reason < COUNT_OF(reason_names));
    return reason_names[reason];
}

/* The transitions in the header's diagram. */
static const bool allowed[AGENT_ENDED + 1][AGENT_ENDED + 1] = {
    [AGENT_WAITING] = {[AGENT_STARTED] = true, [AGENT_ENDED] = true},
    [AGENT_STARTED] = {[AGENT_ENDING] = true, [AGENT_ENDED] = true},
    [AGENT_ENDING] = {[AGENT_ENDED] = true},
};

static void core_set_state(struct agent_core *c, enum agent_state state)
{
    ASSERT(allowed[c->state][state]);
    c->state = state;
}

static void report_status(const struct agent_core *c, const char *line)
{
    c->sink.status(c->sink.ctx, line);
}

void agent_core_init(struct agent_core *c, const struct agent_options *options,
                     const struct agent_sink *sink)
{
    *c = (struct agent_core){.options = *options,
                             .sink = *sink,
                             .idle_deadline_ms = INT64_MAX,
                             .max_deadline_ms = INT64_MAX,
                             .kill_deadline_ms = INT64_MAX};
    agent_runner_init(&c->runner);
}

void agent_core_fini(struct agent_core *c)
{
    agent_runner_fini(&c->runner);
}

static void core_finish(struct agent_core *c, enum agent_reason reason, int exit_code)
{
    char line[64];
    core_set_state(c, AGENT_ENDED);
    c->reason = reason;
    c->exit_code = exit_code;
    c->idle_deadline_ms = INT64_MAX;
    c->max_deadline_ms = INT64_MAX;
    c->kill_deadline_ms = INT64_MAX;
    snprintf(line, sizeof(line), "EXIT %d %s", exit_code, agent_reason_name(reason));
    report_status(c, line);
}

static void core_end(struct agent_core *c, enum agent_reason reason, int64_t now_ms)
{
    core_set_state(c, AGENT_ENDING);
    c->reason = reason;
    c->idle_deadline_ms = INT64_MAX;
    c->max_deadline_ms = INT64_MAX;
    c->kill_deadline_ms = now_ms + c->options.kill_grace_ms;
    agent_runner_signal(&c->runner, SIGTERM);
}

static void arm_idle(struct agent_core *c, int64_t now_ms)
{
    c->idle_deadline_ms = c->idle_ms > 0 ? now_ms + c->idle_ms : INT64_MAX;
}

int agent_core_start(struct agent_core *c, struct slice packed, int64_t now_ms, struct err *e)
{
    struct payload payload = {0};
    if (c->state != AGENT_WAITING) {
        return err_set(e, ERR_CONFLICT, 0, "the runner was started already");
    }
    if (payload_unpack(packed, &payload, e) != 0) {
        core_finish(c, AGENT_BAD_PAYLOAD, EXIT_BAD_PAYLOAD);
        return -1;
    }
    int rc = agent_runner_start(&c->runner, c->options.runner_path, c->options.user, &payload, e);
    if (rc == 0) {
        c->idle_ms = payload.idle_seconds * 1000;
        arm_idle(c, now_ms);
        if (payload.max_duration_seconds > 0) {
            c->max_deadline_ms = now_ms + payload.max_duration_seconds * 1000;
        }
        core_set_state(c, AGENT_STARTED);
        report_status(c, "STARTED");
    } else {
        core_finish(c, AGENT_RUNNER_FAILED, EXIT_CANNOT_RUN);
    }
    payload_fini(&payload);
    return rc;
}

/* --- the runner's output ---------------------------------------------------------------------- */

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

/* The runner prints "Job <name> completed with result: <result>". */
static bool is_job_over(struct slice line)
{
    static const char separator[] = " completed with result: ";
    return slice_starts_with(line, SLICE("Job ")) &&
           memmem(line.ptr, line.len, separator, sizeof(separator) - 1) != NULL;
}

struct output {
    struct agent_core *core;
    int64_t now_ms;
};

static void on_line(void *ctx, struct slice line)
{
    const struct output *o = ctx;
    struct agent_core *c = o->core;
    c->sink.output(c->sink.ctx, line);
    line = without_time(line);
    if (c->state != AGENT_STARTED) {
        return;
    }
    if (slice_starts_with(line, SLICE("Running job:"))) {
        c->phase = AGENT_RUNNING_JOB;
        c->idle_deadline_ms = INT64_MAX;
        report_status(c, "JOB");
    } else if (slice_eq_cstr(line, "Listening for Jobs") && c->phase != AGENT_RUNNING_JOB) {
        c->phase = AGENT_LISTENING;
        arm_idle(c, o->now_ms);
        report_status(c, "LISTENING");
    } else if (is_job_over(line)) {
        /* The runner should exit now; if it stays, no job can reach it. */
        c->phase = AGENT_JOB_OVER;
        arm_idle(c, o->now_ms);
    }
}

void agent_core_output(struct agent_core *c, int64_t now_ms)
{
    struct output o = {c, now_ms};
    agent_runner_read(&c->runner, on_line, &o);
}

void agent_core_child(struct agent_core *c, int64_t now_ms)
{
    int code = 0;
    if (!agent_runner_reap(&c->runner, &code)) {
        return;
    }
    agent_core_output(c, now_ms);
    agent_runner_signal(&c->runner, SIGKILL);
    if (c->state == AGENT_ENDING) {
        core_finish(c, c->reason, code);
    } else if (c->state == AGENT_STARTED) {
        core_finish(c, code == 0 ? AGENT_JOB_DONE : AGENT_RUNNER_FAILED, code);
    }
}

void agent_core_tick(struct agent_core *c, int64_t now_ms)
{
    if (c->state == AGENT_STARTED && now_ms >= c->max_deadline_ms) {
        core_end(c, AGENT_MAX_DURATION, now_ms);
    } else if (c->state == AGENT_STARTED && now_ms >= c->idle_deadline_ms) {
        core_end(c, AGENT_IDLE_TIMEOUT, now_ms);
    } else if (c->state == AGENT_ENDING && now_ms >= c->kill_deadline_ms) {
        c->kill_deadline_ms = INT64_MAX;
        agent_runner_signal(&c->runner, SIGKILL);
    }
}

void agent_core_terminate(struct agent_core *c, int64_t now_ms)
{
    if (c->state == AGENT_WAITING) {
        core_finish(c, AGENT_TERMINATED, 0);
    } else if (c->state == AGENT_STARTED) {
        core_end(c, AGENT_TERMINATED, now_ms);
    }
}

int64_t agent_core_deadline(const struct agent_core *c)
{
    int64_t first =
        c->idle_deadline_ms < c->max_deadline_ms ? c->idle_deadline_ms : c->max_deadline_ms;
    return first < c->kill_deadline_ms ? first : c->kill_deadline_ms;
}
