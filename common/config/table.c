#include "common/config/private.h"

#include "common/config/rows.h"

#define IN_CONFIG(member) offsetof(struct config, member)
#define IN_APP(member) offsetof(struct config_app, member)
#define IN_SOURCE(member) offsetof(struct config_source, member)
#define IN_CLASS(member) offsetof(struct config_class, member)

const struct setting config_settings[] = {
    /* --- top level --- */
    TEXT("deployment", IN_CONFIG(deployment), "mayfly", 1, 20, .form = &form_name,
         .readers = FOR_ALL,
         .help = "Name of this deployment. Its runners' and VMs' names contain it; the reaper "
                 "changes no others. Two deployments in one organization need different names."),
    TEXT("queue", IN_CONFIG(queue), "", 1, TEXT_MAX, .form = &form_queue_url,
         .flags = SETTING_SECRET, .readers = FOR_ALL, .required = FOR_ALL,
         .example = "queue: sqlite:///var/lib/mayfly/queue.db",
         .help = "URL of the durable queue between the ingress and the workers: `sqlite:///PATH` "
                 "on one host, `redis://HOST:PORT` (deploy/docs/redis.md), `sqs://PREFIX` "
                 "(deploy/docs/sqs.md) or `kafka://HOST:PORT/NAME` (deploy/docs/kafka.md) for "
                 "several."),
    TEXT("ledger", IN_CONFIG(ledger), "", 1, TEXT_MAX, .form = &form_ledger_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET | FOR_CTL, .required = FOR_FLEET | FOR_CTL,
         .example = "ledger: sqlite:///var/lib/mayfly/ledger.db",
         .help = "URL of the fleet's shared state (jobs, VMs, slots, rate limits, timelines): "
                 "`sqlite:///PATH` on one host, `redis://HOST` (deploy/docs/redis.md) or "
                 "`dynamodb://TABLE` (deploy/docs/dynamodb.md) for several."),
    TEXT("state_dir", IN_CONFIG(state_dir), "/var/lib/mayfly/vms", 1, TEXT_MAX,
         .flags = SETTING_PATH, .readers = FOR_FLEET | FOR_CTL,
         .help = "Directory of a host whose worker runs VMs itself, for its worker and its reaper: "
                 "each VM has a directory below it, and the file `host-id` names the host in the "
                 "ledger. On a local disk, not shared with another host."),
    DURATION("heartbeat_interval", IN_CONFIG(heartbeat_interval_ms), "10s", 100, MINUTES(1),
             .readers = FOR_FLEET,
             .help =
                 "How often each worker and reaper writes to the ledger that it lives. One that "
                 "starts with the host id of another waits for three, to see if it lives."),
    TEXT("log_level", IN_CONFIG(log_level), "info", 1, 5, .choices = "debug info warn error",
         .flags = SETTING_RELOADABLE, .readers = FOR_ALL,
         .help = "The lowest level that is logged. The same message at `warn` or `error` is logged "
                 "at most ten times a second; the next line says how many were suppressed."),

    /* --- aws --- */
    TEXT("aws.region", IN_CONFIG(aws.region), "", 0, 63, .form = &form_name, .readers = FOR_ALL,
         .help = "Region of services whose ARN or URL names none. Empty: `AWS_REGION`, "
                 "`AWS_DEFAULT_REGION`, the profile's region, then the container's or instance's."),
    TEXT("aws.profile", IN_CONFIG(aws.profile), "", 0, 128, .readers = FOR_ALL,
         .help = "Profile in the shared files (`~/.aws/config`, `~/.aws/credentials`). A profile "
                 "set here takes precedence over access keys in the environment. Empty: "
                 "`AWS_PROFILE`, then `default`."),
    TEXT("aws.endpoint", IN_CONFIG(aws.endpoint), "", 0, 1000, .form = &form_http_url,
         .readers = FOR_ALL,
         .help = "URL used for every AWS service, for emulators. Empty: "
                 "`AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the profile's `endpoint_url`, "
                 "then each service's own host."),
    TEXT("aws.proxy", IN_CONFIG(aws.proxy), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_ALL,
         .help = "HTTP proxy for calls to AWS. Empty: the environment's. Container and instance "
                 "metadata are never read through a proxy."),
    BOOL("aws.fips", IN_CONFIG(aws.fips), "false", .readers = FOR_ALL,
         .help = "Use FIPS 140 validated endpoints, like `AWS_USE_FIPS_ENDPOINT`. Not every region "
                 "has them."),
    BOOL("aws.dual_stack", IN_CONFIG(aws.dual_stack), "false", .readers = FOR_ALL,
         .help = "Use endpoints that also have IPv6, like `AWS_USE_DUALSTACK_ENDPOINT`."),

    /* --- github --- */
    TEXT("github.api_url", IN_CONFIG(github.api_url), "https://api.github.com", 1, TEXT_MAX,
         .form = &form_api_url, .readers = FOR_DAEMONS,
         .help = "URL of the REST API. Enterprise Server: `https://HOST/api/v3`; ghe.com: "
                 "`https://api.SUBDOMAIN.ghe.com`."),
    TEXT("github.app.id", IN_CONFIG(github.app_id), "", 0, 64, .readers = FOR_FLEET,
         .help = "The GitHub App's id or client id."),
    TEXT("github.app.private_key", IN_CONFIG(github.app_key), "", 0, 65536, .form = &form_app_key,
         .flags = SETTING_SECRET | SETTING_LINES | SETTING_RELOADABLE, .readers = FOR_FLEET,
         .help = "The App's private key in PEM, best as `credential:NAME` or `file:PATH`; or "
                 "`kms:KEY` (ARN, id or `alias/NAME`): an RSA key in KMS, which signs and never "
                 "releases it. A signed token is reused for four minutes, so that KMS is called at "
                 "most that often."),
    TEXT("github.apps[].id", IN_APP(id), "", 1, 64, .readers = FOR_FLEET, .required = FOR_FLEET,
         .example = "id: 123456",
         .help = "Several Apps, in place of `github.app`: the id or client id of each. Only the "
                 "first has its webhook switched on."),
    TEXT("github.apps[].private_key", IN_APP(key), "", 1, 65536, .form = &form_app_key,
         .flags = SETTING_SECRET | SETTING_LINES | SETTING_RELOADABLE, .readers = FOR_FLEET,
         .required = FOR_FLEET, .example = "private_key: file:/etc/mayfly/app.pem",
         .help = "Its private key, as `github.app.private_key`."),
    LIST("github.apps[].organizations", IN_APP(organizations), 0, 10000, .form = &form_owner,
         .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
         .help = "Organizations (or users) whose runners it registers. Several Apps that name the "
                 "same one are used in rotation. Empty: all that no App names."),
    TEXT("github.apps[].api_url", IN_APP(api_url), "", 0, TEXT_MAX, .form = &form_api_url,
         .readers = FOR_FLEET,
         .help = "URL of the REST API that it belongs to. Empty: `github.api_url`."),
    TEXT(
        "github.token", IN_CONFIG(github.token), "", 0, TEXT_MAX, .form = &form_token,
        .flags = SETTING_SECRET, .readers = FOR_FLEET,
        .help =
            "A personal access token instead of an App, best as `env:NAME`. Beside an App only for "
            "the scope `enterprise`, which GitHub gives no App: a classic token with "
            "`manage_runners:enterprise`."),
    WHOLE("github.installation", IN_CONFIG(github.installation), "0", 0, INT64_MAX,
          .readers = FOR_FLEET,
          .help = "The App's installation id. 0: taken from the delivery, or looked up."),
    LIST("github.webhook_secrets", IN_CONFIG(github.webhook_secrets), 1, 10, .form = &form_secret,
         .flags = SETTING_SECRET | SETTING_RELOADABLE, .readers = FOR_INGRESS,
         .required = FOR_INGRESS, .example = "webhook_secrets: [env:WEBHOOK_SECRET]",
         .help = "Secrets of the webhook. A delivery signed with any of them is accepted, so list "
                 "two while you rotate; one signed with none is answered 401."),
    TEXT("github.scope", IN_CONFIG(github.scope), "organization", 1, 12,
         .choices = "organization repository enterprise", .readers = FOR_DAEMONS,
         .help = "Where runners register, unless their class has a `scope` of its own. For a "
                 "repository that a user owns, runners always register with the repository."),
    TEXT("github.enterprise", IN_CONFIG(github.enterprise), "", 0, 60, .form = &form_owner,
         .readers = FOR_DAEMONS,
         .help = "Slug of the enterprise that runners register with, as in "
                 "`github.com/enterprises/SLUG`. Required with the scope `enterprise`, and so is "
                 "`github.token` (deploy/docs/github-apps.md)."),
    LIST("github.repositories", IN_CONFIG(github.repositories), 0, 10000, .form = &form_repository,
         .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS,
         .help = "Repositories whose jobs are run, as `owner/name` or `owner/*`. Empty: all that "
                 "send deliveries. Deliveries from others are answered 200 and ignored."),
    TEXT("github.public_repositories", IN_CONFIG(github.public_repositories), "refuse", 1, 8,
         .choices = "refuse allow", .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS,
         .help = "Whether jobs of public repositories get VMs. Their workflows may run code of "
                 "anyone who can open a pull request: see deploy/docs/public-repositories.md. "
                 "`refuse`: their deliveries are answered 200 and counted "
                 "(`public_repository_refused`), and no VM is launched."),
    TEXT("github.runner_group", IN_CONFIG(github.runner_group), "Default", 1, 256,
         .readers = FOR_FLEET,
         .help = "Name of the runner group of an organization's runners. A class may set its own."),
    LIST("github.groups", IN_CONFIG(github.groups), 0, 10000, .form = &form_repository_group,
         .flags = SETTING_RELOADABLE | SETTING_PAIRS, .readers = FOR_FLEET,
         .help =
             "Runner groups of single repositories, as `{\"acme/quiet\": quiet-group}`: runners "
             "that are launched for their jobs register in that group of the organization, "
             "whatever the class's is, and are counted apart. `owner/*` is for those that are "
             "not named. Not for runners that register with repositories."),
    TEXT("github.api_version", IN_CONFIG(github.api_version), "2022-11-28", 1, 32,
         .readers = FOR_FLEET, .help = "Value of the header `X-GitHub-Api-Version`."),
    TEXT("github.proxy", IN_CONFIG(github.proxy), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "HTTP proxy for calls to the API. Empty: the environment's."),
    TEXT("github.ca", IN_CONFIG(github.ca), "", 0, TEXT_MAX, .readers = FOR_DAEMONS,
         .help = "File of CA certificates (PEM) for the API, of a GitHub Enterprise Server or of a "
                 "proxy that opens TLS. Empty: the file of `SSL_CERT_FILE`, else this host's."),
    DURATION("github.timeout", IN_CONFIG(github.timeout_ms), "30s", MILLISECONDS(100), MINUTES(10),
             .readers = FOR_FLEET,
             .help = "Time limit of one API call, from connecting to the last byte. A call that "
                     "takes longer fails as a transient error."),
    DURATION("github.secondary_limit_backoff", IN_CONFIG(github.secondary_limit_backoff_ms), "1m",
             SECONDS(1), HOURS(1), .readers = FOR_FLEET,
             .help = "How long no process calls the API after GitHub refused a call for a "
                     "secondary rate limit without saying when to retry. Doubles with each such "
                     "refusal in a row, up to 16 times. GitHub asks for at least one minute and "
                     "may ban an App that does not wait."),
    NUMBER("github.rate.per_second", IN_CONFIG(github.rate.per_second), "10", 0, RATE_MAX,
           .readers = FOR_FLEET,
           .help = "API calls per second for each installation, of all processes together. Calls "
                   "above it wait. 0: no limit."),
    WHOLE("github.rate.burst", IN_CONFIG(github.rate.burst), "60", 1, RATE_MAX,
          .readers = FOR_FLEET, .help = "API calls that may be made at once after a quiet time."),
    NUMBER("github.jit_rate.per_second", IN_CONFIG(github.jit_rate.per_second), "2.75", 0, RATE_MAX,
           .readers = FOR_FLEET,
           .help =
               "JIT configurations (registrations of runners) per second for each "
               "installation, of all processes together. GitHub refuses more than 180 a minute "
               "(900 points), and stops the installation for a minute or longer then. Those "
               "above the rate wait (`mayfly_github_registration_waits_total`). 0: no limit, as "
               "on GitHub Enterprise Server."),
    WHOLE("github.jit_rate.burst", IN_CONFIG(github.jit_rate.burst), "15", 1, RATE_MAX,
          .readers = FOR_FLEET,
          .help = "JIT configurations that may be requested at once after a quiet time. With 60 s "
                  "of the rate it must stay below GitHub's 180."),
    NUMBER("github.registration_rate.per_second", IN_CONFIG(github.registration_rate.per_second),
           "4.75", 0, RATE_MAX, .readers = FOR_FLEET,
           .help = "Registrations per second for each organization or repository. GitHub refuses "
                   "more than 1,500 in five minutes. It takes effect only where `github.jit_rate` "
                   "allows more. 0: no limit."),
    WHOLE("github.registration_rate.burst", IN_CONFIG(github.registration_rate.burst), "75", 1,
          RATE_MAX, .readers = FOR_FLEET,
          .help = "Registrations that may be made at once after a quiet time."),
    WHOLE("github.reconcile_percent", IN_CONFIG(github.reconcile_percent), "20", 1, 100,
          .readers = FOR_FLEET,
          .help =
              "Share of an installation's hourly limit, as GitHub names it "
              "(`mayfly_github_rate_limit`), that all reapers and workers may use for "
              "reconciling: runner lists, questions about runners and jobs. A quarter of it may "
              "be used at once. What is above it is asked later "
              "(`mayfly_github_deferred_total`). Launches are not counted."),
    WHOLE("github.reserve_percent", IN_CONFIG(github.reserve_percent), "15", 0, 99,
          .readers = FOR_FLEET,
          .help = "While GitHub reports less than this share of the hourly limit remaining "
                  "(`mayfly_github_rate_remaining`), only questions that decide the early end of a "
                  "VM are asked; the other reconciling waits for GitHub's next hour."),
    WHOLE("github.hook.id", IN_CONFIG(github.hook.id), "0", 0, INT64_MAX, .readers = FOR_REAPER,
          .help = "Id of the webhook whose delivery log the reaper reads to recover lost "
                  "deliveries. 0: the App's own webhook. With `github.token` and 0 no log is read: "
                  "a delivery that failed is lost unless someone redelivers it on GitHub."),
    TEXT("github.hook.organization", IN_CONFIG(github.hook.organization), "", 0, 39,
         .readers = FOR_REAPER,
         .help = "Organization that the webhook belongs to. The App or token needs the permission "
                 "for organization webhooks: read, and write to request redelivery."),
    TEXT("github.hook.repository", IN_CONFIG(github.hook.repository), "", 0, 140,
         .form = &form_repository, .readers = FOR_REAPER,
         .help = "Repository that the webhook belongs to, as `owner/name`, instead of an "
                 "organization. Needs the permission for repository webhooks."),
    DURATION("github.pull.interval", IN_CONFIG(github.pull_interval_ms), "0s", 0, HOURS(1),
             .readers = FOR_FLEET,
             .help =
                 "How often the reaper reads the webhook's delivery log for new deliveries and "
                 "fetches those that nobody has accepted, so that GitHub need reach no ingress "
                 "(deploy/docs/pull.md); 5s is a good value. Its calls may use the hourly limit "
                 "of the App (or token) but for `github.reserve_percent`, and, where launches "
                 "use the same limit, `github.reconcile_percent`; above that, deliveries wait "
                 "(`mayfly_reaper_pull_oldest_age_seconds`). 0s: not pulled. Needs an App, or "
                 "`github.hook`."),

    /* --- worker --- */
    TEXT("worker.admin_listen", IN_CONFIG(worker.admin_listen), "127.0.0.1:9102", 0, ADDRESS_MAX,
         .form = &form_admin_address, .readers = FOR_WORKER,
         .help = "Address and port of /metrics, /healthz and /readyz, without TLS; or `unix:/PATH` "
                 "of a socket for owner and group. Empty: none."),
    WHOLE("worker.launch_threads", IN_CONFIG(worker.launch_threads), "8", 1, 1024,
          .readers = FOR_WORKER,
          .help = "Launches that one worker process makes at once, over all classes; further jobs "
                  "wait. Each class has an equal share while others have work. At least one for "
                  "each class."),
    WHOLE("worker.event_consumer_threads", IN_CONFIG(worker.event_consumer_threads), "2", 1, 64,
          .readers = FOR_WORKER,
          .help = "Threads that consume job events (queued, in progress, completed)."),
    WHOLE("worker.terminate_threads", IN_CONFIG(worker.terminate_threads), "2", 1, 256,
          .readers = FOR_WORKER, .help = "Threads that terminate VMs whose job has finished."),
    TEXT("worker.vm_uids", IN_CONFIG(worker.vm_uids), "2100000000-2100004095", 0, 32,
         .form = &form_id_range, .readers = FOR_WORKER,
         .help =
             "User and group ids, FIRST-LAST, that nobody else on this host uses: the processes "
             "of each VM on it run as one that is free. It takes the capabilities CAP_SETUID "
             "and CAP_SETGID, which the worker keeps in a process of its own, the launcher. "
             "Empty, or without them: VMs run as the worker's user."),
    DURATION("worker.visibility_timeout", IN_CONFIG(worker.visibility_timeout_ms), "30s",
             MILLISECONDS(100), DAYS(1), .readers = FOR_FLEET,
             .help = "How long a received message is hidden from other workers. A heartbeat "
                     "extends it while the launch makes progress; after a crash another worker "
                     "receives the message when it ends."),
    DURATION("worker.capacity_poll", IN_CONFIG(worker.capacity_poll_ms), "20ms", MILLISECONDS(1),
             MINUTES(1), .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
             .help = "How often a worker checks for a free slot while a class is at its cap. Use "
                     "250ms with DynamoDB, where every read is paid for."),
    DURATION("worker.terminate_grace_period", IN_CONFIG(worker.terminate_grace_period_ms), "10s", 0,
             DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "How long a VM whose job has finished may take to shut down by itself; then "
                     "the worker terminates it."),
    DURATION("worker.drain_timeout", IN_CONFIG(worker.drain_timeout_ms), "30s", 0, HOURS(1),
             .readers = FOR_WORKER,
             .help = "After SIGTERM: how long launches in flight may take to finish. The messages "
                     "of launches that do not are redelivered when their visibility timeout "
                     "expires."),

    /* --- reaper --- */
    TEXT("reaper.admin_listen", IN_CONFIG(reaper.admin_listen), "127.0.0.1:9103", 0, ADDRESS_MAX,
         .form = &form_admin_address, .readers = FOR_REAPER,
         .help = "Address and port of /metrics, /healthz and /readyz, without TLS; or `unix:/PATH` "
                 "of a socket for owner and group. Empty: none."),
    DURATION("reaper.interval", IN_CONFIG(reaper.interval_ms), "10s", MILLISECONDS(10), DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "Pause between two sweeps."),
    DURATION("reaper.lease_duration", IN_CONFIG(reaper.lease_duration_ms), "1m", MILLISECONDS(100),
             DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "Of several reapers one holds the sweep lease and renews it. When it crashes, "
                     "another takes over after this time. At least three times the interval."),
    DURATION("reaper.vm_list_interval", IN_CONFIG(reaper.vm_list_interval_ms), "2m", 0, MINUTES(4),
             .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "Pause between two complete lists of a VM provider's service; sooner when "
                     "something depends on it (operations.md). VMs of this host: each sweep."),
    DURATION("reaper.confirm_after", IN_CONFIG(reaper.confirm_after_ms), "1m", 0, DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "Evidence that may be wrong (a VM or runner missing from a list, a VM that "
                     "the ledger does not know) is acted upon only when a second sweep sees it "
                     "again, at least this long after the first."),
    DURATION("reaper.mass_termination_hold", IN_CONFIG(reaper.mass_termination_hold_ms), "15m", 0,
             DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help =
                 "When more than a quarter of a provider target's VMs (and more than 5) have no "
                 "row in the ledger or are no longer listed by the provider, none of them is "
                 "terminated before its deadline, or before this has lasted so long with "
                 "complete lists."),
    DURATION("reaper.deadline_grace_period", IN_CONFIG(reaper.deadline_grace_period_ms), "1m", 0,
             DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "A VM is terminated this long after its class's `max_duration`. Also the "
                     "largest assumed difference between this host's clock and the provider's, "
                     "when the reaper searches for the VM of a launch whose response was lost."),
    DURATION("reaper.startup_timeout", IN_CONFIG(reaper.startup_timeout_ms), "5m",
             MILLISECONDS(100), DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help =
                 "Time limit of one launch. A launched VM whose runner was "
                 "not seen online within it is terminated, and another is launched if the job "
                 "still waits. The slot of a launch whose response was lost is released when no "
                 "matching VM was listed for this long."),
    DURATION("reaper.terminate_timeout", IN_CONFIG(reaper.terminate_timeout_ms), "2m", 0, DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "The reaper terminates a VM that has been shutting down for this long."),
    DURATION("reaper.relaunch_after", IN_CONFIG(reaper.relaunch_after_ms), "2m", MILLISECONDS(100),
             DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help =
                 "Where there are fewer VMs and launch requests than waiting jobs, the reaper puts "
                 "another request within seconds, three times for one job. Then the job waits "
                 "so long for each; if others get the VMs, or they end idle, twice as long "
                 "each time, up to 32 times this."),
    BOOL(
        "reaper.give_up", IN_CONFIG(reaper.give_up), "false", .flags = SETTING_RELOADABLE,
        .readers = FOR_FLEET,
        .help =
            "Jobs that cannot be helped get an answer at GitHub: those whose own data cannot be "
            "launched (their attempts are used up), and those that have waited "
            "`reaper.give_up_after`. A check run says why; the run is cancelled once no other "
            "job of it runs or can still run. Trouble of a class, an account, a host or GitHub "
            "never does that. Needs *Actions: write* and *Checks: write* (`mayflyctl app check`)."),
    DURATION("reaper.give_up_after", IN_CONFIG(reaper.give_up_after_ms), "6h", MILLISECONDS(100),
             DAYS(35), .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help =
                 "With `reaper.give_up`: how long a job may wait in all. It counts only if for "
                 "the last tenth of it (10 minutes at most) nothing wider than the job kept it "
                 "waiting: no cap, pause, backlog or open circuit, and its class has a worker; and "
                 "only if another job of its class and scope began to run in the later half of "
                 "its wait."),
    DURATION("reaper.retention", IN_CONFIG(reaper.retention_ms), "3d", 0, DAYS(3650),
             .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "How long finished jobs and VMs stay in the ledger, for `mayflyctl why`."),
    DURATION("reaper.log_retention", IN_CONFIG(reaper.log_retention_ms), "1d", 0, DAYS(3650),
             .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "How long the console logs and exit records of ended VMs stay on their host."),
    DURATION("reaper.stale_runner_scan_interval", IN_CONFIG(reaper.stale_runner_scan_interval_ms),
             "1m", MILLISECONDS(10), DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help =
                 "Pause between two readings of GitHub's runner lists, which show VMs that lost "
                 "their runner and stale registrations (runners whose VM is gone), which are "
                 "deleted. With more than 1,000 runners in an installation, a tenth of it for "
                 "each hundred runners (10,000: every ten minutes), or sooner when a VM's "
                 "runner seems to be missing and `github.reconcile_percent` allows it."),
    DURATION("reaper.drain_timeout", IN_CONFIG(reaper.drain_timeout_ms), "30s", 0, HOURS(1),
             .readers = FOR_REAPER,
             .help = "After SIGTERM: how long the current call of a sweep may take. The next "
                     "holder of the lease does the rest of the sweep."),
    DURATION("reaper.job_scan_interval", IN_CONFIG(reaper.job_scan_interval_ms), "6m",
             MILLISECONDS(10), DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help =
                 "How often the job lists of a repository that had a job in the last seven days "
                 "are read, for jobs whose webhooks left no trace. Needs *Actions: read*."),
    DURATION("reaper.deliveries.interval", IN_CONFIG(reaper.deliveries.interval_ms), "30s",
             MILLISECONDS(10), DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "Pause between two readings of GitHub's delivery log, which recover failed "
                     "deliveries. A sweep reads it at once if a job's event shows that an earlier "
                     "one is missing. Needs an App, or `github.hook`."),
    DURATION("reaper.deliveries.initial_lookback", IN_CONFIG(reaper.deliveries.initial_lookback_ms),
             "2h", SECONDS(1), DAYS(3), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "How far back the first reading goes, also for a ledger that was lost. Later "
                     "ones start at the last successful one, at most three days back, which is how "
                     "long GitHub keeps the log."),
    DURATION("reaper.deliveries.overlap", IN_CONFIG(reaper.deliveries.overlap_ms), "2m", 0,
             HOURS(1), .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
             .help = "How far a reading goes back before the end of the last one, because "
                     "deliveries may appear in the log late."),
    WHOLE("reaper.deliveries.calls_per_sweep", IN_CONFIG(reaper.deliveries.calls), "60", 2, 10000,
          .flags = SETTING_RELOADABLE, .readers = FOR_REAPER,
          .help = "Most API calls for this in one sweep; the next sweep continues."),

    /* --- limits and retry --- */
    WHOLE("limits.max_vms", IN_CONFIG(limits.max_vms), "100", 1, 1000000,
          .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET,
          .help = "Most VMs at once, over all classes. At the limit jobs wait."),
    WHOLE("limits.max_vms_per_repository", IN_CONFIG(limits.max_vms_per_repository), "0", 0,
          1000000, .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "Most VMs at once that run jobs of one repository, or were launched for them. At "
                  "the limit its jobs wait, and those of others go on. Guaranteed for runners "
                  "that register with the repository (`classes[].scope`) or in a runner group of "
                  "its own (`github.groups`). Else GitHub may give its jobs VMs that were launched "
                  "for other repositories. 0: no limit."),
    NUMBER("limits.launch_rate.per_second", IN_CONFIG(limits.launch_rate.per_second), "5", 0,
           RATE_MAX, .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET,
           .help = "Launches per second, over all classes: the quota of the VM provider's service, "
                   "if it has one. Jobs above it wait. 0: no limit."),
    WHOLE("limits.launch_rate.burst", IN_CONFIG(limits.launch_rate.burst), "5", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET,
          .help = "Launches that may be made at once after a quiet time. Of a service's burst "
                  "quota two are left unused, for calls that arrive late."),
    NUMBER("limits.terminate_rate.per_second", IN_CONFIG(limits.terminate_rate.per_second), "10", 0,
           RATE_MAX, .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET,
           .help = "VMs terminated per second by all workers and reapers together, for each "
                   "account and region, or each host. Others wait; "
                   "`mayfly_fleet_rate_waits_total{call=\"terminate\"}` counts the waits. 0: no "
                   "limit."),
    WHOLE("limits.terminate_rate.burst", IN_CONFIG(limits.terminate_rate.burst), "10", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET,
          .help = "VMs that may be terminated at once after a quiet time; of a service's burst, "
                  "two less."),
    NUMBER("limits.describe_rate.per_second", IN_CONFIG(limits.describe_rate.per_second), "100", 0,
           RATE_MAX, .readers = FOR_FLEET,
           .help = "Calls per second that describe one VM, of all processes together. A call that "
                   "would wait longer than 5 s is left to the next sweep. "
                   "`mayfly_fleet_rate_waits_total{call=\"describe\"}` counts the waits. 0: no "
                   "limit."),
    WHOLE("limits.describe_rate.burst", IN_CONFIG(limits.describe_rate.burst), "100", 1, RATE_MAX,
          .readers = FOR_FLEET, .help = "Such calls that may be made at once after a quiet time."),
    NUMBER("limits.list_rate.per_second", IN_CONFIG(limits.list_rate.per_second), "10", 0, RATE_MAX,
           .readers = FOR_FLEET,
           .help = "Calls per second that list VMs (one for each page), of all processes together. "
                   "A list with a page that would wait longer than 5 s is left to the next sweep. "
                   "`mayfly_fleet_rate_waits_total{call=\"list\"}` counts the waits. 0: no "
                   "limit."),
    WHOLE("limits.list_rate.burst", IN_CONFIG(limits.list_rate.burst), "10", 1, RATE_MAX,
          .readers = FOR_FLEET, .help = "Such calls that may be made at once after a quiet time."),
    WHOLE("retry.max_attempts", IN_CONFIG(retry.max_attempts), "8", 1, 1000,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "Attempts of one message. After the last one it moves to the dead-letter queue "
                  "with its error: `mayflyctl dlq` shows it."),
    DURATION("retry.base_delay", IN_CONFIG(retry.base_delay_ms), "1s", MILLISECONDS(1), DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "Longest delay before the first retry."),
    DURATION("retry.max_delay", IN_CONFIG(retry.max_delay_ms), "5m", MILLISECONDS(1), DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "Longest delay before any retry; at least `retry.base_delay`."),

    /* --- circuit --- */
    WHOLE("circuit.failure_threshold", IN_CONFIG(circuit.failure_threshold), "3", 0, 1000,
          .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
          .help = "Launches for different jobs that must fail in a row in one worker, for a reason "
                  "that lies with the same subject (a repository, an installation, a class, a "
                  "provider's target, …), before its circuit opens. An answer that leaves no doubt "
                  "opens it at once. While it is open, what depends on it waits and spends no "
                  "attempts. 0: none opens."),
    DURATION("circuit.open_duration", IN_CONFIG(circuit.open_duration_ms), "5s", MILLISECONDS(10),
             DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
             .help = "Longest wait of an open circuit before its first probe. Success closes it; "
                     "another failure doubles the longest wait."),
    DURATION("circuit.max_open_duration", IN_CONFIG(circuit.max_open_duration_ms), "1m",
             MILLISECONDS(10), DAYS(1), .flags = SETTING_RELOADABLE, .readers = FOR_WORKER,
             .help =
                 "Longest wait between two probes; half of it where the probe is no launch "
                 "(GitHub, credentials, a target that does not answer) or a quota is full. A "
                 "job whose repository, runner group or installation is in trouble is looked "
                 "at again after half of it at the latest; of many such jobs, 20 a second in each "
                 "worker."),

    /* --- events --- */
    TEXT("events.file", IN_CONFIG(events.file), "", 0, TEXT_MAX, .flags = SETTING_PATH,
         .readers = FOR_FLEET,
         .help = "File to which records are appended, one a line. It may be renamed or removed at "
                 "any time (logrotate) and is created again. Several programs may share it. Empty: "
                 "no file."),
    TEXT("events.kafka", IN_CONFIG(events.kafka), "", 0, TEXT_MAX, .form = &form_kafka_topic,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "Kafka topic to which records are produced: `kafka://HOST:PORT,…/TOPIC?OPTIONS`, "
                 "with the options for TLS and SASL of deploy/docs/events.md. The key is the job's "
                 "id. Empty: no Kafka."),
    WHOLE("events.buffer", IN_CONFIG(events.buffer), "10000", 1, 1000000, .readers = FOR_FLEET,
          .help = "Most records that wait for the file, and for Kafka. Beyond it the newest is "
                  "dropped and counted (`mayfly_events_dropped_total`)."),

    /* --- traces --- */
    TEXT("traces.endpoint", IN_CONFIG(traces.endpoint), "", 0, 1000, .form = &form_http_url,
         .readers = FOR_FLEET,
         .help = "URL of an OpenTelemetry collector: http://127.0.0.1:4318/v1/traces."),
    LIST("traces.headers", IN_CONFIG(traces.headers), 0, 20, .form = &form_http_header,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "Headers of each request to it, as `\"Authorization: Bearer …\"`."),
    WHOLE("traces.buffer", IN_CONFIG(traces.buffer), "2000", 1, 1000000, .readers = FOR_FLEET,
          .help = "Most ends of jobs and of VMs that wait for it; then the newest is dropped."),

    /* --- metrics --- */
    BOOL("metrics.emf", IN_CONFIG(metrics.emf), "false", .flags = SETTING_RELOADABLE,
         .readers = FOR_REAPER,
         .help = "Write the fleet's gauges to standard output every 60 s in CloudWatch's embedded "
                 "metric format, one line for the fleet and one for each class "
                 "(deploy/docs/operations.md). Only the reaper that holds the lease writes."),

    /* --- sources --- */
    TEXT("sources[].scale_set", IN_SOURCE(scale_set), "", 1, 64, .form = &form_set_name,
         .readers = FOR_FLEET, .required = FOR_FLEET, .example = "scale_set: small",
         .help = "Name of a runner scale set, and the label that its jobs have in `runs-on`. It is "
                 "created where there is none of that name."),
    TEXT("sources[].class", IN_SOURCE(class_name), "", 1, 32, .form = &form_name,
         .readers = FOR_FLEET, .required = FOR_FLEET, .example = "class: small",
         .help = "The class whose VMs run its jobs. GitHub assigns the set at most `max_vms` of "
                 "the class at a time."),
    TEXT("sources[].organization", IN_SOURCE(organization), "", 0, 39, .form = &form_owner,
         .readers = FOR_FLEET,
         .help = "The organization whose jobs they are. Give this or `sources[].repository`."),
    TEXT("sources[].repository", IN_SOURCE(repository), "", 0, 143, .form = &form_one_repository,
         .readers = FOR_FLEET, .help = "The repository (`owner/name`) whose jobs they are."),
    TEXT("sources[].runner_group", IN_SOURCE(runner_group), "", 0, 100, .readers = FOR_FLEET,
         .help = "The organization's runner group that the set is in: which repositories may use "
                 "it. Empty: the class's, or `github.runner_group`."),

    /* --- classes --- */
    TEXT("classes[].name", IN_CLASS(name), "", 1, 32, .form = &form_name, .readers = FOR_DAEMONS,
         .required = FOR_DAEMONS, .example = "name: small",
         .help = "Name of the class in logs, metrics and the queue's lanes. Must be unique."),
    LIST("classes[].labels", IN_CLASS(labels), 1, 100, .form = &form_label,
         .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS, .required = FOR_DAEMONS,
         .example = "labels: [self-hosted, linux, x64, microvm]",
         .help = "Labels of the class's runners, and no others. Case is ignored in a to z."),
    LIST("classes[].required_labels", IN_CLASS(required_labels), 0, 100, .form = &form_label,
         .flags = SETTING_RELOADABLE, .readers = FOR_DAEMONS,
         .help = "Labels that a job must have to belong to this class; all must be among `labels`. "
                 "Prevents launches for jobs that any self-hosted runner may run."),
    TEXT("classes[].provider", IN_CLASS(provider), config_provider_default, 1, 32,
         .choices = config_provider_names, .readers = FOR_FLEET, .help = "What runs the VMs."),
    TEXT("classes[].scope", IN_CLASS(scope), "", 0, 12, .form = &form_scope, .readers = FOR_FLEET,
         .help = "Where the class's runners register: `organization`, `repository` or "
                 "`enterprise`. Empty: "
                 "`github.scope`."),
    TEXT("classes[].runner_group", IN_CLASS(runner_group), "", 0, 256, .readers = FOR_FLEET,
         .help = "Name of the class's runner group. Empty: `github.runner_group`. "
                 "`github.groups` comes first."),
    WHOLE("classes[].max_vms", IN_CLASS(max_vms), "4", 0, 1000000,
          .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_ALL,
          .help =
              "Most VMs of this class at once. At the limit its jobs wait. 0 retires the class: no "
              "job is routed to it, its VMs finish, and `mayflyctl class retire` re-routes the "
              "jobs that wait in its lane."),
    DURATION("classes[].max_duration", IN_CLASS(max_duration_ms), "1h", SECONDS(1), DAYS(5),
             .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "Longest life of a VM, from its launch. Then it is terminated, and a job that "
                     "still runs on it fails."),
    DURATION("classes[].idle_timeout", IN_CLASS(idle_timeout_ms), "2m", SECONDS(1), DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "A VM that got no job for this long shuts down."),
    BOOL("classes[].shell", IN_CLASS(shell), "false", .readers = FOR_FLEET,
         .help =
             "Whether root and the worker's user may open a shell of root in a VM of the class, "
             "also while its job runs, with `mayflyctl shell VM`. Only for VMs on hosts of your "
             "own. "
             "Each use is in the worker's log and in the job's timeline."),
    DURATION("classes[].hold_on_failure", IN_CLASS(hold_on_failure_ms), "0s", 0, DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help =
                 "A VM whose job failed stays for this long, to be looked into with `mayflyctl "
                 "shell`, but never beyond `max_duration`. It holds its slot, gets no other job, "
                 "and ends earlier with `mayflyctl vm terminate`. Only for VMs on hosts of your "
                 "own. 0s: it ends with its job."),
    DURATION("classes[].relaunch_after", IN_CLASS(relaunch_after_ms), "0s", 0, DAYS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "`reaper.relaunch_after` for this class. 0s: the reaper's value."),
    NUMBER("classes[].launch_rate.per_second", IN_CLASS(launch_rate.per_second), "0", 0, RATE_MAX,
           .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
           .help = "Launches per second of this class, within `limits.launch_rate`. Jobs above it "
                   "wait. 0: no limit of its own."),
    WHOLE("classes[].launch_rate.burst", IN_CLASS(launch_rate.burst), "1", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
          .help = "Launches that may be made at once after a quiet time."),
    WHOLE("classes[].min_idle.count", IN_CLASS(min_idle.count), "0", 0, 1000,
          .flags = SETTING_RELOADABLE, .readers = FOR_ALL,
          .help = "VMs of the class that are kept without a job in each of `min_idle.scopes`, so "
                  "that a job starts without waiting for a launch (deploy/docs/idle-vms.md). They "
                  "are within `max_vms`, and end where jobs wait for their slots. 0: none."),
    LIST("classes[].min_idle.scopes", IN_CLASS(min_idle.scopes), 0, 100, .form = &form_idle_scope,
         .flags = SETTING_RELOADABLE, .readers = FOR_FLEET | FOR_CTL,
         .help = "Where their runners register: organizations, or `owner/name` for repositories; "
                 "`ORGANIZATION#GROUP` is a runner group that `github.groups` names."),
    LIST("classes[].min_idle.schedule", IN_CLASS(min_idle.schedule), 0, 100, .form = &form_schedule,
         .flags = SETTING_RELOADABLE, .readers = FOR_ALL,
         .help = "When they are kept, in UTC, as `mon-fri 07:00-19:00`, `sat-sun` or "
                 "`22:00-06:00`. Empty: always."),
    DURATION("classes[].min_idle.replace_after", IN_CLASS(min_idle.replace_after_ms), "75s",
             SECONDS(1), HOURS(1), .flags = SETTING_RELOADABLE, .readers = FOR_FLEET,
             .help = "One that got no job for this long since its registration is replaced. GitHub "
                     "has been seen to drop such runners after 2 to 6 minutes."),
    TEXT("classes[].cost.vcpu_hour", IN_CLASS(cost.vcpu_hour), "", 0, 20, .form = &form_price,
         .flags = SETTING_RELOADABLE, .readers = FOR_CTL,
         .help = "Price of one vCPU of a VM for an hour, in USD, for `mayflyctl cost`. Empty: the "
                 "provider's in its region (deploy/docs/cost.md); of VMs on hosts of your own, 0."),
    TEXT("classes[].cost.gb_hour", IN_CLASS(cost.gb_hour), "", 0, 20, .form = &form_price,
         .flags = SETTING_RELOADABLE, .readers = FOR_CTL,
         .help = "The same for 1 GiB of a VM's memory."),
    TEXT("classes[].cost.github_minute", IN_CLASS(cost.github_minute), "", 0, 20,
         .form = &form_price, .flags = SETTING_RELOADABLE, .readers = FOR_CTL,
         .help = "Price of a minute of the GitHub-hosted runner that the class's jobs are compared "
                 "with, in USD. Empty: that of the smallest Linux runner with as many vCPUs."),
    TEXT("classes[].proxy.http", IN_CLASS(proxy.http), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "`http_proxy` in the runner's environment. Empty: not set."),
    TEXT("classes[].proxy.https", IN_CLASS(proxy.https), "", 0, TEXT_MAX, .form = &form_http_url,
         .flags = SETTING_SECRET, .readers = FOR_FLEET,
         .help = "`https_proxy` in the runner's environment. Empty: not set."),
    TEXT("classes[].proxy.no_proxy", IN_CLASS(proxy.no_proxy), "", 0, TEXT_MAX,
         .readers = FOR_FLEET, .help = "`no_proxy` in the runner's environment. Empty: not set."),
};
const size_t config_setting_count = COUNT_OF(config_settings);
