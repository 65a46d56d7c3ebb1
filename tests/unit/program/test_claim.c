/* A host's id that another process has: who waits, who is refused, who begins. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/wakeup.h"
#include "common/program/claim.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define INTERVAL_MS 10000

static struct ledger *l;
static struct config config = {.heartbeat_interval_ms = INTERVAL_MS};

/* Time passes in the sleeps of host_claim alone, and with it a process that lives writes. */
static int64_t now_ms;
static const char *living; /* the id of a process of boot b1 */
static bool living_waits;
static int64_t leaves_at_ms; /* 0: never */
static int64_t slept_ms;

static void leave_heartbeat(const char *id, const char *boot, bool waiting);
void __wrap_clock_sleep_until(int64_t mono_ms);

static int64_t mono_us(void)
{
    return __atomic_load_n(&now_ms, __ATOMIC_ACQUIRE) * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + __atomic_load_n(&now_ms, __ATOMIC_ACQUIRE);
}

void __wrap_clock_sleep_until(int64_t mono_ms)
{
    slept_ms += mono_ms - now_ms;
    bool due = mono_ms / INTERVAL_MS != now_ms / INTERVAL_MS;
    __atomic_store_n(&now_ms, mono_ms, __ATOMIC_RELEASE);
    if (living != NULL && leaves_at_ms != 0 && mono_ms >= leaves_at_ms) {
        struct err e;
        MUST(ledger_program_leave(l, living, &e));
        living = NULL;
    }
    if (living != NULL && due) {
        leave_heartbeat(living, "b1", living_waits);
    }
}

static int set_up(void **state)
{
    static int times;
    char url[64];
    struct err e;
    (void)state;
    (void)snprintf(url, sizeof url, "memory://claim-%d", ++times);
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&source);
    living = NULL;
    living_waits = false;
    leaves_at_ms = 0;
    slept_ms = 0;
    MUST(ledger_open(url, &l, &e));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ledger_close(l);
    return 0;
}

static struct presence *start(const char *program, const char *id, const char *boot,
                              const char *pid_namespace)
{
    struct presence *p = NULL;
    struct err e;
    struct host h = {.has_id = true, .name = "box"};
    (void)snprintf(h.id, sizeof h.id, "%s", id);
    (void)snprintf(h.boot_id, sizeof h.boot_id, "%s", boot);
    (void)snprintf(h.pid_namespace, sizeof h.pid_namespace, "%s", pid_namespace);
    const struct presence_classes classes = {.config = &config};
    MUST(presence_start(l, program, &h, &classes, &p, &e));
    return p;
}

static void begin(struct presence *p)
{
    struct err e = {0};
    bool stopped = true;
    MUST(host_claim(l, p, &stopped, &e));
    assert_false(stopped);
}

static void assert_refused(struct presence *p)
{
    struct err e = {0};
    bool stopped = false;
    assert_int_equal(host_claim(l, p, &stopped, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_non_null(strstr(e.message, "h1"));
    assert_non_null(strstr(e.message, "host-id"));
}

/* What a process that was killed leaves: a heartbeat that does not advance. */
static void leave_heartbeat(const char *id, const char *boot, bool waiting)
{
    int64_t version = 0;
    struct err e;
    struct ledger_program p = {.version = "1",
                               .oldest_format = 1,
                               .newest_format = 1,
                               .is_host = true,
                               .waiting = waiting,
                               .interval_ms = INTERVAL_MS,
                               .host_name = "box",
                               .pid_namespace = "1"};
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    (void)snprintf(p.boot_id, sizeof p.boot_id, "%s", boot);
    MUST(ledger_program_beat(l, &p, &version, &e));
}

static void copy_of_a_host_that_lives_is_refused(void **state)
{
    static const char *const others[][2] = {{"b2", "1"}, {"b1", "2"}}; /* a machine, a container */
    (void)state;
    living = "mayfly-worker/h1/ff";
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        leave_heartbeat(living, "b1", false);
        slept_ms = 0;
        struct presence *copy = start("mayfly-worker", "h1", others[i][0], others[i][1]);
        assert_refused(copy);
        assert_int_equal(slept_ms, INTERVAL_MS * LEDGER_HEARTBEATS_PER_TTL);
        presence_stop(copy);
    }
}

static void process_that_leaves_meanwhile_is_waited_for_no_longer(void **state)
{
    struct err e;
    (void)state;
    leave_heartbeat("mayfly-worker/h1/ff", "b1", false);
    struct presence *p = start("mayfly-worker", "h1", "b2", "1");
    MUST(ledger_program_leave(l, "mayfly-worker/h1/ff", &e));
    begin(p);
    assert_int_equal(slept_ms, 0);
    presence_stop(p);
}

static void restarted_host_begins_although_its_last_heartbeat_is_still_there(void **state)
{
    struct ledger_program *list = NULL;
    size_t n = 0;
    struct err e;
    (void)state;
    leave_heartbeat("mayfly-worker/h1/ff", "b1", false);
    struct presence *p = start("mayfly-worker", "h1", "b2", "1");
    begin(p);
    assert_int_equal(slept_ms, INTERVAL_MS * LEDGER_HEARTBEATS_PER_TTL);
    presence_stop(p);
    MUST(ledger_program_list(l, &list, &n, &e));
    assert_int_equal(n, 1);
    free(list);
}

static void other_programs_hosts_and_processes_of_one_boot_are_no_rivals(void **state)
{
    (void)state;
    struct presence *const all[] = {
        start("mayfly-worker", "h1", "b1", "1"), start("mayfly-worker", "h1", "b1", "1"),
        start("mayfly-reaper", "h1", "b2", "1"), start("mayfly-worker", "h2", "b2", "1")};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        begin(all[i]);
    }
    assert_int_equal(slept_ms, 0);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        presence_stop(all[i]);
    }
}

static void of_two_that_wait_the_one_that_still_sees_the_other_is_refused(void **state)
{
    (void)state;
    living = "mayfly-worker/h1/ff";
    living_waits = true;
    leave_heartbeat(living, "b1", true);
    struct presence *p = start("mayfly-worker", "h1", "b2", "1");
    assert_refused(p);
    presence_stop(p);
    leaves_at_ms = now_ms + INTERVAL_MS * 2; /* it is refused too, a little earlier */
    p = start("mayfly-worker", "h1", "b2", "1");
    begin(p);
    presence_stop(p);
}

static void heartbeat_is_written_before_others_are_read(void **state)
{
    struct ledger_program *list = NULL;
    size_t n = 0;
    struct err e;
    (void)state;
    struct presence *p = start("mayfly-worker", "h1", "b1", "1");
    MUST(ledger_program_list(l, &list, &n, &e));
    assert_int_equal(n, 1);
    free(list);
    presence_stop(p);
}

static void stop_ends_the_wait(void **state)
{
    bool stopped = false;
    struct err e;
    (void)state;
    signals_block();
    leave_heartbeat("mayfly-worker/h1/ff", "b1", false);
    struct presence *p = start("mayfly-worker", "h1", "b2", "1");
    assert_int_equal(raise(SIGTERM), 0);
    MUST(host_claim(l, p, &stopped, &e));
    assert_true(stopped);
    assert_int_equal(signals_wait(1000), SIGTERM);
    assert_int_equal(slept_ms, 0);
    presence_stop(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copy_of_a_host_that_lives_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(process_that_leaves_meanwhile_is_waited_for_no_longer,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            restarted_host_begins_although_its_last_heartbeat_is_still_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            other_programs_hosts_and_processes_of_one_boot_are_no_rivals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            of_two_that_wait_the_one_that_still_sees_the_other_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heartbeat_is_written_before_others_are_read, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(stop_ends_the_wait, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
