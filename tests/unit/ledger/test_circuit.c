/*
 * The rule of a circuit, and its record as a text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/circuit.h"

#define NOW 1800000000000

static const struct circuit_limits limits = {.failures = 3, .pause_ms = 100, .max_pause_ms = 700};

/* --- a ledger with one cell --- */
static struct {
    struct ledger_cell cell;
    bool is_there;
    enum err_class get_fails;
    enum err_class put_fails;
    int times; /* that a put fails */
    int puts;
} store;

int ledger_cell_get(struct ledger *l, const char *kind, const char *name, struct ledger_cell *out,
                    struct err *e)
{
    (void)l;
    assert_string_equal(kind, CIRCUIT_KIND);
    assert_string_equal(name, "class:small");
    if (store.get_fails != ERR_NONE) {
        return err_set(e, store.get_fails, 0, "no store");
    }
    *out = store.cell;
    return 0;
}

int ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                    int64_t expected, int64_t *version, struct err *e)
{
    (void)l;
    (void)kind;
    (void)version;
    assert_string_equal(name, "class:small");
    assert_int_equal(expected, store.cell.version);
    store.puts++;
    if (store.times > 0) {
        store.times--;
        store.cell.version++; /* another was faster */
        return err_set(e, store.put_fails, 0, "not put");
    }
    store.cell.version++;
    store.is_there = value != NULL;
    (void)snprintf(store.cell.value, sizeof store.cell.value, "%s", value != NULL ? value : "");
    return 0;
}

enum act { REFUSED, SUCCEEDED, BEGIN, EXTEND, DROP };

static void record_moves_as_the_table_says(void **state)
{
    (void)state;
#define OPEN(fails, times, left)                                                                   \
    {                                                                                              \
        fails, 9, times, NOW + (left), 0, ""                                                       \
    }
#define PROBED(by, left)                                                                           \
    {                                                                                              \
        3, 9, 1, NOW - 1, NOW + (left), by                                                         \
    }
    const struct {
        const char *why;
        struct circuit before;
        enum act act;
        int64_t job;
        const char *holder;
        enum circuit_change change;
        struct circuit after;
    } cases[] = {
        {"first", {0}, REFUSED, 9, "", CIRCUIT_COUNTED, {1, 9, 0, 0, 0, ""}},
        {"job zero counts too", {0}, REFUSED, 0, "", CIRCUIT_COUNTED, {1, 0, 0, 0, 0, ""}},
        {"another job", {1, 8, 0, 0, 0, ""}, REFUSED, 9, "", CIRCUIT_COUNTED, {2, 9, 0, 0, 0, ""}},
        {"the same job",
         {2, 9, 0, 0, 0, ""},
         REFUSED,
         9,
         "",
         CIRCUIT_UNCHANGED,
         {2, 9, 0, 0, 0, ""}},
        {"the last", {2, 8, 0, 0, 0, ""}, REFUSED, 9, "", CIRCUIT_OPENED, OPEN(3, 1, 100)},
        {"a lowered limit", {6, 8, 0, 0, 0, ""}, REFUSED, 9, "", CIRCUIT_OPENED, OPEN(7, 1, 100)},
        {"taken before it opened", OPEN(3, 1, 50), REFUSED, 8, "", CIRCUIT_UNCHANGED,
         OPEN(3, 1, 50)},
        {"the probe", PROBED("a", 50), REFUSED, 8, "a", CIRCUIT_REOPENED, OPEN(3, 2, 200)},
        {"another's probe", PROBED("a", 50), REFUSED, 8, "b", CIRCUIT_UNCHANGED, PROBED("a", 50)},
        {"the pause doubles up to its bound",
         {3, 9, 3, NOW - 1, NOW + 1, "a"},
         REFUSED,
         8,
         "a",
         CIRCUIT_REOPENED,
         OPEN(3, 4, 700)},
        {"success while well", {0}, SUCCEEDED, 9, "", CIRCUIT_UNCHANGED, {0}},
        {"success ends the row", {2, 9, 0, 0, 0, ""}, SUCCEEDED, 9, "", CIRCUIT_COUNTED, {0}},
        {"success closes it", PROBED("a", 50), SUCCEEDED, 9, "", CIRCUIT_CLOSED, {0}},
        {"no probe while closed",
         {2, 9, 0, 0, 0, ""},
         BEGIN,
         0,
         "a",
         CIRCUIT_UNCHANGED,
         {2, 9, 0, 0, 0, ""}},
        {"no probe during the pause", OPEN(3, 1, 1), BEGIN, 0, "a", CIRCUIT_UNCHANGED,
         OPEN(3, 1, 1)},
        {"the pause is over",
         OPEN(3, 1, 0),
         BEGIN,
         0,
         "a",
         CIRCUIT_COUNTED,
         {3, 9, 1, NOW, NOW + 30, "a"}},
        {"one probe at a time", PROBED("a", 1), BEGIN, 0, "b", CIRCUIT_UNCHANGED, PROBED("a", 1)},
        {"nor a second of its own", PROBED("a", 1), BEGIN, 0, "a", CIRCUIT_UNCHANGED,
         PROBED("a", 1)},
        {"its holder died", PROBED("a", 0), BEGIN, 0, "b", CIRCUIT_COUNTED, PROBED("b", 30)},
        {"it has a message", PROBED("a", 1), EXTEND, 0, "a", CIRCUIT_COUNTED, PROBED("a", 60)},
        {"its time was over", PROBED("a", 0), EXTEND, 0, "a", CIRCUIT_COUNTED, PROBED("a", 60)},
        {"another took over", PROBED("b", 1), EXTEND, 0, "a", CIRCUIT_UNCHANGED, PROBED("b", 1)},
        {"no verdict", PROBED("a", 20), DROP, 0, "a", CIRCUIT_COUNTED, {3, 9, 1, NOW - 1, 0, ""}},
        {"another's stays", PROBED("a", 20), DROP, 0, "b", CIRCUIT_UNCHANGED, PROBED("a", 20)},
        {"nobody's probe", OPEN(3, 1, 0), DROP, 0, "", CIRCUIT_UNCHANGED, OPEN(3, 1, 0)},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct circuit c = cases[i].before;
        enum circuit_change did = CIRCUIT_UNCHANGED;
        switch (cases[i].act) {
        case REFUSED:
            did = circuit_refused(&c, &limits, cases[i].job, cases[i].holder, NOW);
            break;
        case SUCCEEDED:
            did = circuit_succeeded(&c);
            break;
        case BEGIN:
            did = circuit_begin_probe(&c, cases[i].holder, NOW + 30, NOW);
            break;
        case EXTEND:
            did = circuit_extend_probe(&c, cases[i].holder, NOW + 60);
            break;
        case DROP:
            did = circuit_drop_probe(&c, cases[i].holder);
            break;
        }
        char expected[LEDGER_CELL_VALUE];
        char is[LEDGER_CELL_VALUE];
        circuit_encode(&cases[i].after, expected);
        circuit_encode(&c, is);
        if (did != cases[i].change || strcmp(expected, is) != 0) {
            fail_msg("%s: change %d, %s", cases[i].why, (int)did, is);
        }
    }
}

static void limit_of_zero_never_opens(void **state)
{
    (void)state;
    const struct circuit_limits off = {.failures = 0, .pause_ms = 100, .max_pause_ms = 700};
    struct circuit c = {.failures = 9, .last_job = 8};
    assert_int_equal(circuit_refused(&c, &off, 9, "", NOW), CIRCUIT_UNCHANGED);
    assert_int_equal(c.failures, 9);
}

static void record_is_read_back_as_it_was_written(void **state)
{
    (void)state;
    const struct circuit c = {1, 2, 3, 4, 5, "0123456789abcdef0123456789abcdef"};
    struct circuit back;
    char text[LEDGER_CELL_VALUE];
    circuit_encode(&c, text);
    assert_string_equal(text, "failures=1 last_job=2 opens=3 open_until_ms=4 probe_until_ms=5 "
                              "probe=0123456789abcdef0123456789abcdef");
    circuit_decode(text, &back);
    assert_memory_equal(&back, &c, sizeof c);
}

static void record_of_a_newer_version_or_none_is_read_as_far_as_it_goes(void **state)
{
    (void)state;
    struct circuit c;
    circuit_decode("version=2 opens=3 reason=full;of=signs failures=x =7 open_until_ms=", &c);
    assert_int_equal(c.opens, 3);
    assert_int_equal(c.failures, 0);
    assert_false(circuit_is_open(&c));
    circuit_decode("", &c);
    assert_int_equal(c.opens, 0);
    circuit_decode("probe_until_ms=8 probe=much-longer-than-any-holder-ever-was-or-will-be-here",
                   &c);
    assert_int_equal(c.probe_until_ms, 0);
}

static void wait_lasts_until_pause_and_probe_are_over(void **state)
{
    (void)state;
    const struct {
        int64_t open_until_ms;
        int64_t probe_until_ms;
        int64_t wait_ms;
    } cases[] = {
        {0, 0, 0},       {0, NOW + 5, 0}, /* closed, whatever was left behind */
        {NOW + 7, 0, 7}, {NOW + 7, NOW + 5, 7}, {NOW - 1, NOW + 5, 5},
        {NOW, 0, 0},     {NOW - 1, NOW - 1, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct circuit c = {.open_until_ms = cases[i].open_until_ms,
                            .probe_until_ms = cases[i].probe_until_ms};
        assert_int_equal(circuit_wait_ms(&c, NOW), cases[i].wait_ms);
    }
}

/* --- the record in the ledger --- */
static int begin(void **state)
{
    (void)state;
    memset(&store, 0, sizeof store);
    return 0;
}

static enum circuit_change become(struct circuit *c, void *arg)
{
    const struct circuit *wanted = arg;
    bool same = memcmp(c, wanted, sizeof *c) == 0;
    *c = *wanted;
    return same ? CIRCUIT_UNCHANGED : CIRCUIT_COUNTED;
}

static int update(struct circuit wanted, struct err *e)
{
    struct circuit out = {.failures = -1};
    enum circuit_change change = CIRCUIT_REOPENED;
    char subject[LEDGER_CELL_NAME];
    circuit_subject_of_class("small", subject);
    int rc = circuit_update(NULL, subject, become, &wanted, &out, &change, e);
    assert_int_equal(out.failures, rc == 0 ? wanted.failures : -1);
    assert_int_equal(change == CIRCUIT_REOPENED, rc != 0);
    return rc;
}

static void load_reads_the_record_or_fails(void **state)
{
    (void)state;
    struct circuit c = {.opens = -1};
    struct err e;
    (void)snprintf(store.cell.value, sizeof store.cell.value, "opens=3");
    store.get_fails = ERR_RETRY;
    assert_int_equal(circuit_load(NULL, "class:small", &c, &e), -1);
    assert_int_equal(c.opens, -1);
    store.get_fails = ERR_NONE;
    assert_int_equal(circuit_load(NULL, "class:small", &c, &e), 0);
    assert_int_equal(c.opens, 3);
}

static void update_puts_what_says_something_and_removes_the_rest(void **state)
{
    (void)state;
    const struct circuit telling[] = {{.failures = 1}, {.opens = 1}, {.open_until_ms = NOW}};
    struct err e;
    for (size_t i = 0; i < COUNT_OF(telling); i++) {
        assert_int_equal(update(telling[i], &e), 0);
        assert_true(store.is_there);
        assert_int_equal(update((struct circuit){.last_job = 9}, &e), 0);
        assert_false(store.is_there);
    }
    int before = store.puts;
    assert_int_equal(update((struct circuit){0}, &e), 0);
    assert_int_equal(store.puts, before); /* as it is */
}

static void update_is_made_anew_where_another_was_faster(void **state)
{
    (void)state;
    struct err e;
    store.put_fails = ERR_CONFLICT;
    store.times = 19;
    assert_int_equal(update((struct circuit){.failures = 1}, &e), 0);
    assert_int_equal(store.puts, 20);
    store.times = 20;
    assert_int_equal(update((struct circuit){.failures = 2}, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(store.puts, 40);
}

static void update_fails_with_the_store(void **state)
{
    (void)state;
    struct err e;
    store.put_fails = ERR_RETRY;
    store.times = 1;
    assert_int_equal(update((struct circuit){.failures = 1}, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(store.puts, 1);
    store.get_fails = ERR_AUTH;
    assert_int_equal(update((struct circuit){.failures = 1}, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(store.puts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_moves_as_the_table_says),
        cmocka_unit_test(limit_of_zero_never_opens),
        cmocka_unit_test(wait_lasts_until_pause_and_probe_are_over),
        cmocka_unit_test_setup(load_reads_the_record_or_fails, begin),
        cmocka_unit_test_setup(update_puts_what_says_something_and_removes_the_rest, begin),
        cmocka_unit_test_setup(update_is_made_anew_where_another_was_faster, begin),
        cmocka_unit_test_setup(update_fails_with_the_store, begin),
        cmocka_unit_test(record_is_read_back_as_it_was_written),
        cmocka_unit_test(record_of_a_newer_version_or_none_is_read_as_far_as_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
