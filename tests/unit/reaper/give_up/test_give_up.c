/* Jobs that are given up: which, and the answer that each gets at GitHub. */
#include "tests/unit/reaper/world.h"

#include <stdlib.h>

#include "common/ledger/give_ups.h"
#include "common/ledger/pauses.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"

#define CLEAR_MS (6 * MINUTE_MS) /* a tenth of reaper.give_up_after */
#define CLASS_VMS 6
#define REPOSITORY_VMS 3

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"give_up\": true, \"give_up_after\": \"1h\", \"interval\": \"10ms\"}, "
    "\"limits\": {\"max_vms_per_repository\": 3}",
    WORLD_SMALL("\"max_vms\": 6, \"idle_timeout\": \"5h\""));

/* --- what each test begins with --- */

static void beat_worker(void)
{
    int64_t version = 0;
    struct err e;
    struct ledger_program p = {.version = "1",
                               .oldest_format = 1,
                               .newest_format = 1,
                               .classes = "small",
                               .id = "mayfly-worker/there/1"};
    MUST(ledger_program_beat(world.ledger, &p, &version, &e));
}

/* A job of the run that waits since an hour ago, at GitHub too. */
static struct github_job *add_job(int64_t id, int64_t run_id, const char *status)
{
    struct ledger_job *job = world_add_job(id, status);
    struct github_job *at_github = &scripted_github.jobs[scripted_github.job_count - 1];
    job->facts.run_id = run_id;
    at_github->run_id = run_id;
    (void)snprintf(at_github->head_sha, sizeof at_github->head_sha, "cafe");
    return at_github;
}

/* A job of the class, which GitHub gave a runner `ago_ms` ago. */
static void add_done(int64_t ago_ms)
{
    *memory_job(world.url, 900) =
        (struct ledger_job){.facts = {.id = 900, .repository = "acme/app", .class_name = "small"},
                            .scope = "acme",
                            .state = JOB_DONE,
                            .waiting_ms = clock_wall_ms() - ago_ms - SECOND_MS,
                            .running_ms = clock_wall_ms() - ago_ms,
                            .ended_ms = clock_wall_ms()};
}

/* An idle VM that GitHub gives no job: nothing is missing, and nothing is relaunched. Others' jobs run. */
static void begin(void)
{
    beat_worker();
    world_empty_queue();
    add_done(SECOND_MS);
    (void)scripted_github_add_runner("mf-c28ee50a-t-a", true, false);
    (void)world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, SECOND_MS);
}

static void ask(int64_t job_id)
{
    struct err e;
    MUST(ledger_give_up_ask(world.ledger, job_id, "attempt 8 of 8 failed at register", &e));
}

static void sweep_for(int64_t ms)
{
    for (int64_t passed = 0; passed <= ms; passed += MINUTE_MS) {
        beat_worker();
        sweep(&reaper);
        world_pass(MINUTE_MS);
    }
}

static size_t said(void)
{
    return calls_count("github_create_check_run", NULL);
}

static size_t cancelled(void)
{
    return calls_count("github_cancel_run", NULL);
}

static size_t cells(void)
{
    struct ledger_give_up *list = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_give_up_list(world.ledger, &list, &n, &e));
    free(list);
    return n;
}

/* --- the answer --- */

static void job_that_cannot_be_launched_is_told_and_its_run_cancelled(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    ask(42);
    sweep_for(0);
    assert_int_equal(said(), 1);
    assert_int_equal(
        calls_count("github_create_check_run",
                    "repository=acme/app sha=cafe id=mayfly-job-42 name=Mayfly: build"),
        1);
    assert_int_equal(
        calls_count("github_cancel_run", "repository=acme/app installation=11 run=420."), 1);
    assert_int_equal(calls_count("ledger_log_event", "job=42 vm= what=given_up detail=attempt 8"),
                     1);
    assert_int_equal(calls_count("ledger_log_event", "job=42 vm= what=run_cancelled "), 1);
    assert_int_equal(cells(), 1);
    memory_job(world.url, 42)->state = JOB_CANCELLED; /* GitHub's event */
    sweep_for(0);
    assert_int_equal(cells(), 0);
    assert_int_equal(said() + cancelled(), 2);
}

/* GitHub cancels runs, not jobs: while another job runs or can run, the run goes on. */
static void run_is_cancelled_only_when_no_other_job_of_it_can_run(void **state)
{
    static const char *const alive[] = {"in_progress", "queued", "waiting", "pending", "requested"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(alive); i++) {
        world_anew();
        begin();
        (void)add_job(42, 420, "queued");
        struct github_job *other = scripted_github_add_job(43, alive[i]);
        other->run_id = 420;
        ask(42);
        sweep_for(3 * MINUTE_MS);
        assert_int_equal(said(), 1);
        assert_int_equal(cancelled(), 0);
        (void)snprintf(other->status, sizeof other->status, "completed");
        sweep_for(0);
        assert_int_equal(said(), 1);
        assert_int_equal(cancelled(), 1);
    }
}

static void jobs_of_a_run_that_are_all_given_up_are_cancelled_together(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    (void)add_job(43, 420, "queued");
    ask(42);
    ask(43);
    sweep_for(MINUTE_MS);
    assert_int_equal(said(), 2);
    assert_int_equal(cancelled(), 1);
}

/* It may get a runner after all, and the ledger learns of it later. */
static void job_that_was_given_up_and_runs_keeps_its_run(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    struct github_job *helped = add_job(43, 420, "queued");
    struct github_job *other = scripted_github_add_job(44, "queued");
    other->run_id = 420;
    ask(42);
    ask(43);
    sweep_for(MINUTE_MS);
    assert_int_equal(said(), 2);
    (void)snprintf(other->status, sizeof other->status, "completed");
    (void)snprintf(helped->status, sizeof helped->status, "in_progress");
    sweep_for(3 * MINUTE_MS);
    assert_int_equal(cancelled(), 0);
    (void)snprintf(helped->status, sizeof helped->status, "completed");
    sweep_for(0);
    assert_int_equal(cancelled(), 1);
}

/* Another attempt has jobs of its own. */
static void run_whose_last_attempt_does_not_have_the_job_is_spared(void **state)
{
    (void)state;
    begin();
    struct github_job *job = add_job(42, 420, "queued");
    job->run_id = 999;
    ask(42);
    sweep_for(MINUTE_MS);
    assert_int_equal(cancelled(), 0);
}

static void job_that_github_does_not_have_queued_is_not_told(void **state)
{
    static const char *const elsewhere[] = {"in_progress", "completed", "waiting"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(elsewhere); i++) {
        world_anew();
        begin();
        (void)add_job(42, 420, elsewhere[i]);
        ask(42);
        sweep_for(MINUTE_MS);
        assert_int_equal(said() + cancelled(), 0);
    }
}

static void job_with_a_vm_on_its_way_is_not_given_up(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    ask(42);
    struct ledger_vm *vm = world_add_running("mf-c28ee50a-t-b", VM_LAUNCHED, SECOND_MS);
    vm->for_job = 42;
    sweep_for(0);
    assert_int_equal(said() + cancelled(), 0);
}

/* --- crashes: a step that was made and not recorded --- */

static void step_that_was_not_recorded_is_repeated_without_harm(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    ask(42);
    world_fail("ledger_cell_put", "kind=give_up name=42 ", ERR_RETRY);
    sweep_for(0);
    assert_int_equal(said(), 1); /* of the same name: GitHub shows the newest */
    assert_int_equal(cancelled(), 0);
    world_heal();
    sweep_for(0);
    assert_int_equal(said(), 2);
    assert_int_equal(cancelled(), 1);
    sweep_for(MINUTE_MS);
    assert_int_equal(said(), 2);
    assert_int_equal(cancelled(), 1);
}

/* --- GitHub's refusals --- */

static void missing_permission_opens_no_circuit_and_is_asked_again_later(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    ask(42);
    world_fail("github_create_check_run", NULL, ERR_AUTH);
    sweep_for(3 * MINUTE_MS);
    assert_int_equal(said(), 1);
    assert_int_equal(calls_count("ledger_cell_put", "kind=circuit"), 0);
    sweep_for(3 * MINUTE_MS);
    assert_int_equal(said(), 2);
    assert_int_equal(cancelled(), 0);
}

/* Its repository is gone, or its installation's owner has not accepted the permissions. */
static void refusal_of_one_job_does_not_keep_others_from_their_answer(void **state)
{
    static const enum err_class refusals[] = {ERR_NOT_FOUND, ERR_PERMANENT, ERR_AUTH};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        world_anew();
        begin();
        (void)add_job(42, 420, "queued");
        (void)add_job(43, 430, "queued");
        ask(42);
        ask(43);
        world_fail("github_create_check_run", "id=mayfly-job-42 ", refusals[i]);
        sweep_for(MINUTE_MS);
        assert_int_equal(calls_count("github_cancel_run", "run=430."), 1);
        assert_int_equal(cancelled(), 1);
    }
}

/* --- which jobs wait for too long --- */

/* The VM that was launched for it idles: GitHub gives it no job. */
static void job_that_waits_too_long_is_given_up_once_that_was_seen_for_a_while(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    (void)scripted_github_add_runner("mf-c28ee50a-t-b", true, false);
    world_add_running("mf-c28ee50a-t-b", VM_LAUNCHED, SECOND_MS)->for_job = 42;
    sweep_for(CLEAR_MS - MINUTE_MS);
    assert_int_equal(said(), 0);
    sweep_for(MINUTE_MS);
    assert_int_equal(said(), 1);
    assert_int_equal(cancelled(), 1);
}

static void job_that_has_not_waited_long_is_left(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    memory_job(world.url, 42)->waiting_ms += 40 * MINUTE_MS;
    sweep_for(2 * CLEAR_MS);
    assert_int_equal(said(), 0);
}

static void pause_class(void)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    MUST(ledger_pause_begin(world.ledger, "small", "me", "", &p, &began, &e));
}

static void end_pause(void)
{
    struct ledger_pause p;
    struct err e;
    MUST(ledger_pause_end(world.ledger, "small", &p, &e));
}

/* An outage of any length costs time, never a job: the time begins anew when it is over. */
static void trouble_of_the_class_never_cancels(void **state)
{
    (void)state;
    begin();
    (void)add_job(42, 420, "queued");
    pause_class();
    sweep_for(30 * MINUTE_MS);
    end_pause();
    sweep_for(CLEAR_MS - MINUTE_MS);
    pause_class();
    sweep_for(0);
    end_pause();
    sweep_for(CLEAR_MS - MINUTE_MS);
    assert_int_equal(said() + cancelled(), 0);
    sweep_for(2 * MINUTE_MS);
    assert_int_equal(cancelled(), 1);
}

static void add_busy(int n, const char *repository)
{
    for (int i = 0; i < n; i++) {
        char name[40];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-full-%d", i);
        (void)scripted_github_add_runner(name, true, true);
        struct ledger_vm *vm = world_add_running(name, VM_BUSY, SECOND_MS);
        vm->job_id = 901 + i;
        (void)snprintf(vm->repository, sizeof vm->repository, "%s", repository);
    }
}

static void fill_class(void)
{
    add_busy(CLASS_VMS, "acme/other");
}

static void fill_repository(void)
{
    add_busy(REPOSITORY_VMS, "Acme/App");
}

static void add_backlog(void)
{
    world_add_messages("launch.small", QUEUE_READY, "77", 1);
}

/* For a slot of their repository, say. */
static void delay_messages(void)
{
    world_add_messages("launch.small", QUEUE_DELAYED, "77", 1);
}

/* VMs may start and never come online, or GitHub assigns no jobs: nothing that this fleet knows of. */
static void let_no_other_job_run(void)
{
    add_done(40 * MINUTE_MS);
}

/* Of its scope, that is. */
static void let_other_scopes_jobs_run(void)
{
    add_done(SECOND_MS);
    (void)snprintf(memory_job(world.url, 900)->scope, SCOPE_SIZE, "other");
}

static void open_circuit(void)
{
    struct err e;
    char value[LEDGER_CELL_VALUE];
    struct circuit c = {.since_ms = clock_wall_ms(),
                        .changed_ms = clock_wall_ms(),
                        .open_until_ms = clock_wall_ms() + 10 * HOUR_MS};
    (void)snprintf(c.why, sizeof c.why, "its image is broken");
    circuit_encode(&c, value);
    MUST(ledger_cell_put(world.ledger, "circuit", "class:small@there", value, 0, NULL, &e));
}

static void job_behind_trouble_wider_than_itself_waits_on(void **state)
{
    static void (*const troubles[])(void) = {
        fill_class,           fill_repository,          add_backlog, delay_messages, open_circuit,
        let_no_other_job_run, let_other_scopes_jobs_run};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(troubles); i++) {
        world_anew();
        begin();
        (void)add_job(42, 420, "queued");
        troubles[i]();
        sweep_for(3 * CLEAR_MS);
        assert_int_equal(said() + cancelled(), 0);
    }
}

static void job_without_a_worker_waits_on(void **state)
{
    (void)state;
    begin();
    world_pass(6 * MINUTE_MS); /* its heartbeat is no longer listed */
    (void)add_job(42, 420, "queued");
    world_sweep(20, MINUTE_MS);
    assert_int_equal(said() + cancelled(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(job_that_cannot_be_launched_is_told_and_its_run_cancelled),
        CASE(run_is_cancelled_only_when_no_other_job_of_it_can_run),
        CASE(jobs_of_a_run_that_are_all_given_up_are_cancelled_together),
        CASE(job_that_was_given_up_and_runs_keeps_its_run),
        CASE(run_whose_last_attempt_does_not_have_the_job_is_spared),
        CASE(job_that_github_does_not_have_queued_is_not_told),
        CASE(job_with_a_vm_on_its_way_is_not_given_up),
        CASE(step_that_was_not_recorded_is_repeated_without_harm),
        CASE(missing_permission_opens_no_circuit_and_is_asked_again_later),
        CASE(refusal_of_one_job_does_not_keep_others_from_their_answer),
        CASE(job_that_waits_too_long_is_given_up_once_that_was_seen_for_a_while),
        CASE(job_that_has_not_waited_long_is_left),
        CASE(trouble_of_the_class_never_cancels),
        CASE(job_behind_trouble_wider_than_itself_waits_on),
        CASE(job_without_a_worker_waits_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
