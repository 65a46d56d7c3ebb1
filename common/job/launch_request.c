#include "common/job/launch_request.h"

#include <string.h>

#include "common/job/fields.h"

static const struct record_field fields[] = {
    TEXT_FIELD("scope", struct launch_request, scope),
    TEXT_FIELD("class", struct launch_request, class_name),
    TEXT_FIELD("reason", struct launch_request, reason),
    TEXT_FIELD("delivery", struct launch_request, delivery),
    NUMBER_FIELD("requested_ms", struct launch_request, requested_ms),
    NUMBER_FIELD("spare", struct launch_request, spare),
    JOB_FIELDS(struct launch_request),
    {0},
};

struct launch_request launch_request_of(const struct job_event *ev)
{
    struct launch_request r = {.reason = "queued", .requested_ms = ev->received_ms, .job = ev->job};
    memcpy(r.class_name, ev->job.class_name, sizeof r.class_name);
    memcpy(r.delivery, ev->delivery, sizeof r.delivery);
    return r;
}

void launch_request_encode(const struct launch_request *r, int64_t format, struct buf *out)
{
    record_encode(fields, r, format, out);
}

int launch_request_decode(struct slice record, struct launch_request *out, struct err *e)
{
    static const char what[] = "launch request";
    struct launch_request r = {0};
    if (record_decode(what, fields, record, &r, e) != 0) {
        return -1;
    }
    if (r.class_name[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "%s: no class", what);
    }
    if (r.spare < 0 || r.spare > LAUNCH_SPARE_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "%s: spare is not between 0 and %d", what,
                       LAUNCH_SPARE_MAX);
    }
    if (r.scope[0] == '\0' || r.job.id != 0) {
        if (job_fields_check(what, &r.job, e) != 0) {
            return -1;
        }
        memcpy(r.job.class_name, r.class_name, sizeof r.job.class_name);
    } else {
        r.job = (struct job){.installation_id = r.job.installation_id};
    }
    *out = r;
    return 0;
}
