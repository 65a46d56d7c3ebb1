#include "ingress/answer.h"

#include <string.h>

#include "common/base/attr.h"

static const struct {
    int code;
    const char *phrase;
} phrases[] = {
    {200, "OK"},
    {202, "Accepted"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {411, "Length Required"},
    {415, "Unsupported Media Type"},
    {503, "Service Unavailable"},
};

const char *answer_phrase(int code)
{
    for (size_t i = 0; i < COUNT_OF(phrases); i++) {
        if (phrases[i].code == code) {
            return phrases[i].phrase;
        }
    }
    return "Error";
}

void answer_body(const struct answer *a, struct buf *out)
{
    if (a->code == 202) {
        buf_append_cstr(out, "{\"queued\":true}\n");
    } else if (a->code == 200 && strcmp(a->reason, "duplicate") == 0) {
        buf_append_cstr(out, "{\"duplicate\":true}\n");
    } else if (a->code == 200 && strcmp(a->reason, "healthy") == 0) {
        buf_append_cstr(out, "{\"healthy\":true}\n");
    } else {
        buf_append_cstr(out, a->code == 200 ? "{\"ignored\":\"" : "{\"error\":\"");
        buf_append_cstr(out, a->reason);
        buf_append_cstr(out, "\"}\n");
    }
}
