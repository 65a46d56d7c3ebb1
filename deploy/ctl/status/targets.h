/*
 * Targets (config.h) for people: `mayflyctl targets`, and the part of `status` about them.
 */
#ifndef MAYFLY_DEPLOY_CTL_TARGETS_H
#define MAYFLY_DEPLOY_CTL_TARGETS_H

#include "deploy/ctl/cli/screen.h"
#include "deploy/ctl/ctl.h"

/* Adds them as "targets": none, if no class has any. */
MUST_CHECK int ctl_add_targets(struct ctl *c, json_t *answer, struct err *e);
/* A line each; with_circuits: and what stops one. */
void ctl_targets_render(const json_t *answer, bool with_circuits, struct screen *s);

#endif
