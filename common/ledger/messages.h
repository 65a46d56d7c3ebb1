/*
 * The messages of the timeline, which say why a job waits.
 *
 * For the steps and the backends alone, so that every backend writes the same lines. Each function
 * fills one line; the caller adds it in the same atomic step as the change that it describes. Pure
 * functions, any thread. Text that does not fit into the line ends at a word; it contains no secrets.
 */
#ifndef MAYFLY_LEDGER_MESSAGES_H
#define MAYFLY_LEDGER_MESSAGES_H

#include "common/ledger/rules.h"

struct ledger_line {
    const char *what; /* static; NULL: no line */
    const char *vm;   /* the VM that a job's line names; "" none; borrowed */
    char detail[320];
};

#define LEDGER_LINES_MAX 200  /* kept per job, and per VM by itself */
#define LEDGER_LINES_FIRST 50 /* the oldest of these are never dropped */

/* A delivery or a launch request moved the job; delivery may be "". `known_vm`: its runner's VM is
 * in the ledger. */
void ledger_line_job(struct ledger_line *out, const struct ledger_job *job, const char *delivery,
                     bool known_vm);
void ledger_line_reconciled(struct ledger_line *out, const struct ledger_job *job, const char *why);
void ledger_line_relaunched(struct ledger_line *out, const struct ledger_job *job);

/* The VM moved to its present state; `reason` may be NULL. */
void ledger_line_vm(struct ledger_line *out, const struct ledger_vm *vm, const char *reason);
/* The provider's VM id was recorded after the VM had moved on. */
void ledger_line_late_launch(struct ledger_line *out, const struct ledger_vm *vm);
void ledger_line_adopted(struct ledger_line *out, const struct ledger_vm *vm);

/* The decision of ledger_reserve. */
void ledger_line_reserve(struct ledger_line *out, const struct ledger_reserve *r,
                         const struct ledger_usage *u, const struct ledger_reservation *res);

/* --- reserving: shared by the stores that decide in C --- */
/* Sets the job to waiting, unless it is further on; does nothing if the request has no job.
 * *reported: the causes of waiting that the job's timeline already holds, 1 << outcome each; reset
 * when the job's state moves. *line: about that move. */
struct ledger_change ledger_reserve_apply_wait(const struct ledger_reserve *r,
                                               struct ledger_job *job, bool known,
                                               int64_t *reported, int64_t now_ms,
                                               struct ledger_line *line);
/* Whether a reservation has to be decided. If this job already runs on a VM that was launched for
 * another job, that other job still waits, and its own message may be gone: so this message
 * launches a VM for it. */
bool ledger_reserve_is_needed(const struct ledger_job *job, const struct ledger_usage *u);
/* The line of the outcome, about the job or, if the request has none, about the new VM. Each cause
 * of waiting is reported once, however often the message is received. Returns whether *reported
 * changed. */
bool ledger_reserve_line(const struct ledger_reserve *r, const struct ledger_usage *u,
                         const struct ledger_reservation *res, int64_t *reported,
                         struct ledger_line *line);

#endif
