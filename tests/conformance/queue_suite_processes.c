/*
 * Conformance of a queue backend: several processes on one queue, and processes that are killed.
 */
#include "tests/conformance/queue_suite.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/random.h"

#define BATCH 8

/* --- what the children do --- */
static int child_failed(const char *doing, const struct err *e)
{
    fprintf(stderr, "child: %s: %s\n", doing, e->message);
    return 1;
}

/* One write a line: lines of several children in one pipe would not mix. */
static void say(const char *line)
{
    char text[128];
    int n = snprintf(text, sizeof text, "%s\n", line);
    ssize_t written = write(STDOUT_FILENO, text, (size_t)n);
    (void)written;
}

static int put_numbered(struct queue *q, const char *who, int batch, struct err *e)
{
    char bodies[BATCH][64];
    struct queue_item items[BATCH];
    for (int i = 0; i < BATCH; i++) {
        (void)snprintf(bodies[i], sizeof bodies[i], "%s %d %d", who, batch, i);
        items[i] = (struct queue_item){
            .lane = "events", .body = slice_of(bodies[i]), .key = who, .group = ""};
    }
    return queue_put(q, items, BATCH, e);
}

/* put WHO COUNT: so many numbered batches (0: until killed), each said once it is confirmed. */
static int child_put(const char *url, int argc, char **argv)
{
    struct queue *q = NULL;
    struct err e;
    if (argc != 2 || queue_open(url, &q, &e) != 0) {
        return child_failed("open", &e);
    }
    int count = (int)strtol(argv[1], NULL, 10);
    for (int batch = 0; count == 0 || batch < count; batch++) {
        char line[32];
        if (put_numbered(q, argv[0], batch, &e) != 0) {
            return child_failed("put", &e);
        }
        (void)snprintf(line, sizeof line, "%d", batch);
        say(line);
    }
    queue_close(q);
    return 0;
}

/* take: finishes messages and says their bodies, until the body "end". */
static int child_take(const char *url, int argc, char **argv)
{
    struct queue *q = NULL;
    struct err e;
    bool end = false;
    bool may_move = strncmp(url, "kafka:", strlen("kafka:")) == 0; /* QUEUE_STATE_IN_PROCESS */
    (void)argc;
    (void)argv;
    if (queue_open(url, &q, &e) != 0) {
        return child_failed("open", &e);
    }
    while (!end) {
        struct queue_message m;
        size_t got = 0;
        if (queue_receive(q, "events", 1, HOUR_MS, LONG_WAIT_MS, &m, &got, &e) != 0) {
            return child_failed("take", &e);
        }
        if (got == 0) {
            continue;
        }
        if (queue_ack(q, &m, 1, &e) != 0 && !(may_move && e.class == ERR_CONFLICT)) {
            return child_failed("done", &e);
        }
        end = strcmp(m.body, "end") == 0;
        if (!end) {
            say(m.body);
        }
        queue_message_fini(&m);
    }
    queue_close(q);
    return 0;
}

const struct conformance_child queue_children[] = {{"put", child_put},
                                                   {"take", child_take},
                                                   {"skewed", queue_child_skewed},
                                                   {"insist", queue_child_insist},
                                                   {NULL, NULL}};

/* --- killed in the middle of puts --- */
#define BATCHES_MAX 100000

/* Kills the child at some instant of its next puts. Returns the last batch it had confirmed. */
static int kill_after(struct conformance_process *p, int lines)
{
    struct timespec instant = {0, (long)random_below(3000) * 1000};
    int confirmed = -1;
    for (int i = 0; i < lines; i++) {
        assert_true(conformance_read_line(p));
        confirmed = (int)strtol(p->line, NULL, 10);
    }
    (void)nanosleep(&instant, NULL);
    assert_int_equal(kill(p->pid, SIGKILL), 0);
    while (conformance_read_line(p)) {
        confirmed = (int)strtol(p->line, NULL, 10);
    }
    assert_int_equal(conformance_wait(p), -SIGKILL);
    return confirmed;
}

struct tally { /* of one child's messages */
    unsigned char seen[BATCHES_MAX][BATCH];
    int last;
};

/* Returns whether it is new. */
static bool count_message(struct tally *tallies, const char *body)
{
    char *at;
    size_t who = (size_t)(body[0] - 'a');
    long batch = strtol(body + 2, &at, 10);
    long i = strtol(at, NULL, 10);
    assert_true(who < 3 && batch >= 0 && batch < BATCHES_MAX && i >= 0 && i < BATCH);
    tallies[who].last = tallies[who].last < (int)batch ? (int)batch : tallies[who].last;
    return ++tallies[who].seen[batch][i] == 1;
}

static void take_everything(struct queue *q, struct tally *tallies)
{
    struct queue_message m[64];
    size_t got = 1;
    struct err e;
    while (got > 0) {
        MUST(queue_receive(q, "events", 64, HOUR_MS, patience_ms(), m, &got, &e));
        for (size_t i = 0; i < got; i++) {
            (void)count_message(tallies, m[i].body);
        }
        if (got > 0) {
            MUST(queue_ack(q, m, got, &e));
        }
        for (size_t i = 0; i < got; i++) {
            queue_message_fini(&m[i]);
        }
    }
}

/* Every confirmed batch is there exactly once; the one under way at the kill is whole or absent. */
static void check_tally(const struct tally *t, int confirmed)
{
    int whole = limited(QUEUE_PUTS_IN_PARTS) ? confirmed : t->last;
    unsigned char most = limited(QUEUE_STATE_IN_PROCESS) ? UCHAR_MAX : 1;
    assert_in_range(t->last, confirmed, confirmed + 1);
    for (int batch = 0; batch <= whole; batch++) {
        for (int i = 0; i < BATCH; i++) {
            assert_in_range(t->seen[batch][i], 1, most);
        }
    }
}

static void killed_process_loses_nothing_it_confirmed(void **state)
{
    struct queue_fixture *f = *state;
    struct tally *tallies = malloc(2 * sizeof *tallies);
    assert_non_null(tallies);
    for (int round = 0; round < 5; round++) {
        struct conformance_process a;
        struct conformance_process b;
        const char *const args_a[] = {"a", "0", NULL};
        const char *const args_b[] = {"b", "0", NULL};
        memset(tallies, 0, 2 * sizeof *tallies);
        conformance_spawn(&a, "put", f->store.url, args_a);
        conformance_spawn(&b, "put", f->store.url, args_b);
        int confirmed_a = kill_after(&a, 3 + round * 7);
        /* The other one goes on: the dead process left no lock behind. */
        int confirmed_b = kill_after(&b, 5);
        take_everything(f->q, tallies);
        check_tally(&tallies[0], confirmed_a);
        check_tally(&tallies[1], confirmed_b);
    }
    free(tallies);
}

/* --- many processes --- */
#define PRODUCERS 3
#define CONSUMERS 3
#define BATCHES_EACH 25

static void read_consumers(struct conformance_process *consumers, struct tally *tallies, int total)
{
    /* Lines are read from whoever has one; a consumer that ends early has lost messages. */
    for (int left = total; left > 0;) {
        int k = 0;
        fd_set set;
        FD_ZERO(&set);
        for (int i = 0; i < CONSUMERS; i++) {
            FD_SET(consumers[i].out, &set);
        }
        struct timeval limit = {60, 0};
        assert_true(select(consumers[CONSUMERS - 1].out + 1, &set, NULL, NULL, &limit) > 0);
        while (!FD_ISSET(consumers[k].out, &set)) {
            k++;
        }
        assert_true(conformance_read_line(&consumers[k]));
        left -= count_message(tallies, consumers[k].line) ? 1 : 0;
    }
}

static void many_processes_finish_each_message_exactly_once(void **state)
{
    struct queue_fixture *f = *state;
    struct conformance_process producers[PRODUCERS];
    struct conformance_process consumers[CONSUMERS];
    struct tally *tallies = calloc(PRODUCERS, sizeof *tallies);
    static const char *const names[PRODUCERS] = {"a", "b", "c"};
    assert_non_null(tallies);
    for (int i = 0; i < CONSUMERS; i++) {
        conformance_spawn(&consumers[i], "take", f->store.url, NULL);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        const char *const args[] = {names[i], "25", NULL};
        conformance_spawn(&producers[i], "put", f->store.url, args);
    }
    read_consumers(consumers, tallies, PRODUCERS * BATCHES_EACH * BATCH);
    for (int i = 0; i < PRODUCERS; i++) {
        while (conformance_read_line(&producers[i])) {
        }
        assert_int_equal(conformance_wait(&producers[i]), 0);
        check_tally(&tallies[i], BATCHES_EACH - 1);
    }
    for (int i = 0; i < CONSUMERS; i++) {
        must_put(f->q, "events", "end");
    }
    for (int i = 0; i < CONSUMERS; i++) {
        while (conformance_read_line(&consumers[i])) { /* nothing a second time */
            assert_true(limited(QUEUE_STATE_IN_PROCESS));
        }
        assert_int_equal(conformance_wait(&consumers[i]), 0);
    }
    must_find_nothing(f->q, "events");
    free(tallies);
}

static void processes_that_open_a_new_queue_at_once_all_succeed(void **state)
{
    struct conformance_process p[6];
    const char *const args[] = {"a", "1", NULL};
    for (int round = 0; round < 3; round++) {
        struct conformance_store fresh;
        conformance_store_init(&fresh);
        for (size_t i = 0; i < 6; i++) {
            conformance_spawn(&p[i], "put", fresh.url, args);
        }
        for (size_t i = 0; i < 6; i++) {
            assert_true(conformance_read_line(&p[i]));
            assert_int_equal(conformance_wait(&p[i]), 0);
        }
        conformance_store_fini(&fresh);
    }
}

/* --- a process dies while another works and a third arrives --- */
#define NUMBERS_MAX 10000
#define AFTER_ARRIVAL 200
#define SHORT_WAIT_MS 50

struct finished {
    bool by_first[NUMBERS_MAX];
    int put;
};

/* Takes and finishes one message, if there is one soon. What the first has finished never comes
 * again, not to it either. Returns whether there was one. */
static bool take_one_of(struct queue *q, struct finished *f, bool first)
{
    struct queue_message m;
    size_t got = 0;
    struct err e;
    MUST(queue_receive(q, "events", 1, HOUR_MS, SHORT_WAIT_MS, &m, &got, &e));
    if (got == 0) {
        return false;
    }
    long number = strtol(m.body, NULL, 10);
    assert_in_range(number, 0, NUMBERS_MAX - 1);
    assert_false(f->by_first[number]);
    f->by_first[number] = queue_ack(q, &m, 1, &e) == 0 && first;
    queue_message_fini(&m);
    return true;
}

static void put_next(struct queue *q, struct finished *f)
{
    char body[16];
    assert_true(f->put < NUMBERS_MAX);
    (void)snprintf(body, sizeof body, "%d", f->put++);
    must_put(q, "events", body);
}

static bool has_said_something(const struct conformance_process *p)
{
    struct pollfd out = {.fd = p->out, .events = POLLIN};
    return poll(&out, 1, 0) == 1;
}

/* The group of a Kafka lane waits for the dead one all that time, with the first in mid-join. */
static void death_of_a_process_costs_others_nothing_they_finished(void **state)
{
    struct queue_fixture *f = *state;
    struct conformance_process dead;
    struct finished *all = calloc(1, sizeof *all);
    assert_non_null(all);
    conformance_spawn(&dead, "take", f->store.url, NULL);
    while (!has_said_something(&dead)) {
        put_next(f->q, all);
        put_next(f->q, all); /* the first would take each before the other */
        (void)take_one_of(f->q, all, false);
    }
    assert_int_equal(kill(dead.pid, SIGKILL), 0);
    while (conformance_read_line(&dead)) {
    }
    assert_int_equal(conformance_wait(&dead), -SIGKILL);
    struct queue *third = must_open(f->store.url);
    bool arrived = false;
    for (int left = AFTER_ARRIVAL; left > 0; left -= arrived ? 1 : 0) {
        put_next(f->q, all);
        put_next(f->q, all);
        (void)take_one_of(f->q, all, true);
        arrived = take_one_of(third, all, false) || arrived;
    }
    queue_close(third);
    free(all);
}

const struct CMUnitTest queue_process_tests[] = {
    QUEUE_TEST(death_of_a_process_costs_others_nothing_they_finished),
    QUEUE_TEST(killed_process_loses_nothing_it_confirmed),
    QUEUE_TEST(many_processes_finish_each_message_exactly_once),
    QUEUE_TEST(processes_that_open_a_new_queue_at_once_all_succeed),
};
const size_t queue_process_test_count = COUNT_OF(queue_process_tests);
