/*
 * What the parts of mayfly-reaper share: the stores, and one sweep over them.
 *
 *   sweep.c      the order of the tasks; each is isolated from the others' errors
 *   signs.c      what was seen once, and is acted upon when a later sweep sees it still
 *   lease.c      the leases of a sweep, looked at again before whatever cannot be taken back
 *   deadlines.c  VMs past their deadline; VMs that are ending for too long
 *   vms.c   rows whose machine ended or vanished, launches that never came up
 *   unconfirmed_launches.c    rows of launches that were never answered
 *   orphans.c     machines of ours without a row
 *   relaunch.c    jobs that wait although nothing is on its way for them
 *   stuck_jobs.c    jobs that wait although machines idle for them
 *   job_status.c       GitHub's word on such jobs, for both
 *   stale_runners.c    GitHub registrations left over
 *   retention.c       old rows and logs, and the ledger's counts
 *   deliveries.c webhook deliveries that nobody took, out of GitHub's log
 *
 * A deadline is evidence of its own; everything else needs a second sign, reaper.confirm_after
 * after the first or later, and a fresh read before a VM is ended (invariant 9). One thread sweeps;
 * nothing here is shared with another.
 */
#ifndef MAYFLY_REAPER_REAPER_H
#define MAYFLY_REAPER_REAPER_H

#include "common/base/wakeup.h"
#include "common/config/config.h"
#include "common/fleet/fleet.h"
#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"
#include "reaper/signs.h"

struct presence;

/* One attempt to deliver something that had been tried before. */
struct deliveries_attempt {
    uint64_t guid; /* a hash of it */
    int64_t id;
};

/* One reading of the delivery log, from its newest entry back to where the last good one began. It
 * may take several sweeps; what is lost with the process is read again. */
struct deliveries_walk {
    bool under_way;
    int64_t fence; /* of the lease that it was begun under */
    char cursor[GITHUB_CURSOR_BYTES];
    int64_t until_ms;  /* entries before that are not looked at; GitHub's clock, as the two below */
    int64_t newest_ms; /* entries after that are the next reading's; 0: none seen yet */
    int64_t missed_ms; /* the oldest that could not be recovered; 0: none */
    struct deliveries_attempt again[1024];
    size_t again_count;
};

/* What was dealt with of late, by a hash of each delivery's name; of more, the oldest are forgotten
 * (0: none), and a delivery that is put on the queue twice does no harm. */
struct deliveries_settled {
    uint64_t names[4096];
    size_t next;
};

/* A job that GitHub did not know when it was asked. */
struct reaper_unknown {
    int64_t job;      /* 0: none */
    int64_t again_ms; /* monotonic: until then it is not asked about again */
    int64_t after_ms; /* how long that was from when it was asked about last */
};

#define REAPER_TASKS 12

struct reaper {
    struct config_live *config;
    struct queue *queue;
    struct ledger *ledger;
    struct github *github;
    struct fleet *fleet;
    struct wakeup stop;
    struct presence *presence;    /* knows the format of the messages that are put */
    char holder[64];              /* this process, as a lease knows it */
    int64_t last_sweep_ms;        /* wall clock of the last whole sweep; atomic; 0 none */
    int64_t due_ms[REAPER_TASKS]; /* monotonic: each task's next run, by its place in the table */
    bool deliveries_told;         /* that there is no log to read */
    struct deliveries_walk walk;
    struct deliveries_settled settled;
    struct signs fleet_signs;          /* seen under the fleet's lease */
    struct signs host_signs;           /* seen under this host's */
    struct reaper_unknown unknown[64]; /* of more, some are asked about more often */
    size_t ask_from; /* so many jobs of the next sweep wait for the one after it */
};

/* When a lease was asked for, by every clock there is. */
struct sweep_moment {
    int64_t mono_ms;
    int64_t boot_ms;
    int64_t wall_ms;
};

/* Each lease has its own memory of signs: another reaper may hold the other one, and looks at other
 * things. A lease is kept from sweep to sweep, for as long as the process runs, so that the memory
 * lasts; it is released when the process drains. */
struct sweep_lease {
    char name[96];
    bool held;
    int64_t fence; /* as it was when the sweep began; 0: not held then */
    struct signs *signs;
    struct sweep_moment asked;
};

/* What machines a class has, by its provider's word at the start of the sweep. */
struct sweep_machines {
    const struct config_class *class;
    struct vm_provider *provider;
    struct vm_info *list;
    size_t count;
    bool known; /* false: the provider did not answer, nothing may be concluded */
};

struct sweep {
    struct reaper *reaper;
    const struct config *config;
    int64_t now_ms;           /* wall clock at its start */
    struct sweep_lease fleet; /* the lease for what is the fleet's */
    struct sweep_lease host;  /* the lease for what is bound to this host */
    bool lost;                /* a lease was another's for a while: nothing more is done */
    struct ledger_vm *vms;    /* all rows that hold a slot, read before the machines; those that
                                 this sweep ended since are VM_GONE */
    size_t vm_count;
    struct sweep_machines *machines; /* one per class */
    size_t machines_count;
    struct ledger_balance *balances; /* read once, by the first task that needs them */
    size_t balance_count;
    bool balances_read;
    size_t ask_from;  /* see reaper.ask_from */
    size_t asked;     /* jobs that GitHub's word was wanted on */
    size_t unknown;   /* those that it did not know */
    int64_t again_ms; /* the task that runs may change it: how soon it is to run again */
};

/* One whole sweep, or nothing if others hold the leases. Logs and counts what it did. */
void sweep(struct reaper *r);

/* --- lease.c --- */

/* Takes what leases there are for this sweep: the fleet's, and this host's where a class has
 * machines that are bound to it. False if others hold them all. */
bool sweep_take_leases(struct sweep *s);
/* Gives them back, when the process drains: another reaper goes on at once. */
void reaper_release_leases(struct reaper *r);
/* Renews those that the sweep began with and that have less than two thirds of their time left.
 * False when there is nothing left to act under. */
bool sweep_renew_leases(struct sweep *s);
/* Asked right before what cannot be taken back (a VM's end, a record's, a new message): whether the
 * lease still is ours for certain, for the machines of that provider (NULL: for what is the
 * fleet's). Renews it when less than a third of its time is left. A process that was frozen or
 * suspended past its lease gets false, then and for the rest of the sweep, if another held it
 * meanwhile. */
bool sweep_still_holds(struct sweep *s, const struct vm_provider *p);
/* The lease that the machines of that provider are looked at under (NULL: what is the fleet's). */
struct sweep_lease *sweep_lease_of(struct sweep *s, const struct vm_provider *p);

/* A task: does its part, adds what it ended, removed or asked for to *done. An error ends this task
 * only. */
typedef int sweep_task_fn(struct sweep *s, int64_t *done, struct err *e);
sweep_task_fn sweep_deadlines;
sweep_task_fn sweep_endings;
sweep_task_fn sweep_machines;
sweep_task_fn sweep_unconfirmed_launches;
sweep_task_fn sweep_orphans;
sweep_task_fn sweep_stale_runners;
sweep_task_fn sweep_deliveries;
sweep_task_fn sweep_stuck_jobs;
sweep_task_fn sweep_relaunch;
sweep_task_fn sweep_vm_logs;
sweep_task_fn sweep_retention;
sweep_task_fn sweep_counts;

/* How long the tasks that do not run in every sweep wait in between. */
typedef int64_t sweep_interval_fn(const struct sweep *s);
sweep_interval_fn sweep_stuck_jobs_interval_ms;
sweep_interval_fn sweep_stale_runners_interval_ms;
sweep_interval_fn sweep_deliveries_interval_ms;
sweep_interval_fn sweep_counts_interval_ms;

/* Reads s->balances unless that was done in this sweep. Who counts the queue's messages, too,
 * counts them before: what a worker takes in between is supply by then. */
MUST_CHECK int sweep_read_balances(struct sweep *s, struct err *e);

/* Whether this sweep may touch the VM of that row, or the machines of that provider. */
bool sweep_may_touch(const struct sweep *s, const struct ledger_vm *vm);
bool sweep_may_use(const struct sweep *s, const struct vm_provider *p);

/* Whether a row of this sweep that holds a slot is about the machine. */
bool sweep_accounts_for(const struct sweep *s, const struct vm_info *machine);

/* Whether a machine without a row may be at work for a launch that was never answered. */
bool sweep_may_be_unconfirmed(const struct sweep *s, const struct vm_info *machine);

/* The machines of a class as listed; NULL if they are not known. */
const struct sweep_machines *sweep_machines_of(const struct sweep *s, const char *class_name);

/* How long a job of the class may wait before it is looked at: its own patience, or the reaper's.
 */
int64_t sweep_patience_ms(const struct sweep *s, const struct config_class *class);

/* GitHub's word on a job that the ledger thinks waits. */
enum job_status {
    JOB_STATUS_WAITS,
    JOB_STATUS_OVER, /* it runs or has ended, and the ledger was told */
    JOB_STATUS_UNKNOWN, /* GitHub knew no such job, now or a while ago, or too many others in this sweep:
                     nothing is to be launched for it */
    JOB_STATUS_UNAVAILABLE /* GitHub could not be asked, and nothing is known */
};
enum job_status sweep_job_status(struct sweep *s, const struct ledger_job *job);

/* Notes a sign under the lease of that provider (NULL: the fleet's); whether it is confirmed. */
bool sweep_confirms(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign);
/* A complete look at the machines of all classes that the sweep knows the machines of: signs of
 * that kind that it did not see are forgotten. */
void sweep_looked_at_machines(struct sweep *s, enum sign_kind kind);

/* Ends the VM at the provider's pace, and logs it. Returns whether it is gone. */
bool sweep_end_vm(struct sweep *s, const struct ledger_vm *vm, const struct fleet_end *how);
/* Waits for the turn to end a VM of that class (limits.terminate_rate, which the workers share);
 * false when the sweep should give up for now. */
bool sweep_pace(struct sweep *s, const char *class_name);

#endif
