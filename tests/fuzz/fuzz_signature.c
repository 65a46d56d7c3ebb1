/* Any text as a signature header: only "sha256=" and 64 hex digits parse, and to those bytes. */
#include <string.h>

#include "common/base/codec.h"
#include "common/github/webhook.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice header = {(const char *)data, size};
    unsigned char bytes[32];
    char hex[65];
    char secret[] = "secret number one";
    char *secrets[] = {secret};
    const struct config_list list = {secrets, 1};
    if (webhook_signature_parse(header, bytes)) {
        ASSERT(size == 71 && memcmp(data, "sha256=", 7) == 0);
        codec_hex(bytes, sizeof bytes, hex);
        ASSERT(slice_eq_nocase((struct slice){header.ptr + 7, 64}, slice_of(hex)));
    }
    /* Nobody finds a signature by chance. */
    ASSERT(!webhook_verify(SLICE("a body"), header, &list));
    return 0;
}
