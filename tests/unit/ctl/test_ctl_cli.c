/* The command line: what it may look like, what its mistakes are answered with, its help. */
#include <stdlib.h>
#include <string.h>

#include "deploy/ctl/cli/arguments.h"
#include "deploy/ctl/cli/help.h"
#include "deploy/ctl/cli/report.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define WORDS_MAX 12

/* Reads "mayflyctl <line>", of words that a blank separates. */
static int read_line(const char *line, struct arguments *out, struct err *e)
{
    static char text[400];
    char *argv[WORDS_MAX] = {(char[]){"mayflyctl"}};
    int argc = 1;
    memset(out, 0, sizeof *out);
    assert_true(slice_to_cstr(slice_of(line), text, sizeof text));
    for (char *at = text; *at != '\0' && argc < WORDS_MAX;) {
        argv[argc++] = at;
        at += strcspn(at, " ");
        if (*at == ' ') {
            *at++ = '\0';
        }
    }
    return arguments_read(argc, argv, out, e);
}

static void assert_refused(const char *line, const char *message)
{
    struct arguments args;
    struct err e;
    must_fail_saying(read_line(line, &args, &e), &e, ERR_PERMANENT, message);
}

static void options_stand_before_or_after_the_words(void **state)
{
    static const char *const lines[] = {
        "--config f.yaml --json vm terminate --force v-1",
        "vm --config=f.yaml terminate v-1 --json --force",
        "vm terminate --force --json --config f.yaml -- v-1",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct arguments args;
        struct err e;
        MUST(read_line(lines[i], &args, &e));
        assert_int_equal(args.wish, WISH_RUN);
        assert_true(args.command->build == ctl_vm_terminate);
        assert_string_equal(args.config_path, "f.yaml");
        assert_true(args.json);
        assert_int_equal(args.given_count, 1);
        assert_string_equal(args.given[0].name, "--force");
        assert_string_equal(args.words[2], "v-1");
    }
}

static void what_follows_two_dashes_is_a_word(void **state)
{
    struct arguments args;
    struct err e;
    MUST(read_line("dlq show -- --json", &args, &e));
    assert_false(args.json);
    assert_string_equal(args.words[2], "--json");
}

static void mistakes_are_named_with_the_nearest_command(void **state)
{
    assert_refused("", "there is no command on the line");
    assert_refused("statsu", "there is no command \"statsu\": did you mean status?");
    assert_refused("nonsense", "there is no command \"nonsense\"; mayflyctl --help lists");
    assert_refused("dlq", "dlq is not a whole command: write one of dlq list, dlq show");
    assert_refused("dlq lst", "there is no command \"dlq lst\": did you mean dlq list?");
    assert_refused("redrive all", "did you mean dlq redrive?");
    assert_refused("why", "why needs JOB: see mayflyctl why --help");
    assert_refused("status now", "status: \"now\" is a word too many");
    assert_refused("dlq show 1 2", "dlq show: \"2\" is a word too many");
    assert_refused("backup a b c d e f g", "\"b\" is a word too many");
}

static void mistakes_of_options_are_named(void **state)
{
    assert_refused("vms --jsn", "there is no option --jsn: did you mean --json?");
    assert_refused("vms -x", "there is no option -x");
    assert_refused("vms --force", "vms has no option --force");
    assert_refused("vms --json=yes", "--json takes no value");
    assert_refused("vms --config", "--config needs a value: --config=FILE");
}

static void json_is_known_even_if_the_line_is_wrong(void **state)
{
    struct arguments args;
    struct err e;
    must_fail(read_line("statsu --wrong --json", &args, &e), &e, ERR_PERMANENT);
    assert_true(args.json);
}

static void assert_help(const char *line, const char *expected)
{
    struct arguments args;
    struct err e;
    struct buf text;
    MUST(read_line(line, &args, &e));
    assert_int_equal(args.wish, WISH_HELP);
    buf_init(&text, 65536);
    MUST(help_append(&text, args.words, args.count, &e));
    assert_non_null(strstr(text.data, expected));
    buf_fini(&text);
}

static void help_is_of_a_command_or_of_all(void **state)
{
    static const char *const all[] = {"-h", "--help", "help", "--help --version"};
    static const char *const one[] = {"why --help", "why -h", "help why", "--help why",
                                      "why 123 --help"};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_help(all[i], "usage: mayflyctl [OPTION...] COMMAND");
    }
    for (size_t i = 0; i < COUNT_OF(one); i++) {
        assert_help(one[i], "usage: mayflyctl why JOB");
    }
    assert_help("help dlq", "usage: mayflyctl dlq redrive MESSAGE|all");
    assert_help("help dlq show", "usage: mayflyctl dlq show MESSAGE");
}

static void help_of_an_unknown_command_fails(void **state)
{
    struct arguments args;
    struct err e;
    struct buf text;
    MUST(read_line("help wyh", &args, &e));
    buf_init(&text, 65536);
    must_fail(help_append(&text, args.words, args.count, &e), &e, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "did you mean why?"));
    buf_fini(&text);
}

/* Each row: complete, and in lines that fit a terminal. */
static void every_command_has_a_help_that_fits(void **state)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        struct buf text;
        struct err e;
        char *words[] = {(char *)(uintptr_t)c->words[0], (char *)(uintptr_t)c->words[1]};
        assert_true(strlen(c->brief) <= 60 && c->brief[strlen(c->brief) - 1] != '.');
        assert_true(c->help[strlen(c->help) - 1] == '.');
        assert_true((c->run == NULL) != (c->build == NULL || c->print == NULL));
        assert_true(c->least <= c->most && (c->most > 0) == (c->arguments != NULL));
        assert_true(c->least == 0 || c->example != NULL);
        buf_init(&text, 65536);
        MUST(help_append(&text, words, ctl_command_words(c), &e));
        struct slice rest = buf_slice(&text);
        struct slice line;
        while (rest.len > 0) {
            (void)slice_cut(rest, '\n', &line, &rest);
            if (line.len > 80) {
                fail_msg("too long: %.*s", SLICE_ARG(line));
            }
        }
        assert_non_null(strstr(text.data, "Exit codes:"));
        assert_non_null(strstr(text.data, "Example:\n  mayflyctl "));
        buf_fini(&text);
    }
}

/* The parser must know whether a name takes a value before it knows the command. */
static void one_option_name_is_one_option(void **state)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        for (const struct ctl_option *o = ctl_commands[i].options; o->name != NULL; o++) {
            const struct ctl_option *first = ctl_option_find(NULL, slice_of(o->name));
            assert_true((first->value == NULL) == (o->value == NULL));
            assert_true(first->value_is_optional == o->value_is_optional);
        }
    }
}

static void values_of_options_are_read_and_checked(void **state)
{
    const struct ctl_given given[] = {{"--limit", "7"}, {"--since", "90s"}, {"--bad", "7x"}};
    struct ctl c = {.given = given, .given_count = COUNT_OF(given)};
    struct err e;
    int64_t n = 0;
    MUST(ctl_option_number(&c, "--limit", 1, 9, 3, &n, &e));
    assert_int_equal(n, 7);
    MUST(ctl_option_number(&c, "--other", 1, 9, 3, &n, &e));
    assert_int_equal(n, 3);
    MUST(ctl_option_duration(&c, "--since", 1000, 3600000, 1000, &n, &e));
    assert_int_equal(n, 90000);
    assert_int_equal(c.exit_code, 0);
    must_fail(ctl_option_number(&c, "--limit", 1, 5, 3, &n, &e), &e, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "--limit must be a whole number from 1 to 5"));
    assert_int_equal(c.exit_code, CTL_EXIT_USAGE);
    must_fail(ctl_option_duration(&c, "--bad", 1000, 3600000, 1000, &n, &e), &e, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "--bad "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_before_or_after_the_words),
        cmocka_unit_test(what_follows_two_dashes_is_a_word),
        cmocka_unit_test(mistakes_are_named_with_the_nearest_command),
        cmocka_unit_test(mistakes_of_options_are_named),
        cmocka_unit_test(json_is_known_even_if_the_line_is_wrong),
        cmocka_unit_test(help_is_of_a_command_or_of_all),
        cmocka_unit_test(help_of_an_unknown_command_fails),
        cmocka_unit_test(every_command_has_a_help_that_fits),
        cmocka_unit_test(one_option_name_is_one_option),
        cmocka_unit_test(values_of_options_are_read_and_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
