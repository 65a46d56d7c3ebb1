/* The sentences of the reasons: what was found, whose trouble it is, and what to do next. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/job/lane.h"
#include "common/ledger/kinds.h"
#include "deploy/ctl/why_reasons.h"

void why_say_ended(const struct why_facts *f, struct buf *out)
{
    const struct ledger_job *j = &f->job;
    char waited[24];
    char ran[24];
    if (!f->in_ledger || j->state == JOB_WAITING) {
        buf_printf(out, "GitHub reports that it has ended (%s), on runner %s; %s",
                   f->github.job.conclusion, f->github.job.runner_name,
                   f->in_ledger ? "its event has not arrived, and the reaper will find that out"
                                : "nothing is known of it here any more");
        return;
    }
    buf_printf(out, "it has ended (%s)",
               j->facts.conclusion[0] != '\0' ? j->facts.conclusion
                                              : ledger_job_state_name(j->state));
    if (j->waiting_ms > 0) {
        buf_printf(out, ": it waited %s", ctl_duration(why_waited_ms(j, f->now_ms), waited));
    }
    if (j->running_ms > 0 && j->ended_ms >= j->running_ms) {
        buf_printf(out, " and ran %s on %s", ctl_duration(j->ended_ms - j->running_ms, ran),
                   j->facts.runner_name);
    } else if (j->facts.runner_name[0] != '\0') {
        buf_printf(out, " and ran, in all, on %s: the event of its start was lost or is late",
                   j->facts.runner_name);
    } else {
        buf_append_cstr(out, ", and never ran");
    }
}

static bool is_gone(const struct why_facts *f, const char *vm)
{
    for (size_t i = 0; i < f->timeline_count; i++) {
        const struct ledger_entry *t = &f->timeline[i];
        if (strcmp(t->what, ledger_vm_state_name(VM_GONE)) == 0 && strcmp(t->vm, vm) == 0) {
            return true;
        }
    }
    return false;
}

void why_say_runs(const struct why_facts *f, struct buf *out)
{
    char text[24];
    if (f->in_ledger && f->job.state == JOB_RUNNING && is_gone(f, f->job.facts.runner_name)) {
        buf_printf(
            out,
            "GitHub has not reported its end, but its VM %s is gone: GitHub ends a job whose "
            "runner is lost by itself, within about ten minutes; else cancel the run there",
            f->job.facts.runner_name);
    } else if (f->in_ledger && f->job.state == JOB_RUNNING) {
        buf_printf(out, "it has run for %s on %s",
                   ctl_duration(f->now_ms - f->job.running_ms, text), f->job.facts.runner_name);
    } else {
        buf_printf(out, "GitHub reports that it runs on %s; %s", f->github.job.runner_name,
                   f->in_ledger ? "its event has not arrived, and the reaper will find that out"
                                : "that is no runner of this deployment, or its event is lost");
    }
}

void why_say_dead(const struct why_facts *f, struct buf *out)
{
    const struct queue_entry *q = &f->entry;
    char since[24];
    buf_printf(out,
               "its launch request was given up %s ago after %lld attempts, and nothing launches "
               "it until a person acts. The reason: %s. Fix that, then: %s dlq redrive %s",
               ctl_duration(f->now_ms - q->dead_lettered_ms, since), (long long)q->message.attempts,
               q->reason, f->ctl, q->message.id);
}

void why_say_given_up(const struct why_facts *f, struct buf *out)
{
    buf_printf(
        out,
        "it is given up (reaper.give_up): %s. A check run on its commit says so, and its run "
        "is cancelled once none of its other jobs runs or can still run. Fix the cause, then "
        "run it again at GitHub",
        why_it_is_given_up(f));
}

void why_say_held_back(const struct why_facts *f, struct buf *out)
{
    (void)f;
    buf_append_cstr(out, "GitHub holds it back: by an environment's protection rule or a "
                         "concurrency group. Approve the deployment there, or let the other run "
                         "end; GitHub queues it then, and it begins to wait here");
}

void why_say_scale_set(const struct why_facts *f, struct buf *out)
{
    const struct config_source *source = why_source_of(f);
    buf_printf(out,
               "it is of the scale set %s, whose jobs GitHub assigns while class %s has fewer than "
               "max_vms; it waits there, and is known here once it runs, by a number of its own: "
               "%s jobs --run %lld. %s status reports a set that cannot be asked for jobs",
               source->scale_set, source->class_name, f->ctl, (long long)f->github.job.run_id,
               f->ctl);
}

void why_say_no_class(const struct why_facts *f, struct buf *out)
{
    struct config_nearest nearest;
    const char *labels = why_labels_of(f);
    config_nearest_class(f->config, labels, &nearest);
    buf_printf(out, "it is not ours: no class accepts its labels (%s): ",
               labels[0] != '\0' ? labels : "none");
    config_nearest_describe(&nearest, out);
    buf_append_cstr(out, ". Correct runs-on in the workflow, or the class's labels in the "
                         "configuration, and run the workflow again");
}

void why_say_other_repository(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "it is not ours: github.repositories does not admit %s. Add it there, send the "
               "ingress SIGHUP (the reaper with github.pull), and run the workflow again",
               f->github.repository);
}

void why_say_refused_as_public(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "it is not ours: %s is public, and github.public_repositories is `refuse`. Read "
               "deploy/docs/public-repositories.md before you allow it",
               f->github.repository);
}

void why_say_not_received(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "GitHub has it (%s), and class %s accepts it, but its delivery did not arrive here. "
               "The reaper finds lost deliveries within minutes; else: %s recover --since 2h. Why "
               "it was lost: the webhook's page at GitHub, Recent deliveries",
               f->github.job.status, config_route_joined(f->config, why_labels_of(f))->name,
               f->ctl);
}

void why_say_unknown(const struct why_facts *f, struct buf *out)
{
    buf_printf(out, "job %lld is not known here", (long long)f->id);
    if (f->unsearched) {
        buf_append_cstr(out, " yet (this queue cannot be searched for its delivery)");
    }
    if (f->github.answer == WHY_NOT_FOUND) {
        buf_append_cstr(out, ", and GitHub knows no such job in the repositories that this "
                             "deployment may read: check the number");
    } else {
        buf_printf(out,
                   ", and GitHub could not be asked: %s. Did its delivery arrive (the webhook's "
                   "page at GitHub), and do its labels and its repository match a class?",
                   f->github.trouble);
    }
}

void why_say_unknown_class(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "its class %s is not in this configuration: the job runs when the class is "
               "configured again. Else: %s class retire %s routes it by its labels to another, or "
               "cancel it at GitHub",
               f->class_name, f->ctl, f->class_name);
}

void why_say_paused(const struct why_facts *f, struct buf *out)
{
    char since[24];
    char at[32];
    clock_format_utc(f->pause.since_ms, at, sizeof at);
    buf_printf(out, "class %s has been paused for %s (since %s, by %s%s%s): %s resume %s",
               f->class_name, ctl_duration(f->now_ms - f->pause.since_ms, since), at,
               f->pause.by[0] != '\0' ? f->pause.by : "an operator",
               f->pause.reason[0] != '\0' ? ": " : "", f->pause.reason, f->ctl, f->class_name);
}

void why_say_retired(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "class %s is retired (max_vms: 0), and nothing is launched for it: %s class retire "
               "%s routes its jobs by their labels to other classes",
               f->class_name, f->ctl, f->class_name);
}

void why_say_no_target(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "each target of class %s has weight 0, and nothing is launched for it: give one a "
               "weight again and send the workers and the reapers SIGHUP (%s targets shows them)",
               f->class_name, f->ctl);
}

static void say_jobless(const struct why_facts *f, struct buf *out)
{
    if (f->jobless >= LEDGER_JOBLESS_MANY) {
        buf_printf(out, ". The last %lld VMs of class %s ended without ever having had a job: %s",
                   (long long)f->jobless, f->class_name, LEDGER_JOBLESS_ACTION);
    }
}

void why_say_backing_off(const struct why_facts *f, struct buf *out)
{
    char when[24];
    char at[32];
    int64_t until_ms = why_attempt_failed(f) ? f->entry.due_ms : why_relaunch_at_ms(f);
    clock_format_utc(until_ms, at, sizeof at);
    ctl_duration(until_ms - f->now_ms, when);
    if (why_attempt_failed(f)) {
        buf_printf(out, "its launch failed, and is tried again in %s (at %s): %s", when, at,
                   f->entry.reason);
        return;
    }
    buf_printf(out,
               "%lld VMs were launched for it and it got none of them (others took them, or they "
               "ended): the reaper launches another in %s (at %s)",
               (long long)f->job.relaunches, when, at);
    say_jobless(f, out);
}

void why_say_newer_version(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "a newer version of Mayfly wrote its message, and the worker that received it "
               "returned it (newer_version: %s). Upgrade that worker (%s workers shows versions); "
               "until then set ingress.record_format to the format that it reads",
               f->entry.reason, f->ctl);
}

void why_say_no_worker(const struct why_facts *f, struct buf *out)
{
    if (f->workers.of_any_class == 0) {
        buf_append_cstr(out, "no worker is alive: none has a heartbeat in the ledger");
    } else {
        buf_printf(out,
                   "no worker that is alive launches class %s (%zu launch other classes): their "
                   "configuration lacks it",
                   f->class_name, f->workers.of_any_class);
    }
    buf_printf(out,
               ". Start mayfly-worker with this configuration, or find out why it stopped: %s "
               "workers, and the log's last line",
               f->ctl);
}

void why_say_drained(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "all %zu hosts that launch class %s are drained by an operator: %s host undrain "
               "HOST (%s hosts shows them)",
               f->workers.drained, f->class_name, f->ctl, f->ctl);
}

static void say_circuit(const struct why_facts *f, const char *what, struct buf *out)
{
    const struct circuit *o = &f->circuit.circuit;
    int64_t wait_ms = circuit_wait_ms(o, f->now_ms);
    char since[24];
    char next[24];
    char at[32];
    clock_format_utc(o->since_ms, at, sizeof at);
    buf_printf(out, "%s, since %s (%s). It said: %s. ", what, at,
               ctl_duration(f->now_ms - o->since_ms, since), o->why);
    if (wait_ms > 0) {
        buf_printf(out, "The next probe is in %s", ctl_duration(wait_ms, next));
    } else {
        buf_append_cstr(out,
                        o->probe[0] != '\0' ? "A probe is under way" : "The next probe is due");
    }
}

void why_say_stopped(const struct why_facts *f, struct buf *out)
{
    char what[LEDGER_CELL_NAME + 100];
    bool all_targets = f->places.count > 1 && f->places.stopped == f->places.count;
    (void)snprintf(what, sizeof what, "%sthe circuit of %s is open",
                   all_targets ? "all its targets are stopped; of the first to be probed, " : "",
                   f->circuit.subject);
    say_circuit(f, what, out);
    buf_append_cstr(out, "; the job waits and spends nothing. Fix the cause that it names: the "
                         "circuit closes by itself then");
}

/* Where the store knows. */
static void say_place(const struct why_facts *f, struct buf *out)
{
    if (f->in_queue && f->entry.place == QUEUE_READY && f->entry.ahead >= 0) {
        buf_printf(out, "; %lld requests are before it in its lane", (long long)f->entry.ahead);
    } else if (f->lane.ready > 0) {
        buf_printf(out, "; %lld requests are in its lane", (long long)f->lane.ready);
    }
}

void why_say_fleet_full(const struct why_facts *f, struct buf *out)
{
    buf_printf(out, "the fleet is full: %lld of %lld VMs (limits.max_vms)",
               (long long)f->used.fleet_used, (long long)f->caps.fleet);
    say_place(f, out);
    buf_printf(out, ". It goes on when a VM ends; raise the cap, or see what holds it: %s vms",
               f->ctl);
}

void why_say_class_full(const struct why_facts *f, struct buf *out)
{
    buf_printf(out, "class %s is full: %lld of %lld VMs (classes.max_vms)", f->class_name,
               (long long)f->used.class_used, (long long)f->caps.class_max);
    say_place(f, out);
    buf_printf(out,
               ". It goes on when one of them ends; raise the cap, or see what holds it: %s "
               "vms",
               f->ctl);
}

void why_say_repository_full(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "repository %s has its share: %lld of %lld VMs (limits.max_vms_per_repository). It "
               "goes on when one of its own jobs ends",
               f->job.facts.repository, (long long)f->vms.of_repository,
               (long long)f->caps.repository);
}

/* Those that a circuit stops cannot help out. */
static void say_stopped_targets(const struct why_facts *f, struct buf *out)
{
    if (f->places.stopped > 0) {
        buf_printf(out, "; %zu more are stopped by a circuit", f->places.stopped);
    }
}

void why_say_target_full(const struct why_facts *f, struct buf *out)
{
    const struct why_places *p = &f->places;
    if (p->full > 0) {
        buf_printf(out,
                   "each target of class %s that may launch is full: %lld of %lld VMs at %zu "
                   "(targets[].max_vms)",
                   f->class_name, (long long)p->used, (long long)p->most, p->full);
    } else {
        buf_printf(out, "each target of class %s was full when its launch was tried",
                   f->class_name);
    }
    say_stopped_targets(f, out);
    say_place(f, out);
    buf_printf(out,
               ". It goes on when a VM there ends; raise the cap, or see what holds it: %s targets",
               f->ctl);
}

void why_say_host_full(const struct why_facts *f, struct buf *out)
{
    say_circuit(f, "each host that launches its class is full", out);
    buf_append_cstr(out, "; it goes on when a VM of the host ends");
}

void why_say_rate(const struct why_facts *f, struct buf *out)
{
    char when[24];
    const struct why_places *p = &f->places;
    bool at_targets = p->without_token > 0 && f->used.rate_wait_ms == 0;
    buf_printf(out, "launches are at their rate (%s): the next token is there in %s",
               at_targets ? "targets[].launch_rate"
               : f->class != NULL && f->class->target_count > 0
                   ? "classes.launch_rate"
                   : "limits.launch_rate, classes.launch_rate",
               ctl_duration(at_targets ? p->token_in_ms : f->used.rate_wait_ms, when));
    if (at_targets) {
        say_stopped_targets(f, out);
    }
    say_place(f, out);
}

void why_say_delayed(const struct why_facts *f, struct buf *out)
{
    char when[24];
    buf_printf(out, "its launch request comes back in %s; a worker returned it: %s",
               ctl_duration(f->entry.due_ms - f->now_ms, when),
               f->entry.reason[0] != '\0' ? f->entry.reason : "no reason is recorded");
}

void why_say_in_lane(const struct why_facts *f, struct buf *out)
{
    char lane[LAUNCH_LANE_SIZE];
    if (f->in_queue) {
        buf_printf(out, "its message is in lane %s", f->entry.message.lane);
    } else {
        buf_printf(out, "it waits for its turn in lane %s, which this queue cannot be searched for",
                   launch_lane(f->class_name, lane));
    }
    say_place(f, out);
    buf_printf(out,
               ". %zu workers receive from it, and nothing stops them: if this lasts, look at "
               "their logs",
               f->workers.count);
}

void why_say_to_be_relaunched(const struct why_facts *f, struct buf *out)
{
    buf_printf(out,
               "its VM was lost or another job got it (%lld VMs for %lld waiting jobs of class "
               "%s), and the reaper launches another within seconds",
               (long long)f->supply, (long long)f->demand, f->class_name);
    if (f->workers.reapers == 0) {
        buf_printf(out, ", but no reaper is alive: start mayfly-reaper (%s workers)", f->ctl);
    }
}

static void say_usual(const struct why_facts *f, struct buf *out)
{
    char usual[24];
    if (f->vms.usual_ms > 0) {
        buf_printf(out, "; usual from a slot to the job in class %s: %s", f->class_name,
                   ctl_duration(f->vms.usual_ms, usual));
    } else {
        buf_printf(out, "; what is usual is not known, since no VM of class %s is at work",
                   f->class_name);
    }
}

static void say_own(const struct ledger_vm *vm, int64_t now_ms, struct buf *out)
{
    char ago[24];
    if (vm->state == VM_LAUNCHED) {
        buf_printf(out,
                   "its VM %s was launched %s ago, and boots or waits for GitHub to give it "
                   "the job",
                   vm->name, ctl_duration(now_ms - vm->launched_ms, ago));
    } else if (vm->state == VM_REGISTERED) {
        buf_printf(out,
                   "its VM %s starts: its runner was registered %s ago, and the provider runs "
                   "it now",
                   vm->name, ctl_duration(now_ms - vm->registered_ms, ago));
    } else {
        buf_printf(out,
                   "its VM %s starts: it got its slot %s ago, and its runner is being "
                   "registered at GitHub",
                   vm->name, ctl_duration(now_ms - vm->reserved_ms, ago));
    }
}

void why_say_starting(const struct why_facts *f, struct buf *out)
{
    char left[24];
    if (f->vms.own.name[0] != '\0') {
        say_own(&f->vms.own, f->now_ms, out);
    } else if (f->in_queue && f->entry.place == QUEUE_LEASED) {
        buf_printf(out,
                   "a worker has received its launch request and launches its VM (if that worker "
                   "is gone, another takes over within %s)",
                   ctl_duration(f->entry.due_ms - f->now_ms, left));
    } else {
        buf_printf(out,
                   "%lld VMs start or have just started for %lld waiting jobs of class %s, "
                   "and GitHub gives it one of them",
                   (long long)f->supply, (long long)f->demand, f->class_name);
    }
    say_usual(f, out);
}

void why_say_not_taken(const struct why_facts *f, struct buf *out)
{
    char idle[24];
    const char *refusal = why_refusal_of_group(f);
    if (f->vms.idle > 0) {
        buf_printf(out, "%lld VMs of class %s idle (one for %s), and GitHub gives it to none: ",
                   (long long)f->vms.idle, f->class_name, ctl_duration(f->vms.idle_ms, idle));
    }
    if (!f->is_admitted) {
        buf_printf(out,
                   "runner group \"%s\" does not admit %s: admit it (GitHub: organization "
                   "settings, Actions, Runner groups), or map it to another group in "
                   "github.groups",
                   f->group, f->job.facts.repository);
    } else if (refusal != NULL) {
        buf_append_cstr(out, refusal);
    } else {
        buf_printf(out,
                   "check that the class's labels include all of its runs-on labels (%s), and that "
                   "runner group \"%s\" admits %s",
                   f->job.facts.labels, f->group, f->job.facts.repository);
    }
    say_jobless(f, out);
}

void why_say_github(const struct why_facts *f, struct buf *out)
{
    buf_printf(
        out,
        "%lld VMs are there for %lld waiting jobs of class %s, and GitHub gives it the next: "
        "it has not yet",
        (long long)f->supply, (long long)f->demand, f->class_name);
    if (f->github.answer == WHY_FOUND) {
        buf_printf(out, " (it reports the job as %s)", f->github.job.status);
    } else if (f->github.trouble[0] != '\0') {
        buf_printf(out, " (it could not be asked: %s)", f->github.trouble);
    }
    buf_append_cstr(out, ". If this lasts, see githubstatus.com");
    say_jobless(f, out);
}
