/*
 * Events out: every change of a job's or a VM's state as one JSON record, for analytics, billing
 * and audit; and each job's timeline as one trace. deploy/docs/events.md and traces.md describe them
 * and what is guaranteed.
 *
 * Best effort, never in the way of the caller: a record goes into a bounded buffer of each sink
 * (file, Kafka, traces), whose own thread writes it. A full buffer drops the newest record and counts it
 * (mayfly_events_dropped_total). A sink that fails is retried for as long as the program runs.
 *
 * Threading: events_record from any thread; it takes one short lock a sink and does no I/O.
 * Failures: events_open fails for a malformed URL alone. A file that cannot be opened or a cluster
 * that is unreachable is logged and retried.
 */
#ifndef MAYFLY_EVENTS_EVENTS_H
#define MAYFLY_EVENTS_EVENTS_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/ledger/observer.h"

struct events;

struct events_options {
    const char *program;        /* "mayfly-worker"; static */
    const char *deployment;     /* its name */
    const char *file;           /* path; "": no file */
    const char *kafka;          /* kafka://BROKERS/TOPIC; "": no Kafka */
    int64_t buffer;             /* most records that wait for one sink */
    const char *traces;         /* URL of a collector (OTLP/HTTP); "": none */
    const char *const *headers; /* of requests to it, "Name: value" */
    size_t header_count;
    int64_t traces_buffer;
};

/* *out is NULL if no sink is set; every function accepts that. */
MUST_CHECK int events_open(const struct events_options *o, struct events **out, struct err *e);
/* Writes what is buffered, for at most timeout_ms; the rest is dropped, counted and logged. The
 * ledger that it observes must be closed, or no longer be called. */
void events_close(struct events *ev, int64_t timeout_ms);

/* A ledger_observer_fn; arg: struct events. */
void events_record(void *arg, const struct ledger_transition *t);

/* Whether that file can be appended to, and whether the cluster responds and has the topic. For
 * --check-config --online; creates nothing. */
MUST_CHECK int events_check_file(const char *path, struct err *e);
MUST_CHECK int events_check_kafka(const char *url, struct err *e);
/* Whether the collector takes a request without spans. */
MUST_CHECK int events_check_traces(const struct events_options *o, struct err *e);

#endif
