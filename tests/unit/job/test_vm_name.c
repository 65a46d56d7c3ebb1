

#include <stdio.h>
#include <string.h>

#include "common/base/random.h"
#include "common/job/vm_name.h"
#include "tests/lib/cmocka.h"

static void zeros(void *out, size_t size)
{
    memset(out, 0, size);
}

static int set_up(void **state)
{
    random_set_source(zeros);
    return 0;
}

static int tear_down(void **state)
{
    random_set_source(NULL);
    return 0;
}

/* The digits are part of what stands in GitHub and in ledgers: they never change. */
static void name_holds_its_marks_and_only_plain_characters(void **state)
{
    char name[VM_NAME_SIZE];
    vm_name_make("prod", "Large.x64_GPU", name);
    assert_string_equal(name, "mf-925fe136-prod-large-x64-gpu-000000000000");
}

static void name_is_cut_at_the_class_alone(void **state)
{
    char name[VM_NAME_SIZE];
    char other[VM_NAME_SIZE];
    const char *deployment = "abcdefghijklmnopqrst";
    vm_name_make(deployment, "0123456789012345678901234567890123456789", name);
    assert_int_equal(strlen(name), 64);
    assert_non_null(strstr(name, "-abcdefghijklmnopqrst-012345678901234567-000000000000"));
    assert_true(vm_name_is_owned(name, deployment));
    /* Cut alike, and still told apart. */
    vm_name_make(deployment, "0123456789012345678901234567890123456788", other);
    assert_string_not_equal(name, other);
    assert_string_equal(name + 11, other + 11);
    vm_name_make(deployment, "012345678901234567", other);
    assert_int_equal(strlen(other), 64);
}

static void name_is_owned_by_its_deployment_alone(void **state)
{
    static const char *const deployments[] = {"prod", "prod-eu", "pro", "eu", "a", "mf"};
    static const char *const classes[] = {"small", "eu-small", "eu", "prod-eu", ""};
    for (size_t i = 0; i < sizeof deployments / sizeof deployments[0]; i++) {
        for (size_t k = 0; k < sizeof classes / sizeof classes[0]; k++) {
            char name[VM_NAME_SIZE];
            vm_name_make(deployments[i], classes[k], name);
            for (size_t other = 0; other < sizeof deployments / sizeof deployments[0]; other++) {
                assert_int_equal(vm_name_is_owned(name, deployments[other]), i == other);
            }
        }
    }
}

static void name_that_nobody_made_is_owned_by_nobody(void **state)
{
    char name[VM_NAME_SIZE];
    vm_name_make("prod", "small", name);
    const char *const others[] = {"", "mf-", "mf-prod-small-1", "build-host-1",
                                  "mf-00000000-prod-small-000000000000"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(vm_name_is_owned(others[i], "prod"));
    }
    for (size_t i = 0; name[i] != '\0' && i < 17;
         i++) { /* up to the deployment's end, each counts */
        char changed[VM_NAME_SIZE];
        memcpy(changed, name, sizeof changed);
        changed[i] = '_';
        assert_false(vm_name_is_owned(changed, "prod"));
        changed[i] = '\0';
        assert_false(vm_name_is_owned(changed, "prod"));
    }
}

static void name_is_of_its_class_alone(void **state)
{
    char name[VM_NAME_SIZE];
    vm_name_make("prod", "small", name);
    assert_true(vm_name_is_of_class(name, "small"));
    assert_false(vm_name_is_of_class(name, "large"));
    assert_false(vm_name_is_of_class("mf-", "small"));
    assert_false(vm_name_is_of_class("", "small"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(name_holds_its_marks_and_only_plain_characters),
        CASE(name_is_cut_at_the_class_alone),
        CASE(name_is_owned_by_its_deployment_alone),
        CASE(name_that_nobody_made_is_owned_by_nobody),
        CASE(name_is_of_its_class_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
