#include "deploy/ctl/cli/arguments.h"

#include <string.h>

#include "common/config/edit_distance.h"

static void consider(const struct ctl_option *options, struct slice name, size_t *least,
                     const char **best)
{
    for (; options->name != NULL; options++) {
        size_t d = edit_distance(name, slice_of(options->name));
        if (d < *least) {
            *least = d;
            *best = options->name;
        }
    }
}

static int fail_unknown(struct slice name, struct err *e)
{
    const char *near = NULL;
    size_t least = 3;
    consider(ctl_common_options, name, &least, &near);
    for (size_t i = 0; i < ctl_command_count; i++) {
        consider(ctl_commands[i].options, name, &least, &near);
    }
    return err_set(e, ERR_PERMANENT, 0,
                   "there is no option %.*s%s%s%s; mayflyctl --help lists them", SLICE_ARG(name),
                   near != NULL ? ": did you mean " : "", near != NULL ? near : "",
                   near != NULL ? "?" : "");
}

/* The options that every command has; false: it is another. */
static bool take_common(struct arguments *out, const char *name, const char *value)
{
    if (strcmp(name, "--config") == 0) {
        out->config_path = value;
    } else if (strcmp(name, "--json") == 0) {
        out->json = true;
    } else if (strcmp(name, "--help") == 0) {
        out->wish = WISH_HELP;
    } else if (strcmp(name, "--version") == 0) {
        out->wish = out->wish == WISH_HELP ? WISH_HELP : WISH_VERSION;
    } else {
        return false;
    }
    return true;
}

static int take(struct arguments *out, const char *name, const char *value, struct err *e)
{
    if (take_common(out, name, value)) {
        return 0;
    }
    if (out->given_count == (int)COUNT_OF(out->given)) {
        return err_set(e, ERR_PERMANENT, 0, "%s: too many options", name);
    }
    out->given[out->given_count++] = (struct ctl_given){name, value};
    return 0;
}

/* Reads the option at argv[*i], and its value, which may be the next word. */
static int read_option(int argc, char **argv, int *i, struct arguments *out, struct err *e)
{
    const char *equals = strchr(argv[*i], '=');
    struct slice name = {argv[*i], equals != NULL ? (size_t)(equals - argv[*i]) : strlen(argv[*i])};
    name = slice_eq_cstr(name, "-h") ? SLICE("--help") : name;
    const struct ctl_option *option = ctl_option_find(NULL, name);
    if (option == NULL) {
        return fail_unknown(name, e);
    }
    if (option->value == NULL && equals != NULL) {
        return err_set(e, ERR_PERMANENT, 0, "%s takes no value", option->name);
    }
    if (equals != NULL || option->value == NULL || option->value_is_optional) {
        return take(out, option->name, equals != NULL ? equals + 1 : "", e);
    }
    if (*i + 1 >= argc) {
        return err_set(e, ERR_PERMANENT, 0, "%s needs a value: %s=%s", option->name, option->name,
                       option->value);
    }
    *i += 1;
    return take(out, option->name, argv[*i], e);
}

static int read_words(int argc, char **argv, struct arguments *out, struct err *e)
{
    bool options = true;
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (read_option(argc, argv, &i, out, e) != 0) {
                return -1;
            }
        } else if (out->count == ARGUMENTS_WORDS_MAX) {
            return err_set(e, ERR_PERMANENT, 0, "\"%s\" is a word too many", argv[i]);
        } else {
            out->words[out->count++] = argv[i];
        }
    }
    return 0;
}

/* "help why" is "why --help". */
static void read_help(struct arguments *out)
{
    if (out->count > 0 && strcmp(out->words[0], "help") == 0) {
        out->wish = WISH_HELP;
        out->count--;
        memmove(out->words, out->words + 1, (size_t)out->count * sizeof out->words[0]);
    }
}

static int check_options(const struct arguments *args, struct err *e)
{
    for (int i = 0; i < args->given_count; i++) {
        if (ctl_option_find(args->command, slice_of(args->given[i].name)) == NULL) {
            return err_set(e, ERR_PERMANENT, 0, "%s%s%s has no option %s", args->command->words[0],
                           args->command->words[1] != NULL ? " " : "",
                           args->command->words[1] != NULL ? args->command->words[1] : "",
                           args->given[i].name);
        }
    }
    return 0;
}

int arguments_read(int argc, char **argv, struct arguments *out, struct err *e)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        out->json = out->json || strcmp(argv[i], "--json") == 0;
    }
    if (read_words(argc, argv, out, e) != 0) {
        return -1;
    }
    read_help(out);
    if (out->wish != WISH_RUN) {
        return 0;
    }
    if (out->count == 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "there is no command on the line: mayflyctl --help lists the commands");
    }
    if (ctl_command_find(out->words, out->count, &out->command, e) != 0) {
        return -1;
    }
    return check_options(out, e);
}
