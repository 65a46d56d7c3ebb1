/*
 * Finds the needed members of a webhook's body in one pass (common/base/json_scan.h): a full parse
 * of a 12 kB body would cost many times its HMAC.
 */
#ifndef MAYFLY_GITHUB_WEBHOOK_SCAN_H
#define MAYFLY_GITHUB_WEBHOOK_SCAN_H

#include "common/base/json_scan.h"

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
    MEMBER_JOB_WORKFLOW_NAME,
    MEMBER_REPOSITORY,
    MEMBER_REPOSITORY_FULL_NAME,
    MEMBER_REPOSITORY_PRIVATE,
    MEMBER_REPOSITORY_VISIBILITY,
    MEMBER_ORGANIZATION,
    MEMBER_ORGANIZATION_LOGIN,
    MEMBER_INSTALLATION,
    MEMBER_INSTALLATION_ID,
    MEMBER_COUNT
};

struct webhook_scan {
    struct slice member[MEMBER_COUNT]; /* raw JSON text of the value; empty: absent */
};

/* Scans a text whose outermost value must be an object. If it is rejected, returns false, *reason
 * says why (static text for metrics and logs) and *out is unspecified. */
MUST_CHECK bool webhook_scan(struct slice text, struct webhook_scan *out, const char **reason);

#endif
