/* Classes with targets: their places, what is refused, and what a reload does. */
#include <stdio.h>
#include <stdlib.h>

#include "common/vm/lambda/settings.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

#define IMAGE(region, account, name)                                                               \
    "\"arn:aws:lambda:" region ":" account ":microvm-image:" name "\""
#define EAST(name) IMAGE("us-east-1", "123456789012", name)
#define WEST(name) IMAGE("us-west-2", "123456789012", name)
#define OTHER(name) IMAGE("us-east-1", "210987654321", name)
#define CLASS(name, more, targets)                                                                 \
    "  - {name: " name ", labels: [" name "], provider: lambda, " more "targets: [" targets "]}\n"

static void class_without_targets_is_its_own_place(void **state)
{
    const struct config_class *const *first = NULL;
    struct config *c = parse_ok(GOOD, CONFIG_FOR_WORKER);
    assert_int_equal(c->place_count, 1);
    assert_ptr_equal(c->places[0], &c->classes[0]);
    assert_ptr_equal(config_place_class(c->places[0]), &c->classes[0]);
    assert_string_equal(config_place_target(c->places[0]), "");
    assert_int_equal(config_launch_places(c, &c->classes[0], &first), 1);
    assert_ptr_equal(*first, &c->classes[0]);
    config_free(c);
}

static void target_is_a_place_with_settings_of_its_own(void **state)
{
    const struct config_class *const *first = NULL;
    struct config *c = parse_ok(
        GOOD_TOP GOOD_GITHUB "classes:\n" CLASS(
            "a", "lambda: {image: " EAST("before") ", timeout: 3s}, ",
            "{name: east, image: " EAST("a") ", max_vms: 7, launch_rate: {per_second: 2, burst: "
                                             "4}}, {name: far, image: " OTHER(
                                                 "a") ", region: eu-west-1, weight: 3, role_arn: "
                                                      "\"arn:aws:iam::210987654321:role/mayfly\"}"),
        CONFIG_FOR_WORKER);
    const struct config_class *class = &c->classes[0];
    assert_int_equal(c->place_count, 3); /* where it launched before is looked after */
    assert_ptr_equal(c->places[0], class);
    assert_int_equal(config_launch_places(c, class, &first), 2);
    assert_string_equal(first[0]->name, "a@east");
    assert_string_equal(first[1]->name, "a@far");
    assert_ptr_equal(config_place_by_name(c, "a@far"), first[1]);
    assert_ptr_equal(config_place_class(first[1]), class);
    assert_string_equal(config_place_class_name(first[1]), "a");
    assert_string_equal(config_place_target(first[1]), "far");
    assert_ptr_equal(config_target_by_name(c, "east"), &class->targets[0]);
    assert_int_equal(class->targets[0].max_vms, 7);
    assert_true(class->targets[0].launch_rate.per_second < 2.1);
    assert_int_equal(class->targets[1].weight, 3);
    const struct lambda_settings *far = lambda_settings_of(first[1]);
    assert_true(slice_eq_cstr(lambda_region(far), "eu-west-1"));
    assert_string_equal(far->role_arn, "arn:aws:iam::210987654321:role/mayfly");
    assert_int_equal(far->timeout_ms, 3000); /* the class's */
    assert_true(slice_eq_cstr(lambda_region(lambda_settings_of(first[0])), "us-east-1"));
    assert_true(strstr(lambda_settings_of(class)->image, "before") != NULL);
    config_free(c);
}

static void class_with_targets_needs_no_image_of_its_own(void **state)
{
    struct config *c = parse_ok(GOOD_TOP GOOD_GITHUB
                                "classes:\n" CLASS("a", "", "{name: east, image: " EAST("a") "}")
                                    CLASS("b", "", "{name: east, image: " EAST("b") "}"),
                                CONFIG_FOR_WORKER);
    assert_int_equal(c->place_count, 2);
    assert_null(config_place_by_name(c, "a"));
    config_free(c);
}

static void target_where_the_class_launched_before_has_its_former_vms(void **state)
{
    struct config *c =
        parse_ok(GOOD_TOP GOOD_GITHUB "classes:\n" CLASS(
                     "a", "lambda: {image: " EAST("a") "}, ",
                     "{name: west, image: " WEST("a") "}, {name: east, image: " EAST("a") "}"),
                 CONFIG_FOR_WORKER);
    const struct config_class *west = config_place_by_name(c, "a@west");
    const struct config_class *east = config_place_by_name(c, "a@east");
    assert_int_equal(c->place_count, 2);
    assert_true(config_place_is_of(east, "a", "east"));
    assert_true(config_place_is_of(east, "a", ""));
    assert_false(config_place_is_of(west, "a", ""));
    assert_false(config_place_is_of(east, "b", ""));
    config_free(c);
}

static void class_with_targets_costs_what_its_first_one_does(void **state)
{
    struct config *c = parse_ok(
        GOOD_TOP GOOD_GITHUB
        "classes:\n" CLASS("a", "",
                           "{name: east, image: " EAST("a") "}, {name: tokyo, image: " IMAGE(
                               "ap-northeast-1", "123456789012", "a") "}")
            CLASS("b", "",
                  "{name: tokyo, image: " IMAGE("ap-northeast-1", "123456789012", "b") "}"),
        CONFIG_FOR_CHECK);
    struct config_price a;
    struct config_price b;
    assert_true(config_price_of(&c->classes[0], &a));
    assert_true(config_price_of(&c->classes[1], &b));
    assert_true(a.vcpu_hour > 0 && b.vcpu_hour > 1.1 * a.vcpu_hour);
    config_free(c);
}

static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *classes;
        const char *said;
    } cases[] = {
        {CLASS("a", "", "{name: east}"), "classes[0].targets[0].image: is required"},
        {CLASS("a", "", "{image: " EAST("a") "}"), "classes[0].targets[0].name: is required"},
        {CLASS("a", "", "{name: e@st, image: " EAST("a") "}"), "classes[0].targets[0].name: "},
        {CLASS("a", "", "{name: east, image: here}"), "classes[0].targets[0].image: \"here\" is "
                                                      "refused: it must be an image's ARN"},
        {CLASS("a", "", "{name: east, image: " EAST("a") "}, {name: east, image: " WEST("a") "}"),
         "classes[0].targets[1].name: "},
        {CLASS("a", "", "{name: east, image: " EAST("a") "}, {name: too, image: " EAST("b") "}"),
         "classes[0].targets[1]: is in the account and region of a@east, whose limits it would use "
         "too: leave it out"},
        {CLASS("a", "", "{name: east, image: " EAST("a") "}")
             CLASS("b", "", "{name: east, image: " EAST("a") "}"),
         "classes[1].targets[0].image: is also another place's"},
        {CLASS("a", "", "{name: east, image: " EAST("a") "}")
             CLASS("b", "", "{name: east, image: " WEST("b") "}"),
         "classes[1].targets[0]: has another account or region than a@east"},
        {CLASS("a", "", "{name: east, image: " EAST("a") ", max_vms: 3}")
             CLASS("b", "", "{name: east, image: " EAST("b") ", max_vms: 4}"),
         "classes[1].targets[0]: has another max_vms than a@east"},
        {CLASS("a", "", "{name: east, image: " EAST("a") ", launch_rate: {burst: 3}}")
             CLASS("b", "", "{name: east, image: " EAST("b") "}"),
         "classes[1].targets[0]: has another launch_rate than a@east"},
        {CLASS("a", "lambda: {kms_key: \"arn:aws:kms:us-east-1:123456789012:key/k\"}, ",
               "{name: east, image: " EAST("a") "}, {name: west, image: " WEST("a") "}"),
         "classes[0].lambda.kms_key: is not in the account and region of target west"},
        {"  - {name: q, labels: [q], qemu: {image: /i}, targets: [{name: east, image: " EAST(
             "q") "}]}\n",
         "classes[0].targets: "},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[2048];
        (void)snprintf(text, sizeof text, GOOD_TOP GOOD_GITHUB "classes:\n%s", cases[i].classes);
        char *all = complaints_of(text, CONFIG_FOR_WORKER);
        if (strstr(all, cases[i].said) == NULL) {
            fail_msg("%s\ninstead of %s", all, cases[i].said);
        }
        free(all);
    }
}

/* --- reloads --- */

static struct config_live *live_of(const char *text)
{
    struct config *first = NULL;
    struct err e;
    setenv("MAYFLY_CONFIG", text, 1);
    assert_int_equal(config_load(NULL, CONFIG_FOR_WORKER, &first, NULL, &e), 0);
    return config_live_new(first, NULL, CONFIG_FOR_WORKER);
}

static void target_that_is_removed_gets_no_launches_and_stays(void **state)
{
    struct err e;
    struct config_live *live = live_of(GOOD_TOP GOOD_GITHUB "classes:\n" CLASS(
        "a", "",
        "{name: east, image: " EAST("a") ", max_vms: 3}, "
                                         "{name: west, image: " WEST("a") "}"));
    setenv("MAYFLY_CONFIG",
           GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("a", "", "{name: west, image: " WEST("a") "}"),
           1);
    assert_int_equal(config_live_reload(live, NULL, &e), 0);
    const struct config *c = config_live_get(live);
    assert_int_equal(c->classes[0].target_count, 2);
    const struct config_target *east = config_target_by_name(c, "east");
    assert_non_null(east);
    assert_int_equal(east->weight, 0);
    assert_int_equal(east->max_vms, 3);
    assert_int_equal(config_target_by_name(c, "west")->weight, 1);
    assert_non_null(config_place_by_name(c, "a@east"));
    config_live_put(live, c);
    config_live_free(live);
}

/* It would have no place for launches but the former targets. */
static void class_that_loses_all_targets_keeps_them_until_a_restart(void **state)
{
    struct err e;
    struct buf ignored;
    struct config_live *live = live_of(
        GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("a", "", "{name: east, image: " EAST("a") "}"));
    setenv("MAYFLY_CONFIG",
           GOOD_TOP GOOD_GITHUB "classes:\n  - {name: a, labels: [self-hosted, a], "
                                "required_labels: [self-hosted], provider: lambda, lambda: "
                                "{image: " WEST("a") "}}\n",
           1);
    buf_init(&ignored, 1000);
    assert_int_equal(config_live_reload(live, &ignored, &e), 0);
    assert_string_equal(ignored.data, "classes[a].targets: all removed, requires a restart\n");
    const struct config *c = config_live_get(live);
    assert_int_equal(config_target_by_name(c, "east")->weight, 1);
    config_live_put(live, c);
    config_live_free(live);
    buf_fini(&ignored);
    (void)state;
}

static int64_t quota;

static void read_quotas(struct config *c)
{
    c->classes[0].targets[0].max_vms = quota;
    c->quotas_unread = quota == 0;
}

static int fetch_nothing(const struct config_aws *aws, struct slice written, struct buf *out,
                         struct err *e)
{
    (void)aws;
    (void)written;
    (void)out;
    return err_set(e, ERR_PERMANENT, 0, "nothing");
}

static int64_t cap_now(struct config_live *live)
{
    const struct config *c = config_live_get(live);
    int64_t cap = c->classes[0].targets[0].max_vms;
    config_live_put(live, c);
    return cap;
}

static void quotas_are_read_again_while_the_text_is_the_same(void **state)
{
    static const char text[] = GOOD_TOP GOOD_GITHUB
        "classes:\n" CLASS("a", "", "{name: east, image: " EAST("a") ", max_vms: auto}");
    config_set_quota_reader(read_quotas);
    config_set_fetcher(fetch_nothing);
    quota = 8;
    struct config_live *live = live_of(text);
    assert_int_equal(cap_now(live), 8);
    quota = 16;
    assert_true(config_live_read_quotas(live));
    assert_int_equal(cap_now(live), 16);
    quota = 0; /* none could be read */
    assert_false(config_live_read_quotas(live));
    assert_int_equal(cap_now(live), 16);
    quota = 32;
    setenv("MAYFLY_CONFIG",
           GOOD_TOP
           "# changed, and not meant to be read yet\n" GOOD_GITHUB
           "classes:\n" CLASS("a", "", "{name: east, image: " EAST("a") ", max_vms: auto}"),
           1);
    assert_false(config_live_read_quotas(live));
    assert_int_equal(cap_now(live), 16);
    config_live_free(live);
    config_set_fetcher(NULL);
    live = live_of(GOOD);
    assert_false(config_live_read_quotas(live)); /* nothing is auto */
    config_live_free(live);
    config_set_quota_reader(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(class_without_targets_is_its_own_place),
        cmocka_unit_test(target_is_a_place_with_settings_of_its_own),
        cmocka_unit_test(class_with_targets_needs_no_image_of_its_own),
        cmocka_unit_test(target_where_the_class_launched_before_has_its_former_vms),
        cmocka_unit_test(class_with_targets_costs_what_its_first_one_does),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(target_that_is_removed_gets_no_launches_and_stays),
        cmocka_unit_test(class_that_loses_all_targets_keeps_them_until_a_restart),
        cmocka_unit_test(quotas_are_read_again_while_the_text_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
