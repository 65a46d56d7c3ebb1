/*
 * The runner payload: the input of a VM, packed into at most 4,096 bytes of text.
 *
 * It carries GitHub's JIT config (base64 of JSON whose members are base64 again, RSA numbers among
 * them) and the options of the agent. Packing decodes the base64 layers, deflates the text with a
 * dictionary of the usual member names, stores the key's bytes as they are, and encodes base64
 * once. A JIT config of any other form is packed too, byte for byte; pack verifies this by
 * unpacking its output. Format version 1, in payload.c. Shared by the worker and the agent, hence
 * without a JSON parser. Unpacking is safe with hostile input: everything is bounded and checked.
 * The payload is a secret: never log it. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_PAYLOAD_PAYLOAD_H
#define MAYFLY_PAYLOAD_PAYLOAD_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define PAYLOAD_VERSION 1        /* of the format: an agent reads the payloads of its own alone */
#define PAYLOAD_PACKED_MAX 4096  /* bytes of packed text; the smallest limit of the providers */
#define PAYLOAD_CONFIG_MAX 65536 /* bytes of a JIT config; GitHub's have about 4,300 */
#define PAYLOAD_OPTION_MAX 1024  /* bytes of each text option */
#define PAYLOAD_SECONDS_MAX 31622400 /* 366 days */

/* Instead of a packed payload, which it cannot be mistaken for: start no runner, only show that the
 * VM could. mayfly-publish-image tries a new version of an image so. */
#define PAYLOAD_TRIAL "mayfly-try"

struct payload {
    struct slice jit_config;      /* encoded_jit_config as GitHub gave it */
    int64_t idle_seconds;         /* shut down if no job starts within this time; 0: never */
    int64_t max_duration_seconds; /* shut down after this time in any case; 0: never */
    int64_t hold_seconds;         /* stay for this long if the job failed; 0: not */
    struct slice http_proxy;      /* each empty: unset */
    struct slice https_proxy;
    struct slice no_proxy;
    struct slice runner_name; /* the runner's and the VM's name, for logs and the host name */
    char *storage;            /* owned, what the slices point into after unpack; else NULL */
    size_t storage_len;
};

/* Appends the packed text to out, which must have capacity for PAYLOAD_PACKED_MAX bytes. Borrows p.
 * ERR_PERMANENT, with the sizes, if it would be longer than PAYLOAD_PACKED_MAX or a member is out
 * of its range; out is unchanged then. */
MUST_CHECK int payload_pack(const struct payload *p, struct buf *out, struct err *e);

/* Fills *out; release with payload_fini. ERR_PERMANENT if it is not a payload of a supported
 * version, or damaged. */
MUST_CHECK int payload_unpack(struct slice packed, struct payload *out, struct err *e);

/* Wipes and frees the memory of unpack; safe on a zeroed struct, and to call twice. */
void payload_fini(struct payload *p);

#endif
