#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
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
static void metrics_count_outcomes_and_errors(void **state)
{
    (void)state;
    struct buf text;
    ledger_metrics_init();
    ledger_metrics_init();
    ledger_metrics_outcome(LEDGER_FULL_CLASS);
    assert_int_equal(ledger_metrics_op(OP_TIDY, 0, -1), -1);
    buf_init(&text, 1 << 20);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "mayfly_ledger_reserve_total{outcome=\"full_class\"} 1\n"));
    assert_non_null(strstr(text.data, "mayfly_ledger_errors_total{op=\"tidy\"} 1\n"));
    assert_non_null(strstr(text.data, "mayfly_ledger_op_seconds_count{op=\"tidy\"} 1\n"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserve_with_a_taken_name_takes_another_or_says_conflict),
        cmocka_unit_test(metrics_count_outcomes_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
