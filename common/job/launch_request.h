/*
 * A launch request: one VM of a class is wanted, on the lane "launch.<class>".
 *
 * A queued job causes one. So may whatever else finds that VMs are missing; such a request has no
 * job, and names the scope. Whether a VM is launched is decided by demand and supply of (scope,
 * class) when a worker takes the request (ledger_reserve). A plain value; its form is record.h's.
 * Pure functions, any thread.
 */
#ifndef MAYFLY_JOB_LAUNCH_REQUEST_H
#define MAYFLY_JOB_LAUNCH_REQUEST_H

#include "common/job/event.h"

struct launch_request {
    char scope[SCOPE_SIZE]; /* "" with a job: the worker's configuration says where it belongs */
    char class_name[CLASS_NAME_SIZE];
    char reason[24];                 /* "queued", "relaunch", …; for people */
    char delivery[DELIVERY_ID_SIZE]; /* that caused it; "" none */
    int64_t requested_ms;            /* wall clock */
    struct job job;                  /* id 0: none, then only its installation_id may be known */
};

/* The request that a job's being queued causes. */
struct launch_request launch_request_of(const struct job_event *ev);

void launch_request_encode(const struct launch_request *r, int64_t format, struct buf *out);
/* As record_decode; *out untouched on failure. A request that names neither a class, nor a job or a
 * scope, is ERR_PERMANENT. */
MUST_CHECK int launch_request_decode(struct slice record, struct launch_request *out,
                                     struct err *e);

#endif
