/*
 * The provider `lambda` against a scripted server: what a class's settings make of a launch, whose
 * calls they are, and at what pace.
 */
#include <stdlib.h>
#include <string.h>

#include "common/vm/lambda/call.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/vm/lambda_scene.h"

static void run_sends_what_the_class_sets(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    char *egress = lambda_text("arn:aws:lambda:eu-west-1:123456789012:network-connector:vpc");
    char *ingress = lambda_text("arn:aws:lambda:eu-west-1:aws:network-connector:x:SHELL_INGRESS");
    struct buf endpoint;
    buf_init(&endpoint, 256);
    buf_printf(&endpoint, "%s//", http_server_url(s->server));
    struct lambda_settings settings;
    struct config_class class = lambda_class(endpoint.data, &settings);
    settings.image_version = lambda_text("3.0");
    settings.execution_role = lambda_text("arn:aws:iam::123456789012:role/vm");
    settings.kms_key = lambda_text("arn:aws:kms:us-east-1:123456789012:key/k");
    settings.egress_connectors = (struct config_list){&egress, 1};
    settings.ingress_connectors = (struct config_list){&ingress, 1};
    vm_close(s->p);
    assert_int_equal(vm_open(&class, "t", &s->p, &e), 0);
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(scene_run(s, id, &e), 0);
    assert_string_equal(http_server_request(s->server, 0)->target, "/2025-09-09/microvms");
    json_t *body = scene_body(s, 0);
    assert_string_equal(scene_text(body, "imageVersion"), "3.0");
    assert_string_equal(scene_text(body, "executionRoleArn"), "arn:aws:iam::123456789012:role/vm");
    assert_string_equal(scene_text(body, "kmsKeyIdentifier"),
                        "arn:aws:kms:us-east-1:123456789012:key/k");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(body, "egressNetworkConnectors"), 0)),
        egress);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(body, "ingressNetworkConnectors"), 0)),
        ingress);
    json_decref(body);
    buf_fini(&endpoint);
}

/* With a role a VM may write a log; with a shell it is reached by two connectors, each once. */
static void run_sends_log_and_shell(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    char *http = lambda_text("arn:aws:lambda:us-east-1:aws:network-connector:"
                             "aws-network-connector:HTTP_INGRESS");
    struct lambda_settings settings;
    struct config_class class = lambda_class(http_server_url(s->server), &settings);
    settings.execution_role = lambda_text("arn:aws:iam::123456789012:role/vm");
    settings.log_group = lambda_text("/mayfly/vms");
    settings.shell = true;
    settings.ingress_connectors = (struct config_list){&http, 1};
    vm_close(s->p);
    assert_int_equal(vm_open(&class, "t", &s->p, &e), 0);
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(scene_run(s, id, &e), 0);
    json_t *body = scene_body(s, 0);
    const json_t *log = json_object_get(json_object_get(body, "logging"), "cloudWatch");
    assert_string_equal(scene_text(log, "logGroup"), "/mayfly/vms");
    assert_string_equal(scene_text(log, "logStream"), "mf-t-arm-1");
    const json_t *ingress = json_object_get(body, "ingressNetworkConnectors");
    assert_int_equal(json_array_size(ingress), 2);
    assert_string_equal(json_string_value(json_array_get(ingress, 0)), http);
    assert_string_equal(json_string_value(json_array_get(ingress, 1)),
                        "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:"
                        "SHELL_INGRESS");
    json_decref(body);
}

static void calls_are_signed_for_the_services_name(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(scene_run(s, id, &e), 0);
    const char *signature = served_header(http_server_request(s->server, 0), "Authorization");
    assert_non_null(strstr(signature, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    assert_non_null(strstr(signature, "/us-east-1/lambda/aws4_request"));
}

static void run_role_denied_is_asked_again_for_a_while(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    const struct step denied = {
        403, ERROR("AccessDeniedException"),
        "{\"message\":\"User: arn:aws:sts::1:x is not authorized to perform: iam:PassRole\"}"};
    SCRIPT(s, denied, {200, NULL, MICROVM});
    assert_int_equal(scene_run(s, id, &e), 0);
    assert_int_equal(s->at, 2);
    SCRIPT(s, denied);
    assert_int_equal(scene_run(s, id, &e), -1);
    assert_int_equal(s->at, 4);
    assert_int_equal(e.class, ERR_AUTH);
    assert_true(vm_run_left_nothing(&e));
    assert_non_null(strstr(e.message, "lambda.execution_role"));
    /* An answer that was lost, then the refusal: that a VM runs cannot be told. */
    SCRIPT(s, {0, NULL, NULL}, denied);
    assert_int_equal(scene_run(s, id, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_false(vm_run_left_nothing(&e));
}

/* Who waits for whom: a describe and each page of a list wait, and refusals for speed are told. */
static struct waits {
    int waited[4];
    int throttled[4];
    int64_t retry_after_ms;
    bool refuse;
} waits;

static int note_wait(void *arg, enum vm_call call, struct err *e)
{
    assert_ptr_equal(arg, &waits);
    waits.waited[call]++;
    return waits.refuse ? err_set(e, ERR_RETRY, 0, "no turn") : 0;
}

static void note_throttled(void *arg, enum vm_call call, int64_t retry_after_ms)
{
    assert_ptr_equal(arg, &waits);
    waits.throttled[call]++;
    waits.retry_after_ms = retry_after_ms;
}

static void calls_keep_the_pace_and_tell_when_it_is_too_fast(void **state)
{
    struct scene *s = *state;
    const struct vm_pace pace = {&waits, note_wait, note_throttled};
    struct lambda_settings settings;
    struct config_class class = lambda_class(http_server_url(s->server), &settings);
    struct vm_info info;
    struct vm_info *list = NULL;
    size_t n = 0;
    char id[VM_ID_MAX + 1];
    struct err e;
    waits = (struct waits){.refuse = false};
    vm_close(s->p);
    assert_int_equal(vm_open_paced(&class, "t", &pace, &s->p, &e), 0);
    SCRIPT(s, {200, NULL, "{\"items\":[],\"nextToken\":\"b\"}"}, {200, NULL, "{\"items\":[]}"},
           {429, ERROR("ThrottlingException") "Retry-After: 7\r\n", "{}"});
    assert_int_equal(vm_list(s->p, &list, &n, &e), 0);
    free(list);
    assert_int_equal(waits.waited[VM_CALL_LIST], 2);
    assert_int_equal(vm_describe(s->p, "m", &info, &e), -1);
    assert_int_equal(vm_terminate(s->p, "m", 0, &e), -1);
    assert_int_equal(scene_run(s, id, &e), -1);
    assert_int_equal(vm_list(s->p, &list, &n, &e), -1);
    assert_int_equal(waits.waited[VM_CALL_DESCRIBE], 1);
    assert_int_equal(waits.waited[VM_CALL_TERMINATE] + waits.waited[VM_CALL_RUN], 0);
    for (int call = 0; call < 4; call++) {
        assert_int_equal(waits.throttled[call], 1);
    }
    assert_int_equal(waits.retry_after_ms, 7000);
    size_t sent = s->at;
    waits.refuse = true;
    assert_int_equal(vm_list(s->p, &list, &n, &e), -1);
    assert_int_equal(vm_describe(s->p, "m", &info, &e), -1);
    assert_int_equal(s->at, sent);
    assert_int_equal(waits.throttled[VM_CALL_LIST], 1);
}

static void open_refuses_what_cannot_work(void **state)
{
    static const char *const images[] = {
        "", "mayfly", "arn:aws:lambda:us-east-1:123456789012:microvm-image/mayfly",
        "arn:aws:ec2:us-east-1:123456789012:microvm-image:mayfly",
        "arn:aws:lambda:us-east-1:123456789012:microvm-image:"};
    for (size_t i = 0; i < COUNT_OF(images); i++) {
        struct lambda_settings settings;
        struct config_class class = lambda_class("http://127.0.0.1:1", &settings);
        struct vm_provider *p = NULL;
        struct err e;
        settings.image = lambda_text(images[i]);
        assert_int_equal(vm_open(&class, "t", &p, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_non_null(strstr(e.message, "lambda.image"));
    }
}

static void open_without_endpoint_is_the_services_own_of_the_region(void **state)
{
    struct lambda_settings settings;
    struct config_class class = lambda_class("", &settings);
    struct vm_provider *p = NULL;
    struct aws_client *c = NULL;
    struct err e;
    settings.region = lambda_text("eu-west-1");
    assert_int_equal(lambda_client_open(&class, &c, &e), 0);
    assert_string_equal(aws_client_endpoint(c), "https://lambda.eu-west-1.amazonaws.com");
    aws_client_close(c);
    assert_int_equal(vm_open(&class, "t", &p, &e), 0);
    assert_string_equal(vm_domain(p), "lambda/eu-west-1/123456789012");
    vm_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCENE(run_sends_what_the_class_sets),
        IN_SCENE(run_sends_log_and_shell),
        IN_SCENE(calls_are_signed_for_the_services_name),
        IN_SCENE(run_role_denied_is_asked_again_for_a_while),
        IN_SCENE(calls_keep_the_pace_and_tell_when_it_is_too_fast),
        cmocka_unit_test(open_refuses_what_cannot_work),
        cmocka_unit_test(open_without_endpoint_is_the_services_own_of_the_region),
    };
    lambda_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
