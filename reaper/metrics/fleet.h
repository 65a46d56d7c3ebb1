/*
 * The gauges of the whole fleet: jobs, VMs, slots, demand, backlog, lanes, programs, circuits.
 *
 * Exported by the reaper that holds the fleet's lease alone, so that a sum over all processes counts
 * each once: they vanish when the lease is lost, or can no longer be known to be held. A thread of its
 * own reads them every 10 seconds while the lease is held (the queue every 60 where its depths are
 * estimates that cost requests), however long a sweep takes. What is read are counters, and the
 * oldest waiting jobs of classes that could launch more; nothing scans. A store that cannot be read
 * leaves its gauges as they are for six intervals, or until the lease is over, then they vanish until it
 * can be read again; mayfly_fleet_observed_timestamp_seconds says when that was.
 *
 * NULL is fine everywhere: there are none.
 */
#ifndef MAYFLY_REAPER_METRICS_FLEET_H
#define MAYFLY_REAPER_METRICS_FLEET_H

#include "reaper/reaper.h"

struct fleet_metrics;

/* Borrows the reaper, whose stores must be open until it is freed. */
struct fleet_metrics *fleet_metrics_new(struct reaper *r);
void fleet_metrics_free(struct fleet_metrics *m);
MUST_CHECK int fleet_metrics_start(struct fleet_metrics *m, struct err *e);
/* Joins the thread; the gauges have vanished. */
void fleet_metrics_stop(struct fleet_metrics *m);

/* The sweep thread: after each attempt to get the fleet's lease, and when it is released. since: when
 * it was requested; NULL: it is not held. */
void fleet_metrics_set_lease(struct fleet_metrics *m, const struct sweep_moment *since,
                             int64_t duration_ms);
/* The sweep thread: the rows that hold a slot, of which it keeps how many each repository has. */
void fleet_metrics_set_rows(struct fleet_metrics *m, const struct ledger_vm *rows, size_t n);

/* Before the gauges are rendered: hides those that are too old, and all where the lease is over. */
void fleet_metrics_check(struct fleet_metrics *m);
/* What the thread does each time: reads what is due, if the lease is held. */
void fleet_metrics_read(struct fleet_metrics *m);

#endif
