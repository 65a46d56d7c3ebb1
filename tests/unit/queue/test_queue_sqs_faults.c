/*
 * The queue on SQS while SQS fails: calls and single entries refused, answers lost after the work
 * was done, messages delivered twice. Nothing that was confirmed may be lost, and nothing finished
 * may stay. Against the stand-in, with its URL's options as the argument (see with_sqs).
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/queue/queue.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/fake.h"

#define LEASE_MS 2000
#define NUMBERS 240
#define BATCH 24

static const char *options;
static const char *fake;
static struct queue *q;

static int teardown(void **state)
{
    fake_faults(fake, NULL);
    queue_close(q);
    return 0;
}

/* As the programs do: what may succeed later is tried again. */
static bool again(int rc, const struct err *e)
{
    if (rc == 0) {
        return false;
    }
    if (e->class != ERR_RETRY && e->class != ERR_THROTTLED) {
        fail_msg("%s: %s", err_class_name(e->class), e->message);
    }
    return true;
}

/* The calls' time limit is short for the faults: a busy machine may exceed it here too. */
static int setup(void **state)
{
    char name[17];
    char url[400];
    struct err e;
    random_hex(name, 8);
    (void)snprintf(url, sizeof url, "sqs://f%s?create=1&poll_wait=2s&timeout=700ms&%s", name,
                   options);
    while (again(queue_open(url, &q, &e), &e)) {
    }
    return 0;
}

static void put_numbers(void)
{
    for (int first = 0; first < NUMBERS; first += BATCH) {
        struct queue_item items[BATCH];
        char bodies[BATCH][16];
        struct err e;
        for (int i = 0; i < BATCH; i++) {
            (void)snprintf(bodies[i], sizeof bodies[i], "%d", first + i);
            items[i] = (struct queue_item){
                .lane = "events", .body = slice_of(bodies[i]), .key = bodies[i], .group = "o/r"};
        }
        while (again(queue_put(q, items, BATCH, &e), &e)) {
        }
    }
}

/* What becomes of a message: every tenth is dead-lettered, every seventh goes back once. */
static int end_one(struct queue_message *m, bool *is_dead, struct err *e)
{
    const struct queue_return back = {.spend_attempt = true, .reason = "once more"};
    unsigned long number = strtoul(m->body, NULL, 10);
    if (number % 10 == 0) {
        is_dead[number] = true;
        return queue_dead_letter(q, m, "every tenth", e);
    }
    return number % 7 == 0 && m->attempts == 0 ? queue_nack(q, m, &back, e) : queue_ack(q, m, 1, e);
}

static bool is_empty(void)
{
    struct queue_depth *d = NULL;
    size_t n = 0;
    struct err e;
    if (again(queue_depths(q, "events", &d, &n, &e), &e)) {
        return false;
    }
    bool empty = d[0].ready + d[0].leased + d[0].delayed == 0;
    free(d);
    return empty;
}

/* Until nothing is left; a call that failed is the lease's to mend. */
static void take_all(int *seen, bool *is_dead)
{
    while (!is_empty()) {
        struct queue_message m[10];
        size_t got = 0;
        struct err e;
        if (again(queue_receive(q, "events", 10, LEASE_MS, 1000, m, &got, &e), &e)) {
            continue;
        }
        for (size_t i = 0; i < got; i++) {
            seen[strtoul(m[i].body, NULL, 10) % NUMBERS]++;
            if (end_one(&m[i], is_dead, &e) != 0 && e.class != ERR_CONFLICT) {
                (void)again(-1, &e);
            }
            queue_message_fini(&m[i]);
        }
    }
}

static void check_the_dead(const bool *is_dead)
{
    struct queue_entry *dead = NULL;
    size_t n = 0;
    struct err e;
    int found[NUMBERS] = {0};
    while (again(queue_dead(q, "events", 1000, &dead, &n, &e), &e)) {
    }
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(dead[i].reason, "every tenth");
        assert_string_equal(dead[i].message.key, dead[i].message.body);
        found[strtoul(dead[i].message.body, NULL, 10) % NUMBERS]++;
    }
    queue_entries_free(dead, n);
    for (size_t i = 0; i < NUMBERS; i++) {
        assert_true(is_dead[i] ? found[i] >= 1 : found[i] == 0);
    }
}

static void nothing_confirmed_is_lost_while_sqs_fails(void **state)
{
    int seen[NUMBERS] = {0};
    bool is_dead[NUMBERS] = {0};
    fake_faults(
        fake,
        "[{\"operation\":\"SendMessageBatch\",\"entries\":3,\"probability\":0.3},"
        "{\"operation\":\"SendMessageBatch\",\"entries\":2,\"work\":true,\"probability\":0.1},"
        "{\"operation\":\"DeleteMessageBatch\",\"entries\":1,\"probability\":0.2},"
        "{\"operation\":\"ReceiveMessage\",\"duplicate\":true,\"probability\":0.1},"
        "{\"operation\":\"SendMessage\",\"preset\":\"internal\",\"work\":true,"
        "\"probability\":0.1},"
        "{\"operation\":\"DeleteMessage\",\"preset\":\"unavailable\",\"probability\":0.1},"
        "{\"operation\":\"*\",\"drop\":true,\"probability\":0.02},"
        "{\"operation\":\"*\",\"preset\":\"internal\",\"probability\":0.05}]");
    put_numbers();
    take_all(seen, is_dead);
    fake_faults(fake, NULL);
    for (size_t i = 0; i < NUMBERS; i++) {
        assert_true(seen[i] >= 1);
        assert_int_equal(is_dead[i], i % 10 == 0);
    }
    check_the_dead(is_dead);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_confirmed_is_lost_while_sqs_fails, setup, teardown),
    };
    fake = getenv("MAYFLY_FAKE_SQS");
    if (argc != 2 || fake == NULL) {
        fprintf(stderr, "usage: with_sqs %s {sqs}\n", argv[0]);
        return 2;
    }
    options = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
