/*
 * The ledger's decisions, independent of a store: what a delivery does to a job and to a VM,
 * whether a bucket has tokens, who gets a lease.
 *
 * For the front, the backends and their tests alone. Pure functions on plain values: a backend
 * loads a row, applies a rule to it, and writes it back within one atomic step, so all backends
 * decide alike. Only rules.c changes the state of a job or a VM. No clock, no heap, any thread.
 */
#ifndef MAYFLY_LEDGER_RULES_H
#define MAYFLY_LEDGER_RULES_H

#include "common/ledger/ledger.h"

/* --- states --- */
/* The allowed edges, including those that skip states because a delivery was lost. */
bool ledger_job_edge(enum ledger_job_state from, enum ledger_job_state to);
bool ledger_vm_edge(enum ledger_vm_state from, enum ledger_vm_state to);
bool ledger_job_has_ended(enum ledger_job_state s); /* done or cancelled */
bool ledger_vm_has_slot(enum ledger_vm_state s);    /* reserved to ending */

struct ledger_change {
    bool row;   /* the row changed: write it */
    bool state; /* the state moved; always true for a new row */
};

/* --- jobs --- */
/* Applies a delivery to the job, and fills in facts that the row lacks. `known`: *job holds a row;
 * else *job is zeroed and becomes a new row. */
struct ledger_change ledger_rule_apply_to_job(struct ledger_job *job, bool known,
                                              const struct job_event *ev, const char *scope,
                                              int64_t now_ms);
/* Applies a launch request to its job: it waits, unless it is further on. A request without a job
 * changes nothing; *job stays zeroed. */
struct ledger_change ledger_rule_wait(struct ledger_job *job, bool known,
                                      const struct launch_request *r, const char *scope,
                                      int64_t now_ms);
/* Applies the status that GitHub's API reports; a job that had a runner becomes done, not
 * cancelled. Returns whether the state moved. */
bool ledger_rule_reconcile_job(struct ledger_job *job, enum ledger_job_state to, int64_t now_ms);

/* --- VMs --- */
/* The runner that the delivery is about: the one it names, else the job's recorded one; "" none.
 * Valid as long as both arguments. */
const char *ledger_rule_runner(const struct job_event *ev, const struct ledger_job *job);

/* Applies a delivery to the VM of its runner. *job: after the delivery was applied. A VM that since
 * became busy with another job is not ended by this one. */
struct ledger_change ledger_rule_apply_to_vm(struct ledger_vm *vm, const struct ledger_job *job,
                                             bool job_moved, const struct job_event *ev,
                                             int64_t now_ms);
/* Ends the VM that was busy with a job that ledger_rule_reconcile_job found ended. */
struct ledger_change ledger_rule_reconcile_vm(struct ledger_vm *vm, const struct ledger_job *job,
                                              int64_t now_ms);
/* Moves a VM; ERR_CONFLICT as ledger_vm_advance. */
MUST_CHECK int ledger_rule_advance(struct ledger_vm *vm, const struct ledger_advance *a,
                                   int64_t now_ms, struct ledger_change *out, struct err *e);
/* Records a launch's heartbeat; ERR_CONFLICT as ledger_vm_heartbeat. */
int ledger_rule_heartbeat(struct ledger_vm *vm, int64_t now_ms, struct ledger_change *out,
                          struct err *e);

/* --- reserving --- */
struct ledger_usage {
    int64_t demand; /* of (scope, class), including this job */
    int64_t supply;
    int64_t spare; /* the request's */
    int64_t fleet_used;
    int64_t class_used;
    int64_t repository_used;
    int64_t target_used;
};
static inline bool ledger_rule_is_satisfied(const struct ledger_usage *u)
{
    return u->demand + u->spare <= u->supply;
}
/* LEDGER_SATISFIED, LEDGER_FULL_…, or LEDGER_RESERVED, which is still subject to the rate. */
enum ledger_outcome ledger_rule_reserve(const struct ledger_usage *u,
                                        const struct ledger_caps *caps);
/* The row of an adopted VM. */
void ledger_rule_adopted_vm(struct ledger_vm *vm, const struct ledger_adoption *a, int64_t now_ms);
/* The row of a new VM. */
void ledger_rule_new_vm(struct ledger_vm *vm, const struct ledger_reserve *r, const char *name,
                        const char *client_token, int64_t now_ms);

/* --- rate buckets --- */
/* The buckets that launches take tokens from; ledger_rate_pause on them pauses launches. */
#define LEDGER_BUCKET_LAUNCH "launch"
#define LEDGER_BUCKET_TARGET "launch@" /* followed by the target, in place of "launch" */
#define LEDGER_BUCKET_CLASS "launch."  /* followed by the class */
#define LEDGER_BUCKET_SIZE 64
/* The first of the two buckets of a launch; target "": it has none. */
void ledger_bucket_of_launch(const char *target, char out[LEDGER_BUCKET_SIZE]);

struct ledger_bucket_row {
    double tokens;
    int64_t at_ms; /* the latest wall clock time of a refill */
    int64_t paused_until_ms;
};
/* A new bucket is full. */
void ledger_rule_bucket_new(struct ledger_bucket_row *row, int64_t now_ms);
/* Call refill, then wait, then spend if the wait is 0; write the row if tokens were spent or the
 * clock was set back. per_second 0: unlimited, except for a pause. A clock that went backwards adds
 * no tokens: refilling resumes when the clock is back at at_ms or, if it was set back by more than
 * a minute, from now. */
void ledger_rule_bucket_refill(struct ledger_bucket_row *row, double per_second, int64_t burst,
                               int64_t now_ms);
/* The ms until `cost` tokens are available and no pause applies; 0: now. */
int64_t ledger_rule_bucket_wait(const struct ledger_bucket_row *row, double per_second,
                                int64_t cost, int64_t now_ms);
void ledger_rule_bucket_spend(struct ledger_bucket_row *row, double per_second, int64_t cost);
bool ledger_rule_clock_set_back(const struct ledger_bucket_row *row, int64_t now_ms);

/* --- paces --- */
/* Takes the next start time of a pace (the generic cell rate algorithm): returns the us until then.
 * *next_us: when the next start would be due if there were no burst, by the wall clock; 0 at first.
 * One that is more than a minute ahead was written by a clock that was set back since, and counts as
 * now. */
int64_t ledger_rule_start(int64_t *next_us, double per_second, int64_t burst, int64_t now_ms);

/* --- leases --- */
struct ledger_lease_row {
    char holder[128]; /* "": released, or never held */
    int64_t until_ms;
    int64_t ttl_ms; /* when it was last acquired or renewed */
    int64_t fence;
};
/* Acquires or renews the lease; returns whether `holder` has it now. unchanged_ms: how long, by its
 * monotonic clock, the caller has seen the row unchanged. A lease that would last longer than its
 * ttl was written by a wall clock ahead of now_ms, so its end is meaningless: it expires when the
 * caller has seen no renewal for a ttl. */
bool ledger_rule_lease(struct ledger_lease_row *row, const char *holder, int64_t ttl_ms,
                       int64_t now_ms, int64_t unchanged_ms);

#endif
