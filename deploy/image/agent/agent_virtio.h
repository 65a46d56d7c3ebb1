/*
 * Frames on a virtio-serial port, which carry the payload into a QEMU VM.
 *
 *     MAYFLY1 <payload bytes>\n
 *     <the packed payload>
 *     <wall clock ms>\n
 *     <host name>\n
 *     <64 hex digits>\n
 *
 *     MAYFLY1 END\n
 *
 * The first starts the runner, the second requests the end of the VM. The response is one line,
 * "OK" or "ERR <reason>". The parser is a pure function over the bytes read so far. On
 * virtio-serial reading nothing means that no host is connected, which is temporary. One thread.
 */
#ifndef MAYFLY_AGENT_VIRTIO_H
#define MAYFLY_AGENT_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define FRAME_MAX 8192 /* bytes of a whole frame; a valid one has fewer */
#define FRAME_ENTROPY_BYTES 32
#define FRAME_HOSTNAME_MAX 63

enum frame_kind {
    FRAME_MORE,  /* incomplete: read more */
    FRAME_START, /* *out is filled */
    FRAME_END,
    FRAME_BAD, /* invalid; *out_reason says why */
};

struct frame {
    struct slice packed; /* borrows from the input */
    int64_t wall_ms;
    char hostname[FRAME_HOSTNAME_MAX + 1];
    unsigned char entropy[FRAME_ENTROPY_BYTES];
};

/* Parses the front of `in`. *out_used is the length of a complete frame (START, END). */
enum frame_kind frame_parse(struct slice in, struct frame *out, size_t *out_used,
                            const char **out_reason);

struct agent_port {
    int fd;             /* -1: closed */
    bool may_return;    /* a character device: after a hang-up a host may connect again */
    int64_t hung_up_ms; /* monotonic, since when no host is connected; 0: connected, or unknown */
    struct buf input;   /* bytes of an incomplete frame */
};

/* The device of the port of that name ("/dev/vport0p1"), from sysfs, or ERR_NOT_FOUND. size >=
 * 64. */
MUST_CHECK int agent_port_find(const char *name, char *out, size_t size, struct err *e);

/* path: a character device, a FIFO, a regular file, or a unix socket to connect to. The descriptor
 * does not block. */
MUST_CHECK int agent_port_open(struct agent_port *p, const char *path, struct err *e);
/* Takes ownership of the descriptor. */
void agent_port_init(struct agent_port *p, int fd);
void agent_port_fini(struct agent_port *p);

enum port_read { PORT_BYTES, PORT_NOTHING, PORT_GONE };
/* Reads available bytes into p->input. GONE: no host can connect again, the port is closed. */
enum port_read agent_port_read(struct agent_port *p);
/* Drops n bytes from the front of the input. */
void agent_port_drop(struct agent_port *p, size_t n);
/* Writes a line, waiting at most a second until the port is writable; a response that no host reads
 * is lost. */
void agent_port_answer(struct agent_port *p, const char *line);

#endif
