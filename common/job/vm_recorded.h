/*
 * What a provider answered to a launch, on the lane "events": the VM's id, which its row must get.
 *
 * A worker puts one when it cannot write the id to the ledger itself: an id in a worker's hand is
 * the only trace of a VM that carries no name, and is never dropped. The consumer of the lane
 * writes it until it is written. A plain value, encoded as record.h describes. Pure functions, any
 * thread.
 */
#ifndef MAYFLY_JOB_VM_RECORDED_H
#define MAYFLY_JOB_VM_RECORDED_H

#include "common/job/job.h"
#include "common/job/record.h"

#define VM_RECORDED_ID_SIZE 192

struct vm_recorded {
    char name[VM_NAME_SIZE]; /* of the row */
    char vm_id[VM_RECORDED_ID_SIZE];
    int64_t deadline_ms; /* wall clock; 0: unknown */
};

void vm_recorded_encode(const struct vm_recorded *r, int64_t format, struct buf *out);
/* As record_decode; *out untouched on failure. Another record of the lane is ERR_PERMANENT, and so
 * is one without a name or an id. */
MUST_CHECK int vm_recorded_decode(struct slice record, struct vm_recorded *out, struct err *e);

#endif
