/*
 * The ledger's timeline in words: the lines a platform engineer reads to learn why a job waits.
 *
 * For the backends alone, so that every backend tells the same story. Each function fills one line;
 * the backend adds it in the same atomic step as the change it tells of. Pure functions, any
 * thread. Text is cut to the line's size; nothing in it is secret.
 */
#ifndef MAYFLY_LEDGER_MESSAGES_H
#define MAYFLY_LEDGER_MESSAGES_H

#include "common/ledger/rules.h"

struct ledger_line {
    const char *what; /* static; NULL: nothing to tell */
    const char *vm;   /* a VM that a job's line names; "" none; borrowed */
    char detail[320];
};

#define LEDGER_LINES_MAX 200  /* lines a job, or a VM by itself, keeps */
#define LEDGER_LINES_FIRST 50 /* of these, the oldest are never given up */

/* A delivery moved the job, or a launch request, whose delivery may be ""; `ours`: its runner is
 * one of our VMs. */
void ledger_word_noted(struct ledger_line *out, const struct ledger_job *job, const char *delivery,
                       bool ours);
void ledger_word_settled(struct ledger_line *out, const struct ledger_job *job, const char *why);
void ledger_word_relaunched(struct ledger_line *out, const struct ledger_job *job);

/* The state that the VM just moved to; `reason` may be NULL. */
void ledger_word_vm(struct ledger_line *out, const struct ledger_vm *vm, const char *reason);
/* The provider's answer was recorded after the VM had moved on. */
void ledger_word_late_launch(struct ledger_line *out, const struct ledger_vm *vm);

/* What ledger_reserve decided. */
void ledger_word_reserved(struct ledger_line *out, const struct ledger_reserve *r,
                          const struct ledger_usage *u, const struct ledger_reservation *res);

/* --- reserving: what it leaves of a job, the same in every store that decides in C --- */
/* The job waits from now on, unless it is further on; nothing if the request has no job. `told`:
 * the causes of waiting that stand in the job's timeline, 1 << outcome each; they begin anew when
 * the job moves. The line is of that move. */
struct ledger_change ledger_reserve_waits(const struct ledger_reserve *r, struct ledger_job *job,
                                          bool known, int64_t *told, int64_t now_ms,
                                          struct ledger_line *line);
/* Whether there is anything to decide. A job that went to a machine launched for another leaves
 * that other one waiting, whose own message may be gone: this message is its occasion. */
bool ledger_reserve_decides(const struct ledger_job *job, const struct ledger_usage *u);
/* The line of the outcome, about the job or, if the request has none, about the new VM: every cause
 * of waiting once, however often the message comes back. Returns whether *told changed. */
bool ledger_reserve_tells(const struct ledger_reserve *r, const struct ledger_usage *u,
                          const struct ledger_reservation *res, int64_t *told,
                          struct ledger_line *line);

#endif
