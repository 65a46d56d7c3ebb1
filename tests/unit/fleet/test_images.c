/* Which version of an image a class launches: the rules, and the cell's text. */
#include "common/ledger/images.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW_MS 1000

static struct ledger_image image_with(const char *good, const char *canary)
{
    struct ledger_image i = {.class_name = "small"};
    ledger_image_begin(&i, "arn:image", good, 1);
    if (canary[0] != '\0') {
        assert_true(ledger_image_offer(&i, canary, 2));
    }
    return i;
}

static struct ledger_vm vm_of(const char *version)
{
    struct ledger_vm vm = {.state = VM_ENDING};
    (void)snprintf(vm.image_version, sizeof vm.image_version, "%s", version);
    return vm;
}

/* A history: j a job of the canary, f a failure of it, k and g those of the control group; what comes of it. */
static void canary_is_decided_by_what_its_vms_do(void **state)
{
    static const struct {
        const char *history;
        const char *good;
        const char *canary;
        const char *rejected;
    } cases[] = {
        {"jjjjjjjjjjjjjjjjjjj", "3.0", "4.0", ""},
        {"jjjjjjjjjjjjjjjjjjjj", "4.0", "", ""},
        {"ffjjjjjjjjjjjjjjjjjjjj", "4.0", "", ""},
        {"ff", "3.0", "4.0", ""},
        {"fff", "3.0", "", "4.0"},
        {"jjjjjjjjjjjjjjjjjjjfff", "3.0", "", "4.0"},
        {"fffj", "3.0", "", "4.0"},
        {"gggfff", "3.0", "4.0", ""}, /* what all VMs have says nothing about the canary */
        {"gggfffffffff", "3.0", "4.0", ""},
        {"kgfffffffff", "3.0", "4.0", ""}, /* half of them do */
        {"kkgkkgkkgffffffff", "3.0", "4.0", ""},
        {"kkgkkgkkgfffffffff", "3.0", "", "4.0"}, /* a third: then nine */
        {"kkkkkkkkkkgfff", "3.0", "4.0", ""},
        {"kkkkkkkkkkgffff", "3.0", "", "4.0"},
        {"kkkkkkkkkgkkkkkkkkkgjjjjjjjfjjjjjjjfjjjf", "3.0", "4.0", ""}, /* as often */
        {"kkkkkkkkkkkkkkkkkkkkkkkkk", "3.0", "4.0", ""},
        {"jjjjjjjjjjjjjjjjjjjjfff", "4.0", "", ""},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct ledger_image i = image_with("3.0", "4.0");
        for (const char *p = cases[c].history; *p != '\0'; p++) {
            struct ledger_vm vm = vm_of(*p == 'g' || *p == 'k' ? "3.0" : "4.0");
            if (*p == 'j' || *p == 'k') {
                (void)ledger_image_count_job(&i, &vm, NOW_MS);
            } else {
                (void)ledger_image_count_failure(&i, &vm, "it did not come", NOW_MS);
            }
        }
        if (strcmp(i.good, cases[c].good) != 0 || strcmp(i.canary, cases[c].canary) != 0 ||
            strcmp(i.rejected[0], cases[c].rejected) != 0) {
            fail_msg("%s: good %s, canary %s, rejected %s", cases[c].history, i.good, i.canary,
                     i.rejected[0]);
        }
        assert_int_equal(i.by_rule, cases[c].rejected[0] != '\0');
    }
}

static void offer_takes_only_what_is_newer_and_not_rejected(void **state)
{
    (void)state;
    struct ledger_image i = image_with("9.0", "");
    assert_false(ledger_image_offer(&i, "9.0", NOW_MS));
    assert_false(ledger_image_offer(&i, "8.0", NOW_MS));
    assert_true(ledger_image_offer(&i, "10.0", NOW_MS));
    assert_false(ledger_image_offer(&i, "10.0", NOW_MS));
    i.jobs = 7;
    assert_true(ledger_image_offer(&i, "11.0", NOW_MS));
    assert_string_equal(i.canary, "11.0");
    assert_int_equal(i.jobs, 0);
    assert_true(ledger_image_reject(&i, "11.0", true, "x", NOW_MS));
    assert_false(ledger_image_offer(&i, "11.0", NOW_MS));
    assert_true(ledger_image_offer(&i, "12.0", NOW_MS));
}

/* VMs of a version that is decided already, or of another image, change nothing. */
static void late_ends_count_for_nothing(void **state)
{
    (void)state;
    struct ledger_image i = image_with("3.0", "4.0");
    const struct ledger_vm other = vm_of("2.0");
    const struct ledger_vm good = vm_of("3.0");
    assert_false(ledger_image_count_job(&i, &other, NOW_MS));
    assert_false(ledger_image_count_failure(&i, &other, "x", NOW_MS));
    assert_true(ledger_image_reject(&i, "4.0", false, "x", NOW_MS));
    assert_false(ledger_image_count_job(&i, &good, NOW_MS));
    assert_false(ledger_image_count_failure(&i, &good, "x", NOW_MS));
}

static void rejected_good_version_gives_way_to_the_one_before(void **state)
{
    (void)state;
    struct ledger_image i = image_with("3.0", "4.0");
    assert_false(ledger_image_reject(&i, "3.0", false, "there is none before", NOW_MS));
    assert_true(ledger_image_promote(&i, NOW_MS));
    assert_true(ledger_image_reject(&i, "4.0", false, "x", NOW_MS));
    assert_string_equal(i.good, "3.0");
    assert_true(ledger_image_is_rejected(&i, "4.0"));
    ledger_image_take(&i, "4.0", NOW_MS);
    assert_string_equal(i.good, "4.0");
    assert_string_equal(i.former, "3.0");
    assert_false(ledger_image_is_rejected(&i, "4.0"));
}

static void text_of_a_cell_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct ledger_image i = image_with("3.0", "4.0");
    struct ledger_image back;
    struct ledger_cell cell = {.version = 5, .name = "small"};
    for (int k = 0; k < IMAGE_REJECTED_MAX + 2; k++) {
        char version[LEDGER_IMAGE_VERSION];
        (void)snprintf(version, sizeof version, "%d.0", 5 + k);
        assert_true(ledger_image_offer(&i, version, NOW_MS));
        assert_true(ledger_image_reject(&i, version, true, "it = never came", NOW_MS));
    }
    assert_true(ledger_image_offer(&i, "20.0", NOW_MS));
    i.jobs = 3;
    i.good_jobs = 4;
    i.good_failures = 2;
    ledger_image_encode(&i, cell.value);
    ledger_image_decode(&cell, &back);
    char again[LEDGER_CELL_VALUE];
    ledger_image_encode(&back, again);
    assert_string_equal(again, cell.value);
    assert_int_equal(back.version, 5);
    assert_string_equal(back.class_name, "small");
    assert_string_equal(back.why, "it = never came");
    assert_string_equal(back.rejected[IMAGE_REJECTED_MAX - 1], "7.0");
    (void)snprintf(cell.value, sizeof cell.value, "nonsense =x good");
    ledger_image_decode(&cell, &back);
    assert_string_equal(back.good, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canary_is_decided_by_what_its_vms_do),
        cmocka_unit_test(offer_takes_only_what_is_newer_and_not_rejected),
        cmocka_unit_test(late_ends_count_for_nothing),
        cmocka_unit_test(rejected_good_version_gives_way_to_the_one_before),
        cmocka_unit_test(text_of_a_cell_is_read_as_it_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
