/*
 * Asks a program whether it is ready, on a thread of its own: the question may wait for a store, and
 * the admin port's other pages must not wait with it.
 *
 * One call of `ready` at a time; it serves the requests that came before it began. Inside the admin
 * port only. All functions but start and stop are safe from any thread.
 */
#ifndef MAYFLY_HTTP_READINESS_H
#define MAYFLY_HTTP_READINESS_H

#include "common/http/admin.h"

#define READINESS_WHY_BYTES 4096

struct readiness;

/* `ready` and `arg` as of the admin options; wake_fd, borrowed, is an eventfd that gets 1 after each
 * call of `ready`. */
MUST_CHECK int readiness_start(const struct admin_options *o, int wake_fd, struct readiness **out,
                               struct err *e);
/* Waits for a call in progress. NULL is fine. */
void readiness_stop(struct readiness *r);

/* The number of this request, from 1. */
uint64_t readiness_ask(struct readiness *r);

/* The last answer, with the reason if it is not ready: it answers all requests up to the returned
 * number. */
uint64_t readiness_answer(struct readiness *r, bool *is_ready, char why[READINESS_WHY_BYTES]);

#endif
