/*
 * Conformance of a ledger backend: timelines, counts, tidying, and pages of jobs.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdio.h>

struct lines {
    struct ledger_entry *items;
    size_t n;
};

static struct lines timeline(struct ledger *l, int64_t job_id)
{
    struct lines t = {.items = NULL};
    struct err e;
    MUST(ledger_timeline(l, job_id, &t.items, &t.n, &e));
    return t;
}

static void must_read(const struct ledger_entry *line, const char *what, const char *detail)
{
    assert_string_equal(line->what, what);
    assert_string_equal(line->detail, detail);
}

/* --- timeline --- */
static void timeline_tells_the_whole_way_of_a_job(void **state)
{
    struct ledger_fixture *f = *state;
    char detail[320];
    clock_at(10);
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    clock_at(20);
    (void)must_apply(f->l, in_progress(1, vm.name));
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    must_advance(f->l, vm.name, VM_GONE);
    struct lines t = timeline(f->l, 1);
    assert_int_equal(t.n, 9);
    must_read(&t.items[0], "queued",
              "delivery guid-1-queued, class small, labels self-hosted,microvm");
    (void)snprintf(detail, sizeof detail, "VM %s (demand 1, supply 0)", vm.name);
    must_read(&t.items[1], "reserved", detail);
    assert_string_equal(t.items[1].vm, vm.name);
    assert_int_equal(t.items[1].job_id, 1);
    must_read(&t.items[2], "registered", "runner id 12");
    assert_int_equal(t.items[2].job_id, 0);
    assert_string_equal(t.items[2].vm, vm.name);
    must_read(&t.items[3], "launched", "vm id vm-1");
    assert_int_equal(t.items[3].at_ms, START_MS + 10);
    (void)snprintf(detail, sizeof detail, "on runner %s, a VM of this deployment", vm.name);
    must_read(&t.items[4], "running", detail);
    assert_int_equal(t.items[4].at_ms, START_MS + 20);
    must_read(&t.items[5], "busy", "runs job 1");
    (void)snprintf(detail, sizeof detail,
                   "conclusion success, ran on runner %s, a VM of this deployment", vm.name);
    must_read(&t.items[6], "done", detail);
    must_read(&t.items[7], "ending", "job completed: success");
    must_read(&t.items[8], "gone", "its slot is free");
    free(t.items);
}

static void timeline_of_a_theft_is_seen_from_both_jobs(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(2, vm.name));
    assert_int_equal(lines_of(f->l, 1, "busy", "runs job 2, launched for job 1"), 1);
    assert_int_equal(lines_of(f->l, 2, "busy", "runs job 2, launched for job 1"), 1);
    assert_int_equal(lines_of(f->l, 2, "launched", ""), 1);
    assert_int_equal(lines_of(f->l, 1, "running", ""), 0);
    struct lines none = timeline(f->l, 3);
    assert_int_equal(none.n, 0);
    free(none.items);
}

static void line_equal_to_the_last_is_not_repeated(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    (void)must_apply(f->l, queued(1));
    (void)must_apply(f->l, queued(2));
    MUST(ledger_log_event(f->l, 1, "", "retry", "GitHub says 502", &e));
    MUST(ledger_log_event(f->l, 2, "", "retry", "GitHub says 503", &e)); /* another job's */
    MUST(ledger_log_event(f->l, 1, "", "retry", "GitHub says 502", &e));
    MUST(ledger_log_event(f->l, 1, "", "retry", "GitHub says 500", &e));
    MUST(ledger_log_event(f->l, 1, "", "retry", "GitHub says 502", &e));
    assert_int_equal(lines_of(f->l, 1, "retry", ""), 3);
}

static void timeline_keeps_the_first_fifty_and_the_newest(void **state)
{
    struct ledger_fixture *f = *state;
    char detail[32];
    struct err e;
    (void)must_apply(f->l, queued(1)); /* line 0 */
    for (int i = 1; i < 260; i++) {
        (void)snprintf(detail, sizeof detail, "no. %d", i);
        MUST(ledger_log_event(f->l, 1, "", "retry", detail, &e));
    }
    struct lines t = timeline(f->l, 1);
    assert_int_equal(t.n, 200);
    assert_string_equal(t.items[0].what, "queued");
    assert_string_equal(t.items[49].detail, "no. 49");
    assert_string_equal(t.items[50].detail, "no. 110");
    assert_string_equal(t.items[199].detail, "no. 259");
    free(t.items);
}

static void lines_of_a_vm_by_itself_are_bounded_too(void **state)
{
    struct ledger_fixture *f = *state;
    char detail[32];
    struct err e;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    for (int i = 0; i < 210; i++) {
        (void)snprintf(detail, sizeof detail, "no. %d", i);
        MUST(ledger_log_event(f->l, 0, vm.name, "suspect", detail, &e));
    }
    assert_int_equal(lines_of(f->l, 1, "suspect", ""), 200);
    assert_int_equal(lines_of(f->l, 1, "reserved", ""), 1);
}

/* The end of a console (common/fleet/output.h). */
static void line_may_hold_several_lines_of_text(void **state)
{
    struct ledger_fixture *f = *state;
    char detail[sizeof((struct ledger_entry *)NULL)->detail];
    struct err e;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    for (size_t i = 0; i < sizeof detail - 1; i++) {
        detail[i] = "a\n|\"\\'{"[i % 7];
    }
    memcpy(detail + sizeof detail - 5, "\xc3\xa4\xc3\xa4", 5);
    MUST(ledger_log_event(f->l, 0, vm.name, "console", detail, &e));
    struct lines t = timeline(f->l, 1);
    assert_string_equal(t.items[t.n - 1].what, "console");
    assert_string_equal(t.items[t.n - 1].vm, vm.name);
    assert_string_equal(t.items[t.n - 1].detail, detail);
    free(t.items);
}

static void line_without_a_row_is_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    must_fail(ledger_log_event(f->l, 7, "", "retry", "x", &e), &e, ERR_NOT_FOUND);
    must_fail(ledger_log_event(f->l, 0, "mf-test-small-0", "retry", "x", &e), &e, ERR_NOT_FOUND);
    must_fail(ledger_log_event(f->l, 0, "", "retry", "x", &e), &e, ERR_PERMANENT);
    must_fail(ledger_log_event(f->l, 1, "", "", "x", &e), &e, ERR_PERMANENT);
}

static void long_detail_is_cut(void **state)
{
    struct ledger_fixture *f = *state;
    char detail[1000];
    struct err e;
    memset(detail, 'd', sizeof detail - 1);
    detail[sizeof detail - 1] = '\0';
    (void)must_apply(f->l, queued(1));
    MUST(ledger_log_event(f->l, 1, "", "retry", detail, &e));
    struct lines t = timeline(f->l, 1);
    assert_int_equal(strlen(t.items[1].detail), sizeof t.items[1].detail - 1);
    free(t.items);
}

static void causes_of_waiting_are_told_again_after_a_relaunch(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    struct err e;
    caps.class_max = 0;
    (void)must_reserve(f->l, queued(1), caps);
    MUST(ledger_job_relaunched(f->l, 1, &e));
    (void)must_reserve(f->l, queued(1), caps);
    assert_int_equal(lines_of(f->l, 1, "waits", ""), 2);
    assert_int_equal(lines_of(f->l, 1, "relaunch", ""), 1);
}

/* --- counts --- */
static void counts_are_by_class_and_state(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_count *counts = NULL;
    size_t n = 0;
    struct err e;
    struct job_event large = queued(5);
    (void)snprintf(large.job.class_name, sizeof large.job.class_name, "large");
    (void)must_apply(f->l, large);
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    (void)must_apply(f->l, held(2));
    (void)must_apply(f->l, completed(3, "", "cancelled"));
    MUST(ledger_counts(f->l, &counts, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(counts[0].class_name, "large");
    assert_int_equal(counts[0].jobs[JOB_WAITING], 1);
    assert_string_equal(counts[1].class_name, "small");
    assert_int_equal(counts[1].jobs[JOB_SEEN], 1);
    assert_int_equal(counts[1].jobs[JOB_WAITING], 0);
    assert_int_equal(counts[1].jobs[JOB_RUNNING], 1);
    assert_int_equal(counts[1].jobs[JOB_CANCELLED], 1);
    assert_int_equal(counts[1].vms[VM_BUSY], 1);
    free(counts);
}

static void balances_are_of_every_scope_and_class_in_use(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_balance *b = NULL;
    size_t n = 0;
    struct err e;
    struct job_event ev = queued(1);
    struct ledger_effect effect;
    MUST(ledger_balances(f->l, &b, &n, &e));
    assert_int_equal(n, 0);
    free(b);
    b = NULL;
    MUST(ledger_apply_event(f->l, &ev, "other", &effect, &e));
    (void)must_get_vm(f->l, 2);
    (void)must_apply(f->l, completed(2, "", "cancelled")); /* supply alone is listed too */
    MUST(ledger_balances(f->l, &b, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(b[0].scope, SCOPE);
    assert_int_equal(b[0].demand, 0);
    assert_int_equal(b[0].supply, 1);
    assert_int_equal(b[0].oldest_waiting_ms, 0);
    assert_string_equal(b[1].scope, "other");
    assert_int_equal(b[1].demand, 1);
    assert_int_equal(b[1].oldest_waiting_ms, START_MS);
    free(b);
}

/* --- tidy --- */
static int64_t tidy(struct ledger *l, int64_t before, size_t max)
{
    int64_t removed = -1;
    struct err e;
    MUST(ledger_tidy(l, START_MS + before, max, &removed, &e));
    return removed;
}

static void tidy_removes_what_ended_before_and_nothing_else(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_job job;
    struct ledger_vm row;
    struct err e;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    (void)must_apply(f->l, queued(2)); /* waits for ever */
    (void)must_apply(f->l, in_progress(3, "elsewhere"));
    clock_at(1000);
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    must_advance(f->l, vm.name, VM_GONE);
    clock_at(HOUR_MS);
    assert_int_equal(tidy(f->l, 1000, 100), 0); /* ended not before */
    assert_int_equal(tidy(f->l, 1001, 100), 2);
    must_fail(ledger_job_get(f->l, 1, &job, &e), &e, ERR_NOT_FOUND);
    must_fail(ledger_vm_get(f->l, vm.name, &row, &e), &e, ERR_NOT_FOUND);
    struct lines t = timeline(f->l, 1);
    assert_int_equal(t.n, 0);
    free(t.items);
    assert_int_equal(must_get(f->l, 2).state, JOB_WAITING);
    assert_int_equal(must_get(f->l, 3).state, JOB_RUNNING);
    must_be_consistent(f->l, 3);
}

static void tidy_removes_at_most_max_of_each(void **state)
{
    struct ledger_fixture *f = *state;
    for (int64_t id = 1; id <= 7; id++) {
        (void)must_apply(f->l, completed(id, "", "cancelled"));
    }
    clock_at(HOUR_MS);
    assert_int_equal(tidy(f->l, HOUR_MS, 3), 3);
    assert_int_equal(tidy(f->l, HOUR_MS, 3), 3);
    assert_int_equal(tidy(f->l, HOUR_MS, 3), 1);
    assert_int_equal(tidy(f->l, HOUR_MS, 3), 0);
}

static void tidy_leaves_a_vm_that_holds_a_slot(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_ENDING);
    clock_at(HOUR_MS);
    assert_int_equal(tidy(f->l, HOUR_MS, 100), 0);
    assert_int_equal(slots_used(f->l), 1);
    assert_int_equal(lines_of(f->l, 1, "ending", ""), 1);
}

static void tidy_forgets_jobs_that_were_only_seen(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, held(1));
    clock_at(HOUR_MS);
    assert_int_equal(tidy(f->l, HOUR_MS, 100), 1);
    assert_int_equal(must_apply(f->l, queued(1)).after, JOB_WAITING); /* its approval is no loss */
}

static void tidy_removes_idle_buckets(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_bucket b = {.name = "github:1", .per_second = 1, .burst = 1};
    int64_t number;
    struct err e;
    MUST(ledger_rate_take(f->l, &b, 1, &number, &e));
    MUST(ledger_rate_pause(f->l, "github:2", START_MS + 3 * HOUR_MS, &e));
    clock_at(HOUR_MS);
    assert_int_equal(tidy(f->l, HOUR_MS, 100), 1); /* the pause still holds */
    b.name = "github:2";
    MUST(ledger_rate_take(f->l, &b, 1, &number, &e));
    assert_int_equal(number, 2 * HOUR_MS);
    must_fail(ledger_tidy(f->l, START_MS, 0, &number, &e), &e, ERR_PERMANENT);
}

/* --- pages of jobs --- */
#define ANY (~0u)

struct pages {
    struct ledger *l;
    struct ledger_jobs_query query;
    char cursor[LEDGER_CURSOR_SIZE];
    size_t count;
};

/* The next page's ids into ids[0..*n); false: there is none. */
static bool next_page(struct pages *p, int64_t *ids, size_t *n)
{
    struct ledger_job *jobs = NULL;
    char next[LEDGER_CURSOR_SIZE];
    struct err e;
    if (p->count > 0 && p->cursor[0] == '\0') {
        return false;
    }
    p->query.after = p->cursor;
    MUST(ledger_jobs_list(p->l, &p->query, &jobs, n, next, &e));
    assert_true(*n <= p->query.max);
    for (size_t i = 0; i < *n; i++) {
        ids[i] = jobs[i].facts.id;
    }
    free(jobs);
    memcpy(p->cursor, next, sizeof next);
    p->count++;
    return true;
}

#define READ_MAX 200

/* All pages of `max` jobs, one after the other, are these ids: "3 1 2". */
static void assert_listed(struct ledger *l, unsigned states, const char *class_name, size_t max,
                          const char *expected)
{
    struct pages p = {.l = l, .query = {.states = states, .class_name = class_name, .max = max}};
    char got[READ_MAX * 8] = "";
    int64_t ids[READ_MAX];
    size_t n;
    while (next_page(&p, ids, &n)) {
        for (size_t i = 0; i < n; i++) {
            size_t len = strlen(got);
            (void)snprintf(got + len, sizeof got - len, "%s%lld", len > 0 ? " " : "",
                           (long long)ids[i]);
        }
        assert_true(p.count < READ_MAX);
    }
    assert_string_equal(got, expected);
}

static void apply_in(struct ledger *l, const char *scope, const char *class_name, int64_t id)
{
    struct job_event ev = queued(id);
    struct ledger_effect effect;
    struct err e;
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    MUST(ledger_apply_event(l, &ev, scope, &effect, &e));
}

static void waiting_jobs_are_listed_oldest_first_across_scopes_and_classes(void **state)
{
    struct ledger_fixture *f = *state;
    static const char *const scopes[] = {"octo", "cat", "dog"};
    static const char *const classes[] = {"small", "large"};
    for (int i = 0; i < 12; i++) {
        clock_at(1000 * (i * 7 % 12)); /* 0, 7, 2, 9, 4, 11, 6, 1, 8, 3, 10, 5 */
        apply_in(f->l, scopes[i % 3], classes[i % 2], 100 + i * 7 % 12);
    }
    static const char all[] = "100 101 102 103 104 105 106 107 108 109 110 111";
    assert_listed(f->l, 1U << JOB_WAITING, NULL, 100, all);
    assert_listed(f->l, 1U << JOB_WAITING, NULL, 5, all);
    assert_listed(f->l, ANY, NULL, 1, all);
    assert_listed(f->l, 1U << JOB_WAITING, "small", 4, "100 102 104 106 108 110");
    assert_listed(f->l, 1U << JOB_WAITING, "none", 4, "");
    assert_listed(f->l, 1U << JOB_RUNNING, NULL, 4, "");
}

/* Events of one delivery batch. */
static void jobs_of_the_same_time_are_each_listed_once(void **state)
{
    struct ledger_fixture *f = *state;
    for (int64_t id = 1; id <= 11; id++) {
        (void)must_apply(f->l, completed(id, "", "cancelled"));
        apply_in(f->l, "octo", "small", 100 + id);
        apply_in(f->l, "cat", "small", 200 + id);
    }
    assert_listed(f->l, 1U << JOB_CANCELLED, NULL, 3, "11 10 9 8 7 6 5 4 3 2 1");
    assert_listed(f->l, 1U << JOB_WAITING, NULL, 4,
                  "101 102 103 104 105 106 107 108 109 110 111 "
                  "201 202 203 204 205 206 207 208 209 210 211");
}

/* Ids of another length than their neighbours'. */
static void jobs_of_the_same_time_are_ordered_by_number(void **state)
{
    struct ledger_fixture *f = *state;
    static const int64_t ids[] = {9, 10, 99, 100, 100520616165};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        (void)must_apply(f->l, in_progress(ids[i], "elsewhere"));
    }
    assert_listed(f->l, 1U << JOB_RUNNING, NULL, 2, "9 10 99 100 100520616165");
}

/* One of each state, and two that ended; each at its own time. */
static void fill_states(struct ledger *l)
{
    for (int64_t i = 0; i < 2; i++) {
        clock_at(1000 * i);
        (void)must_apply(l, queued(10 + i));
        (void)must_apply(l, in_progress(20 + i, "elsewhere"));
        (void)must_apply(l, held(30 + i));
        (void)must_apply(l, completed(40 + i, "elsewhere", "success"));
        clock_at(1000 * i + 500);
        (void)must_apply(l, completed(50 + i, "", "cancelled"));
    }
}

static void all_states_are_listed_one_after_the_other(void **state)
{
    struct ledger_fixture *f = *state;
    fill_states(f->l);
    static const char all[] = "10 11 20 21 31 30 51 41 50 40";
    for (size_t max = 1; max <= 11; max++) {
        assert_listed(f->l, ANY, NULL, max, all);
    }
    assert_listed(f->l, 1U << JOB_RUNNING | 1U << JOB_DONE, NULL, 3, "20 21 41 40");
    assert_listed(f->l, 1U << JOB_DONE, NULL, 1, "41 40");
    assert_listed(f->l, 1U << JOB_CANCELLED, NULL, 1, "51 50");
    assert_listed(f->l, 1U << JOB_SEEN, NULL, 1, "31 30");
    assert_listed(f->l, 0, NULL, 1, "");
    assert_listed(f->l, ANY, "large", 1, "");
}

/* The entry that a page ended with is gone when the next one is read. */
static void page_goes_on_behind_a_job_that_moved(void **state)
{
    struct ledger_fixture *f = *state;
    struct pages p = {.l = f->l, .query = {.states = 1U << JOB_WAITING, .max = 2}};
    int64_t ids[READ_MAX];
    size_t n = 0;
    for (int64_t id = 1; id <= 6; id++) {
        clock_at(1000 * id);
        (void)must_apply(f->l, queued(id));
    }
    assert_true(next_page(&p, ids, &n));
    assert_int_equal(ids[1], 2);
    (void)must_apply(f->l, in_progress(2, "elsewhere"));
    (void)must_apply(f->l, in_progress(3, "elsewhere"));
    assert_true(next_page(&p, ids, &n));
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 4);
    assert_int_equal(ids[1], 5);
}

static void must_refuse(struct ledger *l, const struct ledger_jobs_query *query)
{
    struct ledger_job *jobs = NULL;
    char next[LEDGER_CURSOR_SIZE] = "untouched";
    struct err e;
    size_t n = 0;
    must_fail(ledger_jobs_list(l, query, &jobs, &n, next, &e), &e, ERR_PERMANENT);
    assert_null(jobs);
    assert_string_equal(next, "untouched");
}

static void what_is_no_cursor_of_the_list_is_refused(void **state)
{
    struct ledger_fixture *f = *state;
    static const char *const bad[] = {
        "x",
        "running",
        "running.",
        "running.1",
        "running.1.",
        "running.1.x",
        "running.-1.5",
        "running.1.5.6",
        "waiting.1.5",
        "done.1.5",
        "running.99999999999999999999.1",
    };
    struct ledger_jobs_query q = {.states = 1U << JOB_RUNNING, .max = 1};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        q.after = bad[i];
        must_refuse(f->l, &q);
    }
    q.after = "";
    q.max = 0;
    must_refuse(f->l, &q);
    q.max = LEDGER_JOBS_MAX + 1;
    must_refuse(f->l, &q);
}

/* More than one page of the index. */
static void list_is_complete_beyond_a_page_of_the_index(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_jobs_query q = {.states = 1U << JOB_CANCELLED, .after = "", .max = 1000};
    struct ledger_job *jobs = NULL;
    char next[LEDGER_CURSOR_SIZE];
    size_t n = 0;
    struct err e;
    for (int64_t id = 1; id <= 230; id++) {
        clock_at(id);
        (void)must_apply(f->l, completed(id, "", "cancelled"));
    }
    MUST(ledger_jobs_list(f->l, &q, &jobs, &n, next, &e));
    assert_int_equal(n, 230);
    assert_string_equal(next, "");
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(jobs[i].facts.id, 230 - (int64_t)i);
    }
    free(jobs);
}

const struct CMUnitTest ledger_people_tests[] = {
    LEDGER_TEST(timeline_tells_the_whole_way_of_a_job),
    LEDGER_TEST(timeline_of_a_theft_is_seen_from_both_jobs),
    LEDGER_TEST(line_equal_to_the_last_is_not_repeated),
    LEDGER_TEST(timeline_keeps_the_first_fifty_and_the_newest),
    LEDGER_TEST(line_may_hold_several_lines_of_text),
    LEDGER_TEST(lines_of_a_vm_by_itself_are_bounded_too),
    LEDGER_TEST(line_without_a_row_is_refused),
    LEDGER_TEST(long_detail_is_cut),
    LEDGER_TEST(causes_of_waiting_are_told_again_after_a_relaunch),
    LEDGER_TEST(counts_are_by_class_and_state),
    LEDGER_TEST(balances_are_of_every_scope_and_class_in_use),
    LEDGER_TEST(tidy_removes_what_ended_before_and_nothing_else),
    LEDGER_TEST(tidy_removes_at_most_max_of_each),
    LEDGER_TEST(tidy_leaves_a_vm_that_holds_a_slot),
    LEDGER_TEST(tidy_forgets_jobs_that_were_only_seen),
    LEDGER_TEST(tidy_removes_idle_buckets),
    LEDGER_TEST(waiting_jobs_are_listed_oldest_first_across_scopes_and_classes),
    LEDGER_TEST(jobs_of_the_same_time_are_each_listed_once),
    LEDGER_TEST(jobs_of_the_same_time_are_ordered_by_number),
    LEDGER_TEST(all_states_are_listed_one_after_the_other),
    LEDGER_TEST(page_goes_on_behind_a_job_that_moved),
    LEDGER_TEST(what_is_no_cursor_of_the_list_is_refused),
    LEDGER_TEST(list_is_complete_beyond_a_page_of_the_index),
};
const size_t ledger_people_test_count = COUNT_OF(ledger_people_tests);
