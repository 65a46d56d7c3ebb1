#include "common/base/attr.h"
#include "common/program/log_events.h"

const struct log_event log_events_agent[] = {
    {"agent_failed", "agent", "error", "error, error_class, error_code",
     "The agent could not start, or its event loop failed. The VM ends without running a job.",
     "Fix the cause in `error`; it is usually in the image or in the agent's options."},
    {"disk_grow_failed", "agent", "warn", "disk, reason",
     "The root file system could not be enlarged to the size of its disk. The job has less space "
     "than the class promises.",
     "Check that the image's root file system is ext4 and that `disk` is its device."},
    {"hook_connection_evicted", "agent", "warn", "limit",
     "All `limit` connections of the hook server were in use, so the one that was reading for "
     "longest was closed.",
     "Nothing. If it repeats, something other than the platform connects to the hook port."},
    {"hook_log_ended", "agent", "warn", "limit",
     "The hooks of this VM were called so often that `limit` lines were logged about it; further "
     "calls are not logged.",
     "See which job the VM ran: only a job calls that often."},
    {"hook_request_refused", "agent", "warn", "local, forwarded",
     "A request to the hook server did not come from this VM's loopback (`local` is false), or was "
     "meant for another host or came through a public endpoint (`forwarded` is true). It was "
     "answered 403.",
     "Nothing for a single one: somebody called the VM's public endpoint; launch VMs without "
     "ingress. If all hooks are refused, report it: the platform calls them in a new way."},
    {"hook_request_rejected", "agent", "debug", "status, reason",
     "A request to the hook server was not valid HTTP or was too large. It was answered with "
     "`status`.",
     "Nothing."},
    {"hook_server_started", "agent", "info", "address, port",
     "The agent waits for the platform's lifecycle hooks (ready, run, suspend, ...) on this "
     "address.",
     "Nothing."},
    {"identity_reset_failed", "agent", "error", "error, error_class, error_code",
     "The VM could not get its own random state, clock, host name or machine id after its "
     "snapshot. It ends without running a job.",
     "Fix the cause in `error`, which is in the image or in the agent's privileges."},
    {"identity_step_skipped", "agent", "info", "step",
     "One step of giving the VM its own identity is not permitted, or /run has no room for it; "
     "`step` is the error. The step is skipped.",
     "Nothing. To allow it, run the agent as root with the capability that the step needs, and "
     "leave room in /run."},
    {"output_dropped", "agent", "warn", "output, lines",
     "The reader of the console or of the log (`output`) fell behind by more than 256 KiB, and so "
     "many lines were dropped; the agent never waits for it. The job continues.",
     "See what reads the VM's console: its supervisor on the host, or the platform."},
    {"output_truncated", "agent", "warn", "limit_bytes",
     "The runner printed more than `limit_bytes` to the console. The rest is not shown; the job "
     "continues.",
     "Nothing."},
    {"payload_rejected", "agent", "error", "reason, status, error, error_class, error_code",
     "The payload could not be unpacked, the VM could not get its own identity (status "
     "`not-unique`), or the runner could not be started. The VM ends without running a job.",
     "Check that image and worker have the same version of Mayfly, and that the runner is in the "
     "image."},
    {"power_off_failed", "agent", "error", "reason", "The agent could not power off the VM.",
     "Nothing at once: the VM's deadline ends it. Check that the agent runs as root."},
    {"prepare_failed", "agent", "error", "path, error, error_class, error_code",
     "The program that prepares the VM for its job could not be started. The job runs without it.",
     "Check that `path` exists in the image and is executable."},
    {"refresh_failed", "agent", "error", "error, error_class, error_code",
     "After a resume the VM's random state or clock could not be renewed.",
     "Fix the cause in `error`. Until then the clock may be wrong after a resume."},
    {"resumed", "agent", "info", "state",
     "The platform resumed the VM. `state` is 0 waiting, 1 started, 2 ending, 3 ended.",
     "Nothing."},
    {"run", "agent", "info", "microvm, payload_bytes",
     "The VM received its payload and starts its runner. `microvm` is the id of the VM.",
     "Nothing."},
    {"run_repeated", "agent", "warn", "status",
     "The payload came a second time. It was answered 200 if it is the same, 409 if it is another "
     "one, and was not started again.",
     "Nothing for 200. For 409, report it as a bug: a VM runs one job."},
    {"run_request_rejected", "agent", "error", "bytes",
     "The body of the run hook could not be parsed. It was answered 400.",
     "Check that image and worker have the same version of Mayfly."},
    {"shell_ended", "agent", "info", "pid",
     "The shell of a person was ended: its connection has ended, or another one was opened.",
     "Nothing. Who it was is in the worker's log: vm_shell_closed."},
    {"shell_started", "agent", "info", "pid",
     "A person opened a shell in the VM (mayflyctl shell).",
     "Nothing. Who it is is in the worker's log: vm_shell_opened."},
    {"shell_unavailable", "agent", "error", "error, error_class, error_code",
     "The VM has a port for shells that could not be opened. The job runs; mayflyctl shell finds "
     "no "
     "shell.",
     "Check that the agent runs as root."},
    {"status", "agent", "info", "line",
     "The state of the runner has changed: STARTED, LISTENING, JOB, or EXIT with code and reason.",
     "Nothing. After EXIT with a code other than 0, see the lines before it."},
    {"suspending", "agent", "info", "state",
     "The platform is about to suspend the VM. `state` is as in `resumed`.", "Nothing."},
    {"terminating", "agent", "info", "state",
     "The platform asked the VM to end. `state` is as in `resumed`.", "Nothing."},
    {"warm_failed", "agent", "error", "reason",
     "The runner of this image cannot start, or Docker in it does not work; `reason` says what was "
     "tried. The hook ready, validate or run was answered 500: the build of the image fails.",
     "Fix the cause in `reason` and build the image again. What the program printed is in the "
     "lines "
     "before."},
    {"warm_finished", "agent", "info", "duration_ms",
     "The runner's listener started, and in validate the image's own check passed: the VM can run "
     "jobs.",
     "Nothing."},
    {"warm_read", "agent", "info", "bytes",
     "So many bytes of the runner's and the tools' programs were read in validate, which shows the "
     "platform what to load first.",
     "Nothing."},
    {"warm_timeout", "agent", "error", "limit_ms",
     "The checks of ready or validate took longer than `limit_ms` and were stopped. The hook was "
     "answered 500: the build of the image fails.",
     "See in the lines before which program hangs. If it is only slow, raise the agent's "
     "`--warm-ms`, which must stay below the hook's time limit."},
};

const size_t log_event_agent_count = COUNT_OF(log_events_agent);
