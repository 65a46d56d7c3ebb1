#include "common/base/err.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STUCK_READER_MS 1000

/* A reader of standard error that is stuck does not keep the process from ending. */
void assert_failed(const char *expr, const char *file, int line)
{
    struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
    char text[1024];
    int n =
        snprintf(text, sizeof text, "%s:%d: internal error: %s does not hold\n", file, line, expr);
    size_t size = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (poll(&writable, 1, STUCK_READER_MS) > 0) {
        (void)!write(STDERR_FILENO, text, size);
    }
    abort();
}

PRINTF(3, 0) static void format_message(char *out, size_t size, const char *fmt, va_list ap)
{
    int n = vsnprintf(out, size, fmt, ap);
    if (n < 0) {
        out[0] = '\0';
    }
}

int err_fill(struct err *e, enum err_class class, int code, const char *fmt, ...)
{
    va_list ap;
    char text[sizeof e->message];
    ASSERT(class != ERR_NONE);
    /* Formatted into another buffer, since an argument may be the current message of *e. */
    va_start(ap, fmt);
    format_message(text, sizeof text, fmt, ap);
    va_end(ap);
    e->class = class;
    e->from = ERR_FROM_US;
    e->of_this_host = false;
    e->of_one_app = false;
    e->code = code;
    e->retry_after_ms = 0;
    memcpy(e->message, text, sizeof text);
    return -1;
}

int err_fill_errno(struct err *e, enum err_class class, int errnum, const char *fmt, ...)
{
    va_list ap;
    char text[512];
    char reason[128];
    va_start(ap, fmt);
    format_message(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(e, class, errnum, "%s: %s", text, strerror_r(errnum, reason, sizeof reason));
}

int err_fill_wrap(struct err *e, const char *fmt, ...)
{
    va_list ap;
    char inner[sizeof e->message];
    char prefix[256];
    va_start(ap, fmt);
    format_message(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(inner, e->message, sizeof inner);
    int n = snprintf(e->message, sizeof e->message, "%s: %s", prefix, inner);
    if (n < 0) {
        e->message[0] = '\0';
    }
    return -1;
}

const char *err_class_name(enum err_class class)
{
    static const char *const names[] = {
        [ERR_NONE] = "none",           [ERR_RETRY] = "retry",         [ERR_THROTTLED] = "throttled",
        [ERR_CAPACITY] = "capacity",   [ERR_PERMANENT] = "permanent", [ERR_AUTH] = "auth",
        [ERR_NOT_FOUND] = "not_found", [ERR_CONFLICT] = "conflict",
    };
    return (size_t) class < COUNT_OF(names) ? names[class] : "unknown";
}
