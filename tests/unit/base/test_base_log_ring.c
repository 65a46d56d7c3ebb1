/* The ring between the threads that log and the descriptor: a stuck reader stops only the writer. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/log_ring.h"
#include "common/base/metrics.h"
#include "tests/lib/cmocka.h"

#define PIPE_BYTES 4096
#define FULL_PIPE_BYTES 65536
#define ALL_LIMIT_BYTES ((size_t)16 << 20)
#define FLUSH_MS 30000

static int pipe_fds[2];

static int open_ring(void **state)
{
    struct err e;
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, PIPE_BYTES) > 0);
    log_open("mayfly-test", pipe_fds[1]);
    assert_int_equal(log_start(&e), 0);
    return 0;
}

static int close_ring(void **state)
{
    log_open("mayfly-test", 2);
    close(pipe_fds[0]);
    return 0;
}

static void *read_to_end(void *arg)
{
    struct buf *all = arg;
    char chunk[4096];
    ssize_t n;
    while ((n = read(pipe_fds[0], chunk, sizeof chunk)) > 0) {
        buf_append(all, (struct slice){chunk, (size_t)n});
    }
    return NULL;
}

struct seen {
    int64_t lines;       /* of the test's own */
    int64_t last;        /* its number */
    int64_t reported;    /* as missing */
    bool reported_after; /* after the last of them */
};

static void note_line(struct seen *seen, struct slice line)
{
    json_error_t error;
    json_t *o = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(o)) {
        fail_msg("no JSON object: %.*s", SLICE_ARG(line));
    }
    if (strcmp(json_string_value(json_object_get(o, "msg")), "log_lines_dropped") == 0) {
        seen->reported += json_integer_value(json_object_get(o, "lines"));
        seen->reported_after = true;
    } else {
        int64_t i = json_integer_value(json_object_get(o, "i"));
        assert_true(i > seen->last || seen->lines == 0);
        seen->last = i;
        seen->lines++;
        seen->reported_after = false;
    }
    json_decref(o);
}

/* The reader wakes: all that is written until the ring has stopped. */
static struct seen read_all(void)
{
    struct seen seen = {0};
    struct buf all;
    struct slice line;
    pthread_t reader;
    buf_init(&all, ALL_LIMIT_BYTES);
    assert_int_equal(pthread_create(&reader, NULL, read_to_end, &all), 0);
    assert_true(log_stop(FLUSH_MS));
    close(pipe_fds[1]);
    assert_int_equal(pthread_join(reader, NULL), 0);
    struct slice rest = buf_slice(&all);
    while (slice_cut(rest, '\n', &line, &rest)) {
        note_line(&seen, line);
    }
    assert_int_equal(rest.len, 0);
    buf_fini(&all);
    return seen;
}

static int64_t dropped_total(void)
{
    return metric_value(metrics_counter("mayfly_log_lines_dropped_total", ""));
}

static void lines_come_out_in_order(void **state)
{
    for (int i = 0; i < 20; i++) {
        log_info("e", LOG_INT("i", i));
    }
    struct seen seen = read_all();
    assert_int_equal(seen.lines, 20);
    assert_int_equal(seen.reported, 0);
}

static void log_numbers(int from, int to)
{
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = from; i < to; i++) {
        log_info("e", LOG_INT("i", i), LOG_STR("text", text));
    }
}

static void log_many(int lines)
{
    log_numbers(0, lines);
}

static void stuck_reader_costs_lines_and_not_time(void **state)
{
    int64_t before = dropped_total();
    struct pollfd p = {.fd = pipe_fds[1], .events = POLLOUT};
    /* The writer is stuck before the ring is full: from then on no place becomes free. */
    log_numbers(0, 200);
    while (poll(&p, 1, 0) > 0) {
        (void)poll(NULL, 0, 1);
    }
    log_numbers(200, 3000); /* some 3 MiB: it would not return if it waited for the reader */
    int64_t dropped = dropped_total() - before;
    assert_true(dropped > 1500);
    struct seen seen = read_all();
    assert_int_equal(seen.lines, 3000 - dropped);
    assert_int_equal(seen.last, seen.lines - 1); /* the oldest were kept, without a gap */
    assert_int_equal(seen.reported, dropped);
    assert_true(seen.reported_after);
}

static void line_longer_than_a_pipe_takes_at_once_is_whole(void **state)
{
    char text[7000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 300; i++) {
        log_info("e", LOG_INT("i", i), LOG_STR("text", i % 3 == 0 ? text : "short"));
    }
    struct seen seen = read_all();
    assert_int_equal(seen.lines + seen.reported, 300);
}

static void failed_write_is_counted(void **state)
{
    int64_t before = dropped_total();
    (void)signal(SIGPIPE, SIG_IGN);
    close(pipe_fds[0]);
    log_info("e", LOG_INT("i", 1));
    assert_true(log_stop(FLUSH_MS));
    assert_int_equal(dropped_total() - before, 1);
    close(pipe_fds[1]);
    pipe_fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

#define THREADS 4

static void *log_some(void *arg)
{
    log_many(500);
    return NULL;
}

static void threads_lose_nothing_while_the_reader_reads(void **state)
{
    pthread_t threads[THREADS];
    pthread_t reader;
    struct buf all;
    struct slice line;
    size_t lines = 0;
    int64_t before = dropped_total();
    buf_init(&all, ALL_LIMIT_BYTES);
    assert_int_equal(pthread_create(&reader, NULL, read_to_end, &all), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_some, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(log_stop(FLUSH_MS));
    close(pipe_fds[1]);
    assert_int_equal(pthread_join(reader, NULL), 0);
    struct slice rest = buf_slice(&all);
    while (slice_cut(rest, '\n', &line, &rest)) {
        json_t *o = json_loadb(line.ptr, line.len, 0, NULL);
        assert_non_null(o);
        lines += strcmp(json_string_value(json_object_get(o, "msg")), "e") == 0;
        json_decref(o);
    }
    assert_int_equal((int64_t)lines, THREADS * 500 - (dropped_total() - before));
    buf_fini(&all);
}

/* --- the end of a process, in children ------------------------------------------------------- */

static int ended(void (*die)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct err e;
        (void)dup2(pipe_fds[1], 2);
        log_open("mayfly-test", 2);
        if (log_start(&e) == 0) {
            die();
        }
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int open_pipe(void **state)
{
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    log_open("mayfly-test", 2);
    return 0;
}

static size_t what_was_read(char *out, size_t size)
{
    ssize_t n = read(pipe_fds[0], out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    close(pipe_fds[1]);
    return n > 0 ? (size_t)n : 0;
}

static void log_and_segfault(void)
{
    log_info("last_words", LOG_INT("i", 1));
    (void)raise(SIGSEGV);
}

static void log_and_assert(void)
{
    log_info("last_words", LOG_INT("i", 1));
    assert_failed("nothing", "here.c", 1);
}

/* The sanitizers handle these signals themselves. */
static void skip_if_sanitized(void)
{
    if (MAYFLY_SANITIZED) {
        skip();
    }
}

static void crash_writes_what_is_in_the_ring(void **state)
{
    char text[4096];
    skip_if_sanitized();
    int status = ended(log_and_segfault);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    (void)what_was_read(text, sizeof text);
    assert_non_null(strstr(text, "last_words"));
}

static void broken_assertion_is_written_too(void **state)
{
    char text[4096];
    skip_if_sanitized();
    int status = ended(log_and_assert);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    (void)what_was_read(text, sizeof text);
    assert_non_null(strstr(text, "last_words"));
    assert_non_null(strstr(text, "here.c:1: internal error: nothing does not hold\n"));
}

static void fill_and_assert(void)
{
    log_many(3000);
    assert_failed("nothing", "here.c", 1);
}

static void fill_and_stop(void)
{
    log_many(3000);
    _exit(log_stop(50) ? 1 : 42);
}

/* That these return at all is the test: nobody reads. */
static void stuck_reader_does_not_keep_a_process_from_ending(void **state)
{
    static char text[FULL_PIPE_BYTES + 1];
    int status = ended(fill_and_stop);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    status = ended(fill_and_assert);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    size_t n = what_was_read(text, sizeof text);
    assert_true(n > 0 && text[n - 1] == '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_come_out_in_order, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(stuck_reader_costs_lines_and_not_time, open_ring,
                                        close_ring),
        cmocka_unit_test_setup_teardown(line_longer_than_a_pipe_takes_at_once_is_whole, open_ring,
                                        close_ring),
        cmocka_unit_test_setup_teardown(failed_write_is_counted, open_ring, close_ring),
        cmocka_unit_test_setup_teardown(threads_lose_nothing_while_the_reader_reads, open_ring,
                                        close_ring),
        cmocka_unit_test_setup_teardown(crash_writes_what_is_in_the_ring, open_pipe, close_ring),
        cmocka_unit_test_setup_teardown(broken_assertion_is_written_too, open_pipe, close_ring),
        cmocka_unit_test_setup_teardown(stuck_reader_does_not_keep_a_process_from_ending, open_pipe,
                                        close_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
