/*
 * The steps that ledger_faults.c runs: each of the ledger's front, in each of its ways.
 */
#ifndef MAYFLY_TEST_LEDGER_FAULT_STEPS_H
#define MAYFLY_TEST_LEDGER_FAULT_STEPS_H

#include "common/ledger/ledger.h"

#define FAULTS_WALL_MS INT64_C(1700000000000) /* when a step is prepared */

union fault_output {
    struct ledger_effect effect;
    struct ledger_job job;
    struct ledger_reservation reservation;
    struct ledger_vm vm;
    struct ledger_capacity room;
    struct ledger_cell cell;
    bool changed;
    int64_t number;
    struct {
        void *items; /* owned once the step has succeeded */
        size_t n;
        size_t suspected;
    } list;
    struct {
        bool held;
        int64_t fence;
    } lease;
};

struct fault_step {
    const char *name;
    void (*prepare)(struct ledger *l); /* NULL: an empty ledger */
    int (*run)(struct ledger *l, const struct fault_step *s, union fault_output *out,
               struct err *e);
    int64_t later_ms; /* so much time passes between the two; less than 0: the clock is set back */
    /* What the run is about: */
    int64_t id;
    enum job_action action;
    bool runs; /* the event names the VM's runner */
    int to;
    const char *text;
    struct ledger_caps caps;
    bool reserves; /* `to` is the outcome */
    bool lists;    /* the output is a list */
    bool slow;
    bool in_parts; /* where the store says so */
    bool tokens;   /* writes the launch's buckets */
    bool only_where_repaired;
};

#define FAULT_STEPS_MAX 100
extern const struct fault_step fault_steps[];
extern const size_t fault_step_count;

#endif
