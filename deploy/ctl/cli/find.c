/*
 * Which command, and which option, words of the command line name.
 */
#include <string.h>

#include "common/config/edit_distance.h"
#include "deploy/ctl/commands.h"

#define NAME_SIZE 64

int ctl_command_words(const struct ctl_command *c)
{
    return c->words[1] == NULL ? 1 : 2;
}

static bool begins_with(const struct ctl_command *c, char *const *words, int count)
{
    int own = ctl_command_words(c);
    return count >= own && strcmp(words[0], c->words[0]) == 0 &&
           (own == 1 || strcmp(words[1], c->words[1]) == 0);
}

static void append_name(struct buf *out, const struct ctl_command *c)
{
    buf_printf(out, "%s%s%s", c->words[0], c->words[1] != NULL ? " " : "",
               c->words[1] != NULL ? c->words[1] : "");
}

/* Appends the names of the commands that have that first word; 0 of them: none has. */
static int append_group(struct buf *out, const char *word)
{
    int n = 0;
    for (size_t i = 0; i < ctl_command_count; i++) {
        if (strcmp(ctl_commands[i].words[0], word) == 0) {
            buf_append_cstr(out, n++ > 0 ? ", " : "");
            append_name(out, &ctl_commands[i]);
        }
    }
    return n;
}

/* How far it is from what was written, if that is one word, or two. */
static size_t distance_of(const struct ctl_command *c, char *const *words, int count)
{
    struct buf name;
    struct buf written;
    buf_init(&name, NAME_SIZE);
    buf_init(&written, NAME_SIZE);
    append_name(&name, c);
    buf_append_cstr(&written, words[0]);
    size_t best =
        ctl_command_words(c) == 1 ? edit_distance(buf_slice(&written), buf_slice(&name)) : SIZE_MAX;
    if (count > 1 && ctl_command_words(c) > 1) {
        buf_printf(&written, " %s", words[1]);
        best = edit_distance(buf_slice(&written), buf_slice(&name));
    }
    bool failed = written.failed;
    buf_fini(&name);
    buf_fini(&written);
    return failed ? SIZE_MAX : best;
}

static const struct ctl_command *find_nearest(char *const *words, int count)
{
    const struct ctl_command *best = NULL;
    size_t least = 3; /* more changes than two are another word */
    for (size_t i = 0; i < ctl_command_count; i++) {
        size_t d = distance_of(&ctl_commands[i], words, count);
        if (d < least) {
            least = d;
            best = &ctl_commands[i];
        }
    }
    return best;
}

/* The whole second name, where only its first or its second word was written. */
static const struct ctl_command *find_by_one_word(const char *word)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        if (c->words[1] != NULL && strcmp(c->words[1], word) == 0) {
            return c;
        }
    }
    return NULL;
}

static int fail_unknown(char *const *words, int count, struct err *e)
{
    struct buf hint;
    struct buf group;
    const struct ctl_command *near = find_nearest(words, count);
    buf_init(&hint, 2 * NAME_SIZE);
    buf_init(&group, 400);
    near = near != NULL ? near : find_by_one_word(words[0]);
    if (near != NULL) {
        buf_append_cstr(&hint, ": did you mean ");
        append_name(&hint, near);
        buf_append_cstr(&hint, "?");
    }
    bool is_group = append_group(&group, words[0]) > 0;
    const char *hint_text = hint.len > 0 ? hint.data : "";
    if (is_group && count == 1) {
        (void)err_set(e, ERR_PERMANENT, 0, "%s is not a whole command: write one of %s", words[0],
                      group.data);
    } else if (is_group) {
        (void)err_set(e, ERR_PERMANENT, 0, "there is no command \"%s %s\"%s; there are %s",
                      words[0], words[1], hint_text, group.data);
    } else {
        (void)err_set(e, ERR_PERMANENT, 0,
                      "there is no command \"%s\"%s; mayflyctl --help lists the commands", words[0],
                      hint_text);
    }
    buf_fini(&hint);
    buf_fini(&group);
    return -1;
}

static int check_count(const struct ctl_command *c, char *const *words, int count, struct err *e)
{
    int given = count - ctl_command_words(c);
    if (given >= c->least && given <= c->most) {
        return 0;
    }
    struct buf name;
    buf_init(&name, NAME_SIZE);
    append_name(&name, c);
    if (given < c->least) {
        (void)err_set(e, ERR_PERMANENT, 0, "%s needs %s: see mayflyctl %s --help", name.data,
                      c->arguments, name.data);
    } else {
        (void)err_set(e, ERR_PERMANENT, 0, "%s: \"%s\" is a word too many: see mayflyctl %s --help",
                      name.data, words[ctl_command_words(c) + c->most], name.data);
    }
    buf_fini(&name);
    return -1;
}

const struct ctl_command *ctl_command_named(char *const *words, int count)
{
    const struct ctl_command *found = NULL;
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        if (begins_with(c, words, count) &&
            (found == NULL || ctl_command_words(c) > ctl_command_words(found))) {
            found = c;
        }
    }
    return found;
}

int ctl_command_find(char *const *words, int count, const struct ctl_command **out, struct err *e)
{
    const struct ctl_command *found = ctl_command_named(words, count);
    if (found == NULL) {
        return fail_unknown(words, count, e);
    }
    if (check_count(found, words, count, e) != 0) {
        return -1;
    }
    *out = found;
    return 0;
}

static const struct ctl_option *find_among(const struct ctl_option *options, struct slice name)
{
    for (; options->name != NULL; options++) {
        if (slice_eq_cstr(name, options->name)) {
            return options;
        }
    }
    return NULL;
}

const struct ctl_option *ctl_option_find(const struct ctl_command *c, struct slice name)
{
    const struct ctl_option *found = find_among(ctl_common_options, name);
    if (found == NULL && c != NULL) {
        found = find_among(c->options, name);
    }
    for (size_t i = 0; c == NULL && found == NULL && i < ctl_command_count; i++) {
        found = find_among(ctl_commands[i].options, name);
    }
    return found;
}
