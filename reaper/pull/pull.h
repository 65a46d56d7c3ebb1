/*
 * Intake without a public endpoint (github.pull): the webhook's deliveries are read from GitHub's
 * delivery log, in a thread of its own, of one reaper at a time.
 *
 *   pull.c     the thread: the lease "pull", when what is due, what is logged and counted
 *   log.c      reads the log: which deliveries are new and concern us
 *   seen.c     what was seen of it: deliveries that wait for their payload, and those handled
 *   fetch.c    their payloads, and what becomes of them
 *   records.c  what outlives the process
 *
 * Each reading goes from the newest entry back to the last complete reading's newest; every now and then
 * one goes reaper.deliveries.overlap further, since entries may appear late. A delivery that an attempt
 * of the same GUID got accepted (2xx) is left alone: it is durable, at an ingress (invariant 1). The
 * others' payloads are fetched, the oldest first, and put on the queue like those that an ingress has
 * verified; what the configuration does with them is decided by the same code (webhook.h).
 *
 * No delivery is lost: LEDGER_COUNTER_SEEN_UNTIL says up to when everything is handled, and is moved only
 * after the queue has confirmed what it covers; whoever holds the lease next reads back to there. None is
 * handled twice: what was handled since that time is recorded in the ledger, right after the queue has
 * confirmed it. Only a process that dies between the two leaves deliveries that the next one finds
 * unrecorded: of those that it meets in its first reading it therefore asks the ledger, and a queue that
 * can find a message, whether the job is there.
 *
 * A failed call to GitHub, or a store that is away, costs time: all that waits stays in memory, or is read
 * again. The thread owns everything here.
 */
#ifndef MAYFLY_REAPER_PULL_PULL_H
#define MAYFLY_REAPER_PULL_PULL_H

#include "common/base/thread.h"
#include "reaper/reaper.h"

struct pull;

/* NULL: github.pull.interval is 0. `r` (borrowed) must outlive it; of it the configuration, the stores,
 * the holder's name, the presence and the stop flag are used. */
struct pull *pull_new(struct reaper *r);
void pull_free(struct pull *p);

/* Both accept NULL. */
MUST_CHECK int pull_start(struct pull *p, struct err *e);
/* After r->stop was raised. Gives the lease back. */
void pull_stop(struct pull *p);

/* One turn of the thread, for tests: does what is due, and returns after how long something is due next. */
int64_t pull_turn(struct pull *p);

#endif
