/*
 * The metrics of the ingress: answers with their reason, commits, batches, connections.
 *
 * Registered on first use; safe from any thread. `reason` is always static text of the program's
 * own, never something a peer sent, so the number of series is bounded.
 */
#ifndef MAYFLY_INGRESS_STATS_H
#define MAYFLY_INGRESS_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config/config.h"

/* Registers the metrics without labels, so that they are shown from the start. */
void stats_open(void);

/* One answered request. reason: "" for none. */
void stats_answer(int code, const char *reason);

/* One batch committed, or failed. */
void stats_commit(int64_t took_us, int64_t batch);
/* One enqueue that failed or exceeded its deadline. */
void stats_enqueue_failed(void);

/* Messages that went to the spool, and those that the spool had no space for. */
void stats_spooled(int64_t messages);
void stats_spool_refused(int64_t messages);
/* Whether deliveries go to the spool now. */
void stats_spool_active(bool active);
/* The current content of the spool. */
void stats_spool(int64_t messages, int64_t oldest_age_ms);

/* A delivery that waits in the admission queue. */
void stats_admission_wait(void);

/* From the end of a request to its answer, of a queued delivery. */
void stats_accepted(int64_t took_us);

void stats_connections(int64_t change);
/* A connection that the ingress closed, and why: "deadline", "idle", "drain", "evicted",
 * "memory". */
void stats_closed(const char *why);
/* Accepting was paused: "connections" at their maximum, or no "descriptors" left. */
void stats_accept_paused(const char *why);
void stats_in_flight(int64_t now);

#endif
