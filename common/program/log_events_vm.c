#include "common/base/attr.h"
#include "common/program/log_events.h"

const struct log_event log_events_vm[] = {
    {"vm_busy_reconciled", "reaper", "info", "vm, reason",
     "GitHub reports that a VM's runner runs a job, which the ledger did not know. The ledger was "
     "updated.",
     "Nothing. If it repeats, find out why deliveries are lost."},
    {"vm_files_delete_failed", "reaper", "warn", "vm_id, error, error_class, error_code, action",
     "The console log or the exit record of a terminated VM could not be deleted from this host.",
     "If it lasts, check the disk and the permissions of the VM directory."},
    {"vm_handed_over", "worker", "info", "vm, vm_id",
     "The ledger was away for longer than a launch's lease: the id of the launched VM went into "
     "the "
     "lane of events, from where it is written as soon as the ledger is back.",
     "Nothing."},
    {"vm_held", "worker", "info", "vm, job_id, class, host, until, reason",
     "The job of a VM failed, and `classes[].hold_on_failure` keeps the VM until `until`, or until "
     "somebody ends it. It holds its slot, and gets no other job.",
     "Look into it with `mayflyctl shell`; end it with `mayflyctl vm terminate`."},
    {"vm_io_error", "worker", "warn", "vm, class, error",
     "The disk of a VM failed a request, and its guest got the error. Logged once per VM, and in "
     "its "
     "job's timeline; `mayfly_vm_events_total` counts all. The job probably fails.",
     "No space left on device: make room in `state_dir`, and lower its "
     "`disk_overcommit`. Anything else: check the host's disk."},
    {"vm_launched", "worker", "info",
     "job_id, class, target, vm, vm_id, repository, runner_id, launch_ms, since_received_ms, "
     "delivery_id",
     "A VM was launched. `launch_ms` is the duration of the launch, `since_received_ms` the time "
     "since the launch was requested.",
     "Nothing."},
    {"vm_list_failed", "reaper", "warn", "class, error, error_class, error_code, action",
     "The VM provider did not list the VMs of a runner class, and of the classes that are listed "
     "with "
     "it. This sweep skips the checks that need the list.",
     "If it lasts, fix the cause in `error`."},
    {"vm_network_namespace_unavailable", "worker", "info", "class, error",
     "The VMs' emulator could not get a network namespace of its own (`error` is the system's "
     "reason), so that one which its guest has taken over would have this host's network. What VMs "
     "reach is the same: their gateway decides on it. Logged once by a worker.",
     "Permit user namespaces to the worker (`user.max_user_namespaces`, AppArmor), or set the "
     "class's `confine` to false."},
    {"vm_network_refused", "worker", "warn", "vm, class, kind, destination",
     "A VM tried to reach what its network refuses. Logged once per VM and kind; "
     "`mayfly_vm_network_refused_total` counts all. `destination` is protocol, address and port of "
     "the first.",
     "If a job needs it, add it to the class's `allow`. Kinds `loopback`, `host_address`, "
     "`link_local` "
     "(a cloud's metadata) and `neighbour` from a job that needs none of them can be an attack: "
     "see which job the VM ran."},
    {"vm_network_refuses_host", "worker", "warn", "class, host, error, action",
     "A host that the class's runners need has an address that its VMs may not reach.",
     "Add it to the class's `allow`, as `error` says."},
    {"vm_not_handed_over", "worker", "debug", "vm, error, error_class, error_code",
     "Neither the ledger nor the queue takes the id of a launched VM. Both are tried again.",
     "Check the stores and the network to them."},
    {"vm_paused", "worker", "warn", "vm, class, error",
     "A VM is paused: `error` is the emulator's state and its disk's last error. After an error "
     "of its disk it is resumed when there is space, and ended after five minutes; after an "
     "internal error of the emulator it is ended at once.",
     "As for `vm_io_error`. `internal-error`: check the kernel's log and the emulator's version."},
    {"vm_presumed_gone", "reaper", "warn", "vm, class, host, job_id, state, reason, action",
     "A VM that no program can reach is past its deadline and `reaper.deadline_grace_period`: its "
     "host has no heartbeat, or its class is not configured any more. Its slot is free.",
     "If the host still runs, find out why its programs do not reach the ledger. Before the "
     "deadline, `mayflyctl host forget` frees the slots of a host that is gone permanently."},
    {"vm_process_limit", "worker", "warn", "vm, class, error",
     "The control group of a VM refused a process or thread to its emulator. Logged once per VM, "
     "when "
     "it has ended; `mayfly_vm_events_total` counts all.",
     "From a job that is trusted: check the emulator's version. It may have been taken over by its "
     "guest: see which job the VM ran."},
    {"vm_record_obsolete", "worker", "warn", "vm, vm_id, error, error_class, error_code, action",
     "A VM's id could be written to the ledger only after its row was gone, or its row has another "
     "id.",
     "Nothing. The reaper treats the VM as one without a row."},
    {"vm_recorded_late", "worker", "info", "vm, vm_id",
     "The ledger refused a VM's id when it was launched; now its row has it.",
     "Nothing. If frequent, see why the ledger refuses writes."},
    {"vm_resumed", "worker", "info", "vm, class, detail",
     "A VM that an error of its disk had paused runs again, after the time in `detail`.",
     "Nothing."},
    {"vm_row_restored", "worker", "warn", "vm, vm_id, reason",
     "The ledger lost a VM's row while the VM was launched. The VM got another one of its name.",
     "Check why the ledger lost data."},
    {"vm_shell_closed", "worker", "info", "vm, state, job_id, class, count, who",
     "A shell in a VM was closed, by its operator or with the VM. `who` is who had it and for how "
     "long; with a `count` above 1, several within seconds.",
     "Nothing."},
    {"vm_shell_opened", "worker", "info", "vm, state, job_id, class, count, who",
     "Somebody has opened a shell of root in a VM (mayflyctl shell). `who` is what mayflyctl says "
     "of the person, and the user id of the connection as the kernel knows it; with a `count` "
     "above 1, several within seconds. `state` is that of the VM: `busy` means that its job runs. "
     "It is in the timelines of the VM and its job, too.",
     "Nothing, if it is one of yours. Only root and the worker's user of the host can."},
    {"vm_snapshot_refused", "worker", "warn", "class, error, action",
     "A file of the snapshot that the class's VMs are restored from is not what was saved: `error` "
     "names it, its SHA-256 and the one in SHA256SUMS beside it. No VM was started from it; a new "
     "snapshot is made, which takes a boot.",
     "Once, after a crash of the host or an edit by hand: nothing. If it repeats, check the disk, "
     "and who can write to the class's `state_dir`: only the worker's user should."},
    {"vm_status_dropped", "worker", "warn", "vm, class, error",
     "A VM wrote more to its agent's status port than is kept. Logged once per VM; "
     "`mayfly_vm_output_dropped_bytes_total` counts all. Only root in the VM can: its job has that "
     "right, or has taken it. Why the VM ended may be unknown then.",
     "See which job the VM ran."},
    {"vm_terminate_failed", "worker, reaper", "debug, warn",
     "vm, vm_id, class, reason, error, error_class, error_code, action",
     "A VM could not be terminated. At level debug the reason is harmless: its runner is online or "
     "busy, or another process has terminated it.",
     "At level warn, if it lasts, fix the cause in `error`: the VM costs money and occupies a "
     "slot."},
    {"vm_terminated", "worker, reaper", "info", "vm, vm_id, class, job_id, state, reason, lived_ms",
     "A VM was terminated for the reason in `reason`. `state` is the state it had.",
     "Nothing. A reason other than a completed job, if frequent, is worth a look."},
    {"vms_have_users", "worker", "info", "uids, landlock_abi",
     "At start: each VM on this host gets a user of its own from `worker.vm_uids`. `landlock_abi` "
     "is "
     "the kernel's version of landlock, 0 for none: below 4 it restricts no network, below 6 no "
     "signals.",
     "Nothing."},
    {"vms_share_store_disk", "worker", "warn", "class, path, store, action",
     "The VMs' disks and an SQLite store are on one file system. Mayfly keeps `reserved_disk` of "
     "it "
     "free, but not from other programs, nor with a `disk_overcommit` above 1. Logged at the "
     "start.",
     "Put `state_dir` on a file system of its own."},
    {"vms_share_user", "worker", "warn", "uid, reason, landlock_abi, action",
     "At start: all VMs on this host run as the worker's user, for the reason in `reason`. An "
     "emulator that its guest has taken over is kept from that user's files by landlock alone "
     "(`landlock_abi`; 0: by nothing), and from its processes by a seccomp filter.",
     "Give the worker CAP_SETUID and CAP_SETGID, as its systemd unit does, and ids in "
     "`worker.vm_uids`."},
};

const size_t log_event_vm_count = COUNT_OF(log_events_vm);
