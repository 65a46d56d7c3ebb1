/*
 * The timeline of a job as the spans of one trace, in OTLP's JSON mapping of protobuf
 * (deploy/docs/traces.md; opentelemetry-proto, trace/v1/trace.proto).
 *
 * A trace needs no state and no reading: its id follows from the job's id alone, and those of its
 * spans from their names. So the process that sees the job's end writes the job's spans from its
 * row, the one that sees its VM's end writes the VM's from its row, and the collector joins them.
 *
 * Pure functions, any thread.
 */
#ifndef MAYFLY_EVENTS_SPAN_H
#define MAYFLY_EVENTS_SPAN_H

#include "common/base/buf.h"
#include "common/ledger/observer.h"

#define SPANS_MAX_BYTES 16384 /* more than all spans of a transition, each byte escaped */

/* Appends the spans that end with this transition, separated by commas: the job's when it is done
 * or cancelled, the VM's when it is gone and had a job. Else appends nothing. */
void spans_append(struct buf *out, const struct ledger_transition *t);

#endif
