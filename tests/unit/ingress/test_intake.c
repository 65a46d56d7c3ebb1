#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/metrics.h"
#include "ingress/intake.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define ENQUEUE_TIMEOUT_MS 10000

static struct queue *queue;

static void plan(bool blocked, bool failing, const char *poisoned)
{
    const struct call_plan plans[] = {
        {.function = "queue_put", .waits = blocked},
        {.function = "queue_put", .fails = failing ? ERR_RETRY : ERR_NONE},
        {.function = "queue_put",
         .with = poisoned,
         .fails = poisoned != NULL ? ERR_PERMANENT : ERR_NONE},
    };
    calls_replan(plans, COUNT_OF(plans));
}

/* Takes what arrived; how much that was. */
static size_t items_put(void)
{
    struct queue_message m[64];
    size_t n = 0;
    size_t got = 1;
    struct err e;
    while (got > 0) {
        MUST(queue_receive(queue, "events", 64, 60000, 0, m, &got, &e));
        for (size_t i = 0; i < got; i++) {
            assert_string_equal(m[i].body, "{}");
            MUST(queue_ack(queue, &m[i], 1, &e));
            queue_message_fini(&m[i]);
        }
        n += got;
    }
    return n;
}

/* --- the spool: its calls are recorded, "n=1 deadline_us=7 crowded=0 {lane=events key=7 group= body={}}"
 * --- */
int __real_spool_commit(struct spool *s, const struct queue_item *items, size_t n,
                        const struct spool_caller *caller, bool *spooled, struct err *e);
int __wrap_spool_commit(struct spool *s, const struct queue_item *items, size_t n,
                        const struct spool_caller *caller, bool *spooled, struct err *e);

int __wrap_spool_commit(struct spool *s, const struct queue_item *items, size_t n,
                        const struct spool_caller *caller, bool *spooled, struct err *e)
{
    struct buf text;
    buf_init(&text, 4096);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, " {lane=%s key=%s group=%s body=%.*s}", items[i].lane, items[i].key,
                   items[i].group, SLICE_ARG(items[i].body));
    }
    struct call c =
        call_begin("spool_commit", e, "n=%zu deadline_us=%lld crowded=%d%s", n,
                   (long long)caller->deadline_us, caller->is_crowded(caller->arg), text.data);
    buf_fini(&text);
    return call_end(&c, __real_spool_commit(s, items, n, caller, spooled, e), e);
}

/* The queue behind the spool fails so from now on; ERR_NONE: it works. */
static void fail_queue(enum err_class class)
{
    calls_replan(&(struct call_plan){.function = "queue_put", .with = "memory:", .fails = class},
                 1);
}

/* --- a loop's side --- */
struct fixture {
    struct intake *in;
    struct dedupe *dedupe;
    struct mailbox mailbox;
    struct spool *spool; /* NULL: none */
    char folder[64];     /* its */
};
static struct fixture f; /* of the case that runs */

static void open_fixture(int64_t commit_threads, int64_t batch, int64_t max)
{
    struct err e = {0};
    MUST(queue_open("memory://intake", &queue, &e));
    f.dedupe = dedupe_new(1000);
    assert_int_equal(mailbox_init(&f.mailbox, &e), 0);
    const struct intake_options o = {.queue = queue,
                                     .dedupe = f.dedupe,
                                     .spool = f.spool,
                                     .commit_threads = commit_threads,
                                     .batch = batch,
                                     .max_in_flight = max,
                                     .enqueue_timeout_ms = ENQUEUE_TIMEOUT_MS};
    assert_int_equal(intake_start(&o, &f.in, &e), 0);
    calls_reset();
}

static void open_spooling(int64_t max_messages)
{
    char path[96];
    struct err e = {0};
    snprintf(f.folder, sizeof f.folder, "/tmp/mayfly-intake-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    snprintf(path, sizeof path, "%s/spool.db", f.folder);
    const struct spool_options o = {.path = path,
                                    .queue_url = "memory://intake",
                                    .max_messages = max_messages,
                                    .max_age_ms = 60000,
                                    .batch = 4,
                                    .retry_ms = 100,
                                    .after_ms = ENQUEUE_TIMEOUT_MS,
                                    .commit_threads = 1};
    MUST(spool_open(&o, &f.spool, &e));
    open_fixture(1, 8, 10);
}

static int set_up(void **state)
{
    f = (struct fixture){.spool = NULL};
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    calls_reset();
    intake_stop(f.in);
    spool_close(f.spool);
    if (f.dedupe != NULL) {
        (void)items_put();
        queue_close(queue);
        mailbox_fini(&f.mailbox);
        dedupe_free(f.dedupe);
    }
    return f.spool != NULL ? fs_remove_tree(f.folder, &e) : 0;
}

static bool is_direct(void)
{
    struct spool_view view;
    spool_read_state(f.spool, &view);
    return view.direct;
}

static void wait_until(bool (*is)(void))
{
    int64_t until_ms = clock_mono_ms() + 30000;
    while (!is()) {
        assert_true(clock_mono_ms() < until_ms);
        (void)poll(NULL, 0, 1);
    }
}

static void add_message(struct delivery *d, const char *lane, int number)
{
    struct job_message *m = &d->messages.list[d->messages.count++];
    buf_init(&m->body, 16);
    buf_append_cstr(&m->body, "{}");
    snprintf(m->lane, sizeof m->lane, "%s", lane);
    snprintf(m->key, sizeof m->key, "%d", number);
}

static struct delivery *make(struct fixture *own, int number)
{
    struct delivery *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->home = &own->mailbox;
    d->submitted_us = clock_mono_us();
    add_message(d, "events", number);
    snprintf(d->guid, sizeof d->guid, "guid-%d", number);
    return d;
}

/* Takes the next that comes home, waiting for it. */
static struct delivery *come_home(struct fixture *own, struct delivery **rest)
{
    while (*rest == NULL) {
        struct pollfd p = {.fd = mailbox_fd(&own->mailbox), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 30000), 1);
        *rest = mailbox_take(&own->mailbox);
    }
    struct delivery *d = *rest;
    *rest = d->next;
    return d;
}

static size_t collect(struct fixture *own, size_t n, enum delivery_result wanted)
{
    struct delivery *rest = NULL;
    size_t as_wanted = 0;
    for (size_t i = 0; i < n; i++) {
        struct delivery *d = come_home(own, &rest);
        as_wanted += d->result == wanted;
        job_messages_fini(&d->messages);
        free(d);
        intake_release(own->in);
    }
    assert_null(rest);
    return as_wanted;
}

static void submit_numbers(struct fixture *own, int from, int to)
{
    for (int i = from; i < to; i++) {
        assert_true(intake_reserve(own->in));
        intake_submit(own->in, make(own, i));
    }
}

/* Linked, each with its place. */
static struct delivery *make_list(int from, int to)
{
    struct delivery *list = NULL;
    for (int i = to - 1; i >= from; i--) {
        struct delivery *d = make(&f, i);
        assert_true(intake_reserve(f.in));
        d->next = list;
        list = d;
    }
    return list;
}

/* Five in one batch, while the queue is to fail them in that way. */
static void submit_batch(bool failing, const char *poisoned)
{
    plan(true, false, NULL);
    submit_numbers(&f, 0, 1);
    calls_wait_count("queue_put", NULL, 1);
    intake_submit(f.in, make_list(1, 4));
    intake_submit(f.in, make_list(4, 6));
    plan(false, failing, poisoned);
}

/* A metric without labels. */
static double sample(const char *name)
{
    char line[96];
    struct buf text;
    buf_init(&text, 1 << 20);
    metrics_render(&text);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(text.data, line);
    double value = found != NULL ? strtod(found + strlen(line), NULL) : 0;
    buf_fini(&text);
    return value;
}

static void submit_comes_back_queued_and_is_remembered(void **state)
{
    open_fixture(1, 8, 10);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_QUEUED), 1);
    assert_true(dedupe_seen(f.dedupe, "guid-1"));
    assert_int_equal(intake_in_flight(f.in), 0);
}

static void busy_intake_gathers_a_batch(void **state)
{
    double batches = sample("mayfly_ingress_batch_size_count");
    double deliveries = sample("mayfly_ingress_batch_size_sum");
    double commits = sample("mayfly_ingress_commit_seconds_count");
    open_fixture(1, 16, 100);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 1);
    calls_wait_count("queue_put", NULL, 1);
    submit_numbers(&f, 1, 41);
    plan(false, false, NULL);
    assert_int_equal(collect(&f, 41, DELIVERY_QUEUED), 41);
    assert_int_equal(calls_done("queue_put", NULL), 1 + 3);
    assert_int_equal(calls_done("queue_put", " n=16 "), 2);
    assert_int_equal(items_put(), 41);
    assert_true(sample("mayfly_ingress_batch_size_count") == batches + 4);
    assert_true(sample("mayfly_ingress_batch_size_sum") == deliveries + 41);
    assert_true(sample("mayfly_ingress_commit_seconds_count") == commits + 4);
}

/* A queued job has a launch request and an event: both or neither, in one put. */
static void messages_of_a_delivery_are_in_one_put(void **state)
{
    double deliveries = sample("mayfly_ingress_batch_size_sum");
    open_fixture(1, 8, 10);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 1);
    calls_wait_count("queue_put", NULL, 1);
    struct delivery *list = make_list(1, 4);
    add_message(list->next, "launch.a", 2);
    intake_submit(f.in, list);
    plan(false, false, " key=2 ");
    assert_int_equal(collect(&f, 4, DELIVERY_QUEUED), 3);
    assert_false(dedupe_seen(f.dedupe, "guid-2"));
    assert_int_equal(calls_count("queue_put", " n=4 "), 1);
    assert_int_equal(calls_count("queue_put", " n=2 {lane=events key=2 "), 1);
    assert_int_equal(items_put(), 3);
    assert_true(sample("mayfly_ingress_batch_size_sum") == deliveries + 1 + 3 + 3);
}

static void reserve_at_the_bound_is_refused(void **state)
{
    open_fixture(1, 8, 2);
    assert_true(intake_reserve(f.in));
    assert_true(intake_reserve(f.in));
    assert_false(intake_reserve(f.in));
    intake_release(f.in);
    assert_true(intake_reserve(f.in));
    intake_release(f.in);
    intake_release(f.in);
}

static void failed_put_comes_back_failed_and_is_not_remembered(void **state)
{
    const enum err_class classes[] = {ERR_RETRY, ERR_CAPACITY};
    double failures = sample("mayfly_ingress_enqueue_errors_total");
    open_fixture(1, 8, 10);
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        fail_queue(classes[i]);
        submit_numbers(&f, 1, 2);
        assert_int_equal(collect(&f, 1, DELIVERY_FAILED), 1);
        assert_false(dedupe_seen(f.dedupe, "guid-1"));
    }
    assert_true(sample("mayfly_ingress_enqueue_errors_total") == failures + COUNT_OF(classes));
}

static void batch_that_a_queue_in_trouble_refuses_is_not_put_singly(void **state)
{
    open_fixture(1, 8, 10);
    submit_batch(true, NULL);
    assert_int_equal(collect(&f, 6, DELIVERY_FAILED), 5);
    assert_int_equal(calls_count("queue_put", NULL), 2);
}

static void assert_only_3_fails_of_a_batch(void)
{
    submit_batch(false, " key=3 ");
    assert_int_equal(collect(&f, 6, DELIVERY_QUEUED), 5);
    assert_false(dedupe_seen(f.dedupe, "guid-3"));
    assert_true(dedupe_seen(f.dedupe, "guid-5"));
    assert_int_equal(calls_count("queue_put", " n=5 "), 1);
    for (int i = 0; i < 6; i++) {
        char single[64];
        (void)snprintf(single, sizeof single, " n=1 {lane=events key=%d ", i);
        assert_int_equal(calls_count("queue_put", single), 1);
    }
    assert_int_equal(items_put(), 5);
}

static void poisoned_message_fails_alone(void **state)
{
    open_fixture(1, 8, 10);
    assert_only_3_fails_of_a_batch();
}

static void poisoned_message_fails_alone_with_a_spool_too(void **state)
{
    open_spooling(10);
    assert_only_3_fails_of_a_batch();
}

static void late_delivery_is_not_put(void **state)
{
    open_fixture(1, 8, 10);
    struct delivery *list = make_list(1, 3);
    list->submitted_us -= 11 * 1000000;
    intake_submit(f.in, list);
    assert_int_equal(collect(&f, 2, DELIVERY_LATE), 1);
    assert_int_equal(items_put(), 1);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
}

static void spooled_delivery_comes_back_spooled_and_is_remembered(void **state)
{
    open_spooling(10);
    fail_queue(ERR_RETRY);
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_SPOOLED), 1);
    assert_true(dedupe_seen(f.dedupe, "guid-1"));
    assert_int_equal(items_put(), 0);
    fail_queue(ERR_NONE);
    wait_until(is_direct);
    submit_numbers(&f, 2, 3);
    assert_int_equal(collect(&f, 1, DELIVERY_QUEUED), 1);
    assert_int_equal(calls_count("spool_commit", NULL), 2);
    assert_int_equal(items_put(), 2);
}

static void assert_commit(size_t n, int64_t submitted_us, const char *items)
{
    char wanted[256];
    snprintf(wanted, sizeof wanted, "n=%zu deadline_us=%lld crowded=0%s", n,
             (long long)submitted_us + ENQUEUE_TIMEOUT_MS * 1000LL, items);
    assert_string_equal(calls_args("spool_commit", NULL, 1), wanted);
    assert_int_equal(calls_count("spool_commit", NULL), 1);
}

static void commit_carries_the_delivery_and_its_deadline(void **state)
{
    open_spooling(10);
    struct delivery *d = make_list(7, 8);
    snprintf(d->messages.list[0].group, sizeof d->messages.list[0].group, "octo/repo");
    int64_t submitted_us = d->submitted_us;
    intake_submit(f.in, d);
    assert_int_equal(collect(&f, 1, DELIVERY_QUEUED), 1);
    assert_commit(1, submitted_us, " {lane=events key=7 group=octo/repo body={}}");
    assert_string_equal(
        calls_args("queue_put", NULL, 1),
        "memory://intake n=1 {lane=events key=7 group=octo/repo delay_ms=0 body={}}");
}

/* Of a batch the delivery that has waited longest decides. */
static void batch_has_the_deadline_of_its_oldest(void **state)
{
    open_spooling(10);
    struct delivery *list = make_list(0, 3);
    int64_t submitted_us = list->submitted_us;
    list->submitted_us = submitted_us + 2000000;
    list->next->submitted_us = submitted_us - 1000000;
    list->next->next->submitted_us = submitted_us;
    intake_submit(f.in, list);
    assert_int_equal(collect(&f, 3, DELIVERY_QUEUED), 3);
    assert_commit(3, submitted_us - 1000000,
                  " {lane=events key=0 group= body={}} {lane=events key=1 group= body={}}"
                  " {lane=events key=2 group= body={}}");
}

static void half_of_the_places_are_a_crowd(void **state)
{
    open_spooling(10);
    intake_submit(f.in, make_list(0, 5));
    assert_int_equal(collect(&f, 5, DELIVERY_QUEUED), 5);
    assert_int_equal(calls_count("spool_commit", " crowded=1 "), 1);
}

static void intake_without_threads_does_not_start(void **state)
{
    struct err e = {0};
    struct intake *in = NULL;
    const struct intake_options o = {.commit_threads = 3, .batch = 1, .max_in_flight = 1};
    forbid_threads();
    int rc = intake_start(&o, &in, &e);
    allow_threads();
    assert_int_equal(rc, -1);
    assert_null(in);
    assert_int_equal(e.class, ERR_CAPACITY);
}

static void full_spool_sends_home_refused_and_is_not_remembered(void **state)
{
    open_spooling(1);
    fail_queue(ERR_RETRY);
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_SPOOLED), 1);
    submit_numbers(&f, 2, 3);
    assert_int_equal(collect(&f, 1, DELIVERY_REFUSED), 1);
    assert_false(dedupe_seen(f.dedupe, "guid-2"));
}

static void delivery_that_no_queue_takes_is_failed_with_a_spool_too(void **state)
{
    open_spooling(10);
    fail_queue(ERR_PERMANENT);
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_FAILED), 1);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
}

static void late_delivery_is_spooled(void **state)
{
    open_spooling(10);
    struct delivery *late = make_list(1, 2);
    late->submitted_us -= 11 * 1000000;
    intake_submit(f.in, late);
    assert_int_equal(collect(&f, 1, DELIVERY_SPOOLED), 1);
    wait_until(is_direct);
    assert_int_equal(items_put(), 1);
}

static void stop_finishes_what_was_submitted(void **state)
{
    open_fixture(2, 4, 100);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 20);
    plan(false, false, NULL);
    intake_stop(f.in);
    f.in = NULL;
    struct delivery *d = mailbox_take(&f.mailbox);
    int n = 0;
    for (struct delivery *next; d != NULL; d = next, n++) {
        next = d->next;
        assert_int_equal(d->result, DELIVERY_QUEUED);
        job_messages_fini(&d->messages);
        free(d);
    }
    assert_int_equal(n, 20);
    assert_int_equal(items_put(), 20);
}

struct submitter {
    struct fixture own; /* with a mailbox of its own, and the shared intake */
    int from;
};

static void *submit_and_collect(void *arg)
{
    struct submitter *s = arg;
    for (int i = 0; i < 20; i++) {
        submit_numbers(&s->own, s->from + i * 10, s->from + i * 10 + 10);
        if (collect(&s->own, 10, DELIVERY_QUEUED) != 10) {
            return s;
        }
    }
    return NULL;
}

static void loops_get_their_own_back(void **state)
{
    struct submitter s[4];
    pthread_t threads[4];
    struct err e = {0};
    open_fixture(3, 16, 1000);
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        s[i] = (struct submitter){.own = {.in = f.in}, .from = (int)i * 1000};
        assert_int_equal(mailbox_init(&s[i].own.mailbox, &e), 0);
        assert_int_equal(pthread_create(&threads[i], NULL, submit_and_collect, &s[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        void *failed = &s[i];
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        mailbox_fini(&s[i].own.mailbox);
    }
    assert_int_equal(items_put(), 800);
    assert_int_equal(intake_in_flight(f.in), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(submit_comes_back_queued_and_is_remembered),
        CASE(busy_intake_gathers_a_batch),
        CASE(messages_of_a_delivery_are_in_one_put),
        CASE(reserve_at_the_bound_is_refused),
        CASE(failed_put_comes_back_failed_and_is_not_remembered),
        CASE(batch_that_a_queue_in_trouble_refuses_is_not_put_singly),
        CASE(poisoned_message_fails_alone),
        CASE(poisoned_message_fails_alone_with_a_spool_too),
        CASE(late_delivery_is_not_put),
        CASE(spooled_delivery_comes_back_spooled_and_is_remembered),
        CASE(commit_carries_the_delivery_and_its_deadline),
        CASE(batch_has_the_deadline_of_its_oldest),
        CASE(half_of_the_places_are_a_crowd),
        CASE(intake_without_threads_does_not_start),
        CASE(full_spool_sends_home_refused_and_is_not_remembered),
        CASE(delivery_that_no_queue_takes_is_failed_with_a_spool_too),
        CASE(late_delivery_is_spooled),
        CASE(stop_finishes_what_was_submitted),
        CASE(loops_get_their_own_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
