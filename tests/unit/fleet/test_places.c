/* At which of its places a class launches. Providers are scripted, the ledger is one in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/places.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_vms.h"

#define TARGET(name, region, more)                                                                 \
    "{\"name\": \"" name "\", \"image\": \"arn:aws:lambda:" region                                 \
    ":123456789012:microvm-image:" name "\"" more "}"

static const char settings[] =
    "{\"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\", \"github\": {\"token\": "
    "\"x\"},"
    " \"limits\": {\"max_vms\": 40}, \"classes\": ["
    "{\"name\": \"wide\", \"labels\": [\"wide\"], \"provider\": \"lambda\", \"max_vms\": "
    "30,"
    " \"targets\": [" TARGET("a", "us-east-1", ", \"max_vms\": 10") ", " TARGET(
        "b", "us-east-2",
        ", \"max_vms\": 20, \"launch_rate\": {\"burst\": "
        "3}") ", " TARGET("c", "us-west-2",
                          ", \"max_vms\": 10, \"weight\": "
                          "0") "]},"
                               " {\"name\": \"plain\", "
                               "\"labels\": [\"plain\"], "
                               "\"provider\": \"lambda\","
                               " \"lambda\": {\"image\": "
                               "\"arn:aws:lambda:us-east-"
                               "1:123456789012:microvm-"
                               "image:p\"}}]}";

static struct world {
    int64_t now_ms;
    char url[32];
    struct config *config;
    struct ledger *ledger;
    struct fleet *fleet;
    struct circuits *circuits;
    int used;
} world;

static int64_t mono_us(void)
{
    return world.now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return world.now_ms;
}

static int set_up(void **state)
{
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    static int times;
    struct err e = {0};
    log_set_level(LOG_ERROR);
    world = (struct world){.now_ms = 1000000000000};
    clock_set_source(&source);
    scripted_vms_reset();
    (void)snprintf(world.url, sizeof world.url, "memory://places-%d", ++times);
    MUST(config_parse(slice_of(settings), "test", CONFIG_FOR_WORKER, &world.config, NULL, &e));
    MUST(ledger_open(world.url, &world.ledger, &e));
    MUST(fleet_open(world.config, "this-host", world.ledger, NULL, &world.fleet, &e));
    world.circuits = circuits_new(world.ledger);
    return 0;
}

static int tear_down(void **state)
{
    circuits_free(world.circuits);
    fleet_close(world.fleet);
    ledger_close(world.ledger);
    config_free(world.config);
    clock_set_source(NULL);
    return 0;
}

static struct places_choice choose(const char *class_name, uint64_t without)
{
    const struct places_query q = {.fleet = world.fleet,
                                   .ledger = world.ledger,
                                   .circuits = world.circuits,
                                   .config = world.config,
                                   .class =
                                       config_class_by_name(world.config, slice_of(class_name)),
                                   .without = without};
    struct places_choice choice;
    struct err e = {0};
    circuits_refresh(world.circuits);
    MUST(places_choose(&q, &choice, &e));
    return choice;
}

static void assert_place(const char *expected)
{
    struct places_choice choice = choose("wide", 0);
    assert_int_equal(choice.hold, PLACES_NOTHING);
    assert_string_equal(choice.place->name, expected);
}

/* VMs there that hold slots. */
static void use(const char *target, int n)
{
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "vm-%d", ++world.used);
        struct ledger_vm *vm = memory_vm(world.url, name);
        (void)snprintf(vm->class_name, sizeof vm->class_name, "wide");
        (void)snprintf(vm->target, sizeof vm->target, "%s", target);
        (void)snprintf(vm->scope, sizeof vm->scope, "acme");
        vm->state = VM_LAUNCHED;
    }
}

static void fail_target(const char *place, bool needs_launch)
{
    const struct err why = {.class = ERR_RETRY, .message = "no response"};
    const struct verdict v = {.subject = SUBJECT_TARGET,
                              .treatment = TREAT_WAIT,
                              .at_once = true,
                              .needs_launch = needs_launch};
    struct subjects s;
    subjects_of_class(config_place_by_name(world.config, place), fleet_provider(world.fleet, place),
                      "this-host", &s);
    (void)circuits_failed(world.circuits, world.config, &s, &v, 1, "", &why);
}

static void largest_free_share_is_taken(void **state)
{
    use("a", 3);
    use("b", 5); /* 0.70 and 0.75 */
    assert_place("wide@b");
    use("b", 2); /* 0.65 */
    assert_place("wide@a");
    use("a", 7); /* full */
    assert_place("wide@b");
}

static void weight_counts(void **state)
{
    use("a", 5);
    use("b", 4); /* 0.5 and 0.8 */
    assert_place("wide@b");
    world.config->classes[0].targets[0].weight = 2; /* 1.0 */
    assert_place("wide@a");
}

static void cap_that_is_not_set_is_the_fleets(void **state)
{
    world.config->classes[0].targets[0].max_vms = 0; /* of 40 */
    use("a", 8);
    use("b", 5); /* 0.8 and 0.75 */
    assert_place("wide@a");
}

static void no_place_with_room_is_full(void **state)
{
    use("a", 10);
    use("b", 20);
    assert_int_equal(choose("wide", 0).hold, PLACES_FULL);
    assert_int_equal(choose("plain", 0).hold, PLACES_NOTHING);
}

static void target_without_a_token_is_left_to_others(void **state)
{
    struct err e = {0};
    MUST(ledger_rate_pause(world.ledger, "launch@b", world.now_ms + 700, &e));
    assert_place("wide@a");
    MUST(ledger_rate_pause(world.ledger, "launch@a", world.now_ms + 300, &e));
    struct places_choice choice = choose("wide", 0);
    assert_int_equal(choice.hold, PLACES_RATE);
    assert_int_equal(choice.wait_ms, 300);
}

static void target_in_trouble_is_left_to_others(void **state)
{
    fail_target("wide@b", true);
    assert_place("wide@a");
    fail_target("wide@a", true);
    struct places_choice choice = choose("wide", 0);
    assert_int_equal(choice.hold, PLACES_CIRCUIT);
    bool is_b = strcmp(choice.subjects.names[SUBJECT_TARGET], "target:@b") == 0;
    world.now_ms += choice.wait_ms;
    assert_place(is_b ? "wide@b" : "wide@a"); /* its probe; the other one's is later */
}

static void target_that_does_not_answer_is_the_last_choice(void **state)
{
    use("a", 5);
    places_call_began(world.fleet, "wide@b");
    places_call_began(world.fleet, "wide@b");
    assert_place("wide@b");
    world.now_ms += PLACES_SILENT_MS + 1;
    assert_place("wide@a");
    places_call_ended(world.fleet, "wide@b", true);
    assert_place("wide@b"); /* it answered */
    world.now_ms += PLACES_SILENT_MS + 1;
    places_call_ended(world.fleet, "wide@b", false);
    assert_place("wide@b"); /* nothing waits for it: its circuit decides */
    places_call_began(world.fleet, "wide@b");
    world.now_ms += PLACES_SILENT_MS + 1;
    use("a", 5); /* full */
    assert_place("wide@b");
    places_call_ended(world.fleet, "wide@b", true);
}

static void places_that_are_left_out_are_no_choice(void **state)
{
    struct places_choice choice = choose("wide", UINT64_C(1) << 1);
    assert_string_equal(choice.place->name, "wide@a");
    assert_int_equal(choice.index, 0);
    assert_int_equal(choose("wide", 3).hold, PLACES_NONE); /* the third gets no launches */
}

static void class_without_targets_is_its_own_place(void **state)
{
    struct places_choice choice = choose("plain", 0);
    assert_string_equal(choice.place->name, "plain");
    assert_string_equal(choice.subjects.names[SUBJECT_CLASS], "class:plain");
    fail_target("plain", true);
    assert_int_equal(choose("plain", 0).hold, PLACES_CIRCUIT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(largest_free_share_is_taken),
        CASE(weight_counts),
        CASE(cap_that_is_not_set_is_the_fleets),
        CASE(no_place_with_room_is_full),
        CASE(target_without_a_token_is_left_to_others),
        CASE(target_in_trouble_is_left_to_others),
        CASE(target_that_does_not_answer_is_the_last_choice),
        CASE(places_that_are_left_out_are_no_choice),
        CASE(class_without_targets_is_its_own_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
