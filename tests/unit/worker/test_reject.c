/* A message that a worker cannot decode, on a real queue. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/launch_request.h"
#include "tests/lib/cmocka.h"
#include "worker/worker.h"

static int64_t now_ms = 1800000000000;

static int64_t fixed_wall_ms(void)
{
    return now_ms;
}

static int64_t fixed_mono_us(void)
{
    return now_ms * 1000;
}

static size_t take(struct queue *q, struct queue_message *m)
{
    struct err e = {0};
    size_t got = 0;
    assert_int_equal(queue_receive(q, "launch.small", 1, 1000, 0, m, &got, &e), 0);
    return got;
}

static void put(struct queue *q, const char *body)
{
    struct err e = {0};
    struct queue_item item = {
        .lane = "launch.small", .body = slice_of(body), .key = "42", .group = ""};
    assert_int_equal(queue_put(q, &item, 1, &e), 0);
}

/* Takes the message, fails to decode it, and rejects it. */
static void reject_next(struct worker *w)
{
    struct queue_message m = {0};
    struct launch_request r;
    struct err e = {0};
    assert_int_equal(take(w->queue, &m), 1);
    assert_int_equal(launch_request_decode((struct slice){m.body, m.body_len}, &r, &e), -1);
    worker_reject(w, &m, &e);
    queue_message_fini(&m);
}

static int64_t dead(struct queue *q)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    assert_int_equal(queue_depths(q, "launch.small", &depths, &n, &e), 0);
    int64_t count = n > 0 ? depths[0].dead : 0;
    free(depths);
    return count;
}

static void newer_version_is_returned_unspent_and_lets_others_pass(void **state)
{
    struct worker w = {0};
    struct err e = {0};
    struct queue_message m = {0};
    assert_int_equal(queue_open("memory://reject-newer", &w.queue, &e), 0);
    put(w.queue, "{\"v\":9,\"class\":\"small\"}");
    put(w.queue, "the one behind it");
    for (int i = 0; i < 100; i++) { /* far more often than a message has attempts */
        if (i > 0) {
            assert_int_equal(take(w.queue, &m), 0); /* it does not spin */
            now_ms += i == 1 ? 5000 : 300000;
        }
        reject_next(&w);
        if (i == 0) {
            assert_int_equal(take(w.queue, &m), 1);
            assert_memory_equal(m.body, "the one behind it", m.body_len);
            assert_int_equal(queue_ack(w.queue, &m, 1, &e), 0);
            queue_message_fini(&m);
        }
    }
    now_ms += 299999; /* the older it is, the longer it waits: a backlog does not fill the lane */
    assert_int_equal(take(w.queue, &m), 0);
    now_ms++;
    assert_int_equal(take(w.queue, &m), 1);
    assert_int_equal(m.attempts, 0);
    assert_int_equal(dead(w.queue), 0);
    queue_message_fini(&m);
    queue_close(w.queue);
}

static void what_nobody_can_read_is_dead_lettered(void **state)
{
    struct worker w = {0};
    struct err e = {0};
    assert_int_equal(queue_open("memory://reject-bad", &w.queue, &e), 0);
    put(w.queue, "{\"v\":1,\"class\":7}");
    reject_next(&w);
    assert_int_equal(dead(w.queue), 1);
    queue_close(w.queue);
}

/* The line can be acted upon as it stands. */
static void dead_letter_is_logged_with_the_command_that_brings_it_back(void **state)
{
    char with_file[CONFIG_CTL_SIZE];
    const struct config of_file = {.path = (char[]){"/srv/m.yaml"}};
    const struct config of_default = {.path = (char[]){CONFIG_DEFAULT_PATH}};
    assert_string_equal(config_ctl(&of_file, with_file), "mayflyctl --config /srv/m.yaml");
    assert_string_equal(config_ctl(&of_default, with_file), "mayflyctl");
    struct worker w = {0};
    struct err e = {0};
    struct queue_message m = {0};
    int log[2];
    char line[2048] = "";
    char command[128];
    assert_int_equal(queue_open("memory://reject-log", &w.queue, &e), 0);
    assert_int_equal(pipe(log), 0);
    put(w.queue, "bad");
    assert_int_equal(take(w.queue, &m), 1);
    log_open("test", log[1]);
    worker_dead_letter(&w, &m, "scripted");
    log_open("test", STDERR_FILENO);
    assert_true(read(log[0], line, sizeof line - 1) > 0);
    (void)snprintf(command, sizeof command, "mayflyctl dlq redrive %s\"", m.id);
    assert_non_null(strstr(line, command));
    close(log[0]);
    close(log[1]);
    queue_message_fini(&m);
    queue_close(w.queue);
}

static int set_up(void **state)
{
    static const struct clock_source source = {.mono_us = fixed_mono_us, .wall_ms = fixed_wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_version_is_returned_unspent_and_lets_others_pass),
        cmocka_unit_test(what_nobody_can_read_is_dead_lettered),
        cmocka_unit_test(dead_letter_is_logged_with_the_command_that_brings_it_back),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
