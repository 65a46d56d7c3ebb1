/*
 * The ledger: the fleet's shared memory. Jobs, VMs, slots, rate buckets, leases, timelines; what
 * must be atomic across processes, and nothing else.
 *
 * Every call below is one atomic step of the store. States only move forward:
 *
 *   job   seen ──> waiting ──> running ──> done
 *           └─────────┴──> cancelled            (done and cancelled are ends)
 *   VM    reserved ──> registered ──> launched ──> busy ──> ending ──> gone
 *            └────────────┴──────────────┴─────────────────────^   any state may go to ending
 *
 * A lost or late delivery may skip states forward: seen or waiting to done, reserved or registered
 * to busy. Nothing goes from running to cancelled: a job that had a runner is done.
 *
 * demand(scope, class) = jobs waiting; supply(scope, class) = VMs reserved, registered or launched.
 * Reserved to ending hold a slot; gone frees it. A VM is supply, not a job's property: it ends
 * because its own runner finished. All calls block; a handle may be used from any number of
 * threads. Times are wall clock ms. Errors: ERR_RETRY (store unreachable or busy), ERR_PERMANENT,
 * ERR_NOT_FOUND, ERR_CONFLICT; ERR_THROTTLED, ERR_CAPACITY and ERR_AUTH where the store says so.
 */
#ifndef MAYFLY_LEDGER_LEDGER_H
#define MAYFLY_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/job/launch_request.h"

struct ledger;

enum ledger_job_state { JOB_SEEN, JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_CANCELLED };
enum ledger_vm_state { VM_RESERVED, VM_REGISTERED, VM_LAUNCHED, VM_BUSY, VM_ENDING, VM_GONE };
const char *ledger_job_state_name(enum ledger_job_state s);
const char *ledger_vm_state_name(enum ledger_vm_state s);

struct ledger_job {
    struct job facts;
    enum ledger_job_state state;
    char scope[SCOPE_SIZE];
    int64_t waiting_ms; /* since when it waits for a runner; 0 never did */
    int64_t running_ms;
    int64_t ended_ms;
    int64_t updated_ms;
    int64_t relaunched_ms; /* when the balance last asked again for it; 0 never */
    int64_t relaunches;
};

struct ledger_vm {
    char name[VM_NAME_SIZE]; /* the runner's name and the row's key */
    char client_token[VM_NAME_SIZE];
    char provider[16];
    char class_name[CLASS_NAME_SIZE];
    char scope[SCOPE_SIZE];
    char repository[REPOSITORY_SIZE]; /* of the job that occasioned it */
    char host[72];                    /* where a host-bound provider runs it; "" anywhere */
    char vm_id[192];                  /* the provider's; "" until launched */
    int64_t installation_id;
    int64_t for_job; /* the occasion, not the owner */
    int64_t job_id;  /* what it runs or ran; 0 none */
    int64_t runner_id;
    enum ledger_vm_state state;
    int64_t reserved_ms;
    int64_t registered_ms;
    int64_t launched_ms;
    int64_t busy_ms;
    int64_t ending_ms;
    int64_t gone_ms;
    int64_t heartbeat_ms; /* reserved or registered: its worker last said that the launch goes on */
    int64_t deadline_ms;  /* when it must have ended: launch + max_duration */
    char end_reason[96];
};

/* url: sqlite:///path/to/file, redis://… as common/redis/store.h says, dynamodb://TABLE?… as
 * deploy/docs/dynamodb.md says, or, for tests, memory://NAME. Creates and migrates (a table of DynamoDB
 * only if asked to); what a newer version wrote is ERR_PERMANENT. */
MUST_CHECK int ledger_open(const char *url, struct ledger **out, struct err *e);
void ledger_close(struct ledger *l);
MUST_CHECK int ledger_ping(struct ledger *l, struct err *e);

/* --- jobs --- */
/* What a delivery changed. */
struct ledger_effect {
    bool known_before;
    bool changed; /* the job's state moved */
    enum ledger_job_state before;
    enum ledger_job_state after;
    /* The VM of this deployment whose runner the event names, as it is after; name "" if none. */
    struct ledger_vm vm;
    bool vm_changed; /* it became busy (in_progress) or ending (completed) now */
};
/* Notes a delivery: `queued` that wants a runner -> waiting; `queued`/`waiting` held back -> seen;
 * in_progress -> running, and if the runner's name is one of our VMs that VM -> busy with this job
 * (whatever it was launched for); completed -> done (cancelled if it never had a runner), and that
 * VM -> ending. Backwards moves are ignored, except that a job `seen` (environment) may be queued
 * again. A queued job without a class is seen: no runner will come for it. `scope`:
 * github_scope_of's name. Writes the timeline. */
MUST_CHECK int ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                                  struct ledger_effect *out, struct err *e);

MUST_CHECK int ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out,
                              struct err *e);

/* The truth as GitHub's API told it (reaper): forces forward to done/cancelled/running; a job that
 * is there or further already stays, and one that had a runner is done rather than cancelled. A VM
 * of ours that was busy with a job now over becomes ending. */
MUST_CHECK int ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                                    const char *why, struct err *e);

/* --- reserving --- */
struct ledger_caps {
    int64_t fleet; /* most VMs holding a slot, all classes */
    int64_t class_max;
    int64_t repository;     /* 0: none */
    double rate_per_second; /* fleet-wide launches; 0: unlimited */
    int64_t rate_burst;
    double class_rate_per_second;
    int64_t class_rate_burst;
};

enum ledger_outcome {
    LEDGER_RESERVED,   /* a slot and a row are yours: launch */
    LEDGER_SATISFIED,  /* demand <= supply: nothing to launch, the message is done */
    LEDGER_OBSOLETE,   /* the job runs or is over, and no other wants a VM: the message is done */
    LEDGER_FULL_FLEET, /* caps: wait for a slot */
    LEDGER_FULL_CLASS,
    LEDGER_FULL_REPOSITORY,
    LEDGER_RATE, /* wait_ms until a token */
};
const char *ledger_outcome_name(enum ledger_outcome o);

struct ledger_reserve {
    const struct launch_request *request;
    const char *scope; /* where its runner registers */
    struct ledger_caps caps;
    const char *deployment;
    const char *provider;
    const char *host;
};
struct ledger_reservation {
    enum ledger_outcome outcome;
    int64_t wait_ms; /* LEDGER_RATE */
    int64_t demand;  /* of (scope, class), as seen by the step */
    int64_t supply;
    struct ledger_vm vm; /* LEDGER_RESERVED */
};
/* Notes the request's job as waiting (as ledger_apply_event would, unless it is further on), then
 * decides, for a job further on too, since another may wait whose message it took: demand <=
 * supply, caps, rate, in this order; takes the rate tokens (of the buckets "launch" and
 * "launch.<class>", which ledger_rate_pause can close), the slot and the row only together. Waiting
 * outcomes leave a line in the job's timeline once per cause. A request without a job is decided
 * alike, but no repository's cap is asked, and only the new VM's timeline gets a line. */
MUST_CHECK int ledger_reserve(struct ledger *l, const struct ledger_reserve *r,
                              struct ledger_reservation *out, struct err *e);

/* --- VMs --- */
struct ledger_advance {
    const char *vm;
    enum ledger_vm_state to;
    int64_t runner_id;            /* to registered: > 0; else 0 keeps it */
    const char *vm_id;            /* to launched; NULL keeps it */
    int64_t deadline_ms;          /* to launched; 0 keeps it */
    const char *reason;           /* to ending and gone; NULL keeps it */
    const struct ledger_vm *seen; /* only if the row is still as it was read here
                                     (ledger_vm_is_still); NULL: whatever it is now */
};
/* The one function that moves a VM: compare-and-set along the allowed edges, with the timeline.
 * Already there is success (*changed false), backwards or past is ERR_CONFLICT. A VM that became
 * busy or ending before its launch was recorded keeps its state and takes vm_id and deadline
 * (success, *changed false); another vm_id than the recorded one is ERR_CONFLICT. A row that is no
 * longer as it was seen is ERR_CONFLICT, unless it is there already. changed may be NULL. */
MUST_CHECK int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                                 struct err *e);
/* Whether a row that was read again is where it was: same state, and no heartbeat since. */
static inline bool ledger_vm_is_still(const struct ledger_vm *now, const struct ledger_vm *seen)
{
    return now->state == seen->state && now->heartbeat_ms == seen->heartbeat_ms;
}
/* Stamps the row of a launch that goes on: heartbeat_ms. A VM that is launched or busy by now is a
 * success and stays as it is; one that is ending or gone is ERR_CONFLICT: it is no longer the
 * caller's. No line in the timeline. */
MUST_CHECK int ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e);
/* A launching row whose last heartbeat is older than this has lost its worker: a lease, and a part
 * of one more for clocks that differ and stamps that take their time. */
static inline int64_t ledger_heartbeat_limit_ms(int64_t lease_ms)
{
    return lease_ms + lease_ms / 6;
}
MUST_CHECK int ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out,
                             struct err *e);
/* VMs in any of the states of the mask (1u << VM_…), ordered by name, at most max; `after`
 * continues behind that name ("" from the start). *out: owned, free(). */
MUST_CHECK int ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                              struct ledger_vm **out, size_t *n, struct err *e);

/* --- room: what a worker looks at before it takes a message --- */
struct ledger_capacity {
    int64_t fleet_used;
    int64_t class_used;
    int64_t rate_wait_ms; /* until a launch token is there, fleet and class */
};
MUST_CHECK int ledger_capacity(struct ledger *l, const char *class_name,
                               const struct ledger_caps *caps, struct ledger_capacity *out,
                               struct err *e);
/* A counter that grows with every slot that is freed, by any process: cheap to poll. */
MUST_CHECK int ledger_release_seq(struct ledger *l, int64_t *out, struct err *e);

/* Has `heard` called, from a thread of the ledger's, whenever any process may have freed a slot and
 * whenever ledger_watching changes, until ledger_close. Once a handle, before it is shared.
 * `heard` must not call the ledger. */
typedef void ledger_heard_fn(void *arg);
void ledger_watch_releases(struct ledger *l, ledger_heard_fn *heard, void *arg);
/* Whether freed slots are told of at present; if not (the store cannot, or is not reached), poll
 * ledger_release_seq. Even if so, a slot may be freed untold once in a while: look every second or so. */
bool ledger_watching(struct ledger *l);

/* The clock that the ledger stamps rows by, wall clock ms: the ages of heartbeats are measured by
 * it, since this process's own clock may be set otherwise. No call of the store. */
int64_t ledger_now_ms(struct ledger *l);

/* --- balance --- */
struct ledger_balance {
    char scope[SCOPE_SIZE];
    char class_name[CLASS_NAME_SIZE];
    int64_t demand;
    int64_t supply;
    int64_t oldest_waiting_ms; /* wall clock of the oldest waiting job; 0 none */
};
/* Every (scope, class) with demand or supply. *out: owned, free(). */
MUST_CHECK int ledger_balances(struct ledger *l, struct ledger_balance **out, size_t *n,
                               struct err *e);
/* Waiting jobs of (scope, class) that wait since before `before_ms` and were last relaunched before
 * it, oldest first. */
MUST_CHECK int ledger_jobs_waiting(struct ledger *l, const char *scope, const char *class_name,
                                   int64_t before_ms, size_t max, struct ledger_job **out,
                                   size_t *n, struct err *e);
/* Marks that a new launch message was put for the job (for the timeline and the next patience). */
MUST_CHECK int ledger_job_relaunched(struct ledger *l, int64_t job_id, struct err *e);

/* --- scopes: where runners of ours were ever registered --- */
struct ledger_scope {
    char name[SCOPE_SIZE];
    int64_t installation_id; /* the last one seen; 0 unknown */
};
/* Every scope that a VM was reserved for, until tidied with its last VM. *out: owned, free(). */
MUST_CHECK int ledger_scopes(struct ledger *l, struct ledger_scope **out, size_t *n, struct err *e);

/* --- timeline --- */
struct ledger_entry {
    int64_t at_ms;
    int64_t job_id;        /* 0: only about a VM */
    char vm[VM_NAME_SIZE]; /* "" : only about a job */
    char what[40]; /* "queued", "reserved", "waits", "registered", "launched", "retry", … */
    char detail[320];
};
/* Adds a line; job_id and vm as in the struct. A line equal to the last of its job (what and
 * detail) is not repeated. At most 200 lines a job are kept, and as many of a VM by itself: the
 * first 50 and the newest. ERR_NOT_FOUND if the ledger does not know the job (without one: the VM):
 * a line lives as long as what it is about. */
MUST_CHECK int ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                                const char *detail, struct err *e);
/* The lines of a job and of every VM that was launched for it or ran it, in order. *out: owned,
 * free(). */
MUST_CHECK int ledger_timeline(struct ledger *l, int64_t job_id, struct ledger_entry **out,
                               size_t *n, struct err *e);

/* --- rate buckets, shared by all processes --- */
struct ledger_bucket {
    const char *name;  /* e.g. "github:123" */
    double per_second; /* 0: unlimited, but a pause still holds */
    int64_t burst;     /* >= cost: more than that is never there (ERR_PERMANENT) */
};
/* Takes `cost` tokens if they are there and the bucket is not paused; else *wait_ms says how long
 * until they will be, and nothing is taken. *wait_ms is 0 when taken. */
MUST_CHECK int ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                                int64_t *wait_ms, struct err *e);
/* Closes the bucket until then (never shortens an earlier pause). */
MUST_CHECK int ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms,
                                 struct err *e);

/* --- leases with a fence --- */
/* Takes or renews the named lease for ttl_ms. *held says whether it is ours now; *fence grows with
 * every change of holder; *fence is the holder's, whoever that is. One whose holder is gone ends by
 * the clock it was written by; where that was ahead, a ttl after this process first saw it. */
MUST_CHECK int ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms,
                            bool *held, int64_t *fence, struct err *e);
MUST_CHECK int ledger_lease_release(struct ledger *l, const char *name, const char *holder,
                                    struct err *e);

/* --- small numbers that outlive processes --- */
/* 0 if never set. */
MUST_CHECK int ledger_counter_get(struct ledger *l, const char *name, int64_t *out, struct err *e);
MUST_CHECK int ledger_counter_set(struct ledger *l, const char *name, int64_t value, struct err *e);
/* Adds and answers the new value. */
MUST_CHECK int ledger_counter_add(struct ledger *l, const char *name, int64_t n, int64_t *out,
                                  struct err *e);

/* --- cells: small versioned values that all programs share --- */
/* A cell is named by its kind ("circuit", "program", ...) and its name, and holds a text. Its
 * version grows with every change, also across a removal and a new beginning; 0: there is no such
 * cell. The kinds "lease" and "counter" belong to the ledger. */
#define LEDGER_CELL_KIND 32
#define LEDGER_CELL_NAME 128
#define LEDGER_CELL_VALUE 1024
struct ledger_cell {
    char kind[LEDGER_CELL_KIND];
    char name[LEDGER_CELL_NAME];
    int64_t version;
    char value[LEDGER_CELL_VALUE];
};
/* A cell that does not exist is a success with version 0 and value "". */
MUST_CHECK int ledger_cell_get(struct ledger *l, const char *kind, const char *name,
                               struct ledger_cell *out, struct err *e);
/* Compare-and-set: puts the value if the cell's version is `expected` (0: there is no cell yet),
 * else ERR_CONFLICT: get it, decide anew, put again. value NULL removes the cell. *version: the new
 * one (0 after a removal); may be NULL. */
MUST_CHECK int ledger_cell_put(struct ledger *l, const char *kind, const char *name,
                               const char *value, int64_t expected, int64_t *version,
                               struct err *e);
/* Every cell of a kind, in no order. *out: owned, free(). */
MUST_CHECK int ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out,
                                size_t *n, struct err *e);

/* --- for people --- */
struct ledger_count {
    char class_name[CLASS_NAME_SIZE];
    int64_t jobs[5]; /* by enum ledger_job_state */
    int64_t vms[6];  /* by enum ledger_vm_state */
};
/* By class. *out: owned, free(). */
MUST_CHECK int ledger_counts(struct ledger *l, struct ledger_count **out, size_t *n, struct err *e);

/* Removes jobs and VMs that ended before `before_ms`, with their timelines, jobs that were only
 * seen and not heard of since then and idle buckets; at most `max` rows of each.
 * *removed: rows, without the timelines'. */
MUST_CHECK int ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed,
                           struct err *e);

struct ledger_repair {
    char what[224]; /* the counter, in words */
    int64_t was;
    int64_t is; /* as the rows say */
};
/* Recounts from the rows what stores keep counts of, and corrects what two calls of this handle
 * found wrong alike; safe beside a fleet that works. Costs about a reading of every VM that holds a
 * slot and of every waiting job; nothing where counts cannot go wrong by themselves. *out: what was
 * corrected, to be logged; owned, free(). *suspected: how many were found wrong once: call again
 * soon. */
MUST_CHECK int ledger_repair(struct ledger *l, struct ledger_repair **out, size_t *n,
                             size_t *suspected, struct err *e);

enum ledger_finding { LEDGER_FINE, LEDGER_DOUBTFUL, LEDGER_WRONG };
typedef void ledger_say_fn(void *arg, enum ledger_finding level, const char *asked,
                           const char *answer);
/* Says of the store what opening it does not find out: its settings, and whether these credentials
 * may make every call of a ledger, each with what to do. Changes nothing; what cannot be asked is
 * said, too. Says nothing of a store that has neither. */
void ledger_check(struct ledger *l, ledger_say_fn *say, void *arg);

#endif
