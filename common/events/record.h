/*
 * The JSON of one record: a line without its end. The schema is deploy/docs/events.md; a change of
 * it that a reader could notice, other than a new field, raises EVENT_SCHEMA.
 *
 * Pure functions, any thread. Nothing secret is in a row of the ledger, so nothing is in a record.
 */
#ifndef MAYFLY_EVENTS_RECORD_H
#define MAYFLY_EVENTS_RECORD_H

#include "common/base/buf.h"
#include "common/ledger/observer.h"

#define EVENT_SCHEMA 1
#define EVENT_MAX_BYTES 16384 /* more than all fields, each byte escaped */

struct event_source {
    const char *program;
    const char *deployment;
    const char *instance; /* of this process, unique */
};

void event_record_append(struct buf *out, const struct event_source *from, int64_t seq,
                         const struct ledger_transition *t);
/* The id of the job that the record is about: of a VM, the job that it runs or ran, else the one
 * that it was launched for; 0 none. */
int64_t event_record_job(const struct ledger_transition *t);

#endif
