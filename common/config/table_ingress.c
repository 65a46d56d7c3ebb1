/* The settings of the section ingress. */
#include "common/config/private.h"

#include "common/config/rows.h"

#define IN_CONFIG(member) offsetof(struct config, member)

const struct setting config_ingress_settings[] = {
    TEXT("ingress.listen", IN_CONFIG(ingress.listen), "0.0.0.0:8080", 1, ADDRESS_MAX,
         .form = &form_address, .readers = FOR_INGRESS,
         .help = "Address and port for deliveries. Port 0: the kernel chooses one."),
    TEXT("ingress.path", IN_CONFIG(ingress.path), "/webhook", 1, 256, .form = &form_url_path,
         .readers = FOR_INGRESS,
         .help = "Path of the webhook. Requests for other paths are answered 404."),
    TEXT("ingress.admin_listen", IN_CONFIG(ingress.admin_listen), "127.0.0.1:9101", 0, ADDRESS_MAX,
         .form = &form_admin_address, .readers = FOR_INGRESS,
         .help = "Address and port of /metrics, /healthz and /readyz, without TLS; or `unix:/PATH` "
                 "of a socket for owner and group. Empty: none."),
    TEXT("ingress.tls.certificate", IN_CONFIG(ingress.tls_certificate), "", 0, TEXT_MAX,
         .flags = SETTING_PATH, .readers = FOR_INGRESS,
         .help = "File with the certificate chain in PEM. Together with `ingress.tls.key` it "
                 "enables TLS."),
    TEXT("ingress.tls.key", IN_CONFIG(ingress.tls_key), "", 0, TEXT_MAX, .flags = SETTING_PATH,
         .readers = FOR_INGRESS, .help = "File with the certificate's private key in PEM."),
    WHOLE("ingress.threads", IN_CONFIG(ingress.threads), "0", 0, 256, .readers = FOR_INGRESS,
          .help = "Event loops, one thread each. 0: one for each core."),
    SIZE("ingress.max_body_size", IN_CONFIG(ingress.max_body_size_bytes), "1MiB", KIB(1), MIB(25),
         .readers = FOR_INGRESS,
         .help = "Largest accepted body. A larger one is answered 413. GitHub sends up to 25 MiB "
                 "for other events; a workflow_job has about 12 kB."),
    SIZE("ingress.max_header_size", IN_CONFIG(ingress.max_header_size_bytes), "16KiB", KIB(1),
         MIB(1), .readers = FOR_INGRESS,
         .help = "Largest accepted request head. A larger one is answered 400."),
    SIZE("ingress.max_unverified_memory", IN_CONFIG(ingress.max_unverified_memory_bytes), "64MiB",
         MIB(1), GIB(64), .readers = FOR_INGRESS,
         .help = "Memory for bodies whose signature is not verified yet, of all peers together "
                 "(`mayfly_ingress_unverified_bytes`). A body beyond it is answered 503 with "
                 "Retry-After."),
    WHOLE("ingress.max_connections", IN_CONFIG(ingress.max_connections), "4096", 1, 1000000,
          .readers = FOR_INGRESS,
          .help =
              "Open connections. At the limit a new one replaces the oldest whose request head is "
              "not complete, else the oldest whose body is not, else the one that is idle for "
              "longest, those of `ingress.trusted_proxies` last; or it waits until one ends."),
    WHOLE("ingress.max_peer_connections", IN_CONFIG(ingress.max_peer_connections), "0", 0, 1000000,
          .readers = FOR_INGRESS,
          .help =
              "Connections of one peer: an IPv4 address, or the /64 of an IPv6 address. At the "
              "limit a new one replaces one of the same peer, in the order above, or is "
              "closed. 0: a quarter of `ingress.max_connections`, at least 64, so that GitHub's "
              "senders behind one address have room. A peer in `ingress.trusted_proxies` is "
              "exempt; the share is that of the client that it names."),
    SIZE("ingress.max_peer_unverified_memory", IN_CONFIG(ingress.max_peer_unverified_memory_bytes),
         "0B", 0, GIB(64), .readers = FOR_INGRESS,
         .help =
             "The same for the memory of its bodies whose signature is not verified yet. A body "
             "beyond it is answered 503 with Retry-After. 0B: a quarter of "
             "`ingress.max_unverified_memory`, at least one request of the largest size."),
    LIST(
        "ingress.trusted_proxies", IN_CONFIG(ingress.trusted_proxies), 0, 1000,
        .form = &form_trusted_proxy, .readers = FOR_INGRESS,
        .help =
            "Addresses of load balancers and reverse proxies in front of the ingress that add the "
            "address of their client to `X-Forwarded-For` or `Forwarded`. Read from the right, the "
            "first address there that is not in this list is the client, for the peers' shares and "
            "for `ingress.allow_from`. If the two headers name different clients, neither is "
            "believed. List no address that others can send from: they could pretend to be "
            "anyone."),
    LIST("ingress.allow_from", IN_CONFIG(ingress.allow_from), 0, 1000, .form = &form_allow_from,
         .readers = FOR_INGRESS,
         .help =
             "Addresses that deliveries are accepted from, and `github-hooks` for the ranges that "
             "GitHub publishes: read from `github.api_url`/meta at the start and daily, without "
             "credentials, through the environment's proxy if it has one; what was read last stays "
             "in use (and, with a spool, is kept in a file beside it). Until they are known, "
             "deliveries are answered 503 and /readyz fails. Others are answered 403, but for GET "
             "/healthz. Empty: from everywhere; the signature decides in any case."),
    WHOLE("ingress.max_in_flight", IN_CONFIG(ingress.max_in_flight), "2048", 1, 1000000,
          .readers = FOR_INGRESS,
          .help = "Deliveries being written to the queue, divided evenly among the event loops. A "
                  "connection has at most one, even if it pipelines. At the limit deliveries wait "
                  "in order of arrival, up to `ingress.admission_timeout`."),
    DURATION("ingress.admission_timeout", IN_CONFIG(ingress.admission_timeout_ms), "2s", 0,
             MINUTES(1), .readers = FOR_INGRESS,
             .help = "How long a delivery waits when `ingress.max_in_flight` is reached; then it "
                     "is answered 503 with Retry-After. 0s: answered 503 at once. The wait counts "
                     "toward `ingress.enqueue_timeout`."),
    DURATION("ingress.head_timeout", IN_CONFIG(ingress.head_timeout_ms), "5s", MILLISECONDS(100),
             DAYS(1), .readers = FOR_INGRESS,
             .help = "Time limit from the first byte of a request to the end of its head, at most "
                     "`ingress.request_timeout`; 1 s while three quarters of the connections or "
                     "of the memory are in use. The connection of a slower one is closed."),
    DURATION("ingress.request_timeout", IN_CONFIG(ingress.request_timeout_ms), "10s",
             MILLISECONDS(100), DAYS(1), .readers = FOR_INGRESS,
             .help = "Time limit from the first byte of a request to its last. The connection of a "
                     "slower one is closed."),
    DURATION("ingress.idle_timeout", IN_CONFIG(ingress.idle_timeout_ms), "65s", MILLISECONDS(100),
             DAYS(1), .readers = FOR_INGRESS,
             .help = "A connection without a request for this long is closed. Set it above the "
                     "load balancer's own idle timeout, which is usually 60 s."),
    WHOLE("ingress.commit_threads", IN_CONFIG(ingress.commit_threads), "2", 1, 64,
          .readers = FOR_INGRESS,
          .help =
              "Threads that write batches of deliveries to the queue. One works while it keeps "
              "up; the others help when a whole batch waits, or when a write takes over 20 ms."),
    WHOLE("ingress.batch", IN_CONFIG(ingress.batch), "256", 1, 512, .readers = FOR_INGRESS,
          .help = "Most deliveries written to the queue in one batch. The rest goes into the next "
                  "batch."),
    DURATION("ingress.enqueue_timeout", IN_CONFIG(ingress.enqueue_timeout_ms), "5s",
             MILLISECONDS(10), MINUTES(1), .readers = FOR_INGRESS,
             .help = "A delivery that the queue has not confirmed within this time is answered 503 "
                     "with Retry-After, or spooled (`ingress.spool.after`). GitHub waits 10 s."),
    DURATION("ingress.retry_after", IN_CONFIG(ingress.retry_after_ms), "10s", 0, HOURS(1),
             .flags = SETTING_RELOADABLE, .readers = FOR_INGRESS,
             .help = "The Retry-After header of a 503, in whole seconds, rounded up."),
    WHOLE("ingress.dedupe_cache_size", IN_CONFIG(ingress.dedupe_cache_size), "65536", 1, 16777216,
          .readers = FOR_INGRESS,
          .help = "Delivery ids remembered to detect repeats; the oldest are forgotten first. A "
                  "repeat of a forgotten one is queued again, which does no harm."),
    DURATION("ingress.drain_timeout", IN_CONFIG(ingress.drain_timeout_ms), "10s", 0, HOURS(1),
             .readers = FOR_INGRESS,
             .help = "After SIGTERM: how long deliveries in flight may take to be answered. Then "
                     "their connections are closed, and GitHub records them as failed."),
    WHOLE("ingress.record_format", IN_CONFIG(ingress.record_format), "1", 1, 1000000,
          .flags = SETTING_RELOADABLE, .readers = FOR_INGRESS,
          .help = "Format of the messages that the ingress writes to the queue; workers and "
                  "reapers read theirs from the ledger. The default is the previous release's, so "
                  "that an upgrade may begin with the ingress. `mayflyctl upgrade finish` says "
                  "when to raise it."),
    TEXT("ingress.spool.path", IN_CONFIG(ingress.spool_path), "", 0, TEXT_MAX,
         .flags = SETTING_PATH, .readers = FOR_INGRESS,
         .help = "File of the local spool, one for each ingress process: a second process that "
                 "opens it fails to start. While the queue fails or takes longer than "
                 "`ingress.spool.after`, deliveries are stored here, answered 202, and moved "
                 "to the queue in order when it is back; and the ingress starts while the queue is "
                 "unavailable. Empty: no spool; such deliveries are answered 503. Refused on "
                 "Fargate, where no disk outlives a task; of no benefit where the queue is SQLite "
                 "on the same disk."),
    DURATION("ingress.spool.after", IN_CONFIG(ingress.spool_after_ms), "500ms", MILLISECONDS(10),
             MINUTES(1), .readers = FOR_INGRESS,
             .help = "A put on the queue that takes longer (while half of `ingress.max_in_flight` "
                     "is in use, a tenth of this) is stuck: its deliveries and all later ones go "
                     "to the spool. What it stored in the end is not stored again."),
    WHOLE("ingress.spool.max_messages", IN_CONFIG(ingress.spool_max_messages), "100000", 1,
          10000000, .readers = FOR_INGRESS,
          .help = "Most messages in the spool, about 2 kB each: a queued job has two, any other "
                  "delivery one. Above it, and on a full disk, deliveries are answered 503 with "
                  "Retry-After."),
    DURATION("ingress.spool.max_age", IN_CONFIG(ingress.spool_max_age_ms), "1d", SECONDS(1),
             DAYS(30), .readers = FOR_INGRESS,
             .help = "While the oldest delivery in the spool is older, new ones are answered 503 "
                     "with Retry-After. Deliveries in the spool are moved to the queue whatever "
                     "their age."),
    WHOLE("ingress.spool.batch", IN_CONFIG(ingress.spool_batch), "512", 1, 1024,
          .readers = FOR_INGRESS,
          .help = "Most messages moved from the spool to the queue at once."),
    DURATION("ingress.spool.max_retry_delay", IN_CONFIG(ingress.spool_max_retry_delay_ms), "2s",
             MILLISECONDS(100), DAYS(1), .readers = FOR_INGRESS,
             .help = "Longest delay between two attempts to move deliveries to the queue: "
                     "exponential backoff with full jitter, from 100 ms."),
    WHOLE("ingress.spool_not_ready_percent", IN_CONFIG(ingress.spool_not_ready_percent), "80", 1,
          100, .readers = FOR_INGRESS,
          .help = "/readyz fails when the spool holds this share of `ingress.spool.max_messages`. "
                  "It also fails while the oldest is above `ingress.spool.max_age`. With a spool, "
                  "an unavailable queue does not make it fail."),
    WHOLE("ingress.intake_not_ready_percent", IN_CONFIG(ingress.intake_not_ready_percent), "90", 1,
          100, .readers = FOR_INGRESS,
          .help = "/readyz fails when this share of `ingress.max_in_flight` is in use, so that a "
                  "load balancer sends deliveries elsewhere."),
};
const size_t config_ingress_setting_count = COUNT_OF(config_ingress_settings);
