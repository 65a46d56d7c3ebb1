/*
 * A launch request: one VM of a class is needed, on the lane "launch.<class>".
 *
 * A queued job causes one. A request from another source (a warm pool, a scale set) has no job, names
 * the scope, and says how many VMs are wanted beyond the jobs that wait (`spare`). Whether a VM is
 * launched is decided by demand, spare and supply of (scope, class) when a worker receives the request
 * (ledger_reserve). A plain value, encoded as record.h describes. Pure functions, any thread.
 */
#ifndef MAYFLY_JOB_LAUNCH_REQUEST_H
#define MAYFLY_JOB_LAUNCH_REQUEST_H

#include "common/job/event.h"

#define LAUNCH_SPARE_MAX 100000
/* The reason of a request for a VM that idles until a job comes (classes[].min_idle). */
#define LAUNCH_MIN_IDLE "min_idle"

struct launch_request {
    char scope[SCOPE_SIZE]; /* "" with a job: determined by the worker's configuration */
    char class_name[CLASS_NAME_SIZE];
    char reason[24]; /* for display: "queued", "relaunch", …; or LAUNCH_MIN_IDLE */
    char delivery[DELIVERY_ID_SIZE]; /* that caused it; "" none */
    int64_t requested_ms;            /* wall clock */
    int64_t spare;  /* VMs wanted beyond the jobs that wait: 0 to LAUNCH_SPARE_MAX */
    struct job job; /* id 0: no job; then only its installation_id may be set */
};

/* The request for a queued job. */
struct launch_request launch_request_of(const struct job_event *ev);

void launch_request_encode(const struct launch_request *r, int64_t format, struct buf *out);
/* As record_decode; *out untouched on failure. A request without a class, or with neither a job nor
 * a scope, or with a `spare` out of its range, is ERR_PERMANENT. */
MUST_CHECK int launch_request_decode(struct slice record, struct launch_request *out,
                                     struct err *e);

#endif
