#include "common/program/log_events.h"

#include "common/base/attr.h"

const struct log_event log_events[] = {
    {"accept_paused", "ingress", "warn", "reason, connections, error, action, hint",
     "The ingress stopped accepting connections for a moment, because `ingress.max_connections` is "
     "reached (reason `connections`) or because the process is out of file descriptors (reason "
     "`descriptors`). A connection that has been slow or idle for longest gives way for each new "
     "one; "
     "where none can, new ones wait in the kernel. Established connections are served.",
     "If it repeats, raise `ingress.max_connections` or the open file limit, or run more ingress "
     "processes. Check that nothing holds idle connections open."},
    {"app_key_not_replaced", "worker, reaper", "error", "error, error_class, error_code, action",
     "After SIGHUP the private key of a GitHub App could not be used. All Apps keep their keys.",
     "Fix what the error names and send SIGHUP again, before the old key is deleted at GitHub."},
    {"app_key_replaced", "worker, reaper", "info", "apps",
     "After SIGHUP these GitHub Apps (their ids) sign with another private key. Tokens that the "
     "old "
     "one asked for stay valid.",
     "Once every worker and reaper has logged it, delete the old key at GitHub."},
    {"capacity_check_failed", "worker", "warn", "class, error, error_class, error_code, action",
     "The worker could not read from the ledger how many VMs the runner class may still launch.",
     "If it lasts, check the ledger and the network to it. Launches resume when it is available."},
    {"certificate_reload_failed", "ingress", "error", "error, error_class, error_code",
     "After SIGHUP the TLS certificate or its key could not be loaded. The ingress keeps the old "
     "certificate.",
     "Fix the file that the error names and send SIGHUP again, before the old certificate "
     "expires."},
    {"certificate_reloaded", "ingress", "info", "path",
     "After SIGHUP the TLS certificate and its key were loaded. New connections use them.",
     "Nothing."},
    {"circuit_closed", "worker, reaper", "info", "subject, open_ms",
     "What depends on the subject works again: its circuit is closed after `open_ms`.", "Nothing."},
    {"circuit_half_open", "worker, reaper", "info", "subject, probe",
     "The subject's circuit is open; one launch, or one call of a sweep, is now its probe.",
     "Nothing."},
    {"circuit_not_updated", "worker, reaper", "warn",
     "subject, error, error_class, error_code, action",
     "The process could not record in the ledger what it learned about the subject's circuit.",
     "If it lasts, check the ledger and the network to it."},
    {"circuit_opened", "worker, reaper", "warn",
     "subject, error, error_class, error_code, until, action",
     "The subject (a repository, a runner group, an installation, a class's labels there, GitHub's "
     "API, the credentials, proxy or DNS of a host, a class, a provider's target, a host) is in "
     "trouble. What depends on it "
     "waits, and spends no attempt, no registration and no VM. Probes find out when it is over.",
     "Fix the cause in `error` (for example a missing permission, a wrong image, a suspended "
     "installation). All goes on by itself then."},
    {"circuit_reopened", "worker, reaper", "info", "subject, error, error_class, error_code, until",
     "The probe of an open circuit failed too. The next one is made at `until`.",
     "Fix the cause in `error`, as for `circuit_opened`."},
    {"circuits_not_read", "worker, reaper", "warn", "error, error_class, error_code, action",
     "The open circuits could not be read from the ledger. Those that were read before hold.",
     "If it lasts, check the ledger and the network to it."},
    {"class_added", "worker, reaper", "info", "class",
     "After SIGHUP the configuration has a class that this process did not have. It is used now.",
     "Nothing."},
    {"class_changed", "worker, reaper", "info", "class",
     "After SIGHUP a class launches its VMs with changed settings. Those that run are not changed.",
     "Nothing."},
    {"class_gets_no_jobs", "reaper", "warn", "class, vms, vm, action",
     "The last `vms` VMs of the class idled and ended without ever having had a job; logged at 4, "
     "8, 16, ... of them, and set back by a VM that has one. An old runner registers, listens and "
     "is given no work.",
     "Build a new image with the newest runner. If it is new: compare the class's labels and "
     "runner group with the jobs' runs-on and repositories."},
    {"class_not_opened", "worker, reaper", "error", "class, error, error_class, error_code, action",
     "At start, or after SIGHUP of a new or changed class, its provider could not be opened: its "
     "image "
     "is missing, for example. A changed class is used as before; another one is not, and the "
     "other "
     "classes are served. A program of which no class can be opened does not start.",
     "Fix what the error names, and send SIGHUP again."},
    {"class_paused", "worker", "info", "class, by, reason, action",
     "An operator paused the class (`mayflyctl pause`): this worker receives none of its launch "
     "requests. Launches that had begun are finished, and its VMs run on.",
     "Nothing. `mayflyctl resume CLASS` ends it."},
    {"class_resumed", "worker", "info", "class",
     "An operator resumed the class: this worker launches VMs for its jobs again.", "Nothing."},
    {"class_retired", "worker, reaper", "info", "class, action",
     "After SIGHUP a class has `max_vms: 0` or is not configured any more: nothing is launched for "
     "it, and its VMs are handled to their end.",
     "`mayflyctl class retire` re-routes the jobs that wait in its lane."},
    {"class_unknown_in_use", "worker", "warn", "class, vms, jobs, messages, action",
     "A class that is not configured has VMs, jobs that wait or messages. Its VMs hold slots until "
     "they end, or until their deadlines; its jobs wait.",
     "Configure the class again, with `max_vms: 0` if it is to end; or `mayflyctl class retire`."},
    {"clock_set_forward", "reaper", "warn", "ahead_ms, action",
     "The wall clock went forward by `ahead_ms` more than the time that passed. For 15 minutes "
     "deadlines and ages of VMs are judged by the time before the step.",
     "Check this host's time synchronisation. If the new time is wrong, correct it within 15 "
     "minutes, or stop this reaper."},
    {"config_reload_failed", "ingress, worker, reaper", "error",
     "error, error_class, error_code, action",
     "After SIGHUP the new configuration was invalid or could not be read. The old one stays.",
     "Fix what the error names, test it with `--check-config`, and send SIGHUP again."},
    {"config_reloaded", "ingress, worker, reaper", "info", "credentials",
     "After SIGHUP the configuration was read again. `credentials` is not empty if values are "
     "`credential:NAME`: systemd reads those when the unit starts, not at a reload.",
     "Restart the program if a secret behind `credential:NAME` was rotated."},
    {"config_restart_required", "ingress, worker, reaper", "warn",
     "settings, class, reason, error, error_class, error_code, action",
     "After SIGHUP something that changed takes effect at the next start only: `settings` that "
     "keep their values; a `class` that is the first whose VMs run on this host; a class for which "
     "`worker.launch_threads` are too few.",
     "Restart the program."},
    {"config_warning", "ingress, worker, reaper", "warn", "warning",
     "A setting is allowed, and hardly meant: `warning` names line, key and what to change.",
     "Change it, or leave it if it is meant."},
    {"cost_totals_full", "reaper", "warn", "limit, vms, action",
     "A day has as many totals of classes and repositories as are kept; `vms` that ended were "
     "added to the repository "
     "`other` of their class. At most once an hour.",
     "Nothing: `mayflyctl cost` shows them as `other`. See deploy/docs/cost.md."},
    {"counter_corrected", "reaper", "warn", "count, was, is, action",
     "A counter of the ledger (for example the slots in use) differed from the rows that it "
     "counts, in two reads, and was corrected.",
     "Nothing. If it repeats, check whether the store was restored from a backup or edited by "
     "hand."},
    {"dead_letter_deleted", "reaper", "info", "message_id, lane, job_id, reason",
     "The job of a dead letter ended `reaper.retention` ago, so the dead letter is deleted.",
     "Nothing."},
    {"drain_interrupted", "ingress, worker, reaper", "warn", "cause, drain_timeout_ms, action",
     "The program exited before its drain had finished, because of a second signal or because the "
     "drain took too long.",
     "Nothing is lost. If the cause is `timeout`, allow a longer drain (`*.drain_timeout`)."},
    {"drain_timer_failed", "ingress, worker, reaper", "warn",
     "error, error_class, error_code, action",
     "The thread that limits the drain could not be started. The drain continues without a limit.",
     "Send SIGKILL if the program does not exit. Check the limits on threads and memory."},
    {"emf_dropped", "reaper", "warn", "action",
     "The reader of standard output did not read for a second, so that the documents for "
     "CloudWatch "
     "(`metrics.emf`) were dropped. Logged once until documents are written again.",
     "Find out why the log driver, or the other end of the pipe, does not read."},
    {"enqueue_failed", "ingress", "error",
     "delivery_id, deliveries, error, error_class, error_code",
     "Deliveries could not be stored, neither on the queue nor in the spool (if there is one). "
     "GitHub got 503.",
     "Fix the queue; check the free space and the limits of the spool. The reaper recovers the "
     "deliveries from GitHub's delivery log."},
    {"enqueue_timeout", "ingress", "warn", "delivery_id, enqueue_timeout_ms",
     "The queue did not confirm a delivery within its deadline. GitHub got 503. The delivery may "
     "have been stored all the same, which is harmless.",
     "Check the latency of the queue, and of the spool's disk."},
    {"event_ack_failed", "worker", "warn", "count, error, error_class, error_code, action",
     "Job events were applied to the ledger, but their messages could not be deleted from the "
     "queue.",
     "If it lasts, check the queue and the network to it."},
    {"event_apply_failed", "worker", "warn", "job_id, vm, error, error_class, error_code, action",
     "A job event, or a VM's id, could not be applied to the ledger. Its message is returned to "
     "the queue.",
     "If it lasts, check the ledger and the network to it."},
    {"events_dropped_at_exit", "worker, reaper", "warn", "sink, records",
     "The program ended before these records of changes of state were written to the file, "
     "confirmed by Kafka, or taken by the collector of traces (`sink`).",
     "Nothing, unless billing or audit needs them: `mayflyctl why` shows a job's timeline. Check "
     "the disk or the Kafka cluster."},
    {"events_write_failed", "worker, reaper", "warn",
     "sink, error, error_class, error_code, action",
     "Records of changes of state cannot be written (`sink`: `file`, `kafka` or `traces`). They "
     "wait in a buffer of `events.buffer` or `traces.buffer`; jobs are not affected. Logged at "
     "most once a minute.",
     "Fix the cause in `error`: a full disk, a missing folder or permission, the Kafka cluster, "
     "the collector of traces. Writing resumes by itself."},
    {"events_write_resumed", "worker, reaper", "info", "sink",
     "Records are written again. `mayfly_events_dropped_total` counts what was lost.", "Nothing."},
    {"fd_limit_low", "ingress", "warn", "max_connections, possible, hint",
     "The open file limit allows fewer connections than `ingress.max_connections`. The ingress "
     "accepts `possible` connections.",
     "Raise the open file limit (systemd: `LimitNOFILE`) and restart, or lower "
     "`ingress.max_connections`."},
    {"fleet_metrics_not_read", "reaper", "debug", "store, error, error_class, error_code, action",
     "The gauges of the whole fleet could not be read from that store. They vanish from `/metrics` "
     "if "
     "that lasts, and are read again within seconds.",
     "Restore the store, for whose sake other lines were logged too."},
    {"give_up_not_recorded", "worker, reaper", "debug",
     "job_id, error, error_class, error_code, action",
     "A step of giving up a job (`reaper.give_up`) was not written to the ledger. It is repeated.",
     "If it lasts, check the ledger and the network to it."},
    {"heartbeat_failed", "worker", "warn", "message_id, vm, error, error_class, error_code",
     "The worker could not extend the lease of a launch in progress, on the queue or in the "
     "ledger. It tries several times before the lease expires.",
     "If it lasts, check the queue and the ledger. Class `conflict` means that another worker has "
     "taken over."},
    {"hook_ranges_failed", "ingress", "warn", "error, error_class, error_code, known, action",
     "GitHub's ranges of addresses (`ingress.allow_from`) could not be read. It is tried again "
     "after "
     "ten minutes at most. `known`: the last good copy stays in use; if not, deliveries are "
     "answered "
     "503.",
     "Open the way to `github.api_url`, or list the ranges in `ingress.allow_from`."},
    {"hook_ranges_read", "ingress", "info", "ranges",
     "GitHub's ranges of addresses were read, for the first time or changed.", "Nothing."},
    {"host_bound_class_on_partitions", "worker", "warn", "class, host, other_host, action",
     "VMs of the class run on their worker's host only, several hosts share its lane, and the "
     "queue (Kafka) gives each its own part of it: jobs of a full host wait beside a free one.",
     "Use a class (and labels) for each host, or another queue."},
    {"host_drained", "worker, reaper", "info", "host, name",
     "An operator drained this host (`mayflyctl host drain`): its worker launches no VM on it.",
     "Nothing. `mayflyctl host undrain` ends it."},
    {"host_id_in_use", "worker, reaper", "warn", "host, other_host, boot, wait_ms, action",
     "A program that starts has the host id of another process of its name, which runs, or ran, in "
     "another boot or process namespace. It waits, not ready, whether that process still lives, "
     "and exits if it does.",
     "Nothing after a restart of the host or of a container. If the program exits: two hosts have "
     "one id. On the one whose disk is a copy, stop the programs, remove `host-id` in `state_dir`, "
     "and start them. Containers of one host with one `state_dir` need one process namespace."},
    {"host_ids_differ", "reaper", "warn", "host, other_host, other_program, action",
     "A worker on the same machine has another host id than this reaper, which therefore cannot "
     "reach its VMs: neither their ends nor their deadlines are seen.",
     "Give worker and reaper of a host the same `state_dir`."},
    {"host_undrained", "worker, reaper", "info", "host, name",
     "The worker of this host launches VMs again.", "Nothing."},
    {"idle_vm_not_reserved", "worker", "debug", "class, error, error_class, error_code, action",
     "The ledger did not respond about the VM that is to idle in the place of one that got a job.",
     "Nothing: the reaper requests it."},
    {"idle_vms_requested", "reaper", "info", "class, scope, requests, idle, wanted",
     "A class keeps idle VMs (`classes[].min_idle`), and has fewer than it is to have, or some "
     "that are due to be replaced: so many launches were requested.",
     "Nothing. If it repeats within seconds, look for VMs that end right after their launch."},
    {"image_canary_began", "reaper", "info", "class, version, good",
     "A new version of the class's image is tried: it gets some launches of its class until enough "
     "of "
     "its jobs have completed, or enough of its VMs have failed.",
     "Nothing. `mayflyctl image list` shows how far it is."},
    {"image_check_failed", "worker", "debug", "class, error, error_class, error_code, action",
     "The service refused to launch a version of the class's image, and which other one can be "
     "launched could not be read.",
     "Nothing: the next launch tries again."},
    {"image_not_deactivated", "reaper", "warn",
     "class, version, error, error_class, error_code, action",
     "A version of the class's image was rejected, and the service did not let the reaper make it "
     "INACTIVE. The ledger keeps it from being launched; a ledger that is lost does not.",
     "Allow it (`ImageStatus` of deploy/aws/policies/reaper.json), or make it INACTIVE yourself: "
     "`mayfly-publish-image deactivate`."},
    {"image_promoted", "reaper", "info", "class, version, former",
     "All launches of the class use that version of its image from now on.", "Nothing."},
    {"image_rejected", "reaper", "error", "class, version, good, reason, action",
     "VMs of a new version of the class's image failed, and more often than those of the good one. "
     "The version is not tried again, and is made INACTIVE; launches use the good one.",
     "See the runbook of MayflyImageRejected: find out why its VMs failed, and publish another "
     "one."},
    {"image_replaced", "reaper", "warn", "class, version, reason, action",
     "The version of the class's image that launches used cannot be launched any more: it was "
     "deleted, "
     "or is not ACTIVE. The one before it takes its place, or else the newest one that can be "
     "launched and "
     "was not rejected.",
     "Nothing, if you removed that version."},
    {"image_withdrawn", "reaper", "info", "class, version, good, reason",
     "An operator rejected a version of the class's image, or made one INACTIVE that was tried.",
     "Nothing."},
    {"launch_failed", "worker", "warn",
     "job_id, class, vm, step, subject, action, delay_ms, attempts, error, error_class, error_code",
     "A launch failed at `step` (reserve, register at GitHub, pack, run the VM, record). `subject` "
     "is what the error is about. `action` says what follows: another target (`elsewhere`), a wait "
     "that costs no attempt, another attempt, or the dead-letter queue; the last two only if it is "
     "about the job itself.",
     "Nothing for a single one. Otherwise fix the cause in `error`."},
    {"launch_rollback_incomplete", "worker", "warn",
     "vm, job_id, error, error_class, error_code, action",
     "The VM or the runner registration of a failed launch could not be removed at once.",
     "Nothing. The reaper removes it; `vm_terminate_failed` follows if it cannot."},
    {"launch_skipped", "worker", "info", "job_id, class, reason, demand, supply",
     "A launch request needed no VM: its job has already ended (`obsolete`), or as many VMs start "
     "or idle as jobs wait (`satisfied`).",
     "Nothing."},
    {"launch_stuck", "worker", "warn", "message_id, vm, step, action",
     "A step of a launch takes longer than it may. The launch's lease is no longer extended, so "
     "another worker takes over when it expires.",
     "Check what the step calls: the ledger, GitHub or the VM provider."},
    {"launch_taken_over", "worker", "info", "vm, job_id, silent_ms",
     "The worker of an unfinished launch has sent no heartbeat for `silent_ms`, nor for a third of "
     "`worker.visibility_timeout` after its VM's timeline said so. Its VM was "
     "terminated, and the launch starts again.",
     "Find out why a worker died, if it was not stopped on purpose."},
    {"launch_takeover_failed", "worker", "info, warn",
     "vm, job_id, error, error_class, error_code, action",
     "An unfinished launch of a dead worker could not be cleaned up. It is tried again. At level "
     "info GitHub does not find its runner, and the reaper decides by the runner list.",
     "If it lasts, fix the cause in `error`."},
    {"lease_check_failed", "reaper", "warn", "lease, error, error_class, error_code, action",
     "The reaper could not acquire or renew its lease in the ledger, so it does not sweep.",
     "Check the ledger and the network to it. Sweeps resume when it is available."},
    {"lease_extend_failed", "worker", "warn",
     "lane, message_id, error, error_class, error_code, action",
     "The lease of a received job event could not be extended. Another worker may apply it too.",
     "If it lasts, check the queue and the network to it."},
    {"lease_lost", "reaper", "warn", "lease, fence, fence_before, action",
     "Another reaper took over the lease, during a sweep or while it pulled. This reaper stopped.",
     "Nothing for a single one. If it repeats, look for a slow ledger, a paused host or a clock "
     "that jumps."},
    {"lease_release_failed", "reaper", "warn", "error, error_class, error_code, action",
     "The reaper could not release its lease when it stopped. The next sweep starts when the lease "
     "has expired.",
     "Nothing."},
    {"libevent_warning", "ingress", "warn", "message", "The library libevent reported a problem.",
     "Report it as a bug if it repeats."},
    {"log_lines_dropped", "ingress, worker, reaper", "warn", "lines, reason",
     "So many lines before this one are missing: the reader of the program's standard error did "
     "not "
     "keep up, the ring of 1 MiB between was full, and lines that found no space were dropped. "
     "Nothing else waited for it. `mayfly_log_lines_dropped_total` counts them.",
     "Find out why the reader stopped (a full disk of the log, a stuck log driver). With "
     "`log_level: debug`, less detail may be enough."},
    {"loop_stuck", "ingress, worker, reaper", "error", "loop, duration_ms, action",
     "A loop of the program has not moved for longer than any of its calls may take, though it "
     "does not wait "
     "for work: a bug of Mayfly, or a disk that does not answer. `/healthz` and `--health` fail "
     "until it moves; "
     "a container's platform restarts the program then.",
     "Restart the program, and report it with the lines before this one. Messages in its hands are "
     "redelivered when their leases expire."},
    {"message_dead_lettered", "worker", "error",
     "lane, message_id, job_id, attempts, reason, action",
     "A message was moved to the dead-letter queue: its attempts are used up, or it can never "
     "succeed. Its job gets no VM from it.",
     "Fix the cause in `reason`, then redrive the message with the command in `action`."},
    {"message_update_failed", "worker", "warn",
     "verb, lane, message_id, job_id, error, error_class, error_code, action",
     "A message could not be deleted from the queue, returned to it, or moved to the dead-letter "
     "queue (`verb`). It is delivered again.",
     "If it lasts, check the queue and the network to it."},
    {"newer_version", "worker, reaper", "warn",
     "format, newest_format, lane, message_id, job_id, delay_ms, error, error_class, error_code, "
     "hint",
     "A newer version of Mayfly wrote records that this program cannot read. Messages in that "
     "format are left for upgraded workers.",
     "Upgrade this program, or set `ingress.record_format` to the format that it reads."},
    {"notice_not_written", "worker, reaper", "debug", "error, error_class, error_code, action",
     "A sentence for `mayflyctl status` could not be written to the ledger.", "Nothing."},
    {"old_request_over", "worker", "info", "job_id, class, state, reason",
     "A launch request is older than what the ledger knows, which was lost or fell back, and "
     "GitHub says that its job runs or is over. No VM is launched for it.",
     "Nothing."},
    {"old_request_unchecked", "worker", "debug", "job_id, error, error_class, error_code",
     "A launch request is older than what the ledger knows, and whether its job still waits could "
     "not be read. It is launched.",
     "Nothing: a VM that gets no job idles out."},
    {"orphan_vm_adopt_failed", "reaper", "warn", "vm_id, error, error_class, error_code, action",
     "A VM without a row could not get one in the ledger. It holds no slot until then.",
     "If it lasts, check the ledger and the network to it."},
    {"orphan_vm_adopted", "reaper", "warn", "vm, vm_id, class, reason",
     "A VM of this deployment was running without a row in the ledger. It may run a job, so it got "
     "a row, which holds a slot until the VM ends, at its deadline at the latest.",
     "Nothing for a single one, which a crash can leave. For many, check that no two deployments "
     "have the same name and that the ledger has lost no data: `mayflyctl status`."},
    {"orphan_vm_terminate_failed", "reaper", "warn",
     "vm_id, error, error_class, error_code, action",
     "A VM that the ledger does not know could not be terminated. The next sweep tries again.",
     "If it lasts, fix the cause in `error`: the VM costs money until it ends."},
    {"orphan_vm_terminated", "reaper", "warn", "vm_id, vm, class, reason",
     "A VM of this deployment that had no row in the ledger was terminated, for the reason in "
     "`reason`.",
     "Nothing for a single one, which a crash can leave. For many, check that no two deployments "
     "have the same name and that the ledger has lost no data."},
    {"orphan_vms_adopted", "worker", "warn", "class, vms, reason, action",
     "Before a launch the ledger lacked rows of VMs that run: it is new to this deployment, was "
     "emptied, or was restored from an older copy. Each got a row, which holds a slot until the VM "
     "ends. Launches of the class begin when the next comparison finds no more.",
     "Check that the ledger is the right one, and why it lost its data."},
    {"program_list_failed", "worker, reaper", "debug", "error, error_class, error_code",
     "The heartbeats of other programs could not be read when this one started with a host id that "
     "others may have.",
     "Nothing. It is tried again; other events show whether the ledger is unavailable."},
    {"program_report_delete_failed", "worker, reaper", "debug", "error, error_class, error_code",
     "The program could not remove its entry from the ledger's list of running programs when it "
     "stopped. The entry expires.",
     "Nothing."},
    {"program_report_failed", "worker, reaper", "debug", "error, error_class, error_code",
     "The program could not update its entry in the ledger's list of running programs.",
     "Nothing. Other events show whether the ledger is unavailable."},
    {"provider_throttled", "worker, reaper", "warn", "call, class, domain, pause_ms, action",
     "The VM provider refused a call because of its rate limit. All processes pause such calls for "
     "`pause_ms`.",
     "Nothing for a few. If it lasts, lower the matching rate in `limits`, or ask the provider for "
     "a higher quota."},
    {"pull_began", "reaper", "info", "log, fence, since_ms",
     "This reaper reads GitHub's delivery log for new deliveries (`github.pull`); it holds the "
     "lease. "
     "`since_ms` is from when on.",
     "Nothing."},
    {"pull_failed", "reaper", "warn", "error, error_class, error_code, waiting, action",
     "GitHub's delivery log, or a delivery's payload, could not be read, or the queue or the "
     "ledger is "
     "away, several times in a row or until somebody acts. New jobs wait. Logged once, until "
     "`pull_resumed`.",
     "Fix the cause in `error`. Nothing is lost within the three days that GitHub keeps the log."},
    {"pull_paced", "reaper", "info", "waiting, pause_ms",
     "So much of GitHub's hourly limit is used that calls for deliveries are spread over the rest "
     "of "
     "its hour, `pause_ms` apart. Jobs start later.",
     "If it repeats, there are more jobs than pulling serves: deploy/docs/pull.md."},
    {"pull_resumed", "reaper", "info", "waiting",
     "Deliveries are pulled again after `pull_failed`.", "Nothing."},
    {"pull_retry", "reaper", "debug", "error, error_class, error_code, wait_ms",
     "A call for deliveries failed, and is made again.", "Nothing."},
    {"pull_unpaced", "reaper", "info", "waiting, pause_ms",
     "Calls for deliveries are no longer spread: `pull_paced` is over.", "Nothing."},
    {"queue_unavailable", "ingress", "warn", "error, error_class, error_code, action",
     "The queue could not be reached at start. Deliveries go to the local spool.",
     "Restore the queue. The spool drains by itself."},
    {"quotas_applied", "worker, reaper", "info",
     "max_vms, launches_a_second, launch_burst, terminations_a_second",
     "Limits that are `auto` were set from the account's applied quotas. The values are those in "
     "force.",
     "Nothing."},
    {"quotas_not_read", "worker, reaper", "warn", "class, error, error_class, error_code, action",
     "The quotas for limits that are `auto` could not be read. The caps of a class with several "
     "targets "
     "are what the others allow; all else has its defaults.",
     "Fix the cause in `error`, then send SIGHUP; or write the limits as numbers."},
    {"rate_limit_check_failed", "worker, reaper", "warn",
     "class, error, error_class, error_code, action",
     "The ledger did not say whether a VM may be terminated under the rate limit. Its termination "
     "is delayed.",
     "If it lasts, check the ledger and the network to it."},
    {"rate_pause_failed", "worker, reaper", "warn",
     "bucket, error, error_class, error_code, action",
     "The pause after a throttled call could not be stored in the ledger, so other processes do "
     "not know of it.",
     "If it lasts, check the ledger and the network to it."},
    {"receive_failed", "worker", "warn", "lane, error, error_class, error_code, action",
     "The worker could not receive messages from the queue.",
     "If it lasts, check the queue and the network to it."},
    {"reconcile_failed", "worker", "warn", "class, error, error_class, error_code, action",
     "The ledger is new, was emptied, or was not in use for minutes, and the VMs that run could "
     "not be compared with its rows. No launch of the class starts before that.",
     "Fix the cause in `error`: the permission to list and describe VMs, or the network to the "
     "provider or the ledger."},
    {"reconciled_not_renewed", "reaper", "debug", "class, error, error_class, error_code",
     "That a class's VMs were compared with the ledger's rows could not be written to the ledger. "
     "After five minutes without it workers compare them before they launch.",
     "If it lasts, check the ledger and the network to it."},
    {"record_format_read_failed", "worker, reaper", "debug", "error, error_class, error_code",
     "The program could not read from the ledger which record format to write. It keeps the "
     "current one.",
     "Nothing. Other events show whether the ledger is unavailable."},
    {"recovery_finished", "reaper", "info", "jobs",
     "What a lost ledger did not know was read from GitHub; `jobs`: so many jobs were recovered by "
     "this process.",
     "Nothing."},
    {"recovery_started", "reaper", "info", "reason, since, action",
     "The ledger is new, was emptied or restored, may have lost its last writes, or was not in use "
     "for minutes; or an operator called `mayflyctl recover`. Repositories of which GitHub "
     "delivered "
     "queued jobs since then are looked up in the delivery log, and their jobs in GitHub's lists.",
     "Nothing with a new ledger. Otherwise check why the store lost data."},
    {"recovery_without_log", "reaper", "info", "reason, action",
     "The ledger may have lost jobs, and no delivery log can be read to find their repositories.",
     "Set `github.app` or `github.hook`. Jobs that wait and that nobody knows: cancel and re-run "
     "them."},
    {"redelivery_requested", "reaper", "info",
     "delivery_id, webhook_action, error, error_class, error_code",
     "GitHub did not show the content of a failed delivery (`error` says why), so it was asked to "
     "send it again.",
     "Nothing."},
    {"repository_cap_best_effort", "worker", "warn", "max_vms_per_repository, reason, action",
     "`limits.max_vms_per_repository` is set, and runners of a class register with an "
     "organization: "
     "a VM that was launched for one repository may run a job of another, so the repository may "
     "run more VMs than its cap for a while.",
     "For a cap that holds, set `classes[].scope` to `repository`, or map the repository to a "
     "runner group of its own (`github.groups`)."},
    {"repository_not_noted", "worker, reaper", "debug",
     "repository, error, error_class, error_code",
     "That a repository had a job could not be written to the ledger. The next job tries again.",
     "If it lasts, check the ledger."},
    {"request_rejected", "ingress", "debug", "status, reason, delivery_id, github_event, error",
     "An HTTP request was refused before its signature was checked, for example for its path, "
     "method or size.",
     "Nothing, unless GitHub lists the delivery: then check the webhook's URL, content type and "
     "secret."},
    {"run_cancelled", "reaper", "warn", "job_id, run_id, repository, reason",
     "GitHub was asked to cancel the workflow run of a job that was given up (`reaper.give_up`): "
     "no "
     "other job of it runs or can still run.",
     "See `job_given_up`."},
    {"runner_list_failed", "reaper", "warn", "scope, error, error_class, error_code, action",
     "GitHub's list of a scope's runners could not be read to its end. No VM of the scope is "
     "terminated for what its runner does until a list is complete.",
     "If it lasts, fix the cause in `error`: usually a permission that the App has lost."},
    {"scopes_not_listed", "reaper", "warn", "owner, error, error_class, error_code, action",
     "GitHub did not list the App's installations (`owner` is empty), or one's repositories. VMs "
     "without a row in the ledger hold their slots until then, or until their deadline.",
     "If it lasts, fix the cause in `error`."},
    {"sender_refused", "ingress", "warn", "client, status, reason",
     "A delivery was refused for its sender's address, before its signature was checked: it is not "
     "in "
     "`ingress.allow_from` (403), or GitHub's addresses are not known yet (503).",
     "Nothing for a stranger. If `client` is your load balancer, add it to "
     "`ingress.trusted_proxies`; if it is GitHub Enterprise Server, to `ingress.allow_from`."},
    {"spool_drained", "ingress", "info", "action",
     "All spooled deliveries are on the queue. New deliveries go to the queue again.", "Nothing."},
    {"spool_found", "ingress", "info", "messages, action",
     "At start the spool held deliveries of an earlier run. They are moved to the queue first.",
     "Nothing."},
    {"spool_message_dead_lettered", "ingress", "error",
     "key, error, error_class, error_code, action",
     "The queue permanently refuses one spooled delivery. It is kept in the spool file as a dead "
     "letter. `key` is its job's id.",
     "Fix the cause in `error`, restart the ingress, which then accepts the delivery again, and "
     "redeliver it in the webhook's settings at GitHub."},
    {"spool_not_drained", "ingress", "warn", "messages, action",
     "The ingress stopped while the spool still held deliveries.",
     "Start the ingress again with the same spool file, once the queue is available."},
    {"spool_opened", "ingress", "warn", "error, error_class, error_code, action",
     "The queue failed or was too slow, so deliveries go to the local spool. None is lost.",
     "Restore the queue, and watch the free space of the spool's disk. The spool drains by "
     "itself."},
    {"spool_retry", "ingress", "warn", "error, error_class, error_code, failures, action",
     "Spooled deliveries could not be moved to the queue. `failures` counts the attempts in a row.",
     "Restore the queue. If `error` starts with `spool`, check the spool's disk."},
    {"stale_runner_delete_failed", "reaper", "warn",
     "runner, runner_id, error, error_class, error_code, action",
     "The registration of a runner without a VM could not be deleted at GitHub. A later sweep "
     "tries again.",
     "If it lasts, fix the cause in `error`, for example a missing permission of the App."},
    {"stale_runner_deleted", "reaper", "info", "runner, runner_id, scope, reason",
     "The VM of a registered runner no longer exists, so its registration was deleted at GitHub.",
     "Nothing."},
    {"start_waits", "ingress, worker, reaper", "warn",
     "admin_port, error, error_class, error_code, action",
     "Queue, ledger or another service that the program needs at its start is away. It tries "
     "again, "
     "every 10 seconds at last, and is not ready until it succeeds. Repeated at each try.",
     "Restore what `error` names. A refusal or a wrong setting is `startup_failed` instead."},
    {"started", "ingress, worker, reaper", "info",
     "version, address, port, tls, admin_port, queue, ledger",
     "The program is running. `address`, `port` and `tls` are the ingress's listener; `queue` and "
     "`ledger` name the kinds of store.",
     "Nothing."},
    {"startup_failed", "ingress, worker, reaper", "error", "error, error_class, error_code",
     "The program could not start, and exits with 1.",
     "Fix the cause in `error`. `--check-config --online` checks the settings and the services."},
    {"stopped", "ingress, worker, reaper", "info", "exit_code",
     "The program has released what it held and exits.",
     "Nothing if `exit_code` is 0; otherwise see the lines before it."},
    {"stopping", "ingress, worker, reaper", "info", "signal, version, name",
     "The program received SIGTERM or SIGINT and drains: it accepts no new work and finishes what "
     "it has.",
     "Nothing."},
    {"store_check_failed", "ingress, worker, reaper", "warn",
     "store, error, error_class, error_code, action",
     "The program could not check at start whether the store's own settings keep what it confirms.",
     "Let the program read those settings, as the page of the store describes, or check them by "
     "hand."},
    {"store_durability_warning", "ingress, worker, reaper", "warn", "store, warning, action",
     "A setting of the queue's or the ledger's server can lose what it has confirmed, or could not "
     "be read.",
     "Change the server's setting as `warning` says."},
    {"sweep_calls_paused", "reaper", "info", "subject, reason, until, action",
     "The circuit of the subject (GitHub's API, an installation, this host's credentials, a "
     "provider's target) is open, so sweeps make no call that depends on it. What they could not "
     "read is evidence of nothing. The sweep after `until` makes one call as a probe.",
     "Fix the cause in `reason`, as for `circuit_opened`. Sweeps go on by themselves then."},
    {"sweep_failed", "reaper", "warn", "error, error_class, error_code, action",
     "A sweep could not read the VMs from the ledger, so it did nothing.",
     "Check the ledger and the network to it."},
    {"sweep_finished", "reaper", "debug", "vms, duration_ms",
     "A sweep is complete. `vms` is the number of VMs in the ledger.", "Nothing."},
    {"task_failed", "reaper", "warn", "task, error, error_class, error_code, action",
     "One task of a sweep ended with an error. The other tasks continue.",
     "If it lasts, fix the cause in `error`."},
    {"terminate_request_expired", "reaper", "warn", "vm, action",
     "A VM that `mayflyctl vm terminate` named could not be terminated for ten minutes, because "
     "GitHub or the provider did not respond.",
     "See `vm_terminate_failed`; then request it again."},
    {"terminate_request_not_removed", "reaper", "debug", "vm, error, error_class, error_code",
     "A request of `mayflyctl vm terminate` was handled and could not be removed from the ledger. "
     "The next sweep handles it again, which is harmless.",
     "Nothing."},
    {"terminations_held", "reaper", "error", "target, vms, of_vms, reason, action, hint",
     "More than a quarter of a target's VMs (and more than 5) have no row in the ledger, or are "
     "not listed by the provider. The reaper terminates none of them: `vms` of `of_vms` are held "
     "until their deadline, or until this has lasted for `reaper.mass_termination_hold`.",
     "Check that the ledger is the right one (URL, prefix, table) and was not emptied or restored, "
     "and that the provider's account and region are right. Nothing must be done if the VMs are "
     "really gone."},
    {"terminations_released", "reaper", "info", "target, reason",
     "No VM of the target is held any more: `terminations_held` is over.", "Nothing."},
    {"timeline_write_failed", "worker, reaper", "debug",
     "job_id, vm, error, error_class, error_code",
     "An entry of a job's or a VM's timeline could not be written, so `mayflyctl why` does not "
     "show it.",
     "Nothing."},
    {"unprotected_address", "ingress, worker, reaper", "warn", "setting, reason, action",
     "At the start: a Redis or Kafka store, or the admin port, has an address that other hosts may "
     "reach, without TLS or without a password. The program works all the same.",
     "Do what `action` says. If the network alone protects it, and you want that, do nothing."},
};

const size_t log_event_count = COUNT_OF(log_events);
