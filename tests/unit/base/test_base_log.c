/* Logs: every line whole, valid JSON, bounded, and not repeated without end. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/lib/cmocka.h"

#define LINES_LIMIT_BYTES ((size_t)4 << 20)

static int pipe_fds[2];
static int64_t now_us;

static int64_t fake_mono_us(void)
{
    return now_us;
}

static int64_t fake_wall_ms(void)
{
    return 1794939123456;
}

static const struct clock_source fake_clock = {fake_mono_us, fake_wall_ms};

static int open_log(void **state)
{
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20) > 0);
    now_us += 3600000000; /* nothing of the test before is a repeat */
    clock_set_source(&fake_clock);
    log_open("mayfly-test", pipe_fds[1]);
    log_set_level(LOG_INFO);
    return 0;
}

static int close_log(void **state)
{
    log_open("mayfly-test", 2);
    clock_set_source(NULL);
    close(pipe_fds[0]);
    return 0;
}

/* All that was written, as an array of what each line holds. Closes the pipe's writing end. */
static json_t *written(void)
{
    struct buf all;
    char chunk[4096];
    ssize_t n;
    struct slice line;
    json_t *lines = json_array();
    close(pipe_fds[1]);
    buf_init(&all, LINES_LIMIT_BYTES);
    while ((n = read(pipe_fds[0], chunk, sizeof chunk)) > 0) {
        buf_append(&all, (struct slice){chunk, (size_t)n});
    }
    struct slice rest = buf_slice(&all);
    while (slice_cut(rest, '\n', &line, &rest)) {
        static const char *const hidden[] = {"\x1b", "\x7f", "\xc2\x9b", "\xe2\x80\xae"};
        for (size_t i = 0; i < COUNT_OF(hidden); i++) {
            assert_null(memmem(line.ptr, line.len, hidden[i], strlen(hidden[i])));
        }
        json_error_t error;
        json_t *object =
            json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (!json_is_object(object)) {
            fail_msg("no JSON object: %.*s", SLICE_ARG(line));
        }
        assert_true(line.len < 8192);
        json_array_append_new(lines, object);
    }
    assert_int_equal(rest.len, 0);
    buf_fini(&all);
    return lines;
}

static const char *text_of(const json_t *lines, size_t i, const char *key)
{
    const char *text = json_string_value(json_object_get(json_array_get(lines, i), key));
    return text != NULL ? text : "(none)";
}

static int64_t number_of(const json_t *lines, size_t i, const char *key)
{
    const json_t *number = json_object_get(json_array_get(lines, i), key);
    return json_is_integer(number) ? json_integer_value(number) : -1;
}

static void line_has_head_and_fields(void **state)
{
    struct err e;
    err_set(&e, ERR_THROTTLED, 429, "slow \"down\"");
    log_info("vm_launched", LOG_INT("job", 100520616165), LOG_STR("class", "small"),
             LOG_BOOL("warm", true), LOG_SLICE("cut", ((struct slice){"abcdef", 3})), LOG_ERR(&e));
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 1);
    assert_string_equal(text_of(lines, 0, "ts"), "2026-11-17T18:12:03.456Z");
    assert_string_equal(text_of(lines, 0, "level"), "info");
    assert_string_equal(text_of(lines, 0, "program"), "mayfly-test");
    assert_string_equal(text_of(lines, 0, "msg"), "vm_launched");
    assert_true(number_of(lines, 0, "job") == 100520616165);
    assert_string_equal(text_of(lines, 0, "class"), "small");
    assert_true(json_is_true(json_object_get(json_array_get(lines, 0), "warm")));
    assert_string_equal(text_of(lines, 0, "cut"), "abc");
    assert_string_equal(text_of(lines, 0, "error"), "slow \"down\"");
    assert_string_equal(text_of(lines, 0, "error_class"), "throttled");
    assert_int_equal(number_of(lines, 0, "error_code"), 429);
    json_decref(lines);
}

static void hostile_values_stay_inside_their_line(void **state)
{
    log_info("e",
             LOG_SLICE("a", SLICE("x\n{\"level\":\"error\"}\0\x1b[31m\xff\xe2\x82"
                                  "\x7f\xc2\x9b\xe2\x80\xae")),
             LOG_STR("b", NULL));
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 1);
    assert_string_equal(text_of(lines, 0, "b"), "");
    assert_non_null(strstr(text_of(lines, 0, "a"), "x\n{"));
    json_decref(lines);
}

static void levels_below_the_threshold_are_left_out(void **state)
{
    enum log_level level = LOG_INFO;
    log_debug("no");
    log_set_level(LOG_WARN);
    log_info("no");
    log_warn("yes");
    log_set_level(LOG_DEBUG);
    log_debug("also");
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 2);
    assert_string_equal(text_of(lines, 0, "msg"), "yes");
    assert_string_equal(text_of(lines, 1, "msg"), "also");
    json_decref(lines);
    assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
    assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse("", &level));
}

static void field_that_does_not_fit_is_dropped_and_said(void **state)
{
    char large[10000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    log_info("e", LOG_INT("before", 1), LOG_STR("large", large), LOG_INT("after", 2));
    log_info("fits", LOG_STR("small", "y"));
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 2);
    assert_int_equal(number_of(lines, 0, "before"), 1);
    assert_int_equal(number_of(lines, 0, "after"), 2);
    assert_string_equal(text_of(lines, 0, "large"), "(none)");
    assert_true(json_is_true(json_object_get(json_array_get(lines, 0), "truncated")));
    assert_null(json_object_get(json_array_get(lines, 1), "truncated"));
    json_decref(lines);
}

static void many_fields_near_the_limit_leave_a_valid_line(void **state)
{
    char part[512];
    memset(part, '"', sizeof part - 1); /* each takes two bytes */
    part[sizeof part - 1] = '\0';
    log_error("e", LOG_STR("a", part), LOG_STR("b", part), LOG_STR("c", part), LOG_STR("d", part),
              LOG_STR("f", part), LOG_STR("g", part), LOG_STR("h", part), LOG_STR("i", part),
              LOG_STR("j", part));
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 1);
    assert_string_equal(text_of(lines, 0, "g"), part);
    assert_string_equal(text_of(lines, 0, "j"), "(none)");
    json_decref(lines);
}

static void repeats_of_trouble_are_suppressed_and_counted(void **state)
{
    for (int i = 0; i < 25; i++) {
        log_warn("again", LOG_INT("i", i));
    }
    now_us += 1000000;
    log_warn("again", LOG_INT("i", 25));
    log_warn("again", LOG_INT("i", 26));
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 12);
    assert_int_equal(number_of(lines, 9, "i"), 9);
    assert_int_equal(number_of(lines, 9, "suppressed"), -1);
    assert_int_equal(number_of(lines, 10, "i"), 25);
    assert_int_equal(number_of(lines, 10, "suppressed"), 15);
    assert_int_equal(number_of(lines, 11, "suppressed"), -1);
    json_decref(lines);
}

static void another_class_of_trouble_is_no_repeat(void **state)
{
    struct err retry;
    struct err auth;
    err_set(&retry, ERR_RETRY, 0, "later");
    err_set(&auth, ERR_AUTH, 0, "never");
    for (int i = 0; i < 20; i++) {
        log_error("call_failed", LOG_INT("i", i), LOG_ERR(&retry));
    }
    log_error("call_failed", LOG_ERR(&auth));
    log_error("other_event", LOG_ERR(&retry));
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 12);
    assert_string_equal(text_of(lines, 10, "error_class"), "auth");
    assert_string_equal(text_of(lines, 11, "msg"), "other_event");
    json_decref(lines);
}

static void repeats_of_information_are_all_written(void **state)
{
    for (int i = 0; i < 25; i++) {
        log_info("often");
    }
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), 25);
    json_decref(lines);
}

#define THREADS 4
#define ROUNDS 200

static void *write_often(void *arg)
{
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < ROUNDS; i++) {
        log_info("threaded", LOG_STR("text", text), LOG_INT("thread", (int64_t)(intptr_t)arg));
    }
    return NULL;
}

static void lines_of_threads_are_whole(void **state)
{
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_often, (void *)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    json_t *lines = written();
    assert_int_equal(json_array_size(lines), THREADS * ROUNDS);
    json_decref(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(line_has_head_and_fields, open_log, close_log),
        cmocka_unit_test_setup_teardown(hostile_values_stay_inside_their_line, open_log, close_log),
        cmocka_unit_test_setup_teardown(levels_below_the_threshold_are_left_out, open_log,
                                        close_log),
        cmocka_unit_test_setup_teardown(field_that_does_not_fit_is_dropped_and_said, open_log,
                                        close_log),
        cmocka_unit_test_setup_teardown(many_fields_near_the_limit_leave_a_valid_line, open_log,
                                        close_log),
        cmocka_unit_test_setup_teardown(repeats_of_trouble_are_suppressed_and_counted, open_log,
                                        close_log),
        cmocka_unit_test_setup_teardown(another_class_of_trouble_is_no_repeat, open_log, close_log),
        cmocka_unit_test_setup_teardown(repeats_of_information_are_all_written, open_log,
                                        close_log),
        cmocka_unit_test_setup_teardown(lines_of_threads_are_whole, open_log, close_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
