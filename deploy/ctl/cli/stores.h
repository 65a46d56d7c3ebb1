/*
 * The stores of a command: opened for one that looks, so that nothing is created.
 */
#ifndef MAYFLY_DEPLOY_CTL_CLI_STORES_H
#define MAYFLY_DEPLOY_CTL_CLI_STORES_H

#include "deploy/ctl/ctl.h"

/* Opens those of `needs` (enum ctl_needs) that are not open. After a failure: ctl_close_stores. */
MUST_CHECK int ctl_open_stores(struct ctl *c, unsigned needs, struct err *e);
void ctl_close_stores(struct ctl *c);

#endif
