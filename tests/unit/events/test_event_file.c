/* The file sink: what a ledger's steps append, and what happens when the file cannot take it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/metrics.h"
#include "common/events/events.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define WAIT_MS 20000

struct fixture {
    char dir[64];
    char path[128];
    char old[128];
    struct events *ev;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/mayfly-events-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/events.jsonl", f->dir);
    (void)snprintf(f->old, sizeof f->old, "%s/events.jsonl.1", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err e;
    events_close(f->ev, WAIT_MS);
    MUST(fs_remove_tree(f->dir, &e));
    free(f);
    return 0;
}

static void open_sink(struct fixture *f, const char *path, int64_t buffer)
{
    struct err e;
    const struct events_options o = {.program = "mayfly-worker",
                                     .deployment = "test",
                                     .file = path,
                                     .kafka = "",
                                     .traces = "",
                                     .buffer = buffer};
    MUST(events_open(&o, &f->ev, &e));
}

static void close_sink(struct fixture *f)
{
    events_close(f->ev, WAIT_MS);
    f->ev = NULL;
}

/* A transition of that job. */
static void record(struct fixture *f, int64_t job_id)
{
    struct ledger_job job = {.facts.id = job_id, .facts.repository = "octo/app"};
    const struct ledger_transition t = {
        .at_ms = 1000, .job = &job, .from = "waiting", .to = "running", .reason = "on a runner"};
    events_record(f->ev, &t);
}

static int64_t dropped(const char *reason)
{
    char labels[64];
    (void)snprintf(labels, sizeof labels, "sink=\"file\",reason=\"%s\"", reason);
    return metric_value(metrics_counter("mayfly_events_dropped_total", labels));
}

static int64_t written(void)
{
    return metric_value(metrics_counter("mayfly_events_written_total", "sink=\"file\""));
}

static void wait_until_written(int64_t n)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (written() < n && clock_mono_ms() < until) {
        usleep(1000);
    }
    assert_true(written() >= n);
}

/* The job ids of the file's lines that are JSON, each followed by a space; *broken counts the
 * others. */
static void ids_in(const char *path, char *out, size_t size, int *broken)
{
    struct err e;
    struct buf text;
    struct slice line;
    buf_init(&text, 1 << 24);
    MUST(fs_read(path, &text, &e));
    struct slice rest = buf_slice(&text);
    out[0] = '\0';
    *broken = 0;
    while (slice_cut(rest, '\n', &line, &rest)) {
        json_t *r = json_loadb(line.ptr, line.len, 0, NULL);
        if (r == NULL) {
            ++*broken;
            continue;
        }
        size_t at = strlen(out);
        (void)snprintf(out + at, size - at, "%lld ",
                       (long long)json_integer_value(json_object_get(r, "job_id")));
        json_decref(r);
    }
    assert_int_equal(rest.len, 0); /* the last line is ended */
    buf_fini(&text);
}

static void must_hold(const char *path, const char *ids)
{
    char found[4096];
    int broken;
    ids_in(path, found, sizeof found, &broken);
    assert_string_equal(found, ids);
    assert_int_equal(broken, 0);
}

static void records_are_appended_in_order_and_close_writes_the_rest(void **state)
{
    struct fixture *f = *state;
    open_sink(f, f->path, 100);
    record(f, 1);
    record(f, 2);
    close_sink(f);
    must_hold(f->path, "1 2 ");
    open_sink(f, f->path, 100);
    record(f, 3);
    close_sink(f);
    must_hold(f->path, "1 2 3 ");
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0); /* nobody else reads it, but for the group */
}

static void steps_of_a_ledger_become_records(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct ledger *l = NULL;
    struct ledger_effect effect;
    char found[256];
    int broken;
    struct job_event ev = {.action = JOB_ACTION_QUEUED,
                           .job.id = 5,
                           .job.repository = "o/r",
                           .job.class_name = "small"};
    (void)snprintf(ev.status, sizeof ev.status, "queued");
    open_sink(f, f->path, 100);
    MUST(ledger_open("memory://events", &l, &e));
    ledger_observe(l, events_record, f->ev);
    MUST(ledger_apply_event(l, &ev, "o", &effect, &e));
    MUST(ledger_apply_event(l, &ev, "o", &effect, &e)); /* a repeat changes nothing */
    ev.action = JOB_ACTION_COMPLETED;
    MUST(ledger_apply_event(l, &ev, "o", &effect, &e));
    ledger_close(l);
    close_sink(f);
    ids_in(f->path, found, sizeof found, &broken);
    assert_string_equal(found, "5 5 ");
}

static void replaced_or_removed_file_is_opened_anew(void **state)
{
    struct fixture *f = *state;
    open_sink(f, f->path, 100);
    int64_t before = written();
    record(f, 1);
    wait_until_written(before + 1);
    assert_int_equal(rename(f->path, f->old), 0);
    FILE *file = fopen(f->path, "w"); /* as logrotate's `create` */
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    record(f, 2);
    wait_until_written(before + 2);
    must_hold(f->old, "1 ");
    must_hold(f->path, "2 ");
    assert_int_equal(unlink(f->path), 0);
    record(f, 3);
    wait_until_written(before + 3);
    must_hold(f->path, "3 ");
}

static void folder_that_is_missing_is_waited_for(void **state)
{
    struct fixture *f = *state;
    char folder[160];
    char path[192];
    (void)snprintf(folder, sizeof folder, "%s/later", f->dir);
    (void)snprintf(path, sizeof path, "%s/events.jsonl", folder);
    open_sink(f, path, 100);
    int64_t before = written();
    record(f, 1);
    usleep(50 * 1000);
    assert_int_equal(written(), before);
    assert_int_equal(mkdir(folder, 0755), 0);
    wait_until_written(before + 1);
    must_hold(path, "1 ");
}

static void full_buffer_drops_the_newest_and_counts(void **state)
{
    struct fixture *f = *state;
    int64_t before = dropped("buffer_full");
    open_sink(f, "/dev/full", 3);
    for (int64_t id = 1; id <= 10; id++) {
        record(f, id); /* returns at once, or this test does not end */
    }
    assert_int_equal(dropped("buffer_full"), before + 7);
    int64_t lost = dropped("shutdown");
    close_sink(f);
    assert_int_equal(dropped("shutdown"), lost + 3);
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The first record fits, the second is cut; with space again it is written whole, after the cut
 * one. */
static void full_disk_is_survived_and_writing_resumes(void **state)
{
    struct fixture *f = *state;
    char found[256];
    int broken;
    struct stat st;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    open_sink(f, f->path, 100);
    int64_t before = written();
    record(f, 1);
    wait_until_written(before + 1);
    assert_int_equal(stat(f->path, &st), 0);
    rlim_t limit = (rlim_t)st.st_size + 20;
    limit_file_size(limit);
    record(f, 2);
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (stat(f->path, &st) == 0 && (rlim_t)st.st_size < limit && clock_mono_ms() < until) {
        usleep(1000);
    }
    assert_int_equal(st.st_size, limit);
    assert_int_equal(written(), before + 1);
    limit_file_size(RLIM_INFINITY);
    wait_until_written(before + 2);
    close_sink(f);
    ids_in(f->path, found, sizeof found, &broken);
    assert_string_equal(found, "1 2 ");
    assert_int_equal(broken, 1);
}

static void file_that_ends_within_a_line_is_continued_on_a_new_one(void **state)
{
    struct fixture *f = *state;
    char found[256];
    int broken;
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    (void)fputs("{\"schema\":1,\"ti", file);
    assert_int_equal(fclose(file), 0);
    open_sink(f, f->path, 100);
    record(f, 1);
    close_sink(f);
    ids_in(f->path, found, sizeof found, &broken);
    assert_string_equal(found, "1 ");
    assert_int_equal(broken, 1);
}

static void check_of_a_file_names_what_is_missing(void **state)
{
    struct fixture *f = *state;
    struct err e;
    char path[192];
    MUST(events_check_file(f->path, &e));
    assert_int_equal(access(f->path, F_OK), -1); /* created nothing */
    (void)snprintf(path, sizeof path, "%s/nowhere/events.jsonl", f->dir);
    must_fail_saying(events_check_file(path, &e), &e, ERR_PERMANENT, path);
}

static void nothing_configured_is_nothing(void **state)
{
    struct fixture *f = *state;
    open_sink(f, "", 100);
    assert_null(f->ev);
    record(f, 1);
}

int main(void)
{
#define FILE_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        FILE_TEST(records_are_appended_in_order_and_close_writes_the_rest),
        FILE_TEST(steps_of_a_ledger_become_records),
        FILE_TEST(replaced_or_removed_file_is_opened_anew),
        FILE_TEST(folder_that_is_missing_is_waited_for),
        FILE_TEST(full_buffer_drops_the_newest_and_counts),
        FILE_TEST(full_disk_is_survived_and_writing_resumes),
        FILE_TEST(file_that_ends_within_a_line_is_continued_on_a_new_one),
        FILE_TEST(check_of_a_file_names_what_is_missing),
        FILE_TEST(nothing_configured_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
