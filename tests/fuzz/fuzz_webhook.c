/* Any verified body through the whole of webhook_parse: the first byte chooses event and content
 * type, the rest is the body. What is routed survives its way through the queue. */
#include <string.h>

#include "common/github/webhook.h"
#include "tests/fuzz/fuzz.h"

static const char config_text[] = "queue: sqlite:///q.db\n"
                                  "ledger: sqlite:///l.db\n"
                                  "github:\n"
                                  "  webhook_secrets: [\"secret number one\"]\n"
                                  "classes:\n"
                                  "  - {name: small, labels: [self-hosted, linux, x64],\n"
                                  "     required_labels: [self-hosted], provider: qemu,\n"
                                  "     qemu: {image: /nowhere}}\n";

static const struct config *test_config(void)
{
    static struct config *c;
    if (c == NULL) {
        struct err e;
        ASSERT(config_parse(slice_of(config_text), "fuzz", CONFIG_FOR_INGRESS, &c, NULL, &e) == 0);
    }
    return c;
}

static void check_routed(const struct job_event *ev, enum webhook_verdict verdict)
{
    struct job_event again;
    struct buf record;
    struct err e = {0};
    /* The end of a job that had no runner is followed whatever its labels. */
    bool followed = verdict == WEBHOOK_EVENT && ev->job.class_name[0] == '\0';
    ASSERT(ev->job.id > 0 && (followed || strcmp(ev->job.class_name, "small") == 0));
    ASSERT((verdict == WEBHOOK_LAUNCH) == job_event_wants_runner(ev));
    buf_init(&record, 8192);
    job_event_encode(ev, 1, &record);
    ASSERT(!record.failed && record.len <= 4096);
    ASSERT(job_event_decode(buf_slice(&record), &again, &e) == 0);
    ASSERT(again.job.id == ev->job.id && again.action == ev->action);
    ASSERT(strcmp(again.job.repository, ev->job.repository) == 0);
    ASSERT(strcmp(again.job.runner_name, ev->job.runner_name) == 0);
    buf_fini(&record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const events[] = {"workflow_job", "ping", "push", ""};
    static const char *const types[] = {"application/json", "application/x-www-form-urlencoded"};
    struct job_event ev;
    const char *reason = NULL;
    if (size == 0) {
        return 0;
    }
    const struct webhook_request r = {slice_of(events[data[0] >> 1 & 3]),
                                      SLICE("guid"),
                                      slice_of(types[data[0] & 1]),
                                      {(const char *)data + 1, size - 1}};
    enum webhook_verdict verdict = webhook_parse(&r, test_config(), &ev, &reason);
    if (verdict == WEBHOOK_LAUNCH || verdict == WEBHOOK_EVENT) {
        check_routed(&ev, verdict);
    } else {
        ASSERT(reason != NULL && reason[0] != '\0');
    }
    return 0;
}
