#include "ingress/answer.h"

#include <string.h>

#include "common/base/attr.h"

/* The statuses' phrases (RFC 9110). */
static const char *status_line(int code)
{
    static const struct {
        int code;
        const char *line;
    } lines[] = {
        {202, "HTTP/1.1 202 Accepted\r\n"},
        {200, "HTTP/1.1 200 OK\r\n"},
        {401, "HTTP/1.1 401 Unauthorized\r\n"},
        {400, "HTTP/1.1 400 Bad Request\r\n"},
        {403, "HTTP/1.1 403 Forbidden\r\n"},
        {404, "HTTP/1.1 404 Not Found\r\n"},
        {405, "HTTP/1.1 405 Method Not Allowed\r\nAllow: POST\r\n"},
        {411, "HTTP/1.1 411 Length Required\r\n"},
        {413, "HTTP/1.1 413 Content Too Large\r\n"},
        {414, "HTTP/1.1 414 URI Too Long\r\n"},
        {415, "HTTP/1.1 415 Unsupported Media Type\r\n"},
        {417, "HTTP/1.1 417 Expectation Failed\r\n"},
        {431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
        {501, "HTTP/1.1 501 Not Implemented\r\n"},
        {503, "HTTP/1.1 503 Service Unavailable\r\n"},
        {505, "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        if (lines[i].code == code) {
            return lines[i].line;
        }
    }
    ASSERT(false); /* an answer without a status line */
    return "";
}

/* A whole body, or what a reason stands between. */
struct body {
    const char *before;
    const char *reason;
    const char *after;
};

static struct body body_of(const struct answer *a)
{
    if (a->code == 202) {
        return (struct body){"{\"queued\":true}\n", "", ""};
    }
    if (a->code == 200 && strcmp(a->reason, "duplicate") == 0) {
        return (struct body){"{\"duplicate\":true}\n", "", ""};
    }
    if (a->code == 200 && strcmp(a->reason, "healthy") == 0) {
        return (struct body){"{\"healthy\":true}\n", "", ""};
    }
    return (struct body){a->code == 200 ? "{\"ignored\":\"" : "{\"error\":\"", a->reason, "\"}\n"};
}

static void append_number(struct buf *out, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    buf_append(out, (struct slice){digits + at, sizeof digits - at});
}

static void append_header(struct buf *out, const char *name, size_t value)
{
    buf_append_cstr(out, name);
    append_number(out, value);
    buf_append_cstr(out, "\r\n");
}

void answer_write(const struct answer *a, const struct answer_form *form, struct buf *out)
{
    const struct body body = body_of(a);
    buf_append_cstr(out, status_line(a->code));
    buf_append_cstr(out, "Date: ");
    buf_append_cstr(out, form->date);
    buf_append_cstr(out, "\r\nContent-Type: application/json\r\n");
    append_header(
        out, "Content-Length: ", strlen(body.before) + strlen(body.reason) + strlen(body.after));
    if (a->code == 503) {
        append_header(out, "Retry-After: ", (size_t)form->retry_after_s);
    }
    if (form->closes) {
        buf_append_cstr(out, "Connection: close\r\n");
    } else if (form->keeps_alive_1_0) {
        buf_append_cstr(out, "Connection: keep-alive\r\n");
    }
    buf_append_cstr(out, "\r\n");
    if (!form->is_head) {
        buf_append_cstr(out, body.before);
        buf_append_cstr(out, body.reason);
        buf_append_cstr(out, body.after);
    }
}
