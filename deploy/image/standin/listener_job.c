#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "deploy/image/standin/listener.h"

#define TRIES 5
#define RENEW_EVERY_MS 60000
#define LOG_MAX ((size_t)1 << 20)
#define INT_MS 7500 /* from INT to TERM, and then to KILL */
#define TERM_MS 2500
#define RECEIVER "twirp/results.services.receiver.Receiver/"
#define UPDATE "twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate"

/* --- calls about the job ---------------------------------------------------------------------- */

static void pause_ms(int64_t ms)
{
    clock_sleep_until(clock_mono_ms() + ms);
}

/* A call with the job's token, up to 5 tries; the status, and the answer if out is not NULL. */
static int ask(const struct job *job, const char *base, const char *path, json_t *body,
               json_t **out)
{
    char url[1024];
    int status = 0;
    (void)snprintf(url, sizeof url, "%s%s", base, path);
    for (int i = 0; i < TRIES; i++) {
        json_t *answer = NULL;
        status = http_json("POST", url, job->token, json_deep_copy(body), &answer);
        bool final = status / 100 == 2 || status == 401 || status == 404;
        if (final && out != NULL) {
            *out = answer;
            return status;
        }
        json_decref(answer);
        if (final) {
            return status;
        }
        pause_ms(RETRY_MS);
    }
    return status;
}

bool job_renew(const struct job *job)
{
    json_t *body = json_pack("{s:s, s:s}", "planId", job->plan, "jobId", job->id);
    int status = ask(job, job->run, "renewjob", body, NULL);
    json_decref(body);
    return status == 200;
}

NORETURN void job_renew_for_ever(const struct job *job)
{
    do {
        pause_ms(RENEW_EVERY_MS);
    } while (job_renew(job));
    _exit(0);
}

bool job_complete(const struct job *job, const char *conclusion)
{
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:{}, s:[], s:[], s:[]}", "planId", job->plan, "jobId", job->id,
                  "conclusion", conclusion, "outputs", "stepResults", "annotations", "telemetry");
    int status = ask(job, job->run, "completejob", body, NULL);
    json_decref(body);
    return status == 200;
}

static void time_now(char out[40], const char *fraction)
{
    time_t now = time(NULL);
    struct tm parts;
    char text[32];
    (void)gmtime_r(&now, &parts);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out, 40, "%s%sZ", text, fraction);
}

/* status and conclusion: 3 in progress, 6 completed; 2 success, 3 failure, 4 cancelled. */
static void update_step(const struct job *job, int status, int conclusion)
{
    char at[40];
    time_now(at, ".000");
    json_t *step = json_pack("{s:s, s:i, s:s, s:i, s:i, s:s}", "external_id", job->step, "number",
                             1, "name", "Run command", "status", status, "conclusion", conclusion,
                             status == 3 ? "started_at" : "completed_at", at);
    json_t *body =
        json_pack("{s:[o], s:i, s:s, s:s}", "steps", step, "change_order", 1,
                  "workflow_run_backend_id", job->plan, "workflow_job_run_backend_id", job->id);
    (void)ask(job, job->results, UPDATE, body, NULL);
    json_decref(body);
}

/* --- the log ---------------------------------------------------------------------------------- */

static bool put(const char *url, const char *headers, const struct buf *body)
{
    struct buf answer;
    struct call c = {.method = "PUT",
                     .url = url,
                     .headers = headers,
                     .body = body,
                     .timeout_ms = 30000,
                     .wake_fd = -1};
    buf_init(&answer, ANSWER_MAX);
    int status = 0;
    for (int i = 0; i < TRIES && status / 100 != 2; i++) {
        if (i > 0) {
            pause_ms(RETRY_MS);
        }
        status = http_call(&c, &answer);
    }
    buf_fini(&answer);
    return status / 100 == 2;
}

/* As the real one: an append blob, one piece, sealed. */
static void upload_log(const struct job *job, const struct buf *log)
{
    char url[2048];
    char more[2100];
    char at[40];
    json_t *answer = NULL;
    json_t *ids = json_pack("{s:s, s:s, s:s}", "workflow_run_backend_id", job->plan,
                            "workflow_job_run_backend_id", job->id, "step_backend_id", job->step);
    if (log->len == 0 ||
        ask(job, job->results, RECEIVER "GetStepLogsSignedBlobURL", ids, &answer) != 200 ||
        !json_take(answer, "logs_url", url, sizeof url)) {
        json_decref(answer);
        json_decref(ids);
        return;
    }
    (void)snprintf(more, sizeof more, "%s&comp=appendblock&seal=true", url);
    if (put(url, "x-ms-blob-type: AppendBlob\r\n", NULL) &&
        put(more, "x-ms-blob-sealed: True\r\n", log)) {
        time_now(at, ".0000000");
        (void)json_object_set_new(ids, "uploaded_at", json_string(at));
        (void)json_object_set_new(ids, "line_count", json_integer(1));
        (void)ask(job, job->results, RECEIVER "CreateStepLogsMetadata", ids, NULL);
    }
    json_decref(answer);
    json_decref(ids);
}

/* Each line with its time; of a long log the end is kept. */
static void add_output(struct buf *log, struct slice text, bool *at_line_start)
{
    char at[40];
    time_now(at, ".0000000");
    while (text.len > 0) {
        const char *newline = memchr(text.ptr, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.ptr) + 1;
        if (log->len > LOG_MAX) {
            memmove(log->data, log->data + log->len / 2, log->len - log->len / 2);
            log->len -= log->len / 2;
        }
        if (*at_line_start) {
            buf_printf(log, "%s ", at);
        }
        buf_append(log, (struct slice){text.ptr, len});
        *at_line_start = newline != NULL;
        text.ptr += len;
        text.len -= len;
    }
}

/* --- the step --------------------------------------------------------------------------------- */

static void enter_workspace(const struct runner *r, const struct job *job)
{
    char path[PATH_MAX + 512];
    if (r->root[0] != '\0') {
        (void)snprintf(path, sizeof path, "%s/%s", r->root, r->work);
        (void)mkdir(path, 0755);
        (void)snprintf(path, sizeof path, "%s/%s/%s", r->root, r->work, job->number);
        (void)mkdir(path, 0755);
        if (chdir(path) != 0) {
            _exit(126);
        }
    }
    if (getcwd(path, sizeof path) != NULL) {
        (void)setenv("GITHUB_WORKSPACE", path, 1);
    }
}

NORETURN static void exec_step(const struct runner *r, const struct job *job, int output)
{
    sigset_t none;
    sigemptyset(&none);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0);
    (void)dup2(output, 1);
    (void)dup2(output, 2);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)dup2(null, 0);
    (void)close_range(3, ~0U, 0);
    enter_workspace(r, job);
    (void)setenv("CI", "true", 1);
    (void)setenv("GITHUB_ACTIONS", "true", 1);
    (void)setenv("GITHUB_JOB", job->name, 1);
    (void)setenv("RUNNER_NAME", r->name, 1);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execl("/bin/sh", "sh", "-c", job->command, (char *)NULL);
    _exit(126);
}

struct step {
    pid_t pid;
    int output;
    int pidfd;
    int signals; /* a signalfd: INT and TERM cancel the job */
    int cancels; /* signals sent so far */
    int64_t next_ms;
};

/* INT, then TERM, then KILL to all of the step's processes. */
static void cancel_further(struct step *s)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    static const int64_t wait_ms[] = {INT_MS, TERM_MS};
    (void)kill(-s->pid, signals[s->cancels]);
    s->next_ms =
        s->cancels < (int)COUNT_OF(wait_ms) ? clock_mono_ms() + wait_ms[s->cancels] : INT64_MAX;
    s->cancels++;
}

static void take_output(const struct step *s, struct buf *log, bool *at_line_start)
{
    char chunk[4096];
    ssize_t len;
    while ((len = read(s->output, chunk, sizeof chunk)) > 0) {
        add_output(log, (struct slice){chunk, (size_t)len}, at_line_start);
    }
}

/* Until the shell has ended; what it leaves behind may hold its output open. */
static void follow_step(struct step *s, struct buf *log)
{
    bool at_line_start = true;
    bool ended = false;
    while (!ended) {
        struct pollfd p[] = {{.fd = s->output, .events = POLLIN},
                             {.fd = s->signals, .events = POLLIN},
                             {.fd = s->pidfd, .events = POLLIN}};
        int64_t left_ms = s->next_ms == INT64_MAX ? -1 : s->next_ms - clock_mono_ms();
        int n = poll(p, COUNT_OF(p), left_ms < -1 ? 0 : (int)left_ms);
        if (n == 0) {
            cancel_further(s);
        } else if (n > 0 && p[1].revents != 0) {
            struct signalfd_siginfo info;
            (void)!read(s->signals, &info, sizeof info);
            if (s->cancels == 0) {
                cancel_further(s);
            }
        }
        ended = n > 0 && p[2].revents != 0;
        take_output(s, log, &at_line_start);
        if (n > 0 && (p[0].revents & POLLHUP) != 0) {
            close(s->output);
            s->output = -1;
        }
    }
    if (!at_line_start) {
        buf_append_cstr(log, "\n");
    }
}

/* The exit code of the command; *canceled if somebody wanted its end. */
static int run_step(const struct runner *r, const struct job *job, struct buf *log, bool *canceled)
{
    sigset_t set;
    int fds[2];
    int status = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    struct step s = {.signals = signalfd(-1, &set, SFD_CLOEXEC), .next_ms = INT64_MAX};
    if (s.signals < 0 || pipe2(fds, O_CLOEXEC) != 0) {
        return 125;
    }
    s.pid = fork();
    if (s.pid == 0) {
        exec_step(r, job, fds[1]);
    }
    close(fds[1]);
    s.output = fds[0];
    s.pidfd = s.pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, s.pid, 0);
    if (s.pidfd < 0 || fcntl(s.output, F_SETFL, O_NONBLOCK) != 0) {
        return 125;
    }
    (void)setpgid(s.pid, s.pid);
    follow_step(&s, log);
    while (waitpid(s.pid, &status, 0) < 0 && errno == EINTR) {
    }
    *canceled = s.cancels > 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

NORETURN void job_work(const struct runner *r, const struct job *job)
{
    char at[40];
    bool canceled = false;
    struct buf log;
    buf_init(&log, 4 * LOG_MAX);
    update_step(job, 3, 0);
    int code = run_step(r, job, &log, &canceled);
    time_now(at, ".0000000");
    if (canceled) {
        buf_printf(&log, "%s ##[error]The operation was canceled.\n", at);
    } else if (code != 0) {
        buf_printf(&log, "%s ##[error]Process completed with exit code %d.\n", at, code);
    }
    upload_log(job, &log);
    update_step(job, 6, canceled ? 4 : code == 0 ? 2 : 3);
    (void)job_complete(job, canceled ? "canceled" : code == 0 ? "succeeded" : "failed");
    _exit(canceled ? JOB_CANCELED : code == 0 ? JOB_SUCCEEDED : JOB_FAILED);
}
