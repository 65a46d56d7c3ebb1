/*
 * Checks of runner groups: they decide which repositories' jobs a runner of an organization gets,
 * whatever it was launched for. Part of check_github; one thread.
 */
#ifndef MAYFLY_CHECK_RUNNER_GROUPS_H
#define MAYFLY_CHECK_RUNNER_GROUPS_H

#include "common/check/check.h"

struct github;

/* The groups of the configuration in each organization that is known. */
void check_runner_groups(struct check *c, struct github *g);

#endif
