/*
 * The App itself: its permissions, its event, and where it is installed. Part of check_github; one
 * thread.
 */
#ifndef MAYFLY_CHECK_GITHUB_APP_H
#define MAYFLY_CHECK_GITHUB_APP_H

#include "common/check/check.h"

struct github;

void check_github_app(struct check *c, struct github *g);

#endif
