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

/* One batch put on the queue, or failed to. */
void stats_commit(int64_t took_us, int64_t batch, bool success);

/* From the whole request read to its answer given, of a queued delivery. */
void stats_accepted(int64_t took_us);

void stats_connections(int64_t change);
/* A connection that we closed, and why: "deadline", "idle", "drain", "evicted". */
void stats_closed(const char *why);
/* Accepting was paused: "connections" at their maximum, or no "descriptors" left. */
void stats_accept_paused(const char *why);
void stats_in_flight(int64_t now);

#endif
