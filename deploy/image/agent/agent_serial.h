/*
 * The transport of a QEMU VM: passes frames from a virtio-serial port (agent_virtio.h) to the core.
 *
 * A start frame makes the VM unique and starts the runner, and beside it a program of the image
 * (agent_prepare.h); an end frame ends the runner; the response to
 * each is one line. If the port is closed permanently, a VM that still waits ends. One thread.
 */
#ifndef MAYFLY_AGENT_SERIAL_H
#define MAYFLY_AGENT_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "deploy/image/agent/agent_core.h"
#include "deploy/image/agent/agent_loop.h"
#include "deploy/image/agent/agent_prepare.h"
#include "deploy/image/agent/agent_virtio.h"

struct agent_serial {
    struct agent_core *core;
    struct agent_port *port;
    bool unique; /* make the VM unique before the runner starts */
    int64_t looked_ms;
    struct agent_prepare prepare;
};

struct agent_transport agent_serial_transport(struct agent_serial *s);

#endif
