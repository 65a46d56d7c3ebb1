/* What is required of whom, and what several settings say together. */
#include <stdio.h>
#include <stdlib.h>

#include "common/vm/lambda/settings.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

#define PEM "\"kms:alias/app\""

static void each_program_lacks_only_what_it_needs(void **state)
{
    static const char queue[] = "m.yaml:1: queue: is required: add \"queue: "
                                "sqlite:///var/lib/mayfly/queue.db\"";
    static const char ledger[] = "\nm.yaml:1: ledger: is required: add \"ledger: "
                                 "sqlite:///var/lib/mayfly/ledger.db\"";
    static const char secrets[] = "\nm.yaml:1: github.webhook_secrets: is required: add "
                                  "\"webhook_secrets: [env:WEBHOOK_SECRET]\"";
    static const char classes[] = "\nm.yaml:1: classes: is required: add one runner class, "
                                  "\"classes: [{name: small, labels: [self-hosted, linux, x64, "
                                  "microvm], …}]\"";
    static const char app[] = "\nm.yaml:1: github.app: is required, or github.token: add \"app: "
                              "{id: …, private_key: file:/etc/mayfly/app.pem}\"";
    static const struct {
        enum config_for who;
        const char *said[5];
    } cases[] = {
        {CONFIG_FOR_CTL, {queue, ledger, "", "", ""}},
        {CONFIG_FOR_INGRESS, {queue, secrets, classes, "", ""}},
        {CONFIG_FOR_WORKER, {queue, ledger, classes, app, ""}},
        {CONFIG_FOR_REAPER, {queue, ledger, classes, app, ""}},
        {CONFIG_FOR_CHECK, {queue, ledger, secrets, classes, app}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf expected;
        buf_init(&expected, 4096);
        for (size_t k = 0; k < COUNT_OF(cases[i].said); k++) {
            buf_append_cstr(&expected, cases[i].said[k]);
        }
        assert_complaints("{}", cases[i].who, expected.data);
        buf_fini(&expected);
    }
}

/* mayflyctl asks GitHub if it can read the key, and does without otherwise. */
static void tool_takes_the_credentials_that_it_finds(void **state)
{
    static const char *const none[] = {"token: file:/none/there",
                                       "app: {id: \"1\", private_key: nonsense}",
                                       "app: {id: \"1\", private_key: file:/none/there}",
                                       "app: {id: \"1\", private_key: env:MAYFLY_NOT_SET}"};
    struct config *c;
    char text[400];
    (void)state;
    c = parse_ok(GOOD, CONFIG_FOR_CTL_GITHUB);
    assert_string_equal(c->github.token, "t-o-k-e-n");
    assert_int_equal(c->github.webhook_secrets.count, 0);
    config_free(c);
    c = parse_ok(GOOD, CONFIG_FOR_CTL);
    assert_string_equal(c->github.token, "");
    config_free(c);
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        (void)snprintf(text, sizeof text, GOOD_TOP "github: {%s}\n" GOOD_CLASSES, none[i]);
        c = parse_ok(text, CONFIG_FOR_CTL_GITHUB);
        assert_string_equal(c->github.token, "");
        assert_string_equal(c->github.app_key, "");
        config_free(c);
    }
}

static void refused_value_is_not_called_missing_as_well(void **state)
{
    assert_complaints("queue: nonsense\nledger: memory://l\ngithub: all\nclasses: none\n",
                      CONFIG_FOR_CHECK,
                      "m.yaml:1: queue: the value is refused: it must be a queue's URL: "
                      "sqlite:///PATH/TO/FILE, redis://HOST, rediss://HOST, sqs://PREFIX or "
                      "kafka://HOST:PORT/NAME\n"
                      "m.yaml:2: ledger: the value is refused: it must be a ledger's URL: "
                      "sqlite:///PATH/TO/FILE, redis://HOST, rediss://HOST or dynamodb://TABLE\n"
                      "m.yaml:3: github: must be a map, not a single value: write its keys below "
                      "it, indented\n"
                      "m.yaml:4: classes: must be a list, not a single value: begin each element "
                      "with \"- name: …\"");
}

static void kafka_of_events_names_brokers_and_a_topic(void **state)
{
    static const char *const refused[] = {
        "kafka://b:9092",       "kafka://b:9092/",    "kafka:///topic",
        "redis://b:9092/topic", "kafka://b:9092/a/b", "kafka://b:9092?tls=1",
    };
    char text[256];
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        (void)snprintf(text, sizeof text, "events:\n  kafka: %s\n" GOOD_TOP, refused[i]);
        char *all = complaints_of(text, CONFIG_FOR_WORKER);
        assert_non_null(all);
        assert_non_null(strstr(all, "m.yaml:2: events.kafka: the value is refused: it must be "
                                    "kafka://HOST:PORT,…/TOPIC"));
        free(all);
    }
    (void)snprintf(text, sizeof text,
                   "events:\n  kafka: kafka://a:1,b:2/fleet.events_1?tls=1\n" GOOD_TOP);
    char *all = complaints_of(text, CONFIG_FOR_WORKER);
    assert_true(all == NULL || strstr(all, "events.kafka") == NULL);
    free(all);
}

static void empty_value_is_called_missing(void **state)
{
    assert_complaints("queue: sqlite:///q\nledger: sqlite:///l\ngithub:\n  token: t\n"
                      "  webhook_secrets: []\nclasses: []\n",
                      CONFIG_FOR_CHECK,
                      "m.yaml:5: github.webhook_secrets: is required: add \"webhook_secrets: "
                      "[env:WEBHOOK_SECRET]\"\n"
                      "m.yaml:6: classes: is required: add one runner class, \"classes: [{name: "
                      "small, labels: [self-hosted, linux, x64, microvm], …}]\"");
}

static void credentials_are_an_app_or_a_token_and_a_hook_is_whole(void **state)
{
    static const struct {
        const char *github;
        const char *complaint; /* NULL: fine */
    } cases[] = {
        {"{token: t}", NULL},
        {"{app: {id: 1, private_key: " PEM "}}", NULL},
        {"{app: {id: 1, private_key: " PEM "}, token: t}",
         "m.yaml:1: github.token: excludes github.app: remove one of the two"},
        {"{app: {id: 1}, token: t}",
         "m.yaml:1: github.token: excludes github.app: remove one of the two"},
        {"{app: {id: 1}}", "m.yaml:1: github.app.private_key: is required with an App's id: add "
                           "\"private_key: file:/etc/mayfly/app.pem\""},
        {"{app: {private_key: " PEM "}}",
         "m.yaml:1: github.app.id: is required with a private key: add the App's id"},
        {"{token: ''}", "m.yaml:1: github.app: is required, or github.token: add \"app: {id: …, "
                        "private_key: file:/etc/mayfly/app.pem}\""},
        {"{token: t, hook: {id: 7, organization: acme}}", NULL},
        {"{token: t, hook: {id: 7, repository: acme/app}}", NULL},
        {"{token: t, hook: {id: 7, organization: acme}, pull: {interval: 5s}}", NULL},
        {"{token: t, pull: {interval: 5s}}",
         "m.yaml:1: github.hook.id: is required with github.pull unless github.app is used: a "
         "token reads the delivery log of an organization's or a repository's webhook only"},
        {"{token: t, hook: {id: 7}}",
         "m.yaml:1: github.hook.organization: is required with github.hook.id, or "
         "github.hook.repository: name the webhook's owner"},
        {"{token: t, hook: {organization: acme}}",
         "m.yaml:1: github.hook.id: is required: add the number at the end of the webhook's "
         "address in GitHub's settings"},
        {"{token: t, hook: {id: 7, organization: acme, repository: acme/app}}",
         "m.yaml:1: github.hook.repository: excludes github.hook.organization: a webhook belongs "
         "to one of them"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text;
        buf_init(&text, 4096);
        buf_printf(&text, "github: %s\n" GOOD_TOP GOOD_CLASSES, cases[i].github);
        if (cases[i].complaint == NULL) {
            config_free(parse_ok(text.data, CONFIG_FOR_REAPER));
        } else {
            assert_complaints(text.data, CONFIG_FOR_REAPER, cases[i].complaint);
        }
        buf_fini(&text);
    }
}

static void tls_needs_both_halves(void **state)
{
    assert_complaint_of_line("ingress: {tls: {certificate: /c}}",
                             "m.yaml:1: ingress.tls.key: is required with its other half: add it, "
                             "or remove ingress.tls.certificate");
    assert_complaint_of_line("ingress: {tls: {key: /k}}",
                             "m.yaml:1: ingress.tls.certificate: is required with its other half: "
                             "add it, or remove ingress.tls.key");
}

static void one_address_for_two_servers_is_refused(void **state)
{
    assert_complaint_of_line("ingress: {listen: 127.0.0.1:80, admin_listen: 127.0.0.1:80}",
                             "m.yaml:1: ingress.admin_listen: is the same as ingress.listen: give "
                             "it a port of its own");
    config_free(parse_ok("ingress: {listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0}\n" GOOD,
                         CONFIG_FOR_CHECK));
}

static void limit_that_no_whole_request_fits_into_is_refused(void **state)
{
    static const char says[] = "is less than one request may have, ingress.max_body_size and "
                               "ingress.max_header_size: set it to 1040KiB or more, or lower them";
    char expected[400];
    (void)snprintf(expected, sizeof expected, "m.yaml:1: ingress.max_unverified_memory: %s", says);
    assert_complaint_of_line("ingress: {max_unverified_memory: 1MiB}", expected);
    (void)snprintf(expected, sizeof expected, "m.yaml:1: ingress.max_peer_unverified_memory: %s",
                   says);
    assert_complaint_of_line("ingress: {max_peer_unverified_memory: 1B}", expected);
    config_free(parse_ok("ingress: {max_unverified_memory: 2MiB, max_peer_unverified_memory: 0B, "
                         "head_timeout: 10s}\n" GOOD,
                         CONFIG_FOR_CHECK));
}

static void addresses_of_peers_are_prefixes_or_the_word_for_githubs(void **state)
{
    static const struct {
        const char *list;
        const char *complaint;
    } bad[] = {
        {"trusted_proxies: [alb.example]", "trusted_proxies[0]: \"alb.example\" is refused: it is "
                                           "no IP address (names are not looked "
                                           "up)"},
        {"trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]",
         "trusted_proxies[1]: \"0.0.0.0/0\" is refused: it is all addresses: list those that are "
         "meant"},
        {"trusted_proxies: [github-hooks]",
         "trusted_proxies[0]: \"github-hooks\" is refused: it is no IP address (names are not "
         "looked up)"},
        {"allow_from: [10.0.0.1/8]",
         "allow_from[0]: \"10.0.0.1/8\" is refused: it has an address that is not the first of its "
         "prefix"},
        {"allow_from: [\"::ffff:10.0.0.0/104\"]",
         "allow_from[0]: \"::ffff:10.0.0.0/104\" is refused: it is an IPv4 address inside of an "
         "IPv6 one: write it as IPv4"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char line[200];
        char expected[400];
        (void)snprintf(line, sizeof line, "ingress: {%s}", bad[i].list);
        (void)snprintf(expected, sizeof expected, "m.yaml:1: ingress.%s", bad[i].complaint);
        assert_complaint_of_line(line, expected);
    }
    config_free(parse_ok("ingress: {trusted_proxies: [10.0.0.0/8], allow_from: [github-hooks, "
                         "192.0.2.1, \"2001:db8::/32\"]}\n" GOOD,
                         CONFIG_FOR_CHECK));
}

static void word_for_githubs_ranges_is_refused_where_there_are_none(void **state)
{
    assert_complaints(GOOD_TOP
                      "github: {token: t-o-k-e-n, webhook_secrets: [a-long-secret], api_url: "
                      "\"https://api.acme.ghe.com\"}\n" GOOD_CLASSES
                      "ingress: {allow_from: [github-hooks]}\n",
                      CONFIG_FOR_CHECK,
                      "m.yaml:6: ingress.allow_from: has github-hooks, and no ranges are published "
                      "for ghe.com: list those that GitHub's documentation names for your region");
}

static void retry_cap_below_its_base_is_refused(void **state)
{
    assert_complaint_of_line(
        "retry: {base_delay: 500ms, max_delay: 499ms}",
        "m.yaml:1: retry.max_delay: is 499ms, below retry.base_delay (500ms): raise it "
        "or lower that");
    config_free(parse_ok("retry: {base_delay: 500ms, max_delay: 500ms}\n" GOOD, CONFIG_FOR_CHECK));
}

static void startup_timeout_must_exceed_the_boot_timeout_of_every_class(void **state)
{
    assert_complaint_of_line("reaper: {startup_timeout: 3m}",
                             "m.yaml:6: classes[0].qemu.boot_timeout: is 3m, not below "
                             "reaper.startup_timeout (3m): lower it or raise that");
    config_free(parse_ok("reaper: {startup_timeout: 180001ms}\n" GOOD, CONFIG_FOR_CHECK));
    /* With heartbeats a boot may last longer than a lease. */
    config_free(parse_ok("worker: {visibility_timeout: 1s}\n" GOOD, CONFIG_FOR_CHECK));
}

static void each_class_needs_a_launch_thread(void **state)
{
    assert_complaints(GOOD_TOP GOOD_GITHUB "worker: {launch_threads: 1}\nclasses:\n"
                                           "  - {name: a, labels: [a], qemu: {image: /i}}\n"
                                           "  - {name: b, labels: [b], qemu: {image: /i}}\n",
                      CONFIG_FOR_CHECK,
                      "m.yaml:4: worker.launch_threads: is 1, below the number of classes (2), "
                      "each of which needs one: raise it");
    config_free(parse_ok("worker: {launch_threads: 1}\n" GOOD, CONFIG_FOR_CHECK));
}

/* The former name of a class stands beside its new one, until its VMs are gone. */
static void retired_class_takes_no_job_and_needs_no_thread(void **state)
{
    static const enum config_for all[] = {CONFIG_FOR_CHECK, CONFIG_FOR_INGRESS};
    const struct slice label = SLICE("a");
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct config *c = parse_ok(GOOD_TOP GOOD_GITHUB
                                    "worker: {launch_threads: 1}\nclasses:\n"
                                    "  - {name: was, labels: [a], max_vms: 0, qemu: {image: /i}}\n"
                                    "  - {name: is, labels: [a], qemu: {image: /i}}\n",
                                    all[i]);
        assert_string_equal(config_route(c, &label, 1)->name, "is");
        config_free(c);
    }
}

static void sweep_lease_shorter_than_three_intervals_is_refused(void **state)
{
    assert_complaint_of_line("reaper: {lease_duration: 29999ms}",
                             "m.yaml:1: reaper.lease_duration: is 29999ms, less than three times "
                             "reaper.interval (10s): set it to 30s or more");
    assert_complaint_of_line("reaper: {interval: 20001ms}",
                             "m.yaml:1: reaper.lease_duration: is 1m, less than three times "
                             "reaper.interval (20001ms): set it to 60003ms or more");
    config_free(parse_ok("reaper: {lease_duration: 30s}\n" GOOD, CONFIG_FOR_REAPER));
    config_free(parse_ok("reaper: {lease_duration: 29999ms}\n" GOOD, CONFIG_FOR_INGRESS));
}

static void classes_are_checked_with_one_another_and_within(void **state)
{
    assert_complaints(
        GOOD_TOP GOOD_GITHUB "classes:\n"
                             "  - name: a\n"
                             "    labels: [Self-Hosted, x64]\n"
                             "    required_labels: [self-hosted, X64, gpu]\n"
                             "    qemu: {image: /i}\n"
                             "  - {name: a, labels: [x], qemu: {image: /i}}\n"
                             "  - {name: b, labels: [], qemu: {image: /i}}\n"
                             "  - {labels: [y], qemu: {network: proxy}}\n",
        CONFIG_FOR_CHECK,
        "m.yaml:7: classes[0].required_labels[2]: is not among the class's labels, so that no job "
        "could match: add it to labels, or remove it from required_labels\n"
        "m.yaml:9: classes[1].name: is the name of classes[0] too: give each its own\n"
        "m.yaml:10: classes[2].labels: is required: add \"labels: [self-hosted, linux, x64, "
        "microvm]\"\n"
        "m.yaml:11: classes[3].name: is required: add \"name: small\"\n"
        "m.yaml:11: classes[3].qemu.image: is required: add \"qemu: {image: "
        "/var/lib/mayfly/image}\"\n"
        "m.yaml:11: classes[3].qemu.network: is proxy, and the class has none: add \"proxy: "
        "{http: http://…, https: http://…}\" to it, or say network: internet");
}

static void allow_that_is_no_address_is_named(void **state)
{
    static const char top[] = GOOD_TOP "github: {token: t, webhook_secrets: [a-long-secret]}\n";
    static const char *const bad[] = {"example.com", "10.0.0.1/8", "127.0.0.1", "10.0.0.0/8:0"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[2048];
        struct config *c = NULL;
        struct err e;
        (void)snprintf(text, sizeof text,
                       "%sclasses: [{name: a, labels: [x], qemu: {image: /i, allow: ['%s']}}]\n",
                       top, bad[i]);
        assert_int_equal(config_parse(slice_of(text), "m.yaml", CONFIG_FOR_CHECK, &c, NULL, &e),
                         -1);
        assert_non_null(strstr(e.message, "classes[0].qemu.allow"));
    }
    char good[2048];
    (void)snprintf(good, sizeof good,
                   "%sclasses: [{name: a, labels: [x], qemu: {image: /i, network: none, allow: "
                   "[10.0.0.0/8, '[fd00::/8]:443', '127.0.0.1:8080']}}]\n",
                   top);
    config_free(parse_ok(good, CONFIG_FOR_CHECK));
}

static void image_is_the_workers_need_alone(void **state)
{
    static const char text[] = GOOD_TOP "github: {token: t, webhook_secrets: [a-long-secret]}\n"
                                        "classes: [{name: a, labels: [x]}]\n";
    config_free(parse_ok(text, CONFIG_FOR_INGRESS));
    config_free(parse_ok(text, CONFIG_FOR_REAPER));
    char *all = complaints_of(text, CONFIG_FOR_WORKER);
    assert_non_null(strstr(all, "m.yaml:4: classes[0].qemu.image: is required"));
    free(all);
}

#define ARN "arn:aws:lambda:us-east-1:123456789012:microvm-image:"
#define LAMBDA(more) "provider: lambda, lambda: {endpoint: http://h:1, image: \"" ARN more "\"}"

static void lambda_classes_name_an_image_of_their_own(void **state)
{
    static const char text[] = GOOD_TOP GOOD_GITHUB
        "classes:\n"
        "  - {name: a, labels: [x], " LAMBDA(
            "one") "}\n"
                   "  - {name: b, labels: [y], max_duration: 28801s, " LAMBDA(
                       "one") "}\n"
                              "  - {name: c, labels: [z], provider: lambda}\n"
                              "  - {name: d, labels: [v], provider: lambda, lambda: {endpoint: "
                              "nowhere, image: one,\n"
                              "     egress_connectors: [INTERNET_EGRESS]}}\n";
    assert_complaints(
        text, CONFIG_FOR_CHECK,
        "m.yaml:6: classes[1].lambda.image: is also another class's: give each class an image of "
        "its own, since nothing else identifies a MicroVM's owner\n"
        "m.yaml:6: classes[1].max_duration: is above 8h, the longest life of a MicroVM: "
        "lower it\n"
        "m.yaml:7: classes[2].lambda.image: is required, unless the class has targets: add "
        "\"lambda: "
        "{image: "
        "arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME}\"\n"
        "m.yaml:8: classes[3].lambda.endpoint: \"nowhere\" is refused: it must be a URL that "
        "begins with http:// or https://\n"
        "m.yaml:8: classes[3].lambda.image: \"one\" is refused: it must be an image's ARN, "
        "such as arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly\n"
        "m.yaml:9: classes[3].lambda.egress_connectors[0]: \"INTERNET_EGRESS\" is refused: it "
        "must be a network connector's ARN, such as "
        "arn:aws:lambda:us-east-1:123456789012:network-connector:vpc");
    config_free(parse_ok(GOOD_TOP GOOD_GITHUB
                         "classes: [{name: c, labels: [z], provider: lambda}]\n",
                         CONFIG_FOR_INGRESS));
}

static void lambda_log_needs_a_role_and_an_endpoint_is_optional(void **state)
{
    static const char lambda[] =
        GOOD_TOP GOOD_GITHUB "classes:\n"
                             "  - {name: a, labels: [x], provider: lambda,\n"
                             "     lambda: {image: \"" ARN "one\", log_group: /mayfly}}\n";
    assert_complaints(lambda, CONFIG_FOR_WORKER,
                      "m.yaml:6: classes[0].lambda.log_group: needs lambda.execution_role, since a "
                      "VM writes its log with its role's rights: add one that may write there, or "
                      "remove it");
    struct config *c =
        parse_ok(GOOD_TOP GOOD_GITHUB
                 "classes:\n"
                 "  - {name: a, labels: [x], provider: lambda,\n"
                 "     lambda: {image: \"" ARN "one\", log_group: /mayfly, shell: true,\n"
                 "       execution_role: \"arn:aws:iam::123456789012:role/vm\"}}\n",
                 CONFIG_FOR_WORKER);
    assert_true(lambda_settings_of(&c->classes[0])->shell);
    assert_string_equal(lambda_settings_of(&c->classes[0])->log_group, "/mayfly");
    assert_string_equal(lambda_settings_of(&c->classes[0])->endpoint, "");
    config_free(c);
}

static void set_fargate(bool on)
{
    assert_int_equal(
        on ? setenv("AWS_EXECUTION_ENV", "AWS_ECS_FARGATE", 1) : unsetenv("AWS_EXECUTION_ENV"), 0);
}

#define LAMBDA_CLASS                                                                               \
    "classes:\n  - {name: a, labels: [x], provider: lambda, lambda: {image: \"" ARN "one\"}}\n"
#define NO_DISK                                                                                    \
    "needs a disk that outlives the process, and a Fargate task "                                  \
    "(AWS_EXECUTION_ENV=AWS_ECS_FARGATE) has none: "

static void what_needs_a_disk_is_refused_on_fargate(void **state)
{
    static const char spool[] = "queue: sqs://m\nledger: dynamodb://m\n"
                                "ingress: {spool: {path: /spool}}\n" GOOD_GITHUB LAMBDA_CLASS;
    static const char remote[] = "queue: sqs://m\nledger: dynamodb://m\n" GOOD_GITHUB;
    struct buf text;
    (void)state;
    config_free(parse_ok(spool, CONFIG_FOR_INGRESS));
    set_fargate(true);
    assert_complaints(spool, CONFIG_FOR_INGRESS,
                      "m.yaml:3: ingress.spool.path: " NO_DISK
                      "what it holds would be lost with the task, though GitHub was answered 202; "
                      "remove it, and deliveries that the queue does not take are answered 503, "
                      "and the reaper requests them again from GitHub's delivery log");
    config_free(parse_ok(spool, CONFIG_FOR_WORKER));
    assert_complaints(GOOD_TOP GOOD_GITHUB LAMBDA_CLASS, CONFIG_FOR_WORKER,
                      "m.yaml:1: queue: " NO_DISK "use SQS, Redis or Kafka\n"
                      "m.yaml:2: ledger: " NO_DISK "use DynamoDB or Redis");
    buf_init(&text, 4096);
    buf_printf(&text, "%s%s", remote, GOOD_CLASSES);
    assert_complaints(text.data, CONFIG_FOR_REAPER,
                      "m.yaml:5: classes[0].provider: runs VMs on the worker's host, of which a "
                      "Fargate task (AWS_EXECUTION_ENV=AWS_ECS_FARGATE) has neither /dev/kvm nor a "
                      "state_dir that lasts: choose another provider, or run the worker elsewhere");
    config_free(parse_ok(text.data, CONFIG_FOR_INGRESS));
    buf_fini(&text);
    set_fargate(false);
}

static void too_many_classes_are_refused(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_append_cstr(&text, GOOD_TOP GOOD_GITHUB "classes:\n");
    for (int i = 0; i < 65; i++) {
        buf_printf(&text, "  - {name: c%d, labels: [x], qemu: {image: /i}}\n", i);
    }
    assert_complaints(text.data, CONFIG_FOR_CHECK,
                      "m.yaml:4: classes: has 65 elements, more than the 64 that are allowed: "
                      "remove some");
    buf_fini(&text);
}

static void complaints_past_the_limit_are_counted(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    for (int i = 0; i < 130; i++) {
        buf_printf(&text, "zz%d: 1\n", i);
    }
    buf_append_cstr(&text, GOOD_TOP);
    char *all = complaints_of(text.data, CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "m.yaml:100: zz99: unknown key"));
    assert_null(strstr(all, "zz100"));
    assert_non_null(strstr(all, "\nm.yaml: and 30 more complaints"));
    free(all);
    buf_fini(&text);
}

static void source_is_checked_with_the_classes(void **state)
{
    (void)state;
    assert_complaint_of_line("sources: [{scale_set: blue, class: small, repository: acme/*}]",
                             "m.yaml:1: sources[0].repository: \"acme/*\" is refused: it must be "
                             "owner/name\n"
                             "m.yaml:1: sources[0].organization: give either the organization or "
                             "the repository whose jobs they are");
    assert_complaint_of_line(
        "sources: [{scale_set: Linux, class: none}]",
        "m.yaml:1: sources[0].class: is the name of no class: add it to classes, or name another\n"
        "m.yaml:1: sources[0].organization: give either the organization or the repository whose "
        "jobs they are\n"
        "m.yaml:1: sources[0].scale_set: is a label of class small too, so that a job with it "
        "would be launched twice, for the set and for its webhook: give the set another name");
    assert_complaint_of_line("sources: [{scale_set: a, class: small, organization: acme}, "
                             "{scale_set: a, class: small, organization: acme}]",
                             "m.yaml:1: sources[1].scale_set: is there twice: remove one");
}

static void scope_of_a_source_names_its_set(void **state)
{
    struct config *c = parse_ok(
        "sources: [{scale_set: a, class: small, organization: acme, runner_group: Fleet},\n"
        "  {scale_set: a, class: small, repository: acme/web}]\n" GOOD,
        CONFIG_FOR_REAPER);
    char scope[144];
    (void)state;
    config_source_scope(&c->sources[0], scope, sizeof scope);
    assert_string_equal(scope, "acme#set:a");
    assert_string_equal(config_scope_group(c, &c->classes[0], scope), "Fleet");
    assert_ptr_equal(config_source_of(c, "acme/web#set:a"), &c->sources[1]);
    assert_string_equal(config_source_group(c, &c->sources[1]), "Default");
    assert_null(config_source_of(c, "acme#set:b"));
    assert_string_equal(config_scope_group(c, &c->classes[0], "acme#mapped"), "mapped");
    assert_string_equal(config_scope_group(c, &c->classes[0], "acme"), "Default");
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_program_lacks_only_what_it_needs),
        cmocka_unit_test(tool_takes_the_credentials_that_it_finds),
        cmocka_unit_test(refused_value_is_not_called_missing_as_well),
        cmocka_unit_test(kafka_of_events_names_brokers_and_a_topic),
        cmocka_unit_test(empty_value_is_called_missing),
        cmocka_unit_test(credentials_are_an_app_or_a_token_and_a_hook_is_whole),
        cmocka_unit_test(tls_needs_both_halves),
        cmocka_unit_test(one_address_for_two_servers_is_refused),
        cmocka_unit_test(limit_that_no_whole_request_fits_into_is_refused),
        cmocka_unit_test(addresses_of_peers_are_prefixes_or_the_word_for_githubs),
        cmocka_unit_test(word_for_githubs_ranges_is_refused_where_there_are_none),
        cmocka_unit_test(retry_cap_below_its_base_is_refused),
        cmocka_unit_test(startup_timeout_must_exceed_the_boot_timeout_of_every_class),
        cmocka_unit_test(each_class_needs_a_launch_thread),
        cmocka_unit_test(retired_class_takes_no_job_and_needs_no_thread),
        cmocka_unit_test(sweep_lease_shorter_than_three_intervals_is_refused),
        cmocka_unit_test(classes_are_checked_with_one_another_and_within),
        cmocka_unit_test(allow_that_is_no_address_is_named),
        cmocka_unit_test(image_is_the_workers_need_alone),
        cmocka_unit_test(lambda_classes_name_an_image_of_their_own),
        cmocka_unit_test(lambda_log_needs_a_role_and_an_endpoint_is_optional),
        cmocka_unit_test(what_needs_a_disk_is_refused_on_fargate),
        cmocka_unit_test(source_is_checked_with_the_classes),
        cmocka_unit_test(scope_of_a_source_names_its_set),
        cmocka_unit_test(too_many_classes_are_refused),
        cmocka_unit_test(complaints_past_the_limit_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
