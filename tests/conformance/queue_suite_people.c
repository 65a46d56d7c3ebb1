/*
 * Conformance of a queue backend: depths, dead letters, and where a job's messages are.
 */
#include "tests/conformance/queue_suite.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

static void put_keyed(struct queue *q, const char *lane, const char *body, const char *key)
{
    struct queue_item item = {.lane = lane, .body = slice_of(body), .key = key, .group = ""};
    must_put_item(q, &item);
}

/* Puts a message and dead-letters it; *id is its id. */
static void dead_letter_one(struct queue *q, const char *lane, const char *body, const char *reason,
                            char *id, size_t size)
{
    struct err e;
    put_keyed(q, lane, body, body);
    struct queue_message m = must_take_body(q, lane, HOUR_MS, body);
    MUST(queue_dead_letter(q, &m, reason, &e));
    assert_true(slice_to_cstr(slice_of(m.id), id, size));
    queue_message_fini(&m);
}

static void dead_letter_is_listed_with_its_reason(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_return spend = {.spend_attempt = true, .reason = "first failure"};
    struct queue_entry *dead = NULL;
    size_t n = 0;
    struct err e;
    put_keyed(f->q, "launch.small", "a job", "77");
    struct queue_message m = must_take(f->q, "launch.small", HOUR_MS);
    MUST(queue_nack(f->q, &m, &spend, &e));
    queue_message_fini(&m);
    m = must_take(f->q, "launch.small", HOUR_MS);
    int64_t before = clock_wall_ms();
    m.attempts++; /* the last one */
    MUST(queue_dead_letter(f->q, &m, "no such image", &e));
    int64_t after = clock_wall_ms();
    must_find_nothing(f->q, "launch.small");
    if (limited(QUEUE_TAKES_A_HANDLE_TWICE)) {
        MUST(queue_ack(f->q, &m, 1, &e));
    } else {
        must_fail(queue_ack(f->q, &m, 1, &e), &e, ERR_CONFLICT);
    }
    MUST(queue_dead(f->q, "launch.small", 10, &dead, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(dead[0].message.id, m.id);
    assert_string_equal(dead[0].message.lane, "launch.small");
    assert_string_equal(dead[0].message.key, "77");
    assert_string_equal(dead[0].message.body, "a job");
    assert_int_equal(dead[0].message.attempts, 2);
    assert_int_equal(dead[0].place, QUEUE_DEAD);
    assert_in_range(dead[0].dead_lettered_ms, before, after);
    assert_string_equal(dead[0].reason, "no such image");
    queue_entries_free(dead, n);
    queue_message_fini(&m);
}

static void dead_letters_are_listed_by_lane_and_up_to_max(void **state)
{
    struct queue_fixture *f = *state;
    char id[64];
    struct queue_entry *dead = NULL;
    size_t n = 99;
    struct err e;
    MUST(queue_dead(f->q, NULL, 10, &dead, &n, &e));
    assert_int_equal(n, 0);
    queue_entries_free(dead, n);
    dead_letter_one(f->q, "launch.a", "1", "r1", id, sizeof id);
    dead_letter_one(f->q, "launch.a", "2", "r2", id, sizeof id);
    dead_letter_one(f->q, "launch.b", "3", "r3", id, sizeof id);
    MUST(queue_dead(f->q, NULL, 10, &dead, &n, &e));
    assert_int_equal(n, 3);
    queue_entries_free(dead, n);
    MUST(queue_dead(f->q, NULL, 2, &dead, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(dead[0].reason, "r1");
    queue_entries_free(dead, n);
    MUST(queue_dead(f->q, "launch.b", 10, &dead, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(dead[0].reason, "r3");
    queue_entries_free(dead, n);
}

static void redriven_message_is_ready_with_no_attempts_spent(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_return spend = {.spend_attempt = true, .reason = "x"};
    char id[64];
    struct err e;
    put_keyed(f->q, "events", "again", "5");
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    MUST(queue_nack(f->q, &m, &spend, &e));
    queue_message_fini(&m);
    m = must_take(f->q, "events", HOUR_MS);
    MUST(queue_dead_letter(f->q, &m, "enough", &e));
    assert_true(slice_to_cstr(slice_of(m.id), id, sizeof id));
    MUST(queue_redrive(f->q, id, &e));
    must_fail(queue_redrive(f->q, id, &e), &e, ERR_NOT_FOUND);
    if (limited(QUEUE_TAKES_A_HANDLE_TWICE)) {
        MUST(queue_ack(f->q, &m, 1, &e)); /* the dead letter's lease, not this one's */
    } else {
        must_fail(queue_ack(f->q, &m, 1, &e), &e, ERR_CONFLICT);
    }
    queue_message_fini(&m);
    m = must_take_body(f->q, "events", HOUR_MS, "again");
    assert_int_equal(m.attempts, 0);
    must_fail(queue_redrive(f->q, id, &e), &e, ERR_NOT_FOUND);
    must_be_done(f->q, &m);
    must_fail(queue_redrive(f->q, id, &e), &e, ERR_NOT_FOUND);
    must_fail(queue_redrive(f->q, "no id at all", &e), &e, ERR_NOT_FOUND);
}

static void drop_removes_only_the_dead(void **state)
{
    struct queue_fixture *f = *state;
    char id[64];
    struct err e;
    dead_letter_one(f->q, "events", "junk", "broken", id, sizeof id);
    MUST(queue_delete(f->q, id, &e));
    assert_int_equal(must_depth(f->q, "events").dead, 0);
    must_fail(queue_delete(f->q, id, &e), &e, ERR_NOT_FOUND);
    must_put(f->q, "events", "alive");
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    must_fail(queue_delete(f->q, m.id, &e), &e, ERR_NOT_FOUND);
    must_be_done(f->q, &m);
}

static void reason_is_cut_at_500_bytes_and_says_so(void **state)
{
    struct queue_fixture *f = *state;
    char reason[700];
    char id[64];
    struct queue_entry *dead = NULL;
    size_t n = 0;
    struct err e;
    memset(reason, 'r', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    memcpy(reason + 496, "\xc3\xa9", 2); /* an é across where the mark of the cut begins */
    dead_letter_one(f->q, "events", "1", reason, id, sizeof id);
    MUST(queue_dead(f->q, NULL, 10, &dead, &n, &e));
    assert_int_equal(n, 1);
    size_t len = strlen(dead[0].reason);
    assert_in_range(len, 490, 500);
    assert_string_equal(dead[0].reason + len - 3, "...");
    assert_memory_equal(dead[0].reason, reason, len - 3);
    assert_int_equal(dead[0].reason[len - 4], 'r'); /* no half character */
    queue_entries_free(dead, n);
}

static void depths_count_each_place(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_item later = {
        .lane = "launch.a", .body = SLICE("x"), .key = "", .delay_ms = HOUR_MS};
    char id[64];
    int64_t before = clock_wall_ms();
    dead_letter_one(f->q, "launch.a", "d", "r", id, sizeof id);
    must_put(f->q, "launch.a", "1");
    struct queue_message leased = must_take(f->q, "launch.a", HOUR_MS);
    for (int i = 0; i < 3; i++) {
        must_put(f->q, "launch.a", "x");
        must_put_item(f->q, &later);
    }
    struct queue_depth d = must_depth(f->q, "launch.a");
    assert_int_equal(d.ready, 3);
    assert_int_equal(d.leased, 1);
    assert_int_equal(d.delayed, 3);
    assert_int_equal(d.dead, 1);
    assert_in_range(d.oldest_ready_ms, 0, clock_wall_ms() - before);
    d = must_depth(f->q, "launch.none");
    assert_int_equal(d.ready + d.leased + d.delayed + d.dead + d.oldest_ready_ms, 0);
    must_be_done(f->q, &leased);
    assert_int_equal(must_depth(f->q, "launch.a").leased, 0);
}

static void message_whose_lease_ran_out_counts_as_ready(void **state)
{
    struct queue_fixture *f = *state;
    must_put(f->q, "events", "x");
    struct queue_message m = must_take(f->q, "events", 1);
    while (clock_wall_ms() <= m.leased_until_ms) {
    }
    struct queue_depth d = must_depth(f->q, "events");
    if (lacks(f->q, QUEUE_DEPTHS)) {
        assert_int_equal(d.ready + d.leased, 1);
    } else {
        assert_int_equal(d.ready, 1);
        assert_int_equal(d.leased, 0);
    }
    queue_message_fini(&m);
}

static void depths_list_all_lanes(void **state)
{
    struct queue_fixture *f = *state;
    static const char *const lanes[] = {"events", "launch.a", "launch.b"};
    struct queue_depth *all = NULL;
    size_t n = 99;
    struct err e;
    MUST(queue_depths(f->q, NULL, &all, &n, &e));
    assert_int_equal(n, 0);
    free(all);
    for (size_t i = 0; i < 3; i++) {
        must_put(f->q, lanes[i], "x");
    }
    MUST(queue_depths(f->q, NULL, &all, &n, &e));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < 3; i++) {
        size_t k = 0;
        while (k < n && strcmp(all[k].lane, lanes[i]) != 0) {
            k++;
        }
        assert_true(k < n);
        assert_int_equal(all[k].ready, 1);
    }
    free(all);
}

static void find_tells_the_place_and_how_many_are_ahead(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_entry *found = NULL;
    size_t n = 99;
    struct err e;
    if (lacks(f->q, QUEUE_FIND)) {
        put_keyed(f->q, "launch.a", "first", "1");
        must_fail(queue_find(f->q, "1", 10, &found, &n, &e), &e, ERR_PERMANENT);
        return;
    }
    MUST(queue_find(f->q, "404", 10, &found, &n, &e));
    assert_int_equal(n, 0);
    queue_entries_free(found, n);
    put_keyed(f->q, "launch.a", "first", "1");
    put_keyed(f->q, "launch.a", "second", "2");
    put_keyed(f->q, "launch.b", "elsewhere", "9");
    put_keyed(f->q, "launch.a", "third", "3");
    put_keyed(f->q, "events", "third's event", "3");
    struct queue_message m = must_take(f->q, "launch.b", HOUR_MS);
    MUST(queue_find(f->q, "3", 10, &found, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(found[0].message.body, "third");
    assert_int_equal(found[0].place, QUEUE_READY);
    assert_true(found[0].ahead == 2 || found[0].ahead == -1);
    assert_true(found[1].ahead == 0 || found[1].ahead == -1);
    queue_entries_free(found, n);
    MUST(queue_find(f->q, "9", 10, &found, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(found[0].place, QUEUE_LEASED);
    assert_int_equal(found[0].due_ms, m.leased_until_ms);
    assert_string_equal(found[0].message.receipt, "");
    queue_entries_free(found, n);
    must_fail(queue_find(f->q, "", 10, &found, &n, &e), &e, ERR_PERMANENT);
    must_be_done(f->q, &m);
}

struct judged {
    enum queue_verdict otherwise;
    int times;
};

static enum queue_verdict judge_by_body(void *arg, const struct queue_entry *entry)
{
    struct judged *j = arg;
    j->times++;
    assert_int_equal(entry->place, QUEUE_DEAD);
    assert_string_equal(entry->reason, "why");
    if (strcmp(entry->message.body, "redrive") == 0) {
        return QUEUE_REDRIVE;
    }
    return strcmp(entry->message.body, "delete") == 0 ? QUEUE_DELETE : j->otherwise;
}

static void judged_dead_letters_are_redriven_deleted_or_left(void **state)
{
    static const char *const bodies[] = {"stays", "redrive", "delete", "stays, too"};
    struct queue_fixture *f = *state;
    struct queue_entry *dead = NULL;
    struct judged j = {.otherwise = QUEUE_STOP};
    int64_t done = 99;
    size_t n = 0;
    char id[64];
    struct err e;
    MUST(queue_judge_dead(f->q, judge_by_body, &j, &done, &e));
    assert_int_equal(j.times + done, 0);
    dead_letter_one(f->q, "launch.a", bodies[0], "why", id, sizeof id);
    MUST(queue_judge_dead(f->q, judge_by_body, &j, &done, &e));
    assert_int_equal(j.times, 1);
    assert_int_equal(done, 0);
    for (size_t i = 1; i < COUNT_OF(bodies); i++) {
        dead_letter_one(f->q, i % 2 == 0 ? "launch.a" : "launch.b", bodies[i], "why", id,
                        sizeof id);
    }
    j = (struct judged){.otherwise = QUEUE_LEAVE};
    MUST(queue_judge_dead(f->q, judge_by_body, &j, &done, &e));
    assert_true(j.times >= (int)COUNT_OF(bodies));
    assert_int_equal(done, 2);
    struct queue_message m = must_take_body(f->q, "launch.b", HOUR_MS, "redrive");
    assert_int_equal(m.attempts, 0);
    must_be_done(f->q, &m);
    must_find_nothing(f->q, "launch.a");
    MUST(queue_dead(f->q, NULL, 10, &dead, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(dead[0].message.body, "stays");
    assert_string_equal(dead[1].message.body, "stays, too");
    queue_entries_free(dead, n);
}

const struct CMUnitTest queue_people_tests[] = {
    QUEUE_TEST(dead_letter_is_listed_with_its_reason),
    QUEUE_TEST(dead_letters_are_listed_by_lane_and_up_to_max),
    QUEUE_TEST(redriven_message_is_ready_with_no_attempts_spent),
    QUEUE_TEST(drop_removes_only_the_dead),
    QUEUE_TEST(judged_dead_letters_are_redriven_deleted_or_left),
    QUEUE_TEST(reason_is_cut_at_500_bytes_and_says_so),
    QUEUE_TEST(depths_count_each_place),
    QUEUE_TEST(message_whose_lease_ran_out_counts_as_ready),
    QUEUE_TEST(depths_list_all_lanes),
    QUEUE_TEST(find_tells_the_place_and_how_many_are_ahead),
};
const size_t queue_people_test_count = COUNT_OF(queue_people_tests);
