#include <pthread.h>
#include <stdio.h>

#include "common/ledger/programs.h"
#include "tests/conformance/ledger_suite.h"

static struct ledger_cell must_get_cell(struct ledger *l, const char *kind, const char *name)
{
    struct ledger_cell cell;
    struct err e;
    MUST(ledger_cell_get(l, kind, name, &cell, &e));
    assert_string_equal(cell.kind, kind);
    assert_string_equal(cell.name, name);
    return cell;
}

static int64_t must_put_cell(struct ledger *l, const char *name, const char *value,
                             int64_t expected)
{
    int64_t version = -1;
    struct err e;
    MUST(ledger_cell_put(l, "circuit", name, value, expected, &version, &e));
    return version;
}

static void assert_put_conflicts(struct ledger *l, const char *name, const char *value,
                                 int64_t expected)
{
    int64_t version = -1;
    struct err e = {0};
    assert_int_equal(ledger_cell_put(l, "circuit", name, value, expected, &version, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(version, -1);
}

static void a_cell_that_nobody_put_is_empty(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_cell cell = must_get_cell(f->l, "circuit", "small");
    assert_int_equal(cell.version, 0);
    assert_string_equal(cell.value, "");
}

static void a_cell_is_read_as_it_was_put(void **state)
{
    struct ledger_fixture *f = *state;
    char value[LEDGER_CELL_VALUE];
    static const char text[] = "a \"value\" | with\ttabs,\nlines, ümlauts and a long tail ";
    for (size_t i = 0; i < sizeof value - 1; i++) {
        value[i] = i < sizeof text - 1 ? text[i] : 'x';
    }
    value[sizeof value - 1] = '\0';
    int64_t version = must_put_cell(f->l, "small", value, 0);
    assert_true(version > 0);
    struct ledger_cell cell = must_get_cell(f->l, "circuit", "small");
    assert_int_equal(cell.version, version);
    assert_string_equal(cell.value, value);
    assert_true(must_put_cell(f->l, "small", "", version) > version);
    assert_string_equal(must_get_cell(f->l, "circuit", "small").value, "");
}

static void a_cell_is_put_only_on_the_version_that_was_read(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger *other = must_open(f->store.url);
    assert_put_conflicts(f->l, "small", "never", 1);
    int64_t first = must_put_cell(f->l, "small", "first", 0);
    assert_put_conflicts(other, "small", "never", 0);
    int64_t second = must_put_cell(other, "small", "second", first);
    assert_true(second > first);
    assert_put_conflicts(f->l, "small", "never", first);
    assert_string_equal(must_get_cell(f->l, "circuit", "small").value, "second");
    assert_true(must_put_cell(f->l, "small", "third", second) > second);
    ledger_close(other);
}

static void a_removed_cell_begins_anew_with_a_version_never_seen(void **state)
{
    struct ledger_fixture *f = *state;
    clock_at(0);
    int64_t last = must_put_cell(f->l, "small", "x", 0);
    assert_put_conflicts(f->l, "small", NULL, last + 1);
    clock_at(1000);
    assert_int_equal(must_put_cell(f->l, "small", NULL, last), 0);
    assert_int_equal(must_get_cell(f->l, "circuit", "small").version, 0);
    assert_int_equal(must_put_cell(f->l, "small", NULL, 0), 0);
    assert_true(must_put_cell(f->l, "small", "y", 0) > last);
    assert_put_conflicts(f->l, "small", "z", last);
}

static void cells_are_listed_by_their_kind(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_cell_list(f->l, "circuit", &cells, &n, &e));
    assert_int_equal(n, 0);
    free(cells);
    (void)must_put_cell(f->l, "a", "1", 0);
    (void)must_put_cell(f->l, "b", "2", 0);
    MUST(ledger_cell_put(f->l, "circuits", "c", "3", 0, NULL, &e));
    MUST(ledger_cell_list(f->l, "circuit", &cells, &n, &e));
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(cells[i].kind, "circuit");
        assert_string_equal(cells[i].value, strcmp(cells[i].name, "a") == 0 ? "1" : "2");
        assert_int_equal(cells[i].version, must_get_cell(f->l, "circuit", cells[i].name).version);
    }
    assert_string_not_equal(cells[0].name, cells[1].name);
    free(cells);
}

static void a_cell_without_kind_or_name_or_too_long_is_refused(void **state)
{
    struct ledger_fixture *f = *state;
    char value[LEDGER_CELL_VALUE + 1];
    struct ledger_cell cell;
    struct err e = {0};
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    assert_int_equal(ledger_cell_put(f->l, "circuit", "a", value, 0, NULL, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(ledger_cell_put(f->l, "", "a", "", 0, NULL, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(ledger_cell_put(f->l, "circuit", "", "", 0, NULL, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(ledger_cell_get(f->l, "circuit", value, &cell, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
}

/* --- races --- */
#define RACERS 4

struct racer {
    struct ledger *l;
    int times;
    const char *failure;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int done = 0; done < r->times;) {
        struct ledger_cell cell;
        char value[24];
        struct err e = {0};
        if (ledger_cell_get(r->l, "circuit", "raced", &cell, &e) != 0) {
            r->failure = "the cell could not be read";
            return NULL;
        }
        (void)snprintf(value, sizeof value, "%d", atoi(cell.value) + 1);
        if (ledger_cell_put(r->l, "circuit", "raced", value, cell.version, NULL, &e) == 0) {
            done++;
        } else if (e.class != ERR_CONFLICT) {
            r->failure = "the cell could not be put";
            return NULL;
        }
    }
    return NULL;
}

static void no_put_of_a_cell_is_lost_in_a_race(void **state)
{
    struct ledger_fixture *f = *state;
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    char sum[24];
    clock_system();
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.l = i % 2 == 0 ? f->l : must_open(f->store.url),
                                   .times = ledger_times(f->store.url, 100, 10)};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_null(racers[i].failure);
        if (racers[i].l != f->l) {
            ledger_close(racers[i].l);
        }
    }
    (void)snprintf(sum, sizeof sum, "%d", RACERS * racers[0].times);
    assert_string_equal(must_get_cell(f->l, "circuit", "raced").value, sum);
}

/* --- heartbeats of programs, which are cells --- */
static void beat(struct ledger *l, const char *id, int64_t *version)
{
    struct err e;
    struct ledger_program p = {.version = "1.0",
                               .oldest_format = 1,
                               .newest_format = 1,
                               .interval_ms = 10000,
                               .is_host = true,
                               .host_name = "box",
                               .boot_id = "7f1b1f9e-6f0e-4f0b-9a39-000000000000",
                               .pid_namespace = "4026531836",
                               .classes = "small,large"};
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    MUST(ledger_program_beat(l, &p, version, &e));
}

static size_t count(struct ledger *l)
{
    struct ledger_program *list = NULL;
    struct err e;
    size_t n = 0;
    MUST(ledger_program_list(l, &list, &n, &e));
    for (size_t i = 0; i < n; i++) {
        assert_true(list[i].is_host);
        assert_string_equal(list[i].host, "0123456789abcdef0123456789abcdef");
        assert_string_equal(list[i].classes, "small,large");
        assert_int_equal(list[i].interval_ms, 10000);
    }
    free(list);
    return n;
}

static void heartbeats_advance_expire_and_are_withdrawn(void **state)
{
    struct ledger_fixture *f = *state;
    static const char worker[] = "mayfly-worker/0123456789abcdef0123456789abcdef/1";
    static const char reaper[] = "mayfly-reaper/0123456789abcdef0123456789abcdef/2";
    int64_t of_worker = 0;
    int64_t of_reaper = 0;
    struct err e;
    beat(f->l, worker, &of_worker);
    beat(f->l, reaper, &of_reaper);
    int64_t first = of_worker;
    beat(f->l, worker, &of_worker);
    assert_true(of_worker > first);
    assert_int_equal(count(f->l), 2);
    MUST(ledger_program_leave(f->l, worker, &e));
    assert_int_equal(count(f->l), 1);
    beat(f->l, worker, &of_worker); /* it was removed as expired, and its process lives */
    clock_at(START_MS + LEDGER_HEARTBEAT_VALID_MS);
    beat(f->l, reaper, &of_reaper);
    clock_at(START_MS + LEDGER_HEARTBEAT_VALID_MS + 1);
    assert_int_equal(count(f->l), 1);
    MUST(ledger_program_tidy(f->l, &e));
    beat(f->l, worker, &of_worker);
    assert_int_equal(count(f->l), 2);
}

const struct CMUnitTest ledger_cell_tests[] = {
    LEDGER_TEST(a_cell_that_nobody_put_is_empty),
    LEDGER_TEST(a_cell_is_read_as_it_was_put),
    LEDGER_TEST(a_cell_is_put_only_on_the_version_that_was_read),
    LEDGER_TEST(a_removed_cell_begins_anew_with_a_version_never_seen),
    LEDGER_TEST(cells_are_listed_by_their_kind),
    LEDGER_TEST(heartbeats_advance_expire_and_are_withdrawn),
    LEDGER_TEST(a_cell_without_kind_or_name_or_too_long_is_refused),
    LEDGER_TEST(no_put_of_a_cell_is_lost_in_a_race),
};
const size_t ledger_cell_test_count = COUNT_OF(ledger_cell_tests);
