#include "tests/unit/github/webhook_body.h"

#include "common/base/attr.h"

#define REPOSITORY_URL "https://api.github.com/repos/octo-org/octo-repo/"

static const char *const repository_urls[] = {
    "forks_url",         "keys_url",         "collaborators_url", "teams_url",
    "hooks_url",         "issue_events_url", "events_url",        "assignees_url",
    "branches_url",      "tags_url",         "blobs_url",         "git_tags_url",
    "git_refs_url",      "trees_url",        "statuses_url",      "languages_url",
    "stargazers_url",    "contributors_url", "subscribers_url",   "subscription_url",
    "commits_url",       "git_commits_url",  "comments_url",      "issue_comment_url",
    "contents_url",      "compare_url",      "merges_url",        "archive_url",
    "downloads_url",     "issues_url",       "pulls_url",         "milestones_url",
    "notifications_url", "labels_url",       "releases_url",      "deployments_url",
};

static const char *const account_urls[] = {
    "followers_url",     "following_url", "gists_url",  "starred_url",         "subscriptions_url",
    "organizations_url", "repos_url",     "events_url", "received_events_url",
};

struct webhook_body webhook_body_queued(void)
{
    return (struct webhook_body){.action = "\"queued\"",
                                 .id = "100520616165",
                                 .status = "\"queued\"",
                                 .conclusion = "null",
                                 .labels = "[\"self-hosted\",\"linux\",\"x64\"]",
                                 .runner_id = "null",
                                 .runner_name = "null",
                                 .name = "\"build (ubuntu, \\u00fc)\"",
                                 .workflow_name = "\"CI\"",
                                 .full_name = "\"octo-org/octo-repo\"",
                                 .is_private = "true",
                                 .visibility = "\"private\""};
}

static void append_account(struct buf *out, const char *key, const char *login, int id)
{
    buf_printf(out, ",\"%s\":{\"login\":\"%s\",\"id\":%d,\"node_id\":\"MDQ6VXNlcjE=\"", key, login,
               id);
    for (size_t i = 0; i < COUNT_OF(account_urls); i++) {
        buf_printf(out, ",\"%s\":\"https://api.github.com/users/%s/%s{/privacy}\"", account_urls[i],
                   login, account_urls[i]);
    }
    buf_append_cstr(out, ",\"type\":\"Organization\",\"site_admin\":false}");
}

static void append_member(struct buf *out, const char *key, const char *json)
{
    if (json != NULL) {
        buf_printf(out, ",\"%s\":%s", key, json);
    }
}

static void append_repository(struct buf *out, const struct webhook_body *b)
{
    buf_append_cstr(out, ",\"repository\":{\"id\":186853002,\"node_id\":\"MDEwOlJlcG9zaXRvcnk=\","
                         "\"name\":\"octo-repo\"");
    append_account(out, "owner", "octo-org", 21031067);
    for (size_t i = 0; i < COUNT_OF(repository_urls); i++) {
        buf_printf(out, ",\"%s\":\"" REPOSITORY_URL "%s{/number}\"", repository_urls[i],
                   repository_urls[i]);
    }
    append_member(out, "full_name", b->full_name);
    append_member(out, "private", b->is_private);
    append_member(out, "visibility", b->visibility);
    buf_append_cstr(out, ",\"size\":0,\"score\":1.5e1,\"license\":null,"
                         "\"description\":\"caf\xc3\xa9 \\ud83d\\ude80 \\\"quoted\\\"\","
                         "\"topics\":[],\"custom_properties\":{\"a\":[{\"b\":[]}]}}");
}

static void append_job(struct buf *out, const struct webhook_body *b)
{
    buf_append_cstr(out,
                    ",\"workflow_job\":{\"node_id\":\"MDg6Q2hlY2tSdW4=\",\"run_id\":33714470481,"
                    "\"head_branch\":\"main\",\"run_attempt\":2");
    append_member(out, "id", b->id);
    append_member(out, "status", b->status);
    append_member(out, "conclusion", b->conclusion);
    append_member(out, "labels", b->labels);
    append_member(out, "runner_id", b->runner_id);
    append_member(out, "runner_name", b->runner_name);
    append_member(out, "name", b->name);
    append_member(out, "workflow_name", b->workflow_name);
    buf_append_cstr(
        out, ",\"created_at\":\"2026-11-20T18:12:03Z\",\"steps\":[{\"name\":\"id\",\"status\":"
             "\"completed\",\"labels\":[\"not\",\"these\"],\"number\":1}]}");
}

void webhook_body_append(struct buf *out, const struct webhook_body *b)
{
    buf_append_cstr(out, "{\"enterprise\":null");
    append_member(out, "action", b->action);
    append_job(out, b);
    append_repository(out, b);
    append_account(out, "organization", "octo-org", 21031067);
    append_account(out, "sender", "octocat", 1);
    buf_append_cstr(out, ",\"installation\":{\"id\":6003001,\"node_id\":\"x\"}}");
}
