/*
 * One session of `mayflyctl shell`: between this process's standard input and output and the
 * supervisor of a VM (common/payload/shell_frame.h).
 *
 * If both are a terminal, it is raw during the session, and as it was afterwards, also after a
 * signal; else they are passed on as they are, to the end of the input and of the shell. What comes is
 * from whoever controls the VM, and is not filtered. Nothing of it is kept: what the reader does not
 * take is not received. One thread; it changes the process's signals.
 */
#ifndef MAYFLY_DEPLOY_CTL_SHELL_SESSION_H
#define MAYFLY_DEPLOY_CTL_SHELL_SESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* Until the shell has ended, with its exit code, or the operator ends the session, with 0. socket:
 * connected, borrowed. ERR_CONFLICT: no shell was to be had, or the VM has ended; *e says why. */
MUST_CHECK int shell_session_run(int socket, const char *who, int *exit_code, struct err *e);

/* What a person types: "~." at the start of a line, or Ctrl-], ends the session; "~~" there is one
 * "~". */
struct shell_keys {
    bool in_line; /* zero it to begin */
    bool tilde;   /* it was at the start of a line, and is not passed on yet */
};
/* Appends to out, which holds 2 * in.len + 1 bytes, what is passed on. False: the session ends. */
MUST_CHECK bool shell_keys_take(struct shell_keys *k, struct slice in, char *out, size_t *out_len);

#endif
