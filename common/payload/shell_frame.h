/*
 * The frames of a VM's shell (classes[].shell): between mayflyctl, the VM's supervisor and the agent
 * in the VM, over a Unix socket and a virtio-serial port.
 *
 *     1 byte   type, a letter of enum shell_type
 *     1 byte   number of the session, which the supervisor gives
 *     2 bytes  length of the body, big endian, at most SHELL_BODY_MAX
 *     body
 *
 *     mayflyctl                   supervisor                    agent
 *       OPEN  ────────────────────────>  OPEN (numbered)  ──────────>  starts a shell
 *             <──────────────────────────────────────────  STARTED, or FAILED <text>
 *       DATA, INPUT_END, RESIZE  ──────────────────────────────────>
 *             <──────────────────────────────────────────  DATA
 *                              <─────────────────────────  TAKEN      after each DATA to the shell
 *             <──────────────────────────────────────────  EXITED <code>
 *       (its connection ends)            CLOSE  ────────────────────>  ends the shell
 *
 * One DATA at most is on its way to a shell: the next one follows its TAKEN. So CLOSE is never stuck
 * behind input that no program of the VM reads. Whoever may run as root in the VM may write frames
 * of his own: everything is bounded and checked. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_PAYLOAD_SHELL_FRAME_H
#define MAYFLY_PAYLOAD_SHELL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

#define SHELL_HEAD_BYTES 4
#define SHELL_BODY_MAX 4096
#define SHELL_FRAME_MAX (SHELL_HEAD_BYTES + SHELL_BODY_MAX)

enum shell_type {
    SHELL_OPEN = 'O',
    SHELL_DATA = 'D',
    SHELL_INPUT_END = 'E', /* of a pipe; a terminal's input ends with its session */
    SHELL_RESIZE = 'R',    /* "<rows> <columns>" */
    SHELL_CLOSE = 'C',
    SHELL_STARTED = 'S',
    SHELL_TAKEN = 'T',
    SHELL_EXITED = 'X', /* the exit code as text */
    SHELL_FAILED = 'F', /* why, for a person; the session has ended */
};

/* Bytes on their way: of an incomplete frame, or such as could not be written yet. */
struct shell_bytes {
    size_t len;
    char data[2 * SHELL_FRAME_MAX];
};
size_t shell_bytes_left(const struct shell_bytes *b); /* how many more fit */
void shell_bytes_drop(struct shell_bytes *b, size_t n);

struct shell_frame {
    enum shell_type type;
    unsigned char session;
    struct slice body; /* borrows from the input */
};

/* Appends a frame; body.len <= SHELL_BODY_MAX. False, with *out unchanged, if it does not fit. */
MUST_CHECK bool shell_frame_put(struct shell_bytes *out, enum shell_type type,
                                unsigned char session, struct slice body);

enum shell_parsed { SHELL_PARSED, SHELL_INCOMPLETE, SHELL_INVALID };
/* The frame at the front of `in`; *used: its length. */
enum shell_parsed shell_frame_parse(const struct shell_bytes *in, struct shell_frame *out,
                                    size_t *used);

/* The body of OPEN: "terminal|pipe <rows> <columns> <TERM> <who>". */
struct shell_open {
    bool terminal; /* else its input and output are pipes */
    int64_t rows;
    int64_t columns;
    char term[32]; /* letters, digits and "+-._" */
    char who[64];  /* as mayflyctl says; "-" to the agent */
};
/* out holds 128 bytes. */
struct slice shell_open_write(const struct shell_open *o, char *out);
MUST_CHECK bool shell_open_read(struct slice body, struct shell_open *out);

/* The body of RESIZE. out holds 32 bytes. */
struct slice shell_size_write(int64_t rows, int64_t columns, char *out);
MUST_CHECK bool shell_size_read(struct slice body, int64_t *rows, int64_t *columns);

#endif
