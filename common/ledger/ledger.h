/*
 * The ledger: the fleet's shared, transactional state: jobs, VMs, slots, rate buckets, leases,
 * circuits, timelines. It holds what must be atomic across processes, and nothing else.
 *
 * Each call below is one atomic step of the store. States only move forward:
 *
 *   job   seen ──> waiting ──> running ──> done
 *           └─────────┴──> cancelled            (done and cancelled are final)
 *   VM    reserved ──> registered ──> launched ──> busy ──> ending ──> gone
 *            └────────────┴──────────────┴─────────────────────^   any state may go to ending
 *
 * When a delivery is lost or late, states may be skipped: seen or waiting to done, reserved or
 * registered to busy. No job goes from running to cancelled: a job that had a runner is done.
 *
 * demand(scope, class) = jobs waiting; supply(scope, class) = VMs reserved, registered or launched.
 * A scope's name contains the runner group that a repository is mapped to (common/job/scope.h). A
 * repository's slots are the VMs that run its jobs, and those that were launched for one and run none
 * yet: its cap is exact where GitHub gives those VMs to no other repository.
 * A VM holds a slot from reserved to ending; gone releases it. A VM is supply, not a job's
 * property: it ends because its own runner finished. All calls block; a handle may be used from any
 * number of threads. Times are wall clock ms. Errors: the store's trouble, which ends some time and
 * which the caller waits for, is ERR_RETRY (unreachable, busy, unclear), ERR_THROTTLED, ERR_CAPACITY
 * (full) or ERR_AUTH (until an operator acts). ERR_NOT_FOUND and ERR_CONFLICT are about the row that
 * was named; ERR_PERMANENT is about an argument or about a row that cannot be read.
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
    int64_t waiting_ms; /* when it started to wait for a runner; 0 never */
    int64_t running_ms;
    int64_t ended_ms;
    int64_t updated_ms; /* of a running job: when it began to, or GitHub was last asked about it */
    int64_t relaunched_ms; /* when another launch request was last put for it; 0 never */
    int64_t relaunches;
};

/* Whether a VM's end says something about the version of its image (images.h). */
enum ledger_image_part {
    IMAGE_NO_PART,
    IMAGE_IS_CANARY,
    IMAGE_IS_GOOD, /* of the control group, while another version is tried */
};

#define LEDGER_IMAGE_VERSION 32
struct ledger_vm {
    char name[VM_NAME_SIZE]; /* the runner's name and the row's key */
    char client_token[VM_NAME_SIZE];
    char provider[16];
    char class_name[CLASS_NAME_SIZE];
    char scope[SCOPE_SIZE];
    char repository[REPOSITORY_SIZE]; /* of the job that it runs, or was launched for */
    char host[72];                    /* of a host-bound provider; "" any host */
    char vm_id[192];                  /* the provider's id; "" until launched */
    int64_t installation_id;
    int64_t for_job; /* the job that it was launched for; not necessarily the one it runs */
    int64_t job_id;  /* the job that it runs or ran; 0 none */
    int64_t runner_id;
    enum ledger_vm_state state;
    int64_t reserved_ms;
    int64_t registered_ms;
    int64_t launched_ms;
    int64_t busy_ms;
    int64_t ending_ms;
    int64_t gone_ms;
    int64_t heartbeat_ms; /* reserved or registered: the last heartbeat of the launching worker */
    int64_t deadline_ms;  /* when it must have ended: launch + max_duration */
    char end_reason[96];
    char image_version
        [LEDGER_IMAGE_VERSION]; /* that it was launched from; "": its provider has none */
    int64_t image_part;         /* enum ledger_image_part */
    int64_t
        hold_ms; /* how long it stays if its job fails; `ending`: is held since ending_ms; 0: not */
    char
        target[TARGET_NAME_SIZE]; /* the account and region that it is in; "": its class has none */
};

/* A VM whose job failed may be held: it is `ending`, keeps its slot, and nobody ends it before this
 * time. 0: it is not held. */
static inline int64_t ledger_vm_held_until_ms(const struct ledger_vm *vm)
{
    int64_t until_ms = vm->ending_ms + vm->hold_ms;
    if (vm->state != VM_ENDING || vm->hold_ms <= 0) {
        return 0;
    }
    return vm->deadline_ms > 0 && vm->deadline_ms < until_ms ? vm->deadline_ms : until_ms;
}
/* Since when it is to be terminated. */
static inline int64_t ledger_vm_end_due_ms(const struct ledger_vm *vm)
{
    int64_t held_ms = ledger_vm_held_until_ms(vm);
    return held_ms > vm->ending_ms ? held_ms : vm->ending_ms;
}

/* url: sqlite:///path/to/file, redis://… (common/redis/store.h), dynamodb://TABLE?…
 * (deploy/docs/dynamodb.md), or, for tests, memory://NAME. Creates and migrates the store as needed
 * (a DynamoDB table only with create=1). A store of a newer version is ERR_PERMANENT. */
MUST_CHECK int ledger_open(const char *url, struct ledger **out, struct err *e);
/* The same for mayflyctl and the checks, which look and repair: creates and migrates nothing;
 * ERR_NOT_FOUND if no program has made it, ERR_CONFLICT if the daemons would migrate it. */
MUST_CHECK int ledger_open_existing(const char *url, struct ledger **out, struct err *e);
void ledger_close(struct ledger *l);
MUST_CHECK int ledger_ping(struct ledger *l, struct err *e);

/* --- jobs --- */
/* What a delivery changed. */
struct ledger_effect {
    bool known_before;
    bool changed; /* the job's state */
    enum ledger_job_state before;
    enum ledger_job_state after;
    /* The VM of this deployment whose runner the event names, after the change; name "" if none. */
    struct ledger_vm vm;
    bool vm_changed; /* it became busy (in_progress) or ending (completed) */
};
/* Applies a delivery to the job, and to the VM whose runner it names if that VM is in the ledger:
 *   queued, and it needs a runner     job -> waiting
 *   queued or waiting, but held back  job -> seen (an environment's protection)
 *   in_progress                       job -> running; VM -> busy with this job, whatever job it was
 *                                     launched for, and counted for its repository
 *   completed                         job -> done (cancelled if it had no runner); VM -> ending, held
 *                                     if the job failed and the VM has hold_ms
 * Backward moves are ignored; a job that was held back (seen) may still be queued. A queued job
 * without a class is seen, since no runner will be launched for it. `scope`: github_scope_of's
 * name. Writes the timeline. */
MUST_CHECK int ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                                  struct ledger_effect *out, struct err *e);

MUST_CHECK int ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out,
                              struct err *e);

/* Applies the job's status as GitHub's API reports it (reaper): moves the job forward to running,
 * done or cancelled. conclusion: GitHub's; NULL if it is not known. A job already in that state or
 * further on stays. One that had a runner becomes done, not cancelled. The VM that was busy with a
 * job that has ended becomes ending, or is held. */
MUST_CHECK int ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                                    const char *conclusion, const char *why, struct err *e);

/* Running jobs that had their last news (updated_ms) at from_ms or later and before before_ms, by
 * ledger_now_ms's clock; oldest first, at most max. *out: owned, free(). */
MUST_CHECK int ledger_jobs_running(struct ledger *l, int64_t from_ms, int64_t before_ms, size_t max,
                                   struct ledger_job **out, size_t *n, struct err *e);
/* A page of the jobs in any of some states, for a person: those that wait, oldest first; then those that
 * run, those without news for longest first; then those held back, and those that ended, each newest
 * first. Its cost depends on the page alone, not on how many jobs there are: a call that has looked at
 * LEDGER_JOBS_LOOKED_AT others without filling the page returns what it has. */
#define LEDGER_JOBS_MAX 1000
#define LEDGER_JOBS_LOOKED_AT 2000
#define LEDGER_CURSOR_SIZE 64
struct ledger_jobs_query {
    unsigned states;        /* 1u << JOB_… */
    const char *class_name; /* NULL: all */
    const char *repository; /* owner/name, of any case; NULL: all */
    int64_t run_id;         /* 0: all */
    const char *after;      /* the page behind this cursor; "": the first one */
    size_t max;             /* 1 to LEDGER_JOBS_MAX */
};
/* *out: owned, free(). next: the cursor of the next page, "" after the last one. A job that moves meanwhile
 * may be met twice or not at all. ERR_PERMANENT: `after` is no cursor of such a query. */
MUST_CHECK int ledger_jobs_list(struct ledger *l, const struct ledger_jobs_query *query,
                                struct ledger_job **out, size_t *n, char next[LEDGER_CURSOR_SIZE],
                                struct err *e);
/* GitHub was asked about a running job, and it has not ended as far as is known: updated_ms. One that
 * does not run any more is not changed. */
MUST_CHECK int ledger_job_asked(struct ledger *l, int64_t job_id, struct err *e);

/* --- reserving --- */
struct ledger_caps {
    int64_t fleet; /* most VMs holding a slot, all classes */
    int64_t class_max;
    int64_t repository; /* 0: none */
    int64_t target_max; /* of the target, all classes; 0: none */
    double
        rate_per_second; /* launches of the target if there is one, else fleet-wide; 0: unlimited */
    int64_t rate_burst;
    double class_rate_per_second;
    int64_t class_rate_burst;
};

enum ledger_outcome {
    LEDGER_RESERVED,   /* the caller has a slot and a row: launch */
    LEDGER_SATISFIED,  /* demand <= supply: nothing to launch, ack the message */
    LEDGER_OBSOLETE,   /* the job is running or ended and no other needs a VM: ack the message */
    LEDGER_FULL_FLEET, /* a cap is reached: wait for a slot */
    LEDGER_FULL_CLASS,
    LEDGER_FULL_REPOSITORY,
    LEDGER_RATE,        /* wait_ms until a token is available */
    LEDGER_FULL_TARGET, /* try another target */
};
#define LEDGER_OUTCOMES (LEDGER_FULL_TARGET + 1) /* stores keep the numbers: only append */
const char *ledger_outcome_name(enum ledger_outcome o);

struct ledger_reserve {
    const struct launch_request *request;
    const char *scope; /* where the runner registers */
    struct ledger_caps caps;
    const char *deployment;
    const char *provider;
    const char *host;
    const char *target; /* where the VM is to be launched; NULL or "": its class has no targets */
    int64_t hold_ms;    /* of the VM's row */
};
/* What a reservation changed of its job's state: moved, it waits now. */
struct ledger_queued {
    bool moved;
    bool known_before;
    enum ledger_job_state before;
};
struct ledger_reservation {
    enum ledger_outcome outcome;
    int64_t wait_ms; /* LEDGER_RATE */
    int64_t demand;  /* of (scope, class), as this step read them */
    int64_t supply;
    struct ledger_queued queued;
    struct ledger_vm vm; /* LEDGER_RESERVED */
};
/* Records the request's job as waiting (as ledger_apply_event would, unless it is further on). Then
 * decides by demand + spare <= supply (the request's `spare`), caps (the target's last, since only that
 * one leaves another way) and rate, in this order. It decides for a job that is further
 * on too: that job may have run on a VM launched for another job, which still waits. The rate
 * tokens (buckets "launch", or with a target "launch@<target>", and "launch.<class>", which
 * ledger_rate_pause can close), the slot and the row are taken together or not at all; in DynamoDB a
 * token may be lost to a step that fails. A waiting outcome adds one line per cause to the job's
 * timeline. A request without a job is decided the same way, without a repository's cap, and only
 * the new VM's timeline gets a line. */
MUST_CHECK int ledger_reserve(struct ledger *l, const struct ledger_reserve *r,
                              struct ledger_reservation *out, struct err *e);

/* --- VMs --- */
struct ledger_advance {
    const char *vm;
    enum ledger_vm_state to;
    int64_t runner_id;         /* to registered: > 0; else 0 keeps it */
    const char *image_version; /* to registered; NULL: none */
    enum ledger_image_part image_part;
    bool image_failed;   /* to ending: the VM did not work, and its image may be the reason */
    const char *vm_id;   /* to launched; NULL keeps it */
    int64_t deadline_ms; /* to launched; 0 keeps it */
    const char *reason;  /* to ending and gone; NULL keeps it */
    const struct ledger_vm *seen; /* a row read before: advance only if ledger_vm_is_still; NULL:
                                     unconditionally */
};
/* The only function that moves a VM's state by itself: compare-and-set along the allowed edges,
 * with the timeline. changed may be NULL.
 *   - The VM is in that state already: success, *changed false. To ending with a reason and without
 *     `seen`: it is not held any more.
 *   - To launched, but the VM became busy or ending before its launch was recorded: it keeps its
 *     state and gets vm_id and deadline; success, *changed false.
 *   - Any other move that is not an allowed edge: ERR_CONFLICT.
 *   - Another vm_id than the recorded one: ERR_CONFLICT.
 *   - The row has changed since it was `seen`, and is not in that state: ERR_CONFLICT. */
MUST_CHECK int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                                 struct err *e);
/* Whether a row read again is unchanged: same state, and no heartbeat since. */
static inline bool ledger_vm_is_still(const struct ledger_vm *now, const struct ledger_vm *seen)
{
    return now->state == seen->state && now->heartbeat_ms == seen->heartbeat_ms;
}
/* A VM that its provider lists and no row accounts for. */
struct ledger_adoption {
    const char *name; /* of the row: the VM's own if it carries one, or else one made from its id */
    const char *class_name;
    const char *provider;
    const char *host;   /* of a host-bound provider; "" any host */
    const char *target; /* whose list it is in; NULL or "": its class has no targets */
    const char *vm_id;
    int64_t started_ms;
    int64_t deadline_ms;
};
/* Adds a row for it: `busy`, for it may run a job, and without a scope, since its runner is
 * unknown. It holds a slot, whatever the caps are, and is no supply. *added: false if there was a
 * row of that name, in any state. */
MUST_CHECK int ledger_vm_adopt(struct ledger *l, const struct ledger_adoption *a, bool *added,
                               struct err *e);
static inline bool ledger_vm_is_adopted(const struct ledger_vm *vm)
{
    return vm->scope[0] == '\0';
}
/* Sets heartbeat_ms of a launch in progress. A VM that is launched or busy by now is a success and
 * is not changed. One that is ending or gone is ERR_CONFLICT: the launch was cancelled. Adds no
 * line to the timeline. */
MUST_CHECK int ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e);
/* If the last heartbeat of a launch is older than this, its worker is dead: one lease, and a sixth
 * of one for clock skew and slow writes. */
static inline int64_t ledger_heartbeat_limit_ms(int64_t lease_ms)
{
    return lease_ms + lease_ms / 6;
}
MUST_CHECK int ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out,
                             struct err *e);
/* At most max VMs in any of the states of the mask (1u << VM_…), ordered by name, starting after
 * the name `after` ("" from the start). *out: owned, free(). */
MUST_CHECK int ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                              struct ledger_vm **out, size_t *n, struct err *e);
/* VMs that became gone at from_ms or later and before before_ms, by ledger_now_ms's clock; oldest first,
 * at most max. Its cost depends on how many these are alone. An index may lag: one that has just
 * become gone may be missing. *out: owned, free(). */
MUST_CHECK int ledger_vms_gone(struct ledger *l, int64_t from_ms, int64_t before_ms, size_t max,
                               struct ledger_vm **out, size_t *n, struct err *e);

/* --- capacity: what a worker checks before it receives a message --- */
struct ledger_capacity {
    int64_t fleet_used;
    int64_t class_used;
    int64_t rate_wait_ms; /* until both the fleet's and the class's bucket have a launch token */
};
MUST_CHECK int ledger_capacity(struct ledger *l, const char *class_name,
                               const struct ledger_caps *caps, struct ledger_capacity *out,
                               struct err *e);
/* Of targets, which all classes that name them share. */
struct ledger_target_use {
    const char *name; /* this and the rate: the caller's */
    double rate_per_second;
    int64_t rate_burst;
    int64_t used;         /* slots of its VMs */
    int64_t rate_wait_ms; /* until its bucket has a launch token */
};
/* Fills `used` and `rate_wait_ms` of them all by one call. */
MUST_CHECK int ledger_targets_read(struct ledger *l, struct ledger_target_use *targets, size_t n,
                                   struct err *e);
/* A counter that grows with every slot that any process releases; cheap to poll. */
MUST_CHECK int ledger_release_seq(struct ledger *l, int64_t *out, struct err *e);

/* Calls `on_release` from a thread of the ledger whenever any process may have released a slot, and
 * whenever ledger_watching changes, until ledger_close. Call it once per handle, before the handle
 * is shared. `on_release` must not call the ledger. */
typedef void ledger_released_fn(void *arg);
void ledger_watch_releases(struct ledger *l, ledger_released_fn *on_release, void *arg);
/* Whether releases are notified at present. If not (not supported, or the store is unreachable),
 * poll ledger_release_seq. A notification may be lost, so poll about once a second in any case. */
bool ledger_watching(struct ledger *l);

/* The clock that sets the times of rows, wall clock ms. Use it for the age of a heartbeat, since
 * this process's clock may differ. Makes no call to the store. */
int64_t ledger_now_ms(struct ledger *l);

/* Names the history of what was written: another name after an event that may have lost the last
 * writes (Redis: a fail-over or a restart). "" if the store says nothing. A call to the store. */
#define LEDGER_HISTORY_SIZE 64
MUST_CHECK int ledger_history(struct ledger *l, char out[LEDGER_HISTORY_SIZE], struct err *e);

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
/* Jobs of (scope, class) that have waited, and were last relaunched, since before `before_ms`;
 * oldest first, at most max. *out: owned, free(). */
MUST_CHECK int ledger_jobs_waiting(struct ledger *l, const char *scope, const char *class_name,
                                   int64_t before_ms, size_t max, struct ledger_job **out,
                                   size_t *n, struct err *e);
/* Relaunches of one job that may come close together; then each waits longer than the one before. */
#define LEDGER_QUICK_RELAUNCHES 3
/* Records that a new launch request was put for the job: a line in its timeline, relaunched_ms. */
MUST_CHECK int ledger_job_relaunched(struct ledger *l, int64_t job_id, struct err *e);

/* --- scopes: where this deployment registered runners --- */
struct ledger_scope {
    char name[SCOPE_SIZE];
    int64_t installation_id; /* the last one seen; 0 unknown */
};
/* Every place that a VM was reserved for, without runner groups (adopted VMs have none), sorted by name;
 * ledger_tidy removes it with its last VM. *out: owned, free(). */
MUST_CHECK int ledger_scopes(struct ledger *l, struct ledger_scope **out, size_t *n, struct err *e);

/* --- timeline --- */
struct ledger_entry {
    int64_t at_ms;
    int64_t job_id;        /* 0: only about a VM */
    char vm[VM_NAME_SIZE]; /* "": only about a job */
    char what[40]; /* "queued", "reserved", "waits", "registered", "launched", "retry", … */
    char detail[320];
};
/* Adds a line; job_id and vm as in the struct. A line equal to the last of its job (what and
 * detail) is not repeated. Of each job, and of each VM by itself, at most 200 lines are kept: the
 * first 50 and the newest. ERR_NOT_FOUND if the job (job_id 0: the VM) is not in the ledger: a line
 * is deleted with the row that it is about. */
MUST_CHECK int ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                                const char *detail, struct err *e);
/* The lines of a job and of every VM that was launched for it or ran it, in order. *out: owned,
 * free(). */
MUST_CHECK int ledger_timeline(struct ledger *l, int64_t job_id, struct ledger_entry **out,
                               size_t *n, struct err *e);

/* --- rate buckets, shared by all processes --- */
struct ledger_bucket {
    const char *name;  /* e.g. "github:123" */
    double per_second; /* 0: unlimited, but a pause still applies */
    int64_t burst;     /* the bucket's size; a cost above it is ERR_PERMANENT */
};
/* Takes `cost` tokens if they are available and the bucket is not paused (*wait_ms 0). Otherwise
 * takes nothing, and *wait_ms is the time until they are available. */
MUST_CHECK int ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                                int64_t *wait_ms, struct err *e);
/* As ledger_vm_advance, and a VM that moves takes the next start time of `pace` in the same write:
 * *wait_ms is how long its caller has to wait before it makes the call that the pace is of, so that
 * calls keep to the rate however long each of their callers took until now. Start times come
 * `burst` at once after a quiet time and then at the rate. 0 also if the VM does not move, or if
 * pace->per_second is 0. */
MUST_CHECK int ledger_vm_advance_paced(struct ledger *l, const struct ledger_advance *a,
                                       const struct ledger_bucket *pace, int64_t *wait_ms,
                                       struct err *e);
/* Closes the bucket until until_ms; never shortens an earlier pause. */
MUST_CHECK int ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms,
                                 struct err *e);

/* --- leases with a fencing token --- */
/* Acquires or renews the named lease for ttl_ms. *held: whether `holder` has it now. *fence: the
 * present holder's token, which grows with every change of holder. A lease whose holder died
 * expires by the clock that wrote it; if that clock is ahead, a ttl after this process first saw
 * the lease.
 */
MUST_CHECK int ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms,
                            bool *held, int64_t *fence, struct err *e);
MUST_CHECK int ledger_lease_release(struct ledger *l, const char *name, const char *holder,
                                    struct err *e);

/* --- counters: numbers that outlive processes --- */
/* 0 if never set. */
MUST_CHECK int ledger_counter_get(struct ledger *l, const char *name, int64_t *out, struct err *e);
MUST_CHECK int ledger_counter_set(struct ledger *l, const char *name, int64_t value, struct err *e);
/* Adds n; *out: the new value. */
MUST_CHECK int ledger_counter_add(struct ledger *l, const char *name, int64_t n, int64_t *out,
                                  struct err *e);

/* --- cells: small versioned values that all programs share --- */
/* A cell is identified by its kind ("circuit", "program", …) and its name, and holds a text. Its
 * version grows with every change, also when it is removed and created again; 0: it does not exist.
 * The kinds "lease" and "counter" belong to the ledger. */
#define LEDGER_CELL_KIND 32
#define LEDGER_CELL_NAME 192 /* a kind of subject, and a repository */
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
/* Compare-and-set: sets the value if the cell's version is `expected` (0: it does not exist), else
 * ERR_CONFLICT: read it again and decide again. value NULL removes the cell. *version: the new one
 * (0 after a removal); version may be NULL. */
MUST_CHECK int ledger_cell_put(struct ledger *l, const char *kind, const char *name,
                               const char *value, int64_t expected, int64_t *version,
                               struct err *e);
/* Every cell of a kind, in no particular order. *out: owned, free(). */
MUST_CHECK int ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out,
                                size_t *n, struct err *e);

/* --- administration --- */
struct ledger_count {
    char class_name[CLASS_NAME_SIZE];
    int64_t jobs[5]; /* by enum ledger_job_state */
    int64_t vms[6];  /* by enum ledger_vm_state */
};
/* By class. *out: owned, free(). */
MUST_CHECK int ledger_counts(struct ledger *l, struct ledger_count **out, size_t *n, struct err *e);
/* The class's; all 0 if it is not among them. Borrowed from counts. */
const struct ledger_count *ledger_count_of(const struct ledger_count *counts, size_t n,
                                           const char *class_name);
/* How many slots the class's VMs hold. */
int64_t ledger_count_slots(const struct ledger_count *count);

/* Deletes jobs and VMs that ended before `before_ms` with their timelines, jobs in state seen that
 * were not updated since then, and idle buckets; at most `max` rows of each. *removed: the number
 * of rows, without timelines. */
MUST_CHECK int ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed,
                           struct err *e);

struct ledger_repair {
    char what[224]; /* a description of the count */
    int64_t was;
    int64_t is; /* counted from the rows */
};
/* Recounts the store's derived counts from the rows, and corrects those that two calls of this
 * handle found wrong by the same amount; safe while the fleet works. Reads about every VM that
 * holds a slot and every waiting job; does nothing for a store whose counts cannot become wrong.
 * *out: the corrections, for the log; owned, free(). *suspected: how many were found wrong once; if
 * not 0, call again soon. */
MUST_CHECK int ledger_repair(struct ledger *l, struct ledger_repair **out, size_t *n,
                             size_t *suspected, struct err *e);

enum ledger_finding { LEDGER_CHECK_OK, LEDGER_CHECK_WARNING, LEDGER_CHECK_ERROR };
typedef void ledger_report_fn(void *arg, enum ledger_finding level, const char *subject,
                              const char *finding);
enum ledger_check { LEDGER_CHECK_DURABILITY, LEDGER_CHECK_ALL };
/* Checks what ledger_open does not: the settings that decide whether the store keeps what it has
 * confirmed; with LEDGER_CHECK_ALL its other settings too, and whether these credentials permit
 * every call that the ledger makes. Calls `report` for each finding, with its fix, and for what
 * could not be checked. Changes nothing. Reports nothing for a store that has neither. */
void ledger_check(struct ledger *l, enum ledger_check what, ledger_report_fn *report, void *arg);

#endif
