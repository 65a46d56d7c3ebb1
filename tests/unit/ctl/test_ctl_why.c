/* `mayflyctl why` of a job whose texts are hostile: as a value they are whole, as text escaped. */
#include <string.h>
#include <unistd.h>

#include "tests/lib/cmocka.h"

#include "common/ledger/kinds.h"
#include "deploy/ctl/ctl.h"
#include "tests/lib/must.h"

/* ESC, newline, C1's CSI (U+009B), RLO (U+202E). */
#define HOSTILE "x\x1b[2J\n\xc2\x9b\xe2\x80\xae"
#define SHOWN "x\\u001b[2J\\n\\u009b\\u202e"

static const char small_class[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\", \"runner_group\": \"Fleet\"}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"small\"], \"max_vms\": 1, \"provider\": \"qemu\", "
    "\"qemu\": "
    "{\"image\": \"/none\"}},"
    "{\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"lambda\", \"lambda\": "
    "{\"image\": \"arn:aws:lambda:us-east-1:123456789012:microvm-image:ci\"}}]}";

static struct config config;
static struct ctl ctl = {.config = &config, .argc = 1, .argv = (char *[]){(char[]){"7"}}};

/* What the function writes to stdout; owned. */
static char *printed(ctl_print_fn *print, const json_t *answer)
{
    static char text[16 * 1024];
    FILE *file = tmpfile();
    int saved = dup(STDOUT_FILENO);
    assert_true(file != NULL && saved >= 0);
    fflush(stdout);
    assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
    print(answer);
    fflush(stdout);
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    rewind(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

static void assert_harmless(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        assert_true(*c == '\n' || (*c >= ' ' && *c <= '~'));
    }
}

static int setup(void **state)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED, .status = "queued", .job.id = 7};
    struct ledger_effect effect;
    struct err e;
    MUST(queue_open("memory://ctl-why", &ctl.queue, &e));
    MUST(ledger_open("memory://ctl-why", &ctl.ledger, &e));
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "small");
    (void)snprintf(ev.job.repository, sizeof ev.job.repository, "octo/app");
    (void)snprintf(ev.job.name, sizeof ev.job.name, "%s", HOSTILE);
    MUST(ledger_apply_event(ctl.ledger, &ev, "octo", &effect, &e));
    MUST(ledger_log_event(ctl.ledger, 7, "vm", "launch_failed", HOSTILE " refused", &e));
    return 0;
}

static int teardown(void **state)
{
    ledger_close(ctl.ledger);
    queue_close(ctl.queue);
    return 0;
}

static void name_and_reason_are_printed_escaped(void **state)
{
    struct err e;
    json_t *answer = NULL;
    MUST(ctl_why(&ctl, &answer, &e));
    const char *text = printed(ctl_why_print, answer);
    assert_harmless(text);
    assert_non_null(strstr(text, "\"" SHOWN "\" of octo/app"));
    assert_non_null(strstr(text, "vm: " SHOWN " refused\n"));
    json_decref(answer);
}

static void json_is_escaped_and_whole(void **state)
{
    struct err e;
    json_t *answer = NULL;
    MUST(ctl_why(&ctl, &answer, &e));
    const char *text = printed(ctl_json_print, answer);
    assert_harmless(text);
    json_t *read = json_loads(text, 0, NULL);
    assert_true(json_equal(read, answer));
    assert_string_equal(ctl_str(read, "name"), HOSTILE);
    json_decref(read);
    json_decref(answer);
}

static void job_of_a_class_that_was_removed_waits_for_it(void **state)
{
    struct err e;
    json_t *answer = NULL;
    MUST(ctl_why(&ctl, &answer, &e));
    assert_non_null(strstr(printed(ctl_why_print, answer),
                           "waits for runner class \"small\", which this configuration does not"));
    json_decref(answer);
}

static void class_that_gets_no_jobs_is_named(void **state)
{
    struct config *known = NULL;
    struct err e;
    json_t *answer = NULL;
    MUST(config_parse(slice_of(small_class), "test", CONFIG_FOR_CTL, &known, NULL, &e));
    ctl.config = known;
    MUST(ledger_counter_set(ctl.ledger, LEDGER_COUNTER_JOBLESS "small", LEDGER_JOBLESS_MANY - 1,
                            &e));
    MUST(ctl_why(&ctl, &answer, &e));
    assert_null(strstr(printed(ctl_why_print, answer), "without ever having had a job"));
    json_decref(answer);
    MUST(ledger_counter_set(ctl.ledger, LEDGER_COUNTER_JOBLESS "small", LEDGER_JOBLESS_MANY, &e));
    MUST(ctl_why(&ctl, &answer, &e));
    assert_non_null(strstr(printed(ctl_why_print, answer),
                           "! the last 4 VMs of class small ended without ever having had a job"));
    json_decref(answer);
    ctl.config = &config;
    config_free(known);
}

/* Whether or not its message can be found. */
static void job_behind_a_full_class_waits_for_a_slot(void **state)
{
    struct launch_request r = {.reason = "queued", .job = {.id = 8}, .class_name = "small"};
    struct ledger_reservation res;
    struct ledger_reserve reserve = {.request = &r,
                                     .scope = "octo",
                                     .caps = {.fleet = 9, .class_max = 9},
                                     .deployment = "t",
                                     .provider = "qemu",
                                     .host = "h"};
    const struct queue_item item = {.lane = "launch.small", .body = SLICE("{}"), .key = "7"};
    struct config *known = NULL;
    struct err e;
    json_t *answer = NULL;
    (void)snprintf(r.job.class_name, sizeof r.job.class_name, "small");
    (void)snprintf(r.job.repository, sizeof r.job.repository, "octo/app");
    MUST(config_parse(slice_of(small_class), "test", CONFIG_FOR_CTL, &known, NULL, &e));
    ctl.config = known;
    MUST(ledger_reserve(ctl.ledger, &reserve, &res, &e));
    assert_int_equal(res.outcome, LEDGER_RESERVED);
    MUST(ctl_why(&ctl, &answer, &e));
    assert_non_null(strstr(printed(ctl_why_print, answer),
                           "waits for a slot of class small, which is full: 1 of 1 VMs "
                           "(classes.max_vms); 1 VMs are on their way for 2 waiting jobs\n"));
    json_decref(answer);
    MUST(queue_put(ctl.queue, &item, 1, &e));
    MUST(ctl_why(&ctl, &answer, &e));
    assert_non_null(strstr(printed(ctl_why_print, answer),
                           "waits for a slot of class small, which is full: 1 of 1 VMs "
                           "(classes.max_vms); 0 messages are before it\n"));
    json_decref(answer);
    MUST(ctl_status(&ctl, &answer, &e));
    assert_non_null(
        strstr(printed(ctl_status_print, answer), "; the rest waits for a slot of class small\n"));
    json_decref(answer);
    ctl.config = &config;
    config_free(known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(name_and_reason_are_printed_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(json_is_escaped_and_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(class_that_gets_no_jobs_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(job_behind_a_full_class_waits_for_a_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(job_of_a_class_that_was_removed_waits_for_it, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
