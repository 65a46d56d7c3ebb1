/*
 * One pass over a webhook's JSON text that finds the few members we need.
 *
 * A whole parse of a 12 kB body costs many times its HMAC; this pass allocates nothing, checks the
 * whole text (grammar, UTF-8, escapes, number ranges) and remembers where the wanted members
 * stand. It is stricter than jansson, never laxer: whatever it accepts, jansson accepts, with the
 * same members and values (tests/fuzz/fuzz_scan.c). Refused beyond jansson's rules: nesting over
 * WEBHOOK_DEPTH_MAX, wanted members that stand twice, and escapes in the keys of the objects we
 * look into. Pure functions, any thread; slices borrow from the text.
 */
#ifndef MAYFLY_GITHUB_WEBHOOK_SCAN_H
#define MAYFLY_GITHUB_WEBHOOK_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

#define WEBHOOK_DEPTH_MAX 64

enum webhook_member {
    MEMBER_ACTION,
    MEMBER_JOB,
    MEMBER_JOB_ID,
    MEMBER_JOB_RUN_ID,
    MEMBER_JOB_RUN_ATTEMPT,
    MEMBER_JOB_STATUS,
    MEMBER_JOB_CONCLUSION,
    MEMBER_JOB_LABELS,
    MEMBER_JOB_RUNNER_ID,
    MEMBER_JOB_RUNNER_NAME,
    MEMBER_JOB_CREATED_AT,
    MEMBER_JOB_NAME,
    MEMBER_REPOSITORY,
    MEMBER_REPOSITORY_FULL_NAME,
    MEMBER_ORGANIZATION,
    MEMBER_ORGANIZATION_LOGIN,
    MEMBER_INSTALLATION,
    MEMBER_INSTALLATION_ID,
    MEMBER_COUNT
};

struct webhook_scan {
    struct slice member[MEMBER_COUNT]; /* raw JSON text of the value; empty: not there */
};

/* Scans a text whose outermost value must be an object. On refusal false, *reason says why (static
 * text for metrics and logs) and *out is of no use. */
MUST_CHECK bool webhook_scan(struct slice text, struct webhook_scan *out, const char **reason);

/* The elements of a scanned array of strings, raw. False if it is no array, if an element is no
 * string, or if there are more than max. */
MUST_CHECK bool webhook_scan_strings(struct slice array, struct slice *out, size_t max, size_t *n);

#endif
