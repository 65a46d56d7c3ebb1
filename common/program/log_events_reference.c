#include <string.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/program/log_events.h"

static const char introduction[] =
    "# Log events\n"
    "\n"
    "Generated from the tables in `common/program/log_events*.c` by the build target\n"
    "`reference-pages`; a test fails when it is stale. Do not edit it.\n"
    "\n"
    "Each program writes one JSON object a line to standard error. Every line has `ts` (UTC),\n"
    "`level`, `program` and `msg`, the name of the event. Fields that many events have:\n"
    "\n"
    "| Field | Meaning |\n"
    "|---|---|\n"
    "| `job_id` | GitHub's id of the workflow job; `mayflyctl why ID` explains its state |\n"
    "| `delivery_id` | GitHub's `X-GitHub-Delivery` of the webhook |\n"
    "| `message_id`, `lane` | a message of the queue, and the lane it is in |\n"
    "| `vm`, `vm_id` | a VM's name in Mayfly, which is its runner's name too; its id at the VM "
    "provider |\n"
    "| `class`, `scope` | the runner class; the organization, repository or enterprise of the "
    "runner |\n"
    "| `error`, `error_class`, `error_code` | what failed; whether it is temporary (`retry`, "
    "`throttled`, `capacity`, `conflict`) or needs a change (`permanent`, `auth`, `not_found`); "
    "a system's or HTTP's code, if there is one |\n"
    "| `action` | what the program does next |\n"
    "| `hint` | what an operator can change |\n"
    "| `suppressed` | the number of lines of this event and error class that were left out: at "
    "warn and "
    "error (and of `job_ignored`) 10 a second are written |\n"
    "| `truncated` | true if fields were left out, because a line has at most 8 KiB |\n"
    "\n"
    "Not every line of an event has all of its fields.\n"
    "\n"
    "Levels: `error` needs an operator; `warn` is handled, but needs one if it lasts; `info` is\n"
    "normal operation; `debug` is written only with `log_level: debug`.\n";

/* "a, b" as code: `a`, `b` */
static void append_list(struct buf *out, const char *list)
{
    struct slice rest = slice_of(list);
    struct slice item;
    bool more = true;
    while (more) {
        more = slice_cut(rest, ',', &item, &rest);
        item = slice_trim(item);
        buf_printf(out, "`%.*s`%s", (int)item.len, item.ptr, more ? ", " : "\n");
    }
}

static void append_events(struct buf *out, const struct log_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct log_event *ev = &events[i];
        buf_printf(out, "\n### %s\n\n%s\n\n- What to do: %s\n", ev->name, ev->meaning, ev->action);
        buf_printf(out, "- Level: %s. Written by: %s.\n- Fields: ", ev->levels, ev->programs);
        append_list(out, ev->fields);
    }
}

void log_events_reference(struct buf *out)
{
    buf_append_cstr(out, introduction);
    buf_append_cstr(out, "\n## Ingress, worker and reaper\n");
    append_events(out, log_events, log_event_count);
    append_events(out, log_events_delivery, log_event_delivery_count);
    append_events(out, log_events_job, log_event_job_count);
    append_events(out, log_events_kafka, log_event_kafka_count);
    append_events(out, log_events_sets, log_event_sets_count);
    append_events(out, log_events_vm, log_event_vm_count);
    buf_append_cstr(out, "\n## The agent in the VMs\n");
    append_events(out, log_events_agent, log_event_agent_count);
}
