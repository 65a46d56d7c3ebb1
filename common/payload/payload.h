/*
 * The runner payload: what a VM is told, packed into at most 4,096 bytes of text.
 *
 * It carries GitHub's JIT config (base64 of JSON whose members are base64 again, RSA numbers among
 * them) and the options of the agent. Packing takes the base64 layers off, deflates the text
 * against a dictionary of the usual member names, keeps the key's bytes as they are, and writes
 * base64 once. A JIT config of any other shape is packed too, byte for byte; pack proves it by
 * unpacking what it made. Format version 1, in payload.c. Shared by the worker and the agent, hence
 * without a JSON parser. Unpacking copes with hostile input: everything is bounded and checked. The
 * payload is a secret: never log it. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_PAYLOAD_PAYLOAD_H
#define MAYFLY_PAYLOAD_PAYLOAD_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define PAYLOAD_PACKED_MAX 4096      /* bytes of packed text; what the narrowest provider takes */
#define PAYLOAD_CONFIG_MAX 65536     /* bytes of a JIT config; GitHub's have about 4,300 */
#define PAYLOAD_OPTION_MAX 1024      /* bytes of each text option */
#define PAYLOAD_SECONDS_MAX 31622400 /* 366 days */

struct payload {
    struct slice jit_config;      /* encoded_jit_config as GitHub gave it */
    int64_t idle_seconds;         /* end the VM when no job came for so long; 0: never */
    int64_t max_duration_seconds; /* end the VM after so long, whatever it does; 0: never */
    struct slice http_proxy;      /* each empty: unset */
    struct slice https_proxy;
    struct slice no_proxy;
    struct slice runner_name; /* the runner's and the VM's name, for logs and the host name */
    char *storage;            /* owned, what the slices point into after unpack; else NULL */
    size_t storage_len;
};

/* Appends the packed text to out, which must have room for PAYLOAD_PACKED_MAX bytes. Borrows p.
 * ERR_PERMANENT, with the sizes, when it would be longer than PAYLOAD_PACKED_MAX or a member is out
 * of its range; out is as it was then. */
MUST_CHECK int payload_pack(const struct payload *p, struct buf *out, struct err *e);

/* Fills *out; release with payload_fini. ERR_PERMANENT when it is not a payload of a version that
 * we read, or damaged. */
MUST_CHECK int payload_unpack(struct slice packed, struct payload *out, struct err *e);

/* Wipes and frees what unpack made; fine on a zeroed struct, and twice. */
void payload_fini(struct payload *p);

#endif
