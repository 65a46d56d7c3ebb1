/*
 * The App itself: its permissions, its event, and where it is installed. Part of check_github; one
 * thread.
 */
#ifndef MAYFLY_CHECK_GITHUB_APP_H
#define MAYFLY_CHECK_GITHUB_APP_H

#include "common/check/check.h"

#include <stddef.h>

struct check;
struct github;

/* The number-th App, from 0 on. */
void check_github_app(struct check *c, struct github *g, size_t number);

/* The subject of findings about it: "github", or of several "github app ID". Returns out. */
#define CHECK_APP_SUBJECT_SIZE 80
const char *check_app_subject(const struct check *c, size_t number,
                              char out[CHECK_APP_SUBJECT_SIZE]);

#endif
