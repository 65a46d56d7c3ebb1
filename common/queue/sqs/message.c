/*
 * The queue on SQS: writing and reading a message.
 *
 * SQS accepts only text of "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to
 * #x10FFFF" (API reference, SendMessage), and no empty body. Any other body is sent as base64. A
 * message that somebody else sent has no attributes: only its body and SQS's id.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/hash.h"
#include "common/queue/sqs/internal.h"

#define ENCODED_PREFIX '=' /* before base64, so that an empty body is not sent empty */

/* --- SQS's characters --- */
/* The length of the character that s starts with; 0 if SQS does not accept it. */
static size_t allowed_length(struct slice s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || len > s.len || p[0] > 0xf4) {
        return 0;
    }
    uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = (c << 6) | (p[i] & 0x3fu);
    }
    if (c < 0x20) {
        return c == '\t' || c == '\n' || c == '\r' ? len : 0;
    }
    bool good = c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) && c != 0xfffe &&
                c != 0xffff;
    return good ? len : 0;
}

static bool all_allowed(struct slice s)
{
    while (s.len > 0) {
        size_t len = allowed_length(s);
        if (len == 0) {
            return false;
        }
        s = (struct slice){s.ptr + len, s.len - len};
    }
    return true;
}

/* Replaces each byte that SQS would reject with '?'. */
static void append_allowed(struct buf *out, struct slice s)
{
    while (s.len > 0) {
        size_t len = allowed_length(s);
        buf_append(out, len > 0 ? (struct slice){s.ptr, len} : SLICE("?"));
        len = len > 0 ? len : 1;
        s = (struct slice){s.ptr + len, s.len - len};
    }
}

/* --- groups --- */
void queue_sqs_group(const char *text, char out[SQS_GROUP_MAX + 1])
{
    size_t len = text != NULL ? strlen(text) : 0;
    bool good = len <= SQS_GROUP_MAX;
    for (size_t i = 0; good && i < len; i++) {
        good = text[i] > ' ' && text[i] < 0x7f;
    }
    if (good) {
        memcpy(out, text != NULL ? text : "", len);
        out[len] = '\0';
        return;
    }
    /* Two texts with the same hash would only share their turn. */
    size_t kept = len < 100 ? len : 100;
    for (size_t i = 0; i < kept; i++) {
        out[i] = text[i] > ' ' && text[i] < 0x7f ? text[i] : '_';
    }
    (void)snprintf(out + kept, SQS_GROUP_MAX + 1 - kept, "-%016" PRIx64, hash_text(text));
}

/* --- writing --- */
struct attributes {
    struct buf *out; /* NULL: only counts */
    size_t bytes;
    bool any;
};

static void add_attribute(struct attributes *a, const char *name, const char *type,
                          struct slice value)
{
    a->bytes += strlen(name) + strlen(type) + value.len;
    if (a->out != NULL) {
        buf_append_cstr(a->out, a->any ? "," : ",\"MessageAttributes\":{");
        buf_printf(a->out, "\"%s\":{\"DataType\":\"%s\",\"StringValue\":", name, type);
        buf_append_json(a->out, value);
        buf_append_byte(a->out, '}');
    }
    a->any = true;
}

static void add_text(struct attributes *a, const char *name, const char *text)
{
    struct buf clean;
    if (text == NULL || text[0] == '\0') {
        return;
    }
    buf_init(&clean, 4096);
    append_allowed(&clean, slice_of(text));
    add_attribute(a, name, "String", buf_slice(&clean));
    buf_fini(&clean);
}

static void add_number(struct attributes *a, const char *name, int64_t number)
{
    char text[24];
    if (number != 0) {
        (void)snprintf(text, sizeof text, "%" PRId64, number);
        add_attribute(a, name, "Number", slice_of(text));
    }
}

static size_t write_attributes(const struct sqs_record *r, bool encoded, struct buf *out)
{
    struct attributes a = {.out = out};
    add_text(&a, "id", r->id);
    add_text(&a, "key", r->key);
    add_text(&a, "reason", r->reason);
    add_text(&a, "lane", r->lane);
    add_text(&a, "encoding", encoded ? "base64" : "");
    add_number(&a, "attempts", r->attempts);
    add_number(&a, "enqueued", r->enqueued_ms);
    add_number(&a, "dead_lettered", r->dead_lettered_ms);
    add_number(&a, "hold", r->delay_ms > SQS_DELAY_MAX_S * 1000LL ? r->delay_ms : 0);
    if (a.any && out != NULL) {
        buf_append_byte(out, '}');
    }
    return a.bytes;
}

static bool needs_encoding(struct slice body)
{
    return body.len == 0 || !all_allowed(body);
}

size_t queue_sqs_size(const struct sqs_record *r)
{
    bool encoded = needs_encoding(r->body);
    size_t body = encoded ? 1 + (r->body.len + 2) / 3 * 4 : r->body.len;
    return body + write_attributes(r, encoded, NULL);
}

size_t queue_sqs_write(const struct sqs_record *r, struct buf *out)
{
    char group[SQS_GROUP_MAX + 1];
    bool encoded = needs_encoding(r->body);
    int64_t delay_s = queue_sqs_seconds(r->delay_ms);
    size_t size = r->body.len;
    buf_append_cstr(out, ",\"MessageBody\":");
    if (encoded) {
        size = 1 + (r->body.len + 2) / 3 * 4;
        buf_printf(out, "\"%c", ENCODED_PREFIX);
        codec_base64(out, r->body);
        buf_append_byte(out, '"');
    } else {
        buf_append_json(out, r->body);
    }
    /* Always sent, so that the queue's own DelaySeconds does not apply. */
    buf_printf(out, ",\"DelaySeconds\":%" PRId64,
               delay_s < SQS_DELAY_MAX_S ? delay_s : SQS_DELAY_MAX_S);
    queue_sqs_group(r->group, group);
    if (group[0] != '\0') {
        buf_append_cstr(out, ",\"MessageGroupId\":");
        buf_append_json(out, slice_of(group));
    }
    return size + write_attributes(r, encoded, out);
}

/* --- reading --- */
static const char *attribute(const json_t *o, const char *name)
{
    const json_t *a = json_object_get(json_object_get(o, "MessageAttributes"), name);
    const char *text = json_string_value(json_object_get(a, "StringValue"));
    return text != NULL ? text : "";
}

/* Anyone who may send to the queue writes these: a number out of bounds counts as absent. */
static int64_t attribute_number(const json_t *o, const char *name, int64_t most)
{
    int64_t number = 0;
    return slice_to_range(slice_of(attribute(o, name)), 0, most, &number) ? number : 0;
}

static int64_t attribute_ms(const json_t *o, const char *name)
{
    return attribute_number(o, name, CLOCK_WALL_MAX_MS);
}

static const char *system_attribute(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(o, "Attributes"), name));
    return text != NULL ? text : "";
}

static void read_body(const json_t *o, const json_t *body, struct queue_message *m)
{
    struct slice text = {json_string_value(body), json_string_length(body)};
    if (strcmp(attribute(o, "encoding"), "base64") == 0 && text.len > 0 &&
        text.ptr[0] == ENCODED_PREFIX) {
        struct buf bytes;
        buf_init(&bytes, text.len);
        if (codec_unbase64(&bytes, (struct slice){text.ptr + 1, text.len - 1})) {
            m->body = slice_dup(buf_slice(&bytes));
            m->body_len = bytes.len;
            buf_fini(&bytes);
            return;
        }
        buf_fini(&bytes);
    }
    m->body = slice_dup(text);
    m->body_len = text.len;
}

/* Others may send longer texts than Mayfly does: they are cut, not rejected. */
static void copy_cut(const char *text, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", text);
}

bool queue_sqs_read(const json_t *o, const char *lane, struct sqs_received *out)
{
    const char *handle = json_string_value(json_object_get(o, "ReceiptHandle"));
    const char *id = json_string_value(json_object_get(o, "MessageId"));
    const json_t *body = json_object_get(o, "Body");
    int64_t sent_ms = 0;
    if (handle == NULL || id == NULL || !json_is_string(body)) {
        return false;
    }
    *out = (struct sqs_received){0};
    if (!slice_to_cstr(slice_of(handle), out->handle, sizeof out->handle) ||
        !slice_to_range(slice_of(system_attribute(o, "SentTimestamp")), 0, CLOCK_WALL_MAX_MS,
                        &sent_ms)) {
        return false;
    }
    struct queue_message *m = &out->m;
    const char *own = attribute(o, "id");
    copy_cut(own[0] != '\0' ? own : id, m->id, sizeof m->id);
    copy_cut(lane, m->lane, sizeof m->lane);
    copy_cut(attribute(o, "key"), m->key, sizeof m->key);
    copy_cut(attribute(o, "reason"), out->reason, sizeof out->reason);
    queue_sqs_group(system_attribute(o, "MessageGroupId"), out->group);
    m->attempts = attribute_number(o, "attempts", QUEUE_ATTEMPTS_MAX);
    m->enqueued_ms = attribute_ms(o, "enqueued");
    m->enqueued_ms = m->enqueued_ms > 0 ? m->enqueued_ms : sent_ms;
    out->dead_lettered_ms = attribute_ms(o, "dead_lettered");
    int64_t hold_ms = attribute_ms(o, "hold");
    out->due_ms = hold_ms > 0 ? sent_ms + hold_ms : 0;
    read_body(o, body, m);
    return true;
}

/* --- receipts --- */
void queue_sqs_receipt(struct queue_message *m, const char *group, const char *handle,
                       int64_t until_mono_ms)
{
    int n =
        snprintf(m->receipt, sizeof m->receipt, "%" PRId64 " %s %s", until_mono_ms, group, handle);
    ASSERT(n > 0 && (size_t)n < sizeof m->receipt);
}

bool queue_sqs_lease(const struct queue_message *m, struct sqs_lease *out)
{
    struct slice until;
    struct slice group;
    struct slice handle;
    struct slice rest;
    if (!slice_cut(slice_of(m->receipt), ' ', &until, &rest) ||
        !slice_cut(rest, ' ', &group, &handle) || handle.len == 0 ||
        !slice_to_int64(until, &out->until_mono_ms) ||
        !slice_to_cstr(group, out->group, sizeof out->group)) {
        return false;
    }
    out->handle = handle.ptr; /* the last part of the receipt, so it is terminated */
    return true;
}
