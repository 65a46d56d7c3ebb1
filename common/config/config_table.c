#include "common/config/config_private.h"

#include <string.h>

#include "common/config/config_rows.h"

#define IN_CONFIG(member) offsetof(struct config, member)
#define IN_CLASS(member) offsetof(struct config_class, member)

#define ADDRESS_MAX 60

const struct setting_section config_sections[] = {
    {"", "What every program needs."},
    {"aws", "Calling AWS: queue, ledger, VMs and secrets alike. What is empty here is as the "
            "environment says (`AWS_REGION`, `AWS_PROFILE`, …); credentials are found in AWS's "
            "usual order. See `deploy/aws.md`."},
    {"github", "GitHub, GitHub Enterprise Server or ghe.com. The worker and the reaper need either "
               "`github.app` or `github.token`; the ingress needs neither."},
    {"ingress", "The webhook's receiver."},
    {"worker", "The launcher of VMs."},
    {"reaper", "The sweeper. Each wait is counted from the moment the ledger noted."},
    {"limits", "Caps and rates of the whole fleet. A job above a cap waits; no attempt is spent on "
               "it. A call that a VM provider refuses as too fast "
               "(`mayfly_fleet_throttled_total`) stops all calls of its kind, in all processes, "
               "for as long as the provider said, but no longer than the rate's burst takes to be "
               "there again."},
    {"retry", "What happens after a transient error: full-jitter back-off, each wait uniform "
              "between 0 and `min(cap_ms, base_ms * 2^(attempt-1))`."},
    {"breaker", "The circuit of each class, shared by all workers."},
    {"classes[]", "Runner classes, a list. A job belongs to the first class whose `labels` contain "
                  "all of the job's labels and whose `required_labels` the job all carries; case "
                  "does not count, and a job without labels belongs to none."},
};
const size_t config_section_count = COUNT_OF(config_sections);

const struct setting config_settings[] = {
    /* --- top level --- */
    TEXT("deployment", IN_CONFIG(deployment), "mayfly", 1, 20, .form = &form_name,
         .readers = FOR_ALL,
         .help = "Marks runners and VMs as ours: the reaper touches nothing without it. Two "
                 "deployments in one organization need two names."),
    TEXT("queue", IN_CONFIG(queue), "", 1, TEXT_MAX, .form = &form_store_url,
         .flags = SETTING_SECRET, .readers = FOR_ALL, .required = FOR_ALL,
         .example = "queue: sqlite:///var/lib/mayfly/queue.db",
         .help = "The durable queue between the ingress and the workers: `sqlite:///PATH` on one "
                 "machine, `redis://HOST:PORT` or `sqs://PREFIX` for several."),
    TEXT("ledger", IN_CONFIG(ledger), "", 1, TEXT_MAX, .form = &form_store_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET | FOR_CTL, .required = FOR_FLEET | FOR_CTL,
         .example = "ledger: sqlite:///var/lib/mayfly/ledger.db",
         .help = "The fleet's shared memory: jobs, VMs, slots, rates, timelines. "
                 "`sqlite:///PATH` for one machine, `redis://HOST` (deploy/redis.md) or "
                 "`dynamodb://TABLE` (deploy/dynamodb.md) for more."),
    TEXT("log_level", IN_CONFIG(log_level), "info", 1, 5, .words = "debug info warn error",
         .flags = SETTING_RELOADABLE, .readers = FOR_ALL,
         .help = "The lowest level that is written. One event at `warn` or `error` is written at "
                 "most ten times a second; the next line tells how many were left out."),

    /* --- aws --- */
    TEXT("aws.region", IN_CONFIG(aws.region), "", 0, 63, .form = &form_name, .readers = FOR_ALL,
         .help = "Where services are that no ARN or URL places. Empty takes `AWS_REGION`, "
                 "`AWS_DEFAULT_REGION`, the profile's, and the container's or instance's own."),
    TEXT("aws.profile", IN_CONFIG(aws.profile), "", 0, 128, .readers = FOR_ALL,
         .help = "Profile in the shared files (`~/.aws/config`, `~/.aws/credentials`). One that is "
                 "named here comes before keys in the environment. Empty takes `AWS_PROFILE`, then "
                 "`default`."),
    TEXT("aws.endpoint", IN_CONFIG(aws.endpoint), "", 0, 1000, .form = &form_http_url,
         .readers = FOR_ALL,
         .help = "URL of every service of AWS, for stand-ins. Empty takes "
                 "`AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the profile's `endpoint_url`, "
                 "and else each service's own host."),
    TEXT("aws.proxy", IN_CONFIG(aws.proxy), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_ALL,
         .help = "An HTTP proxy for calls of AWS. Empty takes the environment's. Metadata of "
                 "containers and instances are never asked through one."),
    BOOL("aws.fips", IN_CONFIG(aws.fips), "false", .readers = FOR_ALL,
         .help = "Take the hosts whose cryptography is validated (FIPS 140), as "
                 "`AWS_USE_FIPS_ENDPOINT` does. Not every region has them."),
    BOOL("aws.dual_stack", IN_CONFIG(aws.dual_stack), "false", .readers = FOR_ALL,
         .help = "Take the hosts that have IPv6 too, as `AWS_USE_DUALSTACK_ENDPOINT` does."),

    /* --- github --- */
    TEXT("github.api_url", IN_CONFIG(github.api_url), "https://api.github.com", 1, TEXT_MAX,
         .form = &form_http_url, .readers = FOR_FLEET,
         .help = "The REST API. Enterprise Server: `https://HOST/api/v3`; ghe.com: "
                 "`https://api.SUBDOMAIN.ghe.com`."),
    TEXT("github.app.id", IN_CONFIG(github.app_id), "", 0, 64, .readers = FOR_FLEET,
         .help = "The GitHub App's id or client id. Excludes `github.token`."),
    TEXT("github.app.private_key", IN_CONFIG(github.app_key), "", 0, 65536, .form = &form_app_key,
         .flags = SETTING_SECRET | SETTING_LINES, .readers = FOR_FLEET,
         .help = "The App's private key in PEM, best as `file:PATH`; or `kms:KEY` (ARN, id or "
                 "`alias/NAME`): an RSA key that KMS signs with and that never leaves it. Its "
                 "tokens are used for four minutes, so that KMS is called that often at most."),
    TEXT("github.token", IN_CONFIG(github.token), "", 0, TEXT_MAX, .flags = SETTING_SECRET,
         .readers = FOR_FLEET,
         .help = "A personal access token instead of an App, best as `env:NAME`."),
    WHOLE("github.installation", IN_CONFIG(github.installation), "0", 0, INT64_MAX,
          .readers = FOR_FLEET,
          .help = "The App's installation. 0 takes it from the delivery, or looks it up."),
    LIST("github.webhook_secrets", IN_CONFIG(github.webhook_secrets), 1, 10, .form = &form_secret,
         .flags = SETTING_SECRET | SETTING_RELOADABLE, .readers = FOR_INGRESS,
         .required = FOR_INGRESS, .example = "webhook_secrets: [env:WEBHOOK_SECRET]",
         .help = "A delivery signed with any of them is genuine: two while you rotate. One signed "
                 "with none is answered 401."),
    TEXT("github.scope", IN_CONFIG(github.scope), "organization", 1, 12,
         .words = "organization repository", .readers = FOR_DAEMONS,
         .help = "Where runners register. Jobs of a repository that a user owns register with the "
                 "repository in either case."),
    LIST("github.repositories", IN_CONFIG(github.repositories), 0, 10000, .form = &form_repository,
         .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS,
         .help = "Repositories whose jobs are taken, as `owner/name` or `owner/*`; empty takes all "
                 "that send deliveries. Others are answered 200 and left alone."),
    TEXT("github.runner_group", IN_CONFIG(github.runner_group), "Default", 1, 256,
         .readers = FOR_FLEET,
         .help = "The runner group, by name, of an organization's runners. A class may name its "
                 "own."),
    TEXT("github.api_version", IN_CONFIG(github.api_version), "2022-11-28", 1, 32,
         .readers = FOR_FLEET, .help = "Sent as `X-GitHub-Api-Version`."),
    TEXT("github.proxy", IN_CONFIG(github.proxy), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "An HTTP proxy for calls of the API. Empty takes the environment's."),
    WHOLE("github.timeout_ms", IN_CONFIG(github.timeout_ms), "30000", 100, 600000,
          .readers = FOR_FLEET,
          .help = "One call of the API, whole. A call that takes longer is a transient error."),
    WHOLE("github.limit_pause_ms", IN_CONFIG(github.limit_pause_ms), "60000", 1000, 3600000,
          .readers = FOR_FLEET,
          .help = "After a refusal for a rate limit that names no time, nobody calls the API for "
                  "so long; it doubles with each in a row, up to 16 times. GitHub asks for a "
                  "minute at least, and may ban an App that does not wait."),
    NUMBER("github.rate.per_second", IN_CONFIG(github.rate.per_second), "10", 0, RATE_MAX,
           .readers = FOR_FLEET,
           .help = "Calls of the API a second, of all processes together, for each installation. "
                   "Calls beyond it wait; 0 does not limit them."),
    WHOLE("github.rate.burst", IN_CONFIG(github.rate.burst), "60", 1, RATE_MAX,
          .readers = FOR_FLEET, .help = "Calls that may be made at once after a quiet time."),
    WHOLE("github.hook.id", IN_CONFIG(github.hook.id), "0", 0, INT64_MAX, .readers = FOR_REAPER,
          .help = "The webhook whose delivery log the reaper reads to recover lost deliveries. 0 "
                  "reads the App's own; with `github.token` and 0 none is read, and a delivery "
                  "that failed stays lost until somebody asks GitHub for it again."),
    TEXT("github.hook.organization", IN_CONFIG(github.hook.organization), "", 0, 39,
         .readers = FOR_REAPER,
         .help = "The organization that the webhook belongs to. The App or token needs the "
                 "permission for organization webhooks (read; write to ask for redelivery)."),
    TEXT("github.hook.repository", IN_CONFIG(github.hook.repository), "", 0, 140,
         .form = &form_repository, .readers = FOR_REAPER,
         .help = "The repository that the webhook belongs to, as `owner/name`, instead of an "
                 "organization. Needs the permission for repository webhooks."),

    /* --- ingress --- */
    TEXT("ingress.listen", IN_CONFIG(ingress.listen), "0.0.0.0:8080", 1, ADDRESS_MAX,
         .form = &form_address, .readers = FOR_INGRESS,
         .help = "Where deliveries arrive. Port 0 lets the kernel choose."),
    TEXT("ingress.path", IN_CONFIG(ingress.path), "/webhook", 1, 256, .form = &form_url_path,
         .readers = FOR_INGRESS, .help = "The webhook's path. Other paths are answered 404."),
    TEXT("ingress.admin_listen", IN_CONFIG(ingress.admin_listen), "127.0.0.1:9101", 0, ADDRESS_MAX,
         .form = &form_address, .readers = FOR_INGRESS,
         .help = "/metrics, /healthz and /readyz, without TLS. Empty opens no admin port."),
    TEXT("ingress.tls.certificate", IN_CONFIG(ingress.tls_certificate), "", 0, TEXT_MAX,
         .flags = SETTING_PATH, .readers = FOR_INGRESS,
         .help = "Path of the certificate chain in PEM. With `ingress.tls.key` it turns TLS on."),
    TEXT("ingress.tls.key", IN_CONFIG(ingress.tls_key), "", 0, TEXT_MAX, .flags = SETTING_PATH,
         .readers = FOR_INGRESS, .help = "Path of the certificate's private key in PEM."),
    WHOLE("ingress.threads", IN_CONFIG(ingress.threads), "0", 0, 256, .readers = FOR_INGRESS,
          .help = "Event loops. 0 takes one for each core."),
    WHOLE("ingress.max_body_bytes", IN_CONFIG(ingress.max_body_bytes), "1048576", 1024, 26214400,
          .readers = FOR_INGRESS,
          .help = "A larger body is answered 413. GitHub sends up to 25 MiB for other events; a "
                  "workflow_job takes about 12 kB."),
    WHOLE("ingress.max_header_bytes", IN_CONFIG(ingress.max_header_bytes), "16384", 1024, 1048576,
          .readers = FOR_INGRESS, .help = "Larger headers are answered 400."),
    WHOLE("ingress.max_connections", IN_CONFIG(ingress.max_connections), "4096", 1, 1000000,
          .readers = FOR_INGRESS,
          .help = "Open connections. One more takes the place of the longest idle one, or waits "
                  "until one ends."),
    WHOLE("ingress.max_in_flight", IN_CONFIG(ingress.max_in_flight), "2048", 1, 1000000,
          .readers = FOR_INGRESS,
          .help = "Deliveries on their way to the queue, shared out evenly between the event "
                  "loops. A connection has one at most, however much it sends ahead. One more "
                  "waits for a place, first come, first served."),
    WHOLE("ingress.in_flight_wait_ms", IN_CONFIG(ingress.in_flight_wait_ms), "2000", 0, 60000,
          .readers = FOR_INGRESS,
          .help = "How long a delivery waits for a place in flight; then it is answered 503 with "
                  "Retry-After. 0: at once. It is part of `ingress.put_deadline_ms`."),
    WHOLE("ingress.request_timeout_ms", IN_CONFIG(ingress.request_timeout_ms), "10000", 100, MS_MAX,
          .readers = FOR_INGRESS,
          .help = "From the first byte of a request to its last. A slower one is closed."),
    WHOLE("ingress.idle_timeout_ms", IN_CONFIG(ingress.idle_timeout_ms), "65000", 100, MS_MAX,
          .readers = FOR_INGRESS,
          .help = "A connection without a request for so long is closed. Longer than a load "
                  "balancer's own, which is 60 s mostly."),
    WHOLE("ingress.committers", IN_CONFIG(ingress.committers), "2", 1, 64, .readers = FOR_INGRESS,
          .help = "Threads that put batches of deliveries on the queue."),
    WHOLE("ingress.batch", IN_CONFIG(ingress.batch), "256", 1, 4096, .readers = FOR_INGRESS,
          .help = "Deliveries in one put, at most; what gathers beyond it goes into the next."),
    WHOLE("ingress.put_deadline_ms", IN_CONFIG(ingress.put_deadline_ms), "5000", 10, 60000,
          .readers = FOR_INGRESS,
          .help = "A delivery that is not durable after so long is answered 503 with Retry-After. "
                  "GitHub itself gives up after 10 s."),
    WHOLE("ingress.retry_after_seconds", IN_CONFIG(ingress.retry_after_seconds), "10", 0, 3600,
          .flags = SETTING_RELOADABLE, .readers = FOR_INGRESS, .help = "The Retry-After of a 503."),
    WHOLE("ingress.dedupe_entries", IN_CONFIG(ingress.dedupe_entries), "65536", 1, 16777216,
          .readers = FOR_INGRESS,
          .help =
              "Delivery ids remembered, the oldest forgotten first. A repeat that was forgotten "
              "is put on the queue again, where it does no harm."),
    WHOLE("ingress.drain_seconds", IN_CONFIG(ingress.drain_seconds), "10", 0, 3600,
          .readers = FOR_INGRESS,
          .help = "After SIGTERM: what is in flight may take so long to be answered."),
    WHOLE("ingress.record_format", IN_CONFIG(ingress.record_format), "1", 1, 1000000,
          .flags = SETTING_RELOADABLE, .readers = FOR_INGRESS,
          .help =
              "The format of the messages that the ingress puts on the queue; workers and "
              "reapers take theirs from the ledger. The default is the previous release's, so "
              "that an upgrade may begin with the ingress. `mayflyctl upgrade finish` says when "
              "to raise it."),
    TEXT("ingress.spool.path", IN_CONFIG(ingress.spool_path), "", 0, TEXT_MAX,
         .flags = SETTING_PATH, .readers = FOR_INGRESS,
         .help = "File of the local spool, one for each ingress: a second one is refused at its "
                 "start. When the queue refuses a put, or "
                 "takes longer than `ingress.put_deadline_ms`, deliveries are made durable there, "
                 "answered 202, and moved on in order when the queue is back; and the ingress "
                 "starts while the queue is away. Empty: no spool, such deliveries are answered "
                 "503. It gains nothing where the queue is SQLite on the same disk."),
    WHOLE("ingress.spool.max_messages", IN_CONFIG(ingress.spool_max_messages), "100000", 1,
          10000000, .readers = FOR_INGRESS,
          .help = "Deliveries in the spool, about 2 kB each. More are answered 503 with "
                  "Retry-After, as on a full disk."),
    WHOLE("ingress.spool.max_age_seconds", IN_CONFIG(ingress.spool_max_age_seconds), "86400", 1,
          2592000, .readers = FOR_INGRESS,
          .help = "While the spool's oldest delivery is older, new ones are answered 503 with "
                  "Retry-After. What is in the spool is moved on however old it is."),
    WHOLE("ingress.spool.batch", IN_CONFIG(ingress.spool_batch), "512", 1, 1024,
          .readers = FOR_INGRESS,
          .help = "Deliveries moved from the spool to the queue at a time."),
    WHOLE("ingress.spool.retry_ms", IN_CONFIG(ingress.spool_retry_ms), "2000", 100, MS_MAX,
          .readers = FOR_INGRESS,
          .help = "The longest wait between two attempts to move the spool on; full-jitter "
                  "back-off from 100 ms."),
    WHOLE("ingress.ready.spool_percent", IN_CONFIG(ingress.ready_spool_percent), "80", 1, 100,
          .readers = FOR_INGRESS,
          .help = "From so much of `ingress.spool.max_messages` on, /readyz is red. It is too "
                  "while the spool's oldest is over age. With a spool, a queue that is away does "
                  "not make it red."),
    WHOLE("ingress.ready.intake_percent", IN_CONFIG(ingress.ready_intake_percent), "90", 1, 100,
          .readers = FOR_INGRESS,
          .help = "From so much of `ingress.max_in_flight` on, /readyz is red, so that a load "
                  "balancer sends deliveries elsewhere."),

    /* --- worker --- */
    TEXT("worker.admin_listen", IN_CONFIG(worker.admin_listen), "127.0.0.1:9102", 0, ADDRESS_MAX,
         .form = &form_address, .readers = FOR_WORKER,
         .help = "/metrics, /healthz and /readyz, without TLS. Empty opens no admin port."),
    WHOLE("worker.launch_threads", IN_CONFIG(worker.launch_threads), "8", 1, 1024,
          .readers = FOR_WORKER,
          .help = "Launches in flight of one worker, all classes together; other jobs wait. No "
                  "class holds more than its share while others have work. At least one per "
                  "class."),
    WHOLE("worker.event_threads", IN_CONFIG(worker.event_threads), "2", 1, 64,
          .readers = FOR_WORKER, .help = "Threads that note what became of jobs."),
    WHOLE("worker.end_threads", IN_CONFIG(worker.end_threads), "2", 1, 256, .readers = FOR_WORKER,
          .help = "Threads that end VMs whose job is over."),
    WHOLE("worker.lease_ms", IN_CONFIG(worker.lease_ms), "30000", 100, MS_MAX, .readers = FOR_FLEET,
          .help = "How long a taken message is this worker's; a heartbeat extends it while its "
                  "launch makes progress. After a crash another worker takes it when this is "
                  "over."),
    WHOLE("worker.slot_poll_ms", IN_CONFIG(worker.slot_poll_ms), "20", 1, 60000,
          .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
          .help = "How often the counter of freed slots is read while a class is full. With "
                  "DynamoDB, where each read is paid for, 250 is enough."),
    WHOLE("worker.end_grace_ms", IN_CONFIG(worker.end_grace_ms), "10000", 0, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "A VM whose job is over may take so long to end by itself; then it is ended."),
    WHOLE("worker.drain_seconds", IN_CONFIG(worker.drain_seconds), "30", 0, 3600,
          .readers = FOR_WORKER,
          .help = "After SIGTERM: launches in flight may take so long; the rest is given back."),

    /* --- reaper --- */
    TEXT("reaper.admin_listen", IN_CONFIG(reaper.admin_listen), "127.0.0.1:9103", 0, ADDRESS_MAX,
         .form = &form_address, .readers = FOR_REAPER,
         .help = "/metrics, /healthz and /readyz, without TLS. Empty opens no admin port."),
    WHOLE("reaper.interval_ms", IN_CONFIG(reaper.interval_ms), "10000", 10, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER, .help = "Between two sweeps."),
    WHOLE("reaper.lease_ms", IN_CONFIG(reaper.lease_ms), "60000", 100, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "One reaper sweeps, and keeps its lease until it ends; after its crash another "
                  "takes over when this is over. At least three times `reaper.interval_ms`."),
    WHOLE("reaper.confirm_after_ms", IN_CONFIG(reaper.confirm_after_ms), "60000", 0, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "What only seems to be wrong with a VM, a machine or a runner's registration (it "
                  "is not listed, or nothing accounts for it) is acted upon when a sweep sees it "
                  "again, so long after it was first seen or later."),
    WHOLE("reaper.deadline_grace_ms", IN_CONFIG(reaper.deadline_grace_ms), "60000", 0, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "A VM so long past its class's `max_duration_seconds` is ended. Also how far "
                  "the provider's clock and ours may be apart when a VM is looked for whose launch "
                  "was never answered."),
    WHOLE("reaper.startup_timeout_ms", IN_CONFIG(reaper.startup_timeout_ms), "300000", 100, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "A launch may take so long in all, while its worker's heartbeat keeps it. A "
                  "launched VM whose runner was never seen online for so long is ended, and "
                  "another launched if it is still wanted. A launch that was never answered has "
                  "left no VM if none that fits is listed for so long."),
    WHOLE("reaper.ending_grace_ms", IN_CONFIG(reaper.ending_grace_ms), "120000", 0, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "A VM that has been ending for so long is ended for good."),
    WHOLE("reaper.patience_ms", IN_CONFIG(reaper.patience_ms), "120000", 100, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "A job that waits longer while VMs are fewer than jobs gets another launch "
                  "message."),
    WHOLE("reaper.keep_hours", IN_CONFIG(reaper.keep_hours), "72", 0, 87600,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "Ended jobs and VMs stay in the ledger so long, for `mayflyctl why`; then they "
                  "are removed."),
    WHOLE("reaper.keep_logs_hours", IN_CONFIG(reaper.keep_logs_hours), "24", 0, 87600,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "Consoles and exit records of ended VMs stay on their host so long; then they "
                  "are removed."),
    WHOLE("reaper.records_interval_ms", IN_CONFIG(reaper.records_interval_ms), "60000", 10, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "Between two readings of GitHub's runner lists, in search of records that were "
                  "left over."),
    WHOLE("reaper.drain_seconds", IN_CONFIG(reaper.drain_seconds), "30", 0, 3600,
          .readers = FOR_REAPER,
          .help = "After SIGTERM: the call that a sweep waits for may take so long; what the sweep "
                  "did not come to is the next holder's."),
    WHOLE("reaper.deliveries.interval_ms", IN_CONFIG(reaper.deliveries.interval_ms), "60000", 10,
          MS_MAX, .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "Between two readings of GitHub's delivery log, in search of deliveries that "
                  "failed. Needs an App, or `github.hook`."),
    WHOLE("reaper.deliveries.window_ms", IN_CONFIG(reaper.deliveries.window_ms), "3600000", 1000,
          3 * (int64_t)MS_MAX, .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "How far back the very first reading looks; later ones go back to the last good "
                  "one, at most three days, which is as long as GitHub remembers."),
    WHOLE("reaper.deliveries.margin_ms", IN_CONFIG(reaper.deliveries.margin_ms), "120000", 0,
          3600000, .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "How much of what was read is read again, because deliveries appear late."),
    WHOLE("reaper.deliveries.calls_per_sweep", IN_CONFIG(reaper.deliveries.calls), "60", 2, 10000,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "Calls of the API for that in one sweep, at most; the next sweep goes on."),

    /* --- limits and retry --- */
    WHOLE("limits.max_vms", IN_CONFIG(limits.max_vms), "100", 1, 1000000,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET, .help = "VMs of all classes at once."),
    WHOLE("limits.max_vms_per_repository", IN_CONFIG(limits.max_vms_per_repository), "0", 0,
          1000000, .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "VMs launched for one repository at once; 0 sets no cap."),
    NUMBER("limits.launch_rate.per_second", IN_CONFIG(limits.launch_rate.per_second), "5", 0,
           RATE_MAX, .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
           .help = "Launches a second of all classes together; 0 does not limit them."),
    WHOLE("limits.launch_rate.burst", IN_CONFIG(limits.launch_rate.burst), "5", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "Launches at once after a quiet time."),
    NUMBER("limits.terminate_rate.per_second", IN_CONFIG(limits.terminate_rate.per_second), "10", 0,
           RATE_MAX, .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
           .help =
               "VMs that workers and reapers together end in a second, counted as their provider "
               "counts (by account and region, or by host); the others follow, and "
               "`mayfly_fleet_rate_waits_total{call=\"terminate\"}` counts the waits. 0 does "
               "not limit them."),
    WHOLE("limits.terminate_rate.burst", IN_CONFIG(limits.terminate_rate.burst), "10", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "VMs ended at once after a quiet time."),
    NUMBER("limits.describe_rate.per_second", IN_CONFIG(limits.describe_rate.per_second), "100", 0,
           RATE_MAX, .readers = FOR_FLEET,
           .help = "Calls a second that ask for one VM, of all processes together; "
                   "one that waits longer than 5 s is given up until the next sweep. Counted by "
                   "`mayfly_fleet_rate_waits_total{call=\"describe\"}`. 0 does not limit them."),
    WHOLE("limits.describe_rate.burst", IN_CONFIG(limits.describe_rate.burst), "100", 1, RATE_MAX,
          .readers = FOR_FLEET, .help = "Such calls at once after a quiet time."),
    NUMBER("limits.list_rate.per_second", IN_CONFIG(limits.list_rate.per_second), "10", 0, RATE_MAX,
           .readers = FOR_FLEET,
           .help = "Calls a second that list VMs (one for each page), of all "
                   "processes together; a list with a page that waits longer than 5 s is given up "
                   "until the next sweep. Counted by "
                   "`mayfly_fleet_rate_waits_total{call=\"list\"}`. 0 does not limit them."),
    WHOLE("limits.list_rate.burst", IN_CONFIG(limits.list_rate.burst), "10", 1, RATE_MAX,
          .readers = FOR_FLEET, .help = "Such calls at once after a quiet time."),
    WHOLE("retry.max_attempts", IN_CONFIG(retry.max_attempts), "8", 1, 1000,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "Attempts of one message. After the last it is buried with its error: "
                  "`mayflyctl dead` shows it."),
    WHOLE("retry.base_ms", IN_CONFIG(retry.base_ms), "1000", 1, MS_MAX, .flags = SETTING_RELOADABLE,
          .readers = FOR_FLEET, .help = "The longest wait before the first retry."),
    WHOLE("retry.cap_ms", IN_CONFIG(retry.cap_ms), "300000", 1, MS_MAX, .flags = SETTING_RELOADABLE,
          .readers = FOR_FLEET,
          .help = "The longest wait before any retry; not below `retry.base_ms`."),

    /* --- breaker --- */
    WHOLE("breaker.failures", IN_CONFIG(breaker.failures), "5", 0, 1000,
          .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
          .help = "Jobs in a row, in the whole fleet, whose launch was refused (bad image, "
                  "permission denied) that stop their class; its jobs then wait and spend no "
                  "attempts. 0 never stops one."),
    WHOLE("breaker.pause_ms", IN_CONFIG(breaker.pause_ms), "60000", 10, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
          .help = "After so long one launch is tried: success starts the class again, another "
                  "refusal doubles the wait."),
    WHOLE("breaker.max_pause_ms", IN_CONFIG(breaker.max_pause_ms), "900000", 10, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
          .help = "The longest wait between two tries."),

    /* --- classes --- */
    TEXT("classes[].name", IN_CLASS(name), "", 1, 32, .form = &form_name, .readers = FOR_DAEMONS,
         .required = FOR_DAEMONS, .example = "name: small",
         .help = "Names the class in logs, metrics and the queue's lanes. Must be unique."),
    LIST("classes[].labels", IN_CLASS(labels), 1, 100, .form = &form_label,
         .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS, .required = FOR_DAEMONS,
         .example = "labels: [self-hosted, linux, x64, microvm]",
         .help = "The labels of the class's runners: exactly these, GitHub adds none."),
    LIST("classes[].required_labels", IN_CLASS(required_labels), 0, 100, .form = &form_label,
         .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS,
         .help = "Labels a job must carry to belong here; all must be among `labels`. Keeps jobs "
                 "that any self-hosted runner may take from launching a VM."),
    TEXT("classes[].provider", IN_CLASS(provider), config_provider_default, 1, 32,
         .words = config_provider_names, .readers = FOR_FLEET, .help = "What runs the VMs."),
    TEXT("classes[].runner_group", IN_CLASS(runner_group), "", 0, 256, .readers = FOR_FLEET,
         .help = "Empty takes `github.runner_group`."),
    WHOLE("classes[].max_vms", IN_CLASS(max_vms), "4", 1, 1000000, .flags = SETTING_RELOADABLE,
          .readers = FOR_FLEET, .help = "VMs of this class at once; other jobs wait for a slot."),
    WHOLE("classes[].max_duration_seconds", IN_CLASS(max_duration_seconds), "3600", 1, 432000,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "From a VM's launch to its end, job and all. After that it is ended, and with it "
                  "the job."),
    WHOLE("classes[].idle_seconds", IN_CLASS(idle_seconds), "120", 1, 86400,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "A VM that got no job for so long ends itself."),
    WHOLE("classes[].patience_ms", IN_CLASS(patience_ms), "0", 0, MS_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "0 takes `reaper.patience_ms`."),
    NUMBER("classes[].launch_rate.per_second", IN_CLASS(launch_rate.per_second), "0", 0, RATE_MAX,
           .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
           .help = "Launches a second of this class, within the fleet's; 0 does not limit them."),
    WHOLE("classes[].launch_rate.burst", IN_CLASS(launch_rate.burst), "1", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "Launches at once after a quiet time."),
    TEXT("classes[].proxy.http", IN_CLASS(proxy.http), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "`http_proxy` in the runner's environment; empty sets none."),
    TEXT("classes[].proxy.https", IN_CLASS(proxy.https), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "`https_proxy` in the runner's environment; empty sets none."),
    TEXT("classes[].proxy.no_proxy", IN_CLASS(proxy.no_proxy), "", 0, TEXT_MAX,
         .readers = FOR_FLEET, .help = "`no_proxy` in the runner's environment."),
};
const size_t config_setting_count = COUNT_OF(config_settings);

bool setting_is_of_class(const struct setting *s)
{
    return strncmp(s->key, "classes[].", 10) == 0;
}

const struct setting *setting_at(size_t i)
{
    if (i < config_setting_count) {
        return &config_settings[i];
    }
    i -= config_setting_count;
    for (size_t k = 0; k < config_provider_count; k++) {
        if (i < config_providers[k]->setting_count) {
            return &config_providers[k]->settings[i];
        }
        i -= config_providers[k]->setting_count;
    }
    return NULL;
}

const struct setting *setting_find(const char *key)
{
    const struct setting *s = setting_at(0);
    for (size_t i = 0; s != NULL && strcmp(s->key, key) != 0;) {
        s = setting_at(++i);
    }
    return s;
}

bool setting_is_section(const char *key)
{
    size_t n = strlen(key);
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (strncmp(s->key, key, n) == 0 && s->key[n] == '.') {
            return true;
        }
    }
    return false;
}
