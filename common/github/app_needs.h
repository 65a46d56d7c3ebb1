/*
 * What the GitHub App is allowed to do, and which event it gets: one table, from which the App is
 * made (mayflyctl app create) and checked (common/check). The page operations.md lists the same, and
 * a test compares them. Constant data.
 */
#ifndef MAYFLY_GITHUB_APP_NEEDS_H
#define MAYFLY_GITHUB_APP_NEEDS_H

#include <stdbool.h>

#define GITHUB_APP_EVENT "workflow_job"
#define GITHUB_APP_NEEDS 6
#define GITHUB_LEVEL_SIZE 8

struct github_app_need {
    const char *name;  /* in GitHub's API */
    const char *title; /* on GitHub's pages */
    const char *level; /* "read" or "write" */
    bool organization; /* where runners register with organizations */
    bool repository;   /* where they register with repositories */
    enum {
        GITHUB_NEEDED,
        GITHUB_NEEDED_TO_GIVE_UP,
        GITHUB_NEEDED_UNLESS
    } when; /* reaper.give_up */
};

extern const struct github_app_need github_app_needs[GITHUB_APP_NEEDS];

/* Levels as GitHub's API has them, one for each need: "read", "write", "admin"; "": none. */
struct github_levels {
    char of[GITHUB_APP_NEEDS][GITHUB_LEVEL_SIZE];
};

/* Whether it is one where runners register with organizations or with repositories, and jobs are
 * given up or not. */
bool github_app_needs_it(const struct github_app_need *need, bool organization, bool repository,
                         bool give_up);

/* Whether `level` is enough for that need. */
bool github_level_suffices(const struct github_app_need *need, const char *level);

#endif
