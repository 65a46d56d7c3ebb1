/*
 * The rule of a circuit, and its record as a text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/circuit.h"

#define NOW 1800000000000

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

int ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out, size_t *n,
                     struct err *e)
{
    (void)l;
    (void)e;
    assert_string_equal(kind, CIRCUIT_KIND);
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    **out = store.cell;
    memcpy((*out)->name, "class:small", sizeof "class:small");
    *n = store.is_there ? 1 : 0;
    return 0;
}

/* --- the rule --- */
/* Without jitter: a first pause of one millisecond. */
static const struct circuit_opening opening = {.pause_ms = 1, .max_pause_ms = 1, .why = "refused"};

/* Open since NOW - 9, with a pause that has `left` to go. */
static struct circuit open_for(int64_t left)
{
    return (struct circuit){.since_ms = NOW - 9,
                            .changed_ms = NOW - 9,
                            .opens = 1,
                            .open_until_ms = NOW + left,
                            .why = "refused"};
}

/* The pause is over, and somebody probes for as long. */
static struct circuit probed_by(const char *holder, int64_t left)
{
    struct circuit c = open_for(-1);
    c.probe_until_ms = NOW + left;
    (void)snprintf(c.probe, sizeof c.probe, "%s", holder);
    return c;
}

static void opens_once_and_again_by_its_probe(void **state)
{
    (void)state;
    struct circuit c = {0};
    assert_int_equal(circuit_open(&c, &opening, "", NOW), CIRCUIT_OPENED);
    assert_int_equal(c.since_ms, NOW);
    assert_int_equal(c.open_until_ms, NOW + 1);
    assert_string_equal(c.why, "refused");
    assert_int_equal(circuit_open(&c, &opening, "", NOW), CIRCUIT_UNCHANGED); /* begun before */
    assert_int_equal(circuit_begin_probe(&c, "a", false, NOW + 30, NOW + 1), CIRCUIT_COUNTED);
    assert_int_equal(circuit_open(&c, &opening, "b", NOW + 2), CIRCUIT_UNCHANGED);
    const struct circuit_opening worse = {.pause_ms = 1, .max_pause_ms = 1, .why = "a\nline"};
    assert_int_equal(circuit_open(&c, &worse, "a", NOW + 2), CIRCUIT_REOPENED);
    assert_int_equal(c.since_ms, NOW);
    assert_int_equal(c.opens, 2);
    assert_int_equal(c.open_until_ms, NOW + 3);
    assert_int_equal(c.probe_until_ms, 0);
    assert_string_equal(c.probe, "");
    assert_string_equal(c.why, "a line");
}

/* With full jitter: below the ceiling, which doubles up to its bound. */
static void pause_grows_with_full_jitter_to_its_bound(void **state)
{
    (void)state;
    const int64_t ceilings[] = {100, 200, 400, 700, 700};
    const struct circuit_opening o = {.pause_ms = 100, .max_pause_ms = 700, .why = ""};
    for (size_t n = 0; n < COUNT_OF(ceilings); n++) {
        int64_t longest = 0;
        for (int i = 0; i < 500; i++) {
            struct circuit c = probed_by("a", 50);
            c.opens = (int64_t)n;
            assert_int_equal(circuit_open(&c, &o, "a", NOW), CIRCUIT_REOPENED);
            assert_in_range(c.open_until_ms - NOW, 1, ceilings[n]);
            longest = c.open_until_ms - NOW > longest ? c.open_until_ms - NOW : longest;
        }
        assert_true(longest > ceilings[n] * 9 / 10);
    }
}

static void stated_end_is_kept_and_only_ever_extended(void **state)
{
    (void)state;
    struct circuit c = {0};
    struct circuit_opening o = {.pause_ms = 1, .max_pause_ms = 1, .wait_ms = 500, .why = "limit"};
    assert_int_equal(circuit_open(&c, &o, "", NOW), CIRCUIT_OPENED);
    assert_int_equal(c.open_until_ms, NOW + 500);
    assert_int_equal(c.stated, 1);
    assert_int_equal(circuit_open(&c, &o, "", NOW), CIRCUIT_UNCHANGED);
    o.wait_ms = 900;
    assert_int_equal(circuit_open(&c, &o, "", NOW), CIRCUIT_COUNTED);
    assert_int_equal(c.open_until_ms, NOW + 900);
    assert_int_equal(c.opens, 1);
}

static void one_probe_at_a_time_until_its_holder_is_late(void **state)
{
    (void)state;
    const struct {
        const char *what;
        struct circuit before;
        const char *holder;
        enum circuit_change change;
    } cases[] = {
        {"it is closed", {0}, "a", CIRCUIT_UNCHANGED},
        {"during the pause", open_for(1), "a", CIRCUIT_UNCHANGED},
        {"the pause is over", open_for(0), "a", CIRCUIT_COUNTED},
        {"another probes", probed_by("a", 1), "b", CIRCUIT_UNCHANGED},
        {"nor a second of its own", probed_by("a", 1), "a", CIRCUIT_UNCHANGED},
        {"the other one died", probed_by("a", 0), "b", CIRCUIT_COUNTED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct circuit c = cases[i].before;
        enum circuit_change did = circuit_begin_probe(&c, cases[i].holder, false, NOW + 30, NOW);
        if (did != cases[i].change) {
            fail_msg("%s: change %d", cases[i].what, (int)did);
        }
        if (did == CIRCUIT_COUNTED) {
            assert_int_equal(c.probe_until_ms, NOW + 30);
            assert_string_equal(c.probe, cases[i].holder);
        }
    }
}

static void probe_without_a_result_is_given_back_by_its_holder_alone(void **state)
{
    (void)state;
    struct circuit c = probed_by("a", 20);
    assert_int_equal(circuit_drop_probe(&c, "b"), CIRCUIT_UNCHANGED);
    assert_int_equal(circuit_drop_probe(&c, ""), CIRCUIT_UNCHANGED);
    assert_int_equal(circuit_wait_ms(&c, NOW), 20);
    assert_int_equal(circuit_drop_probe(&c, "a"), CIRCUIT_COUNTED);
    assert_int_equal(circuit_wait_ms(&c, NOW), 0);
    assert_true(circuit_is_open(&c, NOW));
    c = open_for(0);
    assert_int_equal(circuit_drop_probe(&c, ""), CIRCUIT_UNCHANGED); /* nobody's */
}

static void success_closes_it_once(void **state)
{
    (void)state;
    struct circuit c = probed_by("a", 20);
    assert_int_equal(circuit_close(&c, NOW), CIRCUIT_CLOSED);
    assert_int_equal(c.since_ms, 0);
    assert_int_equal(circuit_close(&c, NOW), CIRCUIT_UNCHANGED);
}

static void open_circuit_without_changes_counts_as_closed_after_a_day(void **state)
{
    (void)state;
    struct circuit c = open_for(2 * CIRCUIT_LIFE_MS);
    assert_int_equal(CIRCUIT_LIFE_MS, 86400000);
    assert_true(circuit_is_open(&c, c.changed_ms + CIRCUIT_LIFE_MS - 1));
    assert_false(circuit_is_open(&c, c.changed_ms + CIRCUIT_LIFE_MS));
    assert_int_equal(circuit_wait_ms(&c, c.changed_ms + CIRCUIT_LIFE_MS), 0);
    assert_int_equal(circuit_close(&c, c.changed_ms + CIRCUIT_LIFE_MS), CIRCUIT_COUNTED);
}

static void wait_lasts_until_pause_and_probe_are_over(void **state)
{
    (void)state;
    const struct {
        int64_t open_until_ms;
        int64_t probe_until_ms;
        int64_t wait_ms;
    } cases[] = {
        {0, 0, 0},   {0, NOW + 5, 5},       {NOW + 7, 0, 7},       {NOW + 7, NOW + 5, 7},
        {NOW, 0, 0}, {NOW - 1, NOW + 5, 5}, {NOW - 1, NOW - 1, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct circuit c = {.since_ms = NOW,
                            .changed_ms = NOW,
                            .open_until_ms = cases[i].open_until_ms,
                            .probe_until_ms = cases[i].probe_until_ms};
        assert_int_equal(circuit_wait_ms(&c, NOW), cases[i].wait_ms);
        c.since_ms = 0; /* closed, whatever was left behind */
        assert_int_equal(circuit_wait_ms(&c, NOW), 0);
    }
}

/* The clock of a host was ahead for a year, and was corrected. */
static void record_of_a_clock_that_was_ahead_is_probed_at_once(void **state)
{
    (void)state;
    const int64_t ahead = NOW + 365 * CIRCUIT_LIFE_MS;
    const struct circuit wrong = {.since_ms = ahead,
                                  .changed_ms = ahead,
                                  .opens = 1,
                                  .open_until_ms = ahead + 5000,
                                  .probe_until_ms = ahead + 60000};
    struct circuit c = wrong;
    assert_true(circuit_is_open(&c, NOW));
    assert_int_equal(circuit_wait_ms(&c, NOW), 0);
    assert_int_equal(circuit_begin_probe(&c, "a", false, NOW + 50, NOW), CIRCUIT_COUNTED);
    assert_int_equal(circuit_wait_ms(&c, NOW), 50);
    assert_int_equal(circuit_drop_probe(&c, "a"), CIRCUIT_COUNTED);
    assert_int_equal(circuit_wait_ms(&c, NOW), 0);
    const struct circuit_opening stated = {
        .pause_ms = 1, .max_pause_ms = 1, .wait_ms = 7, .why = ""};
    c = wrong;
    assert_int_equal(circuit_open(&c, &stated, "", NOW), CIRCUIT_COUNTED);
    assert_int_equal(circuit_wait_ms(&c, NOW), 7);
    c = wrong;
    c.changed_ms = NOW + 60000; /* hosts differ that much */
    assert_int_equal(circuit_wait_ms(&c, NOW), ahead + 60000 - NOW);
}

static void record_is_read_back_as_it_was_written(void **state)
{
    (void)state;
    const struct circuit c = {.since_ms = 1,
                              .changed_ms = 2,
                              .opens = 3,
                              .open_until_ms = 4,
                              .stated = 5,
                              .needs_launch = 6,
                              .probe_until_ms = 7,
                              .probe = "0123456789abcdef0123456789abcdef",
                              .why = "it said: a=b, and more"};
    struct circuit back;
    char text[LEDGER_CELL_VALUE];
    circuit_encode(&c, text);
    circuit_decode(text, &back);
    assert_memory_equal(&back, &c, sizeof c);
    struct circuit full = c;
    memset(full.probe, 'p', sizeof full.probe - 1);
    memset(full.why, 'w', sizeof full.why - 1);
    circuit_encode(&full, text); /* it fits */
    circuit_decode(text, &back);
    assert_memory_equal(&back, &full, sizeof full);
}

static void record_of_a_newer_version_or_none_is_read_as_far_as_it_goes(void **state)
{
    (void)state;
    struct circuit c;
    circuit_decode("version=2 opens=3 reason=full;of=signs since_ms=x =7 open_until_ms=", &c);
    assert_int_equal(c.opens, 3);
    assert_int_equal(c.since_ms, 0);
    assert_false(circuit_is_open(&c, NOW));
    circuit_decode("since_ms=9223372036854775807 changed_ms=-9223372036854775808 opens=-5", &c);
    assert_false(circuit_is_open(&c, NOW));
    assert_int_equal(c.opens, 0);
    circuit_decode("", &c);
    assert_int_equal(c.opens, 0);
    char text[400] = "probe_until_ms=8 probe=";
    memset(text + strlen(text), 'x', 200); /* longer than any holder */
    circuit_decode(text, &c);
    assert_int_equal(c.probe_until_ms, 0);
    memset(text, 0, sizeof text);
    memcpy(text, "why=", 4);
    memset(text + 4, 'y', 395);
    circuit_decode(text, &c);
    assert_int_equal(strlen(c.why), sizeof c.why - 1);
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
    struct circuit out = {.opens = -1};
    enum circuit_change change = CIRCUIT_REOPENED;
    int rc = circuit_update(NULL, "class:small", become, &wanted, &out, &change, e);
    assert_int_equal(out.opens, rc == 0 ? wanted.opens : -1);
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

static void update_puts_an_open_circuit_and_removes_a_closed_one(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(update((struct circuit){.since_ms = NOW, .opens = 1}, &e), 0);
    assert_true(store.is_there);
    assert_int_equal(update((struct circuit){.opens = 9}, &e), 0);
    assert_false(store.is_there);
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
    assert_int_equal(update((struct circuit){.since_ms = 1, .opens = 1}, &e), 0);
    assert_int_equal(store.puts, 20);
    store.times = 20;
    assert_int_equal(update((struct circuit){.since_ms = 1, .opens = 2}, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(store.puts, 40);
}

static void update_fails_with_the_store(void **state)
{
    (void)state;
    struct err e;
    store.put_fails = ERR_RETRY;
    store.times = 1;
    assert_int_equal(update((struct circuit){.since_ms = 1, .opens = 1}, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(store.puts, 1);
    store.get_fails = ERR_AUTH;
    assert_int_equal(update((struct circuit){.since_ms = 1, .opens = 1}, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(store.puts, 1);
}

static void tidy_removes_what_counts_as_closed(void **state)
{
    (void)state;
    struct err e;
    struct circuit c = open_for(1000);
    assert_int_equal(update(c, &e), 0);
    assert_int_equal(circuits_tidy(NULL, NOW, &e), 0);
    assert_true(store.is_there);
    assert_int_equal(circuits_tidy(NULL, c.changed_ms + CIRCUIT_LIFE_MS, &e), 0);
    assert_false(store.is_there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_once_and_again_by_its_probe),
        cmocka_unit_test(pause_grows_with_full_jitter_to_its_bound),
        cmocka_unit_test(stated_end_is_kept_and_only_ever_extended),
        cmocka_unit_test(one_probe_at_a_time_until_its_holder_is_late),
        cmocka_unit_test(probe_without_a_result_is_given_back_by_its_holder_alone),
        cmocka_unit_test(success_closes_it_once),
        cmocka_unit_test(open_circuit_without_changes_counts_as_closed_after_a_day),
        cmocka_unit_test(wait_lasts_until_pause_and_probe_are_over),
        cmocka_unit_test_setup(load_reads_the_record_or_fails, begin),
        cmocka_unit_test_setup(update_puts_an_open_circuit_and_removes_a_closed_one, begin),
        cmocka_unit_test_setup(update_is_made_anew_where_another_was_faster, begin),
        cmocka_unit_test_setup(update_fails_with_the_store, begin),
        cmocka_unit_test_setup(tidy_removes_what_counts_as_closed, begin),
        cmocka_unit_test(record_of_a_clock_that_was_ahead_is_probed_at_once),
        cmocka_unit_test(record_is_read_back_as_it_was_written),
        cmocka_unit_test(record_of_a_newer_version_or_none_is_read_as_far_as_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
