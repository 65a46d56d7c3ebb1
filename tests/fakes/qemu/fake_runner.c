#include <curl/curl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "tests/fakes/qemu/fake_qemu.h"

#define ANSWER_MAX ((size_t)1 << 20)
#define OUTPUT_MAX ((size_t)1 << 16)
#define POLL_SECONDS 10
#define RUNNER_FAILED 1

struct runner {
    CURL *curl;
    struct curl_slist *headers;
    char base[512];
    char session[256];
};

static void say(const char *text)
{
    (void)printf("%s\n", text);
    (void)fflush(stdout);
}

/* --- the JIT config ------------------------------------------------------------------------- */

/* JSON in base64; NULL if it is not. */
static json_t *layer(struct slice text)
{
    struct buf plain;
    json_t *tree = NULL;
    buf_init(&plain, PAYLOAD_CONFIG_MAX);
    if (codec_unbase64(&plain, text)) {
        size_t skip = plain.len >= 3 && memcmp(plain.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        tree = json_loadb(plain.data + skip, plain.len - skip, 0, NULL);
    }
    buf_fini(&plain);
    return tree;
}

static bool read_config(struct slice jit_config, struct runner *r)
{
    json_t *config = layer(jit_config);
    json_t *runner = layer(slice_of(json_string_value(json_object_get(config, ".runner"))));
    json_t *credentials =
        layer(slice_of(json_string_value(json_object_get(config, ".credentials"))));
    const char *url = json_string_value(json_object_get(runner, "ServerUrl"));
    const char *token =
        json_string_value(json_object_get(json_object_get(credentials, "data"), "clientId"));
    bool ok = url != NULL && token != NULL;
    if (ok) {
        char header[1024];
        size_t len = strlen(url);
        while (len > 0 && url[len - 1] == '/') {
            len--;
        }
        (void)snprintf(r->base, sizeof r->base, "%.*s", (int)len, url);
        (void)snprintf(header, sizeof header, "Authorization: Bearer %s", token);
        r->headers = curl_slist_append(NULL, header);
    }
    json_decref(config);
    json_decref(runner);
    json_decref(credentials);
    return ok;
}

/* --- calls ---------------------------------------------------------------------------------- */

static size_t take(char *data, size_t size, size_t n, void *to)
{
    struct buf *out = to;
    buf_append(out, (struct slice){data, size * n});
    return out->failed ? 0 : size * n;
}

/* The HTTP status; 0 when there was no answer. body NULL: GET. */
static long call(struct runner *r, const char *path, const struct buf *body, struct buf *out)
{
    char url[1024];
    long status = 0;
    (void)snprintf(url, sizeof url, "%s%s", r->base, path);
    buf_reset(out);
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT, (long)POLL_SECONDS + 30);
    if (body == NULL) {
        curl_easy_setopt(r->curl, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(r->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS, body->len == 0 ? "" : body->data);
        curl_easy_setopt(r->curl, CURLOPT_POSTFIELDSIZE, (long)body->len);
    }
    if (curl_easy_perform(r->curl) == CURLE_OK) {
        curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, &status);
    }
    return status;
}

/* --- a job ---------------------------------------------------------------------------------- */

static int run_command(const char *command, struct buf *output)
{
    char chunk[4096];
    int fds[2];
    if (pipe(fds) != 0) {
        return 126;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(fds[1], 1);
        (void)dup2(fds[1], 2);
        (void)close_range(3, ~0U, 0);
        struct slice words[] = {slice_of("sh"), slice_of("-c"), slice_of(command)};
        char *argv[] = {slice_dup(words[0]), slice_dup(words[1]), slice_dup(words[2]), NULL};
        char *env[] = {slice_dup(SLICE("PATH=/usr/local/bin:/usr/bin:/bin")),
                       slice_dup(SLICE("CI=true")), NULL};
        sigset_t none;
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)execve("/bin/sh", argv, env);
        _exit(126);
    }
    close(fds[1]);
    ssize_t n;
    while (pid > 0 && (n = read(fds[0], chunk, sizeof chunk)) > 0) {
        if (output->len + (size_t)n <= OUTPUT_MAX) {
            buf_append(output, (struct slice){chunk, (size_t)n});
        }
    }
    close(fds[0]);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return 126;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run_job(struct runner *r, struct slice job, struct slice command64)
{
    char path[768];
    char line[256];
    struct buf command;
    struct buf output;
    struct buf answer;
    buf_init(&command, ANSWER_MAX);
    buf_init(&output, OUTPUT_MAX);
    buf_init(&answer, ANSWER_MAX);
    (void)snprintf(line, sizeof line, "Running job: %.*s", SLICE_ARG(job));
    say(line);
    fake_status("JOB");
    if (fake_fault("die-mid-job!", NULL)) {
        (void)raise(SIGKILL);
    }
    int code = codec_unbase64(&command, command64) ? run_command(command.data, &output) : 125;
    (void)snprintf(path, sizeof path, "/_runner/finish?session=%s&job=%.*s&exit=%d", r->session,
                   SLICE_ARG(job), code);
    for (int tries = 0; call(r, path, &output, &answer) == 0 && tries < 5; tries++) {
        (void)sleep(1);
    }
    (void)snprintf(line, sizeof line, "Job %.*s completed with result: %s", SLICE_ARG(job),
                   code == 0 ? "Succeeded" : "Failed");
    say(line);
    buf_fini(&command);
    buf_fini(&output);
    buf_fini(&answer);
}

NORETURN static void registration_gone(void)
{
    say("The runner no longer exists on the server.");
    fake_power_off(0, "job-done");
}

static void open_session(struct runner *r, struct buf *answer)
{
    static const struct buf empty = {.data = NULL};
    for (int tries = 0; tries < 30; tries++) {
        long status = call(r, "/_runner/session", &empty, answer);
        if (status == 200 &&
            slice_to_cstr(slice_trim(buf_slice(answer)), r->session, sizeof r->session)) {
            return;
        }
        if (status == 404) {
            registration_gone();
        }
        (void)sleep(1);
    }
    fake_power_off(RUNNER_FAILED, "runner-failed");
}

/* As a job that writes to the console and to the status port: that its VM has ended well, and more than
 * is kept. */
static void say_false_end(void)
{
    char noise[128];
    memset(noise, 'x', sizeof noise - 1);
    noise[sizeof noise - 1] = '\0';
    fake_status("EXIT 0 job-done");
    (void)printf("EXIT 0 job-done\n");
    for (int i = 0; i < 1024; i++) {
        fake_status(noise);
        (void)printf("%s\n", noise);
    }
    (void)fflush(stdout);
}

NORETURN void fake_runner(struct payload *payload)
{
    struct runner r = {.curl = curl_easy_init()};
    struct buf answer;
    char path[512];
    struct slice job;
    struct slice command;
    int64_t idle_ms = payload->idle_seconds * 1000;
    int64_t since_ms = clock_mono_ms();

    buf_init(&answer, ANSWER_MAX);
    if (r.curl == NULL || !read_config(payload->jit_config, &r)) {
        say("The JIT configuration cannot be read.");
        fake_power_off(RUNNER_FAILED, "runner-failed");
    }
    payload_fini(payload);
    if (fake_fault("false-end", NULL)) {
        say_false_end();
    }
    open_session(&r, &answer);
    say("Listening for Jobs");
    fake_status("LISTENING");
    for (;;) {
        int64_t left_ms = since_ms + idle_ms - clock_mono_ms();
        int64_t wait_s =
            idle_ms == 0 || left_ms > POLL_SECONDS * 1000 ? POLL_SECONDS : left_ms / 1000 + 1;
        if (idle_ms > 0 && left_ms <= 0) {
            fake_power_off(0, "idle-timeout");
        }
        (void)snprintf(path, sizeof path, "/_runner/message?session=%s&wait=%d", r.session,
                       (int)wait_s);
        long status = call(&r, path, NULL, &answer);
        if (status == 200) {
            (void)slice_cut(buf_slice(&answer), '\n', &job, &command);
            run_job(&r, slice_trim(job), slice_trim(command));
            fake_power_off(0, "job-done");
        } else if (status == 404) {
            registration_gone();
        } else if (status != 204) {
            (void)sleep(1);
        }
    }
}
