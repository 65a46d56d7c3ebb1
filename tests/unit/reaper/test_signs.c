/*
 * Signs: what a sweep saw once is acted upon when a later one sees it still, long enough after; and
 * what reapers that take over from one another make of that.
 */
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

#define CONFIRM_MS (60 * SECOND_MS) /* reaper.confirm_after, by default */
#define INTERVAL_MS (10 * SECOND_MS)
#define LEASE_MS (30 * SECOND_MS)

/* --- the table --- */

static const struct sign_of orphan = {SIGN_ORPHAN_VM, "small", "vm-1"};

/* Sees the orphan in a sweep of its own, whose scan is complete. */
static bool see_in_a_sweep(struct signs *t, int64_t now_ms)
{
    signs_begin(t, 1);
    bool confirmed = signs_see(t, &orphan, now_ms, CONFIRM_MS);
    signs_scan_ended(t, orphan.kind, orphan.source);
    return confirmed;
}

static void sign_is_confirmed_by_one_that_comes_late_enough(void **state)
{
    struct signs t = {0};
    assert_false(see_in_a_sweep(&t, 5000));
    assert_false(see_in_a_sweep(&t, 5000 + CONFIRM_MS - 1));
    assert_true(see_in_a_sweep(&t, 5000 + CONFIRM_MS));
    assert_true(see_in_a_sweep(&t, 5000 + CONFIRM_MS + 1)); /* until somebody acted upon it */
    signs_fini(&t);
}

static void one_sweep_confirms_nothing_however_long_it_takes(void **state)
{
    struct signs t = {0};
    signs_begin(&t, 1);
    assert_false(signs_see(&t, &orphan, 5000, 0));
    assert_false(signs_see(&t, &orphan, 5000 + 2 * CONFIRM_MS, 0));
    signs_begin(&t, 1);
    assert_true(signs_see(&t, &orphan, 5000 + 2 * CONFIRM_MS, 0));
    signs_fini(&t);
}

static void sign_that_a_complete_look_did_not_see_is_forgotten(void **state)
{
    struct signs t = {0};
    assert_false(see_in_a_sweep(&t, 5000));
    signs_begin(&t, 1);
    signs_scan_ended(&t, SIGN_ORPHAN_VM, "large");   /* other VMs */
    signs_scan_ended(&t, SIGN_VM_VANISHED, "small"); /* something else about these */
    assert_true(see_in_a_sweep(&t, 5000 + CONFIRM_MS));
    signs_begin(&t, 1);
    signs_scan_ended(&t, SIGN_ORPHAN_VM, "small");
    assert_false(see_in_a_sweep(&t, 5000 + 2 * CONFIRM_MS));
    signs_fini(&t);
}

static void look_that_cannot_tell_neither_confirms_nor_forgets(void **state)
{
    struct signs t = {0};
    signs_begin(&t, 1);
    signs_unsure(&t, &orphan); /* nor does it enter what was never seen */
    assert_false(see_in_a_sweep(&t, 5000 + CONFIRM_MS));
    signs_begin(&t, 1); /* this one did not scan */
    signs_begin(&t, 1);
    signs_unsure(&t, &orphan);
    signs_scan_ended(&t, SIGN_ORPHAN_VM, "small");
    assert_true(see_in_a_sweep(&t, 5000 + 2 * CONFIRM_MS));
    signs_fini(&t);
}

static void signs_are_told_apart_by_kind_source_and_subject(void **state)
{
    const struct sign_of others[] = {{SIGN_VM_VANISHED, "small", "vm-1"},
                                     {SIGN_ORPHAN_VM, "large", "vm-1"},
                                     {SIGN_ORPHAN_VM, "small", "vm-11"}};
    struct signs t = {0};
    assert_false(see_in_a_sweep(&t, 5000));
    signs_begin(&t, 1);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_false(signs_see(&t, &others[i], 5000 + CONFIRM_MS, CONFIRM_MS));
    }
    assert_true(signs_see(&t, &orphan, 5000 + CONFIRM_MS, CONFIRM_MS));
    signs_fini(&t);
}

static void lease_that_was_anothers_meanwhile_takes_the_memory_with_it(void **state)
{
    struct signs t = {0};
    assert_false(see_in_a_sweep(&t, 5000));
    signs_begin(&t, 2);
    assert_false(signs_see(&t, &orphan, 5000 + CONFIRM_MS, CONFIRM_MS));
    signs_begin(&t, 2);
    assert_true(signs_see(&t, &orphan, 5000 + 2 * CONFIRM_MS, CONFIRM_MS));
    signs_fini(&t);
}

static bool see_number(struct signs *t, int number, int64_t now_ms)
{
    char subject[32];
    (void)snprintf(subject, sizeof subject, "vm-%d", number);
    const struct sign_of of = {SIGN_ORPHAN_VM, "small", subject};
    return signs_see(t, &of, now_ms, CONFIRM_MS);
}

static void full_table_keeps_what_it_has_and_takes_new_signs_for_stale_ones(void **state)
{
    struct signs t = {0};
    signs_begin(&t, 1);
    for (int i = 0; i < SIGNS_MAX; i++) {
        assert_false(see_number(&t, i, 5000 + i));
    }
    assert_false(see_number(&t, SIGNS_MAX, 5000 + SIGNS_MAX)); /* one too many */
    signs_begin(&t, 1);
    assert_false(see_number(&t, SIGNS_MAX, 5000 + SIGNS_MAX + CONFIRM_MS));
    for (int i = 1; i < SIGNS_MAX; i++) {
        assert_true(see_number(&t, i, 5000 + SIGNS_MAX + CONFIRM_MS));
    }
    /* The first one was seen at 5000 and not since: it is replaced, one millisecond later only. */
    signs_begin(&t, 1);
    assert_false(see_number(&t, SIGNS_MAX, 5000 + 2 * CONFIRM_MS - 1));
    assert_false(see_number(&t, SIGNS_MAX + 1, 5000 + 2 * CONFIRM_MS));
    signs_begin(&t, 1);
    assert_true(see_number(&t, SIGNS_MAX + 1, 5000 + 3 * CONFIRM_MS));
    assert_int_equal(t.count, SIGNS_MAX);
    signs_fini(&t);
}

/* --- reapers that take over from one another --- */

const char world_config[] = WORLD_CONFIG("\"reaper\": {\"interval\": \"10s\", \"lease_duration\": "
                                         "\"30s\", \"stale_runner_scan_interval\": \"10s\"}",
                                         WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"10h\""));

static struct reaper second;
static struct reaper *const reapers[] = {&reaper, &second};

static int set_up_two(void **state)
{
    (void)world_set_up(state);
    world_add_reaper(&second, world_config, "two");
    return 0;
}

static int tear_down_two(void **state)
{
    world_close_reaper(&second);
    return world_tear_down(state);
}

/* Every termination that needs two signs, except of VMs without names. */
static void add_all_that_is_due(void)
{
    (void)world_add_missing("mf-c28ee50a-t-vanished", VM_BUSY);
    (void)world_add_vm("mf-c28ee50a-t-unfinished", VM_RESERVED, 3600 * SECOND_MS);
    (void)world_add_running("mf-c28ee50a-t-offline", VM_LAUNCHED, 600 * SECOND_MS);
    world_list_vm("mf-c28ee50a-t-orphan", VM_RUN_RUNNING)->started_ms =
        clock_wall_ms() - 11 * HOUR_MS;
    scripted_github_add_runner("mf-c28ee50a-t-stale", false, false)->id = 77; /* no row's */
}

static int orphans_ended(void)
{
    return (int)calls_done("vm_terminate", "class=small id=id-mf-c28ee50a-t-orphan grace_ms=0");
}

static int stale_deleted(void)
{
    return (int)calls_done("github_delete_runner", "scope=acme id=77");
}

static int ended(void)
{
    return world_ended() + orphans_ended() + stale_deleted();
}

/* One interval in the life of two reapers of which one may be dead. */
static void pass_an_interval(bool first_lives, bool second_lives)
{
    world_pass(INTERVAL_MS);
    if (first_lives) {
        sweep(&reaper);
    }
    if (second_lives) {
        sweep(&second);
    }
}

static void assert_lease_of(const struct reaper *r)
{
    struct err e;
    struct ledger_cell cell; /* "<until> <ttl> <fence> <holder>" */
    char value[128];
    MUST(ledger_cell_get(world.ledger, "lease", "sweep", &cell, &e));
    (void)snprintf(value, sizeof value, "%lld %lld %lld %s", (long long)(world.now_ms + LEASE_MS),
                   (long long)LEASE_MS, (long long)r->fleet_signs.fence, r->holder);
    assert_string_equal(cell.value, value);
}

/* Twenty holders one after the other, none of which holds the lease for as long as it takes to
 * confirm anything; every other one drains, the rest are killed. `held` is the last one's. */
static int change_holders(void)
{
    int holder = 0;
    sweep(&reaper);
    for (int change = 0; change < 20; change++) {
        for (int i = 0; i < 1 + change % 5; i++) {
            pass_an_interval(holder == 0, holder == 1);
            sweep(reapers[1 - holder]); /* in vain */
        }
        if (change % 2 == 0) {
            reaper_release_leases(reapers[holder]);
        } else {
            world_pass(LEASE_MS);
        }
        holder = 1 - holder;
        sweep(reapers[holder]);
        assert_lease_of(reapers[holder]);
    }
    return holder;
}

static void all_that_is_due_ends_soon_after_the_last_of_twenty_changes(void **state)
{
    add_all_that_is_due();
    int holder = change_holders();
    assert_int_equal(ended(), 0);
    reaper_release_leases(reapers[holder]);
    int64_t changed_ms = world.now_ms;
    while (ended() < 5 && world.now_ms < changed_ms + CONFIRM_MS + 3 * INTERVAL_MS) {
        pass_an_interval(holder == 1, holder == 0);
    }
    assert_int_equal(world_ended(), 3);
    assert_int_equal(orphans_ended(), 1);
    assert_int_equal(stale_deleted(), 1);
    assert_true(world.now_ms >= changed_ms + CONFIRM_MS);
}

static void all_that_is_due_ends_soon_after_the_last_of_twenty_holders_was_killed(void **state)
{
    add_all_that_is_due();
    int holder = change_holders();
    int64_t killed_ms = world.now_ms;
    while (ended() < 5 && world.now_ms < killed_ms + LEASE_MS + CONFIRM_MS + 3 * INTERVAL_MS) {
        pass_an_interval(holder == 1, holder == 0);
    }
    assert_int_equal(ended(), 5);
    assert_true(world.now_ms >= killed_ms + LEASE_MS + CONFIRM_MS - INTERVAL_MS);
}

/* What was seen long ago under another's lease says nothing about what is now. */
static void reaper_that_held_the_lease_before_starts_anew(void **state)
{
    add_all_that_is_due();
    sweep(&reaper);
    reaper_release_leases(&reaper);
    world_pass(CONFIRM_MS);
    sweep(&second);
    reaper_release_leases(&second);
    sweep(&reaper);
    assert_int_equal(ended(), 0);
    world_pass(CONFIRM_MS);
    sweep(&reaper);
    assert_int_equal(ended(), 5);
}

/* Each of the five is due again; the sweep in between could not scan, in each of the ways. */
static void sweep_that_could_not_look_neither_confirms_nor_forgets(void **state)
{
    add_all_that_is_due();
    sweep(&reaper);
    world_pass(CONFIRM_MS);
    world_fail("vm_list", NULL, ERR_RETRY);
    world_fail("ledger_vm_get", NULL, ERR_RETRY);
    sweep(&reaper);
    world_heal();
    world_fail("ledger_vm_list", NULL, ERR_RETRY);
    sweep(&reaper);
    world_heal();
    world_fail("ledger_lease", NULL, ERR_RETRY);
    sweep(&reaper);
    world_heal();
    assert_int_equal(ended(), 0);
    world_pass(INTERVAL_MS);
    sweep(&reaper);
    assert_int_equal(ended(), 5);
}

#define WITH_TWO(name) cmocka_unit_test_setup_teardown(name, set_up_two, tear_down_two)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sign_is_confirmed_by_one_that_comes_late_enough),
        cmocka_unit_test(one_sweep_confirms_nothing_however_long_it_takes),
        cmocka_unit_test(sign_that_a_complete_look_did_not_see_is_forgotten),
        cmocka_unit_test(look_that_cannot_tell_neither_confirms_nor_forgets),
        cmocka_unit_test(signs_are_told_apart_by_kind_source_and_subject),
        cmocka_unit_test(lease_that_was_anothers_meanwhile_takes_the_memory_with_it),
        cmocka_unit_test(full_table_keeps_what_it_has_and_takes_new_signs_for_stale_ones),
        WITH_TWO(all_that_is_due_ends_soon_after_the_last_of_twenty_changes),
        WITH_TWO(all_that_is_due_ends_soon_after_the_last_of_twenty_holders_was_killed),
        WITH_TWO(reaper_that_held_the_lease_before_starts_anew),
        WITH_TWO(sweep_that_could_not_look_neither_confirms_nor_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
