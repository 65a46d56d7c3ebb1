/*
 * The daily totals: every VM is counted once, whatever fails and however many reapers add at once.
 */
#include "tests/conformance/ledger_suite.h"

#include <pthread.h>
#include <stdio.h>

#include "common/ledger/kinds.h"
#include "common/ledger/totals.h"

#define LAG LEDGER_TOTALS_LAG_MS
#define DAY "2027-01-15" /* of START_MS, 08:00 */
#define MINUTE_MS 60000
#define DAY_MS (24 * HOUR_MS)

static int two_by_four(void *arg, const struct ledger_vm *vm, struct ledger_vm_size *out,
                       struct err *e)
{
    (void)arg;
    (void)vm;
    (void)e;
    *out = (struct ledger_vm_size){.milli_vcpus = 2000, .mib = 4096};
    return 0;
}

/* Adds all that became gone before `ms` (without the lag). Returns how many VMs. */
static int64_t must_count(struct ledger *l, int64_t ms)
{
    int64_t sum = 0;
    struct ledger_totals_step step = {.more = true};
    struct err e;
    while (step.more) {
        MUST(ledger_totals_count(l, START_MS + ms, two_by_four, NULL, &step, &e));
        sum += step.counted;
    }
    return sum;
}

static struct ledger_total must_total(struct ledger *l, const char *day, const char *repository)
{
    struct ledger_total *all = NULL;
    struct ledger_total sum = {.vms = 0};
    size_t n = 0;
    struct err e;
    MUST(ledger_totals_of(l, day, &all, &n, &e));
    for (size_t i = 0; i < n; i++) {
        if (repository == NULL || strcmp(all[i].repository, repository) == 0) {
            ledger_total_add(&sum, &all[i]);
        }
    }
    free(all);
    return sum;
}

/* A VM of that repository that lives from now for so long, without a job. */
static struct ledger_vm end_vm(struct ledger *l, int64_t job_id, const char *repository)
{
    struct job_event ev = queued(job_id);
    (void)snprintf(ev.job.repository, sizeof ev.job.repository, "%s", repository);
    struct ledger_reservation r = must_reserve(l, ev, wide_caps());
    assert_string_equal(ledger_outcome_name(r.outcome), "reserved");
    bring(l, &r.vm, VM_GONE);
    return r.vm;
}

static void vms_that_are_gone_are_listed_by_a_span_of_time(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    struct err e;
    (void)must_get_vm(f->l, 1);
    for (int i = 1; i <= 4; i++) {
        clock_at(i * 1000);
        (void)end_vm(f->l, 10 + i, "octo/app");
    }
    MUST(ledger_vms_gone(f->l, START_MS + 2000, START_MS + 4000, 10, &vms, &n, &e));
    assert_int_equal(n, 2);
    assert_int_equal(vms[0].gone_ms, START_MS + 2000);
    assert_int_equal(vms[1].gone_ms, START_MS + 3000);
    assert_int_equal(vms[1].for_job, 13);
    free(vms);
    MUST(ledger_vms_gone(f->l, 0, START_MS + 9000, 3, &vms, &n, &e));
    assert_int_equal(n, 3);
    assert_int_equal(vms[0].gone_ms, START_MS + 1000);
    assert_int_equal(vms[2].gone_ms, START_MS + 3000);
    free(vms);
    MUST(ledger_vms_gone(f->l, START_MS + 4001, START_MS + 9000, 3, &vms, &n, &e));
    assert_int_equal(n, 0);
    free(vms);
}

static void a_vm_is_counted_once_with_its_job(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, queued(1));
    clock_at(5000);
    struct ledger_vm vm = must_get_vm(f->l, 1);
    assert_true(must_advance(f->l, vm.name, VM_REGISTERED));
    assert_true(must_advance(f->l, vm.name, VM_LAUNCHED));
    clock_at(15000);
    (void)must_apply(f->l, in_progress(1, vm.name));
    clock_at(15000 + MINUTE_MS + 1);
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    clock_at(80000);
    assert_true(must_advance(f->l, vm.name, VM_GONE));
    assert_int_equal(must_count(f->l, 80000 + LAG), 0); /* the lag is not over */
    assert_int_equal(must_count(f->l, 80001 + LAG), 1);
    assert_int_equal(must_count(f->l, 80001 + LAG), 0);
    assert_int_equal(must_count(f->l, 90000 + LAG), 0);
    struct ledger_total t = must_total(f->l, DAY, "octo/app");
    assert_int_equal(t.vms, 1);
    assert_int_equal(t.jobs, 1);
    assert_int_equal(t.vm_ms, 75000);
    assert_int_equal(t.vcpu_ms, 150000);
    assert_int_equal(t.mib_s, 75 * 4096);
    assert_int_equal(t.unsized_ms, 0);
    assert_int_equal(t.queue_ms, 15000);
    assert_int_equal(t.job_minutes, 2);
}

static void a_vm_that_never_started_is_none_and_one_past_its_deadline_ended_there(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm never = must_get_vm(f->l, 1);
    assert_true(must_advance(f->l, never.name, VM_ENDING));
    assert_true(must_advance(f->l, never.name, VM_GONE));
    struct ledger_vm late = must_get_vm(f->l, 2);
    bring(f->l, &late, VM_ENDING);
    clock_at(3 * HOUR_MS); /* step(): its deadline is after one hour */
    assert_true(must_advance(f->l, late.name, VM_GONE));
    assert_int_equal(must_count(f->l, 3 * HOUR_MS + 1 + LAG), 1);
    struct ledger_total t = must_total(f->l, DAY, NULL);
    assert_int_equal(t.vms, 1);
    assert_int_equal(t.jobs, 0);
    assert_int_equal(t.vm_ms, HOUR_MS);
}

static void totals_are_by_day_and_repository(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_total_day *days = NULL;
    size_t n = 0;
    struct err e;
    for (int i = 0; i < 3; i++) {
        (void)end_vm(f->l, 10 + i, "octo/app");
    }
    (void)end_vm(f->l, 20, "octo/web");
    clock_at(DAY_MS);
    (void)end_vm(f->l, 21, "octo/web");
    assert_int_equal(must_count(f->l, DAY_MS + 1 + LAG), 5);
    assert_int_equal(must_total(f->l, DAY, "octo/app").vms, 3);
    assert_int_equal(must_total(f->l, DAY, "octo/web").vms, 1);
    assert_int_equal(must_total(f->l, "2027-01-16", "octo/web").vms, 1);
    MUST(ledger_total_days(f->l, &days, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(days[0].name, DAY);
    assert_int_equal(days[0].totals, 2);
    assert_string_equal(days[1].name, "2027-01-16");
    assert_int_equal(days[1].totals, 1);
    free(days);
}

/* --- what is cut short --- */
static int no_size(void *arg, const struct ledger_vm *vm, struct ledger_vm_size *out, struct err *e)
{
    (void)arg;
    (void)vm;
    (void)out;
    return err_set(e, ERR_RETRY, 0, "the service is away");
}

static void a_batch_that_failed_is_added_by_the_next_call(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_totals_step step;
    struct err e;
    (void)end_vm(f->l, 1, "octo/app");
    must_fail(ledger_totals_count(f->l, START_MS + 1 + LAG, no_size, NULL, &step, &e), &e,
              ERR_RETRY);
    clock_at(1000);
    (void)end_vm(f->l, 2, "octo/app");
    assert_int_equal(must_count(f->l, 1001 + LAG), 2);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 2);
    assert_int_equal(must_count(f->l, 2000 + LAG), 0);
}

static struct ledger_cell must_cell(struct ledger *l, const char *kind, const char *name)
{
    struct ledger_cell cell;
    struct err e;
    MUST(ledger_cell_get(l, kind, name, &cell, &e));
    return cell;
}

static void must_set(struct ledger *l, const char *kind, const char *name, const char *value)
{
    struct err e;
    MUST(ledger_cell_put(l, kind, name, value, must_cell(l, kind, name).version, NULL, &e));
}

/* A crash after the batch was recorded and some of its totals were written: as if the others, and the record of the
 * end, had never been. */
static void a_batch_that_was_added_in_part_is_completed(void **state)
{
    struct ledger_fixture *f = *state;
    char pending[64];
    (void)end_vm(f->l, 1, "octo/app");
    (void)end_vm(f->l, 2, "octo/web");
    assert_int_equal(must_count(f->l, 1 + LAG), 2);
    (void)snprintf(pending, sizeof pending, "1 0 %lld", (long long)START_MS + 1);
    must_set(f->l, LEDGER_KIND_TOTALS_BATCH, LEDGER_TOTALS_FLEET, pending);
    must_set(f->l, LEDGER_KIND_TOTALS "." DAY, "small octo/web", NULL);
    assert_int_equal(must_count(f->l, 1 + LAG), 2);
    assert_int_equal(must_total(f->l, DAY, "octo/app").vms, 1);
    assert_int_equal(must_total(f->l, DAY, "octo/web").vms, 1);
}

/* --- two at once --- */
struct second {
    struct ledger *l;
    int64_t until_ms;
    int64_t counted;
};

/* While one reaper measures its batch, another adds that one, and the next. */
static int overtake(void *arg, const struct ledger_vm *vm, struct ledger_vm_size *out,
                    struct err *e)
{
    struct second *s = arg;
    if (s->counted == 0) {
        s->counted = must_count(s->l, s->until_ms);
    }
    return two_by_four(NULL, vm, out, e);
}

static void a_reaper_that_was_overtaken_adds_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    struct second s = {.l = must_open(f->store.url), .until_ms = 1001 + LAG};
    struct ledger_totals_step step;
    struct err e;
    (void)end_vm(f->l, 1, "octo/app");
    clock_at(1000);
    (void)end_vm(f->l, 2, "octo/app");
    MUST(ledger_totals_count(f->l, START_MS + 500 + LAG, overtake, &s, &step, &e));
    assert_int_equal(s.counted, 2);
    assert_int_equal(must_total(f->l, DAY, "octo/app").vms, 2);
    assert_int_equal(must_count(f->l, 2000 + LAG), 0);
    ledger_close(s.l);
}

#define RACERS 3

static void *race(void *arg)
{
    struct second *s = arg;
    struct ledger_totals_step step = {.more = true};
    while (step.more) {
        struct err e = {0};
        if (ledger_totals_count(s->l, START_MS + s->until_ms, two_by_four, NULL, &step, &e) != 0 &&
            e.class != ERR_CONFLICT) {
            s->counted = -1;
            return NULL;
        }
    }
    return NULL;
}

static void reapers_that_race_count_every_vm_once(void **state)
{
    struct ledger_fixture *f = *state;
    struct second racers[RACERS];
    pthread_t threads[RACERS];
    int vms = ledger_times(f->store.url, 60, 12);
    for (int i = 0; i < vms; i++) {
        char repository[32];
        (void)snprintf(repository, sizeof repository, "octo/r%d", i % 7);
        (void)end_vm(f->l, 100 + i, repository);
    }
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct second){.l = must_open(f->store.url), .until_ms = 1 + LAG};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(racers[i].counted, 0);
        ledger_close(racers[i].l);
    }
    (void)must_count(f->l, 1 + LAG);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, vms);
}

/* --- bounds --- */
static void beyond_the_cap_the_rest_goes_to_one_total(void **state)
{
    struct ledger_fixture *f = *state;
    (void)end_vm(f->l, 1, "octo/app");
    assert_int_equal(must_count(f->l, 1 + LAG), 1);
    must_set(f->l, LEDGER_KIND_TOTALS, DAY, "10000");
    clock_at(1000);
    (void)end_vm(f->l, 2, "octo/app");
    (void)end_vm(f->l, 3, "octo/new");
    (void)end_vm(f->l, 4, "octo/newer");
    assert_int_equal(must_count(f->l, 1001 + LAG), 3);
    assert_int_equal(must_total(f->l, DAY, "octo/app").vms, 2);
    assert_int_equal(must_total(f->l, DAY, LEDGER_TOTAL_OTHER).vms, 2);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 4);
    assert_string_equal(must_cell(f->l, LEDGER_KIND_TOTALS, DAY).value, "10000");
    /* Repeated, as after a crash before its end was recorded. */
    char pending[64];
    (void)snprintf(pending, sizeof pending, "2 %lld %lld", (long long)START_MS + 1,
                   (long long)START_MS + 1001);
    must_set(f->l, LEDGER_KIND_TOTALS_BATCH, LEDGER_TOTALS_FLEET, pending);
    (void)must_count(f->l, 1001 + LAG);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 4);
}

static void the_last_place_of_a_day_is_given_once(void **state)
{
    struct ledger_fixture *f = *state;
    must_set(f->l, LEDGER_KIND_TOTALS, DAY, "9999");
    (void)end_vm(f->l, 1, "octo/a");
    (void)end_vm(f->l, 2, "octo/b");
    assert_int_equal(must_count(f->l, 1 + LAG), 2);
    assert_string_equal(must_cell(f->l, LEDGER_KIND_TOTALS, DAY).value, "10000");
    assert_int_equal(must_total(f->l, DAY, LEDGER_TOTAL_OTHER).vms, 1);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 2);
}

static void old_days_are_deleted_a_part_at_a_time(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_total_day *days = NULL;
    const int64_t later_ms = (LEDGER_TOTAL_DAYS + 1) * DAY_MS;
    int64_t removed;
    size_t n = 0;
    struct err e;
    for (int i = 0; i < 3; i++) {
        char repository[32];
        (void)snprintf(repository, sizeof repository, "octo/r%d", i);
        (void)end_vm(f->l, 10 + i, repository);
    }
    clock_at(DAY_MS);
    (void)end_vm(f->l, 20, "octo/app");
    assert_int_equal(must_count(f->l, DAY_MS + 1 + LAG), 4);
    MUST(ledger_totals_tidy(f->l, START_MS + later_ms - DAY_MS, 100, &removed, &e));
    assert_int_equal(removed, 0);
    MUST(ledger_totals_tidy(f->l, START_MS + later_ms, 2, &removed, &e));
    assert_int_equal(removed, 2);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 1);
    MUST(ledger_totals_tidy(f->l, START_MS + later_ms, 2, &removed, &e));
    assert_int_equal(removed, 1);
    MUST(ledger_total_days(f->l, &days, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(days[0].name, "2027-01-16");
    free(days);
}

static void a_vm_older_than_the_days_that_are_kept_is_not_counted(void **state)
{
    struct ledger_fixture *f = *state;
    (void)end_vm(f->l, 1, "octo/app");
    clock_at((LEDGER_TOTAL_DAYS + 1) * DAY_MS);
    (void)end_vm(f->l, 2, "octo/app");
    assert_int_equal(must_count(f->l, (LEDGER_TOTAL_DAYS + 1) * DAY_MS + 1 + LAG), 1);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 0);
}

static void a_clock_that_was_set_back_far_stops_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    clock_at(30 * DAY_MS);
    (void)end_vm(f->l, 1, "octo/app");
    assert_int_equal(must_count(f->l, 30 * DAY_MS + 1 + LAG), 1);
    clock_at(0);
    (void)must_count(f->l, LAG);
    clock_at(5000);
    (void)end_vm(f->l, 2, "octo/app");
    (void)must_count(f->l, 6000 + LAG);
    assert_int_equal(must_total(f->l, DAY, NULL).vms, 1);
}

const struct CMUnitTest ledger_total_tests[] = {
    LEDGER_TEST(vms_that_are_gone_are_listed_by_a_span_of_time),
    LEDGER_TEST(a_vm_is_counted_once_with_its_job),
    LEDGER_TEST(a_vm_that_never_started_is_none_and_one_past_its_deadline_ended_there),
    LEDGER_TEST(totals_are_by_day_and_repository),
    LEDGER_TEST(a_batch_that_failed_is_added_by_the_next_call),
    LEDGER_TEST(a_batch_that_was_added_in_part_is_completed),
    LEDGER_TEST(a_reaper_that_was_overtaken_adds_nothing),
    LEDGER_TEST(reapers_that_race_count_every_vm_once),
    LEDGER_TEST(beyond_the_cap_the_rest_goes_to_one_total),
    LEDGER_TEST(the_last_place_of_a_day_is_given_once),
    LEDGER_TEST(old_days_are_deleted_a_part_at_a_time),
    LEDGER_TEST(a_vm_older_than_the_days_that_are_kept_is_not_counted),
    LEDGER_TEST(a_clock_that_was_set_back_far_stops_nothing),
};
const size_t ledger_total_test_count = COUNT_OF(ledger_total_tests);
