#include "tests/fuzz/fuzz_answer.h"

#include <string.h>

void fuzz_answer(struct slice text, int status, struct http_response *out)
{
    const char *end = text.len >= 2 ? memmem(text.ptr, text.len, "\n\n", 2) : NULL;
    size_t head = end != NULL ? (size_t)(end - text.ptr) : text.len;
    size_t skip = end != NULL ? 2 : 0;
    *out = (struct http_response){.status = status};
    buf_init(&out->headers, text.len + 1);
    buf_init(&out->body, text.len + 1);
    buf_append(&out->headers, (struct slice){text.ptr, head});
    buf_append(&out->body, (struct slice){text.ptr + head + skip, text.len - head - skip});
}

void fuzz_check_printable(const char *text, size_t size)
{
    ASSERT(memchr(text, '\0', size) != NULL);
    for (; *text != '\0'; text++) {
        ASSERT(*text >= ' ' && *text <= '~');
    }
}
