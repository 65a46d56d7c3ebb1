/*
 * The help of mayflyctl, and the page of its commands, from the table of commands.
 */
#ifndef MAYFLY_DEPLOY_CTL_CLI_HELP_H
#define MAYFLY_DEPLOY_CTL_CLI_HELP_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "deploy/ctl/commands.h"

/* Appends the help that the words ask for: of mayflyctl, of a command, or of the commands with one
 * first word. */
MUST_CHECK int help_append(struct buf *out, char *const *words, int count, struct err *e);
/* "dlq redrive MESSAGE|all [--force]" */
void help_append_usage(struct buf *out, const struct ctl_command *c);

/* Appends the reference page. */
void ctl_commands_reference(struct buf *out);

#endif
