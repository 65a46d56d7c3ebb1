/*
 * What the parts of mayfly-reaper share: the stores, and one sweep over them.
 *
 *   sweep.c                 the order of the tasks; each is isolated from the others' errors
 *   listings.c              the VMs as their providers list them, and the rows of the last sweeps
 *   signs.c                 observations that a later sweep must confirm before anything is done
 *   lease.c                 the leases of a sweep, checked again before each irreversible step
 *   clock.c                 the time of a sweep, where the wall clock was set forward
 *   deadlines.c             VMs past their deadline; VMs that are `ending` for too long
 *   requests.c              VMs that an operator wants terminated
 *   vms.c                   rows whose VM ended, launches that never came up, VMs without a runner
 *   peers.c                 the circuits that calls to GitHub and to providers meet
 *   runners.c               what GitHub says about a VM's runner
 *   unconfirmed_launches.c  rows of launches that got no response
 *   absences.c              VMs that are not listed or have no row, and the brake
 *   orphans.c               this deployment's VMs without a row
 *   quiet.c                 classes none of whose runners without a row works
 *   scopes.c                where runners may be registered
 *   jobless.c               classes whose VMs never get a job
 *   image/versions.c        which version of its image a class launches, and which one is tried
 *   notices.c               what `mayflyctl status` says about the reaper
 *   relaunch.c              jobs that wait although no VM is on its way for them
 *   idle/                   VMs that idle until a job comes
 *   stuck_jobs.c            jobs that wait although runners idle for them
 *   job_status.c            the status of such jobs as GitHub reports it, for both
 *   running_jobs.c          jobs that run although no VM here runs them
 *   stale_runners.c         GitHub registrations without a VM
 *   retention.c             old rows, logs and dead letters, and the ledger's counters
 *   delivery.c              what a delivery from GitHub's log means
 *   pull/                   deliveries that nobody accepted, where there is no ingress: a thread of its own
 *   scale_sets/             jobs from GitHub's runner scale sets: a thread for each
 *   metrics/fleet.c         gauges of the whole fleet, as long as the lease is held
 *   metrics/gauges.c        what they are
 *   metrics/images.c        when the classes' images were built
 *   metrics/emf.c           the same for CloudWatch, on standard output
 *   metrics/launchable.c    which waiting jobs nothing holds
 *   lost/deliveries.c       webhook deliveries that failed, from GitHub's delivery log
 *   lost/ledger.c           a ledger that was lost, from GitHub
 *   lost/jobs.c             jobs whose deliveries left no trace
 *   give_up/                terminal answers for jobs that cannot be helped
 *   lost/job_lists.c        for both: the jobs of a repository as GitHub lists them
 *
 * A deadline is evidence of its own, and so is an end that the provider reports. Everything else
 * needs a second sign, reaper.confirm_after after the first or later, a fresh read, and GitHub's
 * consent before a VM is terminated (invariant 9; fleet.h). One thread sweeps; nothing here is
 * shared with another (pulling and scale sets use the stores, the holder's name, the presence and the stop flag).
 */
#ifndef MAYFLY_REAPER_REAPER_H
#define MAYFLY_REAPER_REAPER_H

#include "common/base/wakeup.h"
#include "common/config/config.h"
#include "common/fleet/circuits.h"
#include "common/fleet/fleet.h"
#include "common/fleet/repositories.h"
#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/ledger/pauses.h"
#include "common/queue/queue.h"
#include "reaper/idle/idle.h"
#include "reaper/lost/job_lists.h"
#include "reaper/lost/jobs.h"
#include "reaper/lost/ledger.h"
#include "reaper/signs.h"
#include "reaper/totals/totals.h"

struct fleet_metrics;
struct presence;

/* A redelivery: a later attempt of a delivery. */
struct deliveries_attempt {
    uint64_t guid; /* its hash */
    int64_t id;
};

/* One pass over the delivery log, from its newest entry back to where the last complete pass began.
 * It may take several sweeps. A pass that is lost with its process is repeated. */
struct deliveries_walk {
    bool under_way;
    bool recovers; /* it is read for lost/ledger.c too */
    int64_t fence; /* of the lease that it began under */
    char cursor[GITHUB_CURSOR_BYTES];
    int64_t until_ms;  /* older entries are ignored; GitHub's clock, as the next two */
    int64_t newest_ms; /* newer entries belong to the next pass; 0: none seen yet */
    int64_t missed_ms; /* the oldest entry that could not be recovered; 0: none */
    struct deliveries_attempt again[1024];
    size_t again_count;
};

/* The deliveries handled last, by a hash of each name; 0: none. The oldest are forgotten first; a
 * delivery that is enqueued twice does no harm. */
struct deliveries_recent {
    uint64_t names[4096];
    size_t next;
};

/* A job for which GitHub returned "not found". */
struct reaper_unknown {
    int64_t job;           /* 0: none */
    int64_t next_check_ms; /* monotonic: no request about it before */
    int64_t after_ms;      /* the delay since the last request */
};

/* A row with a VM id, as a recent sweep read it. */
struct reaper_row {
    char vm_id[VM_ID_MAX + 1];
    char name[VM_NAME_SIZE];
    int64_t seen_ms; /* monotonic */
};

struct reaper_vms {
    struct vm_info *list;
    size_t count;
};

/* What one listing covers (listings.c), under the lease with that fence. */
struct reaper_target {
    struct vm_provider **providers; /* of its classes; never called after its sweep */
    size_t class_count;
    int64_t fence;
    struct vm_listing *reading; /* not complete yet, unless `fresh`; NULL: none */
    int64_t reading_began_ms;   /* monotonic; of the last one, when there is none */
    int64_t reading_began_wall_ms;
    int64_t due_ms; /* monotonic: when the next one begins */
    bool fresh;     /* `reading` was completed in this sweep */
    bool failed;    /* in this sweep */
    bool used;
    bool has_kept;
    int64_t kept_began_ms;   /* monotonic */
    struct reaper_vms *kept; /* of each class: what the last complete one named without a row */
};

/* Of one installation. */
struct reaper_scan {
    int64_t installation_id;
    int64_t due_ms;        /* monotonic: no list is read before */
    int64_t began_ms;      /* of the last scan that read one */
    int64_t pages;         /* that it read */
    int64_t not_before_ms; /* monotonic: the budget has too few calls until then */
    bool reads;            /* in this sweep */
    bool soon;             /* something waits for the next one */
};

/* Questions about a scope that wait for the budget. */
struct reaper_deferred {
    char scope[SCOPE_SIZE];
    int64_t count; /* since the last notices */
};

#define REAPER_TASKS 22
#define TARGET_SIZE 128

/* By every clock. */
struct sweep_moment {
    int64_t mono_ms;
    int64_t boot_ms;
    int64_t wall_ms;
};
struct sweep_moment sweep_moment_now(void);
/* The time since, by the clock by which most has passed (lease.c). */
int64_t sweep_moment_passed_ms(const struct sweep_moment *since);

struct reaper {
    struct config_live *config;
    struct queue *queue;
    struct ledger *ledger;
    struct github *github;
    struct fleet *fleet;
    struct circuits *circuits; /* shared with the workers */
    struct wakeup stop;
    struct fleet_metrics *metrics; /* NULL: none are exported */
    struct presence *presence;     /* knows the message format to write */
    char other_host[72];           /* of the worker beside it, reported by deadlines.c */
    char holder[64];               /* this process's name in a lease */
    int64_t last_sweep_ms;         /* wall clock of the last complete sweep; atomic; 0 none */
    int64_t runners_due_ms;        /* monotonic: the next scan of GitHub's runner lists */
    struct reaper_scan *scans;
    size_t scan_count;
    struct reaper_deferred deferred[8]; /* beyond that, the last one stands for all */
    int64_t due_ms[REAPER_TASKS]; /* monotonic: each task's next run, in the order of the table */
    bool no_log_reported;         /* that no delivery log can be read was logged */
    int64_t gaps_seen;            /* LEDGER_COUNTER_GAPS, when the delivery log was last wanted */
    struct deliveries_walk walk;
    struct deliveries_recent recent;
    struct recovery recovery;
    struct lost_jobs lost_jobs;
    struct repositories_noted noted;
    struct signs fleet_signs; /* seen under the fleet's lease */
    struct signs host_signs;  /* seen under this host's */
    struct reaper_target **targets;
    size_t target_count;
    size_t next_described;   /* where vms.c goes on among the rows */
    struct reaper_row *rows; /* of the last sweeps, by vm_id (listings.c) */
    size_t row_count;
    uint64_t pauses[64]; /* open circuits that were reported (peers.c); 0: none */
    size_t next_pause;
    int64_t failed_calls;              /* counts down: each is a failure of its own to a circuit */
    struct reaper_unknown unknown[64]; /* beyond that, some are checked more often */
    size_t status_check_offset; /* the next sweep checks no status of its first so many jobs */
    struct sweep_moment last;   /* a sweep began, while the wall clock was not set forward */
    struct reaper_sizes sizes;
    struct reaper_idle idle;
    int64_t ahead_since_ms; /* boot time: when it was seen to be; 0: it is not */
};

/* Each lease has its own table of signs: another reaper may hold the other lease, and it sees other
 * VMs. A lease is kept from sweep to sweep while the process runs, so that its signs last; it is
 * released when the process drains. */
struct sweep_lease {
    char name[96];
    bool held;
    int64_t fence; /* when the sweep began; 0: not held then */
    struct signs *signs;
    struct sweep_moment requested;
};

/* The VMs of one class as its provider listed them. */
struct sweep_listing {
    const struct config_class *class;
    struct vm_provider *provider;
    struct reaper_target *target;
    size_t place;               /* among the target's classes */
    const struct vm_info *list; /* unless `fresh`, only those that had no row of a launch */
    size_t count;
    bool known;       /* false: there is no complete list; nothing may be concluded */
    bool fresh;       /* this sweep completed it */
    bool failed;      /* this sweep could not read it */
    int64_t began_ms; /* of a fresh one, as now_ms of a sweep: what began later may be missing */
};

/* The runners of a scope as GitHub listed them in this sweep, by name. */
struct sweep_runners {
    char scope[SCOPE_SIZE];
    int64_t installation_id;
    struct github_runner *list;
    size_t count;
    bool complete; /* false: nothing may be concluded from it */
    bool later;    /* it is read in a later sweep */
};

/* Where runners of this deployment may be registered. */
struct sweep_scopes {
    struct ledger_scope *list;
    size_t count;
    bool read;
    bool complete; /* false: there may be more */
};

struct sweep {
    struct reaper *reaper;
    const struct config *config;
    int64_t now_ms;           /* wall clock at its start, as clock.c believes it */
    struct sweep_lease fleet; /* for what belongs to the whole fleet */
    struct sweep_lease host;  /* for what is bound to this host */
    bool github_proxy_failed; /* no more calls through it in this sweep */
    bool provider_proxy_failed;
    bool lost;             /* another reaper held a lease meanwhile: the sweep stops */
    struct ledger_vm *vms; /* all rows that hold a slot, read before the providers are asked; those
                               * that this sweep terminated are VM_GONE */
    size_t vm_count;
    struct sweep_listing *listings; /* one per class */
    size_t listing_count;
    bool scans_runners;                 /* this sweep reads GitHub's runner lists, those it needs */
    struct sweep_runners *runner_lists; /* each read when it is first needed */
    size_t runner_list_count;
    struct sweep_scopes scopes; /* read when they are first needed */
    struct ledger_cell *notices;
    size_t notice_count;
    struct ledger_balance *balances; /* read by the first task that needs them */
    size_t balance_count;
    bool balances_read;
    struct ledger_pause *pauses; /* read by the first task that needs them */
    size_t pause_count;
    bool pauses_read;
    size_t status_check_offset; /* see struct reaper */
    size_t runners_asked;       /* single ones */
    size_t jobs_checked;        /* jobs whose status was wanted from GitHub */
    size_t jobs_unknown;        /* those that GitHub did not find */
    int64_t reconcile_calls;    /* to GitHub, that sweep_may_reconcile allowed */
    int64_t reconcile_began_ms; /* monotonic: the first of them */
    int64_t next_run_ms;        /* delay until the running task's next run; it may change it */
};

/* One complete sweep, or nothing if others hold the leases. Logs and counts its repairs. */
void sweep(struct reaper *r);

/* --- lease.c --- */

/* Acquires the leases of this sweep: the fleet's, and this host's if a class has VMs bound to it.
 * False if others hold them all. */
bool sweep_acquire_leases(struct sweep *s);
/* Releases the leases when the process drains, so that another reaper continues at once. */
void reaper_release_leases(struct reaper *r);
/* Renews the leases that the sweep began with and that have less than two thirds of their time
 * left. False when none is held any more. */
bool sweep_renew_leases(struct sweep *s);
/* Called right before each irreversible step (to terminate a VM, delete a registration, enqueue a
 * message): whether the lease is certainly still held, for the VMs of that provider (NULL: for what
 * belongs to the fleet). Renews it when less than a third of its time is left. A process that was
 * frozen or suspended past its lease gets false; if another reaper held the lease meanwhile, for
 * the rest of the sweep. */
bool sweep_still_holds(struct sweep *s, const struct vm_provider *p);
/* The lease that covers the VMs of that provider (NULL: the fleet's). */
struct sweep_lease *sweep_lease_of(struct sweep *s, const struct vm_provider *p);

/* A task adds what it terminated, removed or requested to *repairs. An error ends this task
 * only. */
typedef int sweep_task_fn(struct sweep *s, int64_t *repairs, struct err *e);
/* The time by which this sweep judges ages and deadlines; once a sweep. */
int64_t sweep_wall_ms(struct reaper *r);

sweep_task_fn sweep_deadlines;
sweep_task_fn sweep_terminations;
sweep_task_fn sweep_unreachable;
sweep_task_fn sweep_requests;
sweep_task_fn sweep_vms;
sweep_task_fn sweep_unconfirmed_launches;
sweep_task_fn sweep_absences;
sweep_task_fn sweep_stale_runners;
sweep_task_fn sweep_recovery;
sweep_task_fn sweep_deliveries;
sweep_task_fn sweep_lost_jobs;
sweep_task_fn sweep_stuck_jobs;
sweep_task_fn sweep_running_jobs;
sweep_task_fn sweep_relaunch;
sweep_task_fn sweep_idle_vms;
sweep_task_fn sweep_give_up;
sweep_task_fn sweep_vm_logs;
sweep_task_fn sweep_dead_letters;
sweep_task_fn sweep_images;
sweep_task_fn sweep_totals;
sweep_task_fn sweep_retention;
sweep_task_fn sweep_counters;

/* The task is due: it runs in this sweep, if its turn is still to come, or else in the next one. */
void sweep_run_at_once(struct sweep *s, sweep_task_fn *task);

/* The intervals of the tasks that do not run in every sweep. */
typedef int64_t sweep_interval_fn(const struct sweep *s);
sweep_interval_fn sweep_totals_interval_ms;
sweep_interval_fn sweep_stuck_jobs_interval_ms;
sweep_interval_fn sweep_give_up_interval_ms;
sweep_interval_fn sweep_running_jobs_interval_ms;
sweep_interval_fn sweep_deliveries_interval_ms;
/* Whether a worker has missed a delivery since this was last asked: its log is read at once. */
bool sweep_misses_deliveries(struct sweep *s);
sweep_interval_fn sweep_counters_interval_ms;
sweep_interval_fn sweep_dead_letters_interval_ms;
sweep_interval_fn sweep_images_interval_ms;

/* Reads s->balances unless this sweep has read them. A task that also counts the queue's messages
 * counts them before: a message that a worker receives in between is supply by then. */
MUST_CHECK int sweep_read_balances(struct sweep *s, struct err *e);
/* Reads s->pauses, once a sweep. */
MUST_CHECK int sweep_read_pauses(struct sweep *s, struct err *e);
/* After that: whether an operator has paused the class. */
bool sweep_class_is_paused(const struct sweep *s, const char *class_name);

/* Whether this sweep may act on the VM of that row, or on the VMs of that provider. */
bool sweep_may_act_on(const struct sweep *s, const struct ledger_vm *vm);
bool sweep_holds_lease_for(const struct sweep *s, const struct vm_provider *p);

/* The row of this sweep that belongs to the listed VM, adopted or not; NULL: none holds a slot. */
const struct ledger_vm *sweep_row_of(const struct sweep *s, const struct vm_info *listed);

/* Whether a listed VM without a row may belong to a launch that got no response. */
bool sweep_may_be_unconfirmed(const struct sweep *s, const struct sweep_listing *in,
                              const struct vm_info *listed);

/* The slots that are free under the fleet's cap, under the caps of that class and its targets, and under both,
 * by the rows of this sweep; none or fewer at a cap. */
int64_t sweep_fleet_slots(const struct sweep *s);
int64_t sweep_class_slots(const struct sweep *s, const struct config_class *class);
int64_t sweep_free_slots(const struct sweep *s, const struct config_class *class);

/* relaunch_after of the class, or else the reaper's. */
int64_t sweep_relaunch_after_ms(const struct sweep *s, const struct config_class *class);

/* The status of a job that waits in the ledger, as GitHub reports it. */
enum job_status {
    JOB_STATUS_WAITS,
    JOB_STATUS_NOT_WAITING, /* it runs or has ended, and the ledger was reconciled */
    JOB_STATUS_UNKNOWN, /* GitHub found no such job, now or a while ago, or this sweep may not ask
                         * or check no more: launch nothing for it */
    JOB_STATUS_UNAVAILABLE /* the request failed; nothing is known */
};
enum job_status sweep_job_status(struct sweep *s, const struct ledger_job *job);

/* --- listings.c --- */

void sweep_list_vms(struct sweep *s);
/* The class as long as this sweep may act on its VMs; NULL otherwise. */
const struct sweep_listing *sweep_class_of(const struct sweep *s, const struct ledger_vm *vm);
/* The VMs of a class as listed; NULL if they are not known. */
const struct sweep_listing *sweep_listing_of(const struct sweep *s, const struct ledger_vm *vm);
/* Something depends on the next complete list: it begins reaper.confirm_after after the last. */
void sweep_list_soon(const struct sweep *s, const struct sweep_listing *m);
/* At the end of a sweep. */
void sweep_keep_listings(struct sweep *s);
void reaper_free_targets(struct reaper *r);

/* --- peers.c --- */

struct sweep_call {
    struct subjects subjects;
    char holder[33]; /* of the circuits that it probes */
    bool *proxy_failed;
};
/* Whether a call may be made now: to GitHub about that scope (or a repository; "": as the App), or to
 * that provider's service. If so, sweep_end_call must follow. False is said once for each open
 * circuit: nothing may be concluded from what the call would have shown. */
bool sweep_begin_github_call(struct sweep *s, const char *scope, struct sweep_call *call);
/* The same for a question that `calls` calls answer, within the budget (common/github/budget.h). False
 * also if it is asked later. */
bool sweep_begin_question(struct sweep *s, const struct github_scope *scope,
                          enum github_purpose purpose, int64_t calls, struct sweep_call *call);
/* The same about a single runner: a sweep asks about 50 at most. */
bool sweep_begin_runner_question(struct sweep *s, const struct github_scope *scope,
                                 enum github_purpose purpose, int64_t calls,
                                 struct sweep_call *call);
/* Counts one of these. */
bool sweep_may_ask_runner(struct sweep *s);
bool sweep_begin_provider_call(struct sweep *s, const struct vm_provider *p,
                               struct sweep_call *call);
/* rc, e: its result. */
void sweep_end_call(struct sweep *s, struct sweep_call *call, int rc, const struct err *e);
/* Whether its circuit is open. Lists find out when it is not. */
bool sweep_github_is_away(struct sweep *s, const char *scope);
bool sweep_target_is_away(struct sweep *s, const struct vm_provider *p);
void sweep_termination_failed(struct sweep *s, const struct ledger_vm *vm, const struct err *e);

/* --- runners.c --- */

/* At the start of a sweep: which installations' runner lists it may read. */
void sweep_begin_runner_scan(struct sweep *s);
/* At its end: when they are read next. */
void sweep_end_runner_scan(struct sweep *s);
/* Whether this sweep may read the lists of that installation. */
bool sweep_scans_installation(struct sweep *s, int64_t installation_id);
/* A list of so many pages was read. */
void sweep_count_pages(struct sweep *s, int64_t installation_id, int64_t pages);
/* Something that only lists decide was met: the next scan reads them. ALL_INSTALLATIONS: of every
 * scope. */
#define ALL_INSTALLATIONS (-1)
void sweep_read_runners_soon(struct sweep *s, int64_t installation_id);

enum runner_state {
    RUNNER_UNKNOWN,   /* no list of its scope was read, or it is not listed and not yet confirmed */
    RUNNER_UP,        /* online or busy; a row that was not busy became so */
    RUNNER_OFFLINE,   /* listed offline and without a job */
    RUNNER_ABANDONED, /* the same, for long, and confirmed */
    RUNNER_GONE       /* not registered, confirmed */
};
/* Called once in a sweep for each row whose VM may have lost its runner. */
enum runner_state sweep_judge_runner(struct sweep *s, const struct sweep_listing *m,
                                     const struct ledger_vm *vm);
/* Called after all rows and orphans were judged: forgets the signs that were not seen again. */
void sweep_runners_observed(struct sweep *s);
/* The complete list of the scope's runners; NULL if this sweep reads none, or if it failed. *later
 * (may be NULL): a later sweep reads it. */
const struct sweep_runners *sweep_runners_of(struct sweep *s, const char *scope_name,
                                             int64_t installation_id, bool *later);
const struct github_runner *sweep_find_runner(const struct sweep_runners *l, const char *name);
void sweep_free_runners(struct sweep *s);

/* Adds the rows of this sweep, and forgets those last seen startup_timeout ago. */
void sweep_remember_rows(struct sweep *s);
/* NULL: no recent sweep saw a row with that VM id. */
const struct reaper_row *reaper_recent_row(const struct reaper *r, const char *vm_id);

/* --- scopes.c --- */

/* Valid as long as the sweep. */
const struct sweep_scopes *sweep_all_scopes(struct sweep *s);

/* --- jobless.c --- */

/* A VM was terminated because it had ended by itself, or its runner was gone or abandoned. reason:
 * the agent's or the provider's, "" unknown. ended_ms: 0 unknown. */
void sweep_vm_ended(struct sweep *s, const struct sweep_listing *m, const struct ledger_vm *vm,
                    const char *reason, int64_t ended_ms);
/* Before the notices are written. */
void sweep_report_jobless(struct sweep *s);

/* --- notices.c --- */

/* Something that an operator should know, for `mayflyctl status`: of this sweep, under the lease of
 * that provider. */
PRINTF(4, 5)
void sweep_notice(struct sweep *s, const struct vm_provider *p, const char *subject,
                  const char *format, ...);
/* Writes the notices of this sweep to the ledger, and removes those of earlier ones. */
void sweep_write_notices(struct sweep *s);
/* A question about that scope is asked later, since the budget for it is used up. */
void sweep_defer(struct sweep *s, const struct github_scope *scope);
/* Before the notices are written: says which questions were deferred since the last ones. */
void sweep_report_deferred(struct sweep *s);

/* --- absences.c --- */

/* A VM that may be terminated because something is absent. */
struct absence {
    const struct sweep_listing *listing;
    const char *reason;              /* for the log, of a VM without a row */
    const char *subject;             /* the row's name, or the VM's id */
    const struct ledger_vm *vm;      /* a row whose VM is not listed; or NULL and */
    const struct vm_info *listed;    /* a VM without a row */
    const struct ledger_vm *adopted; /* the adopted row of a listed VM; NULL: none */
    struct ledger_vm runner;         /* its runner: name, scope; for delete_registration */
    bool delete_registration;        /* the runner is registered, offline and idle */
    bool certain; /* its deadline has passed, or GitHub has no runner for it: not held */
    bool held;
};
struct absences {
    struct absence *list;
    size_t count;
    size_t room;
};
void absences_add(struct absences *all, const struct absence *a);
void sweep_collect_missing_vms(struct sweep *s, struct absences *out);
bool sweep_terminate_missing_vm(struct sweep *s, const struct ledger_vm *vm);
/* Runners of a class without a row. */
struct quiet {
    bool listed;   /* in this sweep, in all scopes that are known */
    bool later;    /* a later sweep lists those of some scope */
    bool complete; /* and no other is possible */
    size_t registered;
    size_t elsewhere; /* offline, and of another deployment's class of that name */
};
/* For a class of VMs without names, some of which have no row. */
void sweep_count_unmatched(struct sweep *s, const struct sweep_listing *m, struct quiet *out);
/* What `status` says about so many VMs of the class. Call it once in a sweep. */
void sweep_report_unmatched(struct sweep *s, const struct sweep_listing *m, size_t vms,
                            const struct quiet *q);
/* Whether that VM without a row has no runner at GitHub, confirmed. in_known_scopes: it is the VM of
 * some row, or of one that was lost with its ledger's last writes, so that the ledger knows its scope. */
bool sweep_has_no_runner(struct sweep *s, const struct sweep_listing *m, const struct quiet *q,
                         const struct vm_info *listed, bool in_known_scopes);
void sweep_collect_orphans(struct sweep *s, struct absences *out);
bool sweep_terminate_orphan(struct sweep *s, const struct absence *a);

/* Records a sign under the lease of that provider (NULL: the fleet's). Returns whether it is
 * confirmed. */
bool sweep_confirm_sign(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign);
/* The same with another time than reaper.confirm_after. */
bool sweep_confirm_sign_after(struct sweep *s, const struct vm_provider *p,
                              const struct sign_of *sign, int64_t after_ms);
/* Whether an earlier sweep saw the sign. */
bool sweep_sign_is_known(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign);
/* Whether the sign was seen before, and could not be confirmed yet. */
bool sweep_sign_is_young(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign);
/* Whether that end of a VM without a job says that its image does not work (ledger/images.h). reason: the
 * agent's or the provider's. ended_ms: 0 unknown. */
bool sweep_image_failed(const struct sweep *s, const struct sweep_listing *m,
                        const struct ledger_vm *vm, const char *reason, int64_t ended_ms);
/* What a scan of a class must have read to see its signs of a kind again, if there are any. */
enum scan_of { SCAN_ROWS, SCAN_KNOWN_LIST, SCAN_FRESH_LIST };
/* Called after all VMs were checked for that kind: signs that were not seen again are forgotten, of the
 * classes for which the scan was possible. */
void sweep_vms_observed(struct sweep *s, enum sign_kind kind, enum scan_of scan);
/* Whether rows of that class may be judged: VMs with names are known from their list alone. */
static inline bool sweep_judges_rows(const struct sweep_listing *m)
{
    return m->known || !vm_is_named(m->provider);
}

/* Terminates the VM within limits.terminate_rate, and logs it. Returns whether it is gone. */
bool sweep_terminate_vm(struct sweep *s, const struct ledger_vm *vm,
                        const struct fleet_termination *how);
/* Waits for a token of limits.terminate_rate, which the workers share. False when the sweep must
 * give up for now. */
bool sweep_terminate_turn(struct sweep *s, const char *place);

#endif
