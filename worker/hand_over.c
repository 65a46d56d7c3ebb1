#include "worker/hand_over.h"

#include <stdio.h>

#include "common/base/log.h"
#include "common/job/publish.h"

bool hand_over_vm(struct worker *w, const struct ledger_advance *a)
{
    struct err e = {0};
    struct job_message m;
    struct vm_recorded r = {.deadline_ms = a->deadline_ms};
    (void)snprintf(r.name, sizeof r.name, "%s", a->vm);
    (void)snprintf(r.vm_id, sizeof r.vm_id, "%s", a->vm_id);
    job_message_of_vm_recorded(&r, RECORD_OLDEST_FORMAT, &m);
    int rc = job_publish(w->queue, &m, &e);
    job_message_fini(&m);
    if (rc != 0) {
        log_debug("vm_not_handed_over", LOG_STR("vm", a->vm), LOG_ERR(&e));
        return false;
    }
    log_info("vm_handed_over", LOG_STR("vm", a->vm), LOG_STR("vm_id", a->vm_id));
    return true;
}
