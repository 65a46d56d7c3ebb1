/* When and where a class keeps idle VMs, and what is refused. */
#include <stdlib.h>

#include "common/config/idle/min_idle.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

#define MINUTE_MS 60000LL
#define DAY_MS (24 * 60 * MINUTE_MS)
#define MONDAY_MS 1800230400000LL /* 2027-01-18T00:00:00Z */

/* A moment of that week; day 0: Monday. */
static int64_t at(int day, int hour, int minute)
{
    return MONDAY_MS + day * DAY_MS + (hour * 60 + minute) * MINUTE_MS;
}

static bool contains(const char *item, int64_t at_ms)
{
    assert_null(schedule_trouble(slice_of(item)));
    return schedule_contains(slice_of(item), at_ms);
}

static void range_includes_its_begin_and_not_its_end(void **state)
{
    (void)state;
    assert_false(contains("mon-fri 07:00-19:00", at(0, 6, 59)));
    assert_true(contains("mon-fri 07:00-19:00", at(0, 7, 0)));
    assert_true(contains("mon-fri 07:00-19:00", at(4, 18, 59)));
    assert_false(contains("mon-fri 07:00-19:00", at(4, 19, 0)));
    assert_false(contains("mon-fri 07:00-19:00", at(5, 12, 0)));
    assert_false(contains("mon-fri 07:00-19:00", at(6, 12, 0)));
    assert_true(contains("mon-fri 07:00-19:00", at(7, 7, 0)));
    assert_true(contains("07:00-24:00", at(2, 23, 59)));
    assert_false(contains("07:00-24:00", at(3, 0, 0)));
}

static void range_past_midnight_belongs_to_the_day_it_begins_on(void **state)
{
    (void)state;
    assert_true(contains("fri 22:00-06:00", at(4, 22, 0)));
    assert_true(contains("fri 22:00-06:00", at(5, 5, 59)));
    assert_false(contains("fri 22:00-06:00", at(5, 6, 0)));
    assert_false(contains("fri 22:00-06:00", at(4, 5, 0)));
    assert_false(contains("fri 22:00-06:00", at(5, 22, 0)));
    assert_true(contains("sun 22:00-06:00", at(7, 3, 0)));
    assert_true(contains("sun 22:00-06:00", at(0, 3, 0)));
    assert_true(contains("22:00-00:00", at(3, 23, 59)));
    assert_false(contains("22:00-00:00", at(3, 0, 0)));
}

static void days_may_pass_the_end_of_the_week_or_stand_alone(void **state)
{
    static const bool expected[] = {true, false, false, false, false, true, true};
    (void)state;
    for (int day = 0; day < 7; day++) {
        assert_int_equal(contains("Sat-Mon", at(day, 0, 0)), expected[day]);
        assert_int_equal(contains("sat-mon 00:00-24:00", at(day, 23, 59)), expected[day]);
        assert_int_equal(contains("wed", at(day, 12, 0)), day == 2);
        assert_true(contains("mon-sun", at(day, 12, 0)));
    }
}

static void anything_else_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "always",
                                      "mon-",
                                      "-fri",
                                      "mon-fri-sun",
                                      "mo",
                                      "monday",
                                      "7:00-19:00",
                                      "07:00",
                                      "07:00-",
                                      "07:60-19:00",
                                      "07:00-24:01",
                                      "24:00-06:00",
                                      "07.00-19.00",
                                      "07:00-19:00 mon",
                                      "mon,tue",
                                      "mon 07:00-19:00 UTC",
                                      "mon  ",
                                      "+7:00-19:00",
                                      "07:00-19:00-20:00"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (schedule_trouble(slice_of(bad[i])) == NULL) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_string_equal(schedule_trouble(SLICE("mon 07:00-07:00")),
                        "begins and ends at the same time: leave the times out for the whole day");
}

/* --- of a class --- */
#define CLASS_OF(more)                                                                             \
    GOOD_TOP GOOD_GITHUB "classes:\n"                                                              \
                         "  - {name: small, labels: [x], max_vms: 9, qemu: {image: /i},\n"         \
                         "     " more "}\n"

static void idle_vms_are_kept_in_these_scopes_at_these_times(void **state)
{
    (void)state;
    struct config *c = parse_ok(CLASS_OF("min_idle: {count: 3, scopes: [Acme, \"acme#quiet\", o/r],"
                                         " schedule: [mon 07:00-08:00, tue]}"),
                                CONFIG_FOR_WORKER);
    const struct config_class *class = &c->classes[0];
    assert_int_equal(class->min_idle.replace_after_ms, 75000);
    assert_int_equal(config_min_idle(class, "acme", at(0, 7, 0)), 3);
    assert_int_equal(config_min_idle(class, "acme#quiet", at(0, 7, 0)), 3);
    assert_int_equal(config_min_idle(class, "o/r", at(1, 23, 0)), 3);
    assert_int_equal(config_min_idle(class, "other", at(0, 7, 0)), 0);
    assert_int_equal(config_min_idle(class, "acme", at(0, 8, 0)), 0);
    assert_int_equal(config_idle_wanted(class, at(0, 7, 0)), 9);
    assert_int_equal(config_idle_wanted(class, at(2, 7, 0)), 0);
    config_free(c);
}

static void none_are_kept_by_default_or_by_a_retired_class(void **state)
{
    (void)state;
    struct config *c = parse_ok(GOOD, CONFIG_FOR_WORKER);
    assert_int_equal(config_min_idle(&c->classes[0], "acme", at(0, 7, 0)), 0);
    config_free(c);
    c = parse_ok(CLASS_OF("min_idle: {count: 3, scopes: [acme]}"), CONFIG_FOR_WORKER);
    assert_int_equal(config_min_idle(&c->classes[0], "acme", at(0, 7, 0)), 3);
    c->classes[0].max_vms = 0;
    assert_int_equal(config_min_idle(&c->classes[0], "acme", at(0, 7, 0)), 0);
    config_free(c);
}

static void what_cannot_be_is_refused_with_its_fix(void **state)
{
    (void)state;
    assert_complaints(CLASS_OF("min_idle: {count: 1}"), CONFIG_FOR_CHECK,
                      "m.yaml:6: classes[0].min_idle.scopes: is required with min_idle.count: name "
                      "where idle runners register, as scopes: [ORGANIZATION] or [OWNER/NAME]");
    assert_complaints(CLASS_OF("scope: repository, min_idle: {count: 1, scopes: [o/r, acme]}"),
                      CONFIG_FOR_CHECK,
                      "m.yaml:6: classes[0].min_idle.scopes[1]: is an organization, and runners of "
                      "the class register with repositories: write owner/name");
    assert_complaints(
        GOOD_TOP "github: {enterprise: big, token: t-o-k-e-n, webhook_secrets: [a-long-secret]}\n"
                 "classes:\n"
                 "  - {name: small, labels: [x], scope: enterprise, qemu: {image: /i},\n"
                 "     min_idle: {count: 1, scopes: [enterprises/big, acme]}}\n",
        CONFIG_FOR_CHECK,
        "m.yaml:6: classes[0].min_idle.scopes[1]: is an organization, and runners of the class "
        "register with the enterprise: write enterprises/big");
    assert_complaints(
        CLASS_OF("min_idle: {count: 1, scopes: [\"o/*\"], schedule: [7-19]}"), CONFIG_FOR_CHECK,
        "m.yaml:6: classes[0].min_idle.scopes[0]: \"o/*\" is refused: it must be an organization "
        "or owner/name\n"
        "m.yaml:6: classes[0].min_idle.schedule[0]: \"7-19\" is refused: it must be days (mon to "
        "sun), "
        "a time range in UTC (HH:MM), or both, such as mon-fri 07:00-19:00");
}

static void what_is_hardly_meant_is_warned_of(void **state)
{
    (void)state;
    struct config *c = parse_ok(CLASS_OF("min_idle: {count: 5, scopes: [a, b], replace_after: 2m}"),
                                CONFIG_FOR_CHECK);
    assert_int_equal(c->warnings.count, 2);
    assert_string_equal(c->warnings.items[1],
                        "m.yaml:6: classes[0].min_idle.count: is 5 in each of 2 scopes, more than "
                        "max_vms (9), which is never exceeded: raise that, or lower this");
    assert_string_equal(c->warnings.items[0],
                        "m.yaml:6: classes[0].min_idle.replace_after: is 2m, and idle_timeout is "
                        "2m: idle VMs end before they are replaced: lower this, or set "
                        "idle_timeout to 160s or more");
    config_free(c);
    c = parse_ok(CLASS_OF("min_idle: {count: 9, scopes: [a]}"), CONFIG_FOR_CHECK);
    assert_int_equal(c->warnings.count, 0);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_includes_its_begin_and_not_its_end),
        cmocka_unit_test(range_past_midnight_belongs_to_the_day_it_begins_on),
        cmocka_unit_test(days_may_pass_the_end_of_the_week_or_stand_alone),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(idle_vms_are_kept_in_these_scopes_at_these_times),
        cmocka_unit_test(none_are_kept_by_default_or_by_a_retired_class),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_fix),
        cmocka_unit_test(what_is_hardly_meant_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
