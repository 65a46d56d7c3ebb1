/*
 * The provider `lambda` against a scripted server: what it sends, and what it makes of answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/vm/vm_lambda_call.h"
#include "tests/unit/http/http_server.h"
#include "tests/unit/vm/lambda_class.h"

#define MICROVM "{\"microvmId\":\"microvm-1\",\"state\":\"PENDING\",\"startedAt\":1790000000.5}"

/* One answer of the script; the last one is repeated. */
struct step {
    int status; /* 0: hang up */
    const char *headers;
    const char *body;
};

struct scene {
    struct http_server *server;
    struct vm_provider *p;
    const struct step *steps;
    size_t count;
    size_t at;
};

static void serve(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct scene *s = arg;
    const struct step *step = &s->steps[s->at < s->count ? s->at : s->count - 1];
    (void)q;
    s->at++;
    a->status = step->status;
    a->hang_up = step->status == 0;
    buf_append_cstr(&a->headers, step->headers != NULL ? step->headers : "");
    buf_append_cstr(&a->body, step->body != NULL ? step->body : "");
}

static void script(struct scene *s, const struct step *steps, size_t count)
{
    s->steps = steps;
    s->count = count;
    s->at = 0;
}
#define SCRIPT(s, ...)                                                                             \
    script(s, (const struct step[]){__VA_ARGS__},                                                  \
           sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

static int setup(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    struct err e;
    s->server = http_server_start(serve, s);
    struct config_class class = lambda_class(http_server_url(s->server));
    if (vm_open(&class, "t", &s->p, &e) != 0) {
        return -1;
    }
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;
    vm_close(s->p);
    http_server_stop(s->server);
    free(s);
    return 0;
}

static int run(struct scene *s, char *id, struct err *e)
{
    struct vm_spec spec = lambda_spec("mf-t-arm-1", "cGF5bG9hZA==");
    *e = (struct err){0};
    return vm_run(s->p, &spec, id, e);
}

static json_t *body_of(struct scene *s, size_t n)
{
    const struct served_request *q = http_server_request(s->server, n);
    json_t *body = json_loadb(q->body.data, q->body.len, 0, NULL);
    assert_non_null(body);
    return body;
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

/* --- run ---------------------------------------------------------------------------------------
 */

static void run_sends_what_the_service_wants_and_no_more(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(run(s, id, &e), 0);
    assert_string_equal(id, "microvm-1");
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(q->method, "POST");
    assert_string_equal(q->target, "/2025-09-09/microvms");
    assert_string_equal(served_header(q, "Content-Type"), "application/json");
    json_t *body = body_of(s, 0);
    assert_int_equal(json_object_size(body), 6);
    assert_string_equal(text(body, "imageIdentifier"), LAMBDA_IMAGE);
    assert_string_equal(text(body, "clientToken"), "mf-t-arm-1");
    assert_string_equal(text(body, "runHookPayload"), "cGF5bG9hZA==");
    assert_int_equal(json_integer_value(json_object_get(body, "maximumDurationInSeconds")), 600);
    assert_non_null(json_object_get(json_object_get(body, "logging"), "disabled"));
    const json_t *egress = json_object_get(body, "egressNetworkConnectors");
    assert_int_equal(json_array_size(egress), 1);
    assert_string_equal(json_string_value(json_array_get(egress, 0)),
                        "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:"
                        "INTERNET_EGRESS");
    json_decref(body);
    assert_false(vm_host_bound(s->p));
}

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
    struct config_class class = lambda_class(endpoint.data);
    class.lambda.image_version = lambda_text("3.0");
    class.lambda.execution_role = lambda_text("arn:aws:iam::123456789012:role/vm");
    class.lambda.egress_connectors = (struct config_list){&egress, 1};
    class.lambda.ingress_connectors = (struct config_list){&ingress, 1};
    vm_close(s->p);
    assert_int_equal(vm_open(&class, "t", &s->p, &e), 0);
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(run(s, id, &e), 0);
    assert_string_equal(http_server_request(s->server, 0)->target, "/2025-09-09/microvms");
    json_t *body = body_of(s, 0);
    assert_string_equal(text(body, "imageVersion"), "3.0");
    assert_string_equal(text(body, "executionRoleArn"), "arn:aws:iam::123456789012:role/vm");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(body, "egressNetworkConnectors"), 0)),
        egress);
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(body, "ingressNetworkConnectors"), 0)),
        ingress);
    json_decref(body);
    buf_fini(&endpoint);
}

static void run_impossible_spec_asks_nobody(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1] = "untouched";
    char payload[4098];
    struct err e;
    memset(payload, 'a', sizeof payload - 1);
    payload[sizeof payload - 1] = '\0';
    SCRIPT(s, {200, NULL, MICROVM});
    struct vm_spec spec = lambda_spec("t", payload);
    assert_int_equal(vm_run(s->p, &spec, id, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_null(strstr(e.message, "aaaa"));
    spec = lambda_spec("t", "x");
    spec.max_duration_ms = 28800001;
    assert_int_equal(vm_run(s->p, &spec, id, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    spec = lambda_spec("t", "\xff\xfe");
    assert_int_equal(vm_run(s->p, &spec, id, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(http_server_count(s->server, ""), 0);
    assert_string_equal(id, "untouched");
}

#define ERROR(name) "x-amzn-errortype: " name ":http://x/\r\nx-amzn-RequestId: req-7\r\n"

static void run_refusals_have_their_class_and_what_to_do(void **state)
{
    struct scene *s = *state;
    const struct {
        struct step step;
        enum err_class class;
        const char *says;
        bool left_nothing;
    } cases[] = {
        {{429, ERROR("ThrottlingException") "Retry-After: 7\r\n", "{\"message\":\"slow\"}"},
         ERR_THROTTLED,
         "launch_rate",
         true},
        {{429, NULL, "{\"code\":\"TooManyRequestsException\",\"Message\":\"slow\"}"},
         ERR_THROTTLED,
         "slow",
         true},
        {{402, ERROR("ServiceQuotaExceededException"), "{\"message\":\"full\"}"},
         ERR_CAPACITY,
         "max_vms",
         true},
        {{500, ERROR("InsufficientCapacityException"), "{\"message\":\"full\"}"},
         ERR_CAPACITY,
         "no room",
         true},
        {{403, ERROR("AccessDeniedException"), "{\"message\":\"lambda:RunMicrovm\"}"},
         ERR_AUTH,
         "iam:PassRole too",
         true},
        {{403, ERROR("AccessDeniedException"), "{\"Message\":null}"}, ERR_AUTH, "region", true},
        {{403, NULL, "{\"__type\":\"a#ExpiredTokenException\",\"message\":\"x\"}"},
         ERR_AUTH,
         "renew",
         true},
        {{403, NULL, "no"}, ERR_AUTH, "credentials", true},
        {{400, ERROR("ValidationException"), "{\"message\":\"bad\"}"}, ERR_PERMANENT, "bad", true},
        {{409, ERROR("ConflictException"), "{\"message\":\"used\"}"}, ERR_CONFLICT, "used", true},
        {{404, ERROR("ResourceNotFoundException"), "{\"message\":\"No active version\"}"},
         ERR_PERMANENT,
         "ACTIVE",
         true},
        {{404, ERROR("UnknownOperationException"), "{}"}, ERR_PERMANENT, "endpoint", true},
        {{500, ERROR("InternalServerException"), "{\"message\":\"oops\"}"},
         ERR_RETRY,
         "oops",
         false},
        {{502, "Content-Type: text/html\r\n", "<html>Bad Gateway</html>"},
         ERR_RETRY,
         "HTTP 502",
         false},
        {{418, ERROR("NeverHeardOfException"), "{\"message\":\"?\"}"},
         ERR_RETRY,
         "NeverHeardOf",
         false},
        {{200, NULL, "<html>hello</html>"}, ERR_RETRY, "endpoint", false},
        {{200, NULL, "{\"microvmId\":\"\",\"state\":\"PENDING\"}"}, ERR_RETRY, "endpoint", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char id[VM_ID_MAX + 1] = "untouched";
        struct err e;
        script(s, &cases[i].step, 1);
        assert_int_equal(run(s, id, &e), -1);
        assert_int_equal(e.class, cases[i].class);
        assert_non_null(strstr(e.message, cases[i].says));
        assert_non_null(strstr(e.message, "RunMicrovm"));
        assert_int_equal(vm_run_left_nothing(&e), cases[i].left_nothing);
        assert_null(strstr(e.message, "cGF5bG9hZA"));
        if (cases[i].step.headers != NULL && strstr(cases[i].step.headers, "req-7") != NULL) {
            assert_non_null(strstr(e.message, "req-7"));
        }
        assert_string_equal(id, "untouched");
        /* Only what may have happened is asked again, with the same token. */
        assert_int_equal(s->at, cases[i].class == ERR_RETRY ? 3 : 1);
    }
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
    assert_int_equal(run(s, id, &e), 0);
    assert_int_equal(s->at, 2);
    SCRIPT(s, denied);
    assert_int_equal(run(s, id, &e), -1);
    assert_int_equal(s->at, 4);
    assert_int_equal(e.class, ERR_AUTH);
    assert_true(vm_run_left_nothing(&e));
    assert_non_null(strstr(e.message, "lambda.execution_role"));
    /* An answer that was lost, then the refusal: that a VM runs cannot be told. */
    SCRIPT(s, {0, NULL, NULL}, denied);
    assert_int_equal(run(s, id, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_false(vm_run_left_nothing(&e));
}

/* With a role a VM may write a log; with a shell it is reached by two connectors, each once. */
static void run_sends_log_and_shell(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    char *http = lambda_text("arn:aws:lambda:us-east-1:aws:network-connector:"
                             "aws-network-connector:HTTP_INGRESS");
    struct config_class class = lambda_class(http_server_url(s->server));
    class.lambda.execution_role = lambda_text("arn:aws:iam::123456789012:role/vm");
    class.lambda.log_group = lambda_text("/mayfly/vms");
    class.lambda.shell = true;
    class.lambda.ingress_connectors = (struct config_list){&http, 1};
    vm_close(s->p);
    assert_int_equal(vm_open(&class, "t", &s->p, &e), 0);
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(run(s, id, &e), 0);
    json_t *body = body_of(s, 0);
    const json_t *log = json_object_get(json_object_get(body, "logging"), "cloudWatch");
    assert_string_equal(text(log, "logGroup"), "/mayfly/vms");
    assert_string_equal(text(log, "logStream"), "mf-t-arm-1");
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
    assert_int_equal(run(s, id, &e), 0);
    const char *signature = served_header(http_server_request(s->server, 0), "Authorization");
    assert_non_null(strstr(signature, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    assert_non_null(strstr(signature, "/us-east-1/lambda/aws4_request"));
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
    struct config_class class = lambda_class(http_server_url(s->server));
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
    assert_int_equal(run(s, id, &e), -1);
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

static void run_throttled_tells_how_long_to_wait(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    SCRIPT(s, {429, ERROR("ThrottlingException") "Retry-After: 7\r\n", "{}"},
           {429, ERROR("ThrottlingException"), "{\"retryAfterSeconds\":9}"},
           {429, ERROR("ThrottlingException"), "{}"});
    const int64_t told_ms[] = {7000, 9000, 1000};
    for (size_t i = 0; i < COUNT_OF(told_ms); i++) {
        assert_int_equal(run(s, id, &e), -1);
        assert_int_equal(e.retry_after_ms, told_ms[i]);
    }
}

static void run_lost_answer_is_asked_for_again_with_its_token(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    SCRIPT(s, {0, NULL, NULL}, {429, ERROR("ThrottlingException"), "{}"}, {200, NULL, MICROVM});
    assert_int_equal(run(s, id, &e), 0);
    assert_string_equal(id, "microvm-1");
    assert_int_equal(s->at, 3);
    const struct served_request *first = http_server_request(s->server, 0);
    const struct served_request *last = http_server_request(s->server, 2);
    assert_true(slice_eq(buf_slice(&first->body), buf_slice(&last->body)));
}

/* A refusal of the repetition says nothing of what the first call did. */
static void run_lost_answer_then_a_refusal_leaves_doubt(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    const struct step refusals[] = {{400, ERROR("ValidationException"), "{}"},
                                    {402, ERROR("ServiceQuotaExceededException"), "{}"},
                                    {429, ERROR("ThrottlingException"), "{}"}};
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        const struct step steps[] = {{0, NULL, NULL}, refusals[i]};
        script(s, steps, 2);
        assert_int_equal(run(s, id, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_false(vm_run_left_nothing(&e));
        assert_non_null(strstr(e.message, "unknown"));
    }
}

static void run_unreachable_leaves_nothing(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    struct config_class class = lambda_class("http://127.0.0.1:1");
    vm_close(s->p);
    assert_int_equal(vm_open(&class, "t", &s->p, &e), 0);
    assert_int_equal(run(s, id, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_true(vm_run_left_nothing(&e));
}

/* --- the others ---------------------------------------------------------------------------------
 */

static void terminate_gone_is_success_and_nonsense_is_not(void **state)
{
    struct scene *s = *state;
    struct err e;
    SCRIPT(s, {200, NULL, NULL}, {404, ERROR("ResourceNotFoundException"), "{\"message\":\"x\"}"},
           {404, NULL, "<html>not here</html>"}, {429, ERROR("ThrottlingException"), "{}"});
    assert_int_equal(vm_terminate(s->p, "microvm-1", 5000, &e), 0);
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(q->method, "DELETE");
    assert_string_equal(q->target, "/2025-09-09/microvms/microvm-1");
    assert_int_equal(vm_terminate(s->p, "a/b c", 0, &e), 0);
    assert_string_equal(http_server_request(s->server, 1)->target,
                        "/2025-09-09/microvms/a%2Fb%20c");
    assert_int_equal(vm_terminate(s->p, "microvm-1", 0, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(vm_terminate(s->p, "microvm-1", 0, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
}

static void describe_tells_state_times_and_reason(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *word;
        enum vm_run_state state;
    } words[] = {{"PENDING", VM_RUN_PENDING},
                 {"RUNNING", VM_RUN_RUNNING},
                 {"SUSPENDED", VM_RUN_RUNNING},
                 {"TERMINATING", VM_RUN_ENDING},
                 {"TERMINATED", VM_RUN_ENDED}};
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        struct vm_info info;
        struct err e;
        struct buf body;
        char reason[300];
        memset(reason, 'r', sizeof reason - 1);
        reason[sizeof reason - 1] = '\0';
        buf_init(&body, 4096);
        buf_printf(&body,
                   "{\"microvmId\":\"m\",\"state\":\"%s\",\"startedAt\":1790000000.5,"
                   "\"terminatedAt\":1790000001,\"stateReason\":\"%s\"}",
                   words[i].word, reason);
        SCRIPT(s, {200, NULL, body.data});
        assert_int_equal(vm_describe(s->p, "m", &info, &e), 0);
        assert_int_equal(info.state, words[i].state);
        assert_int_equal(info.started_ms, 1790000000500);
        assert_int_equal(info.ended_ms, 1790000001000);
        assert_int_equal(strlen(info.reason), sizeof info.reason - 1);
        assert_string_equal(info.name, "");
        buf_fini(&body);
    }
}

static void describe_unknown_or_senseless_is_told(void **state)
{
    struct scene *s = *state;
    struct vm_info info = {.id = "untouched"};
    struct err e;
    SCRIPT(s, {404, ERROR("ResourceNotFoundException"), "{\"message\":\"x\"}"},
           {200, NULL, "{\"microvmId\":\"m\",\"state\":\"DREAMING\"}"});
    assert_int_equal(vm_describe(s->p, "m", &info, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(vm_describe(s->p, "m", &info, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_string_equal(info.id, "untouched");
    assert_int_equal(vm_forget(s->p, "m", &e), 0);
    struct buf console;
    buf_init(&console, 64);
    assert_int_equal(vm_console(s->p, "m", 64, &console, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    buf_fini(&console);
}

#define ITEM(id, image)                                                                            \
    "{\"microvmId\":\"" id                                                                         \
    "\",\"state\":\"RUNNING\",\"startedAt\":1790000000,\"imageArn\":\"" image "\"}"

static void list_reads_every_page_and_only_its_image(void **state)
{
    struct scene *s = *state;
    struct vm_info *list = NULL;
    size_t n = 0;
    struct err e;
    SCRIPT(
        s, {200, NULL, "{\"items\":[" ITEM("m1", LAMBDA_IMAGE) "],\"nextToken\":\"a+/=&=\"}"},
        {200, NULL, "{\"items\":[],\"nextToken\":\"b\"}"},
        {200, NULL, "{\"items\":[" ITEM("m2", LAMBDA_IMAGE "2") "," ITEM("m3", LAMBDA_IMAGE) "]}"});
    assert_int_equal(vm_list(s->p, &list, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].id, "m1");
    assert_string_equal(list[1].id, "m3");
    free(list);
    assert_string_equal(http_server_request(s->server, 0)->target,
                        "/2025-09-09/microvms?imageIdentifier=arn%3Aaws%3Alambda%3Aus-east-1%3A"
                        "123456789012%3Amicrovm-image%3Amayfly");
    const char *second = http_server_request(s->server, 1)->target;
    assert_non_null(strstr(second, "&nextToken=a%2B%2F%3D%26%3D"));
    assert_int_equal(s->at, 3);
}

static void list_fails_whole_when_a_page_does(void **state)
{
    struct scene *s = *state;
    const struct step bad[] = {
        {200, NULL, "{\"items\":{}}"},
        {200, NULL, "{\"items\":[{\"microvmId\":\"m\"}]}"},
        {502, NULL, "<html>"},
        {0, NULL, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct vm_info *list = NULL;
        size_t n = 7;
        struct err e;
        const struct step steps[] = {
            {200, NULL, "{\"items\":[" ITEM("m1", LAMBDA_IMAGE) "],\"nextToken\":\"b\"}"}, bad[i]};
        script(s, steps, 2);
        assert_int_equal(vm_list(s->p, &list, &n, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_null(list);
        assert_int_equal(n, 7);
    }
}

static void open_refuses_what_cannot_work(void **state)
{
    (void)state;
    static const char *const images[] = {
        "", "mayfly", "arn:aws:lambda:us-east-1:123456789012:microvm-image/mayfly",
        "arn:aws:ec2:us-east-1:123456789012:microvm-image:mayfly",
        "arn:aws:lambda:us-east-1:123456789012:microvm-image:"};
    for (size_t i = 0; i < COUNT_OF(images); i++) {
        struct config_class class = lambda_class("http://127.0.0.1:1");
        struct vm_provider *p = NULL;
        struct err e;
        class.lambda.image = lambda_text(images[i]);
        assert_int_equal(vm_open(&class, "t", &p, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_non_null(strstr(e.message, "lambda.image"));
    }
}

static void open_without_endpoint_is_the_services_own_of_the_region(void **state)
{
    (void)state;
    struct config_class class = lambda_class("");
    struct vm_provider *p = NULL;
    struct aws_client *c = NULL;
    struct err e;
    class.lambda.region = lambda_text("eu-west-1");
    assert_int_equal(lambda_client_open(&class, &c, &e), 0);
    assert_string_equal(aws_client_endpoint(c), "https://lambda.eu-west-1.amazonaws.com");
    aws_client_close(c);
    assert_int_equal(vm_open(&class, "t", &p, &e), 0);
    assert_string_equal(vm_domain(p), "lambda/eu-west-1/123456789012");
    vm_close(p);
}

#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCENE(run_sends_what_the_service_wants_and_no_more),
        IN_SCENE(run_sends_what_the_class_sets),
        IN_SCENE(run_impossible_spec_asks_nobody),
        IN_SCENE(run_refusals_have_their_class_and_what_to_do),
        IN_SCENE(run_role_denied_is_asked_again_for_a_while),
        IN_SCENE(run_sends_log_and_shell),
        IN_SCENE(calls_are_signed_for_the_services_name),
        IN_SCENE(calls_keep_the_pace_and_tell_when_it_is_too_fast),
        IN_SCENE(run_throttled_tells_how_long_to_wait),
        IN_SCENE(run_lost_answer_is_asked_for_again_with_its_token),
        IN_SCENE(run_lost_answer_then_a_refusal_leaves_doubt),
        IN_SCENE(run_unreachable_leaves_nothing),
        IN_SCENE(terminate_gone_is_success_and_nonsense_is_not),
        IN_SCENE(describe_tells_state_times_and_reason),
        IN_SCENE(describe_unknown_or_senseless_is_told),
        IN_SCENE(list_reads_every_page_and_only_its_image),
        IN_SCENE(list_fails_whole_when_a_page_does),
        cmocka_unit_test(open_refuses_what_cannot_work),
        cmocka_unit_test(open_without_endpoint_is_the_services_own_of_the_region),
    };
    lambda_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
