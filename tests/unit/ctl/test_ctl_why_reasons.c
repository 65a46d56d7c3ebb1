/*
 * `mayflyctl why`: each reason of the table, made in a ledger and a queue in memory before a scripted
 * GitHub, and which of two that hold is shown.
 */
#include "tests/lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/hosts.h"
#include "common/ledger/kinds.h"
#include "common/ledger/programs.h"
#include "tests/lib/calls.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"
#include "tests/unit/ctl/why_bed.h"

#define MINUTES(n) ((n)*60000LL)

static void in_lane(void)
{
    why_bed_in_lane("small", "small");
}
static void without_message(void)
{
    why_bed_worker("small");
    why_bed_queued(7, "small");
}

/* --- the states --- */
static void ended(void)
{
    struct job_event ev = why_bed_event(7, JOB_ACTION_COMPLETED, "small");
    why_bed_vm(7, "small", VM_BUSY);
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "success");
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "mf-x");
    why_bed_apply(&ev);
}

static void cancelled(void)
{
    why_bed_ended("cancelled", "");
}
static void start_unseen(void)
{
    why_bed_ended("success", "mf-x");
}

static void ended_unseen(void)
{
    struct github_job *job = why_bed_at_github("completed", "self-hosted,small");
    (void)snprintf(job->conclusion, sizeof job->conclusion, "failure");
}

static void running(void)
{
    why_bed_vm(7, "small", VM_BUSY);
}

static void running_elsewhere(void)
{
    struct github_job *job = why_bed_at_github("in_progress", "self-hosted,small");
    (void)snprintf(job->runner_name, sizeof job->runner_name, "GitHub Actions 5");
}

static void dead(void)
{
    in_lane();
    why_bed_dead_letter("launch.small", "attempt 8 of 8 failed at register: refused");
}

static void given_up(void)
{
    struct err e;
    dead();
    MUST(ledger_log_event(why_bed_ctl.ledger, 7, "", "given_up", "attempt 8 of 8 failed", &e));
}

static void held_back(void)
{
    struct job_event ev = why_bed_event(7, JOB_ACTION_WAITING, "small");
    (void)snprintf(ev.status, sizeof ev.status, "waiting");
    why_bed_apply(&ev);
}

static void wrong_label(void)
{
    (void)why_bed_at_github("queued", "self-hosted,small,gpu");
}
static void wrong_label_in_ledger(void)
{
    struct job_event ev = why_bed_event(7, JOB_ACTION_QUEUED, "");
    (void)snprintf(ev.job.labels, sizeof ev.job.labels, "windows");
    why_bed_apply(&ev);
}

static void other_repository(void)
{
    (void)why_bed_at_github("queued", "self-hosted,small");
    free(why_bed_config->github.repositories.items[0]);
    why_bed_config->github.repositories.items[0] = strdup("other/*");
}

static void public_repository(void)
{
    (void)why_bed_at_github("queued", "self-hosted,small");
    scripted_github.job_facts[0].is_public = true;
}

static void delivery_missing(void)
{
    (void)why_bed_at_github("queued", "self-hosted,small");
}
static void of_scale_set(void)
{
    (void)why_bed_at_github("queued", "blue");
}
static void nobody_knows(void)
{
    (void)snprintf(why_bed_given, sizeof why_bed_given, "%s", WHY_BED_URL);
}
static void nobody_can_be_asked(void)
{
    why_bed_config->github.token[0] = '\0';
}

static void class_gone(void)
{
    why_bed_in_lane("gone", "small");
}

static void paused(void)
{
    struct ledger_pause pause;
    struct err e;
    bool began = false;
    in_lane();
    MUST(ledger_pause_begin(why_bed_ctl.ledger, "small", "ann@box", "image is broken", &pause,
                            &began, &e));
}

static void retired(void)
{
    why_bed_in_lane("old", "small,old");
}

static void launch_failed(void)
{
    in_lane();
    why_bed_returned("attempt 1 of 8 failed at register: GitHub says 422", true);
}

static void stolen_often(void)
{
    without_message();
    memory_job(why_bed_url, 7)->relaunches = 4;
    memory_job(why_bed_url, 7)->relaunched_ms = clock_wall_ms();
}

static void newer(void)
{
    in_lane();
    why_bed_returned("launch request: format 9, written by a newer Mayfly; this one reads up to 2",
                     false);
}

static void no_worker(void)
{
    why_bed_queued(7, "small");
    why_bed_put(7, "small");
}

static void worker_of_other_classes(void)
{
    why_bed_in_lane("small", "large");
}

static void drained(void)
{
    struct err e;
    in_lane();
    MUST(ledger_host_seen(why_bed_ctl.ledger, "host-1", "box", &e));
    MUST(ledger_host_drain(why_bed_ctl.ledger, "host-1", true, &e));
}

static void stopped(void)
{
    in_lane();
    why_bed_circuit("installation:acme", "GitHub: suspended");
}

static void class_full(void)
{
    in_lane();
    why_bed_vm(1, "small", VM_BUSY);
    why_bed_vm(2, "small", VM_BUSY);
}

static void repository_full(void)
{
    in_lane();
    why_bed_vm(1, "large", VM_BUSY);
    why_bed_vm(2, "large", VM_BUSY);
}

static void fleet_full(void)
{
    repository_full();
    why_bed_vm(3, "large", VM_BUSY);
}

static void host_full(void)
{
    in_lane();
    why_bed_circuit("host:host-1", "host full: a VM may use 4096 MiB of memory");
}

static void target_full(void)
{
    why_bed_in_lane("far", "far");
    memcpy(why_bed_vm(1, "far", VM_BUSY)->target, "west", sizeof "west");
}

static void targets_drained(void)
{
    why_bed_in_lane("drained", "drained");
}

static void at_rate(void)
{
    struct err e;
    in_lane();
    MUST(ledger_rate_pause(why_bed_ctl.ledger, "launch", clock_wall_ms() + 30000, &e));
}

static void returned_otherwise(void)
{
    in_lane();
    why_bed_returned("register (waits for installation:acme): 502", false);
}

static void message_lost(void)
{
    int64_t version = 0;
    struct ledger_program p = {
        .id = "mayfly-reaper/host-1/2", .version = "1", .interval_ms = 10000};
    struct err e;
    without_message();
    MUST(ledger_program_beat(why_bed_ctl.ledger, &p, &version, &e));
}

static void reserved(void)
{
    without_message();
    why_bed_vm(7, "small", VM_RESERVED)->reserved_ms = clock_wall_ms() - 2500;
}

static void registered(void)
{
    struct ledger_vm *busy;
    without_message();
    busy = why_bed_vm(1, "small", VM_BUSY);
    busy->reserved_ms = busy->busy_ms - 7000;
    why_bed_vm(7, "small", VM_REGISTERED);
}

static void launched(void)
{
    without_message();
    why_bed_vm(7, "small", VM_LAUNCHED);
}

static void received(void)
{
    struct queue_message m;
    in_lane();
    why_bed_receive("launch.small", &m);
    queue_message_fini(&m);
}

/* Its job got another VM, which leaves that one for job 7. */
static void others_vm_starts(void)
{
    struct job_event ev = why_bed_event(1, JOB_ACTION_COMPLETED, "small");
    without_message();
    why_bed_vm(1, "small", VM_REGISTERED);
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "cancelled");
    why_bed_apply(&ev);
}

static struct ledger_vm *vm_without_job(void)
{
    struct job_event ev = why_bed_event(1, JOB_ACTION_COMPLETED, "small");
    without_message();
    struct ledger_vm *vm = why_bed_vm(1, "small", VM_LAUNCHED);
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "cancelled");
    why_bed_apply(&ev);
    (void)scripted_github_add_job(7, "queued");
    return vm;
}

static void idle(void)
{
    vm_without_job()->launched_ms = clock_wall_ms() - MINUTES(10);
}

static void idle_and_not_admitted(void)
{
    idle();
    scripted_github.refusing_group = "Fleet";
}

static void idle_and_jobless(void)
{
    struct err e;
    idle();
    MUST(ledger_counter_set(why_bed_ctl.ledger, LEDGER_COUNTER_JOBLESS "small", 4, &e));
}

static void not_admitted_says_the_reaper(void)
{
    struct err e;
    vm_without_job()->launched_ms = clock_wall_ms() - 61000;
    MUST(ledger_log_event(why_bed_ctl.ledger, 7, "", LEDGER_NOT_ADMITTED,
                          "runner group \"x\" refuses", &e));
}

static void ready(void)
{
    vm_without_job()->launched_ms = clock_wall_ms() - 61000;
}

static void ended_meanwhile(void)
{
    ready();
    (void)snprintf(scripted_github.jobs[0].status, JOB_STATUS_SIZE, "completed");
}

/* --- two at once: the first of the table counts --- */
static void dead_and_no_worker(void)
{
    struct err e;
    dead();
    MUST(ledger_program_leave(why_bed_ctl.ledger, "mayfly-worker/host-1/1", &e));
}

static void paused_and_full(void)
{
    paused();
    why_bed_vm(1, "small", VM_BUSY);
    why_bed_vm(2, "small", VM_BUSY);
}

static void class_gone_and_no_worker(void)
{
    why_bed_queued(7, "gone");
    why_bed_put(7, "gone");
}

static void failed_and_full(void)
{
    launch_failed();
    why_bed_vm(1, "small", VM_BUSY);
    why_bed_vm(2, "small", VM_BUSY);
}

static void no_worker_and_circuit(void)
{
    no_worker();
    why_bed_circuit("installation:acme", "GitHub: suspended");
}

static void circuit_and_fleet(void)
{
    fleet_full();
    why_bed_circuit("installation:acme", "GitHub: suspended");
}

static void fleet_and_class(void)
{
    fleet_full();
    why_bed_vm(4, "small", VM_BUSY);
    why_bed_vm(5, "small", VM_BUSY);
}

static void class_and_repository(void)
{
    class_full();
    why_bed_returned("full_repository", false);
}

static void repository_and_host(void)
{
    repository_full();
    why_bed_circuit("host:host-1", "host full: no memory");
}

static void host_and_rate(void)
{
    at_rate();
    why_bed_circuit("host:host-1", "host full: no memory");
}

static void rate_and_lane(void)
{
    at_rate();
    why_bed_put(8, "small");
}

static void stolen_and_full(void)
{
    stolen_often();
    why_bed_vm(1, "small", VM_BUSY);
    why_bed_vm(2, "small", VM_BUSY);
}

static void label_and_public(void)
{
    wrong_label();
    scripted_github.job_facts[0].is_public = true;
}

/* The VM that fills the class is its own. */
static void own_vm_and_full(void)
{
    in_lane();
    why_bed_vm(1, "small", VM_BUSY);
    why_bed_vm(7, "small", VM_RESERVED);
}

static void starting_and_idle(void)
{
    idle();
    why_bed_vm(8, "small", VM_REGISTERED);
}

static const struct row {
    const char *name;
    void (*make)(void);
    const char *reason;
    const char *says;
    int exit_code;
} rows[] = {
    {"ended", ended, "finished", "it has ended (success): it waited ", 0},
    {"cancelled", cancelled, "finished", "it has ended (cancelled): it waited 5m00s, and never ran",
     0},
    {"start_unseen", start_unseen, "finished",
     "it waited 5m00s and ran, in all, on mf-x: the event of its start was lost or is late", 0},
    {"ended_unseen", ended_unseen, "finished", "GitHub reports that it has ended (failure)", 0},
    {"ended_meanwhile", ended_meanwhile, "finished", "its event has not arrived", 0},
    {"running", running, "running", "it has run for ", 0},
    {"running_elsewhere", running_elsewhere, "running", "it runs on GitHub Actions 5", 0},
    {"given_up", given_up, "given_up", "it is given up (reaper.give_up): attempt 8 of 8", 4},
    {"dead", dead, "dead_lettered",
     "after 8 attempts, and nothing launches it until a person acts. The reason: attempt 8 of 8 "
     "failed at register: refused. Fix that, then: mayflyctl --config /etc/m.yaml dlq redrive ",
     4},
    {"held_back", held_back, "held_back", "GitHub holds it back", 3},
    {"wrong_label", wrong_label, "labels_not_matched",
     "no class accepts its labels (self-hosted,small,gpu): the nearest class, small, does not have "
     "the label \"gpu\"",
     4},
    {"wrong_label_in_ledger", wrong_label_in_ledger, "labels_not_matched",
     "no class accepts its labels (windows)", 4},
    {"other_repository", other_repository, "repository_not_allowed",
     "github.repositories does not admit acme/app", 4},
    {"public_repository", public_repository, "public_repository", "acme/app is public", 4},
    {"delivery_missing", delivery_missing, "delivery_missing",
     "GitHub has it (queued), and class small accepts it, but its delivery did not arrive", 3},
    {"of_scale_set", of_scale_set, "scale_set", "it is of the scale set blue", 3},
    {"nobody_knows", nobody_knows, "unknown_job", "GitHub knows no such job", 5},
    {"nobody_can_be_asked", nobody_can_be_asked, "unknown_job",
     "GitHub could not be asked: this user cannot read the App's key or the token", 5},
    {"class_gone", class_gone, "class_not_configured", "its class gone is not in this config", 4},
    {"paused", paused, "class_paused",
     "by ann@box: image is broken): mayflyctl --config "
     "/etc/m.yaml resume small",
     4},
    {"retired", retired, "class_retired", "class old is retired (max_vms: 0)", 4},
    {"targets_drained", targets_drained, "targets_drained", "class drained has weight 0", 4},
    {"target_full", target_full, "target_cap", "that may launch is full: 1 of 1 VMs at 1", 3},
    {"launch_failed", launch_failed, "backoff",
     "attempt 1 of 8 failed at register: GitHub says 422", 3},
    {"stolen_often", stolen_often, "backoff",
     "4 VMs were launched for it and it got none of them (others took them, or they ended): the "
     "reaper launches another in ",
     3},
    {"newer", newer, "newer_version", "Upgrade that worker", 4},
    {"no_worker", no_worker, "no_live_worker", "no worker is alive", 4},
    {"worker_of_other_classes", worker_of_other_classes, "no_live_worker",
     "no worker that is alive launches class small (1 launch other classes)", 4},
    {"drained", drained, "hosts_drained", "all 1 hosts that launch class small are drained", 4},
    {"stopped", stopped, "circuit_open",
     "(3m00s). It said: GitHub: suspended. The next probe is in 4", 3},
    {"fleet_full", fleet_full, "fleet_cap",
     "the fleet is full: 3 of 3 VMs (limits.max_vms); 0 "
     "requests are before it",
     3},
    {"class_full", class_full, "class_cap", "class small is full: 2 of 2 VMs (classes.max_vms)", 3},
    {"repository_full", repository_full, "repository_cap",
     "repository acme/app has its share: 2 of 2 VMs (limits.max_vms_per_repository)", 3},
    {"host_full", host_full, "host_full", "It said: host full: a VM may use 4096 MiB", 3},
    {"at_rate", at_rate, "rate", "the next token is there in ", 3},
    {"returned_otherwise", returned_otherwise, "returned", "comes back in 1m", 3},
    {"in_lane", in_lane, "in_lane",
     "its message is in lane launch.small; 0 requests are before it in its lane. 1 workers", 3},
    {"message_lost", message_lost, "to_be_relaunched",
     "(0 VMs for 1 waiting jobs of class small), and the reaper launches another within seconds",
     3},
    {"without_message", without_message, "to_be_relaunched", "but no reaper is alive", 3},
    {"reserved", reserved, "vm_starting", "starts: it got its slot 2.", 3},
    {"registered", registered, "vm_starting",
     "and the provider runs it now; usual from a slot to the job in class small: 7.0 s", 3},
    {"launched", launched, "vm_starting", "and boots or waits for GitHub", 3},
    {"received", received, "vm_starting", "a worker has received its launch request", 3},
    {"others_vm_starts", others_vm_starts, "vm_starting",
     "1 VMs start or have just started for 1 waiting jobs", 3},
    {"idle", idle, "idle_vms_refused",
     "1 VMs of class small idle (one for 10m00s), and GitHub gives it to none: check that the "
     "class's labels include all of its runs-on labels (self-hosted,small)",
     4},
    {"idle_and_not_admitted", idle_and_not_admitted, "idle_vms_refused",
     "runner group \"Fleet\" does not admit acme/app: admit it", 4},
    {"idle_and_jobless", idle_and_jobless, "idle_vms_refused",
     "The last 4 VMs of class small ended without ever having had a job", 4},
    {"not_admitted_says_the_reaper", not_admitted_says_the_reaper, "idle_vms_refused",
     "runner group \"x\" refuses", 4},
    {"ready", ready, "github",
     "1 VMs are there for 1 waiting jobs of class small, and GitHub gives it the next: it has not "
     "yet (it reports the job as queued)",
     3},
    {"dead_and_no_worker", dead_and_no_worker, "dead_lettered", "", 4},
    {"label_and_public", label_and_public, "labels_not_matched", "", 4},
    {"class_gone_and_no_worker", class_gone_and_no_worker, "class_not_configured", "", 4},
    {"paused_and_full", paused_and_full, "class_paused", "", 4},
    {"failed_and_full", failed_and_full, "backoff", "", 3},
    {"stolen_and_full", stolen_and_full, "backoff", "", 3},
    {"no_worker_and_circuit", no_worker_and_circuit, "no_live_worker", "", 4},
    {"circuit_and_fleet", circuit_and_fleet, "circuit_open", "", 3},
    {"fleet_and_class", fleet_and_class, "fleet_cap", "", 3},
    {"class_and_repository", class_and_repository, "class_cap", "", 3},
    {"repository_and_host", repository_and_host, "repository_cap", "", 3},
    {"host_and_rate", host_and_rate, "host_full", "", 3},
    {"rate_and_lane", rate_and_lane, "rate", "", 3},
    {"own_vm_and_full", own_vm_and_full, "vm_starting", "", 3},
    {"starting_and_idle", starting_and_idle, "vm_starting", "", 3},
};

static bool is_shown(const struct row *row)
{
    struct err e;
    json_t *answer = NULL;
    MUST(ctl_why(&why_bed_ctl, &answer, &e));
    bool same = strcmp(ctl_str(answer, "reason"), row->reason) == 0 &&
                strstr(ctl_str(answer, "sentence"), row->says) != NULL &&
                why_bed_ctl.exit_code == row->exit_code;
    if (!same) {
        print_error("%s: %s (exit %d): %s\n", row->name, ctl_str(answer, "reason"),
                    why_bed_ctl.exit_code, ctl_str(answer, "sentence"));
    }
    json_decref(answer);
    return same;
}

static void each_state_has_its_reason(void **state)
{
    size_t wrong = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)why_bed_set_up(state);
        rows[i].make();
        wrong += !is_shown(&rows[i]);
        (void)why_bed_tear_down(state);
    }
    assert_int_equal(wrong, 0);
}

static void each_reason_has_a_row(void **state)
{
    (void)state;
    for (size_t r = 0; why_reason_at(r) != NULL; r++) {
        size_t i = 0;
        while (i < COUNT_OF(rows) && strcmp(rows[i].reason, why_reason_at(r)->name) != 0) {
            i++;
        }
        if (i == COUNT_OF(rows)) {
            fail_msg("no row makes %s", why_reason_at(r)->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_reason),
        cmocka_unit_test(each_reason_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
