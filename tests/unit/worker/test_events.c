/*
 * The events lane: a batch is applied one by one and keeps its leases however slow the ledger is.
 */
#include "tests/unit/worker/world.h"

#include "common/job/vm_name.h"
#include "common/job/vm_recorded.h"
#include "common/ledger/kinds.h"
#include "worker/events.h"
#include "worker/terminators.h"

#define TAKE "queue_receive lane=events max=32 lease_ms=30000 wait_ms=1000\n"
#define APPLY(job) "ledger_apply_event job=" job " scope=acme\n"
#define END(vm) "terminators_add vm=" vm " state=ending\n"
#define EXTEND(id) "queue_extend id=" id " lease_ms=30000\n"
#define DONE(ids) "queue_ack " ids "\n"

int __real_ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e);
int __wrap_ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e);

int __wrap_ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct call c = call_begin("ledger_job_get", e, "job=%lld", (long long)job_id);
    return call_end(&c, c.goes_on ? __real_ledger_job_get(l, job_id, out, e) : -1, e);
}

void terminators_add(struct terminators *s, const struct ledger_vm *vm)
{
    (void)s;
    (void)call_begin("terminators_add", NULL, "vm=%s state=%s", vm->name,
                     ledger_vm_state_name(vm->state));
}

/* If its number is even, it is on a VM of the fleet. */
static void put_action(int64_t job, enum job_action action)
{
    struct job_event ev = {.action = action,
                           .job = {.id = job,
                                   .run_id = 1,
                                   .repository = "acme/app",
                                   .organization = "acme",
                                   .class_name = "small"}};
    struct buf body;
    (void)snprintf(ev.status, sizeof ev.status, "%s", job_action_name(action));
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "vm-%d", (int)job);
    if (job % 2 == 0) {
        struct ledger_vm *vm = memory_vm(world.url, ev.job.runner_name);
        vm->state = VM_LAUNCHED;
        (void)snprintf(vm->class_name, sizeof vm->class_name, "small");
    }
    buf_init(&body, 65536);
    job_event_encode(&ev, 1, &body);
    world_put("events", body.data);
    buf_fini(&body);
}

static void put(int64_t job)
{
    put_action(job, JOB_ACTION_COMPLETED);
}

static void put_without_class(int64_t job, const char *runner)
{
    struct job_event ev = {
        .action = JOB_ACTION_COMPLETED,
        .status = "completed",
        .job = {.id = job, .run_id = 1, .repository = "acme/app", .organization = "acme"}};
    struct buf body;
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    buf_init(&body, 65536);
    job_event_encode(&ev, 1, &body);
    world_put("events", body.data);
    buf_fini(&body);
}

static void stop_intake(void)
{
    worker_stop_intake(&world.worker);
}

static void third_of_a_lease_passes(void)
{
    world.now_ms += LEASE_MS / 3;
}

/* One thread receives what is there, until its receive of that number. */
static void assert_calls_until_take(int take, const char *calls)
{
    struct err e = {0};
    struct events *events = NULL;
    calls_plan(&(struct call_plan){
        .function = "queue_receive", .skip = take - 1, .times = 1, .happens = stop_intake});
    MUST(events_start(&world.worker, 1, &events, &e));
    events_join(events);
    calls_assert(calls);
}

static void put_jobs(int n)
{
    for (int job = 1; job <= n; job++) {
        put(job);
    }
}

static void batch_is_applied_one_by_one_and_acknowledged_together(void **state)
{
    put_jobs(4);
    assert_calls_until_take(2, TAKE APPLY("1") APPLY("2") END("vm-2") APPLY("3") APPLY("4")
                                   END("vm-4") DONE("id=1 id=2 id=3 id=4") TAKE);
    assert_int_equal(calls_done("queue_ack", NULL), 1);
}

static int64_t told_completed(void)
{
    return metric_value(metrics_counter("mayfly_worker_events_total", "action=\"completed\""));
}

static void event_that_comes_again_is_counted_once(void **state)
{
    int64_t before = told_completed();
    put(1);
    put(1);
    put(3);
    assert_calls_until_take(2, TAKE APPLY("1") APPLY("1") APPLY("3") DONE("id=1 id=2 id=3") TAKE);
    assert_int_equal(told_completed() - before, 2);
}

static void what_fails_goes_back_and_what_cannot_be_read_is_rejected(void **state)
{
    long long delay_ms = 0;
    put(1);
    world_put("events", "{");
    put(3);
    put(4);
    calls_plan(&(struct call_plan){
        .function = "ledger_apply_event", .with = "job=3 ", .fails = ERR_RETRY});
    world_fail("queue_ack", ERR_RETRY); /* they come again, which does no harm */
    assert_calls_until_take(2, TAKE APPLY("1") "queue_dead_letter id=2 reason=?*\n" APPLY(
                                   "3") "queue_nack id=3 delay_ms=* reason=scripted\n" APPLY("4")
                                   END("vm-4") DONE("id=1 id=4") TAKE);
    assert_int_equal(
        sscanf(calls_args("queue_nack", NULL, 1), "id=3 delay_ms=%lld reason", &delay_ms),
        1); /* and no attempt was spent */
    assert_in_range(delay_ms, 1, 5000);
}

/* A third of a lease a step: what is applied is acknowledged, and what is not is extended. */
static void slow_ledger_costs_no_lease(void **state)
{
    put_jobs(4);
    calls_plan(
        &(struct call_plan){.function = "ledger_apply_event", .happens = third_of_a_lease_passes});
    assert_calls_until_take(2, TAKE APPLY("1") DONE("id=1") EXTEND("2") EXTEND("3") EXTEND("4")
                                   APPLY("2") END("vm-2") DONE("id=2") EXTEND("3") EXTEND("4")
                                       APPLY("3") DONE("id=3") EXTEND("4") APPLY("4") END("vm-4")
                                           DONE("id=4") TAKE);
    assert_int_equal(calls_done("queue_ack", NULL), 4);
}

static void lease_that_is_lost_all_the_same_is_no_harm(void **state)
{
    put_jobs(2);
    calls_plan(
        &(struct call_plan){.function = "ledger_apply_event", .happens = third_of_a_lease_passes});
    world_fail("queue_extend", ERR_CONFLICT);
    assert_calls_until_take(2, TAKE APPLY("1") DONE("id=1") EXTEND("2") APPLY("2") END("vm-2")
                                   DONE("id=2") TAKE);
}

static void event_without_class_is_applied_if_its_job_or_its_runner_is_ours(void **state)
{
    char ours[VM_NAME_SIZE];
    vm_name_make(world.config->deployment, "former", ours);
    put(1);
    put_without_class(1, "");
    put_without_class(3, "");
    put_without_class(5, ours);
    assert_calls_until_take(
        2, TAKE APPLY("1") "ledger_job_get job=1\n" APPLY("1") "ledger_job_get job=3\n" APPLY("5")
               DONE("id=1 id=2 id=3 id=4") TAKE);
}

static void event_without_class_waits_for_the_ledger(void **state)
{
    put_without_class(3, "");
    world_fail("ledger_job_get", ERR_RETRY);
    assert_calls_until_take(
        2, TAKE "ledger_job_get job=3\nqueue_nack id=1 delay_ms=* reason=scripted\n" TAKE);
}

static void take_that_fails_is_tried_again(void **state)
{
    put_jobs(1);
    calls_plan(&(struct call_plan){.function = "queue_receive", .times = 1, .fails = ERR_RETRY});
    assert_calls_until_take(3, TAKE TAKE APPLY("1") DONE("id=1") TAKE);
}

#define RECORD                                                                                     \
    "ledger_vm_advance vm=vm-1 to=launched runner_id=0 vm_id=microvm-1 deadline_ms=1800000600000 " \
    "reason=-\n"

/* What a provider answered to the launch of vm-1. */
static void put_recorded(void)
{
    const struct vm_recorded r = {
        .name = "vm-1", .vm_id = "microvm-1", .deadline_ms = 1800000600000};
    struct buf body;
    buf_init(&body, RECORD_MAX_BYTES);
    vm_recorded_encode(&r, 1, &body);
    world_put("events", body.data);
    buf_fini(&body);
}

/* A VM's id is written until it is written. */
static void vm_id_that_was_not_recorded_gets_into_its_row(void **state)
{
    struct ledger_vm *vm = memory_vm(world.url, "vm-1");
    vm->state = VM_REGISTERED;
    put_recorded();
    calls_plan(
        &(struct call_plan){.function = "ledger_vm_advance", .times = 1, .fails = ERR_RETRY});
    assert_calls_until_take(2, TAKE RECORD "queue_nack id=1 delay_ms=* reason=scripted\n" TAKE);
    assert_string_equal(vm->vm_id, "");
}

static void vm_id_of_each_state_is_recorded(void **state)
{
    static const enum ledger_vm_state before[] = {VM_REGISTERED, VM_BUSY, VM_ENDING};
    static const enum ledger_vm_state after[] = {VM_LAUNCHED, VM_BUSY, VM_ENDING};
    for (size_t i = 0; i < COUNT_OF(before); i++) {
        if (i > 0) {
            (void)world_tear_down(state);
            (void)world_set_up(state);
        }
        struct ledger_vm *vm = memory_vm(world.url, "vm-1");
        vm->state = before[i];
        put_recorded();
        assert_calls_until_take(2, TAKE RECORD DONE("id=1") TAKE);
        assert_int_equal(vm->state, after[i]);
        assert_string_equal(vm->vm_id, "microvm-1");
        assert_int_equal(vm->deadline_ms, 1800000600000);
    }
}

static void vm_id_without_a_row_is_left_to_the_reaper(void **state)
{
    memory_vm(world.url, "vm-1")->state = VM_GONE;
    put_recorded();
    assert_calls_until_take(2, TAKE RECORD DONE("id=1") TAKE);
}

/* A short job is over before a sweep of the reaper sees its VM at work. */
static void job_that_starts_says_that_its_class_gets_jobs(void **state)
{
    struct err e = {0};
    int64_t count = 0;
    MUST(ledger_counter_set(world.worker.ledger, LEDGER_COUNTER_JOBLESS "small", 5, &e));
    put_action(1, JOB_ACTION_IN_PROGRESS);
    assert_calls_until_take(2, TAKE APPLY("1") DONE("id=1") TAKE);
    MUST(ledger_counter_get(world.worker.ledger, LEDGER_COUNTER_JOBLESS "small", &count, &e));
    assert_int_equal(count, 5); /* it is not on a VM of the fleet */
    (void)world_tear_down(state);
    (void)world_set_up(state);
    MUST(ledger_counter_set(world.worker.ledger, LEDGER_COUNTER_JOBLESS "small", 5, &e));
    put_action(2, JOB_ACTION_IN_PROGRESS);
    assert_calls_until_take(2, TAKE APPLY("2") DONE("id=1") TAKE);
    MUST(ledger_counter_get(world.worker.ledger, LEDGER_COUNTER_JOBLESS "small", &count, &e));
    assert_int_equal(count, 0);
}

static int64_t gaps(void)
{
    struct err e = {0};
    int64_t count = 0;
    MUST(ledger_counter_get(world.worker.ledger, LEDGER_COUNTER_GAPS, &count, &e));
    return count;
}

/* --- jobs whose VM another took --- */

static struct ledger_job *add_job(int64_t id, enum ledger_job_state state)
{
    struct ledger_job *job = memory_job(world.url, id);
    *job = (struct ledger_job){.facts = {.id = id, .repository = "acme/app", .class_name = "small"},
                               .scope = "acme",
                               .state = state,
                               .waiting_ms = WORLD_BEGAN_MS};
    return job;
}

/* The event is about job 2 of a class, on vm-2, which was launched for job 7. The new requests. */
static int requests_after(enum job_action action, const char *class_name)
{
    static const char request[] = "lane=launch.small key=7 group=acme/app ";
    struct err e = {0};
    struct events *events = NULL;
    struct buf body;
    struct job_event ev = {.action = action,
                           .job = {.id = 2,
                                   .run_id = 1,
                                   .repository = "acme/app",
                                   .organization = "acme",
                                   .runner_name = "vm-2"}};
    size_t before = calls_done("queue_put", request);
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    buf_init(&body, 65536);
    job_event_encode(&ev, 1, &body);
    world_put("events", body.data);
    buf_fini(&body);
    calls_replan(&(struct call_plan){.function = "queue_receive",
                                     .skip = (int)calls_count("queue_receive", NULL) + 1,
                                     .times = 1,
                                     .happens = stop_intake},
                 1);
    MUST(events_start(&world.worker, 1, &events, &e));
    events_join(events);
    return (int)(calls_done("queue_put", request) - before);
}

static struct ledger_job *add_displaced_job(enum ledger_job_state state)
{
    struct ledger_vm *vm = memory_vm(world.url, "vm-2");
    vm->state = VM_LAUNCHED;
    vm->for_job = 7;
    memcpy(vm->class_name, "small", 6);
    memcpy(vm->scope, "acme", 5);
    return add_job(7, state);
}

static void job_whose_vm_an_unknown_one_took_gets_another_request_at_once(void **state)
{
    struct ledger_job *job = add_displaced_job(JOB_WAITING);
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 1);
    assert_int_equal(job->relaunches, 1);
    assert_int_equal(job->relaunched_ms, WORLD_BEGAN_MS);
    assert_int_equal(gaps(), 1);
}

static void end_of_a_job_on_a_busy_vm_displaces_none(void **state)
{
    (void)add_displaced_job(JOB_WAITING);
    memory_vm(world.url, "vm-2")->state = VM_BUSY;
    memory_vm(world.url, "vm-2")->busy_ms = WORLD_BEGAN_MS;
    assert_int_equal(requests_after(JOB_ACTION_COMPLETED, "small"), 0);
}

static void job_whose_vm_an_unknown_one_had_gets_another_request(void **state)
{
    struct ledger_job *job = add_displaced_job(JOB_WAITING);
    assert_int_equal(requests_after(JOB_ACTION_COMPLETED, "small"), 1);
    assert_int_equal(job->relaunches, 1);
    assert_int_equal(gaps(), 1);
}

static void end_without_a_beginning_shows_that_a_delivery_is_missing(void **state)
{
    (void)add_displaced_job(JOB_WAITING);
    (void)add_job(2, JOB_WAITING);
    (void)requests_after(JOB_ACTION_COMPLETED, "small");
    assert_int_equal(gaps(), 1);
}

static void end_of_a_running_job_shows_none(void **state)
{
    (void)add_displaced_job(JOB_WAITING);
    (void)add_job(2, JOB_RUNNING);
    (void)requests_after(JOB_ACTION_COMPLETED, "small");
    assert_int_equal(gaps(), 0);
}

/* Its own request is launched for the other. */
static void job_whose_vm_a_known_one_took_gets_no_request(void **state)
{
    struct ledger_job *job = add_displaced_job(JOB_WAITING);
    (void)add_job(2, JOB_WAITING);
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 0);
    assert_int_equal(job->relaunches, 0);
    assert_int_equal(gaps(), 0);
}

static void job_whose_vm_one_of_another_class_took_gets_another_request(void **state)
{
    (void)add_displaced_job(JOB_WAITING);
    (void)memcpy(add_job(2, JOB_WAITING)->facts.class_name, "large", 6);
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "large"), 1);
}

static void job_whose_vm_one_that_was_held_back_took_gets_another_request(void **state)
{
    (void)add_displaced_job(JOB_WAITING);
    (void)add_job(2, JOB_SEEN);
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 1);
}

/* A third one lacks a VM. */
static void request_of_a_displaced_job_that_runs_is_put_and_not_counted(void **state)
{
    struct ledger_job *job = add_displaced_job(JOB_RUNNING);
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 1);
    assert_int_equal(job->relaunches, 0);
}

static void job_displaced_again_and_again_is_left_to_the_reaper(void **state)
{
    struct ledger_job *job = add_displaced_job(JOB_WAITING);
    job->relaunches = 3;
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 0);
    assert_int_equal(job->relaunches, 3);
}

static void job_on_the_vm_that_was_launched_for_it_displaces_none(void **state)
{
    (void)add_displaced_job(JOB_WAITING);
    memory_vm(world.url, "vm-2")->for_job = 2;
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 0);
    assert_int_equal(calls_count("queue_put", "lane=launch.small"), 0);
}

static void request_that_cannot_be_put_is_left_to_the_reaper(void **state)
{
    struct ledger_job *job = add_displaced_job(JOB_WAITING);
    memory_vm(world.url, "vm-2")->for_job = 8; /* no row */
    assert_int_equal(requests_after(JOB_ACTION_IN_PROGRESS, "small"), 0);
    assert_int_equal(job->relaunches, 0);
    assert_int_equal(calls_done("queue_ack", NULL), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(batch_is_applied_one_by_one_and_acknowledged_together),
        CASE(event_that_comes_again_is_counted_once),
        CASE(what_fails_goes_back_and_what_cannot_be_read_is_rejected),
        CASE(slow_ledger_costs_no_lease),
        CASE(lease_that_is_lost_all_the_same_is_no_harm),
        CASE(event_without_class_is_applied_if_its_job_or_its_runner_is_ours),
        CASE(event_without_class_waits_for_the_ledger),
        CASE(take_that_fails_is_tried_again),
        CASE(job_that_starts_says_that_its_class_gets_jobs),
        CASE(job_whose_vm_an_unknown_one_took_gets_another_request_at_once),
        CASE(end_of_a_job_on_a_busy_vm_displaces_none),
        CASE(end_without_a_beginning_shows_that_a_delivery_is_missing),
        CASE(end_of_a_running_job_shows_none),
        CASE(job_whose_vm_an_unknown_one_had_gets_another_request),
        CASE(job_whose_vm_a_known_one_took_gets_no_request),
        CASE(job_whose_vm_one_of_another_class_took_gets_another_request),
        CASE(job_whose_vm_one_that_was_held_back_took_gets_another_request),
        CASE(request_of_a_displaced_job_that_runs_is_put_and_not_counted),
        CASE(job_displaced_again_and_again_is_left_to_the_reaper),
        CASE(job_on_the_vm_that_was_launched_for_it_displaces_none),
        CASE(request_that_cannot_be_put_is_left_to_the_reaper),
        CASE(vm_id_that_was_not_recorded_gets_into_its_row),
        CASE(vm_id_of_each_state_is_recorded),
        CASE(vm_id_without_a_row_is_left_to_the_reaper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
