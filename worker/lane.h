/*
 * The launch lane of one class, and the threads that serve it.
 *
 * One thread at a time holds the lane: it waits until the class has room (a free slot and a rate
 * token by the ledger's last word, less what its fellows took and have not yet reserved), and is
 * not stopped by its breaker, takes one message and passes the lane on before it launches. So a
 * message is never taken that cannot be launched (invariant 5), one poll per class is under way,
 * and launches of one class run side by side.
 */
#ifndef MAYFLY_WORKER_LANE_H
#define MAYFLY_WORKER_LANE_H

#include "worker/breaker.h"
#include "worker/worker.h"

struct lane;

/* Starts worker.launch_threads threads for a class of the configuration. After a failure none runs,
 * and w->intake is raised. */
MUST_CHECK int lane_start(struct worker *w, const char *class_name, struct lane **out,
                          struct err *e);
/* After w->intake was raised: joins the threads, frees the lane. */
void lane_join(struct lane *lane);

/* From launch.c: the taken message has its slot, or will not have one. */
void lane_reserved(struct lane *lane);
/* The class's breaker, as long as the lane. */
struct breaker *lane_breaker(struct lane *lane);
/* No takes before that (monotonic ms), for a quota or a rate limit of the other side. */
void lane_pause_until(struct lane *lane, int64_t mono_ms);

#endif
