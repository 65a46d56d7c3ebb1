/* A launch whose version of the image is refused: what becomes of the version, of the job and of its class. */
#include <stdlib.h>

#include "tests/unit/worker/launch_bed.h"

#include "common/ledger/images.h"

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

static int set_up(void **state)
{
    (void)state;
    return launch_bed_set_up("large");
}

static struct ledger_image see(void)
{
    struct err e;
    struct ledger_image i;
    MUST(ledger_image_get(world.worker.ledger, "large", &i, &e));
    return i;
}

/* 1.0 is good, and 2.0 is tried if there is a canary. */
static void begin(bool canary)
{
    struct err e;
    struct ledger_image i = {.class_name = "large"};
    (void)scripted_vms_add_version("1.0", true);
    (void)scripted_vms_add_version("2.0", true);
    ledger_image_begin(&i, SCRIPTED_IMAGE, "1.0", 1);
    assert_true(!canary || ledger_image_offer(&i, "2.0", 2));
    MUST(ledger_image_put(world.worker.ledger, &i, &e));
}

static void refuse_run(int64_t code, int times)
{
    calls_plan(&(struct call_plan){
        .function = "vm_run", .fails = ERR_PERMANENT, .code = (int)code, .times = times});
}

static void launch_job(int64_t job)
{
    world_put_queued("launch.large", "large", job);
    launch_bed_next("launch.large", 0);
}

static int64_t class_circuit_since(void)
{
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.worker.ledger, lane.subjects.names[SUBJECT_CLASS], &c, &e));
    return c.since_ms;
}

/* The process's first launch is the canary's. */
static void refused_canary_costs_the_job_nothing_and_counts(void **state)
{
    (void)state;
    begin(true);
    refuse_run(400, 1);
    launch_job(42);
    assert_int_equal(see().failures, 1);
    assert_int_equal(calls_count("queue_nack", " spent "), 0);
    assert_int_equal(calls_count("queue_dead_letter", NULL), 0);
    assert_int_equal(class_circuit_since(), 0);
    world.now_ms += 60000;
    launch_bed_next("launch.large", 0);
    assert_int_equal(calls_done("vm_run", NULL), 1);
    assert_int_equal(see().failures, 1);
}

/* Where the good version is refused it is the class's trouble. */
static void refused_good_version_is_the_classs_trouble(void **state)
{
    (void)state;
    begin(false);
    refuse_run(400, 1);
    launch_job(42);
    assert_true(class_circuit_since() > 0);
    assert_string_equal(see().good, "1.0");
}

static void canary_that_is_gone_is_dropped_and_the_job_launched_again(void **state)
{
    (void)state;
    begin(true);
    scripted_vms.versions[1].active = false;
    refuse_run(VM_RUN_NO_VERSION, 1);
    launch_job(42);
    assert_string_equal(see().canary, "");
    assert_int_equal(see().failures, 0);
    assert_int_equal(class_circuit_since(), 0);
    assert_int_equal(calls_count("queue_nack", " spent "), 0);
}

static void good_version_that_is_gone_is_replaced_and_the_job_launched_again(void **state)
{
    (void)state;
    begin(false);
    scripted_vms.versions[0].active = false;
    refuse_run(VM_RUN_NO_VERSION, 1);
    launch_job(42);
    assert_string_equal(see().good, "2.0");
    assert_int_equal(class_circuit_since(), 0);
    world.now_ms += 60000;
    launch_bed_next("launch.large", 0);
    assert_int_equal(calls_done("vm_run", NULL), 1);
}

static void image_without_any_version_is_the_classs_trouble(void **state)
{
    (void)state;
    begin(false);
    scripted_vms.versions[0].active = false;
    scripted_vms.versions[1].active = false;
    refuse_run(VM_RUN_NO_VERSION, 1);
    launch_job(42);
    assert_true(class_circuit_since() > 0);
    assert_int_equal(calls_count("queue_nack", " spent "), 0);
}

/* A quota or an outage says nothing about the image. */
static void trouble_of_the_service_does_not_count(void **state)
{
    static const enum err_class classes[] = {ERR_RETRY, ERR_CAPACITY, ERR_AUTH};
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        begin(true);
        calls_plan(&(struct call_plan){.function = "vm_run", .fails = classes[i], .code = 500});
        launch_job(42);
        assert_string_equal(see().canary, "2.0");
        assert_int_equal(see().failures, 0);
        (void)launch_bed_tear_down(NULL);
        (void)set_up(state);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, launch_bed_tear_down)
    const struct CMUnitTest tests[] = {
        CASE(refused_canary_costs_the_job_nothing_and_counts),
        CASE(refused_good_version_is_the_classs_trouble),
        CASE(canary_that_is_gone_is_dropped_and_the_job_launched_again),
        CASE(good_version_that_is_gone_is_replaced_and_the_job_launched_again),
        CASE(image_without_any_version_is_the_classs_trouble),
        CASE(trouble_of_the_service_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
