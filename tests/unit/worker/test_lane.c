/*
 * One poll of a class's lane: what prevents a receive, and for how long. A wait ends at once, and
 * the clock has advanced by it.
 */
#include <string.h>

#include "tests/unit/worker/world.h"

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/base/random.h"
#include "common/ledger/circuit.h"
#include "worker/lane.h"

#define PAUSES "ledger_cell_list kind=pause\n"
#define LOOK PAUSES "ledger_cell_list kind=circuit\n"
#define ROOM LOOK "ledger_capacity class=small caps=9/3/2 rates=1:4,3:4\n"
#define KNOWN "ledger_cell_get kind=reconciled name=small/$\n"
#define TAKE KNOWN "queue_receive lane=launch.small max=1 lease_ms=30000 wait_ms=1000\n"
#define FREED "ledger_release_seq \n"
#define WAIT(ms) "wakeup_wait wakes=0 timeout_ms=" #ms "\n"
#define SLEEP(ms) "wakeup_sleep timeout_ms=" #ms "\n"

static struct lane *lane;
static bool watching;
static bool drained;
static bool drained_meanwhile; /* from the second look on */
static char last_used[32];

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);
bool __wrap_wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms);
bool __wrap_ledger_watching(struct ledger *l);
bool __wrap_presence_drained(const struct presence *p);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    assert_ptr_equal(s, &world.worker.intake);
    (void)call_begin("wakeup_sleep", NULL, "timeout_ms=%lld", (long long)timeout_ms);
    return wakeup_raised(s);
}

bool __wrap_wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms)
{
    assert_ptr_equal(s, &world.worker.intake);
    (void)call_begin("wakeup_wait", NULL, "wakes=%llu timeout_ms=%lld", (unsigned long long)seen,
                     (long long)timeout_ms);
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

/* Whether the store notifies of released slots: the one in memory does not. */
bool __wrap_ledger_watching(struct ledger *l)
{
    assert_ptr_equal(l, world.worker.ledger);
    return watching;
}

bool __wrap_presence_drained(const struct presence *p)
{
    assert_ptr_equal(p, world.worker.presence);
    bool now = drained;
    drained = drained || drained_meanwhile;
    return now;
}

static int set_up(void **state)
{
    int rc = world_set_up(state);
    world.config->worker.capacity_poll_ms = 250;
    watching = false;
    drained = false;
    drained_meanwhile = false;
    lane = lane_new(&world.worker, config_class_by_name(world.config, SLICE("small")));
    for (int i = 0; i < 4; i++) {
        world_put("launch.small", "{}");
    }
    calls_reset();
    return rc;
}

static int tear_down(void **state)
{
    lane_free(lane);
    return world_tear_down(state);
}

/* $: the host. */
static void assert_calls(const char *pattern)
{
    struct buf text;
    buf_init(&text, 65536);
    for (const char *p = pattern; *p != '\0'; p++) {
        const char one[] = {*p, '\0'};
        buf_append_cstr(&text, *p == '$' ? fleet_host(world.worker.fleet) : one);
    }
    calls_assert(text.data);
    buf_fini(&text);
}

/* One poll that makes these calls and returns whether it received a message. What was planned is
 * for that one; the next is a second later, when the circuit's record is read again. */
static void assert_look(bool takes, const char *calls)
{
    struct queue_message m = {.id = ""};
    assert_int_equal(lane_poll(lane, world.config, &m), takes);
    assert_calls(calls);
    assert_int_equal(m.id[0] != '\0', takes);
    queue_message_fini(&m);
    calls_reset();
    world.now_ms += 1000;
}

/* Slots that are in use. */
static void use(const char *class_name, int n)
{
    static int used;
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "vm-%d", ++used);
        struct ledger_vm *vm = memory_vm(world.url, name);
        (void)snprintf(vm->class_name, sizeof vm->class_name, "%s", class_name);
        (void)snprintf(vm->scope, sizeof vm->scope, "acme");
        vm->state = VM_LAUNCHED;
    }
    (void)snprintf(last_used, sizeof last_used, "vm-%d", used);
}

static void free_slot(void)
{
    memory_vm(world.url, last_used)->state = VM_GONE;
}

static void wake(void)
{
    wakeup_signal(&world.worker.intake);
}

static void stop(void)
{
    wakeup_raise(&world.worker.intake);
}

/* At the n-th such call of the next look. */
static void plan(const char *function, int n, void (*happens)(void))
{
    calls_plan(
        &(struct call_plan){.function = function, .skip = n - 1, .times = 1, .happens = happens});
}

static void plan_failure(const char *function, int n)
{
    calls_plan(
        &(struct call_plan){.function = function, .skip = n - 1, .times = 1, .fails = ERR_RETRY});
}

static int64_t told_full(void)
{
    return metric_value(metrics_gauge("mayfly_worker_class_full", "class=\"small\""));
}

static void lane_with_room_takes_one_message(void **state)
{
    use("small", 2);
    use("large", 6);
    assert_look(true, ROOM TAKE);
    assert_int_equal(told_full(), 0);
    assert_false(lane_was_full(lane, 60000));
}

static void lane_without_a_message_counts_none(void **state)
{
    struct queue_message taken[4];
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        taken[i] = world_take("launch.small");
        queue_message_fini(&taken[i]);
    }
    calls_reset();
    queue_interrupt(world.worker.queue); /* it does not wait for one */
    for (int i = 0; i < 5; i++) {
        assert_look(false, ROOM TAKE);
    }
}

/* Messages that were received and have no slot yet are not in the ledger's counts. */
static void message_taken_and_not_reserved_holds_a_slot(void **state)
{
    use("small", 1);
    assert_look(true, ROOM TAKE);
    assert_look(true, ROOM TAKE);
    watching = true;
    assert_look(false, ROOM FREED WAIT(1000) FREED);
    lane_reservation_ended(lane);
    assert_look(true, ROOM TAKE);
    lane_reservation_ended(lane);
    use("large", 7); /* now it is the fleet's cap */
    assert_look(false, ROOM FREED WAIT(1000) FREED);
}

static void full_lane_is_left_alone_until_a_slot_is_freed(const char *class_name, int slots)
{
    use(class_name, slots);
    /* Never: caps may have been raised, so it looks again. */
    assert_look(false, ROOM FREED WAIT(250) FREED WAIT(250) FREED WAIT(250) FREED WAIT(250) FREED);
    assert_int_equal(told_full(), 1);
    assert_true(lane_was_full(lane, 60000));
    assert_false(lane_was_full(lane, 0));
    plan("wakeup_wait", 2, free_slot);
    assert_look(false, ROOM FREED WAIT(250) FREED WAIT(250) FREED);
    assert_look(true, ROOM TAKE);
    assert_int_equal(told_full(), 0);
    assert_true(lane_was_full(lane, 60000));
}

static void full_class_is_left_alone_until_a_slot_is_freed(void **state)
{
    full_lane_is_left_alone_until_a_slot_is_freed("small", 3);
}

static void full_fleet_is_left_alone_until_a_slot_is_freed(void **state)
{
    full_lane_is_left_alone_until_a_slot_is_freed("large", 9);
}

static void full_lane_is_woken_by_a_slot_of_its_own_worker_or_the_stop(void **state)
{
    use("small", 3);
    plan("wakeup_wait", 2, stop);
    assert_look(false, ROOM FREED WAIT(250) FREED WAIT(250));
    wakeup_fini(&world.worker.intake);
    wakeup_init(&world.worker.intake);
    plan("wakeup_wait", 2, wake);
    assert_look(false, ROOM FREED WAIT(250) FREED WAIT(250));
}

/* It came between the look and the wait. */
static void slot_freed_while_the_lane_looks_for_room_is_not_missed(void **state)
{
    use("small", 3);
    plan("ledger_capacity", 1, wake);
    assert_look(false, ROOM FREED WAIT(250));
}

static void full_lane_that_is_told_of_slots_does_not_poll(void **state)
{
    use("small", 3);
    watching = true;
    assert_look(false, ROOM FREED WAIT(1000) FREED);
}

static void full_lane_without_the_counter_looks_for_room_again_soon(void **state)
{
    use("small", 3);
    plan_failure("ledger_release_seq", 1);
    assert_look(false, ROOM FREED WAIT(250));
    plan_failure("ledger_release_seq", 2);
    assert_look(false, ROOM FREED WAIT(250) FREED);
}

static void lane_without_a_rate_token_is_not_taken(void **state)
{
    struct err e = {0};
    MUST(ledger_rate_pause(world.worker.ledger, "launch.small", world.now_ms + 200, &e));
    calls_reset();
    assert_look(false, ROOM SLEEP(200));
    assert_look(true, ROOM TAKE);
}

static const struct subjects *subjects_of(const char *class_name)
{
    static struct subjects s;
    subjects_of_class(config_class_by_name(world.config, slice_of(class_name)),
                      fleet_provider(world.worker.fleet, class_name),
                      fleet_host(world.worker.fleet), &s);
    return &s;
}

static void fail_subject(const struct subjects *s, enum subject subject, bool needs_launch)
{
    const struct err why = {.class = ERR_RETRY, .message = "no response"};
    const struct verdict v = {
        .subject = subject, .treatment = TREAT_WAIT, .at_once = true, .needs_launch = needs_launch};
    (void)circuits_failed(world.worker.circuits, world.config, s, &v, 1, "", &why);
}

static int64_t wait_for(const struct subjects *s)
{
    return circuits_stop_of(world.worker.circuits, s).wait_ms;
}

/* The class, whose probe is a launch: it is received again when the pause is over. */
static void lane_of_an_open_circuit_is_left_alone_until_its_probe(void **state)
{
    fail_subject(subjects_of("small"), SUBJECT_CLASS, true);
    calls_reset();
    int64_t pause_ms = wait_for(subjects_of("small"));
    assert_in_range(pause_ms, 1, 60000);
    world.now_ms += pause_ms - 1;
    assert_look(false, LOOK SLEEP(1));
    assert_look(true, ROOM TAKE);
}

/* Nobody held the job's message while it waited. */
static void job_that_comes_out_of_a_full_lane_has_waited_for_a_slot(void **state)
{
    struct queue_message m = {.id = ""};
    int64_t began_ms = world.now_ms;
    (void)state;
    memory_job(world.url, 42)->state = JOB_WAITING;
    lane_log_waits(lane, 42, "vm-x", began_ms);
    assert_int_equal(calls_count("ledger_log_event", NULL), 0);
    use("small", 3);
    for (int i = 0; i < 5; i++) {
        assert_false(lane_poll(lane, world.config, &m));
        world.now_ms = began_ms + (i + 1) * 1000;
    }
    free_slot();
    assert_true(lane_poll(lane, world.config, &m));
    lane_log_waits(lane, 0, "vm-x", began_ms);
    lane_log_waits(lane, 42, "vm-x", began_ms);
    assert_int_equal(calls_done("ledger_log_event", NULL), 1);
    assert_int_equal(calls_count("ledger_log_event",
                                 "job=42 vm=vm-x what=waited detail=4.0 s for a "
                                 "slot of class small"),
                     1);
    queue_message_fini(&m);
}

/* GitHub is probed without a launch, by one caller, and the lane goes on when it works. */
static void lane_stopped_by_github_probes_it_first(void **state)
{
    fail_subject(subjects_of("small"), SUBJECT_GITHUB, false);
    world.now_ms += wait_for(subjects_of("small"));
    calls_reset();
    world_fail("github_ping", ERR_RETRY);
    struct queue_message m = {.id = ""};
    assert_false(lane_poll(lane, world.config, &m));
    assert_int_equal(calls_count("github_ping", NULL), 1);
    assert_int_equal(calls_count("queue_receive", NULL), 0);
    world_heal();
    world.now_ms += wait_for(subjects_of("small")) + 1000;
    calls_reset();
    assert_true(lane_poll(lane, world.config, &m));
    assert_int_equal(calls_count("github_ping", NULL), 1);
    assert_int_equal(wait_for(subjects_of("small")), 0);
    queue_message_fini(&m);
}

/* What this host cannot resolve says nothing about GitHub, whose circuit others may close. */
static void probe_by_a_host_without_dns_is_no_news_of_github(void **state)
{
    struct queue_message m = {.id = ""};
    struct circuit c;
    struct err e;
    char name[LEDGER_CELL_NAME];
    const struct call_plan unresolved = {
        .function = "github_ping", .fails = ERR_RETRY, .code = -1, .of_this_host = true};
    (void)snprintf(name, sizeof name, "github:api@%s", fleet_host(world.worker.fleet));
    fail_subject(subjects_of("small"), SUBJECT_GITHUB, false);
    for (int i = 0; i < 3; i++) {
        world.now_ms += wait_for(subjects_of("small")) + 1000;
        calls_reset();
        calls_plan(&unresolved);
        assert_false(lane_poll(lane, world.config, &m));
        MUST(circuit_load(world.worker.ledger, "github:api", &c, &e));
        assert_int_equal(c.opens, 1);
        assert_string_equal(c.probe, "");
    }
    fail_subject(subjects_of("small"), SUBJECT_GITHUB_HERE, false);
    MUST(circuit_load(world.worker.ledger, name, &c, &e));
    assert_true(circuit_is_open(&c, world.now_ms));
    /* It resolves again, and GitHub works. */
    world_heal();
    world.now_ms += wait_for(subjects_of("small")) + 1000;
    (void)lane_poll(lane, world.config, &m);
    assert_int_equal(wait_for(subjects_of("small")), 0);
    queue_message_fini(&m);
}

/* This fleet's own rate (github.rate) is no news of GitHub. */
static void probe_that_may_not_call_proves_nothing(void **state)
{
    struct queue_message m = {.id = ""};
    struct circuit c;
    struct err e;
    fail_subject(subjects_of("small"), SUBJECT_GITHUB, false);
    world.now_ms += wait_for(subjects_of("small"));
    calls_reset();
    world_fail("github_ping", ERR_THROTTLED);
    assert_false(lane_poll(lane, world.config, &m));
    assert_int_equal(calls_count("github_ping", NULL), 1);
    MUST(circuit_load(world.worker.ledger, "github:api", &c, &e));
    assert_true(circuit_is_open(&c, world.now_ms));
    assert_int_equal(c.opens, 1);
    assert_string_equal(c.probe, "");
}

static void target_in_trouble_is_probed_by_a_list_and_no_launch(void **state)
{
    struct lane *large =
        lane_new(&world.worker, config_class_by_name(world.config, SLICE("large")));
    const struct subjects *s = subjects_of("large");
    struct queue_message m = {.id = ""};
    fail_subject(s, SUBJECT_TARGET, false);
    world.now_ms += wait_for(s);
    world_fail("vm_probe", ERR_RETRY);
    assert_false(lane_poll(large, world.config, &m));
    assert_true(wait_for(s) > 0);
    world_heal();
    world.now_ms += wait_for(s) + 1000;
    world_put("launch.large", "{}");
    calls_reset();
    assert_true(lane_poll(large, world.config, &m));
    assert_int_equal(calls_count("vm_probe", "class=large"), 1);
    queue_message_fini(&m);
    lane_free(large);
}

static void middling_bytes(void *out, size_t size)
{
    memset(out, 0x7f, size);
}

/* The copy that was read last, in a pause that is longer than it is young. */
static void circuits_hold_while_the_ledger_is_away(void **state)
{
    random_set_source(middling_bytes);
    fail_subject(subjects_of("small"), SUBJECT_CLASS, true);
    random_set_source(NULL);
    world.now_ms += 1000;
    assert_true(wait_for(subjects_of("small")) > 1);
    struct queue_message m = {.id = ""};
    calls_reset();
    plan_failure("ledger_cell_list", 2); /* that of the circuits */
    assert_false(lane_poll(lane, world.config, &m));
    assert_int_equal(calls_count("queue_receive", NULL), 0);
}

static void store_in_trouble_is_asked_again_in_half_a_second(void **state)
{
    plan_failure("ledger_capacity", 1);
    assert_look(false, ROOM SLEEP(500));
    plan_failure("queue_receive", 1);
    assert_look(false, ROOM TAKE SLEEP(500));
}

/* The messages are left for other hosts. */
static void drained_host_takes_no_message_until_it_is_undrained(void **state)
{
    char heartbeat;
    world.worker.presence = (struct presence *)(void *)&heartbeat;
    drained = true;
    assert_look(false, SLEEP(1000));
    drained = false;
    assert_look(true, ROOM TAKE);
    drained_meanwhile = true;
    assert_look(false, ROOM TAKE "queue_nack id=2 delay_ms=0 "
                                 "reason=the host that received it is drained\n");
    world.worker.presence = NULL;
}

static void pause_class(void)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    world.now_ms += 1000; /* the copy is as old as may be */
    MUST(
        ledger_pause_begin(world.worker.ledger, "small", "me@here", "a bad image", &p, &began, &e));
    assert_true(began);
}

static void resume_class(void)
{
    struct ledger_pause was;
    struct err e;
    MUST(ledger_pause_end(world.worker.ledger, "small", &was, &e));
    assert_string_equal(was.reason, "a bad image");
    calls_reset();
}

static int64_t told_paused(void)
{
    return metric_value(metrics_gauge("mayfly_worker_class_paused", "class=\"small\""));
}

static void paused_class_is_left_alone_until_it_is_resumed(void **state)
{
    pause_class();
    calls_reset();
    assert_look(false, PAUSES SLEEP(1000));
    assert_int_equal(told_paused(), 1);
    assert_look(false, PAUSES SLEEP(1000));
    resume_class();
    assert_look(true, ROOM TAKE);
    assert_int_equal(told_paused(), 0);
}

/* A receive may wait longer than the copy of the pauses is valid. */
static void message_received_while_the_class_is_paused_goes_back_unspent(void **state)
{
    struct queue_message m = {.id = ""};
    plan("queue_receive", 1, pause_class);
    assert_false(lane_poll(lane, world.config, &m));
    assert_int_equal(calls_count("queue_nack", "delay_ms=0 reason=its class is paused"), 1);
    resume_class();
    world.now_ms += 1000;
    assert_look(true, ROOM TAKE);
}

/* The slots are in the same ledger. */
static void pause_that_cannot_be_read_lets_nothing_launch(void **state)
{
    plan_failure("ledger_cell_list", 1);
    assert_look(false, PAUSES SLEEP(500));
    assert_look(true, ROOM TAKE);
}

static void class_that_left_the_configuration_is_not_taken(void **state)
{
    world.config->classes[0].name[0] = 'x';
    assert_look(false, SLEEP(1000));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(lane_with_room_takes_one_message),
        CASE(lane_without_a_message_counts_none),
        CASE(message_taken_and_not_reserved_holds_a_slot),
        CASE(full_class_is_left_alone_until_a_slot_is_freed),
        CASE(full_fleet_is_left_alone_until_a_slot_is_freed),
        CASE(full_lane_is_woken_by_a_slot_of_its_own_worker_or_the_stop),
        CASE(slot_freed_while_the_lane_looks_for_room_is_not_missed),
        CASE(full_lane_that_is_told_of_slots_does_not_poll),
        CASE(full_lane_without_the_counter_looks_for_room_again_soon),
        CASE(lane_without_a_rate_token_is_not_taken),
        CASE(lane_of_an_open_circuit_is_left_alone_until_its_probe),
        CASE(job_that_comes_out_of_a_full_lane_has_waited_for_a_slot),
        CASE(lane_stopped_by_github_probes_it_first),
        CASE(probe_by_a_host_without_dns_is_no_news_of_github),
        CASE(probe_that_may_not_call_proves_nothing),
        CASE(target_in_trouble_is_probed_by_a_list_and_no_launch),
        CASE(circuits_hold_while_the_ledger_is_away),
        CASE(store_in_trouble_is_asked_again_in_half_a_second),
        CASE(drained_host_takes_no_message_until_it_is_undrained),
        CASE(paused_class_is_left_alone_until_it_is_resumed),
        CASE(message_received_while_the_class_is_paused_goes_back_unspent),
        CASE(pause_that_cannot_be_read_lets_nothing_launch),
        CASE(class_that_left_the_configuration_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
