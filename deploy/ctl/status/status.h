/*
 * The text form of `mayflyctl status`, for a screen that is watched too.
 */
#ifndef MAYFLY_DEPLOY_CTL_STATUS_H
#define MAYFLY_DEPLOY_CTL_STATUS_H

#include "deploy/ctl/cli/screen.h"
#include "deploy/ctl/ctl.h"

void ctl_status_render(const json_t *answer, struct screen *s);

#endif
