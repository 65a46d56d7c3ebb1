/* Any bytes around the packed payload: the first byte chooses. As packed text and as the bytes
 * below its base64 they must be refused or give a payload that packs and unpacks to itself; as a
 * plan (its checksum taken for granted) they must expand within bounds; as a JIT config they must
 * come back byte for byte or be refused for their size; as a frame they must not be read beyond
 * their end. */
#include <string.h>

#include "common/base/codec.h"
#include "common/payload/layers.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_virtio.h"
#include "tests/fuzz/fuzz.h"

/* Packing what was unpacked gives the same payload again, if it still fits. */
static void check_again(const struct payload *p)
{
    struct payload back;
    struct buf packed;
    struct err e;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    if (payload_pack(p, &packed, &e) == 0) {
        ASSERT(packed.len > 0 && packed.len <= PAYLOAD_PACKED_MAX);
        ASSERT(payload_unpack(buf_slice(&packed), &back, &e) == 0);
        ASSERT(slice_eq(back.jit_config, p->jit_config));
        ASSERT(back.idle_seconds == p->idle_seconds);
        ASSERT(slice_eq(back.no_proxy, p->no_proxy));
        payload_fini(&back);
    } else {
        ASSERT(e.class == ERR_PERMANENT && packed.len == 0);
    }
    buf_fini(&packed);
}

static void try_text(struct slice text)
{
    struct payload p = {.idle_seconds = -7};
    struct err e;
    if (payload_unpack(text, &p, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT && p.idle_seconds == -7);
        return;
    }
    ASSERT(p.jit_config.len <= PAYLOAD_CONFIG_MAX);
    ASSERT(p.idle_seconds >= 0 && p.idle_seconds <= PAYLOAD_SECONDS_MAX);
    check_again(&p);
    payload_fini(&p);
}

static void try_bytes(struct slice bytes)
{
    struct buf text;
    buf_init(&text, 2 * bytes.len + 8);
    codec_base64(&text, bytes);
    try_text(buf_slice(&text));
    buf_fini(&text);
}

static void try_plan(struct slice bytes)
{
    struct slice plan = {bytes.ptr, bytes.len / 2};
    struct slice tail = {bytes.ptr + plan.len, bytes.len - plan.len};
    struct buf out;
    buf_init(&out, PAYLOAD_CONFIG_MAX);
    if (layers_expand(&plan, &tail, &out)) {
        ASSERT(!out.failed && out.len <= PAYLOAD_CONFIG_MAX);
    }
    ASSERT(plan.len <= bytes.len && tail.len <= bytes.len);
    buf_fini(&out);
}

static void try_config(struct slice bytes)
{
    const struct payload p = {.jit_config = bytes, .idle_seconds = 120};
    check_again(&p);
}

static void try_frame(struct slice bytes)
{
    struct frame f;
    size_t used = 0;
    const char *reason = NULL;
    switch (frame_parse(bytes, &f, &used, &reason)) {
    case FRAME_START:
        ASSERT(f.packed.len >= 1 && f.packed.len <= PAYLOAD_PACKED_MAX);
        ASSERT(f.packed.ptr > bytes.ptr && f.packed.ptr + f.packed.len < bytes.ptr + used);
        ASSERT(f.wall_ms > 0 && f.hostname[0] != '\0');
        ASSERT(used <= bytes.len && bytes.ptr[used - 1] == '\n');
        break;
    case FRAME_END:
        ASSERT(used <= bytes.len && bytes.ptr[used - 1] == '\n');
        break;
    case FRAME_BAD:
        ASSERT(reason != NULL);
        break;
    case FRAME_MORE:
        /* A frame is never larger than the agent's buffer: then it could wait for ever. */
        ASSERT(bytes.len < FRAME_MAX);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct slice rest = {(const char *)data + 1, size - 1};
    switch (data[0]) {
    case 't':
        try_text(rest);
        break;
    case 'b':
        try_bytes(rest);
        break;
    case 'p':
        try_plan(rest);
        break;
    case 'c':
        try_config(rest);
        break;
    default:
        try_frame(rest);
        break;
    }
    return 0;
}
