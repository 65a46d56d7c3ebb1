/* Any text as a record from a queue: what is decoded encodes again, and to the same. */
#include <string.h>

#include "common/job/job_event.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job_event first;
    struct job_event second;
    struct buf record;
    struct err e = {0};
    if (job_event_decode((struct slice){(const char *)data, size}, &first, &e) != 0) {
        ASSERT((e.class == ERR_PERMANENT || e.code == RECORD_NEWER_FORMAT) && e.message[0] != '\0');
        return 0;
    }
    buf_init(&record, 8192);
    job_event_encode(&first, 1, &record);
    ASSERT(!record.failed && record.len <= 4096);
    ASSERT(job_event_decode(buf_slice(&record), &second, &e) == 0);
    ASSERT(first.job.id == second.job.id && first.runner_id == second.runner_id);
    ASSERT(first.action == second.action && first.received_ms == second.received_ms);
    ASSERT(strcmp(first.job.repository, second.job.repository) == 0);
    ASSERT(strcmp(first.job.class_name, second.job.class_name) == 0);
    ASSERT(strcmp(first.delivery, second.delivery) == 0);
    buf_fini(&record);
    return 0;
}
