/*
 * The seam between the ledger's steps and a store: one small transaction.
 *
 * For steps.c and the backends alone. A step is a function that loads rows, lets
 * rules.h decide, and writes the rows back with the lines of their timelines. It is written
 * once, in steps.c; a backend makes it atomic. A step touches at most one job, one VM and
 * one cell, loads each before it writes it, and writes each at most once.
 *
 * `run` calls the step, and calls it again whenever a row it loaded has changed by the time of the
 * commit. A step therefore sets all its outputs anew each time, and has no other side effect. What
 * it returns holds only for rows that are still the same at the commit, a refusal (-1) too:
 *   - it returned 0: all its writes become visible at once, durably, or none does;
 *   - it returned -1: nothing is written, and `run` fails with that error;
 *   - the store fails: `run` fails; whether the writes were made may then be unknown (ERR_RETRY).
 * A step that writes nothing costs no write in the store.
 *
 * What a store keeps beside the rows is its own affair. It derives from a row before and after:
 * counts of jobs by class and state; demand (waiting jobs) and supply (VMs reserved to launched) by
 * scope and class; slots in use (VMs reserved to ending) in the fleet, by class and by repository,
 * and the counter of freed slots; the scopes that have VMs; which VMs belong to a job's timeline
 * (for_job and job_id); indexes by age; how often a row was changed.
 */
#ifndef MAYFLY_LEDGER_TXN_H
#define MAYFLY_LEDGER_TXN_H

#include "common/ledger/ledger.h"
#include "common/ledger/messages.h"

struct ledger_txn {
    const struct ledger_txn_ops *ops;
    int64_t now_ms; /* the store's wall clock; the same for all of one call of the step */
};

typedef int ledger_step_fn(struct ledger_txn *t, void *arg, struct err *e);

/* A backend embeds struct ledger_txn as the first member of its own. Every load sets *known, and
 * *out to the row, or to zeros when there is none. */
struct ledger_txn_ops {
    /* Runs the step until it is committed, as above. Gives up with ERR_RETRY after too many rounds
     * or past the store's deadline. `state` is the backend's handle. */
    int (*run)(void *state, ledger_step_fn *step, void *arg, struct err *e);

    /* Loads a job. `vm_hint` names the VM that this step will probably load next ("": none), so
     * that a store can fetch both in one request. */
    int (*job)(struct ledger_txn *t, int64_t id, const char *vm_hint, struct ledger_job *out,
               bool *known, struct err *e);
    /* Loads a VM by the name of its runner. */
    int (*vm)(struct ledger_txn *t, const char *name, struct ledger_vm *out, bool *known,
              struct err *e);
    /* Fills in version and value of the cell of that kind and name; they are zeroed before, and
     * stay so if there is none. */
    int (*cell)(struct ledger_txn *t, struct ledger_cell *cell, struct err *e);

    /* Writes the job that was loaded and adds the line to its timeline, naming line->vm. before
     * NULL: the job is new; before == after (one pointer): its row stays, only the line is added.
     * A line without text (what NULL) is none, and one that repeats the job's last is not added.
     * `new_waits`: the causes of waiting that stand in the timeline (ledger_reserve) may be written
     * into it once more. */
    int (*write_job)(struct ledger_txn *t, const struct ledger_job *before,
                     const struct ledger_job *after, bool new_waits, const struct ledger_line *line,
                     struct err *e);
    /* The same for a VM that exists, and its timeline. A step that writes both writes the job
     * first: its line stands before the VM's. */
    int (*write_vm)(struct ledger_txn *t, const struct ledger_vm *before,
                    const struct ledger_vm *after, const struct ledger_line *line, struct err *e);
    /* Writes the cell that was loaded: kind and name are those; version 0 removes it. */
    int (*write_cell)(struct ledger_txn *t, const struct ledger_cell *after, struct err *e);
};

#endif
