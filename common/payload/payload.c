/*
 * Format, version 1. The text is canonical base64 of:
 *
 *     1 byte    version (1)
 *     4 bytes   CRC-32 of plan and tail, big endian
 *     stream    the plan, raw deflate with the preset dictionary below
 *     rest      the tail: bytes that do not compress
 *
 * The plan is varint(idle seconds), varint(max seconds), four times varint(length) and text (HTTP
 * proxy, HTTPS proxy, no proxy, runner name), then the JIT config as described in layers.h, and last
 * varint(hold seconds) unless that is 0. The dictionary is part of the version: a change of it needs a new version.
 */
#include "common/payload/payload.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/codec.h"
#include "common/payload/layers.h"

#define HEADER_BYTES 5
/* Decoding a layer shrinks it, so a plan is hardly longer than its text. */
#define PLAN_MAX ((size_t)PAYLOAD_CONFIG_MAX + 16384)

/* The most common text is last: the nearest matches are the cheapest. */
static const char dictionary[] =
    "http://10.0.2.2:https://localhost,127.0.0.1,.internal"
    "\"RequireFipsCryptography\":\"SkipSessionRecover\":\"MonitorSocketAddress\":"
    "\"AuthorizationUrlV2\":\"AuthMigration\":\"gitHubUrl\":\"IsHostedServer\":\"True\"\"False\""
    "{\"exponent\":\"AQAB\",\"modulus\":\"\",\"d\":\"\",\"dp\":\"\",\"dq\":\"\",\"inverseQ\":\"\","
    "\"p\":\"\",\"q\":\"\"}{\"d\":\"\",\"dp\":\"\",\"dq\":\"\",\"exponent\":\"AQAB\",\"inverseQ\":"
    "\""
    "\",\"modulus\":\"\",\"p\":\"\",\"q\":\"\"}"
    "{\"Scheme\":\"OAuth\",\"Data\":{\"ClientId\":\"\",\"AuthorizationUrl\":\""
    "{\"scheme\":\"OAuth\",\"data\":{\"clientId\":\"\",\"authorizationUrl\":\"https://"
    "vstoken.actions.githubusercontent.com/_apis/oauth2/token/https://"
    "tokenghub.actions.githubusercontent.com/_apis/oauth2/token/\","
    "\"requireFipsCryptography\":\"True\"}}"
    "{\"AgentId\":\"\",\"AgentName\":\"\",\"DisableUpdate\":\"false\",\"Ephemeral\":\"True\","
    "\"GitHubUrl\":\"https://github.com/\",\"PoolId\":\"1\",\"PoolName\":\"Default\","
    "\"ServerUrl\":\"https://pipelinesghubeus20.actions.githubusercontent.com/\","
    "\"ServerUrlV2\":\"https://broker.actions.githubusercontent.com/\",\"UseV2Flow\":\"true\","
    "\"WorkFolder\":\"_work\"}"
    "{\".runner\":\"\",\".credentials\":\"\",\".credentials_rsaparams\":\"\"}";

static void wipe_block(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

static uint32_t payload_crc(struct slice plan, struct slice tail)
{
    uLong crc = crc32(0, Z_NULL, 0);
    crc = crc32_z(crc, (const Bytef *)plan.ptr, plan.len);
    if (tail.len > 0) {
        crc = crc32_z(crc, (const Bytef *)tail.ptr, tail.len);
    }
    return (uint32_t)crc;
}

/* zlib's headers lack const on input without ZLIB_CONST; the bytes are only read. */
static Bytef *to_mutable(const char *p)
{
    union {
        const char *in;
        Bytef *out;
    } u = {.in = p};
    return u.out;
}

/* --- packing ---------------------------------------------------------------------------------- */

static void deflate_plan(struct slice plan, struct buf *out)
{
    z_stream z = {0};
    int rc = deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
    ASSERT(rc == Z_OK);
    rc = deflateSetDictionary(&z, (const Bytef *)dictionary, sizeof(dictionary) - 1);
    ASSERT(rc == Z_OK);
    z.next_in = to_mutable(plan.ptr);
    z.avail_in = (uInt)plan.len;
    do {
        char chunk[4096];
        z.next_out = (Bytef *)chunk;
        z.avail_out = sizeof(chunk);
        rc = deflate(&z, Z_FINISH);
        ASSERT(rc == Z_OK || rc == Z_STREAM_END);
        buf_append(out, (struct slice){chunk, sizeof(chunk) - z.avail_out});
        explicit_bzero(chunk, sizeof(chunk));
    } while (rc != Z_STREAM_END);
    deflateEnd(&z);
}

static void put_option(struct buf *plan, struct slice s)
{
    varint_put(plan, s.len);
    buf_append(plan, s);
}

/* Appends the packed text in one style; false if it exceeds out's limit. */
static bool pack_style(const struct payload *p, enum layers_style style, struct buf *out)
{
    struct buf plan, tail, bytes;
    buf_init(&plan, PLAN_MAX);
    buf_init(&tail, PLAN_MAX);
    buf_init(&bytes, 2 * PLAN_MAX + HEADER_BYTES);
    varint_put(&plan, (uint64_t)p->idle_seconds);
    varint_put(&plan, (uint64_t)p->max_duration_seconds);
    put_option(&plan, p->http_proxy);
    put_option(&plan, p->https_proxy);
    put_option(&plan, p->no_proxy);
    put_option(&plan, p->runner_name);
    layers_strip(p->jit_config, style, &plan, &tail);
    if (p->hold_seconds > 0) {
        varint_put(&plan, (uint64_t)p->hold_seconds);
    }
    bool ok = !plan.failed && !tail.failed;
    if (ok) {
        uint32_t crc = payload_crc(buf_slice(&plan), buf_slice(&tail));
        char header[HEADER_BYTES] = {PAYLOAD_VERSION, (char)(crc >> 24), (char)(crc >> 16),
                                     (char)(crc >> 8), (char)crc};
        buf_append(&bytes, (struct slice){header, sizeof(header)});
        deflate_plan(buf_slice(&plan), &bytes);
        buf_append(&bytes, buf_slice(&tail));
        codec_base64(out, buf_slice(&bytes));
        ok = !bytes.failed && !out->failed;
    }
    wipe_block(&plan);
    wipe_block(&tail);
    wipe_block(&bytes);
    return ok;
}

/* Whether the packed text unpacks to p, byte for byte. */
static bool gives_back(struct slice packed, const struct payload *p)
{
    struct payload back = {0};
    struct err ignored;
    bool same =
        payload_unpack(packed, &back, &ignored) == 0 && back.idle_seconds == p->idle_seconds &&
        back.max_duration_seconds == p->max_duration_seconds &&
        back.hold_seconds == p->hold_seconds && slice_eq(back.http_proxy, p->http_proxy) &&
        slice_eq(back.https_proxy, p->https_proxy) && slice_eq(back.no_proxy, p->no_proxy) &&
        slice_eq(back.runner_name, p->runner_name) && slice_eq(back.jit_config, p->jit_config);
    payload_fini(&back);
    return same;
}

static int check_ranges(const struct payload *p, struct err *e)
{
    const struct slice options[] = {p->http_proxy, p->https_proxy, p->no_proxy, p->runner_name};
    if (p->jit_config.len > PAYLOAD_CONFIG_MAX) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the JIT config has %zu bytes; at most %d can be packed", p->jit_config.len,
                       PAYLOAD_CONFIG_MAX);
    }
    if (p->idle_seconds < 0 || p->idle_seconds > PAYLOAD_SECONDS_MAX ||
        p->max_duration_seconds < 0 || p->max_duration_seconds > PAYLOAD_SECONDS_MAX ||
        p->hold_seconds < 0 || p->hold_seconds > PAYLOAD_SECONDS_MAX) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "idle, hold or maximum duration of the payload is not within 0 to %d seconds",
            PAYLOAD_SECONDS_MAX);
    }
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        if (options[i].len > PAYLOAD_OPTION_MAX) {
            return err_set(e, ERR_PERMANENT, 0,
                           "a proxy setting or name of the payload has %zu bytes; at most %d fit",
                           options[i].len, PAYLOAD_OPTION_MAX);
        }
    }
    return 0;
}

int payload_pack(const struct payload *p, struct buf *out, struct err *e)
{
    /* The first style suits GitHub's configs. The next ones are tried if the result is too large;
     * the last one always works. */
    static const enum layers_style styles[] = {LAYERS_TAIL, LAYERS_INLINE, LAYERS_NONE};
    struct buf best = {0};
    int rc = -1;
    if (check_ranges(p, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < COUNT_OF(styles); i++) {
        struct buf text;
        if (best.data != NULL && best.len <= PAYLOAD_PACKED_MAX) {
            break;
        }
        buf_init(&text, 4 * PLAN_MAX);
        if (pack_style(p, styles[i], &text) && (best.data == NULL || text.len < best.len) &&
            gives_back(buf_slice(&text), p)) {
            struct buf worse = best;
            best = text;
            text = worse;
        }
        wipe_block(&text);
    }
    ASSERT(best.data != NULL);
    if (best.len > PAYLOAD_PACKED_MAX) {
        err_set(e, ERR_PERMANENT, 0,
                "the payload is too large: %zu bytes packed, at most %d fit into a VM's payload "
                "(JIT config of "
                "%zu bytes, proxy settings of %zu)",
                best.len, PAYLOAD_PACKED_MAX, p->jit_config.len,
                p->http_proxy.len + p->https_proxy.len + p->no_proxy.len);
    } else {
        size_t before = out->len;
        buf_append(out, buf_slice(&best));
        rc = 0;
        if (out->failed) {
            out->len = before;
            rc = err_set(e, ERR_PERMANENT, 0,
                         "the buffer is too small for a packed payload of %zu bytes", best.len);
        }
    }
    wipe_block(&best);
    return rc;
}

/* --- unpacking -------------------------------------------------------------------------------- */

/* Inflates the stream at the front of *in, removes it, and appends the plan to out. */
static bool inflate_plan(struct slice *in, struct buf *out)
{
    z_stream z = {0};
    int rc = inflateInit2(&z, -MAX_WBITS);
    ASSERT(rc == Z_OK);
    rc = inflateSetDictionary(&z, (const Bytef *)dictionary, sizeof(dictionary) - 1);
    ASSERT(rc == Z_OK);
    z.next_in = to_mutable(in->ptr);
    z.avail_in = (uInt)in->len;
    do {
        char chunk[4096];
        z.next_out = (Bytef *)chunk;
        z.avail_out = sizeof(chunk);
        rc = inflate(&z, Z_NO_FLUSH);
        buf_append(out, (struct slice){chunk, sizeof(chunk) - z.avail_out});
        explicit_bzero(chunk, sizeof(chunk));
    } while (rc == Z_OK && !out->failed);
    in->ptr += in->len - z.avail_in;
    in->len = z.avail_in;
    inflateEnd(&z);
    return rc == Z_STREAM_END && !out->failed;
}

struct parts {
    uint64_t idle_seconds, max_seconds;
    struct slice options[4];
};

static bool read_parts(struct slice *plan, struct parts *out)
{
    if (!varint_get(plan, &out->idle_seconds) || !varint_get(plan, &out->max_seconds) ||
        out->idle_seconds > PAYLOAD_SECONDS_MAX || out->max_seconds > PAYLOAD_SECONDS_MAX) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(out->options); i++) {
        uint64_t len;
        if (!varint_get(plan, &len) || len > PAYLOAD_OPTION_MAX ||
            !slice_get(plan, len, &out->options[i])) {
            return false;
        }
    }
    return true;
}

static struct slice copy_into(struct buf *storage, struct slice s)
{
    size_t at = storage->len;
    buf_append(storage, s);
    return (struct slice){storage->data + at, s.len};
}

/* What follows the config; nothing is 0. */
static bool read_hold(struct slice *plan, uint64_t *out)
{
    *out = 0;
    return plan->len == 0 ||
           (varint_get(plan, out) && *out > 0 && *out <= PAYLOAD_SECONDS_MAX && plan->len == 0);
}

/* All that the payload points into is in one block, so that one call wipes it. */
static bool fill_payload(struct slice plan, struct slice tail, struct payload *out)
{
    struct parts parts;
    uint64_t hold_seconds = 0;
    struct buf config, storage;
    if (!read_parts(&plan, &parts)) {
        return false;
    }
    buf_init(&config, PAYLOAD_CONFIG_MAX);
    bool ok =
        layers_expand(&plan, &tail, &config) && read_hold(&plan, &hold_seconds) && tail.len == 0;
    if (ok) {
        size_t total = config.len;
        for (size_t i = 0; i < COUNT_OF(parts.options); i++) {
            total += parts.options[i].len;
        }
        /* Allocated at once: slices into it must stay valid. */
        storage =
            (struct buf){.data = calloc(1, total + 1), .cap = total + 1, .limit_bytes = total + 1};
        ASSERT(storage.data != NULL);
        *out = (struct payload){.jit_config = copy_into(&storage, buf_slice(&config)),
                                .idle_seconds = (int64_t)parts.idle_seconds,
                                .max_duration_seconds = (int64_t)parts.max_seconds,
                                .hold_seconds = (int64_t)hold_seconds,
                                .http_proxy = copy_into(&storage, parts.options[0]),
                                .https_proxy = copy_into(&storage, parts.options[1]),
                                .no_proxy = copy_into(&storage, parts.options[2]),
                                .runner_name = copy_into(&storage, parts.options[3]),
                                .storage = storage.data,
                                .storage_len = storage.cap};
    }
    wipe_block(&config);
    return ok;
}

static int unpack_bytes(struct slice bytes, struct payload *out, struct err *e)
{
    struct buf plan;
    uint32_t crc = 0;
    if (bytes.len < HEADER_BYTES) {
        return err_set(e, ERR_PERMANENT, 0, "not a payload: %zu bytes are too few", bytes.len);
    }
    if (bytes.ptr[0] != PAYLOAD_VERSION) {
        return err_set(e, ERR_PERMANENT, 0,
                       "payload of version %d; this program reads version %d: use an image and "
                       "programs of one release",
                       (unsigned char)bytes.ptr[0], PAYLOAD_VERSION);
    }
    for (size_t i = 1; i < HEADER_BYTES; i++) {
        crc = crc << 8 | (unsigned char)bytes.ptr[i];
    }
    struct slice rest = {bytes.ptr + HEADER_BYTES, bytes.len - HEADER_BYTES};
    buf_init(&plan, PLAN_MAX);
    int rc = 0;
    if (!inflate_plan(&rest, &plan) || payload_crc(buf_slice(&plan), rest) != crc ||
        !fill_payload(buf_slice(&plan), rest, out)) {
        rc = err_set(e, ERR_PERMANENT, 0, "the payload is damaged");
    }
    wipe_block(&plan);
    return rc;
}

int payload_unpack(struct slice packed, struct payload *out, struct err *e)
{
    struct buf bytes;
    buf_init(&bytes, 4 * PLAN_MAX);
    int rc = -1;
    if (packed.len > 4 * PLAN_MAX || !codec_unbase64(&bytes, packed)) {
        err_set(e, ERR_PERMANENT, 0, "not a payload: %zu bytes that are not base64", packed.len);
    } else {
        rc = unpack_bytes(buf_slice(&bytes), out, e);
    }
    wipe_block(&bytes);
    return rc;
}

void payload_fini(struct payload *p)
{
    if (p->storage != NULL) {
        explicit_bzero(p->storage, p->storage_len);
        free(p->storage);
    }
    *p = (struct payload){0};
}
