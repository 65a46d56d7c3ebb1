#include "deploy/image/agent/agent_core.h"

#include <stdio.h>

#include "common/payload/payload.h"

#define EXIT_CANNOT_RUN 127
#define EXIT_BAD_PAYLOAD 1

/* A VM's own maximum duration is a hard limit of its host, which counts from before the payload
 * came. */
#define START_MARGIN_MS 15000
/* Enough for all that the runner left in the pipe; what it started may still print. */
#define LAST_TURNS 8

/* The transitions in the header's diagram. */
static const bool allowed[AGENT_HELD + 1][AGENT_HELD + 1] = {
    [AGENT_WAITING] = {[AGENT_STARTED] = true, [AGENT_ENDED] = true},
    [AGENT_STARTED] = {[AGENT_ENDING] = true, [AGENT_ENDED] = true, [AGENT_HELD] = true},
    [AGENT_ENDING] = {[AGENT_ENDED] = true},
    [AGENT_HELD] = {[AGENT_ENDED] = true},
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
                             .hold_deadline_ms = INT64_MAX,
                             .kill_deadline_ms = INT64_MAX};
    agent_outcome_init(&c->outcome);
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
    c->hold_deadline_ms = INT64_MAX;
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
    agent_runner_stop(&c->runner);
}

/* Its runner has exited. The maximum duration stays what it was. */
static void core_hold(struct agent_core *c, int exit_code, int64_t now_ms)
{
    char line[64];
    core_set_state(c, AGENT_HELD);
    c->exit_code = exit_code;
    c->idle_deadline_ms = INT64_MAX;
    c->hold_deadline_ms = now_ms + c->hold_ms;
    snprintf(line, sizeof(line), "HELD %lld", (long long)(c->hold_ms / 1000));
    report_status(c, line);
}

static void core_end_hold(struct agent_core *c)
{
    agent_runner_kill(&c->runner);
    core_finish(c, AGENT_JOB_DONE, c->exit_code);
}

static void arm_idle(struct agent_core *c, int64_t now_ms)
{
    c->idle_deadline_ms = c->idle_ms > 0 ? now_ms + c->idle_ms : INT64_MAX;
}

/* The runner's grace period must be over before the host ends the VM: with a short maximum duration a
 * tenth of it is kept. */
static int64_t max_duration_ms(const struct agent_core *c, int64_t seconds)
{
    int64_t limit_ms = seconds * 1000;
    int64_t kept_ms = c->options.kill_grace_ms + START_MARGIN_MS;
    return limit_ms - (kept_ms < limit_ms / 10 ? kept_ms : limit_ms / 10);
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
        c->hold_ms = payload.hold_seconds * 1000;
        arm_idle(c, now_ms);
        if (payload.max_duration_seconds > 0) {
            c->max_deadline_ms = now_ms + max_duration_ms(c, payload.max_duration_seconds);
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

struct output {
    struct agent_core *core;
    int64_t now_ms;
};

static void on_line(void *ctx, struct slice line)
{
    const struct output *o = ctx;
    struct agent_core *c = o->core;
    c->sink.output(c->sink.ctx, line);
    enum agent_event event = agent_outcome_line(&c->outcome, line);
    if (c->state != AGENT_STARTED) {
        return;
    }
    switch (event) {
    case EVENT_JOB_STARTED:
        c->idle_deadline_ms = INT64_MAX;
        report_status(c, "JOB");
        break;
    case EVENT_LISTENING:
        arm_idle(c, o->now_ms);
        report_status(c, "LISTENING");
        break;
    case EVENT_JOB_OVER:
        /* The runner should exit now; if it stays, no job can reach it. */
        arm_idle(c, o->now_ms);
        break;
    case EVENT_OTHER:
        break;
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
    /* While HELD another process may have got the runner's pid. */
    if (!agent_runner_reap(&c->runner, &code) || c->state == AGENT_HELD) {
        return;
    }
    for (int i = 0; i < LAST_TURNS; i++) {
        agent_core_output(c, now_ms);
    }
    enum agent_reason reason = c->reason;
    if (c->state == AGENT_STARTED) {
        reason = agent_outcome_of(&c->outcome, code, &code);
        if (reason == AGENT_JOB_DONE && c->outcome.job_failed && c->hold_ms > 0) {
            core_hold(c, code, now_ms);
            return;
        }
    }
    agent_runner_kill(&c->runner);
    if (c->state != AGENT_ENDED) {
        core_finish(c, reason, code);
    }
}

void agent_core_tick(struct agent_core *c, int64_t now_ms)
{
    if (c->state == AGENT_STARTED && now_ms >= c->max_deadline_ms) {
        core_end(c, AGENT_MAX_DURATION, now_ms);
    } else if (c->state == AGENT_STARTED && now_ms >= c->idle_deadline_ms) {
        /* An idle runner that lost its job is not one that got none. */
        bool lost = c->outcome.job == JOB_LOST;
        core_end(c, lost ? AGENT_FAILED_IN_JOB : AGENT_IDLE_TIMEOUT, now_ms);
    } else if (c->state == AGENT_HELD &&
               (now_ms >= c->hold_deadline_ms || now_ms >= c->max_deadline_ms)) {
        core_end_hold(c);
    } else if (c->state == AGENT_ENDING && now_ms >= c->kill_deadline_ms) {
        c->kill_deadline_ms = INT64_MAX;
        agent_runner_kill(&c->runner);
    }
}

void agent_core_terminate(struct agent_core *c, int64_t now_ms)
{
    if (c->state == AGENT_WAITING) {
        core_finish(c, AGENT_TERMINATED, 0);
    } else if (c->state == AGENT_STARTED) {
        core_end(c, AGENT_TERMINATED, now_ms);
    } else if (c->state == AGENT_HELD) {
        core_end_hold(c);
    }
}

void agent_core_reject(struct agent_core *c, enum agent_reason reason)
{
    core_finish(c, reason, EXIT_CANNOT_RUN);
}

bool agent_core_ended_well(const struct agent_core *c)
{
    return c->reason == AGENT_JOB_DONE || c->reason == AGENT_NO_JOB ||
           c->reason == AGENT_TERMINATED;
}

int64_t agent_core_deadline(const struct agent_core *c)
{
    int64_t first =
        c->idle_deadline_ms < c->max_deadline_ms ? c->idle_deadline_ms : c->max_deadline_ms;
    first = first < c->hold_deadline_ms ? first : c->hold_deadline_ms;
    return first < c->kill_deadline_ms ? first : c->kill_deadline_ms;
}
