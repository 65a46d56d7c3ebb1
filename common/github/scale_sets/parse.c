#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/github/json.h"
#include "common/github/scale_sets/internal.h"

#define JIT_CONFIG_BYTES_MAX ((size_t)128 * 1024)

struct slice set_text(const struct http_response *r)
{
    static const char mark[] = "\xef\xbb\xbf";
    struct slice text = buf_slice(&r->body);
    if (slice_starts_with(text, SLICE("\xef\xbb\xbf"))) {
        text = (struct slice){text.ptr + sizeof mark - 1, text.len - (sizeof mark - 1)};
    }
    return text;
}

static int64_t count_member(const json_t *object, const char *key)
{
    int64_t n = (int64_t)json_integer_value(json_object_get(object, key));
    return n > 0 ? n : 0;
}

/* It is sent as a header line or a part of an address. */
static bool is_plain(struct slice text, size_t most)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~') {
            return false;
        }
    }
    return text.len > 0 && text.len <= most;
}

static bool is_url(struct slice text)
{
    return is_plain(text, SET_URL_BYTES / 2 - 2) && (slice_starts_with(text, SLICE("https://")) ||
                                                     slice_starts_with(text, SLICE("http://")));
}

int set_parse_connection(struct slice body, struct set_connection *out, struct err *e)
{
    json_t *root = github_json_load(body);
    struct slice url = github_json_text(root, "url");
    struct slice token = github_json_text(root, "token");
    bool ok = is_url(url) && is_plain(token, GITHUB_TOKEN_BYTES - 1);
    while (ok && url.ptr[url.len - 1] == '/') {
        url.len--;
    }
    if (ok) {
        buf_reset(&out->url);
        buf_reset(&out->token);
        buf_append(&out->url, url);
        buf_append(&out->token, token);
    }
    json_decref(root);
    return ok ? 0 : github_json_senseless(e, "connection to the service of scale sets");
}

int set_parse_id(struct slice body, int64_t *id, struct err *e)
{
    json_t *root = github_json_load(body);
    int64_t found = count_member(root, "id");
    json_decref(root);
    if (found == 0) {
        return github_json_senseless(e, "scale set");
    }
    *id = found;
    return 0;
}

int set_parse_first_id(struct slice body, int64_t *id, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *list = json_object_get(root, "value");
    int64_t found = count_member(json_array_get(list, 0), "id");
    bool ok = json_is_array(list) && (found > 0 || json_array_size(list) == 0);
    json_decref(root);
    if (!ok) {
        return github_json_senseless(e, "list of the service of scale sets");
    }
    *id = found;
    return 0;
}

int set_parse_jit(struct slice body, struct github_jit *out, struct err *e)
{
    json_t *root = github_json_load(body);
    int64_t id = count_member(json_object_get(root, "runner"), "id");
    struct slice config = github_json_text(root, "encodedJITConfig");
    bool ok = id > 0 && is_plain(config, JIT_CONFIG_BYTES_MAX);
    if (ok) {
        *out = (struct github_jit){.runner_id = id, .config = slice_dup(config)};
    }
    json_decref(root);
    return ok ? 0 : github_json_senseless(e, "JIT configuration");
}

static void read_statistics(const json_t *object, struct github_set_statistics *out)
{
    *out =
        (struct github_set_statistics){.available = count_member(object, "totalAvailableJobs"),
                                       .assigned = count_member(object, "totalAssignedJobs"),
                                       .running = count_member(object, "totalRunningJobs"),
                                       .registered = count_member(object, "totalRegisteredRunners"),
                                       .busy = count_member(object, "totalBusyRunners"),
                                       .idle = count_member(object, "totalIdleRunners")};
}

void set_session_facts_fini(struct set_session_facts *f)
{
    if (f->token.data != NULL) {
        explicit_bzero(f->token.data, f->token.cap);
    }
    buf_fini(&f->token);
    buf_fini(&f->url);
}

int set_parse_session(struct slice body, struct set_session_facts *out, struct err *e)
{
    json_t *root = github_json_load(body);
    struct slice id = github_json_text(root, "sessionId");
    struct slice url = github_json_text(root, "messageQueueUrl");
    struct slice token = github_json_text(root, "messageQueueAccessToken");
    const json_t *statistics = json_object_get(root, "statistics");
    bool ok = is_plain(id, sizeof out->id - 1) && is_url(url) &&
              is_plain(token, GITHUB_TOKEN_BYTES - 1) && json_is_object(statistics);
    if (ok) {
        *out = (struct set_session_facts){.id = ""};
        memcpy(out->id, id.ptr, id.len);
        buf_init(&out->url, SET_URL_BYTES / 2);
        buf_init(&out->token, GITHUB_TOKEN_BYTES);
        buf_append(&out->url, url);
        buf_append(&out->token, token);
        read_statistics(statistics, &out->statistics);
    }
    json_decref(root);
    return ok ? 0 : github_json_senseless(e, "session of a scale set");
}

int64_t github_set_job_id(struct slice guid)
{
    uint64_t made = hash_bytes(HASH_START, guid) & (uint64_t)(GITHUB_SET_JOB_ID_MIN - 1);
    return GITHUB_SET_JOB_ID_MIN + (int64_t)made;
}

/* --- jobs --- */

static bool read_kind(const json_t *item, enum github_set_event *out)
{
    static const char *const names[] = {[SET_JOB_AVAILABLE] = "JobAvailable",
                                        [SET_JOB_ASSIGNED] = "JobAssigned",
                                        [SET_JOB_STARTED] = "JobStarted",
                                        [SET_JOB_COMPLETED] = "JobCompleted"};
    struct slice name = github_json_text(item, "messageType");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_eq_cstr(name, names[i])) {
            *out = (enum github_set_event)i;
            return true;
        }
    }
    return false;
}

/* A time before 1970 stands for none. */
static int64_t time_member(const json_t *item, const char *key)
{
    char text[48];
    github_json_copy(item, key, text, sizeof text);
    int64_t ms = clock_parse_utc(text);
    return ms > 0 ? ms : 0;
}

/* The words of webhooks for what the service says; any other stays itself. */
static void read_result(const json_t *item, char out[CONCLUSION_SIZE])
{
    static const char *const words[][2] = {{"succeeded", "success"},
                                           {"failed", "failure"},
                                           {"canceled", "cancelled"},
                                           {"abandoned", "failure"}};
    struct slice result = github_json_text(item, "result");
    github_json_copy(item, "result", out, CONCLUSION_SIZE);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (slice_eq_nocase(result, slice_of(words[i][0]))) {
            (void)snprintf(out, CONCLUSION_SIZE, "%s", words[i][1]);
        }
    }
}

static void read_labels(const json_t *list, char out[JOB_LABELS_SIZE])
{
    struct slice labels[JOB_LABELS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < COUNT_OF(labels); i++) {
        const json_t *label = json_array_get(list, i);
        if (json_is_string(label)) {
            labels[n++] = (struct slice){json_string_value(label), json_string_length(label)};
        }
    }
    job_labels_join(labels, n, out);
}

/* The reference's file: "acme/web/.github/workflows/ci.yml@refs/heads/main". */
static void read_workflow(const json_t *item, char out[WORKFLOW_SIZE])
{
    struct slice rest = github_json_text(item, "jobWorkflowRef");
    struct slice path;
    struct slice part;
    slice_cut(rest, '@', &path, &rest);
    for (int i = 0; i < 2; i++) {
        slice_cut(path, '/', &part, &path);
    }
    (void)snprintf(out, WORKFLOW_SIZE, "%.*s", SLICE_ARG(path));
}

static bool read_facts(const json_t *item, struct job *job)
{
    struct slice owner = github_json_text(item, "ownerName");
    struct slice repository = github_json_text(item, "repositoryName");
    struct slice guid = github_json_text(item, "jobId");
    struct slice name = github_json_text(item, "jobDisplayName");
    *job = (struct job){.id = github_set_job_id(guid),
                        .run_id = count_member(item, "workflowRunId"),
                        .created_ms = time_member(item, "queueTime")};
    int length = snprintf(job->repository, sizeof job->repository, "%.*s/%.*s", SLICE_ARG(owner),
                          SLICE_ARG(repository));
    (void)snprintf(job->name, sizeof job->name, "%.*s", SLICE_ARG(name));
    read_workflow(item, job->workflow);
    read_labels(json_object_get(item, "requestLabels"), job->labels);
    github_json_copy(item, "runnerName", job->runner_name, sizeof job->runner_name);
    return guid.len > 0 && owner.len > 0 && repository.len > 0 &&
           length < (int)sizeof job->repository;
}

/* One that is not understood is left out: the statistics count it. */
static bool read_job(const json_t *item, struct github_set_job *out)
{
    *out = (struct github_set_job){.request_id = count_member(item, "runnerRequestId")};
    if (!read_kind(item, &out->what)) {
        return false;
    }
    if (out->what == SET_JOB_AVAILABLE) {
        return out->request_id > 0;
    }
    struct job_event *ev = &out->event;
    bool ended = out->what == SET_JOB_COMPLETED;
    if (!read_facts(item, &ev->job)) {
        return false;
    }
    ev->runner_id = count_member(item, "runnerId");
    ev->action = ended ? JOB_ACTION_COMPLETED : JOB_ACTION_IN_PROGRESS;
    (void)snprintf(ev->status, sizeof ev->status, "%s", ended ? "completed" : "in_progress");
    if (ended) {
        read_result(item, ev->job.conclusion);
    }
    return true;
}

void github_set_message_fini(struct github_set_message *m)
{
    free(m->jobs);
    *m = (struct github_set_message){.id = 0};
}

static void read_jobs(const json_t *list, struct github_set_message *m)
{
    size_t n = json_array_size(list);
    n = n < GITHUB_SET_JOBS_MAX ? n : GITHUB_SET_JOBS_MAX;
    m->jobs = calloc(n + 1, sizeof *m->jobs);
    ASSERT(m->jobs != NULL);
    for (size_t i = 0; i < n; i++) {
        m->count += read_job(json_array_get(list, i), &m->jobs[m->count]) ? 1 : 0;
    }
}

/* A message of a kind that is not known, or whose jobs cannot be read, still has an id by which it is deleted. */
int set_parse_message(struct slice body, struct github_set_message *out, struct err *e)
{
    json_t *root = github_json_load(body);
    const json_t *statistics = json_object_get(root, "statistics");
    struct github_set_message m = {.id = count_member(root, "messageId")};
    bool ok = m.id > 0 && json_is_object(statistics);
    if (ok) {
        json_t *jobs = github_json_load(github_json_text(root, "body"));
        read_statistics(statistics, &m.statistics);
        read_jobs(jobs, &m);
        json_decref(jobs);
        *out = m;
    }
    json_decref(root);
    return ok ? 0 : github_json_senseless(e, "message of a scale set");
}
