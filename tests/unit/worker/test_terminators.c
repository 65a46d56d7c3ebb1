/*
 * The terminators over a real ledger and the real provider `lambda`, against the stand-in for the
 * service with its quota on TerminateMicrovm. GitHub is scripted. MAYFLY_FAKE_LAMBDA_MICROVMS is
 * the stand-in's address.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/fake.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"
#include "tests/unit/vm/lambda_class.h"
#include "worker/terminators.h"

#define VMS 500
#define FEW 100
#define PER_SECOND 100
#define BURST 10
#define GIVE_UP_MS 60000
/* A machine that is busy delivers late what was sent at its time, several at once. */
#define LATE_PERCENT 5

static struct world {
    const char *url;
    char directory[64];
    struct config *config;
    struct worker worker;
    struct ledger_vm rows[VMS];
    int count; /* of them */
} world;

/* --- the stand-in --- */

static int64_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* --- rows whose job has ended --- */

static void add_row(int n)
{
    struct err e = {0};
    struct ledger_reservation r;
    char id[VM_ID_MAX + 1];
    struct job_event job = {.action = JOB_ACTION_QUEUED, .job.id = n + 1, .job.run_id = n + 1};
    memcpy(job.status, "queued", 7);
    memcpy(job.job.repository, "acme/app", 9);
    memcpy(job.job.organization, "acme", 5);
    job.job.installation_id = 11;
    memcpy(job.job.class_name, "arm", 4);
    struct launch_request request = launch_request_of(&job);
    const struct ledger_reserve ask = {.request = &request,
                                       .scope = "acme",
                                       .caps = {.fleet = VMS, .class_max = VMS},
                                       .deployment = "t",
                                       .provider = "lambda",
                                       .host = ""};
    MUST(ledger_reserve(world.worker.ledger, &ask, &r, &e));
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    struct vm_spec spec = lambda_spec(r.vm.name, "eA==");
    MUST(vm_run(fleet_provider(world.worker.fleet, "arm"), &spec, id, &e));
    const struct ledger_advance steps[] = {
        {.vm = r.vm.name,
         .to = VM_REGISTERED,
         .runner_id = scripted_github_add_runner(r.vm.name, false, false)->id},
        {.vm = r.vm.name, .to = VM_LAUNCHED, .vm_id = id, .deadline_ms = clock_wall_ms() + 600000},
        {.vm = r.vm.name, .to = VM_ENDING, .reason = "its job is over"}};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        MUST(ledger_vm_advance(world.worker.ledger, &steps[i], NULL, &e));
    }
    MUST(ledger_vm_get(world.worker.ledger, r.vm.name, &world.rows[n], &e));
}

static int set_up(int count)
{
    char text[2048];
    struct err e = {0};
    calls_reset();
    scripted_github_reset();
    (void)snprintf(world.directory, sizeof world.directory, "/tmp/mayfly-terminators-XXXXXX");
    assert_non_null(mkdtemp(world.directory));
    (void)snprintf(
        text, sizeof text,
        "{\"queue\": \"sqlite://%s/queue.db\", \"ledger\": \"sqlite://%s/ledger.db\","
        " \"deployment\": \"t\", \"github\": {\"token\": \"x\"},"
        " \"limits\": {\"max_vms\": 1000, \"terminate_rate\": {\"per_second\": %d, \"burst\": %d}},"
        " \"classes\": [{\"name\": \"arm\", \"labels\": [\"self-hosted\"], \"provider\": "
        "\"lambda\","
        " \"lambda\": {\"endpoint\": \"%s\", \"image\": \"" LAMBDA_IMAGE "\"}}]}",
        world.directory, world.directory, PER_SECOND, BURST, world.url);
    MUST(config_parse(slice_of(text), "test", CONFIG_FOR_WORKER, &world.config, NULL, &e));
    MUST(ledger_open(world.config->ledger, &world.worker.ledger, &e));
    MUST(fleet_open(world.config, "this-host", world.worker.ledger, NULL, &world.worker.fleet, &e));
    wakeup_init(&world.worker.intake);
    wakeup_init(&world.worker.working);
    world.worker.config = config_live_new(world.config, NULL, CONFIG_FOR_WORKER);
    fake_post(world.url, "/config", "{\"run_rate\":0,\"terminate_rate\":0}");
    fake_faults(world.url, "[{\"vm\":\"never-start\"}]");
    world.count = count;
    for (int i = 0; i < count; i++) {
        add_row(i);
    }
    return 0;
}

static int set_up_many(void **state)
{
    return set_up(VMS);
}

static int set_up_few(void **state)
{
    return set_up(FEW);
}

static int tear_down(void **state)
{
    char command[4][96];
    static const char *const files[] = {"ledger.db", "ledger.db-wal", "ledger.db-shm",
                                        "ledger.db-turn"};
    fake_faults(world.url, NULL);
    fleet_close(world.worker.fleet);
    ledger_close(world.worker.ledger);
    config_live_free(world.worker.config);
    wakeup_fini(&world.worker.working);
    wakeup_fini(&world.worker.intake);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        (void)snprintf(command[i], sizeof command[i], "%s/%s", world.directory, files[i]);
        (void)unlink(command[i]);
    }
    return rmdir(world.directory);
}

static size_t rows_left(void)
{
    struct err e = {0};
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    MUST(ledger_vm_list(world.worker.ledger, ~(1u << VM_GONE), "", VMS, &vms, &n, &e));
    free(vms);
    return n;
}

/* Twice as many terminators as there are workers' usual ones, all after one bucket. */
static void end_all(void)
{
    struct err e = {0};
    struct terminators *sets[2];
    int64_t give_up = clock_mono_ms() + GIVE_UP_MS;
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        assert_int_equal(terminators_start(&world.worker, 2, &sets[i], &e), 0);
    }
    for (int i = 0; i < world.count; i++) {
        terminators_add(sets[i % 2], &world.rows[i]);
    }
    while (rows_left() > 0 && clock_mono_ms() < give_up) {
        clock_sleep_until(clock_mono_ms() + 20);
    }
    wakeup_raise(&world.worker.working);
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        terminators_join(sets[i]);
    }
    assert_int_equal(rows_left(), 0);
    assert_int_equal(scripted_github.deleted, world.count);
    for (int i = 0; i < world.count; i++) {
        char deleted[64];
        (void)snprintf(deleted, sizeof deleted, "scope=acme id=%d", 1001 + i);
        assert_true(calls_done("github_delete_runner", deleted) >= 1);
    }
}

/* The service refuses what comes faster than its quota. The fleet stays below it, and whatever is
 * refused all the same, because two clocks never agree, is ended later. */
static void five_hundred_vms_are_all_ended_within_the_quota(void **state)
{
    fake_post(world.url, "/config", "{\"terminate_rate\":100,\"terminate_burst\":20}");
    int64_t begin = clock_mono_ms();
    end_all();
    int64_t took_ms = clock_mono_ms() - begin;
    json_t *told = fake_call(world.url, "GET", "/state", "");
    assert_int_equal(rows_left(), 0);
    assert_int_equal(number(told, "alive"), 0);
    assert_true(number(told, "throttled") <= VMS * LATE_PERCENT / 100);
    assert_true(took_ms >= (VMS - BURST) * 1000 / PER_SECOND - 50);
    json_decref(told);
}

/* The same with a quota of which the fleet knows nothing: each refusal closes the bucket. */
static void vms_refused_for_speed_are_ended_all_the_same(void **state)
{
    fake_faults(world.url, "[{\"operation\":\"TerminateMicrovm\",\"preset\":\"throttle\","
                           "\"times\":3}]");
    int64_t begin = clock_mono_ms();
    end_all();
    json_t *told = fake_call(world.url, "GET", "/state", "");
    assert_int_equal(rows_left(), 0);
    assert_int_equal(number(told, "alive"), 0);
    assert_in_range(number(told, "throttled"), 3, 3 + FEW * LATE_PERCENT / 100);
    assert_true(clock_mono_ms() - begin >= (FEW - BURST) * 1000 / PER_SECOND - 50);
    json_decref(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(five_hundred_vms_are_all_ended_within_the_quota,
                                        set_up_many, tear_down),
        cmocka_unit_test_setup_teardown(vms_refused_for_speed_are_ended_all_the_same, set_up_few,
                                        tear_down),
    };
    lambda_environment();
    world.url = getenv("MAYFLY_FAKE_LAMBDA_MICROVMS");
    if (world.url == NULL) {
        (void)fprintf(stderr, "MAYFLY_FAKE_LAMBDA_MICROVMS is not set: run it by with-fakes.mjs\n");
        return 2;
    }
    log_open("test", STDERR_FILENO);
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
