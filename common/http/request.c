#include "common/http/request.h"

#include <string.h>

/* Before the request line (RFC 9112, 2.2). */
#define EMPTY_LINES_MAX 2
/* A chunk's length and its extensions. */
#define CHUNK_LINE_MAX 256
/* So many bytes of chunks' lines may lie between the body and what follows. */
#define GAP_MAX 4096

enum state {
    BEFORE_REQUEST,
    REQUEST_LINE,
    HEADERS,
    BODY_BEGIN,
    BODY_OF_LENGTH,
    CHUNK_LINE,
    CHUNK_DATA,
    CHUNK_END,
    TRAILERS,
    COMPLETE,
};

/* What one step found. */
enum step { STEP_ON, STEP_NEEDS_MORE, STEP_REFUSED };

static enum step refuse(struct http_request *r, int status, const char *why)
{
    r->status = status;
    r->why = why;
    return STEP_REFUSED;
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

/* Takes the next line without its end. Each byte is looked at once; a control character refuses the
 * request before the line's end is there. */
static enum step take_line(struct http_request *r, struct slice in, size_t limit, int status,
                           struct slice *line)
{
    size_t i = r->seen > r->at ? r->seen : r->at;
    for (; i < in.len && i - r->at < limit; i++) {
        char c = in.ptr[i];
        bool after_cr = i > r->at && in.ptr[i - 1] == '\r';
        if (c == '\n' && after_cr) {
            *line = (struct slice){in.ptr + r->at, i - 1 - r->at};
            r->at = i + 1;
            return STEP_ON;
        }
        if (c == '\n' || after_cr) {
            return refuse(r, 400, "a line does not end in CR LF");
        }
        if (c != '\r' && is_control(c)) {
            return refuse(r, 400, "a control character");
        }
    }
    r->seen = i;
    return i - r->at >= limit ? refuse(r, status, "too long a head") : STEP_NEEDS_MORE;
}

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_token_char(s.ptr[i])) {
            return false;
        }
    }
    return s.len > 0;
}

static struct slice without_space(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s = (struct slice){s.ptr + 1, s.len - 1};
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* --- the request line ------------------------------------------------------------------------- */

/* A URL has everything else percent-encoded, and a client keeps a fragment for itself. */
static bool is_url(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '#') {
            return false;
        }
    }
    return s.len > 0;
}

/* "http://host/path" (RFC 9112, 3.2.2): cuts scheme and host off. */
static void cut_authority(struct http_request *r, struct slice *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t width = strlen(schemes[i]);
        if (target->len > width &&
            slice_eq_nocase((struct slice){target->ptr, width}, slice_of(schemes[i]))) {
            const char *host = target->ptr + width;
            size_t rest = target->len - width;
            const char *path = memchr(host, '/', rest);
            size_t host_len = path != NULL ? (size_t)(path - host) : rest;
            r->authority = (struct slice){host, host_len};
            *target = path != NULL ? (struct slice){path, rest - host_len} : SLICE("/");
            return;
        }
    }
}

static bool read_target(struct http_request *r, struct slice target)
{
    r->authority = (struct slice){.len = 0};
    if (!is_url(target)) {
        return false;
    }
    cut_authority(r, &target);
    if (target.ptr[0] != '/' && !slice_eq_cstr(target, "*")) {
        return false;
    }
    (void)slice_cut(target, '?', &r->path, &r->query);
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum step read_version(struct http_request *r, struct slice v)
{
    if (v.len != 8 || memcmp(v.ptr, "HTTP/", 5) != 0 || !is_digit(v.ptr[5]) || v.ptr[6] != '.' ||
        !is_digit(v.ptr[7])) {
        return refuse(r, 400, "not an HTTP request");
    }
    r->is_1_0 = v.ptr[7] == '0';
    return v.ptr[5] == '1' ? STEP_ON : refuse(r, 505, "a version other than HTTP/1");
}

static enum step read_request_line(struct http_request *r, struct slice line)
{
    struct slice target, version, rest;
    if (!slice_cut(line, ' ', &r->method, &rest) || !slice_cut(rest, ' ', &target, &version) ||
        !is_token(r->method)) {
        return refuse(r, 400, "not an HTTP request");
    }
    enum step step = read_version(r, version);
    if (step == STEP_ON && !read_target(r, target)) {
        return refuse(r, 400, "the target is neither a path nor a URL");
    }
    return step;
}

/* --- headers ---------------------------------------------------------------------------------- */

static enum step read_length(struct http_request *r, struct slice value)
{
    uint64_t length = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.ptr[i]) || length > UINT64_MAX / 10 - 1) {
            return refuse(r, 400, "Content-Length is not a number");
        }
        length = length * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    if (value.len == 0 || (r->has_length && r->length != length)) {
        return refuse(r, 400, "Content-Length is empty, or there are two");
    }
    r->has_length = true;
    r->length = length;
    return STEP_ON;
}

static enum step read_coding(struct http_request *r, struct slice value)
{
    if (r->is_chunked) {
        return refuse(r, 400, "two of Transfer-Encoding");
    }
    r->is_chunked = true;
    return slice_eq_nocase(value, SLICE("chunked"))
               ? STEP_ON
               : refuse(r, 501, "a transfer coding other than chunked");
}

/* A list, in which `close` wins, also over another header's. */
static void read_connection(struct http_request *r, struct slice value)
{
    struct slice option;
    while (value.len > 0) {
        (void)slice_cut(value, ',', &option, &value);
        option = without_space(option);
        r->closes = r->closes || slice_eq_nocase(option, SLICE("close"));
        r->keeps_alive = r->keeps_alive || slice_eq_nocase(option, SLICE("keep-alive"));
    }
}

/* The characters of a host and port (RFC 3986, 3.2.2), which may be empty; not their form, since nothing
 * is chosen by them here. */
static bool is_host(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_of_name = is_token_char(c) && strchr("#^`|", c) == NULL;
        if (!is_of_name && (c == '\0' || strchr("(),;=[]:", c) == NULL)) {
            return false;
        }
    }
    return true;
}

static enum step read_host(struct http_request *r, struct slice value)
{
    bool is_second = r->has_host;
    r->has_host = true;
    if (is_second) {
        return refuse(r, 400, "two of Host");
    }
    return is_host(value) ? STEP_ON : refuse(r, 400, "a Host that is none");
}

static enum step read_expectation(struct http_request *r, struct slice value)
{
    r->waits_for_body = !r->is_1_0;
    return slice_eq_nocase(value, SLICE("100-continue"))
               ? STEP_ON
               : refuse(r, 417, "an expectation other than 100-continue");
}

/* The name's form is left to the caller. */
static bool cut_header(struct slice line, struct slice *name, struct slice *value)
{
    bool has_colon = slice_cut(line, ':', name, value);
    *value = without_space(*value);
    return has_colon;
}

static enum step read_header(struct http_request *r, struct slice line)
{
    struct slice name, value;
    if (!cut_header(line, &name, &value) || !is_token(name)) {
        return refuse(r, 400, "a line is not a header");
    }
    if (slice_eq_nocase(name, SLICE("content-length"))) {
        return read_length(r, value);
    }
    if (slice_eq_nocase(name, SLICE("transfer-encoding"))) {
        return read_coding(r, value);
    }
    if (slice_eq_nocase(name, SLICE("expect"))) {
        return read_expectation(r, value);
    }
    if (slice_eq_nocase(name, SLICE("host"))) {
        return read_host(r, value);
    }
    if (slice_eq_nocase(name, SLICE("connection"))) {
        read_connection(r, value);
    }
    return STEP_ON;
}

/* What is known of the whole head alone. */
static enum step judge_head(struct http_request *r, const struct http_limits *l)
{
    if (r->is_chunked && (r->has_length || r->is_1_0)) {
        return refuse(r, 400, "Transfer-Encoding beside Content-Length, or in HTTP/1.0");
    }
    if (l->host_is_needed && !r->has_host && !r->is_1_0) {
        return refuse(r, 400, "no Host");
    }
    r->keeps_alive = !r->closes && (r->keeps_alive || !r->is_1_0);
    return STEP_ON;
}

/* --- the steps of the head -------------------------------------------------------------------- */

static size_t head_left(const struct http_request *r, const struct http_limits *l)
{
    size_t used = r->at - r->begin;
    return used < l->head_bytes ? l->head_bytes - used : 0;
}

/* Whether CR LF is next, as far as there are bytes. */
static bool may_be_line_end(const struct http_request *r, struct slice in)
{
    size_t left = in.len - r->at;
    return memcmp(in.ptr + r->at, "\r\n", left < 2 ? left : 2) == 0;
}

static enum step step_before_request(struct http_request *r, struct slice in)
{
    if (r->at < (size_t)2 * EMPTY_LINES_MAX && may_be_line_end(r, in)) {
        if (in.len - r->at < 2) {
            return STEP_NEEDS_MORE;
        }
        r->at += 2;
        return STEP_ON;
    }
    r->begin = r->at;
    r->state = REQUEST_LINE;
    return STEP_ON;
}

static enum step step_request_line(struct http_request *r, const struct http_limits *l,
                                   struct slice in)
{
    struct slice line = {.len = 0};
    enum step step = take_line(r, in, head_left(r, l), 414, &line);
    if (step == STEP_ON) {
        step = read_request_line(r, line);
        r->state = HEADERS;
    }
    return step;
}

static enum step step_header(struct http_request *r, const struct http_limits *l, struct slice in)
{
    struct slice line = {.len = 0};
    enum step step = take_line(r, in, head_left(r, l), 431, &line);
    if (step != STEP_ON) {
        return step;
    }
    if (line.len == 0) {
        r->state = BODY_BEGIN;
        r->head_end = r->at;
        r->body_end = r->at;
        return judge_head(r, l);
    }
    if (++r->header_count > l->headers) {
        return refuse(r, 431, "too many headers");
    }
    return read_header(r, line);
}

/* --- the steps of the body -------------------------------------------------------------------- */

static enum step step_body_begin(struct http_request *r, const struct http_limits *l)
{
    if (r->length > l->body_bytes) {
        return refuse(r, 413, "too large a body");
    }
    r->state = r->is_chunked ? CHUNK_LINE : BODY_OF_LENGTH;
    return STEP_ON;
}

static enum step step_body_of_length(struct http_request *r, struct slice in)
{
    if (in.len - r->at < r->length) {
        return STEP_NEEDS_MORE;
    }
    r->at += (size_t)r->length;
    r->body_end = r->at;
    r->state = COMPLETE;
    return STEP_ON;
}

static int hex_digit(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* "1f", or "1f;name=value". */
static enum step read_chunk_length(struct http_request *r, const struct http_limits *l,
                                   struct slice line)
{
    struct slice digits, extensions;
    size_t left = l->body_bytes - (r->body_end - r->head_end);
    size_t value = 0;
    if (slice_cut(line, ';', &digits, &extensions)) {
        digits = (struct slice){digits.ptr, without_space(digits).len};
    }
    for (size_t i = 0; i < digits.len; i++) {
        int digit = hex_digit(digits.ptr[i]);
        if (digit < 0) {
            return refuse(r, 400, "a chunk's length is not a number");
        }
        if (value > left) {
            return refuse(r, 413, "too large a body");
        }
        value = value * 16 + (size_t)digit;
    }
    if (digits.len == 0) {
        return refuse(r, 400, "a chunk has no length");
    }
    r->chunk_left = value;
    return value > left ? refuse(r, 413, "too large a body") : STEP_ON;
}

static enum step step_chunk_line(struct http_request *r, const struct http_limits *l,
                                 struct slice in)
{
    struct slice line = {.len = 0};
    enum step step = take_line(r, in, CHUNK_LINE_MAX, 400, &line);
    if (step == STEP_ON) {
        step = read_chunk_length(r, l, line);
        r->state = r->chunk_left > 0 ? CHUNK_DATA : TRAILERS;
    }
    return step;
}

/* Moves what there is of a chunk to the body's end. */
static enum step step_chunk_data(struct http_request *r, char *data, size_t len)
{
    size_t n = len - r->at < r->chunk_left ? len - r->at : r->chunk_left;
    memmove(data + r->body_end, data + r->at, n);
    r->body_end += n;
    r->at += n;
    r->chunk_left -= n;
    if (r->chunk_left > 0) {
        return STEP_NEEDS_MORE;
    }
    r->state = CHUNK_END;
    return STEP_ON;
}

static enum step step_chunk_end(struct http_request *r, struct slice in)
{
    if (!may_be_line_end(r, in)) {
        return refuse(r, 400, "a chunk is longer than its length");
    }
    if (in.len - r->at < 2) {
        return STEP_NEEDS_MORE;
    }
    r->at += 2;
    r->state = CHUNK_LINE;
    return STEP_ON;
}

/* They are read as headers are, and mean nothing. */
static enum step step_trailer(struct http_request *r, const struct http_limits *l, struct slice in)
{
    struct slice line = {.len = 0}, name, value;
    size_t before = r->at;
    enum step step = take_line(r, in, l->head_bytes - r->trailer_bytes, 431, &line);
    if (step != STEP_ON) {
        return step;
    }
    r->trailer_bytes += r->at - before;
    if (line.len == 0) {
        r->state = COMPLETE;
        return STEP_ON;
    }
    if (++r->header_count > l->headers) {
        return refuse(r, 431, "too many trailers");
    }
    return cut_header(line, &name, &value) && is_token(name)
               ? STEP_ON
               : refuse(r, 400, "a line is not a trailer");
}

/* --- the machine ------------------------------------------------------------------------------ */

void http_request_begin(struct http_request *r)
{
    *r = (struct http_request){.state = BEFORE_REQUEST};
}

static enum step take_step(struct http_request *r, const struct http_limits *l, char *data,
                           size_t len)
{
    struct slice in = {data, len};
    switch ((enum state)r->state) {
    case BEFORE_REQUEST:
        return step_before_request(r, in);
    case REQUEST_LINE:
        return step_request_line(r, l, in);
    case HEADERS:
        return step_header(r, l, in);
    case BODY_BEGIN:
        return step_body_begin(r, l);
    case BODY_OF_LENGTH:
        return step_body_of_length(r, in);
    case CHUNK_LINE:
        return step_chunk_line(r, l, in);
    case CHUNK_DATA:
        return step_chunk_data(r, data, len);
    case CHUNK_END:
        return step_chunk_end(r, in);
    case TRAILERS:
        return step_trailer(r, l, in);
    case COMPLETE:
        break;
    }
    return STEP_NEEDS_MORE;
}

/* Chunks' lines do not add up in memory. */
static void close_gap(struct http_request *r, char *data, size_t *len)
{
    size_t gap = r->at - r->body_end;
    if (r->is_chunked && r->state != COMPLETE && gap >= GAP_MAX) {
        memmove(data + r->body_end, data + r->at, *len - r->at);
        r->at = r->body_end;
        r->seen = 0;
        *len -= gap;
    }
}

/* The bytes may have been moved since the head was read. */
static void point_into(struct http_request *r, const char *data)
{
    struct slice line, head = {data + r->begin, r->head_end - r->begin};
    (void)slice_cut(head, '\n', &line, &r->headers);
    line.len -= 1; /* its CR */
    (void)read_request_line(r, line);
}

enum http_read http_request_read(struct http_request *r, const struct http_limits *l, char *data,
                                 size_t *len)
{
    bool had_head = r->state > HEADERS;
    enum step step = STEP_ON;
    while (step == STEP_ON && r->state != COMPLETE && (had_head || r->state <= HEADERS)) {
        step = take_step(r, l, data, *len);
    }
    if (step == STEP_REFUSED) {
        return HTTP_READ_BAD;
    }
    if (!had_head && r->state > HEADERS) {
        point_into(r, data);
        return HTTP_READ_HEAD;
    }
    if (r->state == COMPLETE) {
        point_into(r, data);
        r->body = (struct slice){data + r->head_end, r->body_end - r->head_end};
        r->used = r->at;
        return HTTP_READ_WHOLE;
    }
    if (had_head) {
        close_gap(r, data, len);
    }
    return HTTP_READ_MORE;
}

bool http_request_next_header(struct slice *headers, struct slice *name, struct slice *value)
{
    struct slice line, rest;
    if (!slice_cut(*headers, '\n', &line, &rest) || line.len <= 1) {
        return false;
    }
    *headers = rest;
    line.len -= 1; /* its CR */
    return cut_header(line, name, value);
}
