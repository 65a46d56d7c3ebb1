/*
 * Puts of many messages on SQLite: their order, what is counted of them, and how old a lane is.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/queue/queue.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define HOUR_MS (3600LL * 1000)

static int64_t wall = 1700000000000;

static int64_t wall_ms(void)
{
    return wall;
}

static int64_t mono_us(void)
{
    return wall * 1000;
}

static struct queue *must_open(void)
{
    struct queue *q = NULL;
    struct err e;
    MUST(queue_open("memory://put", &q, &e));
    return q;
}

static struct queue_depth must_depth(struct queue *q, const char *lane)
{
    struct queue_depth *found = NULL;
    size_t n = 0;
    struct err e;
    MUST(queue_depths(q, lane, &found, &n, &e));
    assert_int_equal(n, 1);
    struct queue_depth d = *found;
    free(found);
    return d;
}

/* Rows are written many at once, and the rest singly. */
static void put_of_many_is_in_order_and_counted_by_lane(void **state)
{
    enum { COUNT = 101 };
    struct queue *q = must_open();
    struct queue_item items[COUNT];
    char bodies[COUNT][8];
    struct err e;
    int64_t counts[3] = {0};
    for (int i = 0; i < COUNT; i++) {
        int kind = i % 7 == 3 ? 2 : i % 2;
        counts[kind]++;
        (void)snprintf(bodies[i], sizeof bodies[i], "%d", i);
        items[i] = (struct queue_item){.lane = kind == 1 ? "launch.a" : "events",
                                       .body = slice_of(bodies[i]),
                                       .key = bodies[i],
                                       .group = "acme/app",
                                       .delay_ms = kind == 2 ? HOUR_MS : 0};
    }
    MUST(queue_put(q, items, COUNT, &e));
    MUST(queue_put(q, items, 1, &e));
    struct queue_depth d = must_depth(q, "events");
    assert_int_equal(d.ready, counts[0] + 1);
    assert_int_equal(d.delayed, counts[2]);
    assert_int_equal(must_depth(q, "launch.a").ready, counts[1]);
    for (int i = 1; i < COUNT; i += 2) {
        if (i % 7 != 3) {
            struct queue_message m;
            size_t got = 0;
            MUST(queue_receive(q, "launch.a", 1, HOUR_MS, 0, &m, &got, &e));
            assert_int_equal(got, 1);
            assert_string_equal(m.body, bodies[i]);
            assert_string_equal(m.key, bodies[i]);
            queue_message_fini(&m);
        }
    }
    d = must_depth(q, "launch.a");
    assert_int_equal(d.ready, 0);
    assert_int_equal(d.leased, counts[1]);
    queue_close(q);
}

/* The oldest of those whose turn is next, whatever its group. */
static void age_of_a_lane_is_that_of_its_oldest_group(void **state)
{
    struct queue *q = must_open();
    const char *const groups[] = {"acme/a", "acme/b", "acme/c"};
    struct err e;
    for (size_t i = 0; i < 2 * COUNT_OF(groups); i++) {
        wall += 1000;
        struct queue_item item = {
            .lane = "events", .body = SLICE("x"), .key = "", .group = groups[i % COUNT_OF(groups)]};
        MUST(queue_put(q, &item, 1, &e));
    }
    assert_int_equal(must_depth(q, "events").oldest_ready_ms, 5000);
    struct queue_message m;
    size_t got = 0;
    MUST(queue_receive(q, "events", 1, HOUR_MS, 0, &m, &got, &e));
    queue_message_fini(&m);
    assert_int_equal(must_depth(q, "events").oldest_ready_ms, 4000);
    assert_int_equal(must_depth(q, "launch.none").oldest_ready_ms, 0);
    queue_close(q);
}

int main(void)
{
    const struct clock_source clocks = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&clocks);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_of_many_is_in_order_and_counted_by_lane),
        cmocka_unit_test(age_of_a_lane_is_that_of_its_oldest_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
