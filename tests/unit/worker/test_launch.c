/*
 * The launch protocol, step by step: every call it makes, in order, and how the message ends. The
 * lane alone is scripted.
 */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/job/publish.h"
#include "common/payload/payload.h"
#include "tests/unit/worker/launch_bed.h"
#include "worker/heartbeat.h"

static bool heart_stops; /* while a step takes long: the process was frozen */
static int64_t step_ms;  /* of a step that was planned as slow */

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

static int set_up(void **state)
{
    (void)state;
    heart_stops = false;
    return launch_bed_set_up("small");
}

static void anew(void)
{
    (void)launch_bed_tear_down(NULL);
    (void)set_up(NULL);
}

/* --- one launch --- */
static void launch_body(const char *body, int64_t attempts)
{
    world_put("launch.small", body);
    launch_bed_next("launch.small", attempts);
}

static void launch_class(const char *class_name, int64_t attempts)
{
    if (config_class_by_name(world.config, slice_of(class_name)) != NULL) {
        launch_bed_subjects(class_name, &lane.subjects);
    }
    world_put_queued("launch.small", class_name, 42);
    launch_bed_next("launch.small", attempts);
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
    " caps=9/3/2 rates=1:4,3:4\n"
#define RESERVE_LARGE                                                                              \
    "ledger_reserve job=42 class=large scope=acme deployment=t provider=lambda host="              \
    " caps=9/5/2 rates=1:2,7:8\n"
#define DECIDED "lane_reservation_ended small\n"
#define REGISTER                                                                                   \
    "ledger_cell_get kind=reconciled name=small/$\nvm_room class=small\n"                          \
    "github_register_runner scope=acme installation=11 name=@ label=self-hosted group=Fleet\n"
#define REGISTER_LARGE                                                                             \
    "ledger_cell_get kind=reconciled name=large\n"                                                 \
    "github_register_runner scope=acme installation=11 name=@ label=large group=Default\n"
#define ADVANCE(to, runner, machine, deadline, reason)                                             \
    "ledger_vm_advance vm=@ to=" to " runner_id=" runner " vm_id=" machine                         \
    " deadline_ms=" deadline " reason=" reason "\n"
#define REGISTERED ADVANCE("registered", "1001", "-", "0", "-")
#define REGISTERED_LARGE ADVANCE("registered", "1001", "-", "0", "- pace=run/lambda/r/1 1:2")
#define RUN(class) "vm_run class=" class " name=@ token=@ max_duration_ms=60000\n"
#define RECORD ADVANCE("launched", "0", "id-@", "1800000060000", "-")
#define DONE "queue_ack id=1\n"
#define TO_RUN RESERVE DECIDED REGISTER REGISTERED RUN("small")
#define TO_REGISTER_LARGE RESERVE_LARGE DECIDED REGISTER_LARGE
#define TO_RUN_LARGE TO_REGISTER_LARGE REGISTERED_LARGE RUN("large")
#define ENDING ADVANCE("ending", "0", "-", "0", "launch failed: scripted")
#define TERMINATE(class, id) "vm_terminate class=" class " id=" id " grace_ms=0\n"
#define UNREGISTER "github_delete_runner scope=acme id=1001\n"
#define GONE ADVANCE("gone", "0", "-", "0", "-")
#define LOGGED(what, detail) "ledger_log_event job=42 vm=@ what=" what " detail=" detail "\n"
/* The job waits for the subject, and has spent nothing. */
#define WAITS(step, subject)                                                                       \
    LOGGED("wait", step " (" subject "): scripted")                                                \
    "queue_nack id=1 delay_ms=?* reason=" step " (" subject "): scripted\n"
#define RETRIED(step, attempt)                                                                     \
    LOGGED("retry", "attempt " attempt " of 3 failed at " step ": scripted")                       \
    "queue_nack id=1 delay_ms=* spent reason=attempt " attempt " of 3 failed at " step             \
    ": scripted\n"
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
    assert_calls(TO_RUN RECORD DONE);
    assert_payload("http://plain:1", "http://secure:2", "near.example");
}

static void launch_of_the_other_class_has_its_own_limits_and_the_default_group(void **state)
{
    launch_class("large", 0);
    assert_calls(TO_RUN_LARGE RECORD DONE);
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

/* Only a lost response leaves it open whether a VM runs. However often the message was tried. */
static void launch_failed_at_any_step_is_undone_and_waits_unspent(void **state)
{
    const struct {
        enum step step;
        int code;
        const char *calls;
    } cases[] = {
        {STEP_RESERVE, 0, RESERVE_LARGE DECIDED WAITS("reserve", "about the ledger")},
        {STEP_REGISTER, 0, TO_REGISTER_LARGE ENDING GONE WAITS("register", "waits for github:api")},
        {STEP_REGISTER, 502,
         TO_REGISTER_LARGE ENDING GONE WAITS("register", "waits for runner_group:acme/default")},
        {STEP_RUN, 500, TO_RUN_LARGE ENDING UNREGISTER WAITS("run", "waits for class:large")},
        {STEP_RUN, VM_RUN_NOTHING,
         TO_RUN_LARGE ENDING UNREGISTER GONE WAITS("run", "waits for target:lambda/r/1")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int64_t attempts = 0; attempts < 9; attempts += 8) {
            anew();
            plan(cases[i].step, (struct call_plan){.fails = ERR_RETRY, .code = cases[i].code});
            launch_class("large", attempts);
            assert_calls(cases[i].calls);
        }
    }
}

/* What GitHub and the provider answered is written again and again while the launch holds its
 * message and its row. */
static void answer_is_written_until_it_is_written(void **state)
{
    const enum step steps[] = {STEP_REGISTERED, STEP_RECORD};
    const char *const writes[] = {"registered", "launched"};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        anew();
        plan(steps[i], (struct call_plan){.fails = ERR_RETRY, .times = 7});
        launch_class("small", 0);
        assert_int_equal(calls_count("ledger_vm_advance", writes[i]), 8);
        assert_int_equal(calls_done("queue_ack", NULL), 1);
        assert_int_equal(calls_count("vm_terminate", NULL), 0);
        anew();
        fail_step(steps[i], ERR_CONFLICT); /* the row is another's */
        launch_class("small", 0);
        assert_int_equal(calls_count("ledger_vm_advance", writes[i]), 1);
        assert_int_equal(calls_count("github_delete_runner", NULL), 1);
    }
}

/* For longer than its lease: a registration is undone, a VM's id goes by the lane of events. */
static void ledger_that_stays_away_costs_no_attempt_and_no_vm(void **state)
{
    fail_step(STEP_REGISTERED, ERR_RETRY);
    launch_class("small", 5);
    assert_int_equal(calls_count("queue_nack", "spent"), 0);
    assert_int_equal(calls_done("queue_nack", "about the ledger"), 1);
    anew();
    fail_step(STEP_RECORD, ERR_RETRY);
    calls_plan(&(struct call_plan){.function = "queue_put", .fails = ERR_RETRY, .times = 3});
    launch_class("small", 5);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    assert_int_equal(calls_count("queue_put", "lane=events"), 4);
    assert_int_equal(calls_count("queue_nack", NULL), 0);
    struct queue_message m = world_take("events");
    struct vm_recorded r;
    struct err e;
    MUST(vm_recorded_decode((struct slice){m.body, m.body_len}, &r, &e));
    assert_string_equal(r.name, vm_name());
    assert_string_equal(r.vm_id + strlen("id-"), vm_name());
    assert_true(r.deadline_ms > WORLD_BEGAN_MS);
    queue_message_fini(&m);
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
        {JOB_WAITING, 7, 45001, false, RESERVE LIST "*to=gone*\n" TO_RUN RECORD DONE},
        {JOB_WAITING, 7, 0, true, RESERVE LIST DECIDED WAITS("reserve", "about the ledger")},
        {JOB_RUNNING, 7, 0, false, RESERVE LIST DECIDED DONE},
        {JOB_RUNNING, 42, 1000, false,
         RESERVE LIST DECIDED "queue_nack id=1 delay_ms=34001 reason=another worker's launch for "
                              "this job is in progress\n"},
        {JOB_RUNNING, 7, 45001, false, RESERVE LIST "*to=gone*\n" RESERVE LIST DECIDED DONE},
        {JOB_RUNNING, 7, 0, true, RESERVE LIST DECIDED WAITS("reserve", "about the ledger")},
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
        world_note_silent_rows();
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

/* The circuits of what the answer is about without doubt. */
static void answer_without_doubt_opens_a_circuit_at_once(void **state)
{
    const struct {
        enum step step;
        enum err_class class;
        int code;
        const char *subject;
    } cases[] = {
        {STEP_REGISTER, ERR_THROTTLED, 403, "installation:acme"},
        {STEP_REGISTER, ERR_CAPACITY, 422, "runner_group:acme/default"},
        {STEP_RUN, ERR_CAPACITY, 402, "target:lambda/r/1"},
        {STEP_RUN, ERR_PERMANENT, 404, "class:large"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char with[96];
        struct circuit c;
        struct err e;
        anew();
        plan(cases[i].step, (struct call_plan){.fails = cases[i].class,
                                               .code = cases[i].code,
                                               .retry_after_ms = 9000});
        launch_class("large", 1000);
        (void)snprintf(with, sizeof with, "kind=circuit name=%s", cases[i].subject);
        assert_int_equal(calls_done("ledger_cell_put", with), 1);
        assert_int_equal(calls_count("queue_nack", "spent"), 0);
        assert_int_equal(calls_done("queue_nack", NULL), 1);
        MUST(circuit_load(world.worker.ledger, cases[i].subject, &c, &e));
        assert_string_equal(c.why, "scripted");
        assert_true(c.open_until_ms >= world.now_ms + 9000);
    }
}

/* Behind those never tried, with no call for it: nothing is reserved or registered. */
static void launch_under_an_open_circuit_is_parked_untouched(void **state)
{
    plan(STEP_REGISTER,
         (struct call_plan){
             .fails = ERR_THROTTLED, .code = 403, .times = 1, .retry_after_ms = 9000});
    launch_class("small", 0);
    calls_reset();
    launch_class("small", 0);
    assert_calls(DECIDED "ledger_log_event job=42 vm= what=waits detail=for installation:acme, "
                         "whose circuit is open\n"
                         "queue_nack id=2 delay_ms=9000 reason=waits for installation:acme: "
                         "scripted\n");
    world.now_ms += 9000; /* half open: this one is the probe, and it works */
    calls_reset();
    launch_class("small", 0);
    assert_int_equal(calls_done("ledger_cell_put", "name=installation:acme"), 2);
    calls_reset();
    launch_class("small", 0);
    assert_int_equal(calls_count("ledger_cell_put", NULL), 0);
}

/* A failure that says nothing about the subject leaves its probe to the next launch. */
static void probe_that_proved_nothing_is_given_back(void **state)
{
    struct circuit c;
    struct err e;
    plan(STEP_RUN, (struct call_plan){.fails = ERR_PERMANENT, .code = 404, .times = 1});
    launch_class("large", 0);
    MUST(circuit_load(world.worker.ledger, "class:large", &c, &e));
    world.now_ms = c.open_until_ms;
    fail_step(STEP_REGISTER, ERR_RETRY);
    launch_class("large", 0);
    MUST(circuit_load(world.worker.ledger, "class:large", &c, &e));
    assert_true(circuit_is_open(&c, world.now_ms));
    assert_string_equal(c.probe, "");
    assert_int_equal(c.opens, 1);
}

/* A token that was used for another launch is this job's own trouble. */
static void error_about_the_job_itself_spends_attempts_until_it_is_buried(void **state)
{
    fail_step(STEP_RUN, ERR_CONFLICT);
    launch_class("large", 1);
    assert_calls(TO_RUN_LARGE ENDING UNREGISTER GONE RETRIED("run", "2"));
    anew();
    fail_step(STEP_RUN, ERR_CONFLICT);
    launch_class("large", 2);
    assert_calls(TO_RUN_LARGE ENDING UNREGISTER GONE LOGGED(
        "dead_letter", "attempt 3 of 3 failed at run: scripted") "queue_dead_letter id=1 "
                                                                 "reason=attempt 3 of 3 failed at "
                                                                 "run: scripted\n");
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
                 "vm_room_release class=small\n"
                 "ledger_vm_advance vm=@ to=ending *: the launch lost its message*\n" TERMINATE(
                     "small", "@") UNREGISTER GONE "ledger_log_event *\n"
                                                   "queue_nack id=1 delay_ms=* reason=run (*\n");
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, launch_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_smooth_makes_each_call_once_and_is_done),
        CASE(launch_of_the_other_class_has_its_own_limits_and_the_default_group),
        CASE(launch_not_reserved_goes_back_unspent),
        CASE(launch_failed_at_any_step_is_undone_and_waits_unspent),
        CASE(launch_satisfied_is_done_unless_its_job_is_being_launched),
        CASE(slot_of_a_failed_launch_is_announced_unless_it_is_still_held),
        CASE(answer_is_written_until_it_is_written),
        CASE(ledger_that_stays_away_costs_no_attempt_and_no_vm),
        CASE(answer_without_doubt_opens_a_circuit_at_once),
        CASE(launch_under_an_open_circuit_is_parked_untouched),
        CASE(probe_that_proved_nothing_is_given_back),
        CASE(error_about_the_job_itself_spends_attempts_until_it_is_buried),
        CASE(launch_unreadable_or_of_an_unknown_class_is_buried_untouched),
        CASE(launch_without_a_job_goes_by_the_scope_of_the_request),
        CASE(launch_longer_than_its_lease_keeps_its_message),
        CASE(launch_whose_heart_stopped_past_its_lease_asks_for_no_vm),
        CASE(launch_whose_message_or_row_became_anothers_asks_for_no_vm),
        CASE(launch_that_hangs_is_kept_until_its_step_or_its_timeout_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
