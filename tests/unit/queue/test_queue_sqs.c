/*
 * The queue on SQS against a scripted one: how puts are cut and what is sent again, what a take
 * asks for and whose turn it is to ask.
 */
#include "tests/unit/queue/scripted_sqs.h"

#include <stdlib.h>
#include <string.h>

/* --- puts --- */
/* Marks the numbers that a batch's entries hold; returns how many entries. */
static size_t mark_entries(const json_t *batch, bool *seen)
{
    size_t i;
    json_t *entry;
    int last = -1;
    json_array_foreach(json_object_get(batch, "Entries"), i, entry)
    {
        int number = (int)strtol(text_of(entry, "MessageBody"), NULL, 10);
        assert_true(number > last); /* in order */
        assert_false(seen[number]);
        seen[number] = true;
        last = number;
    }
    return i;
}

static void put_is_cut_into_tens_of_one_lane(void **state)
{
    struct scripted_sqs *f = *state;
    bool seen[ITEMS_MAX] = {0};
    struct err e;
    size_t sent = 0;
    number_items(33);
    for (size_t i = 0; i < 33; i += 3) {
        items[i].lane = "launch.a";
    }
    MUST(queue_put(f->q, items, 33, &e));
    assert_int_equal(times_asked(f, "SendMessageBatch"), 3 + 2); /* 22 events, 11 launches */
    for (size_t i = 0; i < 5; i++) {
        json_t *batch = asked(f, "SendMessageBatch", i);
        bool launches = strcmp(text_of(batch, "QueueUrl"), "https://sqs.test/1/m-launch_a") == 0;
        bool of_batch[ITEMS_MAX] = {0};
        size_t n = mark_entries(batch, of_batch);
        assert_in_range(n, 1, 10);
        for (size_t k = 0; k < 33; k++) {
            assert_false(of_batch[k] && (seen[k] || launches != (k % 3 == 0)));
            seen[k] = seen[k] || of_batch[k];
        }
        sent += n;
        json_decref(batch);
    }
    assert_int_equal(sent, 33);
}

static void put_is_cut_at_the_limit_of_bytes(void **state)
{
    struct scripted_sqs *f = *state;
    char *large = malloc(QUEUE_BODY_MAX_BYTES);
    struct err e;
    assert_non_null(large);
    memset(large, 'x', QUEUE_BODY_MAX_BYTES);
    number_items(9);
    for (size_t i = 0; i < 9; i++) {
        items[i].body = (struct slice){large, QUEUE_BODY_MAX_BYTES};
    }
    MUST(queue_put(f->q, items, 8, &e));
    assert_int_equal(times_asked(f, "SendMessageBatch"), 2); /* four are 262,144 bytes */
    for (size_t i = 0; i < 9; i++) {
        items[i].key = "7"; /* an attribute counts as well */
    }
    MUST(queue_put(f->q, items, 9, &e));
    assert_int_equal(times_asked(f, "SendMessageBatch"), 2 + 3);
    free(large);
}

static void put_tells_group_and_delay(void **state)
{
    struct scripted_sqs *f = *state;
    struct err e;
    number_items(3);
    items[0].group = "octo/repo";
    items[1].delay_ms = 1;
    items[2].delay_ms = 20 * 60 * 1000 + 1;
    MUST(queue_put(f->q, items, 3, &e));
    json_t *batch = asked(f, "SendMessageBatch", 0);
    json_t *entries = json_object_get(batch, "Entries");
    const json_t *one = json_array_get(entries, 0);
    assert_string_equal(text_of(one, "MessageGroupId"), "octo/repo");
    assert_int_equal(json_integer_value(json_object_get(one, "DelaySeconds")), 0);
    assert_true(json_is_integer(json_object_get(one, "DelaySeconds")));
    one = json_array_get(entries, 1);
    assert_null(json_object_get(one, "MessageGroupId"));
    assert_int_equal(json_integer_value(json_object_get(one, "DelaySeconds")), 1);
    assert_string_equal(attribute_of(one, "hold"), "");
    one = json_array_get(entries, 2);
    assert_int_equal(json_integer_value(json_object_get(one, "DelaySeconds")), 900);
    assert_string_equal(attribute_of(one, "hold"), "1200001");
    json_decref(batch);
}

static void entries_that_failed_by_sqs_fault_are_sent_again_alone(void **state)
{
    struct scripted_sqs *f = *state;
    bool seen[ITEMS_MAX] = {0};
    struct err e;
    f->script = (const struct scripted[]){
        {"SendMessageBatch", 200,
         "{\"Successful\":[{\"Id\":\"0\"}],\"Failed\":[{\"Id\":\"1\",\"SenderFault\":false,"
         "\"Code\":\"InternalError\",\"Message\":\"try again\"}]}", /* and no word of the third */
         NULL},
        {"SendMessageBatch", 503, "{\"__type\":\"ServiceUnavailable\"}", NULL},
        {0}};
    number_items(3);
    MUST(queue_put(f->q, items, 3, &e));
    assert_int_equal(times_asked(f, "SendMessageBatch"), 3);
    json_t *last = asked(f, "SendMessageBatch", 2);
    assert_int_equal(mark_entries(last, seen), 2);
    assert_true(seen[1] && seen[2]);
    json_decref(last);
}

static void entry_that_can_never_succeed_fails_the_put_at_once(void **state)
{
    struct scripted_sqs *f = *state;
    struct err e;
    f->script = (const struct scripted[]){
        {"SendMessageBatch", 200,
         "{\"Successful\":[{\"Id\":\"0\"}],\"Failed\":[{\"Id\":\"1\",\"SenderFault\":true,"
         "\"Code\":\"InvalidMessageContents\",\"Message\":\"bad characters\"}]}",
         NULL},
        {0}};
    number_items(2);
    must_fail_saying(queue_put(f->q, items, 2, &e), &e, ERR_PERMANENT, "InvalidMessageContents");
    assert_non_null(strstr(e.message, "queue m-events"));
    assert_non_null(strstr(e.message, "1 of 2 messages were not put"));
    assert_int_equal(times_asked(f, "SendMessageBatch"), 1);
}

static void put_that_stays_refused_fails_with_its_class(void **state)
{
    struct scripted_sqs *f = *state;
    struct err e;
    static const struct scripted script[] = {
        {"SendMessageBatch", 500, "{\"__type\":\"InternalError\"}", NULL},
        {"SendMessageBatch", 500, "{\"__type\":\"InternalError\"}", NULL},
        {"SendMessageBatch", 500, "{\"__type\":\"InternalError\"}", NULL},
        {"SendMessageBatch", 500, "{\"__type\":\"InternalError\"}", NULL},
        {0}};
    f->script = script;
    number_items(1);
    must_fail_saying(queue_put(f->q, items, 1, &e), &e, ERR_RETRY, "SendMessageBatch");
    assert_int_equal(times_asked(f, "SendMessageBatch"), 4);
}

/* --- taking --- */
static void message_before_its_time_is_hidden_for_the_rest(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    size_t got = 9;
    struct err e;
    f->script = (const struct scripted[]){{"ReceiveMessage", 200, MESSAGE(HELD_20_MINUTES),
                                           "Date: Sun, 09 Sep 2001 02:01:40 GMT\r\n"},
                                          {"ReceiveMessage", 200, MESSAGE(HELD_20_MINUTES),
                                           "Date: Sun, 09 Sep 2001 02:06:40 GMT\r\n"},
                                          {0}};
    MUST(queue_receive(f->q, "events", 5, 30000, 0, &m, &got, &e));
    assert_int_equal(got, 0);
    json_t *hide = asked(f, "ChangeMessageVisibility", 0);
    assert_string_equal(text_of(hide, "ReceiptHandle"), "handle");
    assert_int_equal(json_integer_value(json_object_get(hide, "VisibilityTimeout")), 300);
    json_decref(hide);
    m = must_take(f, 30000);
    assert_string_equal(m.body, "body");
    assert_int_equal(times_asked(f, "ChangeMessageVisibility"), 1);
    queue_message_fini(&m);
}

static void take_asks_for_whole_seconds_and_ten_at_most(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m[20];
    size_t got;
    struct err e;
    MUST(queue_receive(f->q, "events", 20, 1001, 1500, m, &got, &e));
    json_t *first = asked(f, "ReceiveMessage", 0);
    assert_int_equal(json_integer_value(json_object_get(first, "MaxNumberOfMessages")), 10);
    assert_int_equal(json_integer_value(json_object_get(first, "VisibilityTimeout")), 2);
    assert_int_equal(json_integer_value(json_object_get(first, "WaitTimeSeconds")), 1);
    json_decref(first);
    /* This server answers at once, and is not asked at once again. */
    assert_in_range(times_asked(f, "ReceiveMessage"), 2, 1500 / 250 + 1);
    must_fail_saying(queue_receive(f->q, "events", 1, 13 * HOUR_MS, 0, m, &got, &e), &e,
                     ERR_PERMANENT, "12 hours");
}

struct taker {
    struct scripted_sqs *f;
    int64_t wait_ms;
    size_t got;
    int rc;
    pthread_t thread;
};

static void *take_in_thread(void *arg)
{
    struct taker *t = arg;
    struct queue_message m;
    struct err e;
    t->rc = queue_receive(t->f->q, "events", 1, 30000, t->wait_ms, &m, &t->got, &e);
    return NULL;
}

static void wait_until_held(struct scripted_sqs *f, int n)
{
    pthread_mutex_lock(&f->lock);
    while (f->held < n) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

static void let_receives_go(struct scripted_sqs *f)
{
    pthread_mutex_lock(&f->lock);
    f->hold_receives = false;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void only_one_waits_in_sqs_for_an_idle_lane(void **state)
{
    struct scripted_sqs *f = *state;
    struct taker polls = {.f = f, .wait_ms = HOUR_MS};
    struct taker waits = {.f = f, .wait_ms = 1000};
    f->hold_receives = true;
    assert_int_equal(pthread_create(&polls.thread, NULL, take_in_thread, &polls), 0);
    wait_until_held(f, 1);
    (void)take_in_thread(&waits);
    assert_int_equal(waits.rc, 0);
    assert_int_equal(waits.got, 0);
    assert_int_equal(times_asked(f, "ReceiveMessage"), 1);
    json_t *poll = asked(f, "ReceiveMessage", 0);
    assert_int_equal(json_integer_value(json_object_get(poll, "WaitTimeSeconds")), 5);
    json_decref(poll);
    /* Who waits for the turn ends with the interrupt; the poll under way is not called off. */
    waits.wait_ms = HOUR_MS;
    assert_int_equal(pthread_create(&waits.thread, NULL, take_in_thread, &waits), 0);
    queue_interrupt(f->q);
    assert_int_equal(pthread_join(waits.thread, NULL), 0);
    assert_int_equal(waits.got, 0);
    let_receives_go(f);
    assert_int_equal(pthread_join(polls.thread, NULL), 0);
    assert_int_equal(polls.rc, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, scripted_sqs_setup, scripted_sqs_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(put_is_cut_into_tens_of_one_lane),
        CASE(put_is_cut_at_the_limit_of_bytes),
        CASE(put_tells_group_and_delay),
        CASE(entries_that_failed_by_sqs_fault_are_sent_again_alone),
        CASE(entry_that_can_never_succeed_fails_the_put_at_once),
        CASE(put_that_stays_refused_fails_with_its_class),
        CASE(message_before_its_time_is_hidden_for_the_rest),
        CASE(take_asks_for_whole_seconds_and_ten_at_most),
        CASE(only_one_waits_in_sqs_for_an_idle_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
