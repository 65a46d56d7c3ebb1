/* Any bytes as a hook request, and as the run hook's body. A request must never be read beyond its
 * end; a prefix of one that is whole is unfinished, never another one; and what is refused once is
 * refused with more behind it. */
#include <string.h>

#include "deploy/image/agent/agent_request.h"
#include "tests/fuzz/fuzz.h"

static void try_request(struct slice in)
{
    struct agent_request whole, part;
    struct buf body;
    buf_init(&body, REQUEST_BODY_MAX);
    enum request_read read = agent_request_parse(in, &whole, &body);
    if (read == REQUEST_WHOLE) {
        ASSERT(whole.used > 0 && whole.used <= in.len);
        ASSERT(!body.failed && whole.method.len > 0 && whole.target.ptr[0] == '/');
        ASSERT(whole.target.ptr + whole.target.len < in.ptr + whole.used);
        ASSERT(agent_request_parse((struct slice){in.ptr, whole.used - 1}, &part, &body) ==
               REQUEST_MORE);
        ASSERT(agent_request_parse((struct slice){in.ptr, whole.used}, &part, &body) ==
               REQUEST_WHOLE);
        ASSERT(part.used == whole.used);
    } else if (read == REQUEST_BAD) {
        ASSERT(whole.status >= 400 && whole.status <= 505);
    } else {
        ASSERT(in.len < REQUEST_MAX); /* it could wait for ever */
    }
    buf_fini(&body);
}

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
    struct slice in = {(const char *)data, size};
    try_request(in);
    try_body(in);
    return 0;
}
