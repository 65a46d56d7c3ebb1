/*
 * The launch protocol, step by step: every call it makes, in order, and how the message ends. The
 * lane alone is scripted.
 */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/payload/payload.h"
#include "tests/unit/worker/world.h"
#include "worker/class_circuit.h"
#include "worker/heartbeat.h"
#include "worker/launch.h"

struct lane {
    struct class_circuit *circuit;
};

static struct lane lane;
static bool heart_stops; /* while a step takes long: the process was frozen */
static int64_t step_ms;  /* how long a step takes that was planned as slow */

void lane_reservation_ended(struct lane *l)
{
    (void)call_begin("lane_reservation_ended", NULL, "%s", l == &lane ? "small" : "?");
}

void lane_pause_until(struct lane *l, int64_t mono_ms)
{
    (void)call_begin("lane_pause_until", NULL, "%s in_ms=%lld", l == &lane ? "small" : "?",
                     (long long)(mono_ms - clock_mono_ms()));
}

struct class_circuit *lane_circuit(struct lane *l)
{
    return l->circuit;
}

static int set_up(void **state)
{
    int rc = world_set_up(state);
    heart_stops = false;
    lane.circuit = class_circuit_new(world.worker.ledger, "small");
    world.worker.heartbeat = heartbeat_new(&world.worker);
    return rc;
}

static int tear_down(void **state)
{
    heartbeat_free(world.worker.heartbeat);
    class_circuit_free(lane.circuit);
    return world_tear_down(state);
}

static void anew(void)
{
    (void)tear_down(NULL);
    (void)set_up(NULL);
}

/* --- one launch --- */
static void launch_body(const char *body, int64_t attempts)
{
    world_put("launch.small", body);
    struct queue_message m = world_take("launch.small");
    m.attempts = attempts;
    launch(&world.worker, &lane, world.config, &m);
    queue_message_fini(&m);
}

static void launch_class(const char *class_name, int64_t attempts)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED,
                           .status = "queued",
                           .job = {.id = 42,
                                   .run_id = 1,
                                   .run_attempt = 1,
                                   .installation_id = 11,
                                   .repository = "acme/app",
                                   .organization = "acme"}};
    struct buf body;
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    struct launch_request request = launch_request_of(&ev);
    buf_init(&body, 65536);
    launch_request_encode(&request, 1, &body);
    launch_body(body.data, attempts);
    buf_fini(&body);
}

/* Of the VM that was launched; "" if it came to none. */
static const char *vm_name(void)
{
    static char name[64];
    name[0] = '\0';
    if (calls_count("github_register_runner", NULL) > 0) {
        const char *args = calls_args("github_register_runner", NULL, 1);
        assert_int_equal(sscanf(strstr(args, "name="), "name=%63s", name), 1);
    }
    return name;
}

/* All calls, in order; @ stands for the VM's name, and $ for this host's. */
static void assert_calls(const char *pattern)
{
    struct buf text;
    buf_init(&text, 65536);
    for (const char *p = pattern; *p != '\0'; p++) {
        const char one[] = {*p, '\0'};
        buf_append_cstr(&text, *p == '@'   ? vm_name()
                               : *p == '$' ? fleet_host(world.worker.fleet)
                                           : one);
    }
    calls_assert(text.data);
    buf_fini(&text);
}

#define RESERVE                                                                                    \
    "ledger_reserve job=42 class=small scope=acme deployment=t provider=qemu host=$"               \
    " caps=9/3/2 rates=1:2,3:4\n"
#define RESERVE_LARGE                                                                              \
    "ledger_reserve job=42 class=large scope=acme deployment=t provider=lambda host="              \
    " caps=9/5/2 rates=1:2,7:8\n"
#define DECIDED "lane_reservation_ended small\n"
#define REGISTER                                                                                   \
    "github_register_runner scope=acme installation=11 name=@ label=self-hosted group=Fleet\n"
#define REGISTER_LARGE                                                                             \
    "github_register_runner scope=acme installation=11 name=@ label=large group=Default\n"
#define ADVANCE(to, runner, machine, deadline, reason)                                             \
    "ledger_vm_advance vm=@ to=" to " runner_id=" runner " vm_id=" machine                         \
    " deadline_ms=" deadline " reason=" reason "\n"
#define REGISTERED ADVANCE("registered", "1001", "-", "0", "-")
#define RUN(class) "vm_run class=" class " name=@ token=@ max_duration_ms=60000\n"
#define RECORD ADVANCE("launched", "0", "id-@", "1800000060000", "-")
#define CIRCUIT "ledger_cell_get kind=circuit name=class:small\n"
#define REFUSED(value) CIRCUIT "ledger_cell_put kind=circuit name=class:small value=" value "\n"
#define DONE "queue_ack id=1\n"
#define TO_RUN RESERVE DECIDED REGISTER REGISTERED RUN("small")
#define TO_REGISTER_LARGE RESERVE_LARGE DECIDED REGISTER_LARGE
#define TO_RUN_LARGE TO_REGISTER_LARGE REGISTERED RUN("large")
#define ENDING ADVANCE("ending", "0", "-", "0", "launch failed: scripted")
#define TERMINATE(class, id) "vm_terminate class=" class " id=" id " grace_ms=0\n"
#define UNREGISTER "github_delete_runner scope=acme id=1001\n"
#define GONE ADVANCE("gone", "0", "-", "0", "-")
#define UNDO ENDING TERMINATE("small", "@") UNREGISTER GONE
#define LOGGED(what, detail) "ledger_log_event job=42 vm=@ what=" what " detail=" detail "\n"
#define WAITS(delay, step, attempt)                                                                \
    "queue_nack id=1 delay_ms=" delay " reason=" step " (attempt " attempt " of 3): scripted\n"
#define RETRIED(step)                                                                              \
    LOGGED("retry", step " (attempt 1 of 3): scripted") WAITS("* spent", step, "1")
#define BURIED(step, attempt)                                                                      \
    LOGGED("dead_letter", step " (attempt " attempt " of 3): scripted")                            \
    "queue_dead_letter id=1 reason=" step " (attempt " attempt " of 3): scripted\n"

enum step { STEP_RESERVE, STEP_REGISTER, STEP_REGISTERED, STEP_RUN, STEP_RECORD };

/* Something about that step's call. */
static void plan(enum step step, struct call_plan p)
{
    static const char *const calls[][2] = {[STEP_RESERVE] = {"ledger_reserve"},
                                           [STEP_REGISTER] = {"github_register_runner"},
                                           [STEP_REGISTERED] = {"ledger_vm_advance", "registered"},
                                           [STEP_RUN] = {"vm_run"},
                                           [STEP_RECORD] = {"ledger_vm_advance", "launched"}};
    p.function = calls[step][0];
    p.with = calls[step][1];
    calls_plan(&p);
}

static void fail_step(enum step step, enum err_class class)
{
    plan(step, (struct call_plan){.fails = class});
}

/* The payload of the VM. */
static void assert_payload(const char *http, const char *https, const char *none)
{
    struct err e = {0};
    struct buf expected;
    const struct payload p = {
        .jit_config = SLICE(SCRIPTED_JIT_CONFIG),
        .runner_name = slice_of(vm_name()),
        .http_proxy = slice_of(http),
        .https_proxy = slice_of(https),
        .no_proxy = slice_of(none),
        .idle_seconds = 10,
        .max_duration_seconds = 60,
    };
    buf_init(&expected, PAYLOAD_PACKED_MAX);
    MUST(payload_pack(&p, &expected, &e));
    assert_int_equal(scripted_vms.payload_len, expected.len);
    assert_memory_equal(scripted_vms.payload, expected.data, expected.len);
    buf_fini(&expected);
}

static void launch_smooth_makes_each_call_once_and_is_done(void **state)
{
    launch_class("small", 0);
    assert_calls(TO_RUN RECORD DONE CIRCUIT);
    assert_payload("http://plain:1", "http://secure:2", "near.example");
}

static void launch_of_the_other_class_has_its_own_limits_and_the_default_group(void **state)
{
    launch_class("large", 0);
    assert_calls(TO_RUN_LARGE RECORD DONE CIRCUIT);
    assert_payload("", "", "");
}

/* VMs of another scope. */
static void add_vms(int n, const char *class_name, const char *repository)
{
    for (int i = 0; i < n; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "mf-%d", i);
        struct ledger_vm *vm = memory_vm(world.url, name);
        vm->state = VM_LAUNCHED;
        (void)snprintf(vm->class_name, sizeof vm->class_name, "%s", class_name);
        (void)snprintf(vm->repository, sizeof vm->repository, "%s", repository);
    }
}

static void launch_not_reserved_goes_back_unspent(void **state)
{
    const struct {
        int vms;
        const char *class_name;
        const char *repository;
        const char *calls;
    } cases[] = {
        /* Else the last jobs of a burst wait for long beside slots that are free. */
        {9, "large", "other/app",
         RESERVE DECIDED "queue_nack id=1 delay_ms=20 reason=full_fleet\n"},
        {3, "small", "other/app",
         RESERVE DECIDED "queue_nack id=1 delay_ms=20 reason=full_class\n"},
        {2, "large", "acme/app",
         RESERVE DECIDED "queue_nack id=1 delay_ms=1000 reason=full_repository\n"},
        {0, "", "", RESERVE DECIDED "queue_nack id=1 delay_ms=250 reason=rate\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};
        anew();
        add_vms(cases[i].vms, cases[i].class_name, cases[i].repository);
        MUST(ledger_rate_pause(world.worker.ledger, "launch", world.now_ms + 250, &e));
        calls_reset();
        launch_class("small", 2);
        assert_calls(cases[i].calls);
    }
}

/* Only a lost response leaves it open whether a VM runs. */
static void launch_failed_at_any_step_is_undone_and_retried(void **state)
{
    const struct {
        enum step step;
        int code;
        const char *calls;
    } cases[] = {
        {STEP_RESERVE, 0, RESERVE_LARGE DECIDED RETRIED("reserve")},
        {STEP_REGISTER, 0, TO_REGISTER_LARGE ENDING GONE RETRIED("register")},
        {STEP_REGISTERED, 0,
         TO_REGISTER_LARGE REGISTERED ENDING UNREGISTER GONE RETRIED("register")},
        {STEP_RUN, 500, TO_RUN_LARGE ENDING UNREGISTER RETRIED("run")},
        {STEP_RUN, VM_RUN_NOTHING, TO_RUN_LARGE ENDING UNREGISTER GONE RETRIED("run")},
        {STEP_RECORD, 0,
         TO_RUN_LARGE RECORD ENDING TERMINATE("large", "id-@") UNREGISTER GONE RETRIED("record")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        plan(cases[i].step, (struct call_plan){.fails = ERR_RETRY, .code = cases[i].code});
        launch_class("large", 0);
        assert_calls(cases[i].calls);
    }
}

#define LIST "ledger_vm_list states=0x3 after= max=256\n"

/* The VM that satisfies the demand may be one that a dead worker never started. */
static void launch_satisfied_is_done_unless_its_job_is_being_launched(void **state)
{
    const struct {
        enum ledger_job_state job;
        int64_t supply_for; /* a VM reserved for that job, … */
        int64_t silent_ms;
        bool fails;
        const char *calls;
    } cases[] = {
        {JOB_WAITING, 7, 0, false, RESERVE LIST DECIDED DONE},
        {JOB_WAITING, 42, 1000, false,
         RESERVE LIST DECIDED "queue_nack id=1 delay_ms=34001 reason=another worker's launch for "
                              "this job is in progress\n"},
        {JOB_WAITING, 7, 35001, false, RESERVE LIST "*to=gone*\n" TO_RUN RECORD DONE CIRCUIT},
        {JOB_WAITING, 7, 0, true, RESERVE LIST DECIDED RETRIED("reserve")},
        {JOB_RUNNING, 7, 0, false, RESERVE LIST DECIDED DONE},
        {JOB_RUNNING, 42, 1000, false,
         RESERVE LIST DECIDED "queue_nack id=1 delay_ms=34001 reason=another worker's launch for "
                              "this job is in progress\n"},
        {JOB_RUNNING, 7, 35001, false, RESERVE LIST "*to=gone*\n" RESERVE LIST DECIDED DONE},
        {JOB_RUNNING, 7, 0, true, RESERVE LIST DECIDED RETRIED("reserve")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        struct ledger_vm *vm = memory_vm(world.url, "mf-left");
        memory_job(world.url, 42)->state = cases[i].job;
        memcpy(vm->scope, "acme", sizeof "acme");
        memcpy(vm->class_name, "small", sizeof "small");
        (void)snprintf(vm->host, sizeof vm->host, "%s", fleet_host(world.worker.fleet));
        vm->for_job = cases[i].supply_for;
        vm->heartbeat_ms = world.now_ms - cases[i].silent_ms;
        calls_plan(&(struct call_plan){.function = "ledger_vm_list",
                                       .fails = cases[i].fails ? ERR_RETRY : ERR_NONE});
        launch_class("small", 0);
        assert_calls(cases[i].calls);
    }
}

static void slot_of_a_failed_launch_is_announced_unless_it_is_still_held(void **state)
{
    for (int held = 0; held < 2; held++) {
        anew();
        fail_step(STEP_REGISTER, ERR_RETRY);
        calls_plan(
            &(struct call_plan){.function = "vm_terminate", .fails = held ? ERR_RETRY : ERR_NONE});
        uint64_t before = wakeup_count(&world.worker.intake);
        launch_class("small", 0);
        assert_int_equal(wakeup_count(&world.worker.intake) - before, held ? 0 : 1);
    }
}

static void launch_is_retried_no_sooner_than_the_other_side_asked(void **state)
{
    plan(STEP_RUN, (struct call_plan){.fails = ERR_RETRY, .retry_after_ms = 7000});
    launch_class("small", 0);
    assert_int_equal(calls_count("queue_nack", "delay_ms=7000 spent reason=run (attempt 1 of 3)"),
                     1);
}

static void launch_throttled_or_over_quota_pauses_the_class_and_spends_nothing(void **state)
{
    const struct {
        enum step step;
        enum err_class class;
        int64_t retry_after_ms;
        const char *calls;
    } cases[] = {
        {STEP_REGISTER, ERR_THROTTLED, 9000,
         RESERVE DECIDED REGISTER ENDING TERMINATE("small", "@") GONE LOGGED(
             "wait", "register (attempt 1001 of 3): scripted") "lane_pause_until small "
                                                               "in_ms=9000\n" WAITS(
                                                                   "9000", "register", "1001")},
        {STEP_RUN, ERR_CAPACITY, 0,
         TO_RUN UNDO LOGGED("wait",
                            "run (attempt 1001 of 3): scripted") "lane_pause_until small "
                                                                 "in_ms=5000\n" WAITS("5000", "run",
                                                                                      "1001")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        anew();
        plan(cases[i].step, (struct call_plan){.fails = cases[i].class,
                                               .retry_after_ms = cases[i].retry_after_ms});
        launch_class("small", 1000);
        assert_calls(cases[i].calls);
    }
}

static void launch_permanent_or_out_of_attempts_is_buried(void **state)
{
    fail_step(STEP_RUN, ERR_PERMANENT);
    launch_class("small", 0);
    assert_calls(TO_RUN UNDO REFUSED("*") BURIED("run", "1"));
    anew();
    fail_step(STEP_RUN, ERR_RETRY);
    launch_class("small", 2);
    assert_calls(TO_RUN UNDO BURIED("run", "3"));
}

static void launch_refused_while_its_class_is_stopped_waits_unspent(void **state)
{
    world.config->circuit.failure_threshold = 1;
    fail_step(STEP_RUN, ERR_PERMANENT);
    launch_class("small", 2);
    assert_calls(TO_RUN UNDO REFUSED("*") LOGGED("wait", "run (attempt 3 of 3): scripted")
                     WAITS("120000", "run", "3"));
}

static void launch_refused_by_the_ledger_says_nothing_about_the_class(void **state)
{
    const enum step steps[] = {STEP_RESERVE, STEP_RECORD};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        anew();
        fail_step(steps[i], ERR_PERMANENT);
        launch_class("small", 0);
        assert_int_equal(calls_count("ledger_cell_put", NULL), 0);
        assert_int_equal(calls_done("queue_dead_letter", NULL), 1);
    }
}

static void launch_unreadable_or_of_an_unknown_class_is_buried_untouched(void **state)
{
    launch_body("{\"v\":", 0);
    assert_calls(DECIDED "queue_dead_letter id=1 reason=?*\n");
    anew();
    launch_class("medium", 0);
    assert_calls(DECIDED
                 "queue_dead_letter id=1 reason=its class is not configured here: add the class, "
                 "then redrive this message\n");
}

static void launch_without_a_job_goes_by_the_scope_of_the_request(void **state)
{
    const char *const request =
        "{\"v\":1,\"scope\":\"warm\",\"class\":\"small\",\"reason\":\"warm\",\"installation\":6}";
    struct ledger_job *waiting = memory_job(world.url, 7);
    waiting->state = JOB_WAITING;
    memcpy(waiting->scope, "warm", sizeof "warm");
    memcpy(waiting->facts.class_name, "small", sizeof "small");
    launch_body(request, 0);
    assert_int_equal(calls_count("ledger_reserve", "job=0 class=small scope=warm "), 1);
    assert_int_equal(calls_count("github_register_runner", "scope=warm installation=6 "), 1);
    anew();
    fail_step(STEP_RESERVE, ERR_RETRY);
    launch_body(request, 0);
    assert_int_equal(calls_count("ledger_log_event", NULL), 0);
    assert_int_equal(calls_done("queue_nack", NULL), 1);
}

/* --- launches that last --- */
static void step_takes_long(void)
{
    for (int64_t end = world.now_ms + step_ms; world.now_ms < end;) {
        int64_t left = end - world.now_ms;
        world.now_ms += left < 1000 ? left : 1000;
        if (!heart_stops) {
            (void)heartbeat_send_due(world.worker.heartbeat);
        }
    }
}

static void registration_takes_long(void) /* yet not as long as such a step may */
{
    int64_t run_ms = step_ms;
    step_ms = 50000;
    step_takes_long();
    step_ms = run_ms;
}

/* Launches while a step takes that long; whether a VM was requested. */
static bool asks_while_slow(enum step step, int64_t ms)
{
    step_ms = ms;
    plan(step, (struct call_plan){.happens = step_takes_long});
    launch_class("small", 0);
    return calls_count("vm_run", NULL) > 0;
}

static void launch_longer_than_its_lease_keeps_its_message(void **state)
{
    plan(STEP_REGISTER, (struct call_plan){.happens = registration_takes_long});
    assert_true(asks_while_slow(STEP_RUN, 180000));
    assert_int_equal(calls_done("queue_ack", NULL), 1);
    assert_int_equal(calls_done("queue_extend", "lease_ms=30000"), 23);
    assert_int_equal(calls_done("ledger_vm_heartbeat", vm_name()), 23);
}

static void launch_whose_heart_stopped_past_its_lease_asks_for_no_vm(void **state)
{
    heart_stops = true;
    assert_true(asks_while_slow(STEP_REGISTER, LEASE_MS));
    anew();
    heart_stops = true;
    assert_false(asks_while_slow(STEP_REGISTER, LEASE_MS + 1));
    assert_calls(RESERVE DECIDED REGISTER REGISTERED
                 "ledger_vm_advance vm=@ to=ending * reason=launch failed: the launch lost its "
                 "message*\n" TERMINATE("small", "@") UNREGISTER GONE
                 "ledger_log_event *\n"
                 "queue_nack id=1 delay_ms=* spent reason=run (attempt 1*\n");
}

static void launch_whose_message_or_row_became_anothers_asks_for_no_vm(void **state)
{
    world_fail("queue_extend", ERR_CONFLICT);
    assert_false(asks_while_slow(STEP_REGISTER, LEASE_MS / 2));
    assert_int_equal(calls_count("ledger_vm_heartbeat", NULL), 0);
    anew();
    world_fail("ledger_vm_heartbeat", ERR_CONFLICT);
    assert_false(asks_while_slow(STEP_REGISTER, LEASE_MS / 2));
}

static void launch_that_hangs_is_kept_until_its_step_or_its_timeout_is_over(void **state)
{
    assert_false(asks_while_slow(STEP_REGISTER, 600000));
    assert_int_equal(calls_count("queue_extend", NULL), 5); /* at 10 to 50 s: it may take 60 */
    anew();
    (void)asks_while_slow(STEP_RUN, 600000);
    assert_int_equal(calls_count("queue_extend", NULL), 29); /* at 10 to 290 s of 300 */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_smooth_makes_each_call_once_and_is_done),
        CASE(launch_of_the_other_class_has_its_own_limits_and_the_default_group),
        CASE(launch_not_reserved_goes_back_unspent),
        CASE(launch_failed_at_any_step_is_undone_and_retried),
        CASE(launch_satisfied_is_done_unless_its_job_is_being_launched),
        CASE(slot_of_a_failed_launch_is_announced_unless_it_is_still_held),
        CASE(launch_is_retried_no_sooner_than_the_other_side_asked),
        CASE(launch_throttled_or_over_quota_pauses_the_class_and_spends_nothing),
        CASE(launch_permanent_or_out_of_attempts_is_buried),
        CASE(launch_refused_while_its_class_is_stopped_waits_unspent),
        CASE(launch_refused_by_the_ledger_says_nothing_about_the_class),
        CASE(launch_unreadable_or_of_an_unknown_class_is_buried_untouched),
        CASE(launch_without_a_job_goes_by_the_scope_of_the_request),
        CASE(launch_longer_than_its_lease_keeps_its_message),
        CASE(launch_whose_heart_stopped_past_its_lease_asks_for_no_vm),
        CASE(launch_whose_message_or_row_became_anothers_asks_for_no_vm),
        CASE(launch_that_hangs_is_kept_until_its_step_or_its_timeout_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
