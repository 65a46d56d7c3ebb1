/* Any text as a record from a queue, of either kind: what is decoded encodes again, and to the
 * same.
 */
#include <string.h>

#include "common/job/launch_request.h"
#include "tests/fuzz/fuzz.h"

static void check_refusal(const struct err *e)
{
    ASSERT((e->class == ERR_PERMANENT || e->code == RECORD_NEWER_FORMAT) && e->message[0] != '\0');
}

static void check_event(struct slice text)
{
    struct job_event first;
    struct job_event second;
    struct buf record;
    struct err e = {0};
    if (job_event_decode(text, &first, &e) != 0) {
        check_refusal(&e);
        return;
    }
    buf_init(&record, 8192);
    job_event_encode(&first, 1, &record);
    ASSERT(!record.failed && record.len <= RECORD_MAX_BYTES);
    ASSERT(job_event_decode(buf_slice(&record), &second, &e) == 0);
    ASSERT(first.job.id == second.job.id && first.runner_id == second.runner_id);
    ASSERT(first.action == second.action && first.received_ms == second.received_ms);
    ASSERT(strcmp(first.job.repository, second.job.repository) == 0);
    ASSERT(strcmp(first.job.class_name, second.job.class_name) == 0);
    ASSERT(strcmp(first.delivery, second.delivery) == 0);
    buf_fini(&record);
}

static void check_request(struct slice text)
{
    struct launch_request first;
    struct launch_request second;
    struct buf record;
    struct err e = {0};
    if (launch_request_decode(text, &first, &e) != 0) {
        check_refusal(&e);
        return;
    }
    ASSERT(first.class_name[0] != '\0' && (first.job.id > 0 || first.scope[0] != '\0'));
    buf_init(&record, 8192);
    launch_request_encode(&first, 1, &record);
    ASSERT(!record.failed && record.len <= RECORD_MAX_BYTES);
    ASSERT(launch_request_decode(buf_slice(&record), &second, &e) == 0);
    ASSERT(first.job.id == second.job.id && first.requested_ms == second.requested_ms);
    ASSERT(strcmp(first.scope, second.scope) == 0);
    ASSERT(strcmp(first.class_name, second.class_name) == 0);
    ASSERT(strcmp(first.job.repository, second.job.repository) == 0);
    buf_fini(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    check_event(text);
    check_request(text);
    return 0;
}
