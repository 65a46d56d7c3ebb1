/*
 * How mayflyctl reports that something failed: for people a line or two on stderr, with --json one
 * object.
 */
#ifndef MAYFLY_DEPLOY_CTL_CLI_REPORT_H
#define MAYFLY_DEPLOY_CTL_CLI_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/slice.h"

/* The command line is wrong. Returns CTL_EXIT_USAGE. */
int report_usage(const struct err *e, bool json);
/* The configuration is; `complaints` has a line for each. Returns CTL_EXIT_FAILED. */
int report_config(struct slice complaints, bool json);
/* A command failed. Returns CTL_EXIT_FAILED. */
int report_failure(const struct err *e, bool json);

/* The object of a failure; a new reference. */
json_t *report_object(const struct err *e);

/* Whose trouble an error is: "queue", "ledger", "github", …, or "command". */
const char *report_subject(const struct err *e);
/* What to do now, whatever the message says. */
const char *report_action(const struct err *e);

#endif
