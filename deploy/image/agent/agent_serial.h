/*
 * The transport of a QEMU machine: frames from a virtio-serial port (agent_virtio.h) for the core.
 *
 * A start frame makes the machine unique and starts the runner, an end frame ends it; each is
 * answered with a line. A port that nobody can come to again ends a machine that still waits. One
 * thread.
 */
#ifndef MAYFLY_AGENT_SERIAL_H
#define MAYFLY_AGENT_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "deploy/image/agent/agent_core.h"
#include "deploy/image/agent/agent_loop.h"
#include "deploy/image/agent/agent_virtio.h"

struct agent_serial {
    struct agent_core *core;
    struct agent_port *port;
    bool unique; /* make the machine unique before the runner starts */
    int64_t looked_ms;
};

/* Borrows s, which its owner fills. */
struct agent_transport agent_serial_transport(struct agent_serial *s);

#endif
