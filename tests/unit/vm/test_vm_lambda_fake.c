/*
 * The provider `lambda` against the stand-in for the service (tests/fakes/lambda-microvms), which
 * keeps the service's limits: what the conformance suite asks of a provider, where it applies to
 * one without names and consoles. MAYFLY_FAKE_LAMBDA_MICROVMS is the stand-in's address.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/fake.h"
#include "tests/unit/vm/lambda_class.h"

#define WAIT_MS 20000

static struct world {
    const char *url;
    struct vm_provider *p;
    char image[16];
} world;

static int64_t launched(void)
{
    json_t *told = fake_call(world.url, "GET", "/state", "");
    int64_t n = json_integer_value(json_object_get(told, "launched"));
    json_decref(told);
    return n;
}

static void configure(const char *body)
{
    fake_post(world.url, "/config", body);
}

static void image_arn(char out[128])
{
    (void)snprintf(out, 128, "arn:aws:lambda:us-east-1:123456789012:microvm-image:%s", world.image);
}

/* Each test has an image of its own, and so sees no other's VMs. */
static int setup(void **state)
{
    char body[128];
    char arn[128];
    struct err e;
    random_hex(world.image, 6);
    (void)snprintf(body, sizeof body, "{\"images\":[{\"name\":\"%s\"}]}", world.image);
    configure(body);
    image_arn(arn);
    struct lambda_settings settings;
    struct config_class class = lambda_class(world.url, &settings);
    settings.image = arn;
    return vm_open(&class, "t", &world.p, &e);
}

static int teardown(void **state)
{
    vm_close(world.p);
    fake_faults(world.url, NULL);
    configure("{\"read_lag_ms\":0,\"empty_page_every\":0,\"page_size\":50,\"run_rate\":0,"
              "\"memory_quota_mib\":1048576}");
    return 0;
}

/* A spec whose VM stays as it is until it is ended: a payload would be for a runner. */
static int run(const char *name, char *id, struct err *e)
{
    char token[64];
    (void)snprintf(token, sizeof token, "%s-%s", world.image, name);
    struct vm_spec spec = lambda_spec(token, "eA==");
    *e = (struct err){0};
    return vm_run(world.p, &spec, id, e);
}

static void must_run(const char *name, char *id)
{
    struct err e;
    if (run(name, id, &e) != 0) {
        fail_msg("vm_run: %s", e.message);
    }
}

static struct vm_info must_reach(const char *id, enum vm_run_state state)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    for (;;) {
        struct vm_info info;
        struct err e;
        assert_int_equal(vm_describe(world.p, id, &info, &e), 0);
        if (info.state == state) {
            return info;
        }
        assert_true(clock_mono_ms() < until);
        clock_sleep_until(clock_mono_ms() + 5);
    }
}

/* Also those that have ended, which no list of the provider's names. */
static size_t count_made(void)
{
    json_t *all = fake_call(world.url, "GET", "/vms", "");
    size_t n = 0;
    size_t i;
    const json_t *vm;
    json_array_foreach(all, i, vm)
    {
        const char *image = json_string_value(json_object_get(vm, "image"));
        n += image != NULL && strcmp(image, world.image) == 0;
    }
    json_decref(all);
    return n;
}

static size_t count_listed(void)
{
    struct vm_info *list = NULL;
    size_t n = 0;
    struct err e;
    assert_int_equal(vm_list(world.p, &list, &n, &e), 0);
    free(list);
    return n;
}

static void fault(const char *body)
{
    fake_faults(world.url, body);
}

/* --- */

static void run_accepted_is_running_and_listed_until_terminated(void **state)
{
    char id[VM_ID_MAX + 1];
    struct vm_info *list = NULL;
    size_t n = 0;
    struct err e;
    int64_t before_ms = clock_wall_ms();
    fault("[{\"vm\":\"never-start\",\"times\":1}]");
    must_run("vm-1", id);
    struct vm_info info = must_reach(id, VM_RUN_RUNNING);
    assert_string_equal(info.id, id);
    assert_string_equal(info.name, "");
    assert_true(info.started_ms >= before_ms - 1 && info.started_ms <= clock_wall_ms());
    assert_int_equal(vm_list(world.p, &list, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].id, id);
    free(list);
    assert_int_equal(vm_terminate(world.p, id, 0, &e), 0);
    info = must_reach(id, VM_RUN_ENDED);
    assert_true(info.ended_ms >= info.started_ms);
    assert_string_equal(info.reason, "Terminated by request");
    assert_int_equal(vm_terminate(world.p, id, 0, &e), 0);
    assert_int_equal(vm_terminate(world.p, "microvm-of-nobody", 0, &e), 0);
    assert_int_equal(vm_describe(world.p, "microvm-of-nobody", &info, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(vm_forget(world.p, id, &e), 0);
}

static void run_again_with_its_token_is_the_same_vm(void **state)
{
    char first[VM_ID_MAX + 1];
    char again[VM_ID_MAX + 1];
    char token[64];
    struct err e;
    must_run("vm-1", first);
    must_run("vm-1", again);
    assert_string_equal(first, again);
    (void)snprintf(token, sizeof token, "%s-vm-1", world.image);
    struct vm_spec other = lambda_spec(token, "eQ==");
    assert_int_equal(vm_run(world.p, &other, again, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(count_made(), 1);
}

static void run_payload_the_agent_refuses_ends_with_its_reason(void **state)
{
    char id[VM_ID_MAX + 1];
    must_run("vm-1", id);
    struct vm_info info = must_reach(id, VM_RUN_ENDED);
    assert_non_null(strstr(info.reason, "Run hook failed"));
}

static void run_lost_answer_is_healed_and_makes_one_vm(void **state)
{
    static const char *const losses[] = {
        "[{\"operation\":\"RunMicrovm\",\"drop\":true,\"times\":2}]",
        "[{\"operation\":\"RunMicrovm\",\"preset\":\"bad-gateway\",\"work\":true,\"times\":1}]",
        "[{\"operation\":\"RunMicrovm\",\"preset\":\"internal\",\"work\":true,\"times\":1}]",
        "[{\"operation\":\"RunMicrovm\",\"preset\":\"unavailable\",\"times\":2}]",
    };
    for (size_t i = 0; i < COUNT_OF(losses); i++) {
        char name[16];
        char id[VM_ID_MAX + 1];
        int64_t before = launched();
        (void)snprintf(name, sizeof name, "vm-%zu", i);
        fault(losses[i]);
        must_run(name, id);
        assert_int_equal(launched(), before + 1);
    }
    assert_int_equal(count_made(), COUNT_OF(losses));
}

static void run_answer_lost_for_good_leaves_doubt_and_a_vm(void **state)
{
    char id[VM_ID_MAX + 1] = "untouched";
    struct err e;
    fault("[{\"operation\":\"RunMicrovm\",\"drop\":true}]");
    assert_int_equal(run("vm-1", id, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_false(vm_run_left_nothing(&e));
    assert_string_equal(id, "untouched");
    assert_int_equal(count_made(), 1);
}

static void run_refused_leaves_nothing(void **state)
{
    char id[VM_ID_MAX + 1];
    struct err e;
    static const struct {
        const char *preset;
        enum err_class class;
    } cases[] = {{"throttle", ERR_THROTTLED},
                 {"quota", ERR_CAPACITY},
                 {"capacity", ERR_CAPACITY},
                 {"denied-null", ERR_AUTH}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char body[128];
        (void)snprintf(body, sizeof body,
                       "[{\"operation\":\"RunMicrovm\",\"preset\":\"%s\",\"times\":1}]",
                       cases[i].preset);
        for (int style = 0; style < 2; style++) {
            configure(style == 0 ? "{\"error_style\":\"body\"}" : "{\"error_style\":\"header\"}");
            fault(body);
            assert_int_equal(run("vm-1", id, &e), -1);
            assert_int_equal(e.class, cases[i].class);
            assert_true(vm_run_left_nothing(&e));
        }
    }
    assert_int_equal(count_made(), 0);
}

/* A policy that allows the role takes a while to spread. */
static void run_role_not_known_yet_is_asked_again(void **state)
{
    char id[VM_ID_MAX + 1];
    struct err e;
    fault("[{\"operation\":\"RunMicrovm\",\"preset\":\"denied\",\"times\":2}]");
    must_run("vm-1", id);
    fault("[{\"operation\":\"RunMicrovm\",\"preset\":\"denied\"}]");
    assert_int_equal(run("vm-2", id, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_true(vm_run_left_nothing(&e));
    assert_non_null(strstr(e.message, "4 times in 3500 ms"));
    assert_int_equal(count_made(), 1);
}

static void run_beyond_rate_and_memory_is_told(void **state)
{
    char id[VM_ID_MAX + 1];
    struct err e;
    configure("{\"run_rate\":0.001,\"run_burst\":1,\"retry_after_s\":3}");
    must_run("vm-1", id);
    assert_int_equal(run("vm-2", id, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.retry_after_ms, 3000);
    configure("{\"run_rate\":0,\"memory_quota_mib\":1}");
    assert_int_equal(run("vm-2", id, &e), -1);
    assert_int_equal(e.class, ERR_CAPACITY);
    assert_non_null(strstr(e.message, "memory"));
}

static void run_image_without_active_version_is_permanent(void **state)
{
    char id[VM_ID_MAX + 1];
    char body[160];
    struct err e;
    (void)snprintf(body, sizeof body,
                   "{\"images\":[{\"name\":\"%s\",\"versions\":[{\"version\":\"1.0\","
                   "\"status\":\"INACTIVE\"}]}]}",
                   world.image);
    configure(body);
    assert_int_equal(run("vm-1", id, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "ACTIVE"));
}

/* Of the version that would run; the stand-in's are from late 2023 on. */
static void image_is_as_old_as_its_active_version(void **state)
{
    char arn[128];
    struct err e;
    struct lambda_settings settings;
    struct config_class class = lambda_class(world.url, &settings);
    int64_t built_ms = 0;
    image_arn(arn);
    settings.image = arn;
    if (vm_image_built(&class, "", &built_ms, &e) != 0) {
        fail_msg("vm_image_built: %s", e.message);
    }
    assert_in_range(built_ms, 1700000000000, clock_wall_ms());
}

static void list_many_pages_some_empty(void **state)
{
    char id[VM_ID_MAX + 1];
    configure("{\"page_size\":7,\"empty_page_every\":3}");
    fault("[{\"vm\":\"never-start\"}]");
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "vm-%d", i);
        must_run(name, id);
    }
    assert_int_equal(count_listed(), 40);
}

static int64_t told_number(const char *object, const char *key)
{
    json_t *told = fake_call(world.url, "GET", "/state", "");
    const json_t *in = object != NULL ? json_object_get(told, object) : told;
    int64_t n = json_integer_value(json_object_get(in, key));
    json_decref(told);
    return n;
}

static struct vm_provider *open_class_of_another_image(void)
{
    static char arn[128];
    char body[64];
    struct lambda_settings settings;
    struct vm_provider *p = NULL;
    struct err e;
    struct config_class class = lambda_class(world.url, &settings);
    (void)snprintf(body, sizeof body, "{\"images\":[{\"name\":\"%s-b\"}]}", world.image);
    configure(body);
    (void)snprintf(arn, sizeof arn, "arn:aws:lambda:us-east-1:123456789012:microvm-image:%s-b",
                   world.image);
    settings.image = arn;
    assert_int_equal(vm_open(&class, "t", &p, &e), 0);
    return p;
}

/* Of the account, by one listing for both classes: a request for each 50 VMs, dead or not. */
static void dead_vms_cost_their_pages_once_for_all_classes(void **state)
{
    static const int64_t dead[] = {1000, 20000};
    struct vm_provider *classes[] = {world.p, open_class_of_another_image()};
    struct err e;
    char first[VM_ID_MAX + 1];
    char last[VM_ID_MAX + 1];
    const struct vm_spec of_other = lambda_spec(world.image, "eA==");
    fault("[{\"vm\":\"never-start\"}]");
    must_run("vm-1", first);
    for (size_t i = 0; i < COUNT_OF(dead); i++) {
        char body[192];
        (void)snprintf(body, sizeof body,
                       "{\"image\":\"arn:aws:lambda:us-east-1:123456789012:microvm-image:%s\","
                       "\"count\":%lld}",
                       world.image, (long long)dead[i]);
        fake_post(world.url, "/dead", body);
        if (i == 0) {
            assert_int_equal(vm_run(classes[1], &of_other, last, &e), 0);
        }
        int64_t before = told_number("operations", "ListMicrovms");
        int64_t known = told_number(NULL, "known");
        assert_true(known > dead[i]);
        struct vm_listing *l = vm_listing_new(classes, 2);
        bool complete = false;
        size_t n = 0;
        assert_int_equal(vm_listing_read(l, INT64_MAX, &complete, &e), 0);
        assert_true(complete);
        int64_t pages = (known + 49) / 50;
        assert_int_equal(vm_listing_pages(l), pages);
        assert_int_equal(told_number("operations", "ListMicrovms") - before, pages);
        assert_string_equal(vm_listing_vms(l, 0, &n)[0].id, first);
        assert_int_equal(n, 1);
        assert_string_equal(vm_listing_vms(l, 1, &n)[0].id, last);
        assert_int_equal(n, 1);
        vm_listing_free(l);
    }
    vm_close(classes[1]);
}

static void reads_that_lag_show_nothing_yet(void **state)
{
    char id[VM_ID_MAX + 1];
    struct vm_info info;
    struct err e;
    configure("{\"read_lag_ms\":60000}");
    must_run("vm-1", id);
    assert_int_equal(vm_describe(world.p, id, &info, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(count_listed(), 0);
    assert_int_equal(vm_terminate(world.p, id, 0, &e), 0);
    configure("{\"read_lag_ms\":0}");
    (void)must_reach(id, VM_RUN_ENDED);
}

struct racer {
    char id[VM_ID_MAX + 1];
    int rc;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct err e;
    r->rc = run("vm-1", r->id, &e);
    return NULL;
}

static void run_racing_with_one_token_makes_one_vm(void **state)
{
    pthread_t threads[8];
    struct racer racers[COUNT_OF(threads)];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(racers[i].rc, 0);
        assert_string_equal(racers[i].id, racers[0].id);
    }
    assert_int_equal(count_made(), 1);
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FAKE(run_accepted_is_running_and_listed_until_terminated),
        ON_FAKE(run_again_with_its_token_is_the_same_vm),
        ON_FAKE(run_payload_the_agent_refuses_ends_with_its_reason),
        ON_FAKE(run_lost_answer_is_healed_and_makes_one_vm),
        ON_FAKE(run_answer_lost_for_good_leaves_doubt_and_a_vm),
        ON_FAKE(run_refused_leaves_nothing),
        ON_FAKE(run_role_not_known_yet_is_asked_again),
        ON_FAKE(run_beyond_rate_and_memory_is_told),
        ON_FAKE(run_image_without_active_version_is_permanent),
        ON_FAKE(image_is_as_old_as_its_active_version),
        ON_FAKE(list_many_pages_some_empty),
        ON_FAKE(reads_that_lag_show_nothing_yet),
        ON_FAKE(run_racing_with_one_token_makes_one_vm),
        ON_FAKE(dead_vms_cost_their_pages_once_for_all_classes), /* last: the others count */
    };
    lambda_environment();
    world.url = getenv("MAYFLY_FAKE_LAMBDA_MICROVMS");
    if (world.url == NULL) {
        (void)fprintf(stderr, "MAYFLY_FAKE_LAMBDA_MICROVMS is not set: run it by with-fakes.mjs\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
