/*
 * The fleet's gauges: what they show, who exports them, and when they vanish.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/metrics.h"
#include "common/ledger/circuit.h"
#include "common/ledger/images.h"
#include "common/ledger/pauses.h"
#include "reaper/metrics/emf.h"
#include "reaper/metrics/fleet.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] =
    WORLD_CONFIG("\"limits\": {\"max_vms\": 5, \"max_vms_per_repository\": 2, "
                 "\"launch_rate\": {\"per_second\": 0}}, \"reaper\": "
                 "{\"lease_duration\": \"60s\", \"relaunch_after\": \"1h\"}",
                 WORLD_SMALL("\"max_vms\": 3, \"max_duration\": \"1h\"") ", " WORLD_LARGE(
                     "\"max_vms\": 4, \"max_duration\": \"2h\""));

static int set_up(void **state)
{
    (void)world_set_up(state);
    world_set_recovered();
    reaper.metrics = fleet_metrics_new(&reaper);
    return 0;
}

static int tear_down(void **state)
{
    fleet_metrics_set_lease(reaper.metrics, NULL, 0);
    fleet_metrics_free(reaper.metrics);
    return world_tear_down(state);
}

#define FLEET_CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* The value of a series as /metrics shows it; "": it is not there. */
static const char *shown(const char *series)
{
    static char value[64];
    struct buf page;
    struct slice rest;
    struct slice line;
    size_t len = strlen(series);
    buf_init(&page, 1 << 20);
    fleet_metrics_check(reaper.metrics);
    metrics_render(&page);
    rest = buf_slice(&page);
    value[0] = '\0';
    while (slice_cut(rest, '\n', &line, &rest)) {
        if (line.len > len && line.ptr[len] == ' ' && memcmp(line.ptr, series, len) == 0) {
            struct slice number = {line.ptr + len + 1, line.len - len - 1};
            assert_true(slice_to_cstr(number, value, sizeof value));
        }
    }
    buf_fini(&page);
    return value;
}

static void sweep_and_read(void)
{
    sweep_times(1);
    fleet_metrics_read(reaper.metrics);
}

static struct ledger_job *add_waiting(int64_t id, const char *repository, int64_t age_ms)
{
    struct ledger_job *job = world_add_job(id, "queued");
    (void)snprintf(job->facts.repository, sizeof job->facts.repository, "%s", repository);
    job->waiting_ms = world.now_ms - age_ms;
    return job;
}

static void jobs_vms_slots_and_lanes_are_shown(void **state)
{
    (void)world_add_running("vm-1", VM_BUSY, 1000);
    (void)world_add_running("vm-2", VM_LAUNCHED, 1000);
    (void)add_waiting(101, "acme/a", 90000);
    (void)add_waiting(102, "acme/b", 30000);
    world_beat("mayfly-worker/here/1");
    world_beat("mayfly-worker/there/2");
    world_beat("mayfly-reaper/here/3");
    scripted_github.rate = (struct github_rate){.limit = 5000, .left = 1250};
    sweep_and_read();
    assert_string_equal(shown("mayfly_fleet_jobs{class=\"small\",state=\"waiting\"}"), "2");
    assert_string_equal(shown("mayfly_fleet_jobs{class=\"large\",state=\"waiting\"}"), "0");
    assert_string_equal(shown("mayfly_fleet_vms{class=\"small\",state=\"busy\"}"), "1");
    assert_string_equal(shown("mayfly_fleet_vms{class=\"small\",state=\"launched\"}"), "1");
    assert_string_equal(shown("mayfly_fleet_slots_used{class=\"small\"}"), "2");
    assert_string_equal(shown("mayfly_fleet_slots_max{class=\"small\"}"), "3");
    assert_string_equal(shown("mayfly_fleet_vms_max"), "5");
    assert_string_equal(shown("mayfly_fleet_demand{class=\"small\"}"), "2");
    assert_string_equal(shown("mayfly_fleet_supply{class=\"small\"}"), "1");
    assert_string_equal(shown("mayfly_fleet_oldest_wait_seconds{class=\"small\"}"), "90.01");
    assert_string_equal(shown("mayfly_fleet_oldest_wait_seconds{class=\"large\"}"), "0");
    assert_string_equal(shown("mayfly_fleet_workers"), "2");
    assert_string_equal(shown("mayfly_fleet_reapers"), "1");
    assert_string_equal(shown("mayfly_quota_use_ratio{quota=\"vms\"}"), "0.4");
    assert_string_equal(shown("mayfly_quota_use_ratio{quota=\"github_calls\"}"), "0.75");
    assert_string_equal(shown("mayfly_dead_letters"), "7");
    assert_string_equal(shown("mayfly_queue_depth{lane=\"launch.small\"}"), "0"); /* leased */
    assert_string_equal(shown("mayfly_queue_depth{lane=\"events\"}"), "0");
    assert_string_equal(shown("mayfly_circuits_open{subject=\"github\"}"), "0");
}

static void only_the_lease_holder_exports_them(void **state)
{
    world_take_leases();
    sweep_and_read();
    assert_string_equal(shown("mayfly_fleet_vms_max"), "");
    assert_string_equal(shown("mayfly_circuits_open{subject=\"github\"}"), "");
    assert_string_equal(shown("mayfly_fleet_observed_timestamp_seconds{store=\"ledger\"}"), "");
    world_give_leases_back();
    sweep_and_read();
    assert_string_equal(shown("mayfly_fleet_vms_max"), "5");
    assert_string_equal(shown("mayfly_dead_letters"), "7");
    /* Another reaper has it: the next sweep sees that. */
    world_take_leases();
    sweep_times(1);
    assert_string_equal(shown("mayfly_fleet_vms_max"), "");
    assert_string_equal(shown("mayfly_dead_letters"), "");
}

/* A process that was frozen does not sweep, and another one has the lease by then. */
static void they_vanish_when_the_lease_may_be_over(void **state)
{
    sweep_and_read();
    world_pass(59 * SECOND_MS);
    assert_string_equal(shown("mayfly_fleet_vms_max"), "5");
    world.boot_extra_ms = 2 * SECOND_MS; /* the guest was paused */
    assert_string_equal(shown("mayfly_fleet_vms_max"), "");
    fleet_metrics_read(reaper.metrics);
    assert_string_equal(shown("mayfly_fleet_vms_max"), "");
}

static void store_that_is_away_leaves_its_gauges_for_a_minute(void **state)
{
    char began[64];
    sweep_and_read();
    (void)snprintf(began, sizeof began, "%s",
                   shown("mayfly_fleet_observed_timestamp_seconds{store=\"queue\"}"));
    world_fail("queue_depths", NULL, ERR_RETRY);
    for (int i = 0; i < 6; i++) {
        world_pass(10 * SECOND_MS);
        sweep_and_read();
    }
    assert_string_equal(shown("mayfly_dead_letters"), "");
    assert_string_equal(shown("mayfly_fleet_vms_max"), "5");
    assert_string_equal(shown("mayfly_fleet_observed_timestamp_seconds{store=\"queue\"}"), began);
    world_heal();
    world_pass(10 * SECOND_MS);
    sweep_and_read();
    assert_string_equal(shown("mayfly_dead_letters"), "7");
}

/* Nobody else can have the lease before it is over. */
static void ledger_that_is_away_leaves_the_gauges_while_the_lease_lasts(void **state)
{
    sweep_and_read();
    world_fail("ledger_lease", NULL, ERR_RETRY);
    world_fail("ledger_balances", NULL, ERR_RETRY);
    world_pass(30 * SECOND_MS);
    sweep_and_read();
    assert_string_equal(shown("mayfly_fleet_vms_max"), "5");
    world_pass(31 * SECOND_MS);
    assert_string_equal(shown("mayfly_fleet_vms_max"), "");
    assert_string_equal(shown("mayfly_dead_letters"), "");
    assert_string_equal(shown("mayfly_fleet_observed_timestamp_seconds{store=\"ledger\"}"), "");
    world_heal();
    sweep_and_read();
    assert_string_equal(shown("mayfly_fleet_vms_max"), "5");
}

static void rows_of_former_classes_count_together(void **state)
{
    struct ledger_vm *vm = world_add_vm("vm-1", VM_BUSY, 1000);
    (void)snprintf(vm->class_name, sizeof vm->class_name, "former");
    world_add_messages("launch.former", QUEUE_READY, "5", 3);
    sweep_and_read();
    assert_string_equal(shown("mayfly_fleet_slots_used{class=\"unconfigured\"}"), "1");
    assert_string_equal(shown("mayfly_queue_depth{lane=\"unconfigured\"}"), "3");
    assert_string_equal(shown("mayfly_fleet_slots_max{class=\"unconfigured\"}"), "");
}

static void age_of_an_image_is_shown_where_it_is_known(void **state)
{
    sweep_and_read();
    assert_string_equal(shown("mayfly_runner_image_age_seconds{class=\"large\"}"), "");
    scripted_vms.image_built_ms = world.now_ms - 48 * HOUR_MS;
    world_pass(HOUR_MS); /* it is asked once an hour */
    sweep_and_read();
    assert_string_equal(shown("mayfly_runner_image_age_seconds{class=\"large\"}"), "176400.01");
    assert_string_equal(shown("mayfly_runner_image_age_seconds{class=\"small\"}"), "");
}

/* --- the launchable backlog --- */

#define BACKLOG "mayfly_fleet_launchable_backlog{class=\"small\"}"
#define OLDEST "mayfly_fleet_oldest_launchable_wait_seconds{class=\"small\"}"

static void vms_on_their_way_are_for_the_oldest_jobs(void **state)
{
    (void)world_add_running("vm-1", VM_LAUNCHED, 1000);
    (void)add_waiting(101, "acme/a", 90000);
    (void)add_waiting(102, "acme/b", 30000);
    sweep_and_read();
    assert_string_equal(shown(BACKLOG), "1");
    assert_string_equal(shown(OLDEST), "30.01");
}

static void caps_hold_jobs(void **state)
{
    (void)add_waiting(101, "acme/a", 90000);
    (void)add_waiting(102, "acme/b", 30000);
    for (int i = 0; i < 2; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "vm-%d", i);
        struct ledger_vm *vm = world_add_running(name, VM_BUSY, 1000);
        (void)snprintf(vm->repository, sizeof vm->repository, "acme/a");
    }
    sweep_and_read();
    assert_string_equal(shown(BACKLOG), "1"); /* of acme/b */
    assert_string_equal(shown(OLDEST), "30.01");
    (void)world_add_running("vm-3", VM_BUSY, 1000); /* the class is full */
    world_pass(10 * SECOND_MS);
    sweep_and_read();
    assert_string_equal(shown(BACKLOG), "0");
    assert_string_equal(shown(OLDEST), "0");
    assert_string_equal(shown("mayfly_fleet_demand{class=\"small\"}"), "2");
}

static void circuits_hold_jobs(int64_t probe_in_ms)
{
    struct err e;
    const struct circuit c = {.since_ms = world.now_ms,
                              .changed_ms = world.now_ms,
                              .opens = 1,
                              .open_until_ms = world.now_ms + probe_in_ms};
    char value[LEDGER_CELL_VALUE];
    circuit_encode(&c, value);
    (void)add_waiting(101, "acme/a", 90000);
    (void)add_waiting(102, "acme/b", 30000);
    MUST(ledger_cell_put(world.ledger, CIRCUIT_KIND, "repository:acme/a", value, 0, NULL, &e));
    sweep_and_read();
    assert_string_equal(shown("mayfly_circuits_open{subject=\"repository\"}"), "1");
    assert_string_equal(shown(BACKLOG), "1");
    assert_string_equal(shown(OLDEST), "30.01");
    MUST(ledger_cell_put(world.ledger, CIRCUIT_KIND, "github:api", value, 0, NULL, &e));
    world_pass(10 * SECOND_MS);
    sweep_and_read();
    assert_string_equal(shown(BACKLOG), "0");
}

static void open_circuits_hold_jobs(void **state)
{
    circuits_hold_jobs(HOUR_MS);
    (void)state;
}

static void circuits_whose_probe_is_due_hold_jobs(void **state)
{
    circuits_hold_jobs(-1);
    (void)state;
}

static void paused_class_holds_its_jobs(void **state)
{
    struct err e;
    struct ledger_pause p;
    bool began;
    (void)add_waiting(101, "acme/a", 90000);
    sweep_and_read();
    assert_string_equal(shown(BACKLOG), "1");
    MUST(ledger_pause_begin(world.ledger, "small", "test", "", &p, &began, &e));
    world_pass(10 * SECOND_MS);
    sweep_and_read();
    assert_string_equal(shown(BACKLOG), "0");
    assert_string_equal(shown("mayfly_fleet_demand{class=\"small\"}"), "1");
}

static int64_t lists_read(void)
{
    return metric_value(metrics_histogram(
        "mayfly_call_seconds", "service=\"ledger\",operation=\"list\",outcome=\"ok\"", NULL, 0));
}

/* However many rows there are: nothing scans, and where a cap is reached no job is read. */
static void reading_costs_a_few_calls(void **state)
{
    for (int i = 0; i < 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "vm-%d", i);
        (void)world_add_running(name, VM_BUSY, 1000);
    }
    for (int i = 0; i < 200; i++) {
        (void)add_waiting(100 + i, "acme/a", 90000);
    }
    sweep_times(1);
    calls_reset();
    int64_t before = lists_read();
    fleet_metrics_read(reaper.metrics);
    assert_int_equal(lists_read(), before + 2); /* the counts, the balances */
    assert_int_equal(calls_count("ledger_balances", NULL), 1);
    assert_true(calls_count("ledger_cell_list", NULL) <= 3); /* programs, pauses, circuits */
    assert_int_equal(calls_count("ledger_vm_list", NULL), 0);
    assert_int_equal(calls_count("queue_depths", NULL), 1);
    fleet_metrics_read(reaper.metrics); /* at once again: nothing is due */
    assert_int_equal(calls_count("ledger_balances", NULL), 1);
    assert_int_equal(calls_count("queue_depths", NULL), 1);
    world_pass(10 * SECOND_MS);
    fleet_metrics_read(reaper.metrics);
    assert_int_equal(lists_read(), before + 4);
}

/* --- documents for CloudWatch --- */

/* Of the specification: what the root node, its directives and their targets must be. */
static json_t *must_be_emf(const char *line, size_t len)
{
    size_t i;
    size_t k;
    json_t *set;
    json_t *key;
    json_t *metric;
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_t *aws = json_object_get(root, "_aws");
    json_t *directives = json_object_get(aws, "CloudWatchMetrics");
    assert_int_equal(json_integer_value(json_object_get(aws, "Timestamp")), world.now_ms);
    assert_int_equal(json_array_size(directives), 1);
    json_t *d = json_array_get(directives, 0);
    assert_string_equal(json_string_value(json_object_get(d, "Namespace")), "Mayfly");
    assert_int_equal(json_array_size(json_object_get(d, "Dimensions")), 1);
    json_array_foreach(json_object_get(d, "Dimensions"), i, set)
    {
        json_array_foreach(set, k, key)
        {
            assert_true(json_is_string(json_object_get(root, json_string_value(key))));
        }
    }
    assert_in_range(json_array_size(json_object_get(d, "Metrics")), 1, 100);
    json_array_foreach(json_object_get(d, "Metrics"), i, metric)
    {
        const char *unit = json_string_value(json_object_get(metric, "Unit"));
        const char *name = json_string_value(json_object_get(metric, "Name"));
        assert_true(json_is_number(json_object_get(root, name)));
        assert_true(strcmp(unit, "Count") == 0 || strcmp(unit, "Seconds") == 0 ||
                    strcmp(unit, "None") == 0);
    }
    assert_true(len < EMF_DOCUMENT_MAX_BYTES);
    return root;
}

static double number(const json_t *document, const char *name)
{
    const json_t *value = json_object_get(document, name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* The documents that are shown now: of the fleet, then of each class. */
static size_t documents(json_t *out[4])
{
    struct buf text;
    struct slice rest;
    struct slice line;
    size_t n = 0;
    const struct config *c = config_live_get(reaper.config);
    buf_init(&text, 1 << 20);
    emf_append(&text, c, world.now_ms);
    config_live_put(reaper.config, c);
    rest = buf_slice(&text);
    while (slice_cut(rest, '\n', &line, &rest)) {
        assert_true(n < 4);
        out[n++] = must_be_emf(line.ptr, line.len);
    }
    assert_int_equal(rest.len, 0);
    buf_fini(&text);
    return n;
}

static void documents_have_the_dimensions_deployment_and_class(void **state)
{
    json_t *all[4];
    (void)world_add_running("vm-1", VM_BUSY, 1000);
    (void)add_waiting(101, "acme/a", 90000);
    sweep_and_read();
    assert_int_equal(documents(all), 3);
    assert_string_equal(json_string_value(json_object_get(all[0], "deployment")), "t");
    assert_null(json_object_get(all[0], "class"));
    assert_string_equal(json_string_value(json_object_get(all[1], "class")), "small");
    assert_string_equal(json_string_value(json_object_get(all[2], "class")), "large");
    assert_true(number(all[0], "jobs_waiting") == 1 && number(all[1], "jobs_waiting") == 1 &&
                number(all[2], "jobs_waiting") == 0);
    assert_true(number(all[0], "slots_max") == 5 && number(all[1], "slots_max") == 3);
    assert_true(number(all[1], "vms_busy") == 1 && number(all[1], "oldest_wait") == 90.01);
    assert_true(number(all[0], "dead_letters") == 7 && number(all[0], "circuits_open") == 0);
    for (size_t i = 0; i < 3; i++) {
        json_decref(all[i]);
    }
}

static void documents_count_rejected_images(void **state)
{
    json_t *all[4];
    struct err e;
    struct ledger_image i = {.class_name = "small"};
    (void)state;
    ledger_image_begin(&i, "arn:image", "1.0", 1);
    assert_true(ledger_image_offer(&i, "2.0", 2));
    MUST(ledger_image_put(reaper.ledger, &i, &e));
    sweep_and_read();
    for (int rejected = 0; rejected < 2; rejected++) {
        assert_int_equal(documents(all), 3);
        assert_true(number(all[0], "images_rejected") == rejected);
        for (size_t k = 0; k < 3; k++) {
            json_decref(all[k]);
        }
        MUST(ledger_image_get(reaper.ledger, "small", &i, &e));
        (void)ledger_image_reject(&i, "2.0", true, "x", clock_wall_ms());
        MUST(ledger_image_put(reaper.ledger, &i, &e));
        world_pass(MINUTE_MS);
        sweep_and_read();
    }
}

static void fleet_document_has_moments_as_durations(void **state)
{
    json_t *all[4];
    struct metric *swept = metrics_gauge("mayfly_reaper_last_sweep_timestamp_seconds", "");
    struct metric *expiry = metrics_gauge("mayfly_aws_credentials_expiry_timestamp_seconds", "");
    (void)world_add_running("vm-1", VM_BUSY, 1000);
    sweep_and_read();
    metric_set(swept, world.now_ms / 1000 - 90);
    metric_set(expiry, world.now_ms / 1000 + 300);
    assert_int_equal(documents(all), 3);
    double rest = (double)(world.now_ms % 1000) / 1000;
    assert_true(number(all[0], "last_sweep_age") >= 90 + rest - 0.001 &&
                number(all[0], "last_sweep_age") <= 90 + rest + 0.001);
    assert_true(number(all[0], "credentials_left") >= 299 - rest &&
                number(all[0], "credentials_left") <= 300);
    assert_true(number(all[0], "quota_use") == 0.2); /* one of five VMs */
    assert_null(json_object_get(all[1], "last_sweep_age"));
    for (size_t i = 0; i < 3; i++) {
        json_decref(all[i]);
    }
    metric_set(expiry, world.now_ms / 1000 - 5); /* expired */
    assert_int_equal(documents(all), 3);
    assert_true(number(all[0], "credentials_left") == 0);
    for (size_t i = 0; i < 3; i++) {
        json_decref(all[i]);
    }
    metric_set(expiry, 0); /* never */
    assert_int_equal(documents(all), 3);
    assert_null(json_object_get(all[0], "credentials_left"));
    for (size_t i = 0; i < 3; i++) {
        json_decref(all[i]);
    }
}

static void only_the_lease_holder_has_documents(void **state)
{
    json_t *all[4];
    sweep_and_read();
    world_take_leases();
    sweep_times(1);
    assert_int_equal(documents(all), 0);
}

static int lines_of(int fd)
{
    char text[65536];
    ssize_t n = read(fd, text, sizeof text);
    int lines = 0;
    for (ssize_t i = 0; i < n; i++) {
        lines += text[i] == '\n' ? 1 : 0;
    }
    return lines;
}

/* Whole lines, also after one that was cut; and a pipe that nobody reads holds nothing up. */
static void full_pipe_drops_documents_and_is_reported_once(void **state)
{
    int ends[2];
    char fill[4096];
    memset(fill, 'x', sizeof fill);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    sweep_and_read();
    struct emf_writer w = {.fd = ends[1]};
    const struct config *c = config_live_get(reaper.config);
    struct metric *dropped = metrics_counter("mayfly_emf_dropped_total", "");
    emf_write(&w, c, world.now_ms);
    assert_int_equal(lines_of(ends[0]), 3);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], fill, sizeof fill) > 0) {
    }
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    emf_write(&w, c, world.now_ms);
    assert_int_equal(metric_value(dropped), 1);
    assert_true(w.broken && w.warned);
    while (lines_of(ends[0]) > 0 || read(ends[0], fill, sizeof fill) > 0) {
    }
    emf_write(&w, c, world.now_ms);
    assert_int_equal(lines_of(ends[0]), 4); /* the first one ends what was cut */
    assert_false(w.broken || w.warned);
    config_live_put(reaper.config, c);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FLEET_CASE(jobs_vms_slots_and_lanes_are_shown),
        FLEET_CASE(only_the_lease_holder_exports_them),
        FLEET_CASE(they_vanish_when_the_lease_may_be_over),
        FLEET_CASE(store_that_is_away_leaves_its_gauges_for_a_minute),
        FLEET_CASE(age_of_an_image_is_shown_where_it_is_known),
        FLEET_CASE(ledger_that_is_away_leaves_the_gauges_while_the_lease_lasts),
        FLEET_CASE(rows_of_former_classes_count_together),
        FLEET_CASE(vms_on_their_way_are_for_the_oldest_jobs),
        FLEET_CASE(caps_hold_jobs),
        FLEET_CASE(open_circuits_hold_jobs),
        FLEET_CASE(circuits_whose_probe_is_due_hold_jobs),
        FLEET_CASE(reading_costs_a_few_calls),
        FLEET_CASE(paused_class_holds_its_jobs),
        FLEET_CASE(documents_have_the_dimensions_deployment_and_class),
        FLEET_CASE(documents_count_rejected_images),
        FLEET_CASE(fleet_document_has_moments_as_durations),
        FLEET_CASE(only_the_lease_holder_has_documents),
        FLEET_CASE(full_pipe_drops_documents_and_is_reported_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
