/*
 * The ledger's decisions, apart from any store: what a delivery does to a job and to a VM, what a
 * bucket gives, who gets a lease.
 *
 * For the front, the backends and their tests alone. Pure functions on plain values: a backend
 * loads a row, lets the rule change it, and writes it back within one atomic step; so every backend
 * decides alike. The only functions that change the state of a job or a VM are in rules.c.
 * No clock, no heap, any thread.
 */
#ifndef MAYFLY_LEDGER_RULES_H
#define MAYFLY_LEDGER_RULES_H

#include "common/ledger/ledger.h"

/* --- states --- */
/* The allowed edges. Skipping forward is allowed where a lost delivery makes it happen. */
bool ledger_job_edge(enum ledger_job_state from, enum ledger_job_state to);
bool ledger_vm_edge(enum ledger_vm_state from, enum ledger_vm_state to);
bool ledger_job_over(enum ledger_job_state s);   /* done or cancelled */
bool ledger_vm_has_slot(enum ledger_vm_state s); /* reserved to ending */

struct ledger_change {
    bool row;   /* something in the row changed: write it */
    bool state; /* the state moved; for a new row always so */
};

/* --- jobs --- */
/* What the delivery does to the job. `known`: whether *job holds a row; else it is zeroed and
 * becomes one. Fills in what the row did not know yet, too. */
struct ledger_change ledger_rule_note_job(struct ledger_job *job, bool known,
                                          const struct job_event *ev, const char *scope,
                                          int64_t now_ms);
/* What a launch request does to its job: it waits, unless it is further on. Without a job: nothing,
 * and *job stays zeroed. */
struct ledger_change ledger_rule_wait(struct ledger_job *job, bool known,
                                      const struct launch_request *r, const char *scope,
                                      int64_t now_ms);
/* What GitHub's API says; a running job that is said to be cancelled is done. Returns whether the
 * state moved. */
bool ledger_rule_settle(struct ledger_job *job, enum ledger_job_state to, int64_t now_ms);

/* --- VMs --- */
/* The VM whose runner the delivery is about: the one it names or, if it names none, the one the job
 * was seen with. "" for none. Valid as long as both arguments. */
const char *ledger_rule_runner(const struct job_event *ev, const struct ledger_job *job);

/* What the delivery does to the VM whose runner it is about; *job is as it is after the delivery.
 * A runner that was seen with another job since is not ended by this one. */
struct ledger_change ledger_rule_note_vm(struct ledger_vm *vm, const struct ledger_job *job,
                                         bool job_moved, const struct job_event *ev,
                                         int64_t now_ms);
/* The job was settled as over: the VM that was busy with it has had its one job. */
struct ledger_change ledger_rule_settle_vm(struct ledger_vm *vm, const struct ledger_job *job,
                                           int64_t now_ms);
/* One step of a VM's own way. ERR_CONFLICT as ledger_vm_advance says. */
MUST_CHECK int ledger_rule_advance(struct ledger_vm *vm, const struct ledger_advance *a,
                                   int64_t now_ms, struct ledger_change *out, struct err *e);
/* A sign of life of a launch, as ledger_vm_heartbeat says. */
int ledger_rule_heartbeat(struct ledger_vm *vm, int64_t now_ms, struct ledger_change *out,
                          struct err *e);

/* --- reserving --- */
struct ledger_usage {
    int64_t demand; /* of (scope, class), this job among them */
    int64_t supply;
    int64_t fleet_used;
    int64_t class_used;
    int64_t repository_used;
};
/* LEDGER_SATISFIED, LEDGER_FULL_…, or LEDGER_RESERVED if only the rate may still say no. */
enum ledger_outcome ledger_rule_reserve(const struct ledger_usage *u,
                                        const struct ledger_caps *caps);
/* The row of a new VM. */
void ledger_rule_new_vm(struct ledger_vm *vm, const struct ledger_reserve *r, const char *name,
                        const char *client_token, int64_t now_ms);

/* --- rate buckets --- */
/* Names of the buckets that launches take from; ledger_rate_pause on them holds launches. */
#define LEDGER_BUCKET_LAUNCH "launch"
#define LEDGER_BUCKET_CLASS "launch." /* and the class */

struct ledger_bucket_row {
    double tokens;
    int64_t at_ms; /* the newest wall clock that tokens were counted at */
    int64_t paused_until_ms;
};
/* A bucket nobody has used: full. */
void ledger_rule_bucket_new(struct ledger_bucket_row *row, int64_t now_ms);
/* Refill, ask, spend if the wait is 0; then write the row if something was spent or the clock had
 * been set back. per_second 0: unlimited, but for a pause. A clock that went backwards mints
 * nothing: refilling goes on where it had been, or, if the clock was set back by more than a
 * minute, from now. */
void ledger_rule_bucket_refill(struct ledger_bucket_row *row, double per_second, int64_t burst,
                               int64_t now_ms);
/* How many ms until `cost` tokens are there and no pause holds; 0: now. */
int64_t ledger_rule_bucket_wait(const struct ledger_bucket_row *row, double per_second,
                                int64_t cost, int64_t now_ms);
void ledger_rule_bucket_spend(struct ledger_bucket_row *row, double per_second, int64_t cost);
bool ledger_rule_clock_set_back(const struct ledger_bucket_row *row, int64_t now_ms);

/* --- leases --- */
struct ledger_lease_row {
    char holder[128]; /* "": released, or never held */
    int64_t until_ms;
    int64_t ttl_ms; /* as it was last taken or renewed */
    int64_t fence;
};
/* Takes or renews; returns whether the holder has it now. unchanged_ms: for how long, by its
 * monotonic clock, the asker has seen the row as it is. A lease that would last longer than its ttl
 * was written by a wall clock that is ahead of now_ms, and its end says nothing: its holder is
 * taken for gone when it has not renewed it for a ttl, as the asker saw. */
bool ledger_rule_lease(struct ledger_lease_row *row, const char *holder, int64_t ttl_ms,
                       int64_t now_ms, int64_t unchanged_ms);

#endif
