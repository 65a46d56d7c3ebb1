/*
 * Checks of scale sets (sources[]): whether GitHub lets this deployment ask for their jobs. Part of check_github;
 * one thread. Creates nothing, and opens no session.
 */
#ifndef MAYFLY_CHECK_SCALE_SETS_H
#define MAYFLY_CHECK_SCALE_SETS_H

#include "common/check/check.h"

struct github;

void check_scale_sets(struct check *c, struct github *g);

#endif
