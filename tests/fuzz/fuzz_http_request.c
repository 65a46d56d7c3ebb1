/* Any bytes as an HTTP request: read the same in one piece, in two at any place, and byte by byte; a
 * part of a request that is whole is unfinished, never another one; and nothing waits for ever. */
#include "common/http/request.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

static const struct http_limits limits = {.head_bytes = 256, .headers = 8, .body_bytes = 128};

struct result {
    enum http_read read;
    struct http_request request;
    char *data;
    size_t len;
    size_t fed;
};

static void feed(const uint8_t *data, size_t size, size_t first, size_t step, struct result *out)
{
    *out = (struct result){.read = HTTP_READ_MORE, .data = malloc(size + 1)};
    ASSERT(out->data != NULL);
    http_request_begin(&out->request);
    while (out->read == HTTP_READ_MORE && out->fed < size) {
        size_t n = out->fed == 0 ? first : step;
        n = n < size - out->fed ? n : size - out->fed;
        memcpy(out->data + out->len, data + out->fed, n);
        out->len += n;
        out->fed += n;
        do {
            out->read = http_request_read(&out->request, &limits, out->data, &out->len);
        } while (out->read == HTTP_READ_HEAD);
    }
}

static void check(const struct result *r)
{
    const struct http_request *q = &r->request;
    if (r->read == HTTP_READ_WHOLE) {
        ASSERT(q->used <= r->len && q->body.len <= limits.body_bytes);
        ASSERT(q->method.len > 0 && q->path.len > 0);
        ASSERT(q->is_chunked || q->body.len == q->length);
        struct slice headers = q->headers, name, value;
        size_t n = 0;
        while (http_request_next_header(&headers, &name, &value)) {
            ASSERT(name.len > 0 && value.ptr + value.len <= q->body.ptr);
            n++;
        }
        ASSERT(n <= limits.headers);
    } else if (r->read == HTTP_READ_BAD) {
        ASSERT(q->status >= 400 && q->status <= 505 && q->why != NULL);
    } else {
        /* Two empty lines, head and trailers, the body, lines of chunks that are not yet removed. */
        ASSERT(r->len <= 4 + 2 * limits.head_bytes + limits.body_bytes + 4096 + 256);
    }
}

static void compare(const struct result *a, const struct result *b)
{
    ASSERT(a->read == b->read && a->request.status == b->request.status);
    if (a->read == HTTP_READ_WHOLE) {
        ASSERT(slice_eq(a->request.method, b->request.method));
        ASSERT(slice_eq(a->request.path, b->request.path));
        ASSERT(slice_eq(a->request.headers, b->request.headers));
        ASSERT(slice_eq(a->request.body, b->request.body));
        ASSERT(a->request.keeps_alive == b->request.keeps_alive);
        ASSERT(a->fed - (a->len - a->request.used) == b->fed - (b->len - b->request.used));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct result whole, parts;
    size_t cut = size > 0 ? data[size - 1] % size : 0;
    feed(data, size, size, size, &whole);
    check(&whole);
    feed(data, size, 1, 1, &parts);
    check(&parts);
    compare(&whole, &parts);
    free(parts.data);
    feed(data, size, cut + 1, size, &parts);
    check(&parts);
    compare(&whole, &parts);
    free(parts.data);
    if (whole.read == HTTP_READ_WHOLE) {
        size_t used = whole.fed - (whole.len - whole.request.used);
        feed(data, used - 1, used - 1, 1, &parts);
        ASSERT(parts.read == HTTP_READ_MORE);
        free(parts.data);
    }
    free(whole.data);
    return 0;
}
