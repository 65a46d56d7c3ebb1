#include "deploy/image/agent/agent_serial.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_unique.h"

/* While waiting, the port is also polled this often, in case an event is missing. */
#define POLL_MS 250

static void reject_payload(struct agent_serial *s, const char *status, const struct err *e)
{
    char line[240];
    log_error("payload_rejected", LOG_STR("status", status), LOG_ERR(e));
    snprintf(line, sizeof(line), "ERR %s: %.200s", status, e->message);
    agent_port_answer(s->port, line);
}

static int start_runner(struct agent_serial *s, struct slice packed, struct err *e)
{
    struct payload payload = {0};
    struct err ignored; /* the core reports it */
    (void)!payload_unpack(packed, &payload, &ignored);
    int rc = agent_core_start(s->core, packed, clock_mono_ms(), e);
    if (rc == 0) {
        agent_prepare_start(&s->prepare, &payload);
    }
    payload_fini(&payload);
    return rc;
}

static void on_start_frame(struct agent_serial *s, const struct frame *frame)
{
    struct err e = {0};
    if (s->core->state != AGENT_WAITING) {
        agent_port_answer(s->port, "ERR already-started");
        return;
    }
    const struct agent_unique unique = {
        .entropy = {(const char *)frame->entropy, sizeof(frame->entropy)},
        .credit = true,
        .wall_ms = frame->wall_ms,
        .hostname = frame->hostname};
    if (s->unique && agent_unique_apply(&unique, &e) != 0) {
        agent_core_reject(s->core, AGENT_NOT_UNIQUE);
        reject_payload(s, agent_reason_name(AGENT_NOT_UNIQUE), &e);
        return;
    }
    if (start_runner(s, frame->packed, &e) != 0) {
        reject_payload(s, agent_reason_name(s->core->reason), &e);
        return;
    }
    agent_port_answer(s->port, "OK");
}

/* Handles the complete frames in the port's input. */
static void handle_frames(struct agent_serial *s)
{
    for (;;) {
        struct frame frame;
        size_t used = 0;
        const char *reason = NULL;
        enum frame_kind kind = frame_parse(buf_slice(&s->port->input), &frame, &used, &reason);
        if (kind == FRAME_MORE && !s->port->input.failed) {
            return;
        }
        if (kind == FRAME_START) {
            on_start_frame(s, &frame);
        } else if (kind == FRAME_END) {
            agent_core_terminate(s->core, clock_mono_ms());
            agent_port_answer(s->port, "OK");
        } else {
            char line[64];
            snprintf(line, sizeof(line), "ERR %s", reason != NULL ? reason : "bad-frame");
            agent_port_answer(s->port, line);
            used = s->port->input.len; /* discard the input */
        }
        explicit_bzero(&frame, sizeof(frame));
        agent_port_drop(s->port, used);
    }
}

static void serial_work(void *ctx, int64_t now_ms)
{
    struct agent_serial *s = ctx;
    s->looked_ms = now_ms;
    enum port_read got = agent_port_read(s->port);
    while (got == PORT_BYTES) {
        handle_frames(s);
        got = agent_port_read(s->port);
    }
    if (got == PORT_GONE && s->core->state == AGENT_WAITING) {
        agent_core_terminate(s->core, clock_mono_ms());
    }
}

static int64_t serial_deadline(void *ctx)
{
    const struct agent_serial *s = ctx;
    return s->core->state == AGENT_WAITING ? s->looked_ms + POLL_MS : INT64_MAX;
}

struct agent_transport agent_serial_transport(struct agent_serial *s)
{
    return (struct agent_transport){.fd = s->port->fd,
                                    .edges = true,
                                    .work = serial_work,
                                    .deadline = serial_deadline,
                                    .ctx = s};
}
