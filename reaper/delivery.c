#include "reaper/delivery.h"

#include <string.h>

enum webhook_verdict delivery_parse(const struct github_delivery *d, struct slice payload,
                                    const struct config *c, struct job_event *out,
                                    const char **reason)
{
    const struct webhook_request request = {.event = slice_of(d->event),
                                            .delivery = slice_of(d->guid),
                                            .content_type = SLICE("application/json"),
                                            .body = payload};
    enum webhook_verdict verdict = webhook_parse(&request, c, out, reason);
    if (verdict != WEBHOOK_MALFORMED) {
        out->received_ms = d->delivered_ms;
    }
    return verdict;
}

bool delivery_job_waits(const struct github_job *now)
{
    return strcmp(now->status, "completed") != 0 &&
           !(strcmp(now->status, "in_progress") == 0 && now->runner_id > 0);
}
