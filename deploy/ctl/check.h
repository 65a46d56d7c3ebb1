/*
 * Checks of the configuration and of what it names, as the daemons do them; for `check` and
 * `app check`. One thread.
 */
#ifndef MAYFLY_DEPLOY_CTL_CHECK_H
#define MAYFLY_DEPLOY_CTL_CHECK_H

#include "common/check/check.h"
#include "deploy/ctl/ctl.h"

#define CTL_CHECKS_MAX 10

struct ctl_check_part {
    const char *program; /* as which the configuration is read */
    enum config_for who;
    check_fn *checks[CTL_CHECKS_MAX]; /* NULL ends them */
};

/* Prints all findings. webhook_url: that the App's hook ought to have; NULL: any. */
MUST_CHECK int ctl_check_parts(struct ctl *c, const struct ctl_check_part *parts, size_t count,
                               const char *webhook_url, struct err *e);

#endif
