/*
 * Jobs from GitHub's runner scale sets (sources[]), instead of webhooks or beside them.
 *
 *   scale_sets.c  which sets there are, and their threads
 *   session.c     a set's thread: its lease, its session at GitHub, its messages, trouble
 *   demand.c      how many VMs are wanted, and the launch requests for them
 *
 * Each set has a thread and a lease, "scale_set/SCOPE": of all reapers, the one that holds it opens the set's
 * session at GitHub and asks for messages, in polls of up to a minute. GitHub lets one session live, so that two reapers
 * that believe to hold the lease cannot both poll; a session whose reaper was killed lives on for some minutes, and its
 * successor waits for its end.
 *
 * The demand is what GitHub counts, not what messages say: with each message, and when none came, as many VMs are
 * requested as there are jobs assigned to the set and no VMs for them. So a message that was lost costs nothing, nor does a
 * reaper that was killed. What a message says of jobs that have started and ended becomes job events, the same as
 * an ingress makes; they are applied by workers, and twice does no harm. So a message is deleted after it was
 * acted on.
 */
#ifndef MAYFLY_REAPER_SCALE_SETS_H
#define MAYFLY_REAPER_SCALE_SETS_H

#include "reaper/reaper.h"

struct scale_sets;

/* NULL: none are configured. `r` (borrowed) must outlive it; of it the configuration, the stores, the holder's
 * name, the presence and the stop flag are used. */
struct scale_sets *scale_sets_new(struct reaper *r);
void scale_sets_free(struct scale_sets *s);

/* Both accept NULL. */
MUST_CHECK int scale_sets_start(struct scale_sets *s, struct err *e);
/* After r->stop was raised. Closes the sessions and gives the leases back, so that other reapers go on at once. */
void scale_sets_stop(struct scale_sets *s);

#endif
