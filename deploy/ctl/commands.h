/*
 * The commands of mayflyctl: what they are called, what they do, who does it. The usage text and
 * the page deploy/docs/commands.md are made from this table.
 */
#ifndef MAYFLY_DEPLOY_CTL_COMMANDS_H
#define MAYFLY_DEPLOY_CTL_COMMANDS_H

#include "common/base/buf.h"
#include "deploy/ctl/ctl.h"

struct ctl_command {
    const char *words[2]; /* the second is NULL for commands of one word */
    int arguments;        /* words after the command's own */
    const char *usage;
    const char *help;
    ctl_build_fn *build;
    ctl_print_fn *print;
};

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;

/* NULL: no command has these words and as many arguments. */
const struct ctl_command *ctl_command_find(char *const *words, int count);

/* Appends the reference page. */
void ctl_commands_reference(struct buf *out);

#endif
