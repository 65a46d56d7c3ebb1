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
    static check_fn *const checks[] = {check_aws, check_lambda, NULL};
    return check_all(c, checks, false, stderr);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct vm_provider *p = NULL;
    if (argc != 3) {
        (void)fprintf(stderr, "usage: requests_driver ENDPOINT plain|full|checks\n");
        return 2;
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
