/*
 * The provider `lambda` against a scripted server: what it sends, and what it makes of answers.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cmocka.h"
#include "tests/unit/vm/lambda_scene.h"

/* --- run ---------------------------------------------------------------------------------------
 */

static void run_sends_what_the_service_wants_and_no_more(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    SCRIPT(s, {200, NULL, MICROVM});
    assert_int_equal(scene_run(s, id, &e), 0);
    assert_string_equal(id, "microvm-1");
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(q->method, "POST");
    assert_string_equal(q->target, "/2025-09-09/microvms");
    assert_string_equal(served_header(q, "Content-Type"), "application/json");
    json_t *body = scene_body(s, 0);
    assert_int_equal(json_object_size(body), 7);
    assert_string_equal(scene_text(body, "imageIdentifier"), LAMBDA_IMAGE);
    assert_string_equal(scene_text(body, "clientToken"), "mf-t-arm-1");
    assert_string_equal(scene_text(body, "runHookPayload"), "cGF5bG9hZA==");
    assert_int_equal(json_integer_value(json_object_get(body, "maximumDurationInSeconds")), 600);
    assert_non_null(json_object_get(json_object_get(body, "logging"), "disabled"));
    const json_t *egress = json_object_get(body, "egressNetworkConnectors");
    assert_int_equal(json_array_size(egress), 1);
    assert_string_equal(json_string_value(json_array_get(egress, 0)),
                        "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:"
                        "INTERNET_EGRESS");
    const json_t *ingress = json_object_get(body, "ingressNetworkConnectors");
    assert_int_equal(json_array_size(ingress), 1);
    assert_string_equal(json_string_value(json_array_get(ingress, 0)),
                        "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:"
                        "NO_INGRESS");
    json_decref(body);
    assert_false(vm_host_bound(s->p));
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
         "retries",
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
        {{403, NULL, "no"}, ERR_AUTH, "proxy", true},
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
        scene_script(s, &cases[i].step, 1);
        assert_int_equal(scene_run(s, id, &e), -1);
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
        assert_int_equal(scene_run(s, id, &e), -1);
        assert_int_equal(e.retry_after_ms, told_ms[i]);
    }
}

static void run_lost_answer_is_asked_for_again_with_its_token(void **state)
{
    struct scene *s = *state;
    char id[VM_ID_MAX + 1];
    struct err e;
    SCRIPT(s, {0, NULL, NULL}, {429, ERROR("ThrottlingException"), "{}"}, {200, NULL, MICROVM});
    assert_int_equal(scene_run(s, id, &e), 0);
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
        scene_script(s, steps, 2);
        assert_int_equal(scene_run(s, id, &e), -1);
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
    struct lambda_settings settings;
    struct config_class class = lambda_class("http://127.0.0.1:1", &settings);
    vm_close(s->p);
    assert_int_equal(vm_open(&class, "t", &s->p, &e), 0);
    assert_int_equal(scene_run(s, id, &e), -1);
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
    assert_int_equal(vm_console(s->p, "m", "mf-1", 64, &console, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    buf_fini(&console);
}

/* The service may answer GET /microvms/ with "not found", which would be the VM's end. */
static void vm_without_an_id_is_asked_about_nowhere(void **state)
{
    struct scene *s = *state;
    struct vm_info info;
    struct err e;
    SCRIPT(s, {404, ERROR("ResourceNotFoundException"), "{\"message\":\"x\"}"});
    assert_int_equal(vm_describe(s->p, "", &info, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(vm_terminate(s->p, "", 0, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(vm_forget(s->p, "", &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(s->at, 0);
}

#define ENDED(id)                                                                                  \
    "{\"microvmId\":\"" id "\",\"state\":\"TERMINATED\",\"imageArn\":\"" LAMBDA_IMAGE "\"}"
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
        {200, NULL, "{\"items\":[" ENDED("old") "],\"nextToken\":\"b\"}"},
        {200, NULL, "{\"items\":[" ITEM("m2", LAMBDA_IMAGE "2") "," ITEM("m3", LAMBDA_IMAGE) "]}"});
    assert_int_equal(vm_list(s->p, &list, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].id, "m1");
    assert_string_equal(list[1].id, "m3");
    free(list);
    assert_string_equal(http_server_request(s->server, 0)->target,
                        "/2025-09-09/microvms?maxResults=50");
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
        scene_script(s, steps, 2);
        assert_int_equal(vm_list(s->p, &list, &n, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_null(list);
        assert_int_equal(n, 7);
    }
}

static void list_whose_page_names_itself_ends_with_an_error(void **state)
{
    struct scene *s = *state;
    struct vm_info *list = NULL;
    size_t n = 7;
    struct err e;
    SCRIPT(s, {200, NULL, "{\"items\":[],\"nextToken\":\"b\"}"});
    assert_int_equal(vm_list(s->p, &list, &n, &e), -1);
    assert_non_null(strstr(e.message, "does not advance"));
    assert_in_range(s->at, 100, 103);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCENE(run_sends_what_the_service_wants_and_no_more),
        IN_SCENE(run_impossible_spec_asks_nobody),
        IN_SCENE(run_refusals_have_their_class_and_what_to_do),
        IN_SCENE(run_throttled_tells_how_long_to_wait),
        IN_SCENE(run_lost_answer_is_asked_for_again_with_its_token),
        IN_SCENE(run_lost_answer_then_a_refusal_leaves_doubt),
        IN_SCENE(run_unreachable_leaves_nothing),
        IN_SCENE(terminate_gone_is_success_and_nonsense_is_not),
        IN_SCENE(describe_tells_state_times_and_reason),
        IN_SCENE(describe_unknown_or_senseless_is_told),
        IN_SCENE(vm_without_an_id_is_asked_about_nowhere),
        IN_SCENE(list_reads_every_page_and_only_its_image),
        IN_SCENE(list_fails_whole_when_a_page_does),
        IN_SCENE(list_whose_page_names_itself_ends_with_an_error),
    };
    lambda_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
