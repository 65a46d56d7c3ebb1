/*
 * One look of a class's lane: what keeps a message from being taken, and for how long. Ledger,
 * queue and circuit are scripted here, and so is time: a wait writes how long it would have been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/lane.h"

#define LEASE_MS 30000

static struct script {
    struct buf calls;
    struct ledger_room room;
    bool room_fails;
    bool take_fails;
    bool none_waits; /* the queue has no message */
    bool watching;
    bool counter_fails;
    int64_t counter;
    int64_t freed_after; /* polls of the counter until it moves; 0 never */
    int64_t woken_after; /* waits until somebody wakes; 0 never */
    int64_t waits;
    uint64_t wakes;
    bool raised_in_wait;
    int64_t circuit_ms;
    int64_t now_ms;
    struct worker worker;
} script;

#define CALLED(...) buf_printf(&script.calls, __VA_ARGS__)

static int64_t mono_us(void)
{
    return script.now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + script.now_ms;
}

bool __wrap_stop_sleep(struct stop *s, int64_t timeout_ms);
bool __wrap_stop_wait(struct stop *s, uint64_t seen, int64_t timeout_ms);
uint64_t __wrap_stop_wakes(struct stop *s);

bool __wrap_stop_sleep(struct stop *s, int64_t timeout_ms)
{
    assert_ptr_equal(s, &script.worker.intake);
    CALLED("sleep %lld\n", (long long)timeout_ms);
    return false;
}

uint64_t __wrap_stop_wakes(struct stop *s)
{
    assert_ptr_equal(s, &script.worker.intake);
    return script.wakes;
}

bool __wrap_stop_wait(struct stop *s, uint64_t seen, int64_t timeout_ms)
{
    assert_ptr_equal(s, &script.worker.intake);
    assert_int_equal(seen, 7);
    CALLED("wait %lld\n", (long long)timeout_ms);
    script.now_ms += timeout_ms;
    script.wakes += ++script.waits == script.woken_after ? 1 : 0;
    return script.raised_in_wait;
}

int ledger_room(struct ledger *l, const char *class_name, const struct ledger_caps *caps,
                struct ledger_room *out, struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    CALLED("room of %s, at most %lld/%lld\n", class_name, (long long)caps->fleet,
           (long long)caps->class_max);
    *out = script.room;
    return script.room_fails ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

int ledger_freed(struct ledger *l, int64_t *out, struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    CALLED("freed?\n");
    script.counter += script.freed_after > 0 && script.waits == script.freed_after ? 1 : 0;
    *out = script.counter;
    return script.counter_fails ? err_set(e, ERR_RETRY, 0, "scripted") : 0;
}

bool ledger_watching(struct ledger *l)
{
    assert_ptr_equal(l, script.worker.ledger);
    return script.watching;
}

int64_t queue_patience_ms(const struct queue *q)
{
    assert_ptr_equal(q, script.worker.queue);
    return 1234;
}

int queue_take(struct queue *q, const char *lane, size_t max, int64_t lease_ms, int64_t wait_ms,
               struct queue_message *out, size_t *got, struct err *e)
{
    assert_ptr_equal(q, script.worker.queue);
    CALLED("take %zu of %s for %lld, wait %lld\n", max, lane, (long long)lease_ms,
           (long long)wait_ms);
    if (script.take_fails) {
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    *got = script.none_waits ? 0 : 1;
    (void)snprintf(out->id, sizeof out->id, "message-1");
    return 0;
}

struct class_circuit *class_circuit_new(struct ledger *ledger, const char *class_name)
{
    assert_ptr_equal(ledger, script.worker.ledger);
    assert_string_equal(class_name, "small");
    return (struct class_circuit *)&script.circuit_ms; /* never looked into */
}

void class_circuit_free(struct class_circuit *b)
{
    assert_ptr_equal(b, &script.circuit_ms);
}

int64_t class_circuit_wait_ms(struct class_circuit *b, const struct config *c)
{
    assert_ptr_equal(b, &script.circuit_ms);
    assert_int_equal(c->worker.visibility_timeout_ms, LEASE_MS);
    return script.circuit_ms;
}

void class_circuit_taken(struct class_circuit *b, const struct config *c, const char *message_id)
{
    assert_ptr_equal(b, &script.circuit_ms);
    assert_int_equal(c->worker.visibility_timeout_ms, LEASE_MS);
    CALLED("circuit: %s taken\n", message_id);
}

void class_circuit_no_verdict(struct class_circuit *b, const char *message_id)
{
    assert_ptr_equal(b, &script.circuit_ms);
    CALLED("circuit: %s without a verdict\n", message_id);
}

static char text_small[] = "small";
static char text_large[] = "large";
static struct lane *lane;

static const char *calls_of_a_poll(bool expect_message)
{
    struct config_class classes[] = {{.name = text_large, .max_vms = 50},
                                     {.name = text_small, .max_vms = 3}};
    struct config c = {.classes = classes, .class_count = COUNT_OF(classes)};
    struct queue_message m = {0};
    c.limits.max_vms = 9;
    c.worker.visibility_timeout_ms = LEASE_MS;
    c.worker.capacity_poll_ms = 250;
    buf_reset(&script.calls);
    script.wakes = 7;
    script.waits = 0;
    assert_int_equal(lane_poll(lane, &c, &m), expect_message);
    return script.calls.data;
}

static int set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    script = (struct script){.now_ms = 5000};
    buf_init(&script.calls, 65536);
    script.worker.queue = (struct queue *)&script.counter; /* never looked into, as this: */
    script.worker.ledger = (struct ledger *)&script.room;
    lane = lane_new(&script.worker, "small");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lane_free(lane);
    buf_fini(&script.calls);
    return 0;
}

#define ROOM "room of small, at most 9/3\n"
#define TAKE "take 1 of launch.small for 30000, wait 1234\n"
#define TAKEN ROOM TAKE "circuit: message-1 taken\n"

static void lane_with_room_takes_one_message(void **state)
{
    (void)state;
    script.room = (struct ledger_room){.class_used = 2, .fleet_used = 8};
    assert_string_equal(calls_of_a_poll(true), TAKEN);
    struct queue_message m = {.id = "message-2"};
    buf_reset(&script.calls);
    lane_launch_ended(lane, &m);
    assert_string_equal(script.calls.data, "circuit: message-2 without a verdict\n");
}

static void lane_without_a_message_counts_none(void **state)
{
    (void)state;
    script.none_waits = true;
    for (int i = 0; i < 5; i++) {
        assert_string_equal(calls_of_a_poll(false), ROOM TAKE);
    }
}

/* What was taken and has not reserved yet is not in the ledger's counts. */
static void message_taken_and_not_reserved_holds_a_slot(void **state)
{
    (void)state;
    script.watching = true;
    script.room = (struct ledger_room){.class_used = 1, .fleet_used = 1};
    assert_string_equal(calls_of_a_poll(true), TAKEN);
    assert_string_equal(calls_of_a_poll(true), TAKEN);
    assert_non_null(strstr(calls_of_a_poll(false), "wait"));
    lane_reserved(lane);
    assert_string_equal(calls_of_a_poll(true), TAKEN);
}

static void full_fleet_or_class_is_left_alone_until_a_slot_is_freed(void **state)
{
    (void)state;
    const struct ledger_room full[] = {{.class_used = 3}, {.fleet_used = 9}};
    for (size_t i = 0; i < COUNT_OF(full); i++) {
        script.room = full[i];
        script.freed_after = 2;
        assert_string_equal(calls_of_a_poll(false),
                            ROOM "freed?\nwait 250\nfreed?\nwait 250\nfreed?\n");
        script.freed_after = 0; /* never: caps may have been raised, so it looks again */
        assert_string_equal(calls_of_a_poll(false),
                            ROOM "freed?\nwait 250\nfreed?\nwait 250\nfreed?\nwait 250\nfreed?\n"
                                 "wait 250\nfreed?\n");
    }
}

static void full_lane_is_woken_by_a_slot_of_its_own_worker_or_the_stop(void **state)
{
    (void)state;
    script.room.class_used = 3;
    script.woken_after = 2;
    assert_string_equal(calls_of_a_poll(false), ROOM "freed?\nwait 250\nfreed?\nwait 250\n");
    script.woken_after = 0;
    script.raised_in_wait = true;
    assert_string_equal(calls_of_a_poll(false), ROOM "freed?\nwait 250\n");
}

static void full_lane_that_is_told_of_slots_does_not_poll(void **state)
{
    (void)state;
    script.room.class_used = 3;
    script.watching = true;
    assert_string_equal(calls_of_a_poll(false), ROOM "freed?\nwait 1000\nfreed?\n");
}

static void full_lane_without_the_counter_looks_for_room_again_soon(void **state)
{
    (void)state;
    script.room.class_used = 3;
    script.counter_fails = true;
    assert_string_equal(calls_of_a_poll(false), ROOM "freed?\nwait 250\n");
}

static void pause_circuit_and_rate_keep_the_lane_from_being_taken(void **state)
{
    (void)state;
    lane_pause_until(lane, script.now_ms + 300);
    assert_string_equal(calls_of_a_poll(false), "sleep 300\n");
    lane_pause_until(lane, script.now_ms + 90000);
    assert_string_equal(calls_of_a_poll(false), "sleep 1000\n");
    script.now_ms += 90000;
    script.circuit_ms = 400;
    assert_string_equal(calls_of_a_poll(false), "sleep 400\n");
    script.circuit_ms = 0;
    script.room.rate_wait_ms = 200;
    assert_string_equal(calls_of_a_poll(false), ROOM "sleep 200\n");
    script.room.rate_wait_ms = 0;
    assert_string_equal(calls_of_a_poll(true), TAKEN);
}

static void store_in_trouble_is_asked_again_in_half_a_second(void **state)
{
    (void)state;
    script.room_fails = true;
    assert_string_equal(calls_of_a_poll(false), ROOM "sleep 500\n");
    script.room_fails = false;
    script.take_fails = true;
    assert_string_equal(calls_of_a_poll(false), ROOM TAKE "sleep 500\n");
}

static void class_that_left_the_configuration_is_not_taken(void **state)
{
    (void)state;
    text_small[0] = 'x';
    assert_string_equal(calls_of_a_poll(false), "sleep 1000\n");
    text_small[0] = 's';
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lane_with_room_takes_one_message),
        CASE(lane_without_a_message_counts_none),
        CASE(message_taken_and_not_reserved_holds_a_slot),
        CASE(full_fleet_or_class_is_left_alone_until_a_slot_is_freed),
        CASE(full_lane_is_woken_by_a_slot_of_its_own_worker_or_the_stop),
        CASE(full_lane_that_is_told_of_slots_does_not_poll),
        CASE(full_lane_without_the_counter_looks_for_room_again_soon),
        CASE(pause_circuit_and_rate_keep_the_lane_from_being_taken),
        CASE(store_in_trouble_is_asked_again_in_half_a_second),
        CASE(class_that_left_the_configuration_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
