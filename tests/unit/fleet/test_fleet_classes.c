/* Classes of a fleet that are added, or opened anew, by a reload. */
#include "common/fleet/fleet.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

static char deployment[] = "t";
static char text_arm[] = "arm";
static char text_metal[] = "metal";
static char text_new[] = "new";
static char text_lambda[] = "lambda";
static char text_qemu[] = "qemu";

static void class_is_added_opened_anew_or_left_alone(void **state)
{
    struct err e;
    bool changed = true;
    struct config c = {.deployment = deployment};
    struct config_class arm = {.name = text_arm, .provider = text_lambda, .max_duration_ms = 2000};
    struct config_class added = {.name = text_new, .provider = text_qemu};
    struct config_class classes[] = {
        {.name = text_arm, .provider = text_lambda, .max_duration_ms = 1000},
        {.name = text_metal, .provider = text_qemu, .max_duration_ms = 1000},
    };
    struct ledger *ledger = NULL;
    struct fleet *fleet = NULL;
    c.classes = classes;
    c.class_count = COUNT_OF(classes);
    const struct config_class *places[] = {&classes[0], &classes[1]};
    c.places = places;
    c.place_count = COUNT_OF(places);
    MUST(ledger_open("memory://classes", &ledger, &e));
    MUST(fleet_open(&c, "this-host", ledger, NULL, &fleet, &e));
    struct vm_provider *before = fleet_provider(fleet, "arm");
    (void)state;
    MUST(fleet_add_place(fleet, &c, &arm, &changed, &e));
    assert_false(changed);
    assert_ptr_equal(fleet_provider(fleet, "arm"), before);
    arm.opening = 1;
    MUST(fleet_add_place(fleet, &c, &arm, &changed, &e));
    assert_true(changed);
    struct vm_provider *now = fleet_provider(fleet, "arm");
    assert_ptr_not_equal(now, before); /* which is still open for those who use it */
    assert_null(fleet_provider(fleet, "new"));
    MUST(fleet_add_place(fleet, &c, &added, &changed, &e));
    assert_true(changed);
    assert_non_null(fleet_provider(fleet, "new"));
    assert_ptr_equal(fleet_provider(fleet, "arm"), now);
    assert_non_null(fleet_provider(fleet, "metal"));
    fleet_close(fleet);
    ledger_close(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_is_added_opened_anew_or_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
