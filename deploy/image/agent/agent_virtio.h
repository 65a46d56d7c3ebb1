/*
 * The way of the payload into a QEMU virtual machine: frames on a virtio-serial port.
 *
 *     MAYFLY1 <payload bytes>\n <the packed payload> <wall clock ms>\n <host name>\n <64 hex
 * digits>\n MAYFLY1 END\n
 *
 * The first starts the runner, the second asks for the end of the machine. The answer is one line,
 * "OK" or "ERR <reason>". The parser is a pure function over the bytes read so far. The port knows
 * that reading nothing means "no host is connected", which on virtio-serial passes again. One
 * thread.
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

#define FRAME_MAX 8192 /* bytes of a whole frame; a valid one has less */
#define FRAME_ENTROPY_BYTES 32
#define FRAME_HOSTNAME_MAX 63

enum frame_kind {
    FRAME_MORE,  /* not whole yet: read on */
    FRAME_START, /* *out is filled */
    FRAME_END,
    FRAME_BAD, /* it can never become a frame; *out_reason says why */
};

struct frame {
    struct slice packed; /* borrows from the input */
    int64_t wall_ms;
    char hostname[FRAME_HOSTNAME_MAX + 1];
    unsigned char entropy[FRAME_ENTROPY_BYTES];
};

/* Looks at the front of `in`. *out_used is the length of a whole frame (START, END). */
enum frame_kind frame_parse(struct slice in, struct frame *out, size_t *out_used,
                            const char **out_reason);

struct agent_port {
    int fd;             /* -1: closed */
    bool may_return;    /* a character device: after a hang-up a host may connect again */
    int64_t hung_up_ms; /* monotonic, since when nobody is there; 0: somebody, or not known */
    struct buf input;   /* bytes of a frame that is not whole */
};

/* The device of the port of that name ("/dev/vport0p1"), from sysfs; ERR_NOT_FOUND. size >= 64. */
MUST_CHECK int agent_port_find(const char *name, char *out, size_t size, struct err *e);

/* path: a character device, a FIFO, a regular file, or a unix socket to connect to. The descriptor
 * does not block. */
MUST_CHECK int agent_port_open(struct agent_port *p, const char *path, struct err *e);
/* Takes the descriptor. */
void agent_port_init(struct agent_port *p, int fd);
void agent_port_fini(struct agent_port *p);

enum port_read { PORT_BYTES, PORT_NOTHING, PORT_GONE };
/* Reads what is there into p->input. GONE: nobody can come again, the port is closed. */
enum port_read agent_port_read(struct agent_port *p);
/* Drops n bytes from the front of the input. */
void agent_port_drop(struct agent_port *p, size_t n);
/* Writes a line, waiting at most a second for room; an answer that nobody takes is lost. */
void agent_port_answer(struct agent_port *p, const char *line);

#endif
