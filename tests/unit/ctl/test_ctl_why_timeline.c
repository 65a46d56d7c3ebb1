/* `mayflyctl why`: the timeline as a person reads it; and that `status` agrees with the lane. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/base/clock.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/why_bed.h"

static const json_t *line(const json_t *answer, size_t i)
{
    return json_array_get(json_object_get(answer, "timeline"), i);
}

static size_t count(const json_t *answer, const char *what)
{
    size_t found = 0;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "timeline"), i, o)
    {
        found += strcmp(ctl_str(o, "what"), what) == 0;
    }
    return found;
}

static json_t *why(void)
{
    struct err e;
    json_t *answer = NULL;
    MUST(ctl_why(&why_bed_ctl, &answer, &e));
    return answer;
}

static void log_line(const char *vm, const char *what, const char *detail)
{
    struct err e;
    MUST(ledger_log_event(why_bed_ctl.ledger, 7, vm, what, detail, &e));
}

/* The ledger learned of it five minutes later. */
static void begins_when_the_delivery_was_received(void **state)
{
    char received[32];
    (void)state;
    why_bed_queued(7, "small");
    json_t *answer = why();
    const json_t *first = line(answer, 0);
    assert_string_equal(ctl_str(first, "what"), "received");
    clock_format_utc(memory_job(why_bed_url, 7)->waiting_ms, received, sizeof received);
    assert_string_equal(ctl_str(first, "at"), received);
    assert_string_equal(ctl_str(answer, "received_at"), received);
    assert_in_range(ctl_int(answer, "waited_ms"), WHY_BED_WAITED_MS, WHY_BED_WAITED_MS + 60000);
    json_decref(answer);
}

static void job_that_only_the_queue_knows_was_received(void **state)
{
    (void)state;
    why_bed_put(7, "small");
    json_t *answer = why();
    assert_string_equal(ctl_str(line(answer, 0), "what"), "received");
    assert_string_equal(ctl_str(answer, "reason"), "no_live_worker");
    json_decref(answer);
}

static void job_that_github_held_back_waits_since_it_was_queued(void **state)
{
    struct job_event ev = why_bed_event(7, JOB_ACTION_WAITING, "small");
    (void)state;
    (void)snprintf(ev.status, sizeof ev.status, "waiting");
    why_bed_apply(&ev);
    json_t *answer = why();
    assert_string_equal(ctl_str(line(answer, 0), "what"), "received");
    assert_int_equal(ctl_int(answer, "waited_ms"), 0);
    json_decref(answer);
    ev = why_bed_event(7, JOB_ACTION_QUEUED, "small");
    ev.received_ms = clock_wall_ms() - 60000;
    why_bed_apply(&ev);
    answer = why();
    assert_string_equal(ctl_str(line(answer, 1), "what"), "queued");
    assert_in_range(ctl_int(answer, "waited_ms"), 60000, 120000);
    json_decref(answer);
}

static void failed_launch_is_one_line(void **state)
{
    struct err e;
    (void)state;
    why_bed_queued(7, "small");
    const struct ledger_vm *vm = why_bed_vm(7, "small", VM_REGISTERED);
    char name[VM_NAME_SIZE];
    memcpy(name, vm->name, sizeof name);
    struct ledger_advance a = {.vm = name, .to = VM_ENDING, .reason = "launch failed: refused"};
    MUST(ledger_vm_advance(why_bed_ctl.ledger, &a, NULL, &e));
    a.to = VM_GONE;
    MUST(ledger_vm_advance(why_bed_ctl.ledger, &a, NULL, &e));
    log_line(name, "retry", "attempt 1 of 8 failed at run: refused");
    json_t *answer = why();
    assert_int_equal(json_array_size(json_object_get(answer, "timeline")), 2);
    assert_string_equal(ctl_str(line(answer, 1), "what"), "retry");
    assert_string_equal(ctl_str(line(answer, 1), "vm"), name);
    assert_string_equal(ctl_str(line(answer, 1), "detail"),
                        "attempt 1 of 8 failed at run: refused");
    json_decref(answer);
}

/* Of a launch that is one line its console stays. */
static void failed_launch_shows_the_console_of_its_vm(void **state)
{
    struct err e;
    (void)state;
    why_bed_queued(7, "small");
    const struct ledger_vm *vm = why_bed_vm(7, "small", VM_REGISTERED);
    char name[VM_NAME_SIZE];
    memcpy(name, vm->name, sizeof name);
    MUST(ledger_log_event(why_bed_ctl.ledger, 0, name, "console", "Kernel panic", &e));
    MUST(ledger_log_event(why_bed_ctl.ledger, 0, name, "console", "at init", &e));
    log_line(name, "retry", "attempt 1 of 8 failed at run: no READY");
    json_t *answer = why();
    assert_int_equal(count(answer, "console"), 2);
    assert_int_equal(count(answer, "reserved"), 0);
    assert_string_equal(ctl_str(line(answer, 1), "detail"), "Kernel panic");
    json_decref(answer);
}

static void launch_that_succeeds_keeps_its_steps(void **state)
{
    (void)state;
    why_bed_queued(7, "small");
    (void)why_bed_vm(7, "small", VM_BUSY);
    json_t *answer = why();
    assert_int_equal(count(answer, "reserved"), 1);
    assert_int_equal(count(answer, "registered"), 1);
    assert_int_equal(count(answer, "launched"), 1);
    assert_int_equal(count(answer, "busy"), 1);
    json_decref(answer);
}

static void line_that_repeats_is_one_with_its_number(void **state)
{
    (void)state;
    why_bed_queued(7, "small");
    for (int i = 0; i < 3; i++) {
        char vm[16];
        (void)snprintf(vm, sizeof vm, "vm-%d", i);
        log_line(vm, "wait", "register (waits for installation:acme): 502");
        log_line("", "stuck_with_idle_runners", "check the labels");
    }
    json_t *answer = why();
    assert_int_equal(json_array_size(json_object_get(answer, "timeline")), 3);
    assert_int_equal(ctl_int(line(answer, 1), "times"), 3);
    assert_int_equal(ctl_int(line(answer, 2), "times"), 3);
    assert_true(ctl_str(line(answer, 2), "last_at")[0] != '\0');
    json_decref(answer);
}

/* As ledger_reserve says it. */
static void wait_for_slot(int64_t class_max)
{
    struct job_event ev = why_bed_event(7, JOB_ACTION_QUEUED, "small");
    const struct launch_request request = launch_request_of(&ev);
    struct ledger_reservation res;
    const struct ledger_reserve reserve = {.request = &request,
                                           .scope = "acme",
                                           .caps = {.fleet = 99, .class_max = class_max},
                                           .deployment = "t",
                                           .provider = "qemu",
                                           .host = "host-1"};
    struct err e;
    MUST(ledger_reserve(why_bed_ctl.ledger, &reserve, &res, &e));
}

static void wait_is_open_until_its_end_and_closed_then(void **state)
{
    (void)state;
    why_bed_queued(7, "small");
    (void)why_bed_vm(1, "small", VM_BUSY);
    wait_for_slot(1);
    wait_for_slot(1); /* it is logged once */
    json_t *answer = why();
    assert_int_equal(count(answer, "waits"), 1);
    assert_string_equal(ctl_str(line(answer, 1), "detail"),
                        "for a slot of class small: 1 of 1 VMs (classes.small.max_vms)");
    json_decref(answer);
    wait_for_slot(9);
    answer = why();
    assert_int_equal(count(answer, "waits"), 0);
    assert_int_equal(count(answer, "waited"), 1);
    assert_non_null(
        strstr(ctl_str(line(answer, 1), "detail"), " s for a slot of class small: 1 of 1 VMs"));
    assert_true(ctl_str(line(answer, 1), "until")[0] != '\0');
    json_decref(answer);
}

static void long_line_ends_at_a_word(void **state)
{
    char detail[600] = "";
    (void)state;
    for (size_t i = 0; i < 50; i++) {
        (void)snprintf(detail + 11 * i, sizeof detail - 11 * i, "word-%05zu ", i);
    }
    why_bed_queued(7, "small");
    log_line("", "note", detail);
    json_t *answer = why();
    const char *said = ctl_str(line(answer, 1), "detail");
    size_t n = strlen(said);
    assert_string_equal(said + n - 3, "...");
    assert_int_equal((n - 3 + 1) % 11, 0);
    json_decref(answer);
}

/* Behind a full class too. */
static void status_agrees_with_the_lane(void **state)
{
    json_t *answer = NULL;
    struct err e;
    (void)state;
    (void)why_bed_vm(1, "small", VM_BUSY);
    (void)why_bed_vm(2, "small", VM_BUSY);
    for (int64_t id = 10; id < 15; id++) {
        why_bed_put(id, "small");
        why_bed_queued(id, "small");
    }
    MUST(ctl_status(&why_bed_ctl, &answer, &e));
    const json_t *balance = json_array_get(json_object_get(answer, "balance"), 0);
    const json_t *class = json_array_get(json_object_get(answer, "classes"), 0);
    const json_t *lane = json_array_get(json_object_get(answer, "lanes"), 0);
    assert_string_equal(ctl_str(lane, "lane"), "launch.small");
    assert_int_equal(ctl_int(lane, "ready"), 5);
    assert_int_equal(ctl_int(class, "jobs_waiting"), 5);
    assert_int_equal(ctl_int(balance, "demand"), 5);
    assert_int_equal(ctl_int(balance, "supply"), 0);
    assert_in_range(ctl_int(balance, "longest_wait_ms"), WHY_BED_WAITED_MS,
                    WHY_BED_WAITED_MS + 60000);
    json_decref(answer);
}

static void job_whose_vm_is_gone_runs_no_more(void **state)
{
    (void)state;
    why_bed_vm(7, "small", VM_GONE);
    json_t *answer = why();
    assert_string_equal(ctl_str(answer, "reason"), "running");
    assert_non_null(
        strstr(ctl_str(answer, "sentence"), " is gone: GitHub ends a job whose runner"));
    json_decref(answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, why_bed_set_up, why_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(begins_when_the_delivery_was_received),
        CASE(job_that_only_the_queue_knows_was_received),
        CASE(job_that_github_held_back_waits_since_it_was_queued),
        CASE(failed_launch_is_one_line),
        CASE(failed_launch_shows_the_console_of_its_vm),
        CASE(launch_that_succeeds_keeps_its_steps),
        CASE(line_that_repeats_is_one_with_its_number),
        CASE(wait_is_open_until_its_end_and_closed_then),
        CASE(long_line_ends_at_a_word),
        CASE(status_agrees_with_the_lane),
        CASE(job_whose_vm_is_gone_runs_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
