/* Launches of a class with targets: where they go, and what is tried elsewhere. */
#include <stdlib.h>

#include "tests/unit/worker/launch_bed.h"

#include "common/base/clock.h"

#define TARGET(name, region)                                                                       \
    "{\"name\": \"" name "\", \"max_vms\": 5, \"image\": \"arn:aws:lambda:" region                 \
    ":123456789012:microvm-image:wide\"}"

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

static int set_up(void **state)
{
    (void)state;
    world_more_classes = ", {\"name\": \"wide\", \"labels\": [\"wide\"], \"provider\": \"lambda\","
                         " \"max_vms\": 9, \"targets\": [" TARGET("east", "us-east-1") ", " TARGET(
                             "west", "us-west-2") "]}";
    int rc = launch_bed_set_up("large");
    lane.unknown_places = 0;
    world_reconcile("wide@east", 0);
    world_reconcile("wide@west", 0);
    return rc;
}

static void anew(void)
{
    (void)launch_bed_tear_down(NULL);
    (void)set_up(NULL);
}

/* VMs there that hold slots. */
static void use(const char *target, int n)
{
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "vm-%s-%d", target, i);
        struct ledger_vm *vm = memory_vm(world.url, name);
        (void)snprintf(vm->class_name, sizeof vm->class_name, "wide");
        (void)snprintf(vm->target, sizeof vm->target, "%s", target);
        (void)snprintf(vm->scope, sizeof vm->scope, "elsewhere");
        vm->state = VM_LAUNCHED;
    }
}

static void launch_wide(void)
{
    world_put_queued("launch.wide", "wide", 42);
    launch_bed_next("launch.wide", 0);
}

/* Of the job's VMs, in that state: the last one's. */
static const char *target_of(enum ledger_vm_state in)
{
    static char target[TARGET_NAME_SIZE];
    struct ledger_vm *list = NULL;
    size_t n = 0;
    struct err e;
    target[0] = '\0';
    MUST(ledger_vm_list(world.worker.ledger, 1u << in, "", 100, &list, &n, &e));
    for (size_t i = 0; i < n; i++) {
        if (list[i].for_job == 42) {
            memcpy(target, list[i].target, sizeof target);
        }
    }
    free(list);
    return target;
}

static bool is_in_timeline(const char *what, const char *detail)
{
    struct ledger_entry *list = NULL;
    size_t n = 0;
    bool found = false;
    struct err e;
    MUST(ledger_timeline(world.worker.ledger, 42, &list, &n, &e));
    for (size_t i = 0; i < n; i++) {
        found =
            found || (strcmp(list[i].what, what) == 0 && strstr(list[i].detail, detail) != NULL);
    }
    free(list);
    return found;
}

/* --- which one --- */

static void launch_goes_where_the_free_share_is_the_largest(void **state)
{
    use("west", 1);
    launch_wide();
    assert_string_equal(target_of(VM_LAUNCHED), "east");
    assert_non_null(strstr(calls_args("vm_run", NULL, 1), "class=wide@east"));
    assert_int_equal(calls_done("queue_ack", NULL), 1);
    (void)state;
}

static void target_whose_vms_may_be_unknown_gets_none(void **state)
{
    use("west", 4);
    lane.unknown_places = 1; /* east */
    launch_wide();
    assert_string_equal(target_of(VM_LAUNCHED), "west");
    (void)state;
}

static void full_targets_leave_the_message(void **state)
{
    use("west", 5);
    lane.unknown_places = 1;
    launch_wide();
    assert_int_equal(calls_count("github_register_runner", NULL), 0);
    assert_int_equal(calls_done("queue_nack", NULL), 1);
    assert_non_null(strstr(calls_args("queue_nack", NULL, 1), "full"));
    (void)state;
}

/* --- elsewhere --- */

static const struct failure {
    enum err_class class;
    int code;
    int times;
} of_a_target[] = {
    {ERR_CAPACITY, 402, 1},                     /* a quota is used up */
    {ERR_THROTTLED, 429, 1}, {ERR_RETRY, 0, 1}, /* no response */
    {ERR_RETRY, 500, 1},     {ERR_AUTH, 403, 1},
    {ERR_PERMANENT, 400, 1}, /* its image or its role */
};

static void what_fails_at_one_target_is_tried_at_the_next_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(of_a_target); i++) {
        const struct failure *f = &of_a_target[i];
        anew();
        use("west", 1);
        calls_plan(&(struct call_plan){
            .function = "vm_run", .fails = f->class, .code = f->code, .times = f->times});
        launch_wide();
        assert_string_equal(target_of(VM_LAUNCHED), "west");
        assert_int_equal(calls_count("vm_run", NULL), f->times + 1);
        assert_int_equal(calls_count("github_register_runner", NULL), 2); /* another runner */
        assert_string_not_equal(calls_args("github_register_runner", NULL, 1),
                                calls_args("github_register_runner", NULL, 2));
        assert_int_equal(calls_done("queue_ack", NULL), 1);
        assert_int_equal(calls_count("queue_nack", NULL), 0);
        assert_true(
            is_in_timeline("elsewhere", "tried at wide@west: at wide@east run failed (about "));
        /* A VM with an unknown id may run: its row holds its slot. */
        bool unclear = f->class == ERR_RETRY;
        assert_string_equal(target_of(VM_ENDING), unclear ? "east" : "");
    }
}

static void quota_opens_the_circuit_of_its_target_alone(void **state)
{
    struct circuit c;
    struct err e = {0};
    (void)state;
    use("west", 1);
    calls_plan(&(struct call_plan){.function = "vm_run", .fails = ERR_CAPACITY, .times = 1});
    launch_wide();
    MUST(circuit_load(world.worker.ledger, "target:@east", &c, &e));
    assert_true(circuit_is_open(&c, world.now_ms));
    MUST(circuit_load(world.worker.ledger, "target:@west", &c, &e));
    assert_false(circuit_is_open(&c, world.now_ms));
    MUST(circuit_load(world.worker.ledger, "class:wide", &c, &e));
    assert_false(circuit_is_open(&c, world.now_ms));
}

static void what_fails_everywhere_goes_back_unspent(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){.function = "vm_run", .fails = ERR_CAPACITY, .times = 9});
    launch_wide();
    assert_int_equal(calls_count("vm_run", NULL), 2);
    assert_int_equal(calls_done("queue_nack", NULL), 1);
    assert_int_equal(calls_count("queue_nack", "spent"), 0);
}

static void what_is_about_github_or_the_job_is_not_tried_elsewhere(void **state)
{
    static const struct call_plan cases[] = {
        {.function = "github_register_runner", .fails = ERR_RETRY, .times = 1},
        {.function = "vm_run", .fails = ERR_CONFLICT, .times = 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        calls_plan(&cases[i]);
        launch_wide();
        assert_int_equal(calls_count("github_register_runner", NULL), 1);
        assert_int_equal(calls_done("queue_nack", NULL), 1);
        assert_false(is_in_timeline("elsewhere", ""));
    }
}

/* Another launch took the last slot there meanwhile. */
static void east_fills_up(void)
{
    use("east", 5);
}

static void target_that_fills_up_meanwhile_is_left_to_another(void **state)
{
    (void)state;
    use("west", 1);
    calls_plan(&(struct call_plan){.function = "ledger_reserve", .happens = east_fills_up});
    launch_wide();
    assert_string_equal(target_of(VM_LAUNCHED), "west");
    assert_int_equal(calls_count("ledger_reserve", NULL), 2);
    assert_int_equal(calls_count("github_register_runner", NULL), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, launch_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_goes_where_the_free_share_is_the_largest),
        CASE(target_whose_vms_may_be_unknown_gets_none),
        CASE(full_targets_leave_the_message),
        CASE(what_fails_at_one_target_is_tried_at_the_next_at_once),
        CASE(quota_opens_the_circuit_of_its_target_alone),
        CASE(what_fails_everywhere_goes_back_unspent),
        CASE(what_is_about_github_or_the_job_is_not_tried_elsewhere),
        CASE(target_that_fills_up_meanwhile_is_left_to_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
