/* `mayflyctl pause` and `resume`. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/ledger/kinds.h"
#include "common/ledger/pauses.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"s\"], \"qemu\": {\"image\": \"/i\"}},"
    "{\"name\": \"large\", \"labels\": [\"l\"], \"qemu\": {\"image\": \"/i\"}}]}";

static int setup(void **state)
{
    (void)state;
    ctl_bed_open(text, NULL);
    return 0;
}

/* An answer to be decref'd. */
static json_t *run(ctl_build_fn *command, const char *class_name, const char *reason)
{
    char *words[] = {(char *)(uintptr_t)class_name};
    json_t *answer = NULL;
    struct err e;
    ctl.argc = 1;
    ctl.argv = words;
    const struct ctl_given given = {"--reason", reason};
    ctl.given = &given;
    ctl.given_count = reason != NULL ? 1 : 0;
    MUST(command(&ctl, &answer, &e));
    return answer;
}

static void assert_refused(ctl_build_fn *command, const char *class_name, const char *says)
{
    char *words[] = {(char *)(uintptr_t)class_name};
    json_t *answer = NULL;
    struct err e = {0};
    ctl.argc = 1;
    ctl.argv = words;
    assert_int_equal(command(&ctl, &answer, &e), -1);
    assert_non_null(strstr(e.message, says));
}

static struct ledger_pause pause_of(const char *class_name)
{
    struct ledger_pause p;
    struct err e;
    MUST(ledger_pause_get(ctl.ledger, class_name, &p, &e));
    return p;
}

static void paused_class_says_since_when_who_and_why(void **state)
{
    (void)state;
    json_t *answer = run(ctl_pause, "small", "image 41");
    struct ledger_pause p = pause_of("small");
    assert_true(json_is_true(json_object_get(answer, "changed")));
    assert_true(p.since_ms > 0);
    assert_string_equal(p.reason, "image 41");
    assert_null(strchr(p.by, ' '));
    const char *did = ctl_str(answer, "did");
    assert_non_null(strstr(did, ": image 41; its jobs wait until: mayflyctl"));
    assert_non_null(strstr(did, " resume small"));
    json_decref(answer);
    assert_int_equal(pause_of("large").since_ms, 0);
}

static void paused_class_stays_paused_since_then_and_takes_a_new_reason(void **state)
{
    (void)state;
    json_decref(run(ctl_pause, "small", "image 41"));
    int64_t since = pause_of("small").since_ms;
    json_t *answer = run(ctl_pause, "small", NULL);
    assert_true(json_is_false(json_object_get(answer, "changed")));
    json_decref(answer);
    assert_string_equal(pause_of("small").reason, "image 41");
    answer = run(ctl_pause, "small", "image 42");
    assert_true(json_is_true(json_object_get(answer, "changed")));
    assert_non_null(strstr(ctl_str(answer, "did"), "has this reason now"));
    json_decref(answer);
    assert_string_equal(pause_of("small").reason, "image 42");
    assert_int_equal(pause_of("small").since_ms, since);
}

static void resumed_class_is_paused_no_more(void **state)
{
    (void)state;
    json_decref(run(ctl_pause, "small", NULL));
    json_t *answer = run(ctl_resume, "small", NULL);
    assert_true(json_is_true(json_object_get(answer, "changed")));
    json_decref(answer);
    assert_int_equal(pause_of("small").since_ms, 0);
    answer = run(ctl_resume, "small", NULL);
    assert_string_equal(ctl_str(answer, "did"), "class small was not paused");
    json_decref(answer);
}

static void unknown_class_is_an_error_that_names_the_known(void **state)
{
    (void)state;
    assert_refused(ctl_pause, "smal", "\"smal\"; the configuration has: small, large");
    assert_refused(ctl_resume, "smal", "\"smal\"; the configuration has: small, large");
}

/* It left the configuration while it was paused. */
static void class_that_is_not_configured_can_be_resumed(void **state)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    (void)state;
    MUST(ledger_pause_begin(ctl.ledger, "gone", "me too", "", &p, &began, &e));
    assert_string_equal(p.by, "me_too");
    json_t *answer = run(ctl_resume, "gone", NULL);
    assert_non_null(strstr(ctl_str(answer, "did"), "by me_too; it is not configured"));
    json_decref(answer);
    assert_int_equal(pause_of("gone").since_ms, 0);
}

/* It was meant to pause, whatever became of its text. */
static void pause_that_cannot_be_read_pauses_all_the_same(void **state)
{
    static const char *const values[] = {"", "x", "-5 me", "12"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct err e;
        char name[16];
        (void)snprintf(name, sizeof name, "class-%zu", i);
        MUST(ledger_cell_put(ctl.ledger, LEDGER_KIND_PAUSE, name, values[i], 0, NULL, &e));
        assert_true(pause_of(name).since_ms > 0);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, ctl_bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(paused_class_says_since_when_who_and_why),
        CASE(paused_class_stays_paused_since_then_and_takes_a_new_reason),
        CASE(resumed_class_is_paused_no_more),
        CASE(unknown_class_is_an_error_that_names_the_known),
        CASE(class_that_is_not_configured_can_be_resumed),
        CASE(pause_that_cannot_be_read_pauses_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
