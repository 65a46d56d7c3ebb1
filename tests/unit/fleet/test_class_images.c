/* Which version of its class's image a launch uses: over a ledger in memory and scripted versions of the service. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/fleet/class_images.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_vms.h"

#define LAUNCHES 2000

static char text_large[] = "large";
static char text_lambda[] = "lambda";
static const struct config_class class = {.name = text_large, .provider = text_lambda};
static int64_t now_ms;
static struct ledger *ledger;
static struct class_images *images;

static int64_t mono_us(void)
{
    return now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + now_ms;
}

static int set_up(void **state)
{
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    static int count;
    char url[32];
    struct err e;
    (void)state;
    now_ms = 3600000;
    clock_set_source(&source);
    calls_reset();
    scripted_vms_reset();
    (void)snprintf(url, sizeof url, "memory://images-%d", count++);
    MUST(ledger_open(url, &ledger, &e));
    images = class_images_new(ledger);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    class_images_free(images);
    ledger_close(ledger);
    scripted_vms_reset();
    clock_set_source(NULL);
    return 0;
}

static struct image_choice choose(const char *vm, bool is_first)
{
    struct err e;
    struct image_choice out;
    MUST(class_images_choose(images, &class, vm, is_first, &out, &e));
    return out;
}

static struct ledger_image see(void)
{
    struct err e;
    struct ledger_image i;
    MUST(ledger_image_get(ledger, class.name, &i, &e));
    return i;
}

static void put(struct ledger_image *i)
{
    struct err e;
    MUST(ledger_image_put(ledger, i, &e));
    now_ms += CLASS_IMAGES_AGE_MS;
}

/* The class has launched 3.0, and 4.0 is tried. */
static void begin_canary(void)
{
    (void)scripted_vms_add_version("3.0", true);
    (void)choose("vm", true);
    (void)scripted_vms_add_version("4.0", true);
    struct ledger_image i = see();
    assert_true(ledger_image_offer(&i, "4.0", wall_ms()));
    put(&i);
}

static void provider_without_versions_and_pinned_class_use_no_cell(void **state)
{
    (void)state;
    assert_string_equal(choose("vm", true).version, "");
    (void)scripted_vms_add_version("1.0", true);
    scripted_vms.pinned = "7.0";
    assert_string_equal(choose("vm", true).version, "7.0");
    assert_int_equal(see().version, 0);
    assert_int_equal(calls_count("vm_image_versions", NULL), 0);
}

static void class_begins_with_the_newest_that_can_be_launched_and_is_asked_for_once(void **state)
{
    struct err e;
    struct image_choice out;
    (void)state;
    (void)scripted_vms_add_version("2.0", false);
    must_fail(class_images_choose(images, &class, "vm", true, &out, &e), &e, ERR_PERMANENT);
    assert_int_equal(e.code, VM_RUN_NO_VERSION);
    assert_int_equal(e.from, ERR_FROM_PROVIDER);
    (void)scripted_vms_add_version("9.0", true);
    (void)scripted_vms_add_version("10.0", true);
    (void)scripted_vms_add_version("11.0", false);
    for (int i = 0; i < 3; i++) {
        out = choose("vm", true);
        assert_string_equal(out.version, "10.0");
        assert_int_equal(out.part, IMAGE_NO_PART);
    }
    assert_int_equal(calls_count("vm_image_versions", NULL), 2);
    assert_string_equal(see().image, SCRIPTED_IMAGE);
}

static void cell_of_another_image_begins_anew(void **state)
{
    (void)state;
    struct ledger_image i = {.class_name = "large"};
    ledger_image_begin(&i, "arn:another", "99.0", 1);
    put(&i);
    (void)scripted_vms_add_version("1.0", true);
    assert_string_equal(choose("vm", true).version, "1.0");
    assert_string_equal(see().image, SCRIPTED_IMAGE);
}

/* Each launch of the canary has one of the good version beside it, so that rates are compared of equal groups. */
static void canary_gets_a_share_and_the_control_group_as_many(void **state)
{
    size_t parts[3] = {0};
    (void)state;
    begin_canary();
    for (int i = 0; i < LAUNCHES; i++) {
        char vm[32];
        (void)snprintf(vm, sizeof vm, "vm-%d", i);
        struct image_choice out = choose(vm, true);
        parts[out.part]++;
        assert_string_equal(out.version, out.part == IMAGE_IS_CANARY ? "4.0" : "3.0");
    }
    assert_in_range(parts[IMAGE_IS_CANARY], LAUNCHES * 3 / 100, LAUNCHES * 7 / 100);
    assert_in_range(parts[IMAGE_IS_GOOD], parts[IMAGE_IS_CANARY] - 2, parts[IMAGE_IS_CANARY]);
}

static void job_that_was_launched_before_meets_neither(void **state)
{
    (void)state;
    begin_canary();
    for (int i = 0; i < 200; i++) {
        char vm[32];
        (void)snprintf(vm, sizeof vm, "vm-%d", i);
        struct image_choice out = choose(vm, false);
        assert_int_equal(out.part, IMAGE_NO_PART);
        assert_string_equal(out.version, "3.0");
    }
}

/* A name whose hash is not among the share's. */
static const char *unlucky(void)
{
    static char vm[32];
    for (int i = 0;; i++) {
        (void)snprintf(vm, sizeof vm, "quiet-%d", i);
        struct image_choice out = choose(vm, true);
        if (out.part == IMAGE_NO_PART) {
            return vm;
        }
    }
}

static void where_launches_are_few_the_first_and_one_an_hour_is_the_canarys(void **state)
{
    (void)state;
    begin_canary();
    assert_int_equal(choose("vm", true).part, IMAGE_IS_CANARY);
    const char *vm = unlucky();
    assert_int_equal(choose(vm, true).part, IMAGE_NO_PART);
    now_ms += CLASS_IMAGES_CANARY_EVERY_MS;
    assert_int_equal(choose(vm, true).part, IMAGE_IS_CANARY);
    assert_int_equal(choose(vm, true).part, IMAGE_IS_GOOD);
    assert_int_equal(choose(vm, true).part, IMAGE_NO_PART);
}

/* Another process's decision is followed within the age of the copy. */
static void decision_of_another_is_seen_within_seconds(void **state)
{
    (void)state;
    begin_canary();
    (void)choose("vm", false);
    struct ledger_image i = see();
    assert_true(ledger_image_promote(&i, wall_ms()));
    struct err e;
    MUST(ledger_image_put(ledger, &i, &e));
    assert_string_equal(choose("vm", false).version, "3.0");
    now_ms += CLASS_IMAGES_AGE_MS;
    assert_string_equal(choose("vm", false).version, "4.0");
}

static bool gone(const char *version)
{
    struct err e;
    bool changed = false;
    MUST(class_images_gone(images, &class, version, &changed, &e));
    return changed;
}

static void canary_that_is_refused_is_dropped_and_the_good_one_stays(void **state)
{
    (void)state;
    begin_canary();
    scripted_vms.versions[1].active = false;
    assert_true(gone("4.0"));
    assert_string_equal(see().canary, "");
    assert_string_equal(see().good, "3.0");
    assert_false(see().by_rule);
}

static void good_version_that_is_gone_gives_way_to_the_former_before_a_newer(void **state)
{
    (void)state;
    begin_canary();
    struct ledger_image i = see();
    assert_true(ledger_image_promote(&i, wall_ms()));
    put(&i);
    (void)scripted_vms_add_version("5.0", true); /* which nobody has tried */
    scripted_vms.versions[1].active = false;
    assert_true(gone("4.0"));
    assert_string_equal(see().good, "3.0");
    assert_int_equal(see().news, IMAGE_REPLACED);

    /* Without one the newest that was not rejected. */
    i = see();
    assert_true(ledger_image_offer(&i, "5.0", wall_ms()));
    assert_true(ledger_image_reject(&i, "5.0", true, "x", wall_ms()));
    put(&i);
    scripted_vms.versions[0].active = false;
    assert_false(gone("3.0"));
    assert_string_equal(see().good, "3.0");
    (void)scripted_vms_add_version("6.0", true);
    (void)scripted_vms_add_version("1.0", true);
    assert_true(gone("3.0"));
    assert_string_equal(see().good, "6.0");
    assert_string_equal(choose("vm", true).version, "6.0");
}

static void version_that_runs_after_all_changes_nothing(void **state)
{
    (void)state;
    begin_canary();
    int64_t version = see().version;
    assert_false(gone("3.0"));
    assert_int_equal(see().version, version);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(provider_without_versions_and_pinned_class_use_no_cell),
        CASE(class_begins_with_the_newest_that_can_be_launched_and_is_asked_for_once),
        CASE(cell_of_another_image_begins_anew),
        CASE(canary_gets_a_share_and_the_control_group_as_many),
        CASE(job_that_was_launched_before_meets_neither),
        CASE(where_launches_are_few_the_first_and_one_an_hour_is_the_canarys),
        CASE(decision_of_another_is_seen_within_seconds),
        CASE(canary_that_is_refused_is_dropped_and_the_good_one_stays),
        CASE(good_version_that_is_gone_gives_way_to_the_former_before_a_newer),
        CASE(version_that_runs_after_all_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
