/* Any bytes as an answer of GitHub: the first byte chooses the parser, the rest is the body (or, to
 * be judged, header lines, an empty line and the body). What is accepted must keep the contract of
 * internal.h: ids above zero, texts bounded and printable, waits within bounds. */
#include <jansson.h>
#include <string.h>

#include "common/github/internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_answer.h"

#define LONGEST_WAIT_MS (INT64_C(65) * 60 * 1000)

static int check_runner(void *arg, const struct github_runner *r)
{
    size_t *seen = arg;
    ASSERT(r->id > 0 && memchr(r->name, '\0', sizeof r->name) != NULL);
    return ++*seen == 50 ? 1 : 0;
}

static void try_runners(struct slice body)
{
    struct github_page page;
    struct github_runner runner;
    struct err e;
    size_t seen = 0;
    if (github_parse_runners(body, check_runner, &seen, &page, &e) == 0) {
        ASSERT(seen <= page.count && page.stopped == (seen == 50));
    }
    seen = 0;
    if (github_parse_runner(body, &runner, &e) == 0) {
        (void)check_runner(&seen, &runner);
    }
}

static void try_jit(struct slice body)
{
    struct github_jit jit;
    struct err e;
    if (github_parse_jit(body, &jit, &e) == 0) {
        ASSERT(jit.runner_id > 0 && jit.config[0] != '\0');
        ASSERT(strpbrk(jit.config, " \t\r\n\"\\") == NULL);
        github_jit_fini(&jit);
    }
}

static void try_token(struct slice body)
{
    struct buf token;
    struct err e;
    int64_t expires_ms = 0;
    buf_init(&token, GITHUB_TOKEN_BYTES);
    if (github_parse_token(body, &token, &expires_ms, &e) == 0) {
        ASSERT(token.len > 0 && !token.failed);
        fuzz_check_printable(token.data, token.len + 1);
    }
    buf_fini(&token);
}

static void try_app(struct slice body)
{
    struct github_app app;
    struct github_hook_config hook;
    struct err e;
    if (github_parse_app(body, &app, &e) == 0) {
        ASSERT(memchr(app.slug, '\0', sizeof app.slug) != NULL);
        ASSERT(memchr(app.levels.of[0], '\0', sizeof app.levels.of[0]) != NULL);
    }
    if (github_parse_hook_config(body, &hook, &e) == 0) {
        ASSERT(memchr(hook.url, '\0', sizeof hook.url) != NULL);
    }
}

static int check_run(void *arg, const struct github_run *run)
{
    (void)arg;
    ASSERT(run->id > 0 && memchr(run->created, '\0', sizeof run->created) != NULL);
    ASSERT(memchr(run->repository, '\0', sizeof run->repository) != NULL);
    ASSERT(memchr(run->organization, '\0', sizeof run->organization) != NULL);
    return 0;
}

/* A job of the list becomes the body of a webhook, which is JSON whatever its names are. */
static void check_run_job(void *arg, const char *status, struct slice delivery)
{
    (void)arg;
    json_t *root = json_loadb(delivery.ptr, delivery.len, 0, NULL);
    ASSERT(status[0] != '\0' && json_is_object(root));
    json_decref(root);
}

static void try_run_lists(struct slice body)
{
    static const struct github_runs_query query = {
        .repository = "acme/app", .installation_id = 7, .status = "queued", .created_until = ""};
    static const struct github_run run = {
        .id = 7, .installation_id = 7, .repository = "acme/app", .organization = "acme"};
    struct github_page page;
    struct err e;
    char repository[REPOSITORY_SIZE];
    (void)!github_parse_runs(body, &query, check_run, NULL, &page, &e);
    (void)!github_parse_run_jobs(body, &run, check_run_job, NULL, &page, &e);
    if (github_parse_delivery_repository(body, repository, &e) == 0) {
        ASSERT(memchr(repository, '\0', sizeof repository) != NULL && repository[0] != '\0');
    }
}

static void try_small_ones(struct slice body)
{
    struct github_job job;
    struct github_group group;
    struct err e;
    int64_t id = 0;
    size_t count = 0;
    char message[64];
    if (github_parse_groups(body, "Default", &group, &count, &e) == 0) {
        ASSERT(group.id >= 0 && (group.id == 0 || count > 0));
    }
    if (github_parse_installation(body, &id, &e) == 0) {
        ASSERT(id > 0);
    }
    if (github_parse_job(body, &job, &e) == 0) {
        ASSERT(job.id > 0 && job.runner_id >= 0 && job.status[0] != '\0');
    }
    try_app(body);
    try_run_lists(body);
    github_parse_message(body, message, sizeof message);
    fuzz_check_printable(message, sizeof message);
    ASSERT(!github_more_pages(body, 0));
    (void)github_more_pages(body, 1);
}

static void try_judge(struct slice text, int status)
{
    struct http_response r;
    struct github_verdict v;
    fuzz_answer(text, status, &r);
    struct github_silence silence = {.pause_ms = 60000, .hits = (int)(text.len % 9)};
    github_judge(&r, INT64_C(1700000000000), &silence, &v);
    ASSERT(v.wait_ms >= 0 && v.wait_ms <= LONGEST_WAIT_MS);
    ASSERT((v.class == ERR_NONE) == (status >= 200 && status < 300));
    ASSERT(!v.close || v.wait_ms >= 1000);
    ASSERT(v.class != ERR_THROTTLED || v.close);
    ASSERT(v.remaining >= -1);
    fuzz_check_printable(v.message, sizeof v.message);
    fuzz_check_printable(v.permissions, sizeof v.permissions);
    fuzz_check_printable(v.request_id, sizeof v.request_id);
    http_response_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 204, 304, 401, 403, 404, 409, 422, 429, 500, 503};
    if (size == 0) {
        return 0;
    }
    struct slice text = {(const char *)data + 1, size - 1};
    switch (data[0] % 8) {
    case 0:
        try_runners(text);
        break;
    case 1:
        try_jit(text);
        break;
    case 2:
        try_token(text);
        break;
    case 3:
        try_small_ones(text);
        break;
    default:
        try_judge(text, statuses[(data[0] / 8) % COUNT_OF(statuses)]);
        break;
    }
    return 0;
}
