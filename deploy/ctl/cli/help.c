#include "deploy/ctl/cli/help.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 80
#define INDENT 2
#define USAGE_LIMIT_BYTES 1024

static const char usual_exits[] =
    "0: done; 1: it failed, and stderr says why; 2: the command line is wrong, nothing was done.";

/* Appends a text in lines of at most COLUMNS columns, each after `indent` spaces; `column` is where
 * the first line stands already. A blank line in the text stays. */
static void append_wrapped(struct buf *out, const char *text, size_t indent, size_t column)
{
    while (*text != '\0') {
        size_t word = strcspn(text, " \n");
        if (column > indent && column + 1 + word > COLUMNS) {
            buf_append_cstr(out, "\n");
            column = 0;
        }
        if (column == 0) {
            buf_printf(out, "%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buf_append_byte(out, ' ');
            column++;
        }
        buf_append(out, (struct slice){text, word});
        column += word;
        text += word;
        if (strncmp(text, "\n\n", 2) == 0) {
            buf_append_cstr(out, "\n\n");
            column = 0;
        }
        text += strspn(text, " \n");
    }
    buf_append_cstr(out, "\n");
}

static void append_option_name(struct buf *out, const struct ctl_option *o)
{
    buf_append_cstr(out, o->name);
    if (o->value != NULL) {
        buf_printf(out, o->value_is_optional ? "[=%s]" : "=%s", o->value);
    }
}

void help_append_usage(struct buf *out, const struct ctl_command *c)
{
    buf_append_cstr(out, c->words[0]);
    if (c->words[1] != NULL) {
        buf_printf(out, " %s", c->words[1]);
    }
    if (c->arguments != NULL) {
        buf_printf(out, " %s", c->arguments);
    }
    for (const struct ctl_option *o = c->options; o->name != NULL; o++) {
        buf_append_cstr(out, " [");
        append_option_name(out, o);
        buf_append_cstr(out, "]");
    }
}

/* A name, and what it is at a column of its own: on the next line if the name is too long. */
static void append_row(struct buf *out, const char *name, const char *text, size_t column)
{
    int n = (int)column - INDENT - 2;
    buf_printf(out, "%*s%-*s  ", INDENT, "", n, name);
    if (strlen(name) > (size_t)n) {
        buf_printf(out, "\n%*s", (int)column, "");
    }
    append_wrapped(out, text, column, column);
}

static void append_options(struct buf *out, const struct ctl_option *o)
{
    for (; o->name != NULL; o++) {
        struct buf name;
        buf_init(&name, 64);
        append_option_name(&name, o);
        append_row(out, name.data, o->help, 22);
        buf_fini(&name);
    }
}

static void append_overview(struct buf *out)
{
    buf_append_cstr(out, "mayflyctl - shows the state of a Mayfly deployment, and repairs it\n\n"
                         "usage: mayflyctl [OPTION...] COMMAND [ARGUMENT...]\n\n");
    for (size_t i = 0; i < ctl_command_count; i++) {
        struct buf name;
        const struct ctl_command *c = &ctl_commands[i];
        buf_init(&name, 80);
        buf_printf(&name, "%s%s%s%s%s", c->words[0], c->words[1] != NULL ? " " : "",
                   c->words[1] != NULL ? c->words[1] : "", c->arguments != NULL ? " " : "",
                   c->arguments != NULL ? c->arguments : "");
        append_row(out, name.data, c->brief, 27);
        buf_fini(&name);
    }
    buf_append_cstr(out, "\nOptions, before or after the command:\n");
    append_options(out, ctl_common_options);
    buf_append_cstr(out, "\nmayflyctl help COMMAND says more, also of its own options and exit "
                         "codes.\n");
}

static void append_usage_line(struct buf *out, const struct ctl_command *c)
{
    static const char before[] = "usage: ";
    struct buf usage;
    buf_init(&usage, USAGE_LIMIT_BYTES);
    buf_append_cstr(&usage, "mayflyctl ");
    help_append_usage(&usage, c);
    buf_append_cstr(out, before);
    append_wrapped(out, usage.data, strlen(before), strlen(before));
    buf_fini(&usage);
}

static void append_command(struct buf *out, const struct ctl_command *c)
{
    append_usage_line(out, c);
    buf_append_cstr(out, "\n");
    append_wrapped(out, c->help, 0, 0);
    buf_append_cstr(out, "\nOptions:\n");
    append_options(out, c->options);
    append_options(out, ctl_common_options);
    buf_append_cstr(out, "\nExit codes:\n");
    append_wrapped(out, usual_exits, INDENT, 0);
    if (c->exits != NULL) {
        append_wrapped(out, c->exits, INDENT, 0);
    }
    buf_append_cstr(out, "\nExample:\n  mayflyctl ");
    if (c->example != NULL) {
        buf_append_cstr(out, c->example);
    } else {
        buf_printf(out, "%s%s%s", c->words[0], c->words[1] != NULL ? " " : "",
                   c->words[1] != NULL ? c->words[1] : "");
    }
    buf_append_cstr(out, "\n");
}

static bool is_asked_for(const struct ctl_command *c, char *const *words, int count)
{
    return strcmp(c->words[0], words[0]) == 0 &&
           (count == 1 || c->words[1] == NULL || strcmp(c->words[1], words[1]) == 0);
}

int help_append(struct buf *out, char *const *words, int count, struct err *e)
{
    const struct ctl_command *ignored;
    size_t found = 0;
    if (count == 0) {
        append_overview(out);
        return 0;
    }
    for (size_t i = 0; i < ctl_command_count; i++) {
        if (is_asked_for(&ctl_commands[i], words, count)) {
            buf_append_cstr(out, found++ > 0 ? "\n" : "");
            append_command(out, &ctl_commands[i]);
        }
    }
    return found > 0 ? 0 : ctl_command_find(words, count, &ignored, e);
}

/* --- the page --- */

/* Text for a table's cell: a bar would end it. */
static void append_cell(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        buf_append_cstr(out, text.ptr[i] == '|' ? "\\|" : (char[]){text.ptr[i], '\0'});
    }
}

static void append_page_row(struct buf *out, const struct ctl_command *c)
{
    struct buf usage;
    buf_init(&usage, USAGE_LIMIT_BYTES);
    help_append_usage(&usage, c);
    buf_append_cstr(out, "| `");
    append_cell(out, buf_slice(&usage));
    buf_append_cstr(out, "` | ");
    append_cell(out, slice_of(c->help));
    for (const struct ctl_option *o = c->options; o->name != NULL; o++) {
        buf_printf(out, " `%s`: ", o->name);
        append_cell(out, slice_of(o->help));
        buf_append_cstr(out, ".");
    }
    if (c->exits != NULL) {
        buf_append_cstr(out, " Exit codes: ");
        append_cell(out, slice_of(c->exits));
    }
    buf_append_cstr(out, " |\n");
    buf_fini(&usage);
}

void ctl_commands_reference(struct buf *out)
{
    buf_append_cstr(
        out,
        "# Commands\n\nGenerated from `deploy/ctl/commands.c` by the build target "
        "`reference-pages`; a test fails when it is stale.\n\n"
        "`mayflyctl [OPTION...] COMMAND [ARGUMENT...]` reads the queue and the ledger directly, so "
        "it works when no daemon does. Options stand before or after the command, as `--name "
        "VALUE` or `--name=VALUE`; `--` ends them. `mayflyctl help COMMAND` prints what this page "
        "says of a command, with an example.\n\n");
    buf_append_cstr(out, "| Option of every command | Meaning |\n|---|---|\n");
    for (const struct ctl_option *o = ctl_common_options; o->name != NULL; o++) {
        buf_append_cstr(out, "| `");
        append_option_name(out, o);
        buf_printf(out, "` | %s |\n", o->help);
    }
    buf_printf(
        out,
        "\nExit codes: %s\n\n"
        "With `--json` an answer is one JSON value on stdout, and an error is one object on "
        "stderr: `error` (what was tried and what came back), `error_class` (`usage`, or as in "
        "the logs), `subject` (whose trouble it is) and `action` (what to do); stdout is empty "
        "then.\n\n"
        "| Command | What it does |\n|---|---|\n",
        usual_exits);
    for (size_t i = 0; i < ctl_command_count; i++) {
        append_page_row(out, &ctl_commands[i]);
    }
    buf_append_cstr(out,
                    "\n`mayfly-ingress`, `mayfly-worker` and `mayfly-reaper` have no commands, and "
                    "these options: `--config FILE` (else as of mayflyctl); `--check-config` "
                    "(checks the configuration and "
                    "ends), with `--online` also what it names (stores, GitHub, the provider) and "
                    "with `--json` one JSON object a line; `--version`; `--help`.\n");
}
