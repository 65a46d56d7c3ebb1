/*
 * The circuit breaker of one class: launches that are refused several times in a row stop it.
 *
 *   closed ──refused N times in a row──> open ──pause over──> one launch is tried ──taken──> closed
 *                                          ^                        │
 *                                          └── refused: twice the pause
 *
 * A refusal is an error that the same request would meet again (bad image, denied, unknown group).
 * One job cannot stop its class: only refusals of different jobs count as in a row. While a class
 * is stopped its lane is left alone, and what was taken already goes back unspent.
 *
 * The count and the pause are marks in the ledger, shared by all workers: what is refused is
 * refused to each of them, and a breaker in each would bury so many jobs for every worker there is
 * and try again as often. The one launch that is tried is a lease, so that a worker that dies over
 * it blocks nobody. The marks are read at most once a second; in between a worker goes by what it
 * saw. A ledger that cannot be asked stops nothing: then nothing is launched anyway. Any thread.
 */
#ifndef MAYFLY_WORKER_BREAKER_H
#define MAYFLY_WORKER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config/config.h"
#include "common/ledger/ledger.h"

struct breaker;

/* Borrows the ledger; copies the name. */
struct breaker *breaker_new(struct ledger *ledger, const char *class_name);
void breaker_free(struct breaker *b);

/* Asked before a message is taken: how long to wait until that may make sense; 0 now. */
int64_t breaker_wait_ms(struct breaker *b, const struct config *c);
/* A message was taken: if the class is stopped, it is the one that is tried. */
void breaker_taken(struct breaker *b, const char *message_id);

/* How the launch of that message ended. Each taken message comes to one of these three. */
void breaker_launched(struct breaker *b, const char *message_id);
/* It ended with an error that says nothing about the class, or needed no launch. */
void breaker_no_verdict(struct breaker *b, const char *message_id);

struct breaker_refusal {
    bool stopped;     /* the class is: the message waits, however permanent its error */
    int64_t delay_ms; /* until it should be ready again */
};
struct breaker_refusal breaker_refused(struct breaker *b, const struct config *c,
                                       const char *message_id, int64_t job_id,
                                       const struct err *why);

/* Whether an error is a refusal. */
bool breaker_counts(const struct err *e);

#endif
