/* `mayflyctl why` of a job whose texts are hostile: as a value they are whole, as text escaped. */
#include <string.h>
#include <unistd.h>

#include "tests/lib/cmocka.h"

#include "deploy/ctl/why.h"
#include "tests/lib/must.h"

/* ESC, newline, C1's CSI (U+009B), RLO (U+202E). */
#define HOSTILE "x\x1b[2J\n\xc2\x9b\xe2\x80\xae"
#define SHOWN "x\\u001b[2J\\n\\u009b\\u202e"

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
    (void)snprintf(ev.job.workflow, sizeof ev.job.workflow, "W%s", HOSTILE);
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
    assert_non_null(
        strstr(text, "\"" SHOWN "\" of octo/app, workflow \"W" SHOWN "\", class small"));
    assert_non_null(strstr(text, "vm: " SHOWN " refused\n"));
    json_decref(answer);
}

/* Each line of a console by itself, and its VM once. */
static void console_of_a_vm_is_printed_line_by_line_and_escaped(void **state)
{
    struct err e;
    json_t *answer = NULL;
    (void)state;
    MUST(ledger_log_event(ctl.ledger, 7, "vm-9", "console", "Booting\nx\x1b[2Jy", &e));
    MUST(ledger_log_event(ctl.ledger, 7, "vm-9", "console", "\xc2\x9bz\nEnd", &e));
    MUST(ctl_why(&ctl, &answer, &e));
    const char *text = printed(ctl_why_print, answer);
    assert_harmless(text);
    const char *console = strstr(text, " console ");
    assert_non_null(console);
    assert_non_null(strstr(console, "vm-9: \n      | Booting\n      | x\\u001b[2Jy\n"
                                    "      | \\u009bz\n      | End\n"));
    assert_null(strstr(console + 1, " console "));
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
    assert_string_equal(ctl_str(read, "workflow"), "W" HOSTILE);
    json_decref(read);
    json_decref(answer);
}

static void asked_about_by_number_and_by_url(void **state)
{
    static const struct {
        const char *given;
        int64_t job;
        int64_t run;
        const char *repository;
    } cases[] = {
        {"7", 7, 7, ""},
        {"https://github.com/acme/app/actions/runs/9/job/7?pr=1#step:2:1", 7, 9, "acme/app"},
        {"https://ghes.example.com/acme/app/actions/runs/9/job/7/", 7, 9, "acme/app"},
        {"https://api.github.com/repos/acme/app/actions/jobs/7", 7, 0, "acme/app"},
        {"https://github.com/acme/app/actions/runs/9", 0, 9, "acme/app"},
        {"https://github.com/acme/app/actions/runs/9/attempts/2", 0, 9, "acme/app"},
    };
    static const char *const wrong[] = {"",
                                        "0",
                                        "-7",
                                        "x",
                                        "7x",
                                        "https://github.com/acme/app",
                                        "https://github.com/acme/app/actions/runs/x",
                                        "/runs/9"};
    struct why_target t;
    struct err e;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        MUST(why_read_target(cases[i].given, &t, &e));
        assert_int_equal(t.job, cases[i].job);
        assert_int_equal(t.run, cases[i].run);
        assert_string_equal(t.repository, cases[i].repository);
    }
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        must_fail_saying(why_read_target(wrong[i], &t, &e), &e, ERR_PERMANENT,
                         "neither the id nor");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(name_and_reason_are_printed_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(console_of_a_vm_is_printed_line_by_line_and_escaped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(json_is_escaped_and_whole, setup, teardown),
        cmocka_unit_test(asked_about_by_number_and_by_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
