/*
 * Makes every call that the product makes of Lambda MicroVMs, STS and Service Quotas, once, with
 * all that a class can set; for requests.mjs, which compares them with those of AWS's own clients.
 *
 *   requests_driver ENDPOINT CASE      what AWS_ENDPOINT_URL says is where STS and quotas are
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check/check.h"
#include "common/queue/queue.h"
#include "common/vm/vm.h"

#define IMAGE "arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly"
#define VPC "arn:aws:lambda:us-east-1:123456789012:network-connector:vpc-1"

static const char *const plain = "";
static const char *const full =
    ", \"image_version\": \"3.0\", \"execution_role\": \"arn:aws:iam::123456789012:role/vm\","
    " \"egress_connectors\": [\"" VPC "\"], \"log_group\": \"/mayfly/vms\", \"shell\": true";

static struct config *make_config(const char *endpoint, const char *lambda)
{
    char text[4096];
    struct err e = {0};
    struct config *c = NULL;
    (void)snprintf(
        text, sizeof text,
        "{\"queue\": \"sqlite:///nowhere\", \"ledger\": \"sqlite:///nowhere\","
        " \"github\": {\"token\": \"x\"},"
        " \"classes\": [{\"name\": \"arm\", \"labels\": [\"self-hosted\"],"
        " \"provider\": \"lambda\", \"lambda\": {\"endpoint\": \"%s\", \"image\": \"" IMAGE
        "\"%s}}]}",
        endpoint, lambda);
    if (config_parse(slice_of(text), "driver", CONFIG_FOR_WORKER, &c, NULL, &e) != 0) {
        (void)fprintf(stderr, "%s\n", e.message);
        exit(2);
    }
    return c;
}

static int failed(const char *what, const struct err *e)
{
    (void)fprintf(stderr, "%s: %s\n", what, e->message);
    return 1;
}

static int drive_vms(struct vm_provider *p)
{
    struct err e = {0};
    char id[VM_ID_MAX + 1];
    struct vm_info info;
    struct vm_info *list = NULL;
    size_t n = 0;
    const struct vm_spec spec = {.name = "mf-t-arm-1",
                                 .client_token = "mf-t-arm-1",
                                 .payload = SLICE("cGF5bG9hZCB3aXRoIC8gYW5kICs="),
                                 .max_duration_ms = 3600000};
    if (vm_run(p, &spec, id, &e) != 0) {
        return failed("run", &e);
    }
    if (vm_describe(p, id, &info, &e) != 0) {
        return failed("describe", &e);
    }
    if (vm_list(p, &list, &n, &e) != 0) {
        return failed("list", &e);
    }
    free(list);
    return vm_terminate(p, id, 0, &e) == 0 ? 0 : failed("terminate", &e);
}

static int drive_checks(const struct config *c)
{
    static check_fn *const checks[] = {check_aws, vm_check, NULL};
    return check_all(c, CONFIG_FOR_WORKER, checks, false, stderr);
}

/* --- the queue --- */

static void must(int rc, const char *what, const struct err *e)
{
    if (rc != 0) {
        exit(failed(what, e));
    }
}

/* Lanes with a point, keys, groups, delays, bodies that want escaping. */
static void put_some(struct queue *q)
{
    struct err e = {0};
    const struct queue_item items[] = {
        {.lane = "events",
         .body = SLICE("{\"a\":\"\xc3\xa4 & <b>\\n\"}"),
         .key = "1",
         .group = "acme/app"},
        {.lane = "launch.arm", .body = SLICE("{}"), .key = "2", .group = ""},
        {.lane = "launch.arm", .body = SLICE("{\"n\":2}"), .key = "3", .group = ""},
        {.lane = "launch.arm",
         .body = SLICE("later"),
         .key = "4",
         .delay_ms = 60000,
         .group = "x"}};
    must(queue_put(q, items, COUNT_OF(items), &e), "put", &e);
}

static size_t take_some(struct queue *q, const char *lane, size_t max, struct queue_message *m)
{
    struct err e = {0};
    size_t got = 0;
    must(queue_receive(q, lane, max, 30000, 5000, m, &got, &e), "take", &e);
    return got;
}

static void settle_some(struct queue *q)
{
    struct err e = {0};
    struct queue_message m = {0};
    const struct queue_return back = {.delay_ms = 1000, .spend_attempt = true, .reason = "later"};
    if (take_some(q, "events", 1, &m) == 1) {
        must(queue_extend(q, &m, 60000, &e), "extend", &e);
        must(queue_ack(q, &m, 1, &e), "done", &e);
        queue_message_fini(&m);
    }
    for (int i = 0; i < 2 && take_some(q, "launch.arm", 1, &m) == 1; i++) {
        must(i == 0 ? queue_nack(q, &m, &back, &e) : queue_dead_letter(q, &m, "refused", &e),
             "settle", &e);
        queue_message_fini(&m);
    }
}

static void look_at_the_dead(struct queue *q)
{
    struct err e = {0};
    struct queue_entry *dead = NULL;
    struct queue_depth *depths = NULL;
    size_t n = 0;
    must(queue_depths(q, NULL, &depths, &n, &e), "depths", &e);
    free(depths);
    must(queue_dead(q, "launch.arm", 10, &dead, &n, &e), "dead", &e);
    if (n > 0) {
        must(queue_redrive(q, dead[0].message.id, &e), "kick", &e);
    }
    queue_entries_free(dead, n);
}

static int drive_queue(const char *endpoint)
{
    struct err e = {0};
    struct queue *q = NULL;
    struct buf warnings;
    char url[256];
    (void)snprintf(url, sizeof url,
                   "sqs://mayfly?create=1&poll_wait=1s&region=us-east-1&endpoint=%s", endpoint);
    buf_init(&warnings, 65536);
    must(queue_open(url, &q, &e), "open", &e);
    must(queue_ping(q, &e), "ping", &e);
    put_some(q);
    settle_some(q);
    look_at_the_dead(q);
    must(queue_check(q, true, &warnings, &e), "check", &e);
    queue_close(q);
    buf_fini(&warnings);
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct vm_provider *p = NULL;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: requests_driver ENDPOINT plain|full|checks|queue\n");
        return 2;
    }
    if (strcmp(argv[2], "queue") == 0) {
        return drive_queue(argv[1]);
    }
    struct config *c = make_config(argv[1], strcmp(argv[2], "full") == 0 ? full : plain);
    int rc = 0;
    if (strcmp(argv[2], "checks") == 0) {
        rc = drive_checks(c);
    } else if (vm_open(&c->classes[0], "t", &p, &e) != 0) {
        rc = failed("open", &e);
    } else {
        rc = drive_vms(p);
        vm_close(p);
    }
    config_free(c);
    return rc;
}
