/* credential_process: how its line is read, what it may see, and when it is ended. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/aws/sources.h"
#include "tests/lib/cmocka.h"

static const struct aws_process_bounds bounds = {10000, 65536};

static void assert_words(const char *command, const char *const *want)
{
    char **words = aws_process_split(command);
    size_t n = 0;
    assert_non_null(words);
    for (; want[n] != NULL; n++) {
        assert_non_null(words[n]);
        assert_string_equal(words[n], want[n]);
    }
    assert_null(words[n]);
    aws_process_free(words);
}

static void line_is_split_as_a_shell_would_without_being_one(void **state)
{
    assert_words("/bin/a --b c", (const char *const[]){"/bin/a", "--b", "c", NULL});
    assert_words("  a\t'b  c' ", (const char *const[]){"a", "b  c", NULL});
    assert_words("\"/a b/c\" \"d \\\"e\\\" \\\\ \\n\"",
                 (const char *const[]){"/a b/c", "d \"e\" \\ \\n", NULL});
    assert_words("a\\ b 'c\\d' \"\" e'f'g", (const char *const[]){"a b", "c\\d", "", "efg", NULL});
    assert_words("a $HOME `b` | c > d; e",
                 (const char *const[]){"a", "$HOME", "`b`", "|", "c", ">", "d;", "e", NULL});
}

static void line_that_makes_no_sense_is_refused(void **state)
{
    assert_null(aws_process_split(""));
    assert_null(aws_process_split("  \t"));
    assert_null(aws_process_split("a 'b"));
    assert_null(aws_process_split("a \"b\\\""));
}

static void output_gives_the_keys(void **state)
{
    struct aws_keys k;
    struct err e;
    assert_int_equal(aws_process_keys("printf '%s' '{\"Version\": 1, \"AccessKeyId\": \"AK\", "
                                      "\"SecretAccessKey\": \"SK\", \"SessionToken\": \"ST\", "
                                      "\"Expiration\": \"2030-01-02T03:04:05Z\"}'",
                                      &k, &e),
                     0);
    assert_string_equal(k.access_key, "AK");
    assert_string_equal(k.secret_key, "SK");
    assert_string_equal(k.session_token, "ST");
    assert_int_equal(k.expires_ms, 1893553445000);
    assert_string_equal(k.source, "credential_process");
    aws_keys_fini(&k);
}

static void output_that_makes_no_sense_is_refused_and_not_shown(void **state)
{
    static const char *const bad[] = {
        "echo secret-word",
        "echo '{\"Version\": 2, \"AccessKeyId\": \"AK\", \"SecretAccessKey\": \"secret-word\"}'",
        "echo '{\"Version\": 1, \"AccessKeyId\": \"AK\"}'",
        "echo '{\"Version\": 1, \"AccessKeyId\": \"AK\", \"SecretAccessKey\": \"secret-word x\"}'",
        "echo '{\"Version\": 1, \"AccessKeyId\": \"AK\", \"SecretAccessKey\": \"secret-word\", "
        "\"Expiration\": \"soon\"}'",
        "true"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct aws_keys k;
        struct err e;
        assert_int_equal(aws_process_keys(bad[i], &k, &e), -1);
        assert_int_equal(e.class, ERR_AUTH);
        assert_null(strstr(e.message, "secret-word"));
        assert_non_null(strstr(e.message, "credential_process"));
    }
}

static void failure_tells_program_and_status(void **state)
{
    struct aws_keys k;
    struct err e;
    assert_int_equal(aws_process_keys("sh -c 'exit 3'", &k, &e), -1);
    assert_non_null(strstr(e.message, "credential_process sh failed (status 3)"));
    assert_int_equal(aws_process_keys("/no/such/program a", &k, &e), -1);
    assert_non_null(strstr(e.message, "/no/such/program cannot be started"));
}

/* Whether a mask of /proc/PID/status has it. */
static bool has_signal(const char *status, const char *mask, int signal_number)
{
    const char *at = strstr(status, mask);
    assert_non_null(at);
    return (strtoull(at + strlen(mask), NULL, 16) >> (signal_number - 1) & 1) != 0;
}

static void process_sees_no_descriptor_and_no_blocked_signal_of_ours(void **state)
{
    struct buf out;
    struct err e;
    sigset_t blocked;
    sigset_t before;
    /* One that is not close-on-exec, as a library may open it. */
    int fd = fcntl(2, F_DUPFD, 200);
    assert_int_equal(fd, 200);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &blocked, &before), 0);
    void (*handled)(int) = signal(SIGPIPE, SIG_IGN);
    buf_init(&out, 4096);
    /* Without a shell, which would set the mask itself. */
    assert_int_equal(aws_process_run("grep Sig[BI] /proc/self/status", &bounds, &out, &e), 0);
    assert_int_equal(
        aws_process_run("sh -c 'for f in /proc/$$/fd/*; do echo \"fd ${f##*/}\"; done'", &bounds,
                        &out, &e),
        0);
    (void)signal(SIGPIPE, handled);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
    (void)close(fd);
    assert_false(has_signal(out.data, "SigBlk:\t", SIGTERM));
    assert_false(has_signal(out.data, "SigIgn:\t", SIGPIPE));
    assert_non_null(strstr(out.data, "fd 0\nfd 1\nfd 2\n"));
    assert_null(strstr(out.data, "fd 200\n"));
    buf_fini(&out);
}

static void process_that_prints_without_end_is_ended(void **state)
{
    struct aws_process_bounds few = {10000, 1000};
    struct buf out;
    struct err e;
    buf_init(&out, few.output_bytes);
    assert_int_equal(aws_process_run("yes", &few, &out, &e), -1);
    assert_non_null(strstr(e.message, "more than 1000 bytes"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left behind */
    buf_fini(&out);
}

/* The grandchild holds the pipe open: it has to go with the rest. */
static void process_that_does_not_end_is_ended_with_its_children(void **state)
{
    struct aws_process_bounds short_time = {200, 1000};
    struct buf out;
    struct err e;
    char text[32];
    buf_init(&out, short_time.output_bytes);
    assert_int_equal(aws_process_run("sh -c 'sleep 1000 & echo $!; wait'", &short_time, &out, &e),
                     -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "did not finish in time"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_true(slice_to_cstr(slice_trim(buf_slice(&out)), text, sizeof text));
    /* SIGKILL was sent to the group: the sleeper is gone or a zombie of init's. */
    char path[64];
    char status[256] = "";
    (void)snprintf(path, sizeof path, "/proc/%s/stat", text);
    FILE *f = fopen(path, "r");
    if (f != NULL) {
        size_t n = fread(status, 1, sizeof status - 1, f);
        status[n] = '\0';
        (void)fclose(f);
        assert_null(strstr(status, ") S "));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_is_split_as_a_shell_would_without_being_one),
        cmocka_unit_test(line_that_makes_no_sense_is_refused),
        cmocka_unit_test(output_gives_the_keys),
        cmocka_unit_test(output_that_makes_no_sense_is_refused_and_not_shown),
        cmocka_unit_test(failure_tells_program_and_status),
        cmocka_unit_test(process_sees_no_descriptor_and_no_blocked_signal_of_ours),
        cmocka_unit_test(process_that_prints_without_end_is_ended),
        cmocka_unit_test(process_that_does_not_end_is_ended_with_its_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
