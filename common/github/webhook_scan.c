#include "common/github/webhook_scan.h"

static const struct json_key in_job[] = {
    {JSON_KEY("id"), MEMBER_JOB_ID, NULL},
    {JSON_KEY("run_id"), MEMBER_JOB_RUN_ID, NULL},
    {JSON_KEY("run_attempt"), MEMBER_JOB_RUN_ATTEMPT, NULL},
    {JSON_KEY("status"), MEMBER_JOB_STATUS, NULL},
    {JSON_KEY("conclusion"), MEMBER_JOB_CONCLUSION, NULL},
    {JSON_KEY("labels"), MEMBER_JOB_LABELS, NULL},
    {JSON_KEY("runner_id"), MEMBER_JOB_RUNNER_ID, NULL},
    {JSON_KEY("runner_name"), MEMBER_JOB_RUNNER_NAME, NULL},
    {JSON_KEY("created_at"), MEMBER_JOB_CREATED_AT, NULL},
    {JSON_KEY("name"), MEMBER_JOB_NAME, NULL},
    {JSON_KEY("workflow_name"), MEMBER_JOB_WORKFLOW_NAME, NULL},
};
static const struct json_keys job = {in_job, COUNT_OF(in_job)};

static const struct json_key in_repository[] = {
    {JSON_KEY("full_name"), MEMBER_REPOSITORY_FULL_NAME, NULL},
    {JSON_KEY("private"), MEMBER_REPOSITORY_PRIVATE, NULL},
    {JSON_KEY("visibility"), MEMBER_REPOSITORY_VISIBILITY, NULL},
};
static const struct json_keys repository = {in_repository, COUNT_OF(in_repository)};

static const struct json_key in_organization[] = {
    {JSON_KEY("login"), MEMBER_ORGANIZATION_LOGIN, NULL},
};
static const struct json_keys organization = {in_organization, COUNT_OF(in_organization)};

static const struct json_key in_installation[] = {
    {JSON_KEY("id"), MEMBER_INSTALLATION_ID, NULL},
};
static const struct json_keys installation = {in_installation, COUNT_OF(in_installation)};

static const struct json_key in_top[] = {
    {JSON_KEY("action"), MEMBER_ACTION, NULL},
    {JSON_KEY("workflow_job"), MEMBER_JOB, &job},
    {JSON_KEY("repository"), MEMBER_REPOSITORY, &repository},
    {JSON_KEY("organization"), MEMBER_ORGANIZATION, &organization},
    {JSON_KEY("installation"), MEMBER_INSTALLATION, &installation},
};
static const struct json_keys top = {in_top, COUNT_OF(in_top)};

bool webhook_scan(struct slice text, struct webhook_scan *out, const char **reason)
{
    return json_scan(text, &top, out->member, MEMBER_COUNT, reason);
}
