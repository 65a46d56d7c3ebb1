/* `mayflyctl cost`: what totals cost, and its answer. (test_ctl_cost.c is about calls of the store.) */
#include "tests/lib/cmocka.h"

#include <math.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/kinds.h"
#include "common/ledger/total_cells.h"
#include "deploy/ctl/cost/prices.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

#define HOUR_MS 3600000LL
#define DAY_MS (24 * HOUR_MS)
#define LAMBDA(name, region, more)                                                                 \
    "{\"name\": \"" name "\", \"labels\": [\"" name "\"], \"provider\": \"lambda\", \"lambda\": "  \
    "{\"image\": \"arn:aws:lambda:" region ":123456789012:microvm-image:" name "\"}" more "}"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"classes\": ["
    "{\"name\": \"box\", \"labels\": [\"linux\", \"x64\"], \"qemu\": {\"image\": \"/i\"}},"
    "{\"name\": \"paid\", \"labels\": [\"paid\", \"arm64\"], \"qemu\": {\"image\": \"/i\"},"
    " \"cost\": {\"vcpu_hour\": 0.05, \"gb_hour\": \"0.01\", \"github_minute\": 0.5}}," LAMBDA(
        "east", "us-east-1", "") "," LAMBDA("tokyo", "ap-northeast-1",
                                            "") "," LAMBDA("mars", "mars-1", "") "]}";

static int setup(void **state)
{
    (void)state;
    ctl_bed_open(text, NULL);
    ctl.given_count = 0;
    return 0;
}

/* So many hours of one VM of that size, with so many minutes of jobs. */
static struct ledger_total hours(int64_t n, int64_t milli_vcpus, int64_t mib, int64_t minutes)
{
    return (struct ledger_total){.vms = 1,
                                 .jobs = 1,
                                 .vm_ms = n * HOUR_MS,
                                 .vcpu_ms = n * 3600 * milli_vcpus,
                                 .mib_s = n * 3600 * mib,
                                 .job_minutes = minutes};
}

static void assert_usd(double got, double expected)
{
    if (fabs(got - expected) > 1e-7) {
        fail_msg("%.8f is not %.8f", got, expected);
    }
}

static void what_totals_cost_is_a_table(void **state)
{
    static const struct {
        const char *class_name; /* NULL: not configured */
        int64_t hours, milli_vcpus, mib, minutes;
        double usd, github_usd;
    } cases[] = {
        {"box", 10, 2000, 4096, 100, 0, 0.6},
        {"box", 1, 1000, 2048, 7, 0, 0.014},
        {"box", 1, 3000, 2048, 10, 0, 0.12}, /* the next larger one has 4 */
        {"box", 1, 128000, 2048, 10, 0, 2.52},
        {"paid", 10, 2000, 4096, 100, 10 * (2 * 0.05 + 4 * 0.01), 50},
        {"east", 1, 1000, 2048, 60, 3600 * (0.0000276944 + 2 * 0.0000036667), 0.3},
        {"east", 2, 250, 512, 60, 7200 * (0.25 * 0.0000276944 + 0.5 * 0.0000036667), 0.3},
        {"east", 1, 4000, 8192, 60, 3600 * (4 * 0.0000276944 + 8 * 0.0000036667), 0.48},
        {"tokyo", 1, 1000, 2048, 60, 1.16 * 3600 * (0.0000276944 + 2 * 0.0000036667), 0.3},
        {"mars", 1, 1000, 2048, 60, 0, 0.3},
        {NULL, 1, 2000, 2048, 10, 0, 0.06},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *name = cases[i].class_name;
        const struct config_class *class =
            name != NULL ? config_class_by_name(config, slice_of(name)) : NULL;
        struct ledger_total t =
            hours(cases[i].hours, cases[i].milli_vcpus, cases[i].mib, cases[i].minutes);
        struct cost_money m = cost_of(class, &t);
        bool unknown = name == NULL || strcmp(name, "mars") == 0;
        assert_usd(m.usd, cases[i].usd);
        assert_usd(m.github_usd, cases[i].github_usd);
        assert_int_equal(m.unpriced_ms, unknown ? t.vm_ms : 0);
        assert_int_equal(m.uncompared_minutes, 0);
    }
}

static void time_of_an_unknown_size_has_no_price(void **state)
{
    struct ledger_total t = hours(1, 0, 0, 10);
    (void)state;
    t.unsized_ms = t.vm_ms;
    struct cost_money m = cost_of(config_class_by_name(config, SLICE("east")), &t);
    assert_usd(m.usd, 0);
    assert_int_equal(m.unpriced_ms, HOUR_MS);
    assert_int_equal(m.uncompared_minutes, 10);
    m = cost_of(config_class_by_name(config, SLICE("box")), &t); /* free, whatever its size */
    assert_int_equal(m.unpriced_ms, 0);
    m = cost_of(config_class_by_name(config, SLICE("paid")), &t);
    assert_usd(m.github_usd, 5);
}

/* --- the command --- */
static void put_total(int64_t days_ago, const char *class_name, const char *repository,
                      struct ledger_total t)
{
    char day[LEDGER_DAY_SIZE];
    struct ledger_cell cell;
    struct err e;
    ledger_total_day_of(ledger_now_ms(ctl.ledger) - days_ago * DAY_MS, day);
    (void)snprintf(t.class_name, sizeof t.class_name, "%s", class_name);
    (void)snprintf(t.repository, sizeof t.repository, "%s", repository);
    MUST(ledger_total_cell_get(ctl.ledger, day, &t, &cell, &e));
    ledger_total_encode(&t, 1, cell.value);
    MUST(ledger_cell_put(ctl.ledger, cell.kind, cell.name, cell.value, cell.version, NULL, &e));
    MUST(ledger_cell_get(ctl.ledger, LEDGER_KIND_TOTALS, day, &cell, &e));
    MUST(ledger_cell_put(ctl.ledger, LEDGER_KIND_TOTALS, day, "1", cell.version, NULL, &e));
}

static json_t *cost(const char *by, const char *since)
{
    static struct ctl_given given[2];
    json_t *answer = NULL;
    struct err e;
    ctl.given = given;
    ctl.given_count = 2;
    given[0] = (struct ctl_given){"--by", by};
    given[1] = (struct ctl_given){"--since", since};
    MUST(ctl_cost(&ctl, &answer, &e));
    assert_true(json_boolean_value(json_object_get(answer, "estimate")));
    return answer;
}

static void assert_rows(json_t *answer, const char *key, const char *expected)
{
    char got[400] = "";
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "rows"), i, o)
    {
        size_t len = strlen(got);
        (void)snprintf(got + len, sizeof got - len, "%s %lld;", ctl_str(o, key),
                       (long long)ctl_int(o, "vm_seconds"));
    }
    assert_string_equal(got, expected);
    json_decref(answer);
}

static void rows_are_by_what_is_asked_for_the_dearest_first(void **state)
{
    char today[LEDGER_DAY_SIZE];
    char before[LEDGER_DAY_SIZE];
    char expected[80];
    (void)state;
    put_total(0, "box", "acme/app", hours(1, 2000, 4096, 60));
    put_total(0, "east", "acme/app", hours(2, 1000, 2048, 60));
    put_total(2, "paid", "acme/web", hours(10, 2000, 4096, 60));
    put_total(40, "paid", "acme/old", hours(10, 2000, 4096, 60));
    assert_rows(cost("repository", "30d"), "repository", "acme/web 36000;acme/app 10800;");
    assert_rows(cost("class", "30d"), "class", "paid 36000;east 7200;box 3600;");
    ledger_total_day_of(ledger_now_ms(ctl.ledger), today);
    ledger_total_day_of(ledger_now_ms(ctl.ledger) - 2 * DAY_MS, before);
    (void)snprintf(expected, sizeof expected, "%s 36000;%s 10800;", before, today);
    assert_rows(cost("day", "30d"), "day", expected);
    assert_rows(cost("repository", "1d"), "repository", "acme/app 10800;");
    json_t *all = cost("class", "90d");
    const json_t *total = json_object_get(all, "total");
    assert_int_equal(ctl_int(total, "vms"), 4);
    assert_int_equal(ctl_int(total, "gb_seconds"), 3600 * 4 + 7200 * 2 + 72000 * 4);
    assert_usd(
        json_real_value(json_object_get(total, "cost")),
        round(1e6 * (20 * (2 * 0.05 + 4 * 0.01) + 7200 * (0.0000276944 + 2 * 0.0000036667))) / 1e6);
    json_decref(all);
}

static void what_has_no_price_is_null_and_a_note_says_why(void **state)
{
    (void)state;
    put_total(0, "retired", "acme/app", hours(1, 2000, 4096, 60));
    json_t *answer = cost("class", "30d");
    const json_t *row = json_array_get(json_object_get(answer, "rows"), 0);
    assert_true(json_is_null(json_object_get(row, "cost")));
    assert_int_equal(ctl_int(row, "unpriced_vm_seconds"), 3600);
    assert_non_null(
        strstr(json_string_value(json_array_get(json_object_get(answer, "notes"), 1)), "no price"));
    json_decref(answer);
}

static void a_fleet_without_totals_costs_nothing(void **state)
{
    (void)state;
    json_t *answer = cost("repository", "30d");
    assert_true(json_is_null(json_object_get(answer, "counted_until")));
    assert_usd(json_real_value(json_object_get(json_object_get(answer, "total"), "cost")), 0);
    assert_rows(answer, "repository", "");
}

static void an_unknown_key_is_a_usage_error(void **state)
{
    struct ctl_given given = {"--by", "branch"};
    json_t *answer = NULL;
    struct err e;
    (void)state;
    ctl.given = &given;
    ctl.given_count = 1;
    must_fail(ctl_cost(&ctl, &answer, &e), &e, ERR_PERMANENT);
    assert_int_equal(ctl.exit_code, CTL_EXIT_USAGE);
    ctl.exit_code = 0;
}

/* The VM of that job runs it for an hour and is gone. */
static void run_job(int64_t id, const char *repository, const char *workflow)
{
    struct launch_request request = {.class_name = "box", .job = {.id = id, .class_name = "box"}};
    struct ledger_reserve r = {.request = &request,
                               .scope = "acme",
                               .caps = {.fleet = 9, .class_max = 9},
                               .deployment = "t",
                               .provider = "qemu",
                               .host = "h"};
    struct ledger_reservation got;
    struct err e;
    (void)snprintf(request.job.repository, sizeof request.job.repository, "%s", repository);
    (void)snprintf(request.job.name, sizeof request.job.name, "build");
    (void)snprintf(request.job.workflow, sizeof request.job.workflow, "%s", workflow);
    MUST(ledger_reserve(ctl.ledger, &r, &got, &e));
    for (int s = VM_REGISTERED; s <= VM_LAUNCHED; s++) {
        struct ledger_advance a = {.vm = got.vm.name,
                                   .to = (enum ledger_vm_state)s,
                                   .runner_id = s == VM_REGISTERED ? 3 : 0,
                                   .vm_id = s == VM_LAUNCHED ? "v" : NULL};
        MUST(ledger_vm_advance(ctl.ledger, &a, NULL, &e));
    }
    ctl_bed_apply(id, JOB_ACTION_IN_PROGRESS, "box", got.vm.name);
    ctl_bed_apply(id, JOB_ACTION_COMPLETED, "box", got.vm.name);
    struct ledger_advance gone = {.vm = got.vm.name, .to = VM_GONE};
    MUST(ledger_vm_advance(ctl.ledger, &gone, NULL, &e));
}

static void by_job_reads_the_vms_that_the_ledger_has(void **state)
{
    (void)state;
    run_job(1, "acme/app", "CI");
    run_job(2, "acme/app", "deploy");
    clock_sleep_until(clock_mono_ms() + 2); /* their millisecond is over */
    json_t *answer = cost("job", "1d");
    const json_t *row = json_array_get(json_object_get(answer, "rows"), 0);
    assert_int_equal(json_array_size(json_object_get(answer, "rows")), 1);
    assert_string_equal(ctl_str(row, "repository"), "acme/app");
    assert_string_equal(ctl_str(row, "job"), "build");
    assert_int_equal(ctl_int(row, "vms"), 2);
    assert_int_equal(ctl_int(row, "job_minutes"), 2);
    json_decref(answer);
}

static void assert_vms_of_workflow(const json_t *answer, const char *repository,
                                   const char *workflow, int64_t vms)
{
    int64_t found = 0;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "rows"), i, o)
    {
        if (strcmp(ctl_str(o, "repository"), repository) == 0 &&
            strcmp(ctl_str(o, "workflow"), workflow) == 0) {
            found += ctl_int(o, "vms");
        }
    }
    assert_int_equal(found, vms);
}

static void by_workflow_tells_those_of_one_name_apart_by_their_repository(void **state)
{
    (void)state;
    run_job(1, "acme/app", "CI");
    run_job(2, "acme/app", "CI");
    run_job(3, "acme/app", "");
    run_job(4, "acme/web", "CI");
    run_job(5, "acme/web", "\xf0\x9f\x9a\x80");
    clock_sleep_until(clock_mono_ms() + 2); /* their millisecond is over */
    json_t *answer = cost("workflow", "1d");
    assert_int_equal(json_array_size(json_object_get(answer, "rows")), 4);
    assert_vms_of_workflow(answer, "acme/app", "CI", 2);
    assert_vms_of_workflow(answer, "acme/app", "", 1);
    assert_vms_of_workflow(answer, "acme/web", "CI", 1);
    assert_vms_of_workflow(answer, "acme/web", "\xf0\x9f\x9a\x80", 1);
    assert_int_equal(ctl_int(json_object_get(answer, "total"), "vms"), 5);
    json_decref(answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, ctl_bed_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_totals_cost_is_a_table),
        CASE(time_of_an_unknown_size_has_no_price),
        CASE(rows_are_by_what_is_asked_for_the_dearest_first),
        CASE(what_has_no_price_is_null_and_a_note_says_why),
        CASE(a_fleet_without_totals_costs_nothing),
        CASE(an_unknown_key_is_a_usage_error),
        CASE(by_job_reads_the_vms_that_the_ledger_has),
        CASE(by_workflow_tells_those_of_one_name_apart_by_their_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
