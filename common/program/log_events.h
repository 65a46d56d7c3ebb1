/*
 * The reference of the log: one row for each event that the programs and the VMs' agent write.
 * deploy/docs/log-events.md is generated from it, and `tests/lint house` compares it with the calls
 * in the sources: events, levels, fields.
 *
 * Written for an operator who does not know the project. Constant data; any thread.
 */
#ifndef MAYFLY_PROGRAM_LOG_EVENTS_H
#define MAYFLY_PROGRAM_LOG_EVENTS_H

#include <stddef.h>

#include "common/base/buf.h"

struct log_event {
    const char *name;
    const char
        *programs; /* of ingress, worker, reaper, agent; separated by ", ", as the next two */
    const char *levels;
    const char *fields;  /* without ts, level, program and msg, which every line has */
    const char *meaning; /* what happened */
    const char *action;  /* what an operator should do; "Nothing." if nothing */
};

/* Each in alphabetical order; the others have those that start with "delivery_", "job_", "kafka_" and
 * "vm_", and the last what the agent alone writes. */
extern const struct log_event log_events[];
extern const size_t log_event_count;
extern const struct log_event log_events_delivery[];
extern const size_t log_event_delivery_count;
extern const struct log_event log_events_job[];
extern const size_t log_event_job_count;
extern const struct log_event log_events_kafka[];
extern const size_t log_event_kafka_count;
extern const struct log_event log_events_sets[];
extern const size_t log_event_sets_count;
extern const struct log_event log_events_vm[];
extern const size_t log_event_vm_count;
extern const struct log_event log_events_agent[];
extern const size_t log_event_agent_count;

/* Appends the page, as Markdown. */
void log_events_reference(struct buf *out);

#endif
