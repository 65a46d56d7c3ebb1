/*
 * The transaction interface between the ledger's steps and a store.
 *
 * For steps.c, cells.c and the backends alone. A step is a function that loads rows, decides by
 * rules.h, and writes the rows back with the lines of their timelines. Steps are written once, in
 * steps.c and cells.c; a backend makes them atomic. A step touches at most one job, one VM and one
 * cell, loads each before it writes it, and writes each at most once.
 *
 * `run` calls the step, and calls it again whenever a row that it loaded has changed before the
 * commit. So a step sets all its outputs on each call, and has no other side effect. Its result, an
 * error too, is valid only if the rows are still the same at the commit:
 *   - it returned 0: all its writes become visible and durable at once, or none does;
 *   - it returned -1: nothing is written, and `run` returns that error;
 *   - the store fails: `run` fails; whether the writes were made may be unknown (ERR_RETRY).
 * A step that writes nothing costs no write to the store.
 *
 * A store derives further data from a row before and after:
 *   - counts of jobs by class and state;
 *   - demand (waiting jobs) and supply (VMs reserved to launched) by scope and class;
 *   - slots in use (VMs reserved to ending) of the fleet, by class and by repository, and the
 *     counter of released slots;
 *   - the scopes that have VMs; the VMs of a job's timeline (for_job and job_id);
 *   - indexes by age; how often a row was changed.
 */
#ifndef MAYFLY_LEDGER_TXN_H
#define MAYFLY_LEDGER_TXN_H

#include "common/ledger/ledger.h"
#include "common/ledger/messages.h"

struct ledger_txn {
    const struct ledger_txn_ops *ops;
    int64_t now_ms; /* the store's wall clock; constant during one call of the step */
};

typedef int ledger_step_fn(struct ledger_txn *t, void *arg, struct err *e);

/* A backend embeds struct ledger_txn as its transaction's first member. Every load sets *known, and
 * *out to the row, or to zeros if it does not exist. */
struct ledger_txn_ops {
    /* Runs the step until it is committed, as above. Fails with ERR_RETRY after too many attempts
     * or past the store's deadline. `state` is the backend's handle. */
    int (*run)(void *state, ledger_step_fn *step, void *arg, struct err *e);

    /* Loads a job. `vm_hint`: the VM that this step will probably load next ("": none), so that a
     * store can fetch both in one request. */
    int (*job)(struct ledger_txn *t, int64_t id, const char *vm_hint, struct ledger_job *out,
               bool *known, struct err *e);
    /* Loads a VM by the name of its runner. */
    int (*vm)(struct ledger_txn *t, const char *name, struct ledger_vm *out, bool *known,
              struct err *e);
    /* Sets version and value of the cell with that kind and name; the caller zeroed them, and they
     * stay zero if it does not exist. */
    int (*cell)(struct ledger_txn *t, struct ledger_cell *cell, struct err *e);

    /* Writes the loaded job and adds the line to its timeline, with line->vm. before NULL: the job
     * is new. before == after (the same pointer): adds only the line. No line is added if
     * line->what is NULL, or if it repeats the job's last line. `new_waits`: a cause of waiting
     * that the timeline already holds (ledger_reserve) may be added once more. */
    int (*write_job)(struct ledger_txn *t, const struct ledger_job *before,
                     const struct ledger_job *after, bool new_waits, const struct ledger_line *line,
                     struct err *e);
    /* The same for a VM and its timeline; a new one may be in any state that holds a slot, and takes
     * its slot without regard to caps. A step that writes both writes the job
     * first, so that its line precedes the VM's. */
    int (*write_vm)(struct ledger_txn *t, const struct ledger_vm *before,
                    const struct ledger_vm *after, const struct ledger_line *line, struct err *e);
    /* Writes the loaded cell, identified by kind and name; version 0 removes it. */
    int (*write_cell)(struct ledger_txn *t, const struct ledger_cell *after, struct err *e);
};

#endif
