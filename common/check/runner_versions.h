/*
 * Whether GitHub still takes the runners of the images on this host. GitHub refuses a runner that is
 * too old, soon after a newer one is out. Part of check_github; one thread.
 */
#ifndef MAYFLY_CHECK_RUNNER_VERSIONS_H
#define MAYFLY_CHECK_RUNNER_VERSIONS_H

#include "common/check/check.h"

struct github;

/* One finding for each class whose image says which runner it has, where GitHub says how long it takes
 * that version; else none. */
void check_runner_versions(struct check *c, struct github *g);

#endif
