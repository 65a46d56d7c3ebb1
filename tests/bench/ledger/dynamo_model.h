/*
 * A model of DynamoDB inside the process, in place of aws_send: what the ledger needs of it, with the time
 * that a request takes there, and with its conflicts.
 *
 * A transaction prepares its items one after the other (here in two halves, so that two transactions may
 * refuse each other), and holds them until it ends. Another transaction, or a write of one item, that meets
 * a held item is refused: TransactionConflict. Writes of one item wait for each other and do not conflict;
 * reads are held up by nothing. It has no limit of throughput, and of a query no more than the ledger's
 * counters need: all of a partition. Any thread; one model for the process.
 */
#ifndef MAYFLY_TESTS_BENCH_LEDGER_DYNAMO_MODEL_H
#define MAYFLY_TESTS_BENCH_LEDGER_DYNAMO_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct dynamo_model_options {
    int64_t read_us; /* a read, or a write of one item */
    int64_t transaction_us;
    bool conflicts; /* false: a transaction waits for the items that another holds */
    int64_t fleet_cap;
    int64_t class_cap;
    int64_t target_cap;
};

struct dynamo_model_counts {
    int64_t transactions;
    int64_t conflicts; /* requests that were refused for one */
    int64_t conditions;
    int64_t reads;
    int64_t writes;   /* of one item */
    int64_t over_cap; /* commits after which more VMs had a row with a slot than a cap allows */
    int64_t most_vms; /* with a slot, ever */
};

/* Begins with an empty table. No request may be in progress. */
void dynamo_model_reset(const struct dynamo_model_options *o);
struct dynamo_model_counts dynamo_model_counts(void);

#endif
