/*
 * What the ingress counts: every answer with its reason, commits, batches, connections.
 *
 * Registered on first use; safe from any thread. `reason` is always static text of the program's
 * own, never something a peer sent, so the number of series is bounded.
 */
#ifndef MAYFLY_INGRESS_STATS_H
#define MAYFLY_INGRESS_STATS_H

#include <stdbool.h>
#include <stdint.h>

/* Registers what has no labels, so that it shows from the start. */
void stats_open(void);

/* One answered request. reason: "" for none. */
void stats_answer(int code, const char *reason);

/* One batch made durable, or not. */
void stats_commit(int64_t took_us, int64_t batch);
/* One put that the queue refused, or that outlived its deadline. */
void stats_put_failed(void);

/* Deliveries that went to the spool, and those it had no room for. */
void stats_spooled(int64_t deliveries);
void stats_spool_refused(int64_t deliveries);
/* Whether deliveries go to the spool now. */
void stats_spool_active(bool active);
/* What the spool holds at the moment. */
void stats_spool(int64_t messages, int64_t oldest_age_ms);

/* A delivery that found no place in flight, and stands in line. */
void stats_waited(void);

/* From the whole request read to its answer given, of a queued delivery. */
void stats_accepted(int64_t took_us);

void stats_connections(int64_t change);
/* A connection that we closed, and why: "deadline", "idle", "drain", "evicted". */
void stats_closed(const char *why);
/* Accepting was paused: "connections" at their maximum, or no "descriptors" left. */
void stats_accept_paused(const char *why);
void stats_in_flight(int64_t now);

#endif
