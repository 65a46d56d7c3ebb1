/*
 * VMs without a row: each may run a job, so it lives until its deadline, unless its runner is known and
 * has left GitHub.
 */
#include <stdlib.h>

#include "common/job/vm_name.h"
#include "common/ledger/kinds.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

static struct vm_info *listed; /* the VM that every test is about */

static void vm_ends(void)
{
    listed->state = VM_RUN_ENDED;
}

static struct vm_info *add_orphan(const char *name, int64_t age_ms)
{
    listed = world_list_vm(name, VM_RUN_RUNNING);
    listed->started_ms = clock_wall_ms() - age_ms;
    return listed;
}

static void add_late_orphan(void)
{
    (void)add_orphan("mf-c28ee50a-t-a", HOUR_MS + SECOND_MS + 1);
}

static void orphan_past_its_deadline_is_ended_by_its_id_at_its_provider(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", HOUR_MS + SECOND_MS - 15);
    sweep_times(2);
    world_assert_nothing_ended();
    sweep_times(1);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
    assert_string_equal(calls_args("vm_terminate", NULL, 1),
                        "class=small id=id-mf-c28ee50a-t-a grace_ms=0");
    listed = world_add_large_machine("mf-c28ee50a-t-b", VM_RUN_RUNNING);
    listed->started_ms = clock_wall_ms() - 2 * HOUR_MS - 2 * SECOND_MS;
    sweep_times(3);
    assert_int_equal(calls_done("vm_terminate", NULL), 2);
    assert_string_equal(calls_args("vm_terminate", NULL, 2),
                        "class=large id=id-mf-c28ee50a-t-b grace_ms=0");
}

/* The registration is what it is judged by: it is not stale. */
static void orphan_whose_runner_stays_offline_ends(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    world_sweep(3, MINUTE_MS);
    world_assert_nothing_ended();
    world_sweep(1, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", "class=small id=id-mf-c28ee50a-t-a"), 1);
    assert_int_equal(scripted_github.deleted, 1);
}

static void orphan_whose_registration_cannot_be_deleted_lives(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", false, false);
    world_fail("github_delete_runner", NULL, ERR_CONFLICT);
    world_sweep(10, MINUTE_MS);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static void orphan_whose_runner_is_up_or_unknown_lives_until_its_deadline(void **state)
{
    for (int i = 0; i < 3; i++) {
        world_anew();
        (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
        if (i < 2) {
            (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, i == 1);
        }
        world_sweep(50, MINUTE_MS);
        world_assert_nothing_ended();
        world_sweep(10, MINUTE_MS);
        assert_int_equal(calls_done("vm_terminate", NULL), 1);
    }
}

/* --- of a class whose VMs carry no names --- */

static struct vm_info *add_unnamed(const char *id, int64_t age_ms)
{
    listed = world_add_large_machine(id, VM_RUN_RUNNING);
    listed->started_ms = clock_wall_ms() - age_ms;
    return listed;
}

static struct github_runner *add_unmatched(const char *scope, bool online, bool busy)
{
    char name[VM_NAME_SIZE];
    vm_name_make("t", "large", name);
    struct github_runner *r = scripted_github_add_runner(name, online, busy);
    scripted_github.runner_scope[scripted_github.runner_count - 1] = scope;
    return r;
}

/* As with a personal token: nobody knows all scopes, so it may run a job in another. */
static void orphan_without_a_name_lives_until_its_deadline(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    world_fail("github_list_installations", NULL, ERR_AUTH);
    world_sweep(110, MINUTE_MS);
    world_assert_nothing_ended();
    world_sweep(10, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
}

/* Nor is one that lives on known to be the one that works. */
static void no_orphan_ends_while_a_runner_without_a_row_is_up(void **state)
{
    static const char *const scopes[] = {"acme", "other"};
    for (int i = 0; i < 4; i++) {
        world_anew();
        (void)add_unnamed("a", 301 * SECOND_MS);
        (void)add_unnamed("b", 301 * SECOND_MS);
        struct github_runner *r = add_unmatched(scopes[i % 2], i < 2, i >= 2);
        world_sweep(20, MINUTE_MS);
        world_assert_nothing_ended();
        r->online = r->busy = false; /* its registration is stale then, and is deleted */
        world_sweep(3, MINUTE_MS);
        assert_int_equal(scripted_github.deleted, 1);
        assert_int_equal(world_ended(), 0);
        world_sweep(1, MINUTE_MS);
        assert_int_equal(world_ended(), 2);
    }
}

/* A launch that ended with its ledger has left it. Else these VMs would hold their slots until their
 * deadlines: a full fleet launches nothing by which the ledger would learn of the scope. */
static void registration_without_a_vm_in_a_forgotten_scope_is_deleted(void **state)
{
    struct github_installation of = {.id = 22, .owner = "third", .is_organization = true};
    scripted_github.installations[0] = of;
    scripted_github.installation_count = 1;
    (void)add_unnamed("a", 301 * SECOND_MS);
    (void)add_unmatched("third", false, false);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(scripted_github.deleted, 1);
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

/* The ledger was emptied: GitHub knows where the App is installed. */
static void runner_in_a_scope_that_the_ledger_forgot_counts(void **state)
{
    struct github_installation of = {.id = 22, .owner = "third", .is_organization = true};
    scripted_github.installations[0] = of;
    scripted_github.installation_count = 1;
    (void)add_unnamed("a", 301 * SECOND_MS);
    (void)add_unmatched("third", true, true);
    world_sweep(5, MINUTE_MS);
    world_assert_nothing_ended();
    scripted_github.installations[0].suspended = true; /* nobody can list them */
    scripted_github.runner_scope[0] = NULL;
    world_sweep(5, MINUTE_MS);
    world_assert_nothing_ended();
    scripted_github.installations[0].suspended = false;
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

static void repositories_of_a_user_are_scopes(void **state)
{
    struct github_installation of = {.id = 22, .owner = "someone", .is_organization = false};
    scripted_github.installations[0] = of;
    scripted_github.installation_count = 1;
    scripted_github.repositories[0] = "someone/app";
    scripted_github.repository_count = 1;
    (void)add_unnamed("a", 301 * SECOND_MS);
    (void)add_unmatched("someone/app", true, true);
    world_sweep(5, MINUTE_MS);
    world_assert_nothing_ended();
    assert_true(calls_count("github_list_runners", "scope=someone/app") > 0);
    world_fail("github_list_repositories", NULL, ERR_RETRY);
    scripted_github.runner_scope[0] = NULL;
    world_sweep(5, MINUTE_MS);
    world_assert_nothing_ended();
    world_heal();
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

static void list_that_fails_makes_no_class_quiet(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    world_fail("github_list_runners", "scope=other", ERR_THROTTLED);
    world_sweep(5, MINUTE_MS);
    world_assert_nothing_ended();
    world_heal();
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

/* Those of rows are matched. */
static void registrations_of_rows_are_nothing_to_orphans(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    char name[VM_NAME_SIZE];
    vm_name_make("t", "large", name);
    struct ledger_vm *vm = world_add_large_vm(name, VM_LAUNCHED, SECOND_MS);
    (void)world_add_runner_of(vm, true, false);
    (void)add_unnamed(name, SECOND_MS);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
    assert_int_equal(vm->state, VM_LAUNCHED);
}

/* The deployment was renamed, and its VMs work on. */
static void runner_of_another_deployments_class_counts_while_it_is_up(void **state)
{
    char name[VM_NAME_SIZE];
    vm_name_make("former", "large", name);
    (void)add_unnamed("a", 301 * SECOND_MS);
    struct github_runner *r = scripted_github_add_runner(name, true, true);
    world_sweep(5, MINUTE_MS);
    assert_int_equal(world_ended(), 0);
    r->online = r->busy = false;
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

/* GitHub has no runner for any of them: that is no absence for the brake. */
static void orphans_of_a_quiet_class_are_not_held(void **state)
{
    for (int i = 0; i < 8; i++) {
        char id[] = {'a', (char)('0' + i), '\0'};
        (void)add_unnamed(id, 301 * SECOND_MS);
    }
    world_sweep(3, MINUTE_MS);
    assert_int_equal(world_ended(), 8);
}

/* Its runner may be one of the deployment's former name, which registers before its VM boots. */
static void young_orphan_may_still_boot_while_a_runner_is_registered(void **state)
{
    char name[VM_NAME_SIZE];
    vm_name_make("former", "large", name);
    (void)add_unnamed("a", 100 * SECOND_MS);
    (void)scripted_github_add_runner(name, false, false);
    world_sweep(4, MINUTE_MS);
    assert_int_equal(world_ended(), 0);
    world_sweep(2, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

static void young_orphan_whose_runner_is_gone_ends(void **state)
{
    (void)add_unnamed("a", 0);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
}

/* The lists were read before it was requested, and so before its runner was registered. */
static void orphan_that_appears_in_a_quiet_class_needs_two_lists_of_its_own(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    world_sweep(2, MINUTE_MS);
    (void)add_unnamed("b", 301 * SECOND_MS);
    world_sweep(1, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", "id=id-a"), 1);
    assert_int_equal(calls_count("vm_terminate", "id=id-b"), 0);
    world_sweep(2, MINUTE_MS);
    assert_int_equal(calls_done("vm_terminate", "id=id-b"), 1);
}

static char launched_later[VM_NAME_SIZE];

static void launch_begins(void)
{
    struct ledger_vm *vm = world_add_large_vm(launched_later, VM_REGISTERED, 0);
    vm->heartbeat_ms = clock_wall_ms();
}

/* Each sweep meets launches whose rows were added after it had read the rows. */
static void class_is_quiet_although_launches_go_on(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    for (int i = 0; i < 3; i++) {
        vm_name_make("t", "large", launched_later);
        (void)scripted_github_add_runner(launched_later, false, false);
        world_happens("github_list_runners", NULL, 1, launch_begins);
        world_sweep(1, SECOND_MS);
    }
    assert_int_equal(calls_done("vm_terminate", "id=id-a"), 1);
    assert_int_equal(world_ended(), 1);
}

/* Of a ledger that was restored to a moment before the VM was recorded: it may be that row's. */
static void orphan_that_may_be_that_of_a_row_without_an_id_is_not_judged(void **state)
{
    (void)add_unnamed("a", SECOND_MS);
    sweep_times(2);
    struct ledger_vm *vm = world_add_large_vm("mf-t-a", VM_REGISTERED, SECOND_MS);
    vm->vm_id[0] = '\0';
    vm->heartbeat_ms = clock_wall_ms() + HOUR_MS; /* its launch goes on */
    (void)world_add_runner_of(vm, true, true);
    world_sweep(5, SECOND_MS);
    assert_int_equal(world_ended(), 0);
    (void)snprintf(vm->vm_id, sizeof vm->vm_id, "id-another");
    world_sweep(3, SECOND_MS);
    assert_int_equal(calls_done("vm_terminate", "id=id-a"), 1);
}

/* The second list counts from confirm_after on, and is read then, not a scan interval later. */
static void orphan_ends_as_soon_as_the_second_list_counts(void **state)
{
    world_end();
    world_begin(WORLD_CONFIG(
        "\"reaper\": {\"vm_list_interval\": \"0s\", \"stale_runner_scan_interval\": \"10m\", "
        "\"confirm_after\": \"1m\", \"startup_timeout\": \"5m\"}",
        WORLD_SMALL("\"max_vms\": 4") ", " WORLD_LARGE("\"max_vms\": 4")));
    (void)add_unnamed("a", 301 * SECOND_MS);
    world_sweep(6, 10 * SECOND_MS);
    assert_int_equal(world_ended(), 0);
    world_sweep(2, 10 * SECOND_MS);
    assert_int_equal(world_ended(), 1);
}

/* --- the slot of a VM without a row --- */

static struct ledger_vm adopted_row(void)
{
    struct ledger_vm *list = NULL;
    struct ledger_vm vm = {.name = ""};
    size_t n = 0;
    struct err e;
    ASSERT(ledger_vm_list(world.ledger, 1u << VM_BUSY, "", 10, &list, &n, &e) == 0 && n <= 1);
    if (n == 1) {
        vm = list[0];
    }
    free(list);
    return vm;
}

static void orphan_holds_a_slot_with_its_providers_deadline(void **state)
{
    add_unnamed("a", 301 * SECOND_MS)->max_duration_ms = HOUR_MS;
    (void)add_unmatched("acme", true, true);
    sweep_times(2);
    struct ledger_vm vm = adopted_row();
    assert_true(ledger_vm_is_adopted(&vm));
    assert_string_equal(vm.vm_id, "id-a");
    assert_string_equal(vm.class_name, "large");
    assert_string_equal(vm.provider, "lambda");
    assert_string_equal(vm.host, "");
    assert_int_equal(vm.deadline_ms, listed->started_ms + HOUR_MS);
    world_sweep(54, MINUTE_MS); /* the VM's own, not the class's two hours */
    world_assert_nothing_ended();
    world_sweep(3, MINUTE_MS);
    assert_int_equal(world_ended(), 1);
    assert_string_equal(memory_vm(world.url, vm.name)->end_reason,
                        "deadline: it ran longer than max_duration");
}

/* It has ended and is forgotten: its slot must not wait for its deadline. */
static void slot_of_an_adopted_vm_is_free_when_its_provider_no_longer_knows_it(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    (void)add_unmatched("acme", true, true);
    sweep_times(2);
    struct ledger_vm vm = adopted_row();
    scripted_vms.count = 0;
    world_fail("vm_list", "class=large", ERR_PERMANENT);
    world_sweep(5, MINUTE_MS);
    world_heal();
    world_fail("vm_describe", NULL, ERR_PERMANENT);
    world_sweep(5, MINUTE_MS);
    world_assert_nothing_ended();
    world_heal();
    world_sweep(1, MINUTE_MS); /* once is not enough */
    world_assert_nothing_ended();
    world_sweep(1, MINUTE_MS);
    assert_int_equal(memory_vm(world.url, vm.name)->state, VM_GONE);
    assert_string_equal(memory_vm(world.url, vm.name)->end_reason,
                        "the provider no longer knows the VM");
}

static void named_orphan_has_its_own_name_and_host(void **state)
{
    (void)add_orphan("mf-c28ee50a-t-a", 301 * SECOND_MS);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, true);
    sweep_times(2);
    struct ledger_vm vm = adopted_row();
    assert_string_equal(vm.name, "mf-c28ee50a-t-a");
    assert_string_equal(vm.host, fleet_host(reaper.fleet));
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 1);
}

static void orphan_of_a_lost_response_holds_no_second_slot(void **state)
{
    (void)world_add_unanswered("mf-c28ee50a-t-a", 10 * MINUTE_MS);
    (void)add_unnamed("of-a", 10 * MINUTE_MS);
    world_sweep(3, SECOND_MS);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
}

/* Rows are read before the lists. */
static void orphan_holds_its_slot_when_a_second_sweep_sees_it(void **state)
{
    (void)add_unnamed("a", 0);
    sweep_times(1);
    assert_int_equal(calls_count("ledger_vm_adopt", NULL), 0);
    sweep_times(1);
    assert_int_equal(calls_done("ledger_vm_adopt", NULL), 1);
}

/* Its row ended, and the list is late; or its row was lost, with the ledger. */
static void orphan_whose_row_was_seen_is_one_if_the_row_was_lost(void **state)
{
    for (int lost = 0; lost <= 1; lost++) {
        world_anew();
        struct ledger_vm *vm = world_add_large_vm("mf-t-a", VM_BUSY, SECOND_MS);
        (void)add_unnamed("mf-t-a", SECOND_MS);
        sweep_times(1);
        world_move(vm, VM_GONE);
        if (lost == 1) {
            struct err e;
            int64_t removed = 0;
            MUST(ledger_tidy(world.ledger, INT64_MAX - 1, 100, &removed, &e));
        }
        world_sweep(lost == 1 ? 1 : 5, SECOND_MS);
        assert_int_equal(calls_count("ledger_vm_adopt", NULL), lost);
    }
}

/* Of what `mayflyctl status` says about the reaper. */
static const char *first_notice(void)
{
    static char text[LEDGER_CELL_VALUE];
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_cell_list(world.ledger, LEDGER_KIND_NOTICE, &cells, &n, &e));
    (void)snprintf(text, sizeof text, "%s", n > 0 ? cells[0].value : "");
    free(cells);
    return text;
}

/* It ended by itself, and its provider says so. */
static void slot_of_an_orphan_that_ended_is_free(void **state)
{
    (void)add_unnamed("a", 301 * SECOND_MS);
    (void)add_unmatched("acme", true, true);
    sweep_times(2);
    assert_string_equal(adopted_row().vm_id, "id-a");
    assert_string_equal(first_notice(),
                        "class large: 1 VMs have no row of a launch in the ledger, and 1 runners "
                        "without a row are registered; these VMs hold slots until no such runner "
                        "is, or until their deadline");
    listed->state = VM_RUN_ENDED;
    sweep_times(1);
    assert_string_equal(adopted_row().vm_id, "");
    assert_string_equal(first_notice(), "");
    assert_int_equal(world_ended(), 1);
}

static void gets_a_row(void)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_REGISTERED, 0);
}

static void gets_a_row_that_ends(void)
{
    (void)world_add_vm("mf-c28ee50a-t-a", VM_ENDING, 0);
}

/* --- second looks --- */

static void orphan_that_gets_a_row_or_ends_at_the_second_look_lives(void **state)
{
    void (*const events[])(void) = {gets_a_row, gets_a_row_that_ends, vm_ends};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        world_anew();
        add_late_orphan();
        world_happens("vm_describe", NULL, 1, events[i]);
        sweep_times(2);
        assert_int_equal(calls_count("vm_describe", NULL), 1);
        world_assert_nothing_ended();
    }
}

static void orphan_of_a_row_that_is_gone_ends_with_its_runner(void **state)
{
    (void)world_add_running("mf-c28ee50a-t-a", VM_GONE, HOUR_MS / 2);
    scripted_vms.list[0].info.started_ms = clock_wall_ms() - HOUR_MS / 2;
    world_fail("github_list_runners", NULL, ERR_RETRY);
    sweep_times(3);
    world_assert_nothing_ended();
    world_heal();
    world_pass(5 * SECOND_MS); /* until the probe of GitHub's circuit */
    sweep_times(2);
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
}

static void orphan_is_left_alone_when_a_second_look_fails(void **state)
{
    static const struct {
        const char *function;
        const char *with;
    } looks[] = {
        {"vm_describe", NULL}, {"ledger_vm_get", NULL}, {"ledger_rate_take", "terminate/"}};
    add_late_orphan();
    sweep_times(1);
    for (size_t i = 0; i < COUNT_OF(looks); i++) {
        size_t before = calls_count(looks[i].function, looks[i].with);
        world_fail(looks[i].function, looks[i].with, ERR_RETRY);
        sweep_times(1);
        assert_true(calls_count(looks[i].function, looks[i].with) > before);
        world_assert_nothing_ended();
        world_heal();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(orphan_past_its_deadline_is_ended_by_its_id_at_its_provider),
        CASE(orphan_whose_runner_stays_offline_ends),
        CASE(orphan_whose_registration_cannot_be_deleted_lives),
        CASE(orphan_whose_runner_is_up_or_unknown_lives_until_its_deadline),
        CASE(orphan_without_a_name_lives_until_its_deadline),
        CASE(no_orphan_ends_while_a_runner_without_a_row_is_up),
        CASE(registration_without_a_vm_in_a_forgotten_scope_is_deleted),
        CASE(runner_in_a_scope_that_the_ledger_forgot_counts),
        CASE(repositories_of_a_user_are_scopes),
        CASE(list_that_fails_makes_no_class_quiet),
        CASE(registrations_of_rows_are_nothing_to_orphans),
        CASE(runner_of_another_deployments_class_counts_while_it_is_up),
        CASE(orphans_of_a_quiet_class_are_not_held),
        CASE(young_orphan_may_still_boot_while_a_runner_is_registered),
        CASE(young_orphan_whose_runner_is_gone_ends),
        CASE(orphan_that_appears_in_a_quiet_class_needs_two_lists_of_its_own),
        CASE(class_is_quiet_although_launches_go_on),
        CASE(orphan_that_may_be_that_of_a_row_without_an_id_is_not_judged),
        CASE(orphan_ends_as_soon_as_the_second_list_counts),
        CASE(orphan_holds_a_slot_with_its_providers_deadline),
        CASE(slot_of_an_adopted_vm_is_free_when_its_provider_no_longer_knows_it),
        CASE(named_orphan_has_its_own_name_and_host),
        CASE(orphan_of_a_lost_response_holds_no_second_slot),
        CASE(orphan_holds_its_slot_when_a_second_sweep_sees_it),
        CASE(orphan_whose_row_was_seen_is_one_if_the_row_was_lost),
        CASE(slot_of_an_orphan_that_ended_is_free),
        CASE(orphan_that_gets_a_row_or_ends_at_the_second_look_lives),
        CASE(orphan_of_a_row_that_is_gone_ends_with_its_runner),
        CASE(orphan_is_left_alone_when_a_second_look_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
