#include "common/base/attr.h"
#include "common/program/log_events.h"

const struct log_event log_events_job[] = {
    {"job_accepted", "ingress, reaper", "info", "job_id, class, repository, stored, delivery_id",
     "A job that waits for a runner is durable: `stored` says whether on the queue (`queued`; "
     "`pulled`, where the reaper read it from GitHub's delivery log) or in the local spool "
     "(`spooled`).",
     "Nothing."},
    {"job_displaced", "worker", "info", "job_id, taken_by, vm, class, scope",
     "Another job, which has no launch request, took its VM. So another request was put.",
     "Nothing for a few. For many, deliveries are lost: look for `delivery_recovered`."},
    {"job_end_reconciled", "reaper", "info",
     "job_id, class, repository, runner, running_ms, reason",
     "A job that ran by the ledger has ended, though no `completed` event came.",
     "Nothing for a few. For many, look at GitHub's webhook page for what became of the "
     "deliveries."},
    {"job_event", "worker", "debug", "job_id, webhook_action, state, class, delivery_id",
     "An event of a job that neither began nor ended it was applied to the ledger. `state` is the "
     "job's state after it.",
     "Nothing."},
    {"job_finished", "worker", "info",
     "job_id, vm, class, repository, runner, conclusion, state, delivery_id",
     "A job of this deployment ended. `vm` is empty if its runner is not one of this deployment's.",
     "Nothing."},
    {"job_give_up_failed", "reaper", "warn",
     "job_id, repository, error, error_class, error_code, action",
     "A job is to be given up (`reaper.give_up`), and GitHub refused the check run, the list of "
     "its "
     "run's jobs, or that the run is cancelled.",
     "Grant the App *Actions: write* and *Checks: write*, and accept them in the installation: "
     "`mayflyctl app check` says what is missing."},
    {"job_given_up", "reaper", "warn", "job_id, repository, run_id, class, waiting_ms, reason",
     "A job that cannot be launched, or that has waited for `reaper.give_up_after`, has a check "
     "run "
     "at GitHub that says so. Its run is cancelled once none of its other jobs runs or can still "
     "run.",
     "Fix what `reason` says, then run the job again at GitHub."},
    {"job_ignored", "ingress, reaper", "info",
     "job_id, repository, reason, labels, nearest_class, label, hint, delivery_id",
     "A queued job that this deployment does not run: its labels match no class (reason "
     "`labels_not_matched` or `no_labels`; `nearest_class` differs least, in `label`), or its "
     "repository is not in `github.repositories`. At most 10 a second are logged; "
     "`mayfly_jobs_unrouted_total` counts all whose labels match no class.",
     "If the job is meant for this deployment, change its runs-on or the class's labels as `hint` "
     "says. A job for GitHub's own runners needs nothing."},
    {"job_list_failed", "reaper", "warn, debug",
     "repository_id, repository, error, error_class, error_code, action",
     "The jobs of a repository could not be read from GitHub's lists. It is tried again. At level "
     "warn while a lost ledger is recovered, once for each repository and reason: the recovery "
     "lasts until the jobs are read.",
     "If it lasts, check GitHub and the network to it."},
    {"job_list_refused", "reaper", "warn", "repository, error, error_class, error_code, action",
     "GitHub does not let the reaper list the runs and jobs of a repository. Lost jobs are not "
     "found "
     "there; after the loss of a ledger its deliveries are read instead, one by one. Logged once, "
     "and for each repository while a lost ledger is recovered.",
     "Grant the App or token read access to Actions."},
    {"job_not_found_on_github", "reaper", "warn",
     "job_id, repository, class, error, error_class, error_code, next_check_ms, action",
     "GitHub does not know a job that waits or runs in the ledger, or does not let Mayfly read it. "
     "No VM is launched for it. It is checked again after `next_check_ms`, and given up when it "
     "has waited for 49 hours or run for six days.",
     "If its run was deleted: nothing. Otherwise grant the App or token read access to the "
     "repository's Actions."},
    {"job_reconcile_failed", "reaper", "warn", "job_id, error, error_class, error_code, action",
     "GitHub reported another state of a job than the ledger has, and the ledger could not be "
     "updated.",
     "If it lasts, check the ledger and the network to it."},
    {"job_recovered", "reaper", "info", "job_id, repository, class, state, age_ms, reason",
     "GitHub's lists know the job, or more of it than the ledger did: its deliveries were lost, or "
     "the ledger was. The ledger has it now, and one that waits got a launch request.",
     "Nothing. Where many are found without a delivery, look at the webhook's deliveries on GitHub "
     "and at the ingress."},
    {"job_refused", "ingress, reaper", "warn", "job_id, repository, class, reason, delivery_id",
     "A job of a runner class gets no VM because of the configuration: `reason` "
     "public_repository_refused, its repository is public.",
     "If its jobs are to run, read deploy/docs/public-repositories.md and set "
     "`github.public_repositories` to `allow`; else take the class's labels out of its workflows."},
    {"job_relaunched", "reaper", "info", "job_id, class, scope, waiting_ms, relaunches",
     "A job waited too long without a VM for it, so another launch request was put on the queue.",
     "Nothing for a few. For many, look for `launch_failed` and `launch_stuck`."},
    {"job_started", "worker", "info", "job_id, vm, class, repository, runner, delivery_id",
     "A job of this deployment runs. `vm` is empty if its runner is not one of this deployment's.",
     "Nothing."},
    {"job_stuck_with_idle_runners", "reaper", "warn",
     "job_id, class, repository, scope, waiting_ms, idle_vms, reason, action",
     "A job is queued at GitHub although runners of its class are idle, so GitHub does not "
     "consider them a match. `action` names the runner group if GitHub says that it does not admit "
     "the repository.",
     "What `action` says: let the runner group admit the repository or map it to another group, or "
     "check that the class's labels include all labels of the job's `runs-on`. See also GitHub's "
     "status page."},
};

const size_t log_event_job_count = COUNT_OF(log_events_job);
