#include "deploy/image/standin/listener.h"

#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/random.h"
#include "deploy/image/standin/standin_runner.h"

#define VERSION "2.337.0"
#define POLL_TIMEOUT_MS 100000
#define CONFLICT_RETRY_MS 5000
#define CONFLICT_TRIES 48 /* 4 minutes */
#define CLOCK_TRIES 60    /* half an hour at the real one's pace */
#define ACQUIRE_TRIES 5
#define MESSAGE_FAILURES 60
#ifdef __aarch64__
#define ARCHITECTURE "ARM64"
#else
#define ARCHITECTURE "X64"
#endif
#define ABOUT_RUNNER                                                                               \
    "runnerVersion=" VERSION "&os=Linux&architecture=" ARCHITECTURE "&disableUpdate=true"

static int stop_fd; /* a signalfd: INT and TERM ask for the end */

void say(const char *format, ...)
{
    char at[32];
    char text[1024];
    struct tm parts;
    time_t now = time(NULL);
    va_list args;
    (void)gmtime_r(&now, &parts);
    (void)strftime(at, sizeof at, "%Y-%m-%d %H:%M:%SZ", &parts);
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)printf("%s: %s\n", at, text);
    (void)fflush(stdout);
}

/* --- the session ------------------------------------------------------------------------------ */

NORETURN static void leave(struct runner *r, int code)
{
    json_t *answer = NULL;
    char url[600];
    if (r->session[0] != '\0') {
        (void)snprintf(url, sizeof url, "%ssession", r->broker);
        (void)http_json("DELETE", url, r->token, NULL, &answer);
    }
    exit(code);
}

/* Sleeps, unless somebody asks for the end. */
static void pause_or_leave(struct runner *r, int64_t ms)
{
    struct pollfd p = {.fd = stop_fd, .events = POLLIN};
    if (poll(&p, 1, (int)ms) > 0) {
        leave(r, EXIT_DONE);
    }
}

static void make_assertion(const struct runner *r, struct buf *jwt)
{
    static const char hex[] = "0123456789abcdef";
    char text[2048];
    char id[33] = {0};
    unsigned char bytes[16];
    struct buf signature;
    random_bytes(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        id[i * 2] = hex[bytes[i] >> 4];
        id[i * 2 + 1] = hex[bytes[i] & 15];
    }
    long long now = (long long)time(NULL);
    (void)snprintf(text, sizeof text, "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
                   r->fips ? "PS256" : "RS256");
    codec_base64url(jwt, slice_of(text));
    buf_append_byte(jwt, '.');
    (void)snprintf(
        text, sizeof text,
        "{\"iss\":\"%s\",\"sub\":\"%s\",\"aud\":\"%s\",\"jti\":\"%s\",\"nbf\":%lld,\"exp\":%lld}",
        r->client_id, r->client_id, r->authorization, id, now, now + 300);
    codec_base64url(jwt, slice_of(text));
    buf_init(&signature, 1024);
    if (!sign_jwt(r, jwt, &signature)) {
        puts("The key of the JIT configuration cannot sign");
        exit(EXIT_TERMINATED);
    }
    buf_append_byte(jwt, '.');
    buf_append(jwt, buf_slice(&signature));
    buf_fini(&signature);
}

/* One request for a token: its status; the answer's JSON is *out. */
static int ask_token(const struct runner *r, json_t **out)
{
    struct buf jwt;
    struct buf body;
    struct buf answer;
    struct call c = {.method = "POST",
                     .url = r->authorization,
                     .type = "application/x-www-form-urlencoded; charset=utf-8",
                     .body = &body,
                     .timeout_ms = 30000,
                     .wake_fd = -1};
    buf_init(&jwt, 8192);
    buf_init(&body, 16384);
    buf_init(&answer, ANSWER_MAX);
    make_assertion(r, &jwt);
    buf_append_cstr(&body,
                    "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3A"
                    "oauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=");
    buf_append(&body, buf_slice(&jwt));
    int status = http_call(&c, &answer);
    *out = answer.len > 0 ? json_loadb(answer.data, answer.len, 0, NULL) : NULL;
    buf_fini(&answer);
    buf_fini(&body);
    buf_fini(&jwt);
    return status;
}

/* Ends the program if the registration is gone. */
static void fetch_token(struct runner *r)
{
    int clock_tries = 0;
    for (;;) {
        json_t *answer = NULL;
        char why[512] = "";
        int status = ask_token(r, &answer);
        bool ok = status == 200 && json_take(answer, "access_token", r->token, sizeof r->token);
        (void)json_take(answer, "error_description", why, sizeof why);
        json_decref(answer);
        if (ok) {
            return;
        }
        bool clock_off = strstr(why, "Current server time is") != NULL;
        if (status == 400 && (!clock_off || ++clock_tries > CLOCK_TRIES)) {
            say("The runner registration has been deleted from the server, please re-configure. "
                "(%s)",
                why);
            exit(EXIT_TERMINATED);
        }
        pause_or_leave(r, RETRY_MS);
    }
}

/* With the runner's token, and once more with a new one after a 401. body is owned. */
static int ask(struct runner *r, const char *method, const char *url, json_t *body, json_t **out)
{
    int status = http_json(method, url, r->token, json_incref(body), out);
    if (status == 401) {
        json_decref(*out);
        fetch_token(r);
        status = http_json(method, url, r->token, json_incref(body), out);
    }
    json_decref(body);
    return status;
}

static void open_session(struct runner *r)
{
    char url[600];
    char owner[200];
    int conflicts = 0;
    (void)snprintf(url, sizeof url, "%ssession", r->broker);
    (void)snprintf(owner, sizeof owner, "%s (PID: %d)", r->name, (int)getpid());
    for (;;) {
        json_t *answer = NULL;
        json_t *body = json_pack("{s:s, s:s, s:b, s:{s:I, s:s, s:s, s:s}}", "sessionId",
                                 "00000000-0000-0000-0000-000000000000", "ownerName", owner,
                                 "useFipsEncryption", 0, "agent", "id", (json_int_t)r->agent_id,
                                 "name", r->name, "version", VERSION, "osDescription", "Linux");
        int status = ask(r, "POST", url, body, &answer);
        bool ok = status == 200 && json_take(answer, "sessionId", r->session, sizeof r->session);
        json_decref(answer);
        if (ok) {
            return;
        }
        if (status == 409 && conflicts++ == 0) {
            say("A session for this runner already exists.");
        } else if (status == 409 && conflicts > CONFLICT_TRIES) {
            exit(EXIT_CONFLICT);
        } else if (status == 403 || status == 404) {
            say("The runner registration has been deleted from the server, please re-configure.");
            exit(EXIT_TERMINATED);
        }
        pause_or_leave(r, status == 409 ? CONFLICT_RETRY_MS : RETRY_MS);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

/* One long poll; wake_fd: what else ends it. The status; a message is *out. */
static int poll_message(struct runner *r, const char *state, int wake_fd, json_t **out)
{
    char url[1200];
    struct buf answer;
    struct call c = {.method = "GET",
                     .url = url,
                     .token = r->token,
                     .timeout_ms = POLL_TIMEOUT_MS,
                     .wake_fd = wake_fd};
    (void)snprintf(url, sizeof url, "%smessage?sessionId=%s&status=%s&" ABOUT_RUNNER, r->broker,
                   r->session, state);
    buf_init(&answer, ANSWER_MAX);
    int status = http_call(&c, &answer);
    *out = answer.len > 0 && status > 0 ? json_loadb(answer.data, answer.len, 0, NULL) : NULL;
    buf_fini(&answer);
    return status;
}

/* What the broker says of an error; ends the program where there is no more to do. */
static void act_on_error(struct runner *r, int status, json_t *answer)
{
    char kind[64] = "";
    char source[64] = "";
    (void)json_take(answer, "errorKind", kind, sizeof kind);
    if (!json_take(answer, "source", source, sizeof source) ||
        strcmp(source, "actions-broker-listener") != 0) {
        kind[0] = '\0';
    }
    if (strcmp(kind, "RunnerNotFound") == 0) {
        say("The runner no longer exists on the server. Cleaning up local configuration.");
        runner_remove_files(r);
        exit(EXIT_DONE);
    }
    if (strcmp(kind, "RunnerVersionTooOld") == 0) {
        say("Runner version v" VERSION " is deprecated and cannot receive messages.");
        exit(getenv("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE") != NULL
                 ? EXIT_OLD
                 : EXIT_TERMINATED);
    }
    if (strcmp(kind, "RunnerSessionInvalid") == 0) {
        r->session[0] = '\0';
        open_session(r);
    } else if (status == 401) {
        fetch_token(r);
    }
}

/* --- a job ------------------------------------------------------------------------------------ */

/* As the real one: best effort; a job that is gone is the end of an ephemeral runner. */
static void acknowledge(struct runner *r, const struct job *job)
{
    char url[1200];
    char kind[64];
    json_t *answer = NULL;
    (void)snprintf(url, sizeof url, "%sacknowledge?sessionId=%s&status=Busy&" ABOUT_RUNNER,
                   r->broker, r->session);
    int status = http_json("POST", url, r->token,
                           json_pack("{s:s}", "runnerRequestId", job->request), &answer);
    if (status / 100 != 2 && json_take(answer, "errorKind", kind, sizeof kind) &&
        strcmp(kind, "AcknowledgeJobNotFound") == 0) {
        say("The job is no longer there.");
        leave(r, EXIT_DONE);
    }
    json_decref(answer);
}

static bool take_endpoint(struct job *job, json_t *answer)
{
    json_t *list = json_object_get(json_object_get(answer, "resources"), "endpoints");
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        json_t *parameters = json_object_get(json_object_get(one, "authorization"), "parameters");
        if (name != NULL && strcmp(name, "SystemVssConnection") == 0) {
            return json_take(parameters, "AccessToken", job->token, sizeof job->token) &&
                   json_take(json_object_get(one, "data"), "ResultsServiceUrl", job->results,
                             sizeof job->results);
        }
    }
    return false;
}

static bool take_job(struct job *job, json_t *answer)
{
    json_t *step = json_array_get(json_object_get(answer, "steps"), 0);
    json_t *map = json_object_get(json_object_get(step, "inputs"), "map");
    json_t *value = json_object_get(json_array_get(map, 0), "Value");
    const char *command = json_string_value(json_object_get(value, "lit"));
    if (command == NULL || !take_endpoint(job, answer)) {
        return false;
    }
    job->command = slice_dup(slice_of(command));
    return json_take(answer, "jobId", job->id, sizeof job->id) &&
           json_take(answer, "jobDisplayName", job->name, sizeof job->name) &&
           json_take(json_object_get(answer, "plan"), "planId", job->plan, sizeof job->plan) &&
           json_take(step, "id", job->step, sizeof job->step);
}

/* False: somebody else has it, or nobody; the runner listens on. */
static bool acquire(struct runner *r, struct job *job, const char *billing_owner)
{
    char url[600];
    (void)snprintf(url, sizeof url, "%sacquirejob", job->run);
    for (int i = 0; i < ACQUIRE_TRIES; i++) {
        json_t *answer = NULL;
        char why[256] = "";
        json_t *body = json_pack("{s:s, s:s, s:s}", "jobMessageId", job->request, "runnerOS",
                                 "Linux", "billingOwnerId", billing_owner);
        int status = ask(r, "POST", url, body, &answer);
        bool ok = status == 200 && take_job(job, answer);
        bool refused = (status == 404 || status == 409 || status == 422) &&
                       json_take(answer, "errorMessage", why, sizeof why);
        json_decref(answer);
        if (ok) {
            return true;
        }
        if (refused) {
            say("Skipping message Job. %s", why);
            return false;
        }
        pause_or_leave(r, RETRY_MS);
    }
    return false;
}

static pid_t start_process(struct runner *r, struct job *job, bool renewer)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_TERMINATED);
    }
    if (renewer) {
        job_renew_for_ever(job);
    }
    job_work(r, job);
}

/* Polls while the worker works; passes a cancellation, or the listener's own end, on to it. */
static void watch_worker(struct runner *r, pid_t worker)
{
    int pidfd = (int)syscall(SYS_pidfd_open, worker, 0);
    int wake_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event of_worker = {.events = EPOLLIN, .data.fd = pidfd};
    struct epoll_event of_stop = {.events = EPOLLIN, .data.fd = stop_fd};
    (void)epoll_ctl(wake_fd, EPOLL_CTL_ADD, pidfd, &of_worker);
    (void)epoll_ctl(wake_fd, EPOLL_CTL_ADD, stop_fd, &of_stop);
    for (;;) {
        struct epoll_event event;
        json_t *message = NULL;
        char type[64] = "";
        int status = poll_message(r, "Busy", wake_fd, &message);
        bool cancelled = status == 200 && json_take(message, "messageType", type, sizeof type) &&
                         strcmp(type, "JobCancellation") == 0;
        json_decref(message);
        bool failed = status != CALL_WOKEN && status != 200 && status != 202;
        int n = epoll_wait(wake_fd, &event, 1, failed ? RETRY_MS : 0);
        if (n > 0 && event.data.fd == pidfd) {
            break;
        }
        if (n > 0) {
            (void)epoll_ctl(wake_fd, EPOLL_CTL_DEL, stop_fd, &of_stop);
        }
        if (n > 0 || cancelled) {
            (void)kill(worker, SIGINT);
        }
    }
    close(wake_fd);
    close(pidfd);
}

static void run_job(struct runner *r, struct job *job)
{
    int status = 0;
    if (!job_renew(job)) {
        say("The job was not started: its lock was not renewed.");
        return;
    }
    say("Running job: %s", job->name);
    pid_t worker = start_process(r, job, false);
    pid_t renewer = start_process(r, job, true);
    watch_worker(r, worker);
    while (waitpid(worker, &status, 0) < 0 && errno == EINTR) {
    }
    if (renewer > 0) {
        (void)kill(renewer, SIGKILL);
        (void)waitpid(renewer, NULL, 0);
    }
    if (!WIFEXITED(status)) {
        (void)job_complete(job, "failed");
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : JOB_FAILED;
    say("Job %s completed with result: %s", job->name,
        code == JOB_SUCCEEDED  ? "Succeeded"
        : code == JOB_CANCELED ? "Canceled"
                               : "Failed");
    runner_remove_files(r);
    leave(r, EXIT_DONE);
}

/* Acts on a message; returns if there is more to listen to. */
static void take_message(struct runner *r, json_t *message)
{
    char type[64] = "";
    char text[4096];
    char owner[128] = "";
    struct job job = {.command = NULL};
    (void)json_take(message, "messageType", type, sizeof type);
    if (strcmp(type, "RunnerShutdown") == 0) {
        leave(r, EXIT_DONE);
    }
    if (strcmp(type, "ForceTokenRefresh") == 0) {
        fetch_token(r);
    }
    if (strcmp(type, "RunnerJobRequest") != 0 || !json_take(message, "body", text, sizeof text)) {
        return;
    }
    json_t *body = json_loads(text, 0, NULL);
    bool ok = json_take(body, "runner_request_id", job.request, sizeof job.request) &&
              json_take(body, "run_service_url", job.run, sizeof job.run) &&
              json_take(body, "id", job.number, sizeof job.number);
    (void)json_take(body, "billing_owner_id", owner, sizeof owner);
    bool wanted = json_is_true(json_object_get(body, "should_acknowledge"));
    json_decref(body);
    if (ok && wanted) {
        acknowledge(r, &job);
    }
    if (ok && acquire(r, &job, owner)) {
        run_job(r, &job);
    }
    free(job.command);
}

NORETURN static void listen_for_jobs(struct runner *r)
{
    int failures = 0;
    for (;;) {
        json_t *message = NULL;
        int status = poll_message(r, "Online", stop_fd, &message);
        if (status == CALL_WOKEN) {
            leave(r, EXIT_DONE);
        } else if (status == 200) {
            failures = 0;
            take_message(r, message);
        } else if (status == 202) {
            failures = 0;
        } else if (++failures > MESSAGE_FAILURES) {
            say("The server cannot be reached.");
            leave(r, EXIT_RETRY);
        } else {
            act_on_error(r, status, message);
            pause_or_leave(r, RETRY_MS);
        }
        json_decref(message);
    }
}

/* The folder above bin. */
static void find_root(struct runner *r)
{
    ssize_t n = readlink("/proc/self/exe", r->root, sizeof r->root - 1);
    r->root[n > 0 ? n : 0] = '\0';
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(r->root, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
    }
}

int standin_runner(int argc, char **argv)
{
    static struct runner r;
    sigset_t set;
    const char *command = argc > 1 ? argv[1] : "run";
    if (strcmp(command, "--version") == 0) {
        (void)printf(VERSION "\n");
        return EXIT_DONE;
    }
    if (strcmp(command, "warmup") == 0) {
        return EXIT_DONE;
    }
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    stop_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    (void)signal(SIGPIPE, SIG_IGN);
    /* --in-place: files stay in memory, and the job runs in this folder. */
    if (argc < 3 || strcmp(argv[2], "--in-place") != 0) {
        find_root(&r);
    }
    if (stop_fd < 0 || !runner_configure(&r)) {
        say("The JIT configuration cannot be read.");
        return EXIT_TERMINATED;
    }
    fetch_token(&r);
    open_session(&r);
    say("Listening for Jobs");
    listen_for_jobs(&r);
}
