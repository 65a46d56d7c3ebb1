/* The environment of what the agent starts, from the image's, the user's and the payload's. */
#include <stdlib.h>
#include <string.h>

#include "deploy/image/agent/agent_env.h"
#include "tests/lib/cmocka.h"

static const struct agent_user runner = {.name = "runner", .home = "/home/runner"};

/* The value of a variable that must be there exactly once; NULL if it is not there. */
static const char *value_of(char *const *entries, const char *name)
{
    const char *found = NULL;
    size_t len = strlen(name);
    for (; *entries != NULL; entries++) {
        if (strncmp(*entries, name, len) == 0 && (*entries)[len] == '=') {
            assert_null(found);
            found = *entries + len + 1;
        }
    }
    return found;
}

static void set_image(void)
{
    assert_int_equal(clearenv(), 0);
    assert_int_equal(setenv("PATH", "/opt/java/bin:/usr/bin", 1), 0);
    assert_int_equal(setenv("TZ", "Asia/Tokyo", 1), 0);
    assert_int_equal(setenv("AWS_REGION", "eu-west-1", 1), 0);
    assert_int_equal(setenv("HOME", "/root", 1), 0);
    assert_int_equal(setenv("HOSTNAME", "of-the-snapshot", 1), 0);
    assert_int_equal(setenv("PWD", "/", 1), 0);
    assert_int_equal(setenv("HTTP_PROXY", "http://image:1", 1), 0);
    assert_int_equal(setenv("https_proxy", "http://image:2", 1), 0);
    assert_int_equal(setenv("RUNNER_MANUALLY_TRAP_SIG", "0", 1), 0);
}

static void image_is_kept_unless_the_agent_must_set_it(void **state)
{
    struct agent_env env;
    const struct payload p = {.https_proxy = SLICE("http://payload:3")};
    set_image();
    agent_env_init(&env, &runner, &p);
    agent_env_put(&env, "RUNNER_MANUALLY_TRAP_SIG", SLICE("1"));
    char *const *entries = agent_env_entries(&env);
    assert_non_null(entries);
    assert_string_equal(value_of(entries, "PATH"), "/opt/java/bin:/usr/bin");
    assert_string_equal(value_of(entries, "TZ"), "Asia/Tokyo");
    assert_string_equal(value_of(entries, "AWS_REGION"), "eu-west-1");
    assert_string_equal(value_of(entries, "LANG"), "C.UTF-8");
    assert_string_equal(value_of(entries, "HOME"), "/home/runner");
    assert_string_equal(value_of(entries, "USER"), "runner");
    assert_string_equal(value_of(entries, "HTTP_PROXY"), "http://image:1");
    assert_string_equal(value_of(entries, "https_proxy"), "http://payload:3");
    assert_string_equal(value_of(entries, "HTTPS_PROXY"), "http://payload:3");
    assert_string_equal(value_of(entries, "RUNNER_MANUALLY_TRAP_SIG"), "1");
    assert_null(value_of(entries, "HOSTNAME"));
    assert_null(value_of(entries, "PWD"));
    agent_env_fini(&env);
}

static void bare_image_has_a_path_and_a_language(void **state)
{
    struct agent_env env;
    assert_int_equal(clearenv(), 0);
    agent_env_init(&env, NULL, NULL);
    char *const *entries = agent_env_entries(&env);
    assert_non_null(entries);
    assert_non_null(strstr(value_of(entries, "PATH"), "/usr/local/bin:"));
    assert_string_equal(value_of(entries, "LANG"), "C.UTF-8");
    assert_null(entries[2]);
    agent_env_fini(&env);
}

static void value_with_a_nul_fails(void **state)
{
    struct agent_env env;
    set_image();
    agent_env_init(&env, &runner, NULL);
    agent_env_put(&env, "ACTIONS_RUNNER_INPUT_JITCONFIG", SLICE("with\0nul"));
    assert_null(agent_env_entries(&env));
    agent_env_fini(&env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_is_kept_unless_the_agent_must_set_it),
        cmocka_unit_test(bare_image_has_a_path_and_a_language),
        cmocka_unit_test(value_with_a_nul_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
