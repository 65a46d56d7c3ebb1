#include "common/base/attr.h"
#include "common/program/log_events.h"

const struct log_event log_events_sets[] = {
    {"scale_set_failed", "reaper", "warn", "set, scope, error, error_class, error_code, action",
     "GitHub cannot be asked for a scale set's jobs, or a store is away, several times in a row or "
     "until somebody acts. Its jobs wait at GitHub. Logged once, until `scale_set_resumed`.",
     "Fix the cause in `error`. GitHub counts the jobs meanwhile: none is lost."},
    {"scale_set_requested", "reaper", "info", "set, scope, class, count, assigned, running, free",
     "Of the `assigned` jobs of the set `running` run, and there are `free` VMs for the others; "
     "`count` more were requested.",
     "Nothing."},
    {"scale_set_resumed", "reaper", "info", "set, scope",
     "GitHub is asked for the set's jobs again after `scale_set_failed`.", "Nothing."},
    {"scale_set_retry", "reaper", "debug", "set, scope, error, error_class, error_code, wait_ms",
     "A call for a scale set failed, and is made again.", "Nothing."},
    {"scale_set_session_opened", "reaper", "info", "set, scope, assigned, running",
     "This reaper asks GitHub for the set's jobs; it holds the set's lease. `assigned` are its "
     "jobs "
     "now.",
     "Nothing."},
    {"scale_set_session_waits", "reaper", "info",
     "set, scope, error, error_class, error_code, action",
     "GitHub still has the session of another: of a reaper that was killed, or of another "
     "deployment that uses the same set.",
     "Nothing after a crash: GitHub ends that session some minutes after its last poll. If it "
     "lasts, "
     "look for whoever uses the set too."},
};
const size_t log_event_sets_count = COUNT_OF(log_events_sets);
