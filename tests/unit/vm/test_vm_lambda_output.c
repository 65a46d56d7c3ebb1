/* What a MicroVM wrote, read from a scripted CloudWatch Logs. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/vm/lambda/output.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/vm/lambda_scene.h"

static int64_t now_us = 1000000;

static int64_t mono(void)
{
    return now_us;
}

static int64_t wall(void)
{
    return 1790000000000;
}

static int read_output(struct lambda_output *o, size_t limit, struct buf *out, struct err *e)
{
    *e = (struct err){0};
    buf_init(out, 4096);
    return lambda_output_read(o, "mf-t-arm-1", limit, out, e);
}

static struct lambda_output *open_output(struct scene *s)
{
    struct lambda_output *o = NULL;
    struct err e;
    (void)setenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", http_server_url(s->server), 1);
    assert_int_equal(lambda_output_open("/mayfly/vms", "us-east-1", NULL, &o, &e), 0);
    (void)unsetenv("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS");
    return o;
}

static void reads_the_newest_lines_of_the_vms_stream(void **state)
{
    struct scene *s = *state;
    struct buf out;
    struct err e;
    struct lambda_output *o = open_output(s);
    SCRIPT(s, {200, NULL,
               "{\"events\":[{\"timestamp\":1,\"message\":\"one\\n\"},{\"message\":\"two\"}],"
               "\"nextForwardToken\":\"f/1\"}"});
    assert_int_equal(read_output(o, 100, &out, &e), 0);
    assert_string_equal(out.data, "one\ntwo\n");
    buf_fini(&out);
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(served_header(q, "X-Amz-Target"), "Logs_20140328.GetLogEvents");
    json_t *body = scene_body(s, 0);
    assert_string_equal(scene_text(body, "logGroupName"), "/mayfly/vms");
    assert_string_equal(scene_text(body, "logStreamName"), "mf-t-arm-1");
    assert_true(json_is_false(json_object_get(body, "startFromHead")));
    json_decref(body);
    assert_int_equal(read_output(o, 4, &out, &e), 0);
    assert_string_equal(out.data, "two\n");
    buf_fini(&out);
    lambda_output_close(o);
}

static void says_where_it_would_be(void **state)
{
    struct scene *s = *state;
    struct buf out;
    struct err e;
    struct lambda_output *o = open_output(s);
    SCRIPT(s, {400, ERROR("ResourceNotFoundException"), "{\"message\":\"no stream\"}"},
           {200, NULL, "{\"events\":[]}"});
    assert_int_equal(read_output(o, 100, &out, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "log group /mayfly/vms, stream mf-t-arm-1"));
    buf_fini(&out);
    assert_int_equal(read_output(o, 100, &out, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    buf_fini(&out);
    lambda_output_close(o);
    assert_int_equal(read_output(NULL, 100, &out, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "lambda.log_group"));
    buf_fini(&out);
}

/* Where it may not be read, or nothing responds, many VMs that fail wait for one call a minute. */
static void failure_is_not_repeated_for_a_minute(void **state)
{
    static const struct clock_source source = {mono, wall};
    struct scene *s = *state;
    struct buf out;
    struct err e;
    struct lambda_output *o = open_output(s);
    SCRIPT(s, {400, ERROR("AccessDeniedException"), "{\"message\":\"no\"}"});
    clock_set_source(&source);
    assert_int_equal(read_output(o, 100, &out, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "logs:GetLogEvents"));
    buf_fini(&out);
    assert_int_equal(read_output(o, 100, &out, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    buf_fini(&out);
    assert_int_equal(http_server_count(s->server, ""), 1);
    now_us += (int64_t)LAMBDA_OUTPUT_PAUSE_MS * 1000;
    assert_int_equal(read_output(o, 100, &out, &e), -1);
    buf_fini(&out);
    clock_set_source(NULL);
    assert_int_equal(http_server_count(s->server, ""), 2);
    lambda_output_close(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCENE(reads_the_newest_lines_of_the_vms_stream),
        IN_SCENE(says_where_it_would_be),
        IN_SCENE(failure_is_not_repeated_for_a_minute),
    };
    lambda_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
