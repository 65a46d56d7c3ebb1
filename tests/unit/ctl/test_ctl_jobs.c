/* `mayflyctl jobs` and `classes`. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/ledger/pauses.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"linux\", \"x64\"], \"max_vms\": 7, \"qemu\": {\"image\": "
    "\"/i\"}},"
    "{\"name\": \"old\", \"labels\": [\"old\"], \"max_vms\": 0, \"qemu\": {\"image\": \"/i\"}}]}";

/* NULL takes it away. */
static void set_option(const char *name, const char *value)
{
    static const char *const names[] = {"--class", "--state",      "--after",
                                        "--limit", "--repository", "--run"};
    static struct ctl_given given[COUNT_OF(names)];
    static const char *values[COUNT_OF(names)];
    ctl.given = given;
    ctl.given_count = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (name == NULL || strcmp(name, names[i]) == 0) {
            values[i] = value;
        }
        if (values[i] != NULL) {
            given[ctl.given_count++] = (struct ctl_given){names[i], values[i]};
        }
    }
}

static int setup(void **state)
{
    (void)state;
    ctl_bed_open(text, NULL);
    set_option(NULL, NULL);
    return 0;
}

static void apply(int64_t id, enum job_action action, const char *class_name)
{
    ctl_bed_apply(id, action, class_name, "");
}

static json_t *list(ctl_build_fn *command)
{
    json_t *answer = NULL;
    struct err e;
    MUST(command(&ctl, &answer, &e));
    return answer;
}

/* The jobs of all pages, as they come. */
static void assert_pages(const char *expected)
{
    char got[400] = "";
    char cursor[LEDGER_CURSOR_SIZE] = "";
    int pages = 0;
    do {
        size_t i;
        json_t *o;
        set_option("--after", cursor[0] != '\0' ? cursor : NULL);
        json_t *answer = list(ctl_jobs);
        json_array_foreach(json_object_get(answer, "jobs"), i, o)
        {
            size_t len = strlen(got);
            (void)snprintf(got + len, sizeof got - len, "%lld %s;", (long long)ctl_int(o, "job"),
                           ctl_str(o, "state"));
        }
        (void)snprintf(cursor, sizeof cursor, "%s", ctl_str(answer, "next"));
        json_decref(answer);
        assert_true(++pages < 20);
    } while (cursor[0] != '\0');
    set_option("--after", NULL);
    assert_string_equal(got, expected);
}

static void jobs_are_listed_by_state_and_class_in_pages(void **state)
{
    (void)state;
    for (int64_t id = 1; id <= 5; id++) {
        apply(id, JOB_ACTION_QUEUED, id == 5 ? "old" : "small");
    }
    apply(2, JOB_ACTION_IN_PROGRESS, "small");
    apply(3, JOB_ACTION_COMPLETED, "small");
    assert_pages("1 waiting;4 waiting;5 waiting;2 running;3 cancelled;");
    set_option("--limit", "2");
    assert_pages("1 waiting;4 waiting;5 waiting;2 running;3 cancelled;");
    set_option("--state", "waiting");
    set_option("--class", "small");
    assert_pages("1 waiting;4 waiting;");
    set_option("--state", "ended,running");
    assert_pages("2 running;3 cancelled;");
}

static void jobs_of_a_repository_and_of_a_run_are_found(void **state)
{
    (void)state;
    for (int64_t id = 1; id <= 3; id++) {
        apply(id, JOB_ACTION_QUEUED, "small"); /* run 7 of acme/app */
    }
    apply(2, JOB_ACTION_COMPLETED, "small");
    set_option("--limit", "1");
    set_option("--repository", "Acme/App");
    assert_pages("1 waiting;3 waiting;2 cancelled;");
    set_option("--run", "7");
    assert_pages("1 waiting;3 waiting;2 cancelled;");
    set_option("--run", "8");
    assert_pages("");
    set_option("--run", NULL);
    set_option("--repository", "acme/other");
    assert_pages("");
}

static void job_is_described_with_its_workflow(void **state)
{
    struct job_event ev = {
        .status = "queued",
        .job = {.id = 1, .repository = "acme/app", .name = "build", .workflow = "CI"}};
    struct ledger_effect effect;
    struct err e;
    (void)state;
    MUST(ledger_apply_event(ctl.ledger, &ev, "acme", &effect, &e));
    json_t *answer = list(ctl_jobs);
    const json_t *job = json_array_get(json_object_get(answer, "jobs"), 0);
    assert_string_equal(ctl_str(job, "name"), "build");
    assert_string_equal(ctl_str(job, "workflow"), "CI");
    json_decref(answer);
}

static void assert_refused(const char *says)
{
    json_t *answer = NULL;
    struct err e = {0};
    assert_int_equal(ctl_jobs(&ctl, &answer, &e), -1);
    assert_non_null(strstr(e.message, says));
}

static void what_is_no_state_limit_cursor_or_class_is_refused(void **state)
{
    (void)state;
    set_option("--state", "waiting,runing");
    assert_refused("--state waiting,runing: the states are seen, waiting, running, done");
    set_option("--state", "");
    assert_refused("--state");
    set_option("--state", NULL);
    set_option("--limit", "1001");
    assert_refused("--limit");
    set_option("--limit", "ten");
    assert_refused("--limit");
    set_option("--limit", NULL);
    set_option("--after", "12");
    assert_refused("\"12\" is not the cursor");
    set_option("--after", NULL);
    set_option("--class", "smal");
    assert_refused("no class is named \"smal\"; the configuration has: small, old");
    apply(1, JOB_ACTION_QUEUED, "smal"); /* one that the configuration had */
    assert_pages("1 waiting;");
}

static const json_t *entry_of(const json_t *classes, const char *name)
{
    size_t i;
    json_t *o;
    json_array_foreach(classes, i, o)
    {
        if (strcmp(ctl_str(o, "class"), name) == 0) {
            return o;
        }
    }
    return NULL;
}

static void classes_say_whether_they_are_paused_retired_or_unknown(void **state)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    (void)state;
    apply(1, JOB_ACTION_QUEUED, "small");
    apply(2, JOB_ACTION_QUEUED, "former");
    MUST(ledger_pause_begin(ctl.ledger, "small", "me", "image", &p, &began, &e));
    MUST(ledger_pause_begin(ctl.ledger, "forgotten", "me", "", &p, &began, &e));
    json_t *classes = list(ctl_classes);
    assert_int_equal(json_array_size(classes), 4);
    const json_t *small = entry_of(classes, "small");
    assert_int_equal(ctl_int(small, "jobs_waiting"), 1);
    assert_int_equal(ctl_int(small, "max_vms"), 7);
    assert_int_equal(json_array_size(json_object_get(small, "labels")), 2);
    assert_string_equal(ctl_str(json_object_get(small, "paused"), "reason"), "image");
    assert_true(json_is_false(json_object_get(small, "retired")));
    const json_t *old = entry_of(classes, "old");
    assert_true(json_is_true(json_object_get(old, "retired")));
    assert_true(json_is_null(json_object_get(old, "paused")));
    assert_true(json_is_false(json_object_get(entry_of(classes, "former"), "configured")));
    assert_int_equal(ctl_int(entry_of(classes, "former"), "jobs_waiting"), 1);
    assert_true(json_is_object(json_object_get(entry_of(classes, "forgotten"), "paused")));
    json_decref(classes);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, ctl_bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(jobs_are_listed_by_state_and_class_in_pages),
        CASE(jobs_of_a_repository_and_of_a_run_are_found),
        CASE(job_is_described_with_its_workflow),
        CASE(what_is_no_state_limit_cursor_or_class_is_refused),
        CASE(classes_say_whether_they_are_paused_retired_or_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
