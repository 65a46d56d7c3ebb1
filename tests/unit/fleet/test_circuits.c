/*
 * The circuits that launches meet, over a ledger in memory: when they open and widen, who probes,
 * and what two processes see of each other. The clock is the test's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/circuits.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define BEGAN_MS 1800000000000
#define VIEW_MS 1000

static struct {
    int64_t now_ms;
    struct ledger *ledger;
    struct circuits *one; /* two processes */
    struct circuits *two;
    struct config config;
} world;

static int64_t wall_ms(void)
{
    return world.now_ms;
}

static int64_t mono_us(void)
{
    return (world.now_ms - BEGAN_MS + 3600000) * 1000;
}

static int set_up(void **state)
{
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    static int times;
    char url[64];
    struct err e;
    (void)state;
    log_set_level(LOG_ERROR);
    clock_set_source(&source);
    world.now_ms = BEGAN_MS;
    world.config = (struct config){
        .circuit = {.failure_threshold = 3,
                    .open_duration_ms = 5000,
                    .max_open_duration_ms = 300000},
        .retry = {.max_attempts = 5, .base_delay_ms = 1000, .max_delay_ms = 300000}};
    (void)snprintf(url, sizeof url, "memory://circuits-%d", ++times);
    MUST(ledger_open(url, &world.ledger, &e));
    world.one = circuits_new(world.ledger);
    world.two = circuits_new(world.ledger);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    circuits_free(world.one);
    circuits_free(world.two);
    ledger_close(world.ledger);
    clock_set_source(NULL);
    return 0;
}

/* Of a launch for a repository of an owner, with a class. */
static struct subjects subjects(const char *owner, const char *repository, const char *class)
{
    struct subjects s = {0};
    (void)snprintf(s.names[SUBJECT_REPOSITORY], LEDGER_CELL_NAME, "repository:%s/%s", owner,
                   repository);
    (void)snprintf(s.names[SUBJECT_INSTALLATION], LEDGER_CELL_NAME, "installation:%s", owner);
    (void)snprintf(s.names[SUBJECT_GITHUB], LEDGER_CELL_NAME, "github:api");
    (void)snprintf(s.names[SUBJECT_CLASS], LEDGER_CELL_NAME, "class:%s", class);
    (void)snprintf(s.names[SUBJECT_TARGET], LEDGER_CELL_NAME, "target:t");
    return s;
}

static struct err error(enum err_class class, int code)
{
    struct err e;
    (void)err_set(&e, class, code, "it said no");
    return e;
}

static int64_t fail_on(struct circuits *cs, const struct subjects *s, enum subject subject,
                       int64_t job, const char *holder)
{
    const struct err why = error(ERR_AUTH, 403);
    const struct verdict v = {.subject = subject, .treatment = TREAT_WAIT};
    return circuits_failed(cs, &world.config, s, &v, job, holder, &why);
}

static bool is_open(const char *name)
{
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.ledger, name, &c, &e));
    return circuit_is_open(&c, world.now_ms);
}

static int64_t wait_of(struct circuits *cs, const struct subjects *s)
{
    return circuits_stop_of(cs, s).wait_ms;
}

/* The next second: the records are read again. */
static void next_look(void)
{
    world.now_ms += VIEW_MS;
    circuits_refresh(world.one);
    circuits_refresh(world.two);
}

static void circuit_opens_after_failures_of_different_jobs(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    for (int i = 0; i < 10; i++) { /* a lone job in a quiet fleet */
        assert_in_range(fail_on(world.one, &s, SUBJECT_REPOSITORY, 1, ""), 1,
                        circuits_park_max_ms(&world.config));
    }
    assert_false(is_open("repository:acme/app"));
    (void)fail_on(world.one, &s, SUBJECT_REPOSITORY, 2, "");
    assert_false(is_open("repository:acme/app"));
    (void)fail_on(world.one, &s, SUBJECT_REPOSITORY, 3, "");
    assert_true(is_open("repository:acme/app"));
    assert_in_range(wait_of(world.one, &s), 1, 5000);
    next_look();
    assert_int_equal(wait_of(world.two, &s), wait_of(world.one, &s)); /* shared */
}

static void success_between_failures_begins_anew(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    for (int64_t job = 1; job < 20; job++) {
        if (job % 3 == 0) {
            circuits_succeeded(world.one, &s, SUBJECT_BIT(SUBJECT_CLASS));
        }
        (void)fail_on(world.one, &s, SUBJECT_CLASS, job, "");
    }
    assert_false(is_open("class:small"));
}

static void trouble_of_one_repository_stops_no_other(void **state)
{
    (void)state;
    const struct subjects bad = subjects("acme", "bad", "small");
    const struct subjects good = subjects("acme", "good", "small");
    for (int64_t job = 1; job <= 50; job++) {
        (void)fail_on(world.one, &bad, SUBJECT_REPOSITORY, job, "");
        circuits_succeeded(world.one, &good, SUBJECTS_OF_GITHUB);
    }
    assert_true(wait_of(world.one, &bad) > 0);
    assert_int_equal(wait_of(world.one, &good), 0);
    assert_false(is_open("installation:acme"));
}

static void three_narrow_subjects_that_fail_alike_widen(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct subjects s = subjects("acme", names[i], "small");
        assert_false(is_open("installation:acme"));
        (void)fail_on(world.one, &s, SUBJECT_REPOSITORY, (int64_t)i, "");
    }
    assert_true(is_open("installation:acme"));
    assert_false(is_open("github:api"));
    const struct subjects other = subjects("other", "x", "small");
    assert_int_equal(wait_of(world.one, &other), 0);
}

/* As many as widen, with one failure each. */
static void fail_three(struct circuits *cs, int64_t job)
{
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct subjects s = subjects("acme", names[i], "small");
        (void)fail_on(cs, &s, SUBJECT_REPOSITORY, job + (int64_t)i, "");
    }
}

static void tenants_in_trouble_keep_the_others_waiting_only_shortly(void **state)
{
    (void)state;
    const struct subjects a = subjects("acme", "a", "small");
    const struct subjects good = subjects("acme", "good", "small");
    struct circuits_stop stop;
    fail_three(world.one, 1);
    next_look();
    for (int i = 0; i < 8; i++) { /* their probes make the pause longer and longer */
        world.now_ms += 300000;
        assert_int_equal(circuits_enter(world.one, &a, "a", world.now_ms + 60000, &stop), 0);
        (void)fail_on(world.one, &a, SUBJECT_REPOSITORY, 10, "a");
    }
    next_look();
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.ledger, "installation:acme", &c, &e));
    assert_int_equal(c.opens, 9);
    assert_true(circuits_enter(world.two, &good, "early", world.now_ms + 60000, &stop) > 0);
    assert_true(stop.untried && stop.wait_ms <= 1000);
    assert_int_equal(circuits_park_ms(world.two, &world.config, &good, &stop), stop.wait_ms);
    world.now_ms += 1000;
    assert_int_equal(circuits_enter(world.two, &good, "good", world.now_ms + 60000, &stop), 0);
    assert_true(circuits_enter(world.one, &good, "second", world.now_ms + 60000, &stop) > 0);
    circuits_succeeded(world.two, &good, SUBJECTS_OF_GITHUB);
    assert_false(is_open("installation:acme"));
}

static void tenant_without_failures_waits_as_all_where_the_trouble_is_the_installations(
    void **state)
{
    (void)state;
    const struct subjects a = subjects("acme", "a", "small");
    const struct subjects good = subjects("acme", "good", "small");
    const struct verdict v = {.subject = SUBJECT_INSTALLATION, .at_once = true};
    struct err suspended = error(ERR_AUTH, 403);
    suspended.retry_after_ms = 30000;
    (void)circuits_failed(world.one, &world.config, &a, &v, 1, "", &suspended);
    world.now_ms += 5000;
    assert_int_equal(wait_of(world.one, &good), 25000);
}

static void tenants_whose_own_circuits_are_open_do_not_widen(void **state)
{
    (void)state;
    const struct subjects good = subjects("acme", "good", "small");
    for (int64_t job = 1; job <= 7; job += 3) {
        fail_three(world.one, job);
        circuits_succeeded(world.one, &good, SUBJECTS_OF_GITHUB);
        next_look();
    }
    assert_true(is_open("repository:acme/a") && is_open("repository:acme/c"));
    for (int64_t job = 10; job < 100; job += 3) {
        fail_three(world.one, job);
        fail_three(world.two, job); /* which has seen nobody succeed */
        next_look();
    }
    assert_false(is_open("installation:acme"));
}

static void three_installations_widen_to_the_api(void **state)
{
    (void)state;
    char owner[16];
    for (int i = 0; i < 9; i++) {
        char repository[16];
        (void)snprintf(owner, sizeof owner, "o%d", i / 3);
        (void)snprintf(repository, sizeof repository, "r%d", i);
        const struct subjects s = subjects(owner, repository, "small");
        assert_false(is_open("github:api"));
        (void)fail_on(world.one, &s, SUBJECT_REPOSITORY, i, "");
    }
    assert_true(is_open("github:api"));
}

/* A name that one host does not resolve. */
static void trouble_of_one_host_stops_no_other(void **state)
{
    (void)state;
    struct subjects here;
    struct subjects there;
    struct err why = error(ERR_RETRY, -1);
    why.from = ERR_FROM_GITHUB;
    why.of_this_host = true;
    subjects_of_github("here", &here);
    subjects_of_github("there", &there);
    for (int64_t job = 1; job <= 3; job++) {
        const struct verdict v = circuits_verdict(world.one, &here, true, job, &why);
        (void)circuits_failed(world.one, &world.config, &here, &v, job, "", &why);
    }
    next_look();
    assert_true(is_open("github:api@here"));
    assert_false(is_open("github:api"));
    assert_true(wait_of(world.two, &here) > 0);
    assert_int_equal(wait_of(world.two, &there), 0);
}

static void unlike_or_old_failures_or_a_success_between_do_not_widen(void **state)
{
    (void)state;
    const struct subjects a = subjects("acme", "a", "small");
    const struct subjects b = subjects("acme", "b", "small");
    const struct subjects c = subjects("acme", "c", "small");
    const struct verdict v = {.subject = SUBJECT_REPOSITORY, .treatment = TREAT_WAIT};
    const struct err other = error(ERR_RETRY, 502);
    (void)fail_on(world.one, &a, SUBJECT_REPOSITORY, 1, "");
    (void)fail_on(world.one, &b, SUBJECT_REPOSITORY, 2, "");
    (void)circuits_failed(world.one, &world.config, &c, &v, 3, "", &other);
    assert_false(is_open("installation:acme"));
    circuits_succeeded(world.one, &c, SUBJECT_BIT(SUBJECT_INSTALLATION));
    (void)fail_on(world.one, &c, SUBJECT_REPOSITORY, 4, "");
    assert_false(is_open("installation:acme"));
    world.now_ms += 61000;
    (void)fail_on(world.one, &a, SUBJECT_REPOSITORY, 5, "");
    (void)fail_on(world.one, &b, SUBJECT_REPOSITORY, 6, "");
    assert_false(is_open("installation:acme"));
    (void)fail_on(world.one, &c, SUBJECT_REPOSITORY, 7, "");
    assert_true(is_open("installation:acme"));
}

static void answer_without_doubt_opens_at_once_until_the_stated_time(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    const struct verdict v = {.subject = SUBJECT_INSTALLATION, .at_once = true};
    struct err why = error(ERR_THROTTLED, 403);
    why.retry_after_ms = 90000;
    assert_int_equal(circuits_failed(world.one, &world.config, &s, &v, 1, "", &why), 90000);
    assert_int_equal(wait_of(world.one, &s), 90000);
    world.now_ms += 89999;
    assert_int_equal(wait_of(world.one, &s), 1);
}

static void half_open_circuit_has_one_probe_in_the_whole_fleet(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    struct circuits_stop stop;
    for (int64_t job = 1; job <= 3; job++) {
        (void)fail_on(world.one, &s, SUBJECT_CLASS, job, "");
    }
    next_look();
    world.now_ms += 5000;
    assert_int_equal(circuits_enter(world.one, &s, "first", world.now_ms + 60000, &stop), 0);
    assert_true(circuits_enter(world.two, &s, "second", world.now_ms + 60000, &stop) > 0);
    assert_int_equal(stop.subject, SUBJECT_CLASS);
    assert_true(circuits_enter(world.one, &s, "third", world.now_ms + 60000, &stop) > 0);
    /* It fails: the pause is longer, at most 10 s now. */
    (void)fail_on(world.one, &s, SUBJECT_CLASS, 9, "first");
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.ledger, "class:small", &c, &e));
    assert_int_equal(c.opens, 2);
    assert_string_equal(c.why, "it said no");
    assert_in_range(wait_of(world.one, &s), 1, 10000);
    /* The next one, of the other process, succeeds. */
    next_look();
    world.now_ms += 10000;
    assert_int_equal(circuits_enter(world.two, &s, "fourth", world.now_ms + 60000, &stop), 0);
    circuits_succeeded(world.two, &s, SUBJECTS_OF_PROVIDER);
    circuits_leave(world.two, &s, "fourth");
    assert_false(is_open("class:small"));
    next_look();
    assert_int_equal(wait_of(world.one, &s), 0);
}

static void probe_of_several_circuits_is_all_or_none(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    struct circuits_stop stop;
    for (int64_t job = 1; job <= 3; job++) {
        (void)fail_on(world.one, &s, SUBJECT_REPOSITORY, job, "");
        (void)fail_on(world.one, &s, SUBJECT_CLASS, job, "");
    }
    next_look();
    world.now_ms += 5000;
    /* The other process probes the class, with another repository. */
    const struct subjects other = subjects("other", "x", "small");
    assert_int_equal(circuits_enter(world.two, &other, "other", world.now_ms + 60000, &stop), 0);
    assert_true(circuits_enter(world.one, &s, "mine", world.now_ms + 60000, &stop) > 0);
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.ledger, "repository:acme/app", &c, &e));
    assert_string_equal(c.probe, "");
}

static void cheap_probe_is_for_subjects_that_need_no_launch(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    struct verdict v = {.subject = SUBJECT_TARGET, .at_once = true};
    const struct err away = error(ERR_RETRY, 0);
    struct circuits_stop stop;
    (void)circuits_failed(world.one, &world.config, &s, &v, 1, "", &away);
    assert_false(circuits_begin_probe(world.one, &s, SUBJECT_TARGET, "p", world.now_ms + 1));
    world.now_ms += 5000;
    assert_true(circuits_enter(world.one, &s, "launch", world.now_ms + 1, &stop) > 0);
    assert_true(circuits_begin_probe(world.one, &s, SUBJECT_TARGET, "p", world.now_ms + 60000));
    assert_false(circuits_begin_probe(world.two, &s, SUBJECT_TARGET, "q", world.now_ms + 60000));
    circuits_succeeded(world.one, &s, SUBJECT_BIT(SUBJECT_TARGET));
    assert_false(is_open("target:t"));
    v.needs_launch = true; /* a quota */
    (void)circuits_failed(world.one, &world.config, &s, &v, 1, "", &away);
    world.now_ms += 5000;
    assert_false(circuits_begin_probe(world.one, &s, SUBJECT_TARGET, "p", world.now_ms + 60000));
    assert_int_equal(circuits_enter(world.one, &s, "launch", world.now_ms + 60000, &stop), 0);
}

static void threshold_of_zero_opens_nothing(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    world.config.circuit.failure_threshold = 0;
    for (int64_t job = 1; job <= 30; job++) {
        assert_true(fail_on(world.one, &s, SUBJECT_CLASS, job, "") > 0);
    }
    assert_false(is_open("class:small"));
}

/* However many repositories a sender makes up. */
static void circuits_beyond_the_bound_are_their_wider_subjects(void **state)
{
    (void)state;
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    const struct verdict v = {.subject = SUBJECT_REPOSITORY, .at_once = true};
    for (int i = 0; i < 1200; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "r%d", i);
        const struct subjects s = subjects("acme", name, "small");
        const struct err why = error(ERR_AUTH, 400 + i); /* none alike */
        (void)circuits_failed(world.one, &world.config, &s, &v, i, "", &why);
    }
    MUST(ledger_cell_list(world.ledger, CIRCUIT_KIND, &cells, &n, &e));
    free(cells);
    assert_in_range(n, 1000, 1001);
    assert_true(is_open("installation:acme"));
}

static void circuits_of_very_many_tenants_stop_nobody_else(void **state)
{
    (void)state;
    char owner[16];
    struct verdict v = {.subject = SUBJECT_INSTALLATION, .at_once = true};
    for (int i = 0; i < 2100; i++) {
        (void)snprintf(owner, sizeof owner, "o%d", i);
        const struct subjects s = subjects(owner, "app", "small");
        const struct err why = error(ERR_AUTH, 400 + i); /* none alike */
        (void)circuits_failed(world.one, &world.config, &s, &v, i, "", &why);
    }
    assert_true(is_open("installation:o1999"));
    assert_false(is_open("installation:o2000"));
    assert_false(is_open("github:api"));
    const struct subjects late = subjects("late", "app", "late");
    const struct err why = error(ERR_AUTH, 403);
    v.subject = SUBJECT_CLASS;
    (void)circuits_failed(world.one, &world.config, &late, &v, 1, "", &why);
    assert_true(is_open("class:late"));
    assert_false(is_open("target:t"));
}

static void slot_that_is_freed_begins_the_hosts_next_probe(void **state)
{
    (void)state;
    struct subjects s = subjects("acme", "app", "small");
    const struct verdict v = {.subject = SUBJECT_HOST, .at_once = true, .needs_launch = true};
    struct err full = error(ERR_CAPACITY, 12);
    struct circuits_stop stop;
    full.retry_after_ms = 30000;
    subjects_add_host("box", &s);
    (void)circuits_failed(world.one, &world.config, &s, &v, 1, "", &full);
    assert_int_equal(wait_of(world.one, &s), 30000);
    circuits_host_freed(world.one, "other");
    assert_int_equal(wait_of(world.one, &s), 30000);
    circuits_host_freed(world.one, "box");
    assert_int_equal(circuits_enter(world.one, &s, "a", world.now_ms + 60000, &stop), 0);
    circuits_host_freed(world.one, "box"); /* not a second one */
    assert_true(circuits_enter(world.one, &s, "b", world.now_ms + 60000, &stop) > 0);
    circuits_succeeded(world.one, &s, SUBJECTS_OF_PROVIDER);
    circuits_host_freed(world.one, "box");
    assert_false(is_open("host:box"));
}

static int64_t park(const struct subjects *s)
{
    const struct circuits_stop stop = circuits_stop_of(world.one, s);
    return circuits_park_ms(world.one, &world.config, s, &stop);
}

/* A few are back for the next probe; thousands come one after another, and are in nobody's way. */
static void parked_messages_come_back_at_the_next_probe_one_after_another(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    const struct subjects other = subjects("other", "app", "small");
    const struct verdict v = {.subject = SUBJECT_INSTALLATION, .at_once = true};
    struct err why = error(ERR_AUTH, 403);
    why.retry_after_ms = 20000;
    assert_int_equal(circuits_failed(world.one, &world.config, &s, &v, 1, "", &why), 20000);
    assert_int_equal(circuits_failed(world.one, &world.config, &other, &v, 2, "", &why), 20000);
    for (int64_t i = 0; i < 2000; i++) {
        assert_int_equal(park(&s), 20000 + 50 * i);
    }
    assert_int_equal(park(&other), 20000);
    world.now_ms += 20000; /* the first of them is back, and is the probe */
    struct circuits_stop stop;
    assert_int_equal(circuits_enter(world.one, &s, "a", world.now_ms + 60000, &stop), 0);
    assert_int_equal(park(&s), 2000 * 50);
    for (int i = 0; i < 20000; i++) {
        (void)park(&s);
    }
    assert_int_equal(park(&s), 605000);
    circuits_succeeded(world.one, &s, SUBJECTS_OF_GITHUB);
    (void)circuits_failed(world.one, &world.config, &s, &v, 1, "", &why);
    assert_int_equal(park(&s), 20000);
}

/* Its lane receives nothing; a worker on another host may go on. */
static void message_of_a_stopped_lane_is_back_at_once(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "app", "small");
    const struct verdict v = {.subject = SUBJECT_TARGET, .at_once = true};
    struct err why = error(ERR_CAPACITY, 402);
    why.retry_after_ms = 200000;
    assert_in_range(circuits_failed(world.one, &world.config, &s, &v, 1, "", &why), 1, 1000);
    world.now_ms += 100000;
    const struct circuits_stop stop = circuits_stop_of(world.one, &s);
    assert_int_equal(stop.wait_ms, 100000);
    assert_in_range(park(&s), 1, 1000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(circuit_opens_after_failures_of_different_jobs),
        CASE(success_between_failures_begins_anew),
        CASE(trouble_of_one_repository_stops_no_other),
        CASE(three_narrow_subjects_that_fail_alike_widen),
        CASE(tenants_in_trouble_keep_the_others_waiting_only_shortly),
        CASE(tenant_without_failures_waits_as_all_where_the_trouble_is_the_installations),
        CASE(tenants_whose_own_circuits_are_open_do_not_widen),
        CASE(three_installations_widen_to_the_api),
        CASE(trouble_of_one_host_stops_no_other),
        CASE(unlike_or_old_failures_or_a_success_between_do_not_widen),
        CASE(answer_without_doubt_opens_at_once_until_the_stated_time),
        CASE(half_open_circuit_has_one_probe_in_the_whole_fleet),
        CASE(probe_of_several_circuits_is_all_or_none),
        CASE(cheap_probe_is_for_subjects_that_need_no_launch),
        CASE(threshold_of_zero_opens_nothing),
        CASE(circuits_beyond_the_bound_are_their_wider_subjects),
        CASE(circuits_of_very_many_tenants_stop_nobody_else),
        CASE(slot_that_is_freed_begins_the_hosts_next_probe),
        CASE(parked_messages_come_back_at_the_next_probe_one_after_another),
        CASE(message_of_a_stopped_lane_is_back_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
