/*
 * `--watch`: an answer again and again, until q, Ctrl-C, or SIGTERM.
 *
 * On a terminal each answer replaces the one before; else it is appended, with --json as one line. A
 * store that is away does not end it: the error is shown with the time since when, above the last
 * answer, with --json as a line of its own. One thread; it owns the terminal's modes and the handlers
 * of SIGINT, SIGTERM and SIGWINCH until it returns.
 */
#ifndef MAYFLY_DEPLOY_CTL_CLI_WATCH_H
#define MAYFLY_DEPLOY_CTL_CLI_WATCH_H

#include "deploy/ctl/cli/screen.h"
#include "deploy/ctl/ctl.h"

struct watch {
    unsigned needs;      /* of enum ctl_needs: the stores to open */
    ctl_build_fn *build; /* the answer */
    void (*render)(const json_t *answer, struct screen *s);
    int64_t period_ms;
};

/* 0: it was ended. An error at the first try that will not go away by itself is a failure. */
MUST_CHECK int watch_run(struct ctl *c, const struct watch *w, struct err *e);

#endif
