/*
 * What a dead worker left: which rows are ended, and when a message is kept. The ledger's rows and
 * the fleet are scripted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/takeover.h"

#define LEASE_MS 30000
#define LIMIT_MS 35000 /* a lease and a sixth */
#define NOW 1800000000000
#define ROWS 600 /* more than two pages */

static struct {
    struct ledger_vm rows[ROWS];
    size_t count;
    bool list_fails;
    enum err_class end_fails;
    char ended[80];
    struct worker worker;
} script;

static int64_t mono_us(void)
{
    return 5000000;
}

static int64_t wall_ms(void)
{
    return NOW;
}

int ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                   struct ledger_vm **out, size_t *n, struct err *e)
{
    assert_ptr_equal(l, script.worker.ledger);
    assert_int_equal(state_mask, 1u << VM_RESERVED | 1u << VM_REGISTERED);
    *n = 0;
    *out = calloc(max, sizeof **out);
    assert_non_null(*out);
    if (script.list_fails) {
        free(*out);
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    for (size_t i = 0; i < script.count && *n < max; i++) {
        if (strcmp(script.rows[i].name, after) > 0) {
            (*out)[(*n)++] = script.rows[i];
        }
    }
    return 0;
}

int fleet_end_vm(struct fleet *f, const struct ledger_vm *vm, const struct fleet_end *how,
                 struct err *e)
{
    assert_ptr_equal(f, script.worker.fleet);
    assert_true(how->spare_if_busy);
    assert_false(how->nothing_runs);
    assert_int_equal(how->grace_ms, 0);
    assert_string_equal(how->reason, "its worker died; the launch begins anew");
    assert_string_equal(script.ended, "");
    memcpy(script.ended, vm->name, sizeof vm->name);
    return script.end_fails != ERR_NONE ? err_set(e, script.end_fails, 0, "scripted") : 0;
}

bool fleet_reaches(const struct fleet *f, const struct ledger_vm *vm)
{
    assert_ptr_equal(f, script.worker.fleet);
    return strcmp(vm->host, "other-host") != 0;
}

static void add(int64_t for_job, const char *scope, const char *class, int64_t silent_ms)
{
    struct ledger_vm *vm = &script.rows[script.count++];
    (void)snprintf(vm->name, sizeof vm->name, "vm-%04zu", script.count);
    (void)snprintf(vm->scope, sizeof vm->scope, "%s", scope);
    (void)snprintf(vm->class_name, sizeof vm->class_name, "%s", class);
    vm->for_job = for_job;
    vm->heartbeat_ms = NOW - silent_ms;
}

static struct takeover take_over(void)
{
    struct err e = {0};
    struct takeover out;
    struct launch_request request = {.job.id = 42};
    struct config c = {.worker = {.lease_ms = LEASE_MS}};
    memcpy(request.class_name, "small", 6);
    script.ended[0] = '\0';
    assert_int_equal(takeover_dead_launch(&script.worker, &c, &request, "acme", &out, &e), 0);
    return out;
}

static int set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    memset(&script, 0, sizeof script);
    script.worker.ledger = (struct ledger *)&script.count; /* never looked into, as this: */
    script.worker.fleet = (struct fleet *)&script.ended;
    return 0;
}

static void assert_takeover(const char *ended_row, bool ended, int64_t wait_ms)
{
    struct takeover t = take_over();
    assert_string_equal(script.ended, ended_row);
    assert_int_equal(t.ended, ended);
    assert_int_equal(t.wait_ms, wait_ms);
}

static void launches_that_go_on_are_left_alone(void **state)
{
    (void)state;
    assert_takeover("", false, 0);
    add(1, "acme", "small", LIMIT_MS);
    assert_takeover("", false, 0);
}

static void message_is_kept_while_its_own_launch_goes_on(void **state)
{
    (void)state;
    add(1, "acme", "small", 0);
    add(42, "acme", "small", 15000);
    assert_takeover("", false, LIMIT_MS - 15000 + 1);
    script.rows[1].heartbeat_ms = NOW - LIMIT_MS;
    assert_takeover("", false, 1);
}

static void dead_launch_of_another_host_keeps_the_message_and_is_left_to_that_host(void **state)
{
    (void)state;
    add(1, "acme", "small", LIMIT_MS + 1);
    memcpy(script.rows[0].host, "other-host", sizeof "other-host");
    assert_takeover("", false, LIMIT_MS);
    add(2, "acme", "small", LIMIT_MS + 1);
    assert_takeover("vm-0002", true, 0);
}

static void dead_launch_of_any_job_of_the_scope_and_class_is_ended(void **state)
{
    (void)state;
    add(1, "acme", "large", LIMIT_MS + 1);
    add(1, "other", "small", LIMIT_MS + 1);
    assert_takeover("", false, 0);
    add(42, "acme", "small", 0);
    add(7, "acme", "small", LIMIT_MS + 1);
    assert_takeover("vm-0004", true, 0);
}

static void dead_launch_behind_pages_of_others_is_found(void **state)
{
    (void)state;
    for (int i = 1; i < ROWS; i++) {
        add(100 + i, "acme", "small", 0);
    }
    add(42, "acme", "small", LIMIT_MS + 1);
    assert_takeover("vm-0600", true, 0);
}

static void row_that_cannot_be_ended_is_looked_at_again(void **state)
{
    (void)state;
    add(42, "acme", "small", LIMIT_MS + 1);
    script.end_fails = ERR_CONFLICT;
    assert_takeover("vm-0001", false, 1000);
}

static void ledger_that_fails_is_an_error(void **state)
{
    (void)state;
    struct err e = {0};
    struct takeover out;
    const struct launch_request request = {.job.id = 42};
    const struct config c = {.worker = {.lease_ms = LEASE_MS}};
    script.list_fails = true;
    assert_int_equal(takeover_dead_launch(&script.worker, &c, &request, "acme", &out, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launches_that_go_on_are_left_alone),
        CASE(message_is_kept_while_its_own_launch_goes_on),
        CASE(dead_launch_of_any_job_of_the_scope_and_class_is_ended),
        CASE(dead_launch_of_another_host_keeps_the_message_and_is_left_to_that_host),
        CASE(dead_launch_behind_pages_of_others_is_found),
        CASE(row_that_cannot_be_ended_is_looked_at_again),
        CASE(ledger_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
