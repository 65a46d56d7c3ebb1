/*
 * What a launch calls, scripted: the ledger, GitHub, the provider, the queue, the lane. Each call
 * writes a line with everything it was asked, so that a case is such a list of lines.
 */
#ifndef MAYFLY_TEST_LAUNCH_SCRIPT_H
#define MAYFLY_TEST_LAUNCH_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "worker/heartbeat.h"
#include "worker/launch.h"
#include "worker/takeover.h"

enum step { STEP_RESERVE, STEP_REGISTER, STEP_ADVANCE_REGISTERED, STEP_RUN, STEP_RECORD, STEPS };

#define LEASE_MS 30000    /* worker.lease_ms */
#define TIMEOUT_MS 300000 /* reaper.startup_timeout_ms */
#define START_MS 1000

extern struct script {
    struct buf calls; /* a line each */
    struct ledger_reservation reservation;
    enum err_class fail[STEPS]; /* ERR_NONE: the step works */
    int64_t takes_ms[STEPS];    /* how long it takes; the heartbeat goes on meanwhile */
    bool heart_stops;           /* while a step takes long: the process was frozen */
    int64_t retry_after_ms;     /* that a failure tells */
    bool left_nothing;          /* what vm_run_left_nothing says of ERR_RETRY */
    bool rollback_fails;
    bool extension_lost; /* the message is another's */
    bool row_lost;       /* the VM's row is ending */
    int extended;
    int stamped;
    struct class_circuit_refusal refusal;
    struct takeover earlier; /* what is left of the job's earlier launch */
    bool takeover_fails;
    int64_t now_ms;
    const struct config_class *class;
    struct worker worker;
} script;

/* A new script; the clock is the script's too. As a case's setup and teardown, and in between. */
int script_set_up(void **state);
int script_tear_down(void **state);
void script_again(void);

/* Launches a job of class 0 (small: a group of its own, bound to its host) or 1 (arm), and returns
 * every call that was made for it; the same for a message that says something else. */
const char *script_calls_for(size_t class, int64_t attempts);
const char *script_calls_for_body(const char *body);

#endif
