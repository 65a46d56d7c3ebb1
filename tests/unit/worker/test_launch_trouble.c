/*
 * Launches in trouble: throttled calls, probes, a ledger that is away while the worker stops, and
 * whose error a provider's is. A wait ends at once, and the clock has advanced by it.
 */
#include <stdlib.h>

#include "tests/unit/worker/launch_bed.h"

#include "common/base/clock.h"

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    (void)call_begin("wakeup_sleep", NULL, "timeout_ms=%lld", (long long)timeout_ms);
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

static int set_up(void **state)
{
    (void)state;
    return launch_bed_set_up("large");
}

static void anew(void)
{
    (void)launch_bed_tear_down(NULL);
    (void)set_up(NULL);
}

static void put_job(int64_t job)
{
    world_put_queued("launch.large", "large", job);
}

static void launch_next(void)
{
    launch_bed_next("launch.large", 0);
}

static void launch_job_large(int64_t job)
{
    put_job(job);
    launch_next();
}

static void launch_large(void)
{
    launch_job_large(42);
}

/* --- throttled --- */

static void throttled_run_waits_as_long_as_the_service_wants(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){.function = "vm_run",
                                   .fails = ERR_THROTTLED,
                                   .code = 429,
                                   .times = 2,
                                   .retry_after_ms = 7000});
    launch_large();
    assert_int_equal(calls_count("vm_run", NULL), 3);
    assert_int_equal(calls_count("wakeup_sleep", NULL), 2);
    assert_true(world.now_ms >= WORLD_BEGAN_MS + 14000);
    assert_int_equal(calls_done("github_register_runner", NULL), 1);
    assert_int_equal(calls_done("queue_ack", NULL), 1);
    assert_int_equal(calls_count("ledger_cell_put", NULL), 0);
}

/* It costs no attempt, and opens the target's circuit only with others. */
static void run_that_stays_throttled_goes_back_unspent(void **state)
{
    static const struct {
        int64_t retry_after_ms;
        size_t runs;
    } cases[] = {{1000, 3}, {60000, 1}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        calls_plan(&(struct call_plan){.function = "vm_run",
                                       .fails = ERR_THROTTLED,
                                       .code = 429,
                                       .retry_after_ms = cases[i].retry_after_ms});
        launch_large();
        assert_int_equal(calls_count("vm_run", NULL), cases[i].runs);
        assert_int_equal(calls_count("queue_nack", "spent"), 0);
        assert_int_equal(calls_done("queue_nack", "waits for target:lambda/r/1"), 1);
        assert_int_equal(calls_count("ledger_cell_put", NULL), 0);
    }
}

static void lease_expires(void)
{
    world.now_ms += LEASE_MS + 1;
}

/* Its message and its slot may be another worker's by now. */
static void throttled_run_is_not_repeated_without_its_lease(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){.function = "vm_run",
                                   .fails = ERR_THROTTLED,
                                   .code = 429,
                                   .happens = lease_expires,
                                   .retry_after_ms = 1000});
    launch_large();
    assert_int_equal(calls_count("vm_run", NULL), 1);
}

static void stop(void)
{
    wakeup_raise(&world.worker.intake);
}

static void stopping_worker_repeats_nothing(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){.function = "vm_run",
                                   .fails = ERR_THROTTLED,
                                   .code = 429,
                                   .happens = stop,
                                   .retry_after_ms = 1000});
    launch_large();
    assert_int_equal(calls_count("vm_run", NULL), 1);
    anew();
    calls_plan(&(struct call_plan){.function = "ledger_vm_advance",
                                   .with = "registered",
                                   .fails = ERR_RETRY,
                                   .happens = stop});
    launch_large();
    assert_int_equal(calls_count("ledger_vm_advance", "registered"), 1);
    assert_int_equal(calls_count("wakeup_sleep", NULL), 0);
}

/* Ledger and queue are away together, and the worker is stopped meanwhile. */
static void stopping_worker_drops_no_vm_that_it_has_launched(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){.function = "ledger_vm_advance",
                                   .with = "launched",
                                   .fails = ERR_RETRY,
                                   .times = 20,
                                   .happens = stop});
    calls_plan(&(struct call_plan){.function = "queue_put", .fails = ERR_RETRY});
    launch_large();
    assert_int_equal(calls_count("ledger_vm_advance", "launched"), 21);
    assert_true(calls_count("queue_put", "lane=events") > 0);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    assert_int_equal(calls_done("queue_ack", NULL), 1);
}

static void launch_is_repeated_no_sooner_than_the_other_side_asked(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){
        .function = "vm_run", .fails = ERR_RETRY, .code = 500, .retry_after_ms = 70000});
    launch_large();
    assert_int_equal(calls_done("queue_nack", "delay_ms=70000 reason=run"), 1);
}

/* A reload has removed the class between the poll of its lane and the launch. */
static void launch_of_a_removed_class_waits_unspent(void **state)
{
    (void)state;
    world_put("launch.medium",
              "{\"v\":1,\"scope\":\"warm\",\"class\":\"medium\",\"reason\":\"warm\"}");
    launch_bed_next("launch.medium", 0);
    assert_int_equal(calls_count("queue_dead_letter", NULL), 0);
    assert_int_equal(calls_count("queue_nack", "spent"), 0);
    assert_int_equal(calls_done("queue_nack", "its runner class is not configured any more"), 1);
}

/* --- probes --- */

static void open_at_once(enum subject subject, const struct subjects *s)
{
    struct err why;
    const struct verdict v = {.subject = subject, .at_once = true, .needs_launch = true};
    (void)err_set(&why, ERR_RETRY, 0, "scripted");
    (void)circuits_failed(world.worker.circuits, world.config, s, &v, 1, "", &why);
    world.now_ms += world.config->circuit.open_duration_ms;
}

static struct circuit circuit_of(enum subject subject)
{
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.worker.ledger, lane.subjects.names[subject], &c, &e));
    return c;
}

static void registration_alone_does_not_show_that_the_proxy_works(void **state)
{
    (void)state;
    open_at_once(SUBJECT_PROXY, &lane.subjects);
    calls_plan(&(struct call_plan){
        .function = "ledger_vm_advance", .with = "registered", .fails = ERR_CONFLICT, .times = 1});
    launch_large();
    assert_int_equal(calls_done("github_register_runner", NULL), 1);
    assert_true(circuit_of(SUBJECT_PROXY).since_ms > 0);
    calls_plan(&(struct call_plan){.function = "vm_run", .fails = ERR_PERMANENT, .code = 404});
    world.now_ms += LEASE_MS;
    launch_large(); /* both services have answered */
    assert_int_equal(circuit_of(SUBJECT_PROXY).since_ms, 0);
}

static struct circuit seen;

static void look_at_the_probe(void)
{
    seen = circuit_of(SUBJECT_CLASS);
}

/* A worker that dies blocks the next probe no longer than its message. */
static void probe_is_held_as_long_as_its_message(void **state)
{
    (void)state;
    open_at_once(SUBJECT_CLASS, &lane.subjects);
    int64_t began_ms = world.now_ms;
    calls_plan(
        &(struct call_plan){.function = "github_register_runner", .happens = look_at_the_probe});
    launch_large();
    assert_true(seen.probe[0] != '\0');
    assert_int_equal(seen.probe_until_ms, began_ms + LEASE_MS);
    assert_int_equal(circuit_of(SUBJECT_CLASS).since_ms, 0);
}

static void probe_that_the_ledger_does_not_record_is_not_made(void **state)
{
    (void)state;
    open_at_once(SUBJECT_CLASS, &lane.subjects);
    calls_reset();
    calls_plan(&(struct call_plan){.function = "ledger_cell_put", .fails = ERR_RETRY});
    launch_large();
    assert_int_equal(calls_count("ledger_reserve", NULL), 0);
    assert_int_equal(calls_done("queue_nack", "waits for class:large"), 1);
}

/* A list would be let through. */
static void throttled_launches_are_probed_by_a_launch(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){
        .function = "vm_run", .fails = ERR_THROTTLED, .code = 429, .retry_after_ms = 60000});
    for (int64_t job = 1; job <= world.config->circuit.failure_threshold; job++) {
        world.now_ms += 60000; /* the rate of launches pauses too */
        launch_job_large(job);
    }
    const struct circuit c = circuit_of(SUBJECT_TARGET);
    assert_int_equal(c.needs_launch, 1);
    assert_int_equal(c.open_until_ms, world.now_ms + 60000); /* as long as it said */
    world.now_ms = c.open_until_ms;
    calls_replan(NULL, 0);
    assert_false(circuits_begin_probe(world.worker.circuits, &lane.subjects, SUBJECT_TARGET, "p",
                                      world.now_ms + 1));
    launch_job_large(4);
    assert_int_equal(circuit_of(SUBJECT_TARGET).since_ms, 0);
}

/* --- what a VM wrote that failed to start --- */

static void console_of_a_vm_that_failed_to_start_is_in_its_timeline(void **state)
{
    (void)state;
    scripted_vms.console = "Kernel \x1b[31mpanic";
    calls_plan(&(struct call_plan){.function = "vm_run", .fails = ERR_RETRY, .times = 1});
    launch_large();
    assert_int_equal(calls_count("ledger_log_event", "what=console detail=Kernel panic"), 1);
}

/* --- a job that is refused alone --- */

static void others_register(void)
{
    const struct github_scope scope = github_scope_parse("acme", 11);
    struct subjects of = lane.subjects;
    subjects_add_scope(&scope, config_class_by_name(world.config, SLICE("large")), "Default", "",
                       &of);
    circuits_succeeded(world.worker.circuits, &of, SUBJECTS_OF_GITHUB);
}

/* Three times it waits as everything does; then each time spends one of its three attempts. */
static void job_that_alone_is_refused_becomes_a_dead_letter(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){
        .function = "github_register_runner", .fails = ERR_PERMANENT, .code = 422});
    put_job(42);
    for (size_t round = 1; round <= 6; round++) {
        launch_next();
        assert_int_equal(calls_count("github_register_runner", NULL), round);
        assert_int_equal(calls_count("queue_nack", " spent reason=attempt "), round < 4 ? 0
                                                                              : round < 6
                                                                                  ? round - 3
                                                                                  : 2);
        others_register();
        world.now_ms += 60000;
    }
    assert_int_equal(
        calls_done("queue_dead_letter",
                   "attempt 3 of 3 failed at register (only this job is refused so): scripted"),
        1);
}

/* With reaper.give_up the reaper is asked to answer it, whatever becomes of the message. */
static void job_that_becomes_a_dead_letter_is_given_up_where_that_is_on(void **state)
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        world.config->reaper.give_up = on == 1;
        calls_plan(&(struct call_plan){
            .function = "github_register_runner", .fails = ERR_PERMANENT, .code = 422});
        put_job(42 + on);
        for (size_t round = 1; round <= 6; round++) {
            launch_next();
            others_register();
            world.now_ms += 60000;
        }
        assert_int_equal(calls_count("ledger_cell_put", "kind=give_up name=43 "), on);
        assert_int_equal(calls_count("ledger_cell_put", "kind=give_up name=42 "), 0);
    }
}

static void job_that_is_refused_like_all_others_waits(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){
        .function = "github_register_runner", .fails = ERR_PERMANENT, .code = 422});
    put_job(42);
    for (size_t round = 0; round < 12; round++) {
        launch_next();
        world.now_ms += 15 * 60000; /* beyond the circuit's pause */
    }
    assert_int_equal(calls_count("queue_nack", " spent "), 0);
    assert_int_equal(calls_count("queue_dead_letter", NULL), 0);
}

/* --- whose error it is --- */

static void error_of_a_provider_says_where_it_runs(void **state)
{
    static const struct {
        const char *class_name;
        enum err_from from;
    } cases[] = {{"small", ERR_FROM_HOST}, {"large", ERR_FROM_PROVIDER}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct vm_spec spec = {.name = "mf-1",
                               .client_token = "t",
                               .payload = SLICE("payload"),
                               .max_duration_ms = 1000};
        char id[VM_ID_MAX + 1];
        struct err e;
        anew();
        struct vm_provider *p = fleet_provider(world.worker.fleet, cases[i].class_name);
        calls_plan(&(struct call_plan){.function = "vm_run", .fails = ERR_CAPACITY});
        assert_int_equal(vm_run(p, &spec, id, &e), -1);
        assert_int_equal(e.from, cases[i].from);
        assert_int_equal(e.class, ERR_CAPACITY);
        spec.payload.len = 0; /* refused before the provider sees it */
        assert_int_equal(vm_run(p, &spec, id, &e), -1);
        assert_int_equal(e.from, cases[i].from);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_int_equal(calls_count("vm_run", NULL), 1);
    }
}

/* --- what could not be recorded --- */

static void runner_gets_a_job(void)
{
    scripted_github.runners[0].online = true;
    scripted_github.runners[0].busy = true;
}

/* The ledger was away, the VM was not. */
static void vm_that_could_not_be_recorded_is_spared_if_it_is_at_work(void **state)
{
    struct call_plan record = {
        .function = "ledger_vm_advance", .with = "launched", .fails = ERR_CONFLICT};
    (void)state;
    calls_plan(&record);
    launch_large();
    assert_int_equal(calls_done("vm_terminate", NULL), 1);
    anew();
    record.happens = runner_gets_a_job;
    calls_plan(&record);
    launch_large();
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

/* --- a ledger that is emptied --- */

static char row_name[VM_NAME_SIZE];

static struct ledger_vm *the_row(void)
{
    struct ledger_vm *list = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_vm_list(world.worker.ledger, ~0u, "", 2, &list, &n, &e));
    assert_int_equal(n, 1);
    memcpy(row_name, list[0].name, sizeof row_name);
    free(list);
    return memory_vm(world.url, row_name);
}

static void ledger_is_emptied(void)
{
    struct err e;
    int64_t removed = 0;
    struct ledger_vm *vm = the_row();
    vm->state = VM_GONE;
    vm->gone_ms = 1;
    MUST(ledger_tidy(world.worker.ledger, INT64_MAX - 1, 10, &removed, &e));
    world_reconcile("large", -1);
}

/* Other messages in hand may have been reserved in the ledger that is full, and have their slots there. */
static void slot_that_was_reserved_in_an_emptied_ledger_is_given_back(void **state)
{
    world_reconcile("large", -1);
    launch_large();
    assert_int_equal(calls_done("ledger_reserve", NULL), 1);
    assert_int_equal(calls_count("github_register_runner", NULL), 0);
    assert_int_equal(the_row()->state, VM_GONE);
    assert_int_equal(calls_done("queue_nack", "about the ledger"), 1);
    assert_int_equal(calls_count("queue_nack", "spent"), 0);
}

static void answer_about_the_ledger_that_fails_stops_no_launch(void **state)
{
    world_fail("ledger_cell_get", ERR_RETRY);
    launch_large();
    assert_int_equal(calls_done("queue_ack", NULL), 1);
}

/* Nothing else would delete it soon, and it would count as a runner whose VM is not known. */
static void registration_of_a_lost_row_is_deleted(void **state)
{
    calls_plan(
        &(struct call_plan){.function = "github_register_runner", .happens = ledger_is_emptied});
    launch_large();
    assert_int_equal(calls_count("vm_run", NULL), 0);
    assert_int_equal(scripted_github.deleted, 1);
    assert_int_equal(calls_done("queue_nack", "about the ledger"), 1);
}

/* The queue outlived its ledger. */
static void request_older_than_the_ledger_needs_no_vm_for_a_job_that_ran(void **state)
{
    static const struct {
        const char *status;
        int64_t runner;
        enum ledger_job_state becomes;
        size_t launches;
    } cases[] = {{"completed", 5, JOB_DONE, 0},
                 {"completed", 0, JOB_CANCELLED, 0},
                 {"in_progress", 5, JOB_RUNNING, 0},
                 {"in_progress", 0, JOB_WAITING, 1},
                 {"queued", 0, JOB_WAITING, 1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        lane.known_since_ms = world.now_ms;
        struct github_job *job = scripted_github_add_job(42, cases[i].status);
        job->runner_id = cases[i].runner;
        (void)snprintf(job->runner_name, sizeof job->runner_name, "%s",
                       cases[i].runner > 0 ? "mf-t-of-old" : "");
        launch_large();
        assert_int_equal(calls_count("vm_run", NULL), cases[i].launches);
        assert_int_equal(calls_done("queue_ack", NULL), 1);
        assert_int_equal(memory_job(world.url, 42)->state, cases[i].becomes);
    }
}

static void request_older_than_the_ledger_launches_if_nobody_knows_its_job(void **state)
{
    static const struct {
        const char *fails;
        enum err_class class;
    } cases[] = {{"github_get_job", ERR_RETRY},
                 {"github_get_job", ERR_NOT_FOUND},
                 {"ledger_apply_event", ERR_RETRY}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        lane.known_since_ms = world.now_ms;
        scripted_github_add_job(42, "completed")->runner_id = 5;
        world_fail(cases[i].fails, cases[i].class);
        launch_large();
        assert_int_equal(calls_count("github_get_job", NULL), 1);
        assert_int_equal(calls_count("vm_run", NULL), 1);
    }
}

static void github_is_not_asked_about_a_job_that_the_ledger_knows(void **state)
{
    struct ledger_job *job = memory_job(world.url, 42);
    job->state = JOB_WAITING;
    lane.known_since_ms = world.now_ms;
    launch_large();
    anew(); /* not older than what the ledger knows */
    launch_large();
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    assert_int_equal(calls_count("vm_run", NULL), 1);
}

/* By its runner's name, so that the events of its job find it. */
static void vm_whose_row_was_lost_gets_one_by_its_name(void **state)
{
    calls_plan(&(struct call_plan){.function = "vm_run", .happens = ledger_is_emptied});
    launch_large();
    assert_int_equal(calls_done("queue_ack", NULL), 1);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    char name[VM_NAME_SIZE];
    memcpy(name, row_name, sizeof name);
    const struct ledger_vm *vm = the_row();
    assert_string_equal(vm->name, name);
    assert_string_equal(vm->vm_id, scripted_vms.list[0].info.id);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(vm->deadline_ms, world.now_ms + 60000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, launch_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(throttled_run_waits_as_long_as_the_service_wants),
        CASE(run_that_stays_throttled_goes_back_unspent),
        CASE(throttled_run_is_not_repeated_without_its_lease),
        CASE(stopping_worker_repeats_nothing),
        CASE(stopping_worker_drops_no_vm_that_it_has_launched),
        CASE(launch_is_repeated_no_sooner_than_the_other_side_asked),
        CASE(launch_of_a_removed_class_waits_unspent),
        CASE(registration_alone_does_not_show_that_the_proxy_works),
        CASE(probe_is_held_as_long_as_its_message),
        CASE(probe_that_the_ledger_does_not_record_is_not_made),
        CASE(throttled_launches_are_probed_by_a_launch),
        CASE(console_of_a_vm_that_failed_to_start_is_in_its_timeline),
        CASE(job_that_alone_is_refused_becomes_a_dead_letter),
        CASE(job_that_becomes_a_dead_letter_is_given_up_where_that_is_on),
        CASE(job_that_is_refused_like_all_others_waits),
        CASE(error_of_a_provider_says_where_it_runs),
        CASE(vm_that_could_not_be_recorded_is_spared_if_it_is_at_work),
        CASE(slot_that_was_reserved_in_an_emptied_ledger_is_given_back),
        CASE(answer_about_the_ledger_that_fails_stops_no_launch),
        CASE(registration_of_a_lost_row_is_deleted),
        CASE(request_older_than_the_ledger_needs_no_vm_for_a_job_that_ran),
        CASE(request_older_than_the_ledger_launches_if_nobody_knows_its_job),
        CASE(github_is_not_asked_about_a_job_that_the_ledger_knows),
        CASE(vm_whose_row_was_lost_gets_one_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
