/*
 * A scripted world for the reaper: rows of the ledger, machines of two providers, runners, jobs and
 * webhook deliveries of GitHub, as plain arrays that a test fills and looks at. The
 * files world*.c answer the reaper's calls from them. The queue is a real one, in memory.
 *
 * There are two of everything: two classes (small, whose machines are bound to a host, and large,
 * whose machines tell no name), two hosts (here, there), two scopes (acme, other). A machine's id
 * is never its name, and no number is another's. A call with a wrong argument finds nothing, and
 * what was done is recorded with its arguments.
 *
 * Time is the world's own: it stands still but for world_pass() and for the reaper's sleeps, which
 * pass at once (the test links with --wrap=stop_sleep and --wrap=clock_gettime). Any call can fail
 * (fails), and a test can let something happen right before the n-th call of a kind is answered: a
 * freeze, or a change of the world at the moment of the second look.
 */
#ifndef MAYFLY_TESTS_REAPER_WORLD_H
#define MAYFLY_TESTS_REAPER_WORLD_H

#include "reaper/reaper.h"

#define WORLD_MAX 640
#define WORLD_TEXT 600

/* Calls at which something may happen. */
enum world_call {
    CALL_RATE_TAKE,
    CALL_GET_RUNNER,
    CALL_GET_JOB,
    CALL_DESCRIBE,
    CALL_PAYLOAD,
    CALL_VM_GET,
    CALL_LIST_DELIVERIES,
    CALL_LIST_RUNNERS,
    CALL_BALANCES,
    WORLD_CALLS
};

struct world_delivery {
    struct github_delivery entry;
    char payload[WORLD_TEXT];
    enum err_class payload_fails;   /* ERR_NONE: it is told */
    enum err_class redeliver_fails; /* ERR_NONE: it is taken on */
};

struct world_end {
    char vm[68];
    char reason[96];
    bool spare_if_busy;
    bool nothing_runs;
};

struct vm_provider {
    const char *class_name;
};

struct world_lease {
    char name[96];
    char holder[64]; /* "": nobody */
    int64_t ttl_ms;  /* as it was asked for last; 0: never held */
    int64_t until_ms;
    int64_t changes; /* of its holder */
};

struct world {
    int64_t now_ms;
    int64_t boot_extra_ms; /* time that only the boot clock saw: suspend */
    struct reaper *reaper; /* of world_begin */
    int64_t lease_fence;
    struct world_lease leases[3];
    bool lease_fails;             /* the ledger does not answer */
    const char *lease_of_another; /* by its name; NULL: none is, as long as lease_is_ours */
    int lease_calls;
    int lease_calls_at_end; /* as many when a VM was ended last */
    int calls[WORLD_CALLS];
    enum world_call event_call; /* when calls[event_call] reaches event_at, event() happens */
    int event_at;
    void (*event)(void);
    enum err_class fails[WORLD_CALLS]; /* ERR_NONE: it works */

    bool rate_limited; /* the terminate bucket counts */
    double rate_tokens;
    int64_t rate_seen_ms;
    int64_t end_times_ms[4 * WORLD_MAX]; /* of each try to end a VM */
    int end_tries;
    int end_fails_every; /* 0: never */

    struct world_delivery deliveries[WORLD_MAX]; /* the newest first */
    size_t delivery_count;
    bool has_hook;
    size_t page_size; /* of the delivery log */
    int list_calls;
    int payload_calls;
    int redeliver_calls;
    int64_t mark_ms;

    struct ledger_vm vms[WORLD_MAX];
    size_t vm_count;
    struct vm_info machines[WORLD_MAX];
    const char *machine_class[WORLD_MAX];
    size_t machine_count;
    bool machines_told;       /* false: vm_list fails */
    const char *silent_class; /* its does; NULL: none */
    struct github_runner runners[WORLD_MAX];
    const char *runner_scope[WORLD_MAX];
    size_t runner_count;
    struct ledger_job jobs[WORLD_MAX];
    size_t job_count;
    struct github_job github_jobs[WORLD_MAX]; /* by the same index as jobs */
    int64_t demand;
    int64_t supply;
    int64_t demand_elsewhere; /* of another scope, in the same class */
    int64_t supply_elsewhere;
    int64_t demand_large;   /* of the other class */
    bool queue_cannot_find; /* QUEUE_FIND is none of the queue's capabilities */
    bool lease_is_ours;
    bool ledger_fails_on_list;
    int repair_calls;
    bool repair_fails;
    size_t repair_suspects;
    int records_deleted;
    int64_t deleted_runner; /* the last one */
    char deleted_scope[144];
    int terminated;          /* strays, by vm_terminate */
    bool end_does_nothing;   /* although the provider said yes */
    char terminated_id[192]; /* the last one */
    char last_end_reason[96];
    struct world_end ends[4 * WORLD_MAX];
    int ended;       /* rows, by fleet_end_vm */
    int64_t hold_ms; /* fleet_hold_ms of every row without an id where machines are unnamed */
    bool unnamed;    /* machines tell no name, and no host is theirs */
    int64_t settled_to;
    int64_t settled_job;
    char settled_why[96];
    int64_t tidied_before_ms;
    size_t depths_before_balances; /* calls of the one before the first of the other */
    int settled;
    int told; /* lines of the timeline */
    int64_t told_job;
    char told_what[40];
    int forgotten;
    char forgotten_id[192];
    int asked_of_job_1;           /* calls of github_get_job for the job of that number */
    struct ledger_job *known_job; /* what ledger_job_get knows; NULL nothing */
};

extern struct world world;
extern struct queue *world_queue;

/* The row of that name, or NULL. */
struct ledger_vm *world_row(const char *name);

/* For the other files of the world: notes a call, and lets happen what shall happen at it. */
MUST_CHECK int world_called(enum world_call call, struct err *e);

/* What a task of that name did and how often it failed; over the whole process. */
int64_t world_task_done(const char *task);
int64_t world_task_errors(const char *task);

void world_pass(int64_t ms);

/* Puts n messages with that key on the queue, as somebody else. The reaper's calls to the queue are
 * in calls.h. */
void world_add_messages(const char *lane, enum queue_place place, const char *key, int n);
/* Some that are leased, and some that are dead, are there from the beginning; this leaves none. */
void world_empty_queue(void);
/* How many messages the reaper has put, and the "lane", "key", "group" or "body" of one, from 0.
 * Valid until the next call. */
int world_puts(void);
const char *world_put(int i, const char *field);
/* Every call of that function fails so; ERR_NONE: all calls of the queue work again. */
void world_queue_fails(const char *function, enum err_class class);

/* Adds a delivery of a job at the top of the log, `age_ms` ago; returns its place (the array moves
 * with the next one). */
struct world_delivery *world_add_delivery(int64_t job_id, const char *action, int status_code,
                                          int64_t age_ms);

/* A world that is empty, whose lease is ours and whose provider answers; and a reaper of that
 * configuration in it, to be ended by world_end. */
void world_begin(struct reaper *r, const char *config_text);
/* One more reaper in the same world. */
void world_add_reaper(struct reaper *r, const char *config_text, const char *holder);
void world_end(struct reaper *r);
struct ledger_vm *world_add_vm(const char *name, enum ledger_vm_state state, int64_t age_ms);
/* Its id is id-<name>. */
struct vm_info *world_add_machine(const char *name, enum vm_run_state state);
/* The same of the other class: the row, and the machine, which tells no name. */
struct ledger_vm *world_add_large_vm(const char *name, enum ledger_vm_state state, int64_t age_ms);
struct vm_info *world_add_large_machine(const char *name, enum vm_run_state state);
struct github_runner *world_add_runner(const char *name, bool online, bool busy);
struct ledger_job *world_add_job(int64_t id, const char *github_status);

#endif
