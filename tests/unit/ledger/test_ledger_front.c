#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/metrics.h"
#include "common/base/random.h"
#include "common/ledger/front.h"

static void zeros(void *out, size_t size)
{
    memset(out, 0, size);
}

/* --- a name that is taken --- */
static void reserve_with_a_taken_name_takes_another_or_says_conflict(void **state)
{
    (void)state;
    char dir[] = "/tmp/mayfly-ledger-XXXXXX";
    char url[128];
    struct ledger *l = NULL;
    struct err e;
    struct job_event ev = {.job.id = 1, .job.repository = "o/r", .job.class_name = "small"};
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "o",
                               .caps = {.fleet = 9, .class_max = 9},
                               .deployment = "test",
                               .provider = "qemu",
                               .host = ""};
    struct ledger_reservation out = {.outcome = LEDGER_RATE};
    assert_non_null(mkdtemp(dir));
    (void)snprintf(url, sizeof url, "sqlite://%s/ledger.db", dir);
    assert_int_equal(ledger_open(url, &l, &e), 0);
    random_set_source(zeros);
    assert_int_equal(ledger_reserve(l, &r, &out, &e), 0);
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    request.job.id = 2;
    out.outcome = LEDGER_RATE;
    assert_int_equal(ledger_reserve(l, &r, &out, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(out.outcome, LEDGER_RATE); /* untouched */
    random_set_source(NULL);
    struct ledger_job job;
    assert_int_equal(ledger_job_get(l, 2, &job, &e), -1); /* nothing of it stayed */
    assert_int_equal(ledger_reserve(l, &r, &out, &e), 0);
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    ledger_close(l);
    assert_int_equal(fs_remove_tree(dir, &e), 0);
}

/* --- metrics --- */
static void failed_call_is_counted_by_its_class(void **state)
{
    (void)state;
    struct buf text;
    struct ledger *l = NULL;
    struct err e;
    struct ledger_job job;
    assert_int_equal(ledger_open("memory://calls", &l, &e), 0);
    assert_int_equal(ledger_job_get(l, 5, &job, &e), -1);
    buf_init(&text, 1 << 20);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "mayfly_call_seconds_count{service=\"ledger\",operation="
                                      "\"read\",outcome=\"not_found\"} 1\n"));
    buf_fini(&text);
    ledger_close(l);
}

#define BEGAN_MS INT64_C(1800000000000)
static int64_t now_ms;

static int64_t wall_ms(void)
{
    return now_ms;
}

static int64_t mono_us(void)
{
    return (now_ms - BEGAN_MS) * 1000;
}

/* A delivery that came so many seconds after the beginning, and was applied ten later. */
static void apply(struct ledger *l, enum job_action action, int64_t id, const char *runner,
                  int64_t at_s)
{
    struct err e;
    struct ledger_effect effect;
    struct job_event ev = {.action = action,
                           .job.id = id,
                           .job.repository = "o/r",
                           .job.class_name = "timed",
                           .received_ms = BEGAN_MS + at_s * 1000,
                           .status = "queued"};
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    now_ms = ev.received_ms + 10000;
    assert_int_equal(ledger_apply_event(l, &ev, "o", &effect, &e), 0);
}

static void reserve_vm(struct ledger *l, int64_t id, int64_t launched_s, char name[VM_NAME_SIZE])
{
    struct err e;
    struct ledger_reservation out;
    struct job_event ev = {.job.id = id, .job.repository = "o/r", .job.class_name = "timed"};
    struct launch_request request = launch_request_of(&ev);
    request.requested_ms = BEGAN_MS + launched_s * 1000; /* as a relaunch has it */
    struct ledger_reserve r = {.request = &request,
                               .scope = "o",
                               .caps = {.fleet = 9, .class_max = 9},
                               .deployment = "test",
                               .provider = "qemu",
                               .host = ""};
    now_ms = BEGAN_MS + launched_s * 1000;
    assert_int_equal(ledger_reserve(l, &r, &out, &e), 0);
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    struct ledger_advance a = {.vm = out.vm.name, .to = VM_REGISTERED, .runner_id = id};
    assert_int_equal(ledger_vm_advance(l, &a, NULL, &e), 0);
    a = (struct ledger_advance){.vm = out.vm.name, .to = VM_LAUNCHED, .vm_id = out.vm.name};
    assert_int_equal(ledger_vm_advance(l, &a, NULL, &e), 0);
    memcpy(name, out.vm.name, VM_NAME_SIZE);
}

static void end_vm(struct ledger *l, const char *name, int64_t at_s)
{
    struct err e;
    struct ledger_advance a = {.vm = name, .to = VM_ENDING, .reason = "test"};
    now_ms = BEGAN_MS + at_s * 1000;
    assert_int_equal(ledger_vm_advance(l, &a, NULL, &e), 0);
    a.to = VM_GONE;
    assert_int_equal(ledger_vm_advance(l, &a, NULL, &e), 0);
}

static void assert_times(const char *name, int count, int sum_s)
{
    struct buf text;
    char expected[128];
    buf_init(&text, 1 << 20);
    metrics_render(&text);
    (void)snprintf(expected, sizeof expected, "%s_count{class=\"timed\"} %d\n", name, count);
    assert_non_null(strstr(text.data, expected));
    (void)snprintf(expected, sizeof expected, "%s_sum{class=\"timed\"} %d\n", name, sum_s);
    assert_non_null(strstr(text.data, expected));
    buf_fini(&text);
}

static void each_job_is_observed_once_from_its_delivery_on(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    struct ledger *l = NULL;
    struct err e;
    char first[VM_NAME_SIZE];
    char second[VM_NAME_SIZE];
    clock_set_source(&source);
    assert_int_equal(ledger_open("memory://times", &l, &e), 0);
    apply(l, JOB_ACTION_QUEUED, 1, "", 100);
    reserve_vm(l, 1, 160, first);
    end_vm(l, first, 170); /* it was lost: the job is relaunched */
    reserve_vm(l, 1, 400, second);
    apply(l, JOB_ACTION_IN_PROGRESS, 1, second, 420);
    apply(l, JOB_ACTION_IN_PROGRESS, 1, second, 421); /* delivered twice */
    assert_times("mayfly_job_received_to_launched_seconds", 1, 300);
    assert_times("mayfly_job_launched_to_online_seconds", 1, 20);
    assert_times("mayfly_job_queued_to_running_seconds", 1, 320);
    apply(l, JOB_ACTION_COMPLETED, 1, second, 520);
    apply(l, JOB_ACTION_COMPLETED, 1, second, 521);
    end_vm(l, second, 600);
    assert_times("mayfly_job_duration_seconds", 1, 100);
    assert_times("mayfly_vm_life_seconds", 2, 210);
    /* A VM that was there before the job: how fast it came online is not known. */
    apply(l, JOB_ACTION_QUEUED, 2, "", 700);
    reserve_vm(l, 2, 710, first);
    apply(l, JOB_ACTION_QUEUED, 3, "", 720);
    apply(l, JOB_ACTION_IN_PROGRESS, 3, first, 725);
    assert_times("mayfly_job_received_to_launched_seconds", 2, 300);
    assert_times("mayfly_job_launched_to_online_seconds", 1, 20);
    assert_times("mayfly_job_queued_to_running_seconds", 2, 325);
    /* What only the jobs API reported began and ended at times that nobody knows. */
    assert_int_equal(ledger_reconcile_job(l, 3, JOB_DONE, NULL, "test", &e), 0);
    assert_times("mayfly_job_duration_seconds", 1, 100);
    ledger_close(l);
    clock_set_source(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_call_is_counted_by_its_class),
        cmocka_unit_test(reserve_with_a_taken_name_takes_another_or_says_conflict),
        cmocka_unit_test(each_job_is_observed_once_from_its_delivery_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
