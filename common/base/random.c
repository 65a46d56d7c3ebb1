#include "common/base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "common/base/attr.h"
#include "common/base/codec.h"

static void kernel_random(void *out, size_t size)
{
    char *p = out;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        ASSERT(n > 0);
        p += n;
        size -= (size_t)n;
    }
}

static random_source_fn *current = kernel_random;

void random_set_source(random_source_fn *source)
{
    current = source != NULL ? source : kernel_random;
}

void random_bytes(void *out, size_t size)
{
    current(out, size);
}

uint64_t random_below(uint64_t bound)
{
    ASSERT(bound >= 1);
    /* Rejects values past the last whole multiple of `bound`, so that the result is uniform. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value;
    do {
        random_bytes(&value, sizeof value);
    } while (value >= limit);
    return value % bound;
}

void random_hex(char *out, size_t bytes)
{
    unsigned char raw[64];
    ASSERT(bytes <= sizeof raw);
    random_bytes(raw, bytes);
    codec_hex(raw, bytes, out);
}
