/*
 * A worker's view of the circuit of one class (common/ledger/circuit.h): launches that are refused
 * several times in a row stop the class.
 *
 * A refusal is an error that the same request would get again (bad image, permission denied,
 * unknown group). While the circuit is open nothing is received from the class's lane, and messages
 * that were received before return unspent. The record is read at most once a second and cached in
 * between; it is written only when something changes. If the ledger fails, the circuit stops
 * nothing: nothing can be launched anyway. Any thread.
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

/* How long to wait before a message may be received; 0: now. */
int64_t class_circuit_wait_ms(struct class_circuit *cc, const struct config *c);
/* A message was received: if the circuit is open, it is the probe, and the only one for as long as
 * its launch may take (reaper.startup_timeout and a lease). */
void class_circuit_received(struct class_circuit *cc, const struct config *c,
                            const char *message_id);

/* How the launch of that message ended. One of these three is called for each received message. */
void class_circuit_record_success(struct class_circuit *cc, const char *message_id);
/* It ended with an error that says nothing about the class, or no launch was needed. */
void class_circuit_release_probe(struct class_circuit *cc, const char *message_id);

struct class_circuit_refusal {
    bool stopped;     /* the circuit is open: the message waits, even if its error is permanent */
    int64_t delay_ms; /* until it should be ready again */
};
struct class_circuit_refusal class_circuit_record_refusal(struct class_circuit *cc,
                                                          const struct config *c,
                                                          const char *message_id, int64_t job_id,
                                                          const struct err *why);

/* Whether an error is a refusal. */
bool class_circuit_is_refusal(const struct err *e);

#endif
