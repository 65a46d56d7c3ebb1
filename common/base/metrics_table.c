#include <string.h>

#include "common/base/metrics_table.h"

#define COUNTER(name, labels, help)                                                                \
    {                                                                                              \
        name, METRIC_COUNTER, labels, help                                                         \
    }
#define GAUGE(name, labels, help)                                                                  \
    {                                                                                              \
        name, METRIC_GAUGE, labels, help                                                           \
    }
#define HISTOGRAM(name, labels, help)                                                              \
    {                                                                                              \
        name, METRIC_HISTOGRAM, labels, help                                                       \
    }

const struct metric_row metrics_table[] = {
    COUNTER("mayfly_aws_credential_renewals_total", "source outcome",
            "Attempts to obtain AWS credentials, the first one included."),
    GAUGE("mayfly_aws_credentials_expiry_timestamp_seconds", "",
          "When the AWS credentials in use expire, as Unix time; 0: never."),
    COUNTER("mayfly_aws_resends_total", "service reason",
            "Calls that were signed and sent again because of a refusal: an expired key, a wrong "
            "clock."),
    GAUGE("mayfly_build_info", "version commit", "1: which build this process is."),
    HISTOGRAM(
        "mayfly_call_seconds", "service operation outcome",
        "Duration of a call that leaves the program, each counted once: service `github`; the "
        "AWS services by their operations (`sqs`, `dynamodb`, `kms`, …); `ledger` and `queue` "
        "on SQLite, Redis and Kafka; a VM provider of this host by its name. Outcome: `ok`, or "
        "the class of the error: "
        "`retry` (no answer, or trouble that ends), `throttled`, `capacity`, `auth`, "
        "`permanent`, `not_found`, `conflict` (the last two are mostly part of the work). Only "
        "successes have buckets. Beyond 24 kinds of success and 24 of failure a process counts "
        "as service `other`. SQS's `ReceiveMessage` includes its wait for a message."),
    GAUGE("mayfly_circuits_open", "subject",
          "Open circuits, by the kind of subject. Of the lease holder alone (mayfly_fleet_jobs)."),
    COUNTER("mayfly_circuits_opened_total", "subject",
            "Circuits that this process opened, by the kind of subject."),
    COUNTER("mayfly_console_limits_reached_total", "limit",
            "Times that a limit of `mayflyctl console` was reached, by its name in "
            "deploy/docs/console.md, which says what happens then. Of the console's own /metrics."),
    GAUGE("mayfly_console_viewers", "",
          "Pages that follow the fleet at this console, of 32 at most. Of the console's own "
          "/metrics."),
    GAUGE("mayfly_events_buffered", "sink",
          "Records of changes of state that wait to be written (`events`, `traces`)."),
    COUNTER("mayfly_events_dropped_total", "sink reason",
            "Records dropped: `buffer_full` (`events.buffer` or `traces.buffer` waited already), "
            "`delivery_failed` (Kafka did not confirm in 5 minutes; the collector of traces "
            "refused them), `shutdown` (not written when the program ended)."),
    COUNTER("mayfly_emf_dropped_total", "",
            "Times that nobody read standard output for a second, so that documents for CloudWatch "
            "were dropped (`metrics.emf`)."),
    COUNTER(
        "mayfly_events_written_total", "sink",
        "Records written to the file, confirmed by Kafka, or taken by the collector of traces."),
    GAUGE(
        "mayfly_dead_letters", "",
        "Messages in the dead-letter queue. Not 0: each needs a person (`mayflyctl dlq list`). Of "
        "the lease holder alone."),
    GAUGE("mayfly_fleet_demand", "class",
          "Jobs that wait for a runner. Of the lease holder alone."),
    GAUGE(
        "mayfly_fleet_idle_wanted", "class",
        "VMs that the class keeps idle now (`classes[].min_idle`), in all its scopes; those that "
        "are there are in mayfly_fleet_vms, state `launched`. Absent for a class that keeps none. "
        "Of the lease holder alone."),
    GAUGE(
        "mayfly_fleet_jobs", "class state",
        "Jobs in the ledger that have not ended: `seen` (held back by GitHub, or not for a class), "
        "`waiting`, `running`. This and each metric that says so is exported by the reaper that "
        "holds the fleet's lease alone, so that a sum counts it once; it is absent elsewhere. "
        "Jobs and VMs of classes that are not configured have class `unconfigured`."),
    GAUGE(
        "mayfly_fleet_launchable_backlog", "class",
        "Waiting jobs beyond the VMs on their way that no cap, rate, pause or open circuit holds. "
        "Above 0 for longer than a launch takes: workers are missing, stuck or too slow. Of the "
        "lease holder alone."),
    GAUGE(
        "mayfly_fleet_observed_timestamp_seconds", "store",
        "When the lease holder last read the fleet's gauges from the ledger, or from the queue, as "
        "Unix time. Gauges of a store that it cannot read vanish after six intervals (a minute; "
        "with SQS and Kafka six minutes for the queue's). Of the lease holder alone."),
    GAUGE("mayfly_fleet_oldest_launchable_wait_seconds", "class",
          "How long the oldest of them has waited. Of the lease holder alone."),
    GAUGE(
        "mayfly_fleet_oldest_wait_seconds", "class",
        "How long the job that has waited longest has waited, whatever holds it; 0: none waits. Of "
        "the lease holder alone."),
    COUNTER("mayfly_fleet_rate_waits_total", "call",
            "Calls to a VM provider that had to wait for a rate of `limits`."),
    GAUGE("mayfly_fleet_reapers", "", "Reapers with a fresh heartbeat. Of the lease holder alone."),
    GAUGE("mayfly_fleet_slots_max", "class", "The class's `max_vms`. Of the lease holder alone."),
    GAUGE("mayfly_fleet_slots_used", "class",
          "VMs that hold a slot of the class. At `max_vms` of the class, or in sum at "
          "mayfly_fleet_vms_max, jobs wait. Of the lease holder alone."),
    GAUGE("mayfly_fleet_supply", "class",
          "VMs that are on their way or idle. Of the lease holder alone."),
    COUNTER("mayfly_fleet_throttled_total", "call",
            "Calls that a VM provider's service throttled. All processes pause calls of that kind "
            "for as long as it asked."),
    GAUGE("mayfly_fleet_vms", "class state",
          "VMs that hold a slot, by state: `reserved`, `registered`, `launched`, `busy`, `ending`. "
          "Of "
          "the lease holder alone."),
    GAUGE("mayfly_fleet_vms_max", "", "`limits.max_vms`. Of the lease holder alone."),
    GAUGE("mayfly_fleet_workers", "",
          "Workers with a fresh heartbeat. At 0 nothing is launched. Of the lease holder alone."),
    COUNTER("mayfly_github_deferred_total", "purpose",
            "Questions to GitHub that wait because the budget for reconciling is used up "
            "(`github.reconcile_percent`, `github.reserve_percent`): `early_end` of a VM, or "
            "`reconcile`."),
    GAUGE("mayfly_github_rate_limit", "",
          "Calls an hour of GitHub's primary rate limit, as GitHub last reported, for the "
          "installation that has the smallest share of them left."),
    GAUGE(
        "mayfly_github_rate_remaining", "",
        "Calls left of them. True until mayfly_github_rate_reset_timestamp_seconds. At 0 all calls "
        "for the installation wait until then."),
    GAUGE("mayfly_github_rate_reset_timestamp_seconds", "",
          "When the window of that limit ends, as Unix time."),
    COUNTER("mayfly_github_registration_waits_total", "limit",
            "Registrations that waited for GitHub's limit of JIT configurations (`jit`, "
            "`github.jit_rate`) or of registrations (`owner`, `github.registration_rate`)."),
    GAUGE("mayfly_image_base_recalled", "class",
          "1: the image that launches of the class use was built on a version of the provider's "
          "image "
          "that it has recalled since: build it anew. Asked once an hour; absent where it is not "
          "known. "
          "Of the lease holder alone."),
    GAUGE(
        "mayfly_image_canary_failures", "class",
        "VMs of the new version of the class's image that failed; at 3 beyond twice what the good "
        "version's rate lets expect of as many VMs it is rejected. Absent while none is tried. Of "
        "the lease holder alone."),
    GAUGE(
        "mayfly_image_canary_jobs", "class",
        "Jobs that completed on VMs of the new version of the class's image; with 20 all launches "
        "use it. Absent while none is tried. Of the lease holder alone."),
    GAUGE(
        "mayfly_image_rejected", "class",
        "1: the newest version of the class's image was rejected, for its VMs failed, and no other "
        "one has become good since. Of the lease holder alone."),
    HISTOGRAM("mayfly_ingress_accept_seconds", "",
              "From a delivery read to its 202, its commit included."),
    COUNTER("mayfly_ingress_accept_paused_total", "reason",
            "Times that new connections were not accepted for a while: `connections` is the limit "
            "`ingress.max_connections`, `descriptors` the limit of open files."),
    COUNTER("mayfly_ingress_admission_waits_total", "",
            "Deliveries that found `ingress.max_in_flight` others in flight and had to wait."),
    HISTOGRAM("mayfly_ingress_batch_size", "", "Deliveries committed together."),
    HISTOGRAM("mayfly_ingress_commit_seconds", "", "Duration of one commit of a batch."),
    GAUGE("mayfly_ingress_connections", "", "Open connections."),
    COUNTER(
        "mayfly_ingress_connections_closed_total", "reason",
        "Connections that the ingress closed: at a `deadline`, when `idle`; at "
        "`ingress.max_connections` (`evicted_head`, `evicted_body`, `evicted_idle`, "
        "`evicted_idle_proxy`); for `memory` (`ingress.max_unverified_memory`), "
        "`peer_connections` (`ingress.max_peer_connections`), `lingering` behind a last answer, "
        "or in a `drain`."),
    COUNTER("mayfly_ingress_deliveries_total", "status reason",
            "Requests, by the status returned and its reason."),
    COUNTER(
        "mayfly_ingress_dedupe_forgotten_total", "",
        "Deliveries that were forgotten for newer ones, as `ingress.dedupe_cache_size` is reached. "
        "A repeat of one is queued again, and changes nothing."),
    COUNTER("mayfly_ingress_enqueue_errors_total", "",
            "Batches that the queue refused or failed to store."),
    GAUGE("mayfly_ingress_hook_ranges_timestamp_seconds", "",
          "When GitHub's ranges for `ingress.allow_from: [github-hooks]` were last read, as Unix "
          "time; 0: never."),
    GAUGE("mayfly_ingress_in_flight", "", "Deliveries read and not yet answered."),
    GAUGE("mayfly_ingress_peers", "",
          "Peers with a connection, or as a trusted proxy's client with a request: IPv4 addresses "
          "and /64s of IPv6 addresses."),
    GAUGE("mayfly_ingress_spool_active", "", "1 while deliveries go to the local spool."),
    GAUGE("mayfly_ingress_spool_messages", "", "Messages in the local spool."),
    GAUGE("mayfly_ingress_spool_oldest_age_seconds", "", "Age of the oldest message in the spool."),
    COUNTER("mayfly_ingress_spool_refused_total", "",
            "Messages that a full spool refused. GitHub got a 503; the reaper requests their "
            "redelivery."),
    COUNTER("mayfly_ingress_spooled_total", "", "Messages stored in the local spool."),
    GAUGE("mayfly_ingress_unverified_bytes", "",
          "Bytes of bodies whose signature is not verified yet. At `ingress.max_unverified_memory` "
          "deliveries are answered 503."),
    COUNTER("mayfly_jobs_unrouted_total", "reason",
            "Jobs that wait for a runner and whose labels match no class: `no_labels`, "
            "`no_common_label` (with any class, but for those that GitHub gives each runner, as "
            "`self-hosted`: probably for other runners), "
            "`label_unknown` (the nearest class does not have one of the job's labels), "
            "`label_not_carried` (it requires one that the job lacks), `class_retired`, "
            "`labels_in_one` (`runs-on` was a text with commas instead of a list)."),
    COUNTER(
        "mayfly_log_lines_dropped_total", "",
        "Log lines lost, because the reader of standard error was too slow for the ring of 1 MiB "
        "or writing failed."),
    GAUGE("mayfly_queue_depth", "lane",
          "Messages that wait in the lane, those returned with a delay included; estimates on SQS "
          "and "
          "Kafka. Of the lease holder alone."),
    GAUGE(
        "mayfly_queue_oldest_age_seconds", "lane",
        "Age of the oldest message that is ready in the lane; 0: none. Of the lease holder alone."),
    HISTOGRAM(
        "mayfly_job_duration_seconds", "class",
        "From a job's begin to its end, as GitHub's deliveries were received. With the four "
        "below, each job is observed once, by the worker that applied the delivery; jobs that "
        "only the jobs API reported are not."),
    HISTOGRAM("mayfly_job_launched_to_online_seconds", "class",
              "From a VM being launched until GitHub reported its job `in_progress`: boot, "
              "registration and assignment. Only of VMs launched after their job was received; one "
              "that waited for a job says nothing."),
    HISTOGRAM(
        "mayfly_job_queued_to_running_seconds", "class",
        "From the receipt of a job's `queued` delivery to that of its `in_progress`: what its "
        "author waits, all waits included."),
    HISTOGRAM(
        "mayfly_job_received_to_launched_seconds", "class",
        "From the receipt of a job's `queued` delivery, however often it was relaunched, to the "
        "provider having accepted the VM that ran it; 0 if that VM was there before. Observed "
        "when the job runs."),
    COUNTER("mayfly_queue_put_total", "lane", "Messages put on the queue."),
    COUNTER("mayfly_queue_received_total", "lane", "Messages received."),
    COUNTER("mayfly_queue_acked_total", "lane", "Messages acknowledged and deleted."),
    COUNTER("mayfly_queue_nacked_total", "lane", "Messages returned to their lane."),
    COUNTER("mayfly_queue_dead_lettered_total", "lane",
            "Messages moved to the dead-letter queue. Each needs a person: `mayflyctl dlq list`."),
    COUNTER("mayfly_queue_lease_lost_total", "lane",
            "Messages whose visibility timeout expired while they were being processed."),
    GAUGE(
        "mayfly_quota_use_ratio", "quota",
        "Use of a limit, 0 to 1: `vms` (of `limits.max_vms`, which is the account's quota where it "
        "is `auto`), `github_calls` (of the installation with the smallest share left). Of the "
        "lease holder alone."),
    GAUGE("mayfly_reaper_active_repositories", "",
          "Repositories with a job in the last seven days, whose job lists are read every "
          "`reaper.job_scan_interval`."),
    COUNTER("mayfly_reaper_cost_vms_other_total", "",
            "VMs that were added to the daily totals as repository `other`, because their day had "
            "10,000 "
            "totals already."),
    COUNTER("mayfly_reaper_cost_vms_total", "",
            "VMs that were added to the daily totals (`mayflyctl cost`)."),
    COUNTER("mayfly_reaper_idle_vms_ended_total", "class reason",
            "Idle VMs that the reaper terminated: `replaced` (after `min_idle.replace_after`), "
            "`slot` (a job waited for the slot), or `unwanted` (none is kept any more)."),
    GAUGE("mayfly_reaper_job_scan_age_seconds", "",
          "How long ago the job lists of all active repositories of an installation had been read, "
          "for the installation where that is longest. Above ten minutes, "
          "`github.reconcile_percent` of "
          "its calls do not last."),
    GAUGE("mayfly_reaper_last_sweep_timestamp_seconds", "",
          "When this reaper last finished a sweep, as Unix time. The newest of all reapers is at "
          "most a few intervals old."),
    GAUGE("mayfly_reaper_leader", "", "1 while this reaper holds the lease that lets it sweep."),
    COUNTER("mayfly_reaper_vm_list_pages_total", "",
            "Requests that list VMs, one for each page; most of what they return has ended."),
    COUNTER("mayfly_reaper_leases_lost_total", "",
            "Sweeps, and turns of pulling, that ended early because another reaper had taken the "
            "lease."),
    COUNTER("mayfly_reaper_observations_dropped_total", "",
            "First signs that a VM is gone that were not remembered because the table was full; "
            "what they are about is acted on later."),
    HISTOGRAM(
        "mayfly_reaper_pull_delay_seconds", "",
        "With `github.pull`: from when GitHub recorded a delivery to when it was on the queue."),
    GAUGE(
        "mayfly_reaper_pull_last_read_timestamp_seconds", "",
        "With `github.pull`: when this reaper last read GitHub's delivery log completely, as Unix "
        "time; 0: not since it started. The newest of all reapers counts."),
    GAUGE("mayfly_reaper_pull_oldest_age_seconds", "",
          "How old the oldest delivery is that was seen in GitHub's delivery log and is not on the "
          "queue; 0: none is. It grows while GitHub, its hourly limit or the queue holds pulling "
          "up."),
    GAUGE("mayfly_reaper_pull_waiting", "",
          "Deliveries that were seen in GitHub's delivery log and are not on the queue, of at most "
          "10,000; the rest is read later."),
    COUNTER(
        "mayfly_reaper_pulled_total", "result",
        "Deliveries that were pulled from GitHub's delivery log: `queued`; `ignored` and `refused` "
        "as the ingress would; `stale`, whose job is known or no longer waits; `lost`, which "
        "GitHub "
        "did not return or which made no sense."),
    GAUGE("mayfly_reaper_recovery", "",
          "1 while this reaper reads from GitHub what a lost ledger does not know."),
    COUNTER("mayfly_reaper_repairs_total", "task",
            "What sweeps terminated, deleted, corrected or relaunched, by task."),
    GAUGE("mayfly_reaper_scale_set_assigned_jobs", "scope set",
          "Jobs that GitHub has assigned to the scale set and that have not ended, running ones "
          "included. Of the reaper that holds the set's session."),
    COUNTER("mayfly_reaper_scale_set_errors_total", "scope set",
            "Turns of the scale set that failed: a call to GitHub, or to a store."),
    COUNTER("mayfly_reaper_scale_set_messages_total", "scope set",
            "Messages of the scale set that were handled."),
    COUNTER("mayfly_reaper_scale_set_requests_total", "scope set",
            "Launch requests that were put for the scale set."),
    GAUGE("mayfly_reaper_scale_set_running_jobs", "scope set",
          "Of the assigned jobs, those that run."),
    GAUGE(
        "mayfly_reaper_scale_set_session", "scope set",
        "1 while this reaper has the scale set's session at GitHub. The sum over all reapers is 0 "
        "while nobody asks for its jobs."),
    COUNTER("mayfly_reaper_task_errors_total", "task", "Tasks of a sweep that failed."),
    GAUGE("mayfly_reaper_terminations_held", "target",
          "VMs that have no row or are not listed, and are not terminated because they are an "
          "unusual "
          "share of the target's. Not 0: see `terminations_held` in the log."),
    COUNTER(
        "mayfly_reaper_vm_ends_total", "reason",
        "VMs that were found ended before GitHub had reported their job completed, by the "
        "agent's reason (deploy/image/README.md); `other` where the provider does not know it."),
    COUNTER("mayfly_reaper_vms_without_job_total", "class",
            "VMs that idled and ended without ever having had a job. See `class_gets_no_jobs` in "
            "the log."),
    GAUGE(
        "mayfly_runner_image_age_seconds", "class",
        "How long ago the image was built that launches of the class use (`class` of this and of "
        "the "
        "other metrics of images: CLASS@TARGET, where it has targets); asked once an hour. "
        "Runners "
        "are too old for GitHub some months after their release: build a new image in time. Absent "
        "where it is not known: the lease holder is on a host without the image, or may not read "
        "the service's image versions. Of the lease holder alone."),
    COUNTER("mayfly_sqlite_commits_total", "store", "Transactions committed to an SQLite file."),
    COUNTER("mayfly_sqlite_write_ops_total", "store",
            "Operations written to an SQLite file; one transaction commits several."),
    GAUGE("mayfly_target_stopped", "target",
          "1: no class gets a VM at the target, since its circuit is open, or that of each class "
          "there. Of the lease holder alone."),
    GAUGE(
        "mayfly_target_vms", "target",
        "VMs that hold a slot of the target, of all classes (deploy/docs/targets.md). Absent where "
        "no class has targets. Of the lease holder alone."),
    GAUGE("mayfly_target_vms_max", "target",
          "The target's `max_vms`, or `limits.max_vms`. Of the lease holder alone."),
    GAUGE("mayfly_vm_capacity_limit_bytes", "class resource",
          "How much memory or disk the VMs of this host may use together, as launches of the class "
          "see it. Above it the host is full, and they wait."),
    GAUGE("mayfly_vm_capacity_reserved_bytes", "class resource",
          "How much the live VMs of this host may use at most, of all classes with the same "
          "directory."),
    GAUGE("mayfly_vm_capacity_used_bytes", "class resource",
          "How much of that the live VMs of this host use now."),
    COUNTER(
        "mayfly_vm_consoles_kept_total", "outcome",
        "VMs that failed or vanished, by what became of the end of their console: `kept` in their "
        "timelines, `none` (there is none, or it cannot be read: the timeline says why), `skipped` "
        "(this process kept 30 in that minute)."),
    COUNTER(
        "mayfly_vm_events_total", "kind",
        "What happened to VMs on this host: `io_error` (their disk failed a request, mostly "
        "because the host's is full), `paused`, `resumed`, `process_limit` (their control group "
        "refused a process; counted when a VM has ended), `shell_opened`, `shell_closed` (by "
        "people)."),
    COUNTER("mayfly_vm_network_refused_total", "kind",
            "Packets and connections of VMs on this host that their network refused, by kind of "
            "destination."),
    COUNTER(
        "mayfly_vm_output_dropped_bytes_total", "output",
        "What VMs on this host wrote and Mayfly did not keep: `console` (older output, for newer), "
        "`status` (above 64 KiB; an agent writes less than one)."),
    GAUGE("mayfly_vm_processes", "class",
          "Processes and threads of the emulators and supervisors of this host's live VMs, of all "
          "classes with the same directory."),
    COUNTER("mayfly_vm_snapshots_refused_total", "",
            "Snapshots whose files are not what was saved; each is made anew."),
    COUNTER("mayfly_vm_starts_total", "mode",
            "VMs started on this host: `boot`, or `restore` from a snapshot."),
    HISTOGRAM("mayfly_vm_life_seconds", "class",
              "From a VM being launched to its end. Observed by the worker or reaper that recorded "
              "the end."),
    GAUGE("mayfly_worker_class_full", "class",
          "1 while a cap keeps this worker from receiving jobs of the class."),
    GAUGE("mayfly_worker_class_paused", "class",
          "1 while an operator has paused the class (`mayflyctl pause`)."),
    COUNTER("mayfly_worker_events_total", "action",
            "Job events that changed a job or a VM in the ledger, by GitHub's action."),
    GAUGE("mayfly_worker_launch_threads", "", "`worker.launch_threads`."),
    GAUGE("mayfly_worker_launches_in_progress", "",
          "Launch requests that this worker works on. At mayfly_worker_launch_threads further ones "
          "wait for a thread, or for another worker."),
    COUNTER("mayfly_worker_launches_total", "class outcome", "Launch requests, by outcome."),
    COUNTER("mayfly_worker_newer_version_total", "",
            "Messages returned because a newer version of Mayfly wrote them."),
    COUNTER("mayfly_worker_vm_terminate_errors_total", "",
            "Attempts to terminate a VM that failed; they are repeated."),
    COUNTER("mayfly_worker_vms_held_total", "",
            "VMs that stayed when their job had failed (`classes[].hold_on_failure`)."),
    COUNTER("mayfly_worker_vms_terminated_total", "", "VMs terminated after their job."),
    COUNTER("process_cpu_seconds_total", "", "Processor time of this process, user and system."),
    GAUGE("process_max_fds", "", "Most files that this process may have open."),
    GAUGE("process_open_fds", "", "Open files."),
    GAUGE("process_resident_memory_bytes", "", "Memory in use."),
    GAUGE("process_start_time_seconds", "", "When this process began, as Unix time."),
    GAUGE("process_virtual_memory_bytes", "", "Address space in use."),
};
const size_t metrics_table_count = COUNT_OF(metrics_table);

const char *metric_type_name(enum metric_type type)
{
    static const char *const names[] = {"counter", "gauge", "histogram"};
    return names[type];
}

const struct metric_row *metrics_table_find(const char *name)
{
    for (size_t i = 0; i < metrics_table_count; i++) {
        if (strcmp(metrics_table[i].name, name) == 0) {
            return &metrics_table[i];
        }
    }
    return NULL;
}

/* The position after the closing quote of the label's value that starts at `at`; NULL if it has
 * none. */
static const char *skip_value(const char *at)
{
    for (; *at != '\0'; at++) {
        if (*at == '"') {
            return at + 1;
        }
        if (*at == '\\' && at[1] != '\0') {
            at++;
        }
    }
    return NULL;
}

bool metric_row_has_labels(const struct metric_row *row, const char *labels)
{
    struct slice names = slice_of(row->labels);
    struct slice name;
    for (bool first = true; names.len > 0; first = false) {
        (void)slice_cut(names, ' ', &name, &names);
        if (!first && *labels++ != ',') {
            return false;
        }
        if (strncmp(labels, name.ptr, name.len) != 0 || strncmp(labels + name.len, "=\"", 2) != 0) {
            return false;
        }
        labels = skip_value(labels + name.len + 2);
        if (labels == NULL) {
            return false;
        }
    }
    return *labels == '\0';
}

void metrics_reference(struct buf *out)
{
    buf_append_cstr(out,
                    "# Metrics\n\nGenerated from `common/base/metrics_table.c` by the build target "
                    "`reference-pages`; a test fails when it is stale.\n\nEach program serves its "
                    "own at `/metrics` of its admin port, `mayflyctl console` at `/metrics` "
                    "of its page, in the Prometheus text format.\n\n"
                    "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < metrics_table_count; i++) {
        const struct metric_row *row = &metrics_table[i];
        buf_printf(out, "| `%s` | %s | %s | %s |\n", row->name, metric_type_name(row->type),
                   row->labels, row->help);
    }
}
