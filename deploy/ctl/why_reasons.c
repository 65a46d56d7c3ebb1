/*
 * Why a job waits: the table of reasons, in the order in which they count. The first that holds is the
 * answer; why_sentences.c has the words.
 */
#include <string.h>
#include <strings.h>

#include "common/ledger/kinds.h"
#include "deploy/ctl/why_reasons.h"

/* What the queue keeps of a message that was returned (worker/launch.c, worker/worker.c). */
#define RETURNED_NEWER "written by a newer Mayfly"

static bool is_waiting(const struct why_facts *f)
{
    return f->in_ledger ? f->job.state == JOB_WAITING : f->in_queue;
}

static bool is_status(const struct why_facts *f, const char *status)
{
    return f->github.answer == WHY_FOUND && strcmp(f->github.job.status, status) == 0;
}

/* --- it waits no more --- */

static bool has_ended(const struct why_facts *f)
{
    bool in_ledger = f->in_ledger && (f->job.state == JOB_DONE || f->job.state == JOB_CANCELLED);
    return in_ledger || is_status(f, "completed");
}

static bool runs(const struct why_facts *f)
{
    return (f->in_ledger && f->job.state == JOB_RUNNING) || is_status(f, "in_progress");
}

static bool is_dead(const struct why_facts *f)
{
    return is_waiting(f) && f->in_queue && f->entry.place == QUEUE_DEAD;
}

static bool is_held_back(const struct why_facts *f)
{
    bool in_ledger = f->in_ledger && f->job.state == JOB_SEEN && f->job.facts.class_name[0] != '\0';
    return in_ledger || (!why_is_known(f) && is_status(f, "waiting"));
}

/* --- it is not ours --- */

/* What GitHub or the ledger says of it; NULL: neither knows it, or it has a class already. */
const char *why_labels_of(const struct why_facts *f)
{
    if (f->in_ledger) {
        return f->job.state == JOB_SEEN && f->job.facts.class_name[0] == '\0' ? f->job.facts.labels
                                                                              : NULL;
    }
    return !f->in_queue && f->github.answer == WHY_FOUND ? f->github.job.labels : NULL;
}

static bool has_no_class(const struct why_facts *f)
{
    const char *labels = why_labels_of(f);
    return labels != NULL && config_route_joined(f->config, labels) == NULL;
}

/* GitHub assigns it, and no webhook concerns this deployment. */
const struct config_source *why_source_of(const struct why_facts *f)
{
    const char *labels = why_labels_of(f);
    for (size_t i = 0; labels != NULL && i < f->config->source_count; i++) {
        if (strcasecmp(labels, f->config->sources[i].scale_set) == 0) {
            return &f->config->sources[i];
        }
    }
    return NULL;
}

static bool is_of_scale_set(const struct why_facts *f)
{
    return why_source_of(f) != NULL;
}

static bool is_of_other_repository(const struct why_facts *f)
{
    return why_labels_of(f) != NULL && !f->in_ledger && f->config->github.repositories.count > 0 &&
           !config_admits_repository(f->config, slice_of(f->github.repository));
}

static bool is_refused_as_public(const struct why_facts *f)
{
    return why_labels_of(f) != NULL && !f->in_ledger && f->github.run.id > 0 &&
           f->github.run.is_public && !config_allows_public_repositories(f->config);
}

static bool is_not_received(const struct why_facts *f)
{
    return why_labels_of(f) != NULL && !f->in_ledger;
}

static bool is_unknown(const struct why_facts *f)
{
    return !why_is_known(f);
}

/* --- somebody has to act --- */

static bool has_unknown_class(const struct why_facts *f)
{
    return is_waiting(f) && f->class == NULL && f->class_name[0] != '\0' && why_lacks_vm(f);
}

static bool is_paused(const struct why_facts *f)
{
    return is_waiting(f) && f->pause.since_ms > 0 && why_lacks_vm(f);
}

static bool is_retired(const struct why_facts *f)
{
    return is_waiting(f) && f->class != NULL && config_class_is_retired(f->class) &&
           why_lacks_vm(f);
}

/* --- it waits for a time --- */

static bool is_delayed(const struct why_facts *f)
{
    return is_waiting(f) && f->in_queue && f->entry.place == QUEUE_DELAYED && why_lacks_vm(f);
}

static bool is_returned_by(const struct why_facts *f, const char *reason)
{
    return is_delayed(f) && strcmp(f->entry.reason, reason) == 0;
}

/* Only the job's own failures spend attempts, and only they say so in the reason. */
bool why_attempt_failed(const struct why_facts *f)
{
    return is_delayed(f) && f->entry.message.attempts > 0 &&
           strncmp(f->entry.reason, "attempt ", 8) == 0;
}

int64_t why_relaunch_at_ms(const struct why_facts *f)
{
    bool in_vain = f->jobless >= LEDGER_QUICK_RELAUNCHES || f->vms.busy_ms >= f->job.relaunched_ms;
    int64_t after_ms = fleet_relaunch_after_ms(f->config, f->class);
    return fleet_relaunch_since_ms(&f->job) +
           fleet_relaunch_wait_ms(&f->job, FLEET_RELAUNCH_QUICK_MS, after_ms, in_vain);
}

/* Its message is gone: the reaper puts another. */
static bool has_no_message(const struct why_facts *f)
{
    bool unseen = f->unsearched && (f->lane.ready > 0 || f->lane.leased > 0 || f->lane.delayed > 0);
    return is_waiting(f) && f->in_ledger && f->class != NULL && !f->in_queue && !unseen &&
           why_lacks_vm(f);
}

static bool is_backing_off(const struct why_facts *f)
{
    return why_attempt_failed(f) ||
           (has_no_message(f) && f->job.relaunches > 0 && why_relaunch_at_ms(f) > f->now_ms);
}

static bool is_of_newer_version(const struct why_facts *f)
{
    return is_waiting(f) && f->in_queue && f->entry.place != QUEUE_LEASED &&
           strstr(f->entry.reason, RETURNED_NEWER) != NULL && why_lacks_vm(f);
}

/* --- nobody works for it --- */

static bool has_no_worker(const struct why_facts *f)
{
    return is_waiting(f) && f->workers.count == 0 && why_lacks_vm(f);
}

static bool is_drained(const struct why_facts *f)
{
    return is_waiting(f) && f->workers.count > 0 && f->workers.drained == f->workers.count &&
           why_lacks_vm(f);
}

/* --- a circuit --- */

/* A host that is full opens its circuit too; that is no trouble, and has a row of its own. */
static bool is_full_host(const struct why_facts *f)
{
    return strncmp(f->circuit.subject, "host:", 5) == 0 &&
           strstr(f->circuit.circuit.why, "host full") != NULL;
}

static bool is_stopped(const struct why_facts *f)
{
    return is_waiting(f) && f->circuit.subject[0] != '\0' && !is_full_host(f) && why_lacks_vm(f);
}

/* --- caps --- */

static bool is_fleet_full(const struct why_facts *f)
{
    return is_waiting(f) && f->class != NULL && f->used.fleet_used >= f->caps.fleet &&
           why_lacks_vm(f);
}

static bool is_class_full(const struct why_facts *f)
{
    return is_waiting(f) && f->class != NULL && f->used.class_used >= f->caps.class_max &&
           why_lacks_vm(f);
}

static bool is_repository_full(const struct why_facts *f)
{
    return is_returned_by(f, ledger_outcome_name(LEDGER_FULL_REPOSITORY)) ||
           (is_waiting(f) && f->class != NULL && f->caps.repository > 0 &&
            f->vms.of_repository >= f->caps.repository && why_lacks_vm(f));
}

/* Each target that launches may go to. */
static bool is_target_full(const struct why_facts *f)
{
    const struct why_places *p = &f->places;
    return is_returned_by(f, ledger_outcome_name(LEDGER_FULL_TARGET)) ||
           (is_waiting(f) && p->full > 0 && p->full == p->count - p->stopped && why_lacks_vm(f));
}

static bool has_no_target(const struct why_facts *f)
{
    return is_waiting(f) && f->class != NULL && f->class->target_count > 0 &&
           f->places.count == 0 && why_lacks_vm(f);
}

static bool has_no_token(const struct why_facts *f)
{
    const struct why_places *p = &f->places;
    bool at_targets = p->without_token > 0 && p->without_token + p->full == p->count - p->stopped;
    return f->class != NULL && (f->used.rate_wait_ms > 0 || at_targets);
}

static bool is_host_full(const struct why_facts *f)
{
    return is_waiting(f) && is_full_host(f) && why_lacks_vm(f);
}

static bool is_at_rate(const struct why_facts *f)
{
    return is_returned_by(f, ledger_outcome_name(LEDGER_RATE)) ||
           (is_waiting(f) && has_no_token(f) && why_lacks_vm(f));
}

/* --- its turn --- */

static bool is_in_lane(const struct why_facts *f)
{
    bool ready = f->in_queue && f->entry.place == QUEUE_READY;
    bool perhaps = f->unsearched && f->in_ledger && !has_no_message(f);
    return is_waiting(f) && (ready || perhaps) && why_lacks_vm(f);
}

static bool is_to_be_relaunched(const struct why_facts *f)
{
    return has_no_message(f);
}

/* --- a VM is on its way --- */

/* Twice the usual time is none. */
static bool is_booting(const struct why_facts *f)
{
    bool own = f->vms.own.state == VM_LAUNCHED && f->vms.own.name[0] != '\0';
    int64_t limit_ms = f->vms.usual_ms > 0 ? 2 * f->vms.usual_ms : WHY_BOOT_MS;
    int64_t age_ms = own ? f->now_ms - f->vms.own.launched_ms : f->vms.newest_ms;
    return (own || f->vms.launched > 0) && age_ms <= limit_ms;
}

static bool is_starting(const struct why_facts *f)
{
    bool own = f->vms.own.name[0] != '\0' && f->vms.own.state < VM_LAUNCHED;
    bool with_worker = f->in_queue && f->entry.place == QUEUE_LEASED;
    return is_waiting(f) && (own || with_worker || f->vms.starting > 0 || is_booting(f));
}

/* The last line of that kind since the job waits; NULL: there is none. */
static const char *said_since_it_waits(const struct why_facts *f, const char *what)
{
    for (size_t i = f->timeline_count; i-- > 0;) {
        const struct ledger_entry *t = &f->timeline[i];
        if (t->at_ms >= f->job.waiting_ms && strcmp(t->what, what) == 0) {
            return t->detail;
        }
    }
    return NULL;
}

const char *why_it_is_given_up(const struct why_facts *f)
{
    return said_since_it_waits(f, LEDGER_GIVEN_UP);
}

static bool is_given_up(const struct why_facts *f)
{
    return is_waiting(f) && why_it_is_given_up(f) != NULL;
}

/* What the reaper heard from GitHub about the group of the job's runners, or found out itself. */
const char *why_refusal_of_group(const struct why_facts *f)
{
    return said_since_it_waits(f, LEDGER_NOT_ADMITTED);
}

static bool is_not_taken(const struct why_facts *f)
{
    return is_waiting(f) && (f->vms.idle > 0 || why_refusal_of_group(f) != NULL);
}

static bool is_always(const struct why_facts *f)
{
    (void)f;
    return true;
}

static const struct why_reason reasons[] = {
    {"finished", WHY_RUNS_OR_ENDED, has_ended, why_say_ended},
    {"running", WHY_RUNS_OR_ENDED, runs, why_say_runs},
    {"given_up", WHY_NEEDS_A_PERSON, is_given_up, why_say_given_up},
    {"dead_lettered", WHY_NEEDS_A_PERSON, is_dead, why_say_dead},
    {"held_back", WHY_WAITS, is_held_back, why_say_held_back},
    {"scale_set", WHY_WAITS, is_of_scale_set, why_say_scale_set},
    {"labels_not_matched", WHY_NEEDS_A_PERSON, has_no_class, why_say_no_class},
    {"repository_not_allowed", WHY_NEEDS_A_PERSON, is_of_other_repository,
     why_say_other_repository},
    {"public_repository", WHY_NEEDS_A_PERSON, is_refused_as_public, why_say_refused_as_public},
    {"delivery_missing", WHY_WAITS, is_not_received, why_say_not_received},
    {"unknown_job", WHY_UNKNOWN, is_unknown, why_say_unknown},
    {"class_not_configured", WHY_NEEDS_A_PERSON, has_unknown_class, why_say_unknown_class},
    {"class_paused", WHY_NEEDS_A_PERSON, is_paused, why_say_paused},
    {"class_retired", WHY_NEEDS_A_PERSON, is_retired, why_say_retired},
    {"targets_drained", WHY_NEEDS_A_PERSON, has_no_target, why_say_no_target},
    {"backoff", WHY_WAITS, is_backing_off, why_say_backing_off},
    {"newer_version", WHY_NEEDS_A_PERSON, is_of_newer_version, why_say_newer_version},
    {"no_live_worker", WHY_NEEDS_A_PERSON, has_no_worker, why_say_no_worker},
    {"hosts_drained", WHY_NEEDS_A_PERSON, is_drained, why_say_drained},
    {"circuit_open", WHY_WAITS, is_stopped, why_say_stopped},
    {"fleet_cap", WHY_WAITS, is_fleet_full, why_say_fleet_full},
    {"class_cap", WHY_WAITS, is_class_full, why_say_class_full},
    {"repository_cap", WHY_WAITS, is_repository_full, why_say_repository_full},
    {"target_cap", WHY_WAITS, is_target_full, why_say_target_full},
    {"host_full", WHY_WAITS, is_host_full, why_say_host_full},
    {"rate", WHY_WAITS, is_at_rate, why_say_rate},
    {"returned", WHY_WAITS, is_delayed, why_say_delayed},
    {"in_lane", WHY_WAITS, is_in_lane, why_say_in_lane},
    {"to_be_relaunched", WHY_WAITS, is_to_be_relaunched, why_say_to_be_relaunched},
    {"vm_starting", WHY_WAITS, is_starting, why_say_starting},
    {"idle_vms_refused", WHY_NEEDS_A_PERSON, is_not_taken, why_say_not_taken},
    {"github", WHY_WAITS, is_always, why_say_github},
};

const struct why_reason *why_reason_at(size_t i)
{
    return i < COUNT_OF(reasons) ? &reasons[i] : NULL;
}

const struct why_reason *why_find_reason(const struct why_facts *f)
{
    size_t i = 0;
    while (!reasons[i].holds(f)) {
        i++;
    }
    return &reasons[i];
}
