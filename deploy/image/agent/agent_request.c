#include "deploy/image/agent/agent_request.h"

#include <string.h>

#include "common/base/json_scan.h"

#define HEADERS_MAX 64
#define EMPTY_LINES_MAX 2

/* --- the head --------------------------------------------------------------------------------- */

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_http_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_token_char(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
}

/* HTTP has no control characters in a head; a TLS handshake begins with one. */
static bool has_no_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* Removes a line from *in; the result is without its CR LF (or LF). */
static bool next_head_line(struct slice *in, struct slice *out_line)
{
    struct slice rest;
    if (!slice_cut(*in, '\n', out_line, &rest)) {
        return false;
    }
    if (out_line->len > 0 && out_line->ptr[out_line->len - 1] == '\r') {
        out_line->len--;
    }
    *in = rest;
    return true;
}

static bool set_error(struct agent_request *out, int status)
{
    out->status = status;
    return false;
}

/* "localhost", "127.0.0.1" or "[::1]", with a port or without. */
static bool is_local(struct slice host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct slice name = slice_of(names[i]);
        int64_t port;
        if (host.len < name.len || !slice_eq_nocase((struct slice){host.ptr, name.len}, name)) {
            continue;
        }
        struct slice rest = {host.ptr + name.len, host.len - name.len};
        if (rest.len == 0 || (rest.ptr[0] == ':' &&
                              slice_to_int64((struct slice){rest.ptr + 1, rest.len - 1}, &port) &&
                              port > 0 && port <= 65535)) {
            return true;
        }
    }
    return false;
}

/* "http://host/path", as a proxy gets it (RFC 9112, 3.2.2), becomes "/path". */
static void take_authority(struct agent_request *out)
{
    const size_t width = sizeof("http://") - 1;
    struct slice target = out->target;
    if (target.len <= width ||
        !slice_eq_nocase((struct slice){target.ptr, width}, SLICE("http://"))) {
        return;
    }
    target.ptr += width;
    target.len -= width;
    const char *path = memchr(target.ptr, '/', target.len);
    if (path != NULL) {
        size_t host = (size_t)(path - target.ptr);
        out->forwarded = !is_local((struct slice){target.ptr, host});
        out->target = (struct slice){path, target.len - host};
    }
}

static bool parse_request_line(struct slice line, struct agent_request *out)
{
    struct slice version, rest;
    bool parts =
        slice_cut(line, ' ', &out->method, &rest) && slice_cut(rest, ' ', &out->target, &version);
    if (parts) {
        take_authority(out);
    }
    if (!parts || !is_http_token(out->method) || out->target.len == 0 ||
        out->target.ptr[0] != '/' || memchr(out->target.ptr, '\t', out->target.len) != NULL) {
        return set_error(out, 400);
    }
    if (slice_eq_cstr(version, "HTTP/1.1")) {
        out->keep_alive = true;
    } else if (!slice_eq_cstr(version, "HTTP/1.0")) {
        return set_error(out, slice_starts_with(version, SLICE("HTTP/")) ? 505 : 400);
    }
    return true;
}

struct framing {
    bool has_host;
    bool closes;
    bool has_length;
    bool chunked;
    size_t length;
};

static bool record_length(struct slice value, struct framing *f, struct agent_request *out)
{
    int64_t length;
    if (!slice_to_int64(value, &length) || length < 0 || value.ptr[0] == '-' ||
        (f->has_length && f->length != (size_t)length)) {
        return set_error(out, 400);
    }
    if (length > REQUEST_BODY_MAX) {
        return set_error(out, 413);
    }
    f->has_length = true;
    f->length = (size_t)length;
    return true;
}

/* "close, TE": a list, in which `close` wins, also over another header. */
static void record_connection(struct slice value, struct framing *f, struct agent_request *out)
{
    struct slice option;
    while (value.len > 0) {
        slice_cut(value, ',', &option, &value);
        option = slice_trim(option);
        f->closes = f->closes || slice_eq_nocase(option, SLICE("close"));
        out->keep_alive = out->keep_alive || slice_eq_nocase(option, SLICE("keep-alive"));
    }
    out->keep_alive = out->keep_alive && !f->closes;
}

/* What shows whose request it is: the platform's own calls have a local host and no request id. */
static bool record_origin(struct slice name, struct slice value, struct framing *f,
                          struct agent_request *out)
{
    if (slice_eq_nocase(name, SLICE("host"))) {
        out->forwarded = out->forwarded || !is_local(value);
        bool twice = f->has_host;
        f->has_host = true;
        return !twice || set_error(out, 400);
    }
    if (slice_eq_nocase(name, SLICE("x-amzn-requestid"))) {
        out->forwarded = true;
    }
    return true;
}

static bool record_header(struct slice line, struct framing *f, struct agent_request *out)
{
    struct slice name, value;
    if (!slice_cut(line, ':', &name, &value) || !is_http_token(name)) {
        return set_error(out, 400);
    }
    value = slice_trim(value);
    if (slice_eq_nocase(name, SLICE("content-length"))) {
        return record_length(value, f, out);
    }
    if (slice_eq_nocase(name, SLICE("transfer-encoding"))) {
        f->chunked = true;
        return slice_eq_nocase(value, SLICE("chunked")) || set_error(out, 501);
    }
    if (slice_eq_nocase(name, SLICE("connection"))) {
        record_connection(value, f, out);
    }
    if (slice_eq_nocase(name, SLICE("expect"))) {
        out->expects_continue = true;
        return slice_eq_nocase(value, SLICE("100-continue")) || set_error(out, 417);
    }
    return record_origin(name, value, f, out);
}

/* The end of the head, after the empty line; 0 if it is incomplete. */
static size_t head_length(struct slice in)
{
    for (size_t i = 0; i + 1 < in.len && i < REQUEST_HEAD_MAX; i++) {
        if (in.ptr[i] == '\n' && in.ptr[i + 1] == '\n') {
            return i + 2;
        }
        if (i + 2 < in.len && memcmp(in.ptr + i, "\n\r\n", 3) == 0) {
            return i + 3;
        }
    }
    return 0;
}

static bool parse_head(struct slice head, struct framing *f, struct agent_request *out)
{
    struct slice line;
    size_t headers = 0;
    if (!next_head_line(&head, &line) || !parse_request_line(line, out)) {
        return set_error(out, out->status != 0 ? out->status : 400);
    }
    while (next_head_line(&head, &line) && line.len > 0) {
        if (++headers > HEADERS_MAX) {
            return set_error(out, 431);
        }
        if (!record_header(line, f, out)) {
            return false;
        }
    }
    /* Two different lengths allow request smuggling. */
    return !(f->chunked && f->has_length) || set_error(out, 400);
}

/* --- the body --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* "1f" or "1f;extension"; at most 6 digits. */
static bool chunk_length(struct slice line, size_t *out)
{
    struct slice digits, extension;
    size_t value = 0;
    slice_cut(line, ';', &digits, &extension);
    digits = slice_trim(digits);
    if (digits.len == 0 || digits.len > 6) {
        return false;
    }
    for (size_t i = 0; i < digits.len; i++) {
        int digit = hex_digit(digits.ptr[i]);
        if (digit < 0) {
            return false;
        }
        value = value * 16 + (size_t)digit;
    }
    *out = value;
    return true;
}

static enum request_read reject_request(struct agent_request *out, int status)
{
    out->status = status;
    return REQUEST_BAD;
}

/* Skips what follows the last chunk, including trailers, up to the empty line. */
static enum request_read skip_trailers(struct slice *in, struct agent_request *out)
{
    struct slice line;
    for (size_t n = 0; next_head_line(in, &line); n++) {
        if (line.len == 0) {
            return REQUEST_WHOLE;
        }
        if (n >= HEADERS_MAX) {
            return reject_request(out, 431);
        }
    }
    return REQUEST_MORE;
}

static enum request_read take_chunks(struct slice *in, struct agent_request *out, struct buf *body)
{
    struct slice line;
    size_t length;
    while (next_head_line(in, &line)) {
        if (!chunk_length(line, &length)) {
            return reject_request(out, 400);
        }
        if (length == 0) {
            return skip_trailers(in, out);
        }
        if (length > REQUEST_BODY_MAX - body->len) {
            return reject_request(out, 413);
        }
        if (in->len < length) {
            return REQUEST_MORE;
        }
        buf_append(body, (struct slice){in->ptr, length});
        in->ptr += length;
        in->len -= length;
        if (in->len > 0 && in->ptr[0] != '\r' && in->ptr[0] != '\n') {
            return reject_request(out, 400);
        }
        if (!next_head_line(in, &line)) {
            return REQUEST_MORE;
        }
        if (line.len != 0) {
            return reject_request(out, 400);
        }
    }
    return in->len > REQUEST_HEAD_MAX ? reject_request(out, 400) : REQUEST_MORE;
}

/* Some clients end a body with an empty line that does not belong to it (RFC 9112, 2.2). */
static size_t skip_empty_lines(struct slice *in)
{
    size_t skipped = 0;
    for (int i = 0; i < EMPTY_LINES_MAX; i++) {
        size_t width = slice_starts_with(*in, SLICE("\r\n")) ? 2
                       : slice_starts_with(*in, SLICE("\n")) ? 1
                                                             : 0;
        in->ptr += width;
        in->len -= width;
        skipped += width;
    }
    return skipped;
}

enum request_read agent_request_parse(struct slice in, struct agent_request *out, struct buf *body)
{
    struct framing f = {.has_length = false};
    enum request_read read = REQUEST_WHOLE;
    *out = (struct agent_request){.used = 0};
    buf_reset(body);
    size_t skipped = skip_empty_lines(&in);
    struct slice rest = in;
    size_t head = head_length(in);
    if (!has_no_control((struct slice){in.ptr, head > 0                    ? head
                                               : in.len > REQUEST_HEAD_MAX ? REQUEST_HEAD_MAX
                                                                           : in.len})) {
        return reject_request(out, 400);
    }
    if (head == 0) {
        return in.len >= REQUEST_HEAD_MAX ? reject_request(out, 431) : REQUEST_MORE;
    }
    if (!parse_head((struct slice){in.ptr, head}, &f, out)) {
        return REQUEST_BAD;
    }
    rest.ptr += head;
    rest.len -= head;
    if (f.chunked) {
        read = take_chunks(&rest, out, body);
    } else if (rest.len < f.length) {
        read = REQUEST_MORE;
    } else {
        buf_append(body, (struct slice){rest.ptr, f.length});
        rest.len -= f.length;
    }
    if (read == REQUEST_MORE && skipped + in.len >= REQUEST_MAX) {
        return reject_request(out, 413);
    }
    out->used = skipped + in.len - rest.len;
    return read;
}

/* --- the run hook's body ---------------------------------------------------------------------- */

enum body_member { BODY_MICROVM_ID, BODY_PAYLOAD, BODY_MEMBERS };

static bool read_object(struct slice in, struct agent_run_body *out, struct buf *payload)
{
    static const struct json_key keys[] = {
        {JSON_KEY("microvmId"), BODY_MICROVM_ID, NULL},
        {JSON_KEY("runHookPayload"), BODY_PAYLOAD, NULL},
    };
    static const struct json_keys body = {keys, COUNT_OF(keys)};
    struct slice member[BODY_MEMBERS];
    const char *reason;
    if (!json_scan(in, &body, member, BODY_MEMBERS, &reason)) {
        return false;
    }
    out->has_payload = json_is_text(member[BODY_PAYLOAD]);
    if (out->has_payload) {
        json_text(member[BODY_PAYLOAD], payload);
    }
    if (!json_is_text(member[BODY_MICROVM_ID])) {
        return !payload->failed;
    }
    struct buf id;
    buf_init(&id, member[BODY_MICROVM_ID].len);
    json_text(member[BODY_MICROVM_ID], &id);
    bool fits = slice_to_cstr(buf_slice(&id), out->microvm_id, sizeof(out->microvm_id));
    buf_fini(&id);
    return fits && !payload->failed;
}

bool agent_run_body_parse(struct slice in, struct agent_run_body *out, struct buf *payload)
{
    *out = (struct agent_run_body){.has_payload = false};
    in = slice_trim(in);
    if (in.len == 0) {
        return false;
    }
    if (in.ptr[0] == '{') {
        return read_object(in, out, payload);
    }
    out->has_payload = true;
    buf_append(payload, in);
    return !payload->failed;
}
