/*
 * The online checks of a class with targets, against a scripted server that stands for STS, Service Quotas
 * and Lambda MicroVMs: each account is asked with its own role, and compared with its own limits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check/check.h"
#include "common/vm/vm.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/http/http_server.h"
#include "tests/unit/vm/lambda_class.h"

#define OTHER_ROLE "arn:aws:iam::210987654321:role/mayfly"
#define OTHER_KEY "ASIAOTHER"
#define CREDENTIALS                                                                                \
    "<R><Credentials><AccessKeyId>" OTHER_KEY "</AccessKeyId><SecretAccessKey>s</SecretAccessKey>" \
    "<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></"  \
    "R>"
#define IMAGE(region, account) "arn:aws:lambda:" region ":" account ":microvm-image:ci"

static struct scene {
    struct http_server *server;
    struct config *config;
    char *said;
    bool refuses_role;
    size_t own_quotas;   /* read with the process's keys */
    size_t other_quotas; /* with the role's */
} scene;

static bool holds(const struct served_request *q, const char *text)
{
    return q->body.len > 0 && memmem(q->body.data, q->body.len, text, strlen(text)) != NULL;
}

static void serve_sts(const struct served_request *q, bool is_other, struct served_answer *a)
{
    if (holds(q, "Action=AssumeRole")) {
        a->status = scene.refuses_role ? 403 : 200;
        buf_append_cstr(&a->body,
                        scene.refuses_role
                            ? "<E><Error><Code>AccessDenied</Code><Message>no</Message></Error></E>"
                            : CREDENTIALS);
        return;
    }
    a->status = 200;
    buf_append_cstr(&a->body,
                    is_other ? "<R><Arn>arn:aws:sts::210987654321:assumed-role/mayfly/i</Arn></R>"
                             : "<R><Arn>arn:aws:sts::123456789012:assumed-role/worker/i</Arn></R>");
}

/* The other account has 16 GB, and two launches a second; all else is enough. */
static void serve_quota(const struct served_request *q, bool is_other, struct served_answer *a)
{
    const char *value = "1000";
    value = is_other && holds(q, "L-CD1C0CC4") ? "16" : value;
    value = is_other && holds(q, "L-535CA9B6") ? "2" : value;
    scene.other_quotas += is_other;
    scene.own_quotas += !is_other;
    a->status = 200;
    buf_printf(&a->body, "{\"Quota\":{\"QuotaName\":\"q\",\"Value\":%s,\"Unit\":\"Gigabytes\"}}",
               value);
}

static void serve_lambda(const struct served_request *q, struct served_answer *a)
{
    a->status = 200;
    buf_append_cstr(&a->body,
                    strstr(q->target, "/versions") != NULL
                        ? "{\"items\":[{\"imageVersion\":\"1.0\",\"status\":\"ACTIVE\",\"state\":"
                          "\"SUCCESSFUL\",\"resources\":[{\"minimumMemoryInMiB\":2048}]}]}"
                        : "{\"name\":\"ci\",\"state\":\"CREATED\",\"items\":[]}");
}

static void serve(void *arg, const struct served_request *q, struct served_answer *a)
{
    const char *authorization = served_header(q, "Authorization");
    bool is_other = authorization != NULL && strstr(authorization, OTHER_KEY) != NULL;
    (void)arg;
    if (strncmp(q->target, "/2025-09-09/", 12) == 0) {
        serve_lambda(q, a);
    } else if (holds(q, "QuotaCode")) {
        serve_quota(q, is_other, a);
    } else {
        serve_sts(q, is_other, a);
    }
}

/* Targets `here`, with the process's own keys, and `there`, with the role's; more: of target there. */
static void check_with(const char *more)
{
    static check_fn *const checks[] = {check_aws, vm_check, NULL};
    struct buf text;
    struct err e;
    size_t n = 0;
    buf_init(&text, 8192);
    buf_printf(&text,
               "{\"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\", \"github\": {\"token\": "
               "\"x\"}, \"limits\": {\"max_vms\": 50}, \"classes\": [{\"name\": \"arm\", "
               "\"labels\": [\"self-hosted\"], \"max_vms\": 40, \"provider\": \"lambda\", "
               "\"lambda\": {\"endpoint\": \"%s\"}, \"targets\": ["
               "{\"name\": \"here\", \"image\": \"" IMAGE(
                   "us-east-1", "123456789012") "\"},"
                                                "{\"name\": \"there\", \"image\": \"" IMAGE(
                                                    "us-west-2",
                                                    "210987654321") "\", "
                                                                    "\"role_arn\": \"" OTHER_ROLE
                                                                    "\"%s}]}]}",
               http_server_url(scene.server), more);
    config_free(scene.config);
    if (config_parse(buf_slice(&text), "test", CONFIG_FOR_REAPER, &scene.config, NULL, &e) != 0) {
        fail_msg("%s", e.message);
    }
    buf_fini(&text);
    free(scene.said);
    FILE *out = open_memstream(&scene.said, &n);
    (void)check_all(scene.config, CONFIG_FOR_WORKER, checks, false, out);
    assert_int_equal(fclose(out), 0);
}

static void assert_said(const char *text)
{
    if (strstr(scene.said, text) == NULL) {
        fail_msg("\"%s\" was not said:\n%s", text, scene.said);
    }
}

static int set_up(void **state)
{
    (void)state;
    scene = (struct scene){.server = http_server_start(serve, NULL)};
    return setenv("AWS_ENDPOINT_URL", http_server_url(scene.server), 1);
}

static int tear_down(void **state)
{
    (void)state;
    config_free(scene.config);
    http_server_stop(scene.server);
    free(scene.said);
    return 0;
}

static void each_role_is_assumed_and_named(void **state)
{
    (void)state;
    check_with("");
    assert_said("ok    aws: sts:GetCallerIdentity: calls are made as "
                "arn:aws:sts::123456789012:assumed-role/worker/i");
    assert_said("ok    target there: sts:GetCallerIdentity: calls are made as "
                "arn:aws:sts::210987654321:assumed-role/mayfly/i, in region us-west-2");
    assert_null(strstr(scene.said, "target here: sts"));
    assert_said("class arm@there: GetMicrovmImage: image ci exists");
}

static void role_that_cannot_be_assumed_is_a_failure_that_names_it(void **state)
{
    (void)state;
    scene.refuses_role = true;
    check_with("");
    assert_said("FAIL  target there: sts:GetCallerIdentity: GetCallerIdentity: role " OTHER_ROLE
                ": AssumeRole: AccessDenied");
    assert_said("its role must trust the role that this program has");
    assert_said("ok    quotas of target here: ");
}

static void each_accounts_quotas_are_compared_with_its_target(void **state)
{
    (void)state;
    check_with("");
    assert_true(scene.own_quotas > 0 && scene.own_quotas == scene.other_quotas);
    assert_said("ok    quotas of target here: q: 1000 Gigabytes allow 125 VMs of class arm@here "
                "alone (max_vms 40)");
    assert_said(
        "warn  quotas of target there: q: 16 Gigabytes allow 2 VMs of class arm@there alone "
        "(max_vms 40)");
    assert_said("warn  quotas of target there: q: all classes at their caps need 320 GiB of 16");
    assert_said(
        "warn  quotas of target there: q: 2 a second, targets[].launch_rate.per_second is 5");
    assert_said("quotas of target there: q: 1000 a second, limits.terminate_rate.per_second is 10");
    assert_null(strstr(scene.said, "limits.launch_rate"));
    check_with(", \"max_vms\": 2, \"launch_rate\": {\"per_second\": 2}");
    assert_said(
        "ok    quotas of target there: q: 16 Gigabytes allow 2 VMs of class arm@there alone "
        "(max_vms 2)");
    assert_said("ok    quotas of target there: q: all classes at their caps need 16 GiB of 16");
    assert_said(
        "ok    quotas of target there: q: 2 a second, targets[].launch_rate.per_second is 2");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_role_is_assumed_and_named),
        CASE(role_that_cannot_be_assumed_is_a_failure_that_names_it),
        CASE(each_accounts_quotas_are_compared_with_its_target),
    };
    lambda_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
