/* Any bytes as the body of the run hook. */
#include <string.h>

#include "deploy/image/agent/agent_request.h"
#include "tests/fuzz/fuzz.h"

static void try_body(struct slice in)
{
    struct agent_run_body told;
    struct buf payload;
    buf_init(&payload, REQUEST_BODY_MAX);
    if (agent_run_body_parse(in, &told, &payload)) {
        ASSERT(memchr(told.microvm_id, '\0', sizeof(told.microvm_id)) != NULL);
        ASSERT(told.has_payload || payload.len == 0);
        ASSERT(payload.len <= in.len);
    }
    buf_fini(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_body((struct slice){(const char *)data, size});
    return 0;
}
