/*
 * Dead letters: those whose job is over are deleted after their time, and no others.
 */
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES; /* its retention is 7 hours */

/* --- calls that fail --- */
static enum err_class get_fails; /* ERR_NONE: it works */

int __real_ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e);
int __wrap_ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e);

int __wrap_ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e)
{
    return get_fails != ERR_NONE ? err_set(e, get_fails, 0, "as the test wants it")
                                 : __real_ledger_job_get(l, job_id, out, e);
}

static int set_up(void **state)
{
    int rc = world_set_up(state);
    world_empty_queue();
    get_fails = ERR_NONE;
    return rc;
}

/* --- what is there --- */
static struct ledger_job *add_job(int64_t id, enum ledger_job_state state)
{
    struct ledger_job *j = world_add_job(id, state == JOB_RUNNING ? "in_progress" : "completed");
    j->state = state;
    j->running_ms = j->updated_ms = state == JOB_RUNNING ? clock_wall_ms() : 0;
    j->ended_ms = state == JOB_DONE || state == JOB_CANCELLED ? clock_wall_ms() : 0;
    return j;
}

/* The keys of the dead letters, oldest first, each followed by a comma. */
static void assert_dead(const char *keys)
{
    struct queue_entry *entries = NULL;
    char all[64] = "";
    size_t n = 0;
    struct err e;
    MUST(queue_dead(world.queue, NULL, 100, &entries, &n, &e));
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(all);
        (void)snprintf(all + len, sizeof all - len, "%s,", entries[i].message.key);
    }
    queue_entries_free(entries, n);
    assert_string_equal(all, keys);
}

static void add_dead_letters(void)
{
    static const char *const keys[] = {"1", "2", "3", "", "4", "5"};
    (void)add_job(1, JOB_DONE);
    (void)add_job(2, JOB_RUNNING);
    (void)add_job(3, JOB_CANCELLED);
    add_job(5, JOB_SEEN)->updated_ms = clock_wall_ms() + 1000 * HOUR_MS;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        world_add_messages("launch.small", QUEUE_DEAD, keys[i], 1);
    }
}

static void dead_letter_is_deleted_when_its_job_has_been_over_for_the_retention(void **state)
{
    int64_t before = world_task_done("dead_letters");
    add_dead_letters();
    sweep(&reaper);
    assert_dead("1,2,3,,4,5,");
    world_pass(6 * HOUR_MS);
    sweep(&reaper);
    assert_dead("1,2,3,,4,5,");
    world_pass(2 * HOUR_MS);
    sweep(&reaper);
    assert_dead("2,,4,5,");
    assert_int_equal(world_task_done("dead_letters") - before, 2);
}

static void dead_letter_of_an_unknown_job_is_deleted_when_github_has_given_the_job_up(void **state)
{
    add_dead_letters();
    world_pass(23 * HOUR_MS);
    sweep(&reaper);
    assert_dead("2,,4,5,");
    world_pass(2 * HOUR_MS);
    sweep(&reaper);
    assert_dead("2,,5,");
}

static void dead_letters_stay_while_the_ledger_does_not_respond(void **state)
{
    int64_t errors = world_task_errors("dead_letters");
    add_dead_letters();
    world_pass(30 * HOUR_MS);
    get_fails = ERR_RETRY;
    sweep(&reaper);
    assert_dead("1,2,3,,4,5,");
    assert_int_equal(world_task_errors("dead_letters") - errors, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            dead_letter_is_deleted_when_its_job_has_been_over_for_the_retention, set_up,
            world_tear_down),
        cmocka_unit_test_setup_teardown(
            dead_letter_of_an_unknown_job_is_deleted_when_github_has_given_the_job_up, set_up,
            world_tear_down),
        cmocka_unit_test_setup_teardown(dead_letters_stay_while_the_ledger_does_not_respond, set_up,
                                        world_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
