/*
 * What to do with a message whose handling failed: one table from the error's class to retry, wait
 * or dead-letter (invariant 7).
 *
 * A retry spends an attempt and backs off with full jitter; a wait spends none; a dead letter keeps
 * the message with its reason for an operator. An unknown error is transient. Pure except for the
 * jitter.
 */
#ifndef MAYFLY_WORKER_OUTCOME_H
#define MAYFLY_WORKER_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/config/config.h"

enum outcome_action { OUTCOME_RETRY, OUTCOME_WAIT, OUTCOME_DEAD_LETTER };

struct outcome {
    enum outcome_action action;
    int64_t delay_ms; /* RETRY and WAIT: until the message is ready again */
    bool pause_class; /* WAIT: the class's other messages would fail alike */
};

/* attempts: spent before this one. The attempt that would pass retry.max_attempts is
 * dead-lettered. */
struct outcome outcome_of(const struct err *e, int64_t attempts, const struct config_retry *retry);

const char *outcome_name(enum outcome_action a);

#endif
