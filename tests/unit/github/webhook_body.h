/*
 * Bodies as GitHub sends them, for tests: every member of a workflow_job delivery, the long
 * repository object that makes up most of it, members in an order of its own.
 */
#ifndef MAYFLY_TESTS_WEBHOOK_BODY_H
#define MAYFLY_TESTS_WEBHOOK_BODY_H

#include "common/base/buf.h"

/* What differs between bodies; JSON text of the value, NULL leaves the member out. */
struct webhook_body {
    const char *action;
    const char *id;
    const char *status;
    const char *conclusion;
    const char *labels;
    const char *runner_id;
    const char *runner_name;
    const char *name;
    const char *workflow_name;
    const char *full_name;
    const char *is_private;
    const char *visibility;
};

/* A queued job of the private repository octo-org/octo-repo with the labels self-hosted, linux, x64. */
struct webhook_body webhook_body_queued(void);

/* Appends the whole body, about 9 kB. */
void webhook_body_append(struct buf *out, const struct webhook_body *b);

#endif
