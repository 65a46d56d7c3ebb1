/*
 * common/github against the stand-in for GitHub, with a real ledger.
 *
 * Started by github_client.sh, which tells by the environment where the stand-in, its log, the
 * App's key and the ledger are. The stand-in's log is the truth that the tests count by: it holds a
 * line for every request, written before the answer is sent. The tests build on one another and run
 * in order.
 */
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/github/github.h"
#include "common/http/client.h"
#include "common/ledger/ledger.h"
#include "tests/lib/cmocka.h"

#define JOBS 60
#define RUNNERS 150
#define THREADS 6
#define LOG_LIMIT_BYTES ((size_t)64 * 1024 * 1024)

static const char *fake_url;
static struct config config;
static struct ledger *ledger;
static struct github *github;
static struct http_client *http;

static char label_a[] = "self-hosted";
static char label_b[] = "microvm";
static char *label_items[] = {label_a, label_b};
static const struct config_list labels = {label_items, 2};

static void check(int rc, const struct err *e)
{
    if (rc != 0) {
        fail_msg("%s: %s", err_class_name(e->class), e->message);
    }
}

/* --- the stand-in's log ----------------------------------------------------------------------- */

/* How many lines of the log have this event and, unless NULL, this operation; status 0: any. */
static size_t logged(const char *event, const char *operation, int status)
{
    struct buf text;
    struct slice line;
    struct slice rest;
    struct err e;
    size_t count = 0;
    buf_init(&text, LOG_LIMIT_BYTES);
    check(fs_read(getenv("FAKE_LOG"), &text, &e), &e);
    rest = buf_slice(&text);
    while (slice_cut(rest, '\n', &line, &rest)) {
        json_t *entry = json_loadb(line.ptr, line.len, 0, NULL);
        const char *what = json_string_value(json_object_get(entry, "event"));
        const char *op = json_string_value(json_object_get(entry, "operation"));
        json_int_t answered = json_integer_value(json_object_get(entry, "status"));
        bool match = what != NULL && strcmp(what, event) == 0;
        match = match && (operation == NULL || (op != NULL && strcmp(op, operation) == 0));
        count += match && (status == 0 || answered == status) ? 1 : 0;
        json_decref(entry);
    }
    buf_fini(&text);
    return count;
}

static size_t requests(void)
{
    return logged("request", NULL, 0);
}

/* --- talking to the stand-in itself ----------------------------------------------------------- */

/* The answer, or NULL if it was not `status`. Owned: free(). */
static char *talk(const char *method, const char *path, const char *body, const char *bearer,
                  int status)
{
    char url[512];
    char authorization[512];
    struct http_response r;
    struct err e;
    const char *const headers[] = {authorization};
    (void)snprintf(url, sizeof url, "%s%s", fake_url, path);
    (void)snprintf(authorization, sizeof authorization, "Authorization: Bearer %s", bearer);
    const struct http_request q = {.method = method,
                                   .url = url,
                                   .headers = headers,
                                   .header_count = bearer[0] != '\0' ? 1 : 0,
                                   .body = slice_of(body)};
    check(http_send(http, &q, &r, &e), &e);
    if (r.status != status) {
        fail_msg("%s %s: %d %.*s", method, path, r.status, SLICE_ARG(buf_slice(&r.body)));
    }
    char *text = buf_take(&r.body);
    http_response_fini(&r);
    return text;
}

static void tell(const char *path, const char *body)
{
    free(talk("POST", path, body, "", 200));
}

/* --- set-up ----------------------------------------------------------------------------------- */

static char *environment(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL) {
        fail_msg("%s is not set: start this by github_client.sh", name);
    }
    return slice_dup(slice_of(value));
}

static int set_up(void **state)
{
    struct err e;
    struct buf key;
    const struct http_client_options o = {
        .user_agent = "test", .proxy = "", .connect_timeout_ms = 5000, .timeout_ms = 60000};
    fake_url = environment("FAKE_URL");
    char *key_path = environment("APP_KEY");
    char *ledger_url = environment("LEDGER");
    buf_init(&key, 65536);
    check(fs_read(key_path, &key, &e), &e);
    check(ledger_open(ledger_url, &ledger, &e), &e);
    check(http_client_new(&o, &http, &e), &e);
    config.github = (struct config_github){.api_url = slice_dup(slice_of(fake_url)),
                                           .app_id = environment("APP_ID"),
                                           .app_key = buf_take(&key),
                                           .token = slice_dup(SLICE("")),
                                           .scope = slice_dup(SLICE("organization")),
                                           .api_version = slice_dup(SLICE("2022-11-28")),
                                           .proxy = slice_dup(SLICE("")),
                                           .timeout_ms = 60000,
                                           .rate = {1000.0, 1000}};
    check(github_open(&config, ledger, &github, &e), &e);
    free(key_path);
    free(ledger_url);
    return 0;
}

static int tear_down(void **state)
{
    struct config_github *c = &config.github;
    char *owned[] = {c->api_url, c->app_id,      c->app_key, c->token,
                     c->scope,   c->api_version, c->proxy};
    github_close(github);
    http_client_free(http);
    ledger_close(ledger);
    for (size_t i = 0; i < COUNT_OF(owned); i++) {
        free(owned[i]);
    }
    return 0;
}

static struct github_scope org(void)
{
    return github_scope_parse("acme", 0);
}

static int register_named(const struct github_scope *s, const char *name, struct github_jit *jit,
                          struct err *e)
{
    const struct github_register r = {
        .scope = s, .name = name, .labels = &labels, .group = "Default"};
    return github_register_runner(github, &r, jit, e);
}

/* --- many jobs at once ------------------------------------------------------------------------ */

struct sqs_thread_pool {
    json_t *jobs; /* [{id, run_id}] */
    pthread_mutex_t lock;
    size_t next;
    size_t failed;
    struct err failure;
};

/* The way of a job as far as GitHub sees it: is it still queued? then a runner for it. */
static int serve_job(int64_t id, struct err *e)
{
    char name[64];
    struct github_job job;
    struct github_jit jit;
    struct github_scope s = org();
    if (github_get_job(github, "acme/site", 0, id, &job, e) != 0) {
        return -1;
    }
    if (job.id != id || strcmp(job.status, "queued") != 0) {
        return err_set(e, ERR_PERMANENT, 0, "job %" PRId64 " is %s", id, job.status);
    }
    (void)snprintf(name, sizeof name, "mf-it-%" PRId64, id);
    if (register_named(&s, name, &jit, e) != 0) {
        return -1;
    }
    github_jit_fini(&jit);
    return 0;
}

static void *serve_jobs(void *arg)
{
    struct sqs_thread_pool *c = arg;
    for (;;) {
        struct err e;
        pthread_mutex_lock(&c->lock);
        const json_t *job = json_array_get(c->jobs, c->next++);
        int64_t id = (int64_t)json_integer_value(json_object_get(job, "id"));
        pthread_mutex_unlock(&c->lock);
        if (job == NULL) {
            return NULL;
        }
        if (serve_job(id, &e) != 0) {
            pthread_mutex_lock(&c->lock);
            c->failed++;
            c->failure = e;
            pthread_mutex_unlock(&c->lock);
        }
    }
}

static void the_smooth_path_costs_at_most_2_2_calls_a_job(void **state)
{
    struct sqs_thread_pool crew = {.next = 0};
    pthread_t threads[THREADS];
    char order[160];
    assert_int_equal(pthread_mutex_init(&crew.lock, NULL), 0);
    (void)snprintf(order, sizeof order,
                   "{\"repo\":\"acme/site\",\"labels\":[\"self-hosted\",\"microvm\"],\"count\":%d,"
                   "\"command\":\"sleep 600\"}",
                   JOBS);
    char *answer = talk("POST", "/_fake/jobs", order, "", 200);
    crew.jobs = json_loads(answer, 0, NULL);
    assert_int_equal(json_array_size(crew.jobs), JOBS);
    size_t before = requests();
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, serve_jobs, &crew), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    if (crew.failed > 0) {
        fail_msg("%zu jobs failed, such as: %s", crew.failed, crew.failure.message);
    }
    size_t calls = requests() - before;
    printf("%d jobs cost %zu REST calls: %zu.%02zu each\n", JOBS, calls, calls / JOBS,
           calls * 100 / JOBS % 100);
    assert_int_equal(logged("request", "generate-jitconfig", 201), JOBS);
    assert_int_equal(logged("token_minted", NULL, 0), 1);
    assert_true(calls * 10 <= 22 * JOBS);
    json_decref(crew.jobs);
    free(answer);
    pthread_mutex_destroy(&crew.lock);
}

static void registrations_alone_cost_one_call_each(void **state)
{
    struct github_scope s = org();
    size_t before = requests();
    for (int i = 0; i < RUNNERS; i++) {
        char name[64];
        struct github_jit jit;
        struct err e;
        (void)snprintf(name, sizeof name, "mf-many-%d", i);
        check(register_named(&s, name, &jit, &e), &e);
        assert_true(jit.runner_id > 0 && strlen(jit.config) > 2000);
        github_jit_fini(&jit);
    }
    assert_int_equal(requests() - before, RUNNERS);
}

static void a_repository_gets_runners_of_its_own(void **state)
{
    struct err e;
    struct github_jit jit;
    struct github_runner r;
    struct github_scope in_org = org();
    struct github_scope s = github_scope_parse("acme/site", 0);
    check(register_named(&s, "mf-repo-1", &jit, &e), &e);
    check(github_get_runner(github, &s, jit.runner_id, &r, &e), &e);
    assert_string_equal(r.name, "mf-repo-1");
    assert_false(r.online || r.busy);
    assert_int_equal(github_find_runner(github, &in_org, "mf-repo-1", &r, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    check(github_delete_runner(github, &s, jit.runner_id, &e), &e);
    assert_int_equal(github_delete_runner(github, &s, jit.runner_id, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(github_get_runner(github, &s, jit.runner_id, &r, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    github_jit_fini(&jit);
}

/* --- lists ------------------------------------------------------------------------------------ */

struct seen {
    int64_t ids[JOBS + RUNNERS + 16];
    size_t count;
};

static int note(void *arg, const struct github_runner *r)
{
    struct seen *seen = arg;
    assert_true(seen->count < COUNT_OF(seen->ids));
    for (size_t i = 0; i < seen->count; i++) {
        assert_true(seen->ids[i] != r->id);
    }
    seen->ids[seen->count++] = r->id;
    return 0;
}

static void a_list_goes_over_all_pages(void **state)
{
    struct err e;
    struct github_scope s = org();
    struct seen seen = {.count = 0};
    size_t before = requests();
    check(github_list_runners(github, &s, GITHUB_RECONCILE, note, &seen, &e), &e);
    assert_int_equal(seen.count, JOBS + RUNNERS);
    assert_int_equal(requests() - before, 3);
}

static void an_enterprise_servers_path_serves_the_same(void **state)
{
    struct err e;
    struct github *other = NULL;
    struct config c = config;
    struct github_scope s = org();
    struct seen seen = {.count = 0};
    char url[256];
    (void)snprintf(url, sizeof url, "%s/api/v3", fake_url);
    c.github.api_url = url;
    check(github_open(&c, NULL, &other, &e), &e);
    check(github_list_runners(other, &s, GITHUB_RECONCILE, note, &seen, &e), &e);
    assert_int_equal(seen.count, JOBS + RUNNERS);
    github_close(other);
}

/* --- names that are taken, runners at work ---------------------------------------------------- */

static void a_name_that_is_taken_is_made_anew(void **state)
{
    struct err e;
    struct github_jit first;
    struct github_jit second;
    struct github_runner r;
    struct github_scope s = org();
    check(register_named(&s, "mf-twice", &first, &e), &e);
    check(register_named(&s, "mf-twice", &second, &e), &e);
    assert_true(first.runner_id != second.runner_id);
    assert_string_not_equal(first.config, second.config);
    assert_int_equal(logged("request", "generate-jitconfig", 409), 1);
    check(github_find_runner(github, &s, "mf-twice", &r, &e), &e);
    assert_int_equal(r.id, second.runner_id);
    assert_int_equal(github_get_runner(github, &s, first.runner_id, &r, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    github_jit_fini(&first);
    github_jit_fini(&second);
}

/* A runner of that configuration at work, until it is killed. */
static pid_t start_work(const char *jit_config)
{
    const char *program = getenv("STANDIN");
    assert_non_null(program);
    pid_t pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0 && program != NULL) {
        (void)setenv("ACTIONS_RUNNER_INPUT_JITCONFIG", jit_config, 1);
        (void)execl(program, "Runner.Listener", "run", "--in-place", (char *)NULL);
        _exit(127);
    }
    free(talk("GET", "/_fake/wait?jobs_in_progress=1&timeout=60", "", "", 200));
    return pid;
}

static void a_runner_at_work_is_not_deleted(void **state)
{
    struct err e;
    struct github_jit jit;
    struct github_jit none;
    struct github_runner r;
    struct github_scope s = org();
    check(register_named(&s, "mf-busy", &jit, &e), &e);
    pid_t runner = start_work(jit.config);
    check(github_get_runner(github, &s, jit.runner_id, &r, &e), &e);
    assert_true(r.online && r.busy);
    assert_int_equal(github_delete_runner(github, &s, jit.runner_id, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(e.code, 422);
    assert_int_equal(register_named(&s, "mf-busy", &none, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(kill(runner, SIGKILL), 0);
    assert_int_equal(waitpid(runner, NULL, 0), runner);
    github_jit_fini(&jit);
}

/* --- refusals and limits ---------------------------------------------------------------------- */

static void an_unknown_group_and_owner_name_their_mend(void **state)
{
    struct err e;
    struct github_jit jit;
    struct github_scope s = org();
    struct github_scope nowhere = github_scope_parse("nowhere", 0);
    const struct github_register r = {
        .scope = &s, .name = "mf-none", .labels = &labels, .group = "Nobody's"};
    assert_int_equal(github_register_runner(github, &r, &jit, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "Nobody's"));
    assert_int_equal(register_named(&nowhere, "mf-none", &jit, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "not installed"));
}

/* The stand-in registers the runner and cuts the connection. On a connection that was used before,
 * libcurl itself asks once more; else the caller does. Either way the name is taken by then. */
static void an_answer_that_was_lost_is_made_good(void **state)
{
    struct err e;
    struct github_jit jit;
    struct github_scope s = org();
    size_t conflicts = logged("request", "generate-jitconfig", 409);
    tell("/_fake/faults", "[{\"operation\":\"generate-jitconfig\",\"times\":1,\"drop\":true}]");
    if (register_named(&s, "mf-lost", &jit, &e) != 0) {
        assert_int_equal(e.class, ERR_RETRY);
        check(register_named(&s, "mf-lost", &jit, &e), &e);
    }
    assert_int_equal(logged("request", "generate-jitconfig", 409), conflicts + 1);
    github_jit_fini(&jit);
}

/* Two handles with a ledger each on one file, as two processes have them: what one is told holds
 * for both, and nobody asks GitHub again. */
static void a_limit_told_to_one_holds_for_all(void **state)
{
    struct err e;
    struct github_runner r;
    struct github *other = NULL;
    struct ledger *second = NULL;
    struct github_scope s = org();
    check(ledger_open(getenv("LEDGER"), &second, &e), &e);
    check(github_open(&config, second, &other, &e), &e);
    check(github_find_runner(other, &s, "mf-twice", &r, &e), &e);
    tell("/_fake/faults",
         "[{\"operation\":\"list-runners\",\"times\":1,\"preset\":\"primary-rate-limit\"}]");
    assert_int_equal(github_find_runner(github, &s, "mf-twice", &r, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_true(e.retry_after_ms >= 1000);
    size_t before = requests();
    assert_int_equal(github_find_runner(other, &s, "mf-twice", &r, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_true(e.retry_after_ms > 0);
    assert_int_equal(requests(), before);
    github_close(other);
    ledger_close(second);
}

static void every_request_was_as_github_describes_it(void **state)
{
    assert_int_equal(logged("invalid_request", NULL, 0), 0);
    assert_int_equal(logged("internal_error", NULL, 0), 0);
    assert_true(requests() > JOBS + RUNNERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smooth_path_costs_at_most_2_2_calls_a_job),
        cmocka_unit_test(registrations_alone_cost_one_call_each),
        cmocka_unit_test(a_repository_gets_runners_of_its_own),
        cmocka_unit_test(a_list_goes_over_all_pages),
        cmocka_unit_test(an_enterprise_servers_path_serves_the_same),
        cmocka_unit_test(a_name_that_is_taken_is_made_anew),
        cmocka_unit_test(a_runner_at_work_is_not_deleted),
        cmocka_unit_test(an_unknown_group_and_owner_name_their_mend),
        cmocka_unit_test(an_answer_that_was_lost_is_made_good),
        cmocka_unit_test(a_limit_told_to_one_holds_for_all),
        cmocka_unit_test(every_request_was_as_github_describes_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
