#include "common/base/attr.h"
#include "common/program/log_events.h"

const struct log_event log_events_delivery[] = {
    {"delivery_duplicate", "ingress", "info", "status, reason, delivery_id, github_event",
     "GitHub sent a delivery that this ingress had already queued. It was not queued again.",
     "Nothing."},
    {"delivery_ignored", "ingress", "debug", "status, reason, delivery_id, github_event",
     "A delivery with a valid signature needs no action: another event type, another repository, "
     "or labels that match no runner class.",
     "If a job should have run on Mayfly, compare its labels with those of the classes."},
    {"delivery_log_unavailable", "reaper", "info", "reason, action",
     "The reaper cannot read GitHub's log of webhook deliveries, so it recovers no failed ones.",
     "Set `github.app` or `github.hook`."},
    {"delivery_lost", "reaper", "warn",
     "delivery_id, webhook_action, error, error_class, error_code, action",
     "GitHub refused to show a delivery, and, unless deliveries are pulled, to send it again. The "
     "reaper does not try again.",
     "Grant the App or token read and write access to webhooks. Redeliver this one in the "
     "webhook's settings at GitHub."},
    {"delivery_malformed", "ingress, reaper", "warn", "status, reason, delivery_id, github_event",
     "A delivery with a valid signature, or one that was pulled, could not be parsed. The ingress "
     "answered 400.",
     "Compare `reason` with the delivery in the webhook's settings at GitHub, and report it as a "
     "bug."},
    {"delivery_not_matched", "reaper", "debug", "delivery_id, reason",
     "A failed delivery in GitHub's delivery log is not for Mayfly, so it was not recovered.",
     "Nothing."},
    {"delivery_pulled", "reaper", "debug", "delivery_id, job_id, webhook_action",
     "A delivery was read from GitHub's delivery log (`github.pull`) and put on the queue. One "
     "whose job waits for a runner is logged as `job_accepted`.",
     "Nothing."},
    {"delivery_recovered", "reaper", "info",
     "delivery_id, job_id, webhook_action, lane, answered, late_ms",
     "A failed delivery was read from GitHub's delivery log and put on the queue. `answered` is "
     "the HTTP status that GitHub got at first, `late_ms` the delay.",
     "Nothing. If it repeats, find out why the ingress did not accept the deliveries."},
    {"delivery_recovery_failed", "reaper", "warn",
     "delivery_id, error, error_class, error_code, action",
     "A failed delivery could not be read from GitHub, be requested again, or be put on the queue. "
     "It is tried again.",
     "If it lasts, fix the cause in `error`: GitHub's API or the queue."},
    {"delivery_rejected", "ingress", "warn",
     "status, reason, delivery_id, github_event, waited_ms, waiting",
     "The ingress was overloaded: `ingress.max_in_flight` deliveries were being stored, and none "
     "of them ended in time. GitHub got 503.",
     "Check the latency of the queue. Raise `ingress.max_in_flight` or run more ingress processes. "
     "The reaper recovers the delivery from GitHub's delivery log."},
    {"delivery_stale", "reaper", "info", "delivery_id, job_id, reason",
     "A failed or pulled delivery announced a job that is already running or completed, or known, "
     "so nothing is launched for it.",
     "Nothing."},
    {"delivery_unexpected", "ingress", "warn", "status, reason, delivery_id, github_event",
     "GitHub sent a `workflow_job` delivery without a job in it. It was answered 200 and ignored.",
     "Nothing. If it repeats, report the delivery to GitHub."},
    {"delivery_unsigned", "ingress", "warn", "status, reason, delivery_id, github_event",
     "The signature of a request matches none of the webhook secrets. It was answered 401 and its "
     "body was not parsed.",
     "If GitHub lists this delivery, set the same secret in the webhook at GitHub and in "
     "`github.webhook_secrets`. If not, someone else calls the URL."},
    {"delivery_verified", "ingress", "debug", "delivery_id, job_id, webhook_action, lane",
     "A delivery has a valid signature and concerns Mayfly. It is about to be stored in this lane "
     "of the queue.",
     "Nothing."},
};

const size_t log_event_delivery_count = COUNT_OF(log_events_delivery);
