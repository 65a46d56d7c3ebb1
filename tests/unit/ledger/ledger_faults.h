/*
 * Every step of the ledger's front while its store fails once: at the first request to the store,
 * at the second, and so on until none of the step is left to fail.
 *
 * For the tests of all backends. A backend's test says what a request is, and makes one fail (by
 * the linker's --wrap). The clock and the names of VMs are fixed (--wrap=vm_name_make), so that two
 * runs of one step leave the same rows; what runs without a failure leave is found out once a program.
 * What fails, fails the running cmocka test.
 */
#ifndef MAYFLY_TEST_LEDGER_FAULTS_H
#define MAYFLY_TEST_LEDGER_FAULTS_H

#include "common/ledger/ledger.h"

/* Requests that a step made. */
struct faults_seen {
    int all;
    int writes; /* of them, those whose answers are worth losing */
};

struct faults_store {
    /* A ledger without rows. */
    struct ledger *(*open)(void);
    void (*close)(struct ledger *l);
    /* All that is stored, in lines; owned, free(). Fails the test if the store is not free to be
     * written, as after a transaction that nobody ended. */
    char *(*dump)(void);
    /* The n-th request (whose answer is lost: the n-th write) from now on fails; 0: none. Returns
     * what was asked since the call before. */
    struct faults_seen (*arm)(int n);
    enum err_class fails; /* how the step must fail */
    bool asks_again;      /* a step whose answer was lost succeeds by itself */
    bool repairs;         /* ledger_repair asks the store */
    bool tokens_apart;    /* the same for a launch's tokens, which may be lost then */
    bool in_parts;        /* a few steps are several writes: what was made before a failure stays */
    size_t one_in;        /* of so many steps one is run, from one drawn at random; 0: each is */
    bool slow;            /* steps that take hundreds of others to prepare are left out */
};

/* A request that fails was not carried out: the step fails, changes nothing and leaves its outputs
 * alone; the same step succeeds afterwards and leaves what it would have without a failure. */
void faults_refuse(const struct faults_store *s);

/* The answer to a request that was carried out is lost: the step fails, and repeated it leaves what
 * one run leaves, or, where the first one was carried out, what two runs leave. */
void faults_lose(const struct faults_store *s);

#endif
