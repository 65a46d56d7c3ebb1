/*
 * A sink of events: a bounded buffer, a thread that empties it, and a backend that writes.
 *
 * For events.c, the backends and their tests alone. The front owns policy: the bound, dropping,
 * retries (once a second, with the record that failed), counting, logging, the limit at the end. A
 * backend only writes; its functions are called by the sink's thread alone, but for open.
 */
#ifndef MAYFLY_EVENTS_SINK_H
#define MAYFLY_EVENTS_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/metrics.h"
#include "common/base/slice.h"
#include "common/events/record.h"

#define SINK_BATCH_MAX 64
#define SINK_IDLE_MS 1000

struct sink;

struct sink_target {
    const char *url;            /* or path */
    const char *const *headers; /* "Name: value"; borrowed until the sink is closed */
    size_t header_count;
    int64_t buffer;                  /* most records that wait */
    const struct event_source *from; /* borrowed until the sink is closed */
};

struct sink_record {
    struct slice key;  /* of the record's job, else of its VM */
    struct slice json; /* without a line's end */
};

struct sink_ops {
    const char *name; /* "file", "kafka", "traces": the metrics' label */
    /* Touches neither disk nor network: that is for write. `sink`: borrowed, for the calls at the
     * end of this header. */
    int (*open)(const struct sink_target *target, struct sink *sink, void **out, struct err *e);
    /* Writes the first records in their order, at most n >= 1. Returns how many: fewer than n is a
     * failure with *e, and the rest is passed again later. */
    size_t (*write)(void *state, const struct sink_record *records, size_t n, struct err *e);
    /* Between writes, at least each SINK_IDLE_MS. */
    void (*idle)(void *state);
    /* Waits until what was written has arrived, at most timeout_ms. Returns the number of records
     * that have not. */
    int64_t (*flush)(void *state, int64_t timeout_ms);
    void (*close)(void *state);
    bool counts_itself; /* a record is written only when the backend calls sink_count_written */
};

extern const struct sink_ops sink_ops_file;
extern const struct sink_ops sink_ops_kafka;
extern const struct sink_ops sink_ops_traces;

MUST_CHECK int sink_open(const struct sink_ops *ops, const struct sink_target *target,
                         struct sink **out, struct err *e);
/* As events_close. NULL is fine. */
void sink_close(struct sink *s, int64_t timeout_ms);

/* Of sink_ops_traces: whether the collector takes a request without spans. Blocks. */
MUST_CHECK int traces_check(const struct sink_target *target, struct err *e);

/* Copies the record into the buffer, or drops and counts it. Any thread. */
void sink_put(struct sink *s, struct slice key, struct slice json);

/* Any thread. reason: static. */
void sink_count_dropped(struct sink *s, const char *reason, int64_t n);
/* From write, idle and flush, by a backend that counts itself. */
void sink_count_written(struct sink *s, int64_t n);
/* Logs it, at most once a minute until something was written. action: what the program does. */
void sink_report_failure(struct sink *s, const struct err *e, const char *action);

#endif
