/*
 * The fleet as a worker and a reaper see it: the providers of all places, and the one way to
 * terminate a VM.
 *
 * Termination is a protocol over GitHub, the provider and the ledger, the same for every caller:
 * unless it is certain that the VM is over, its registration is deleted first, which GitHub refuses
 * for a busy runner (that proves that the VM must not be terminated); then the VM, then the row.
 * GitHub's "not found" proves nothing, since GitHub also returns it when access is lost. Each step
 * may be repeated. A handle may be used from any number of threads; it borrows what it is opened
 * with.
 *
 * A row without a VM id: a crash between the provider's request and the record of its response, or
 * a response that was lost, leaves such a row. If VMs carry names (vm_is_named) the VM is found by
 * its name. Otherwise nothing leads from the row to its VM: the launch cannot be replayed, since
 * its payload is a secret that is stored nowhere, and lists contain no token. Such a row becomes
 * `ending` and keeps its slot, so that no cap is exceeded, and its VM is not terminated, for it may
 * run a job. The slot is released once no VM of the row runs for certain
 * (fleet_termination.nothing_runs): the provider's list shows none that matches the row
 * (reaper/unconfirmed_launches.c), which also terminates the VM once it is older than its class
 * allows.
 */
#ifndef MAYFLY_FLEET_FLEET_H
#define MAYFLY_FLEET_FLEET_H

#include "common/github/github.h"
#include "common/job/vm_name.h"
#include "common/ledger/ledger.h"
#include "common/vm/vm.h"

struct fleet;

/* Opens the provider of every place; host: this host's id, for providers bound to it. */
MUST_CHECK int fleet_open(const struct config *c, const char *host, struct ledger *ledger,
                          struct github *github, struct fleet **out, struct err *e);
/* The same, but a place whose provider cannot be opened because of its settings or files (a missing
 * image) is left out, after `failed` is called, if another one can: as one that a reload adds and that
 * cannot be opened. The next reload tries again. */
typedef void fleet_class_failed_fn(const struct config_class *class, const struct err *e);
MUST_CHECK int fleet_open_most(const struct config *c, const char *host, struct ledger *ledger,
                               struct github *github, fleet_class_failed_fn *failed,
                               struct fleet **out, struct err *e);
void fleet_close(struct fleet *f);
/* Opens the provider of a place that the fleet does not have, or one that is to be opened with other
 * settings than before; the former one serves the calls that began with it. *changed (may be NULL):
 * whether it did. On failure the place is as it was. One thread at a time, beside all others; calls
 * return what they find. Places are never removed. */
MUST_CHECK int fleet_add_place(struct fleet *f, const struct config *c,
                               const struct config_class *class, bool *changed, struct err *e);

/* This host's id in the rows of host-bound VMs. */
const char *fleet_host(const struct fleet *f);

/* NULL if no place of that name (config.h) is configured here. */
struct vm_provider *fleet_provider(const struct fleet *f, const char *place);
/* Whether any place of that class is. */
bool fleet_serves(const struct fleet *f, const char *class_name);
/* The name of the place where the row's VM is. */
void fleet_place_of(const struct fleet *f, const struct ledger_vm *vm, char out[PLACE_NAME_SIZE]);
/* Of that place. */
struct vm_provider *fleet_provider_of(const struct fleet *f, const struct ledger_vm *vm);

/* Whether this process can reach the VM of that row: its place is known, and it is not bound to
 * another host. */
bool fleet_reaches(const struct fleet *f, const struct ledger_vm *vm);

/* Why a VM may be terminated, from the weakest evidence on. Below FLEET_OVER the row must be as it
 * was read, and a runner that GitHub reports busy keeps its VM: the row becomes busy. */
enum fleet_evidence {
    FLEET_SUSPECT,     /* its runner must be offline, and its registration must be deleted */
    FLEET_REQUESTED,   /* by an operator: the same, but its runner may be online */
    FLEET_RUNNER_GONE, /* complete runner lists have shown, apart in time, that its runner is not
                        * registered: there is no registration to delete */
    FLEET_OVER,        /* its deadline has passed, its job completed, the provider reports its end,
                        * or an operator insists: nothing is checked */
};

struct fleet_termination {
    const char *reason; /* for the row and the timeline */
    int64_t grace_ms;   /* time for the VM to end by itself */
    enum fleet_evidence evidence;
    bool leave_registration; /* of a VM that is over, to the reaper's task stale_runners: GitHub is
                              * known not to answer now */
    bool image_failed;       /* the VM did not work, and its image may be the reason (images.h) */
    bool failed; /* or vanished: the end of its console goes into its timeline (output.h). That of a
                  * host-bound provider need not be said: its VMs' ends say it */
    bool nothing_runs; /* no VM of this row runs, for certain: the provider got no request or
                        * refused it, or its list shows none that could be this one */
};
/* Moves the row to `ending`, terminates the VM, moves the row to `gone`: on success the slot is
 * released. ERR_CONFLICT: the row has changed, or GitHub reports its runner online or busy (below
 * FLEET_OVER); nothing was terminated. ERR_RETRY with code 404: GitHub does not find the runner,
 * which is no evidence; nothing was terminated. github_budget_refused: the same, GitHub is asked later. With
 * FLEET_OVER a VM whose id is in *vm is
 * terminated even if its row is gone. ERR_RETRY and others: try again (not before retry_after_ms,
 * if set). */
MUST_CHECK int fleet_terminate_vm(struct fleet *f, const struct ledger_vm *vm,
                                  const struct fleet_termination *how, struct err *e);

/* Whether fleet_terminate_vm failed only because GitHub does not find the runner. */
static inline bool fleet_lacks_evidence(const struct err *e)
{
    return e->class == ERR_RETRY && e->code == 404;
}

/* Deletes the registration of that runner (name, runner_id, scope, installation_id) as for
 * FLEET_SUSPECT, for a VM without a row. */
MUST_CHECK int fleet_delete_registration(struct fleet *f, const struct ledger_vm *vm,
                                         struct err *e);

/* --- the providers' rates, shared by all processes through the ledger --- */

/* Takes a token to terminate one VM of that place, at `rate` (limits.terminate_rate) over
 * everything that its provider's service counts together. *wait_ms 0: the token is taken, call
 * fleet_terminate_vm or vm_terminate now; otherwise none was taken, try again after that time.
 * fleet_terminate_vm takes no token itself, since its caller may have to check again after the
 * wait. Reads of a service (describe, list) wait for their tokens themselves, 5 s at most (then
 * ERR_RETRY). When the service throttles a call, no process makes that kind of call for as long as
 * the service said, but no longer than its bucket takes to fill. */
MUST_CHECK int fleet_terminate_turn(struct fleet *f, const char *place,
                                    const struct config_rate *rate, int64_t *wait_ms,
                                    struct err *e);

/* Moves a launch's VM at that place to registered. *wait_ms: how long the launch has to wait before
 * its vm_run, at `rate` (limits.launch_rate) over everything that its provider's service counts
 * together (ledger_vm_advance_paced); 0 if there is no service. */
MUST_CHECK int fleet_advance_registered(struct fleet *f, const char *place,
                                        const struct config_rate *rate,
                                        const struct ledger_advance *a, int64_t *wait_ms,
                                        struct err *e);

/* For the end of a program: reads stop waiting for tokens, now and later. */
void fleet_interrupt(struct fleet *f);

/* Whether a VM with an unknown id may run for that row. Makes no call. */
bool fleet_vm_id_unknown(const struct fleet *f, const struct ledger_vm *vm);

/* How long such a VM may still run: until the row has been `ending` for the class's max_duration
 * and reaper.deadline_grace_period. 0: no longer, if the provider enforces max_duration, or there
 * is none. Makes no call. */
int64_t fleet_slot_hold_ms(const struct fleet *f, const struct ledger_vm *vm);

#endif
