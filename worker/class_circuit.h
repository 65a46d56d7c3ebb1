/*
 * A worker's view of the circuit of one class (common/ledger/circuit.h): launches that are refused
 * several times in a row stop the class.
 *
 * A refusal is an error that the same request would meet again (bad image, denied, unknown group).
 * While a class is stopped its lane is left alone, and what was taken already goes back unspent.
 * The record is read at most once a second; in between a worker goes by what it saw. While all is
 * well nothing is written. A ledger that cannot be asked stops nothing: then nothing is launched
 * anyway. Any thread.
 */
#ifndef MAYFLY_WORKER_CLASS_CIRCUIT_H
#define MAYFLY_WORKER_CLASS_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config/config.h"
#include "common/ledger/ledger.h"

struct class_circuit;

/* Borrows the ledger; copies the name. */
struct class_circuit *class_circuit_new(struct ledger *ledger, const char *class_name);
void class_circuit_free(struct class_circuit *cc);

/* Asked before a message is taken: how long to wait until that may make sense; 0 now. */
int64_t class_circuit_wait_ms(struct class_circuit *cc, const struct config *c);
/* A message was taken: if the class is stopped, it is the probe, and stays the only one for as long
 * as its launch may take (reaper.startup_timeout and a lease). */
void class_circuit_taken(struct class_circuit *cc, const struct config *c, const char *message_id);

/* How the launch of that message ended. Each taken message comes to one of these three. */
void class_circuit_launched(struct class_circuit *cc, const char *message_id);
/* It ended with an error that says nothing about the class, or needed no launch. */
void class_circuit_no_verdict(struct class_circuit *cc, const char *message_id);

struct class_circuit_refusal {
    bool stopped;     /* the class is: the message waits, however permanent its error */
    int64_t delay_ms; /* until it should be ready again */
};
struct class_circuit_refusal class_circuit_refused(struct class_circuit *cc, const struct config *c,
                                                   const char *message_id, int64_t job_id,
                                                   const struct err *why);

/* Whether an error is a refusal. */
bool class_circuit_counts(const struct err *e);

#endif
