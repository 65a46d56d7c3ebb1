/* What a path means: a file of the page, or a command's answer. */
#include <string.h>

#include "common/base/codec.h"
#include "common/base/url_options.h"
#include "deploy/ctl/commands.h"
#include "deploy/ctl/console/console.h"

#define USUAL "/api/usual"

/* The commands that the page shows. Parameters are their options, and `argument` their word. A command
 * that does not exist yet has no page. */
static const struct route {
    const char *path;
    const char *words[CTL_WORDS_MAX];
    const char *argument;
    const char *options[ROUTE_OPTIONS_MAX + 1];
} routes[] = {
    {"/api/status", {"status"}, NULL, {NULL}},
    {"/api/classes", {"classes"}, NULL, {NULL}},
    {"/api/jobs", {"jobs"}, NULL, {"class", "state", "repository", "run", "after", "limit", NULL}},
    {"/api/why", {"why"}, "job", {NULL}},
    {"/api/vms", {"vms"}, NULL, {NULL}},
    {"/api/targets", {"targets"}, NULL, {NULL}},
    {"/api/hosts", {"hosts"}, NULL, {NULL}},
    {"/api/workers", {"workers"}, NULL, {NULL}},
    {"/api/circuits", {"circuits"}, NULL, {NULL}},
    {"/api/images", {"image", "list"}, NULL, {NULL}},
    {"/api/dlq", {"dlq", "list"}, NULL, {NULL}},
    {"/api/cost", {"cost"}, NULL, {"by", "since", NULL}},
    {USUAL, {NULL}, "class", {NULL}},
};

const struct console_file *console_file_of(struct slice path)
{
    for (size_t i = 0; i < console_file_count; i++) {
        if (slice_eq_cstr(path, console_files[i].path)) {
            return &console_files[i];
        }
    }
    return NULL;
}

static const struct route *find_route(struct slice path)
{
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (slice_eq_cstr(path, routes[i].path)) {
            return &routes[i];
        }
    }
    return NULL;
}

static bool is_same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* NULL: there is no such command. */
static const struct ctl_command *command_of(const struct route *r)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        if (is_same(c->words[0], r->words[0]) && is_same(c->words[1], r->words[1])) {
            return c;
        }
    }
    return NULL;
}

/* With its dashes, as ctl_option wants it; NULL: the command has no such option. */
static const char *option_named(const struct route *r, const struct ctl_command *command,
                                struct slice name)
{
    for (size_t i = 0; r->options[i] != NULL; i++) {
        if (slice_eq_cstr(name, r->options[i])) {
            char dashed[32] = "--";
            (void)!slice_to_cstr(name, dashed + 2, sizeof dashed - 2);
            const struct ctl_option *o = ctl_option_find(command, slice_of(dashed));
            return o != NULL ? o->name : NULL;
        }
    }
    return NULL;
}

/* Decodes into out->text. */
static int keep_value(struct route_call *out, size_t *used, struct slice value, char **text,
                      struct err *e)
{
    struct buf decoded;
    buf_init(&decoded, CONSOLE_TARGET_SIZE);
    bool good = codec_unform(&decoded, value);
    char *at = out->text + *used;
    good = good && slice_to_cstr(buf_slice(&decoded), at, sizeof out->text - *used);
    *used += good ? decoded.len + 1 : 0;
    *text = at;
    buf_fini(&decoded);
    return good ? 0 : err_set(e, ERR_PERMANENT, 0, "a parameter cannot be read");
}

/* Its cost grows with the number of VMs, for as many people as may look. */
static bool is_too_dear(const char *option, const char *value)
{
    return strcmp(option, "--by") == 0 &&
           (strcmp(value, "job") == 0 || strcmp(value, "workflow") == 0);
}

static int take_parameter(const struct route *r, struct route_call *out, struct slice name,
                          char *value, struct err *e)
{
    const char *option = option_named(r, out->command, name);
    if (r->argument != NULL && slice_eq_cstr(name, r->argument) && out->argc == 0) {
        out->argv[out->argc++] = value;
        return 0;
    }
    if (option == NULL || out->given_count == ROUTE_OPTIONS_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "%s has no parameter \"%.*s\", or has it already",
                       r->path, SLICE_ARG(name));
    }
    if (is_too_dear(option, value)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the console has no cost of each job or workflow: mayflyctl cost --by %s",
                       value);
    }
    out->given[out->given_count++] = (struct ctl_given){option, value};
    return 0;
}

int route_read(struct slice path, struct slice query, struct route_call *out, struct err *e)
{
    const struct route *r = find_route(path);
    struct slice name;
    struct slice value;
    size_t used = 0;
    *out = (struct route_call){.argc = 0};
    out->command = r != NULL ? command_of(r) : NULL;
    if (r == NULL || (r->words[0] != NULL && out->command == NULL)) {
        return err_set(e, ERR_NOT_FOUND, 0, "there is no %.*s", SLICE_ARG(path));
    }
    while (url_next_parameter(&query, &name, &value)) {
        char *text = NULL;
        if (keep_value(out, &used, value, &text, e) != 0 ||
            take_parameter(r, out, name, text, e) != 0) {
            return -1;
        }
    }
    if (r->argument != NULL && out->argc == 0) {
        return err_set(e, ERR_PERMANENT, 0, "%s needs the parameter %s", r->path, r->argument);
    }
    return 0;
}
