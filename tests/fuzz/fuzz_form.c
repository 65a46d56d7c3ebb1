/* Any text as a form body: what is decoded is no longer than what was sent, and encoding it again
 * as the only parameter gives the same payload. */
#include "common/base/codec.h"
#include "common/github/webhook.h"
#include "tests/fuzz/fuzz.h"

static void check_again(struct slice payload)
{
    struct buf form;
    struct buf again;
    buf_init(&form, payload.len * 3 + 64);
    buf_init(&again, payload.len + 1);
    buf_append_cstr(&form, "a=%&payload=");
    codec_percent(&form, payload);
    buf_append_cstr(&form, "&&=&b");
    ASSERT(webhook_form_payload(buf_slice(&form), &again));
    ASSERT(slice_eq(buf_slice(&again), payload));
    buf_fini(&again);
    buf_fini(&form);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf payload;
    buf_init(&payload, size + 1);
    if (webhook_form_payload((struct slice){(const char *)data, size}, &payload)) {
        ASSERT(payload.len + 8 <= size);
        check_again(buf_slice(&payload));
    }
    buf_fini(&payload);
    return 0;
}
