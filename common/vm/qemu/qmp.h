/*
 * Communication with a VM over the Unix sockets in its `run` directory: QMP, and the agent's
 * payload port.
 *
 * QMP is JSON lines (docs/interop/qmp-spec.txt in QEMU): a greeting, one command at a time, events
 * in between, which are skipped. Sockets are reached through the open directory, since a socket's
 * path has at most 107 bytes; what is no socket there, a link for example, is refused. Every call has a deadline on
 * the monotonic clock; data from the other side is bounded and not trusted. A connection belongs to
 * one thread.
 */
#ifndef MAYFLY_VM_QEMU_QMP_H
#define MAYFLY_VM_QEMU_QMP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* Connects to the socket `name` in the directory; *out_fd is non-blocking and owned by the caller.
 * While nobody listens yet it tries again until the deadline, or until gone(arg) returns true
 * (NULL: never). ERR_RETRY. */
typedef bool qemu_gone_fn(void *arg);
MUST_CHECK int qemu_connect(int dir_fd, const char *name, int64_t deadline_ms, qemu_gone_fn *gone,
                            void *arg, int *out_fd, struct err *e);

/* Sends all of it. ERR_RETRY at the deadline or when the other side hung up. */
MUST_CHECK int qemu_send(int fd, struct slice data, int64_t deadline_ms, struct err *e);

/* Reads up to a newline, which is removed; `line` may hold more data, and is passed again for the
 * next line after qemu_line_done. */
MUST_CHECK int qemu_read_line(int fd, struct buf *in, struct slice *line, int64_t deadline_ms,
                              struct err *e);
/* Drops the first line from the buffer. */
void qemu_line_done(struct buf *in);

struct qmp;

/* Connects and reads the greeting. */
MUST_CHECK int qmp_open(int dir_fd, int64_t deadline_ms, struct qmp **out, struct err *e);
void qmp_close(struct qmp *q);

/* One command; arguments: a JSON object as text, or NULL. The response's "return" is appended to
 * out as JSON text (out may be NULL). QEMU's "error" is ERR_RETRY with its message. */
MUST_CHECK int qmp_call(struct qmp *q, const char *command, const char *arguments,
                        int64_t deadline_ms, struct buf *out, struct err *e);

/* Passes an open file to QEMU under a name ("getfd"); the caller's stays open. */
MUST_CHECK int qmp_give_fd(struct qmp *q, int fd, const char *name, int64_t deadline_ms,
                           struct err *e);

/* The kind of a line from QEMU. Pure; for qmp_call and its test. */
enum qmp_kind { QMP_GREETING, QMP_EVENT, QMP_RETURN, QMP_ERROR, QMP_NONSENSE };
enum qmp_kind qmp_classify(struct slice line, struct buf *out_return, struct err *e);

/* What a line of QEMU says about the VM: an event, or its status. Texts are "" where it says nothing,
 * and printable. Pure. */
struct qmp_news {
    char event[32];     /* "STOP", "BLOCK_IO_ERROR" */
    char operation[16]; /* of the disk: "read", "write" */
    char action[16];    /* "report": the guest got the error; "stop": the VM is paused */
    char reason[80];    /* "No space left on device" */
    char status[24];    /* of query-status: "running", "io-error" */
};
void qmp_news_of(struct slice line, struct qmp_news *out);

/* The member `key` of a JSON object in text, if it is a string that fits; else "". */
void qmp_text_member(const struct buf *object, const char *key, char *out, size_t size);

#endif
