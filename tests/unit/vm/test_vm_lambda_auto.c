/*
 * Limits that are `auto`, against a scripted server in the place of Service Quotas and the service.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/vm/lambda/check.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/vm/lambda_scene.h"

#define QUOTA(value)                                                                               \
    {                                                                                              \
        200, NULL, "{\"Quota\":{\"Value\":" value "}}"                                             \
    }
#define VERSIONS(mib)                                                                              \
    {                                                                                              \
        200, NULL,                                                                                 \
            "{\"items\":[{\"imageVersion\":\"1.0\",\"status\":\"ACTIVE\",\"state\":"               \
            "\"SUCCESSFUL\","                                                                      \
            "\"resources\":[{\"minimumMemoryInMiB\":" mib "}]}]}"                                  \
    }

static struct lambda_settings settings[2];
static struct config_class classes[2];
static char *automatic[] = {NULL, NULL, NULL, NULL, NULL};

static struct config configure(const struct scene *s, size_t class_count)
{
    const char *url = http_server_url(s->server);
    (void)setenv("AWS_ENDPOINT_URL", url, 1);
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        classes[i] = lambda_class(url, &settings[i]);
        classes[i].max_vms = 7;
    }
    static const struct config_class *const places[] = {&classes[0], &classes[1]};
    struct config c = {.classes = classes, .class_count = class_count};
    c.places = (const struct config_class **)(uintptr_t)places;
    c.place_count = class_count;
    c.limits.max_vms = 100;
    c.limits.launch_rate = (struct config_rate){5, 5};
    c.limits.terminate_rate = (struct config_rate){10, 10};
    automatic[0] = lambda_text("limits.max_vms");
    automatic[1] = lambda_text("limits.launch_rate.per_second");
    automatic[2] = lambda_text("limits.launch_rate.burst");
    automatic[3] = lambda_text("limits.terminate_rate.burst");
    automatic[4] = lambda_text("classes[0].max_vms");
    c.automatic = (struct config_list){automatic, COUNT_OF(automatic)};
    return c;
}

static void limits_are_what_the_applied_quotas_allow(void **state)
{
    struct scene *s = *state;
    struct config c = configure(s, 2);
    SCRIPT(s, QUOTA("64"), QUOTA("1"), QUOTA("2"), QUOTA("3"), QUOTA("4"), VERSIONS("2048"),
           VERSIONS("4096"));
    lambda_apply_quotas(&c);
    assert_int_equal(s->at, 7);              /* one reading for both classes of the region */
    assert_int_equal(classes[0].max_vms, 8); /* 64 GiB, four times 2 each */
    assert_int_equal(classes[1].max_vms, 7); /* not auto */
    assert_int_equal(c.limits.max_vms, 4);   /* of the larger */
    assert_true(c.limits.launch_rate.per_second == 1 && c.limits.launch_rate.burst == 2);
    assert_true(c.limits.terminate_rate.per_second == 10 && c.limits.terminate_rate.burst == 4);
}

static void rate_is_the_least_of_all_regions_and_the_cap_their_sum(void **state)
{
    struct scene *s = *state;
    struct config c = configure(s, 2);
    settings[1].region = lambda_text("eu-west-1");
    SCRIPT(s, QUOTA("64"), QUOTA("5"), QUOTA("2"), QUOTA("3"), QUOTA("4"), VERSIONS("2048"),
           QUOTA("8"), QUOTA("1"), QUOTA("6"), QUOTA("3"), QUOTA("4"), VERSIONS("2048"));
    lambda_apply_quotas(&c);
    assert_int_equal(classes[0].max_vms, 8);
    assert_int_equal(c.limits.max_vms, 9);
    assert_true(c.limits.launch_rate.per_second == 1 && c.limits.launch_rate.burst == 2);
}

static void quotas_that_cannot_be_read_leave_the_defaults(void **state)
{
    static const struct step quotas[] = {QUOTA("64"), QUOTA("1"), QUOTA("2"), QUOTA("3"),
                                         QUOTA("4")};
    struct scene *s = *state;
    for (size_t good = 0; good <= COUNT_OF(quotas); good++) {
        struct step steps[COUNT_OF(quotas) + 1];
        struct config c = configure(s, 1);
        memcpy(steps, quotas, sizeof quotas);
        steps[good] = (struct step){400, ERROR("AccessDeniedException"), "{\"message\":\"no\"}"};
        scene_script(s, steps, good + 1);
        lambda_apply_quotas(&c);
        assert_int_equal(s->at, good + 1);
        assert_int_equal(classes[0].max_vms, 7);
        assert_int_equal(c.limits.max_vms, 100);
        assert_true(c.limits.launch_rate.per_second == 5 && c.limits.launch_rate.burst == 5);
    }
}

static void region_that_cannot_be_read_is_asked_once(void **state)
{
    struct scene *s = *state;
    struct config c = configure(s, 2);
    SCRIPT(s, {400, ERROR("AccessDeniedException"), "{\"message\":\"no\"}"});
    lambda_apply_quotas(&c);
    assert_int_equal(s->at, 1);
    assert_true(c.quotas_unread);
    assert_int_equal(classes[0].max_vms, 7);
}

/* A class with two targets, of which one is lost. */
static void cap_is_what_the_regions_allow_that_can_be_read(void **state)
{
    struct scene *s = *state;
    static struct config_class at[2];
    static struct config_target targets[2];
    static const struct config_class *const places[] = {&at[0], &at[1]};
    struct config c = configure(s, 1);
    settings[1].region = lambda_text("eu-west-1");
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        at[i] = classes[0];
        at[i].name = lambda_text(i == 0 ? "class@lost" : "class@here");
        at[i].place_of = &classes[0];
        at[i].target = &targets[i];
        at[i].settings = &settings[i];
        targets[i] = (struct config_target){.name = lambda_text(i == 0 ? "lost" : "here")};
    }
    classes[0].name = lambda_text("class");
    classes[0].targets = targets;
    classes[0].target_count = COUNT_OF(targets);
    c.places = (const struct config_class **)(uintptr_t)places;
    c.place_count = COUNT_OF(places);
    SCRIPT(s, {400, ERROR("AccessDeniedException"), "{\"message\":\"no\"}"}, QUOTA("1024"),
           QUOTA("5"), QUOTA("2"), QUOTA("3"), QUOTA("4"), VERSIONS("2048"));
    lambda_apply_quotas(&c);
    assert_int_equal(s->at, 7);
    assert_int_equal(classes[0].max_vms, 128);
    assert_int_equal(c.limits.max_vms, 128);
    assert_true(c.limits.launch_rate.per_second == 5 && c.limits.launch_rate.burst == 5);
}

static void size_is_of_the_version_and_has_a_vcpu_for_each_2_gb(void **state)
{
    struct scene *s = *state;
    struct vm_size size;
    struct err e = {0};
    (void)configure(s, 1);
    SCRIPT(s, VERSIONS("4096"), VERSIONS("512"), VERSIONS("2048"));
    assert_int_equal(lambda_size(&classes[0], "1.0", &size, &e), 0);
    assert_int_equal(size.milli_vcpus, 2000);
    assert_int_equal(size.memory_mib, 4096);
    assert_int_equal(lambda_size(&classes[0], "", &size, &e), 0);
    assert_int_equal(size.milli_vcpus, 250);
    assert_int_equal(lambda_size(&classes[0], "9.0", &size, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCENE(limits_are_what_the_applied_quotas_allow),
        IN_SCENE(region_that_cannot_be_read_is_asked_once),
        IN_SCENE(cap_is_what_the_regions_allow_that_can_be_read),
        IN_SCENE(rate_is_the_least_of_all_regions_and_the_cap_their_sum),
        IN_SCENE(quotas_that_cannot_be_read_leave_the_defaults),
        IN_SCENE(size_is_of_the_version_and_has_a_vcpu_for_each_2_gb),
    };
    lambda_environment();
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
