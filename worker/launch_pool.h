/*
 * The launch threads of a worker: one bounded pool for all classes.
 *
 * A free thread picks a class by the rule of share.h and polls its lane. When it has received a
 * message it launches for it; meanwhile another thread polls the lane. So worker.launch_threads
 * bounds the launches in flight of the whole worker, one poll per class runs at a time, and a class
 * whose launches are slow leaves the others their share.
 */
#ifndef MAYFLY_WORKER_LAUNCH_POOL_H
#define MAYFLY_WORKER_LAUNCH_POOL_H

#include "worker/worker.h"

struct launch_pool;

/* Starts the threads and the heartbeat (w->heartbeat) for the classes of the configuration.
 * ERR_CAPACITY when no thread can be created: then none runs, and w->intake is raised. */
MUST_CHECK int launch_pool_start(struct worker *w, const struct config *c, struct launch_pool **out,
                                 struct err *e);
/* The classes of a reloaded configuration: a lane for each new one whose provider the fleet has, another
 * for one whose provider was opened anew, none for one that is retired. Called by one thread at a time.
 * ERR_CAPACITY: worker.launch_threads are fewer than the classes would be; one such class is
 * named, and they have no lane until the restart. */
MUST_CHECK int launch_pool_reload(struct launch_pool *p, const struct config *c, struct err *e);
/* After w->intake was raised: waits for the launches in flight, and frees the pool. NULL is fine.
 */
void launch_pool_join(struct launch_pool *p);

#endif
