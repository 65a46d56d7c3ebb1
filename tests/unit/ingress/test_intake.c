#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "ingress/intake.h"
#include "tests/lib/calls.h"
#include "tests/lib/must.h"

/* --- the queue, and what goes wrong with it ----------------------------------------------------
 */

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

static void wait_for_puts(size_t n)
{
    calls_wait_count("queue_put", NULL, n);
}

/* Takes what arrived; how much that was. */
static size_t items_put(void)
{
    struct queue_message m[64];
    size_t n = 0;
    size_t got = 1;
    struct err e;
    while (got > 0) {
        MUST(queue_take(queue, "events", 64, 60000, 0, m, &got, &e));
        for (size_t i = 0; i < got; i++) {
            assert_string_equal(m[i].body, "{}");
            MUST(queue_done(queue, &m[i], 1, &e));
            queue_message_fini(&m[i]);
        }
        n += got;
    }
    return n;
}

/* --- a spool that does what the test says --- */
static enum err_class spool_refusal; /* ERR_NONE: it takes everything */
static bool spool_is_direct;
static size_t items_committed;
static struct {
    int64_t deadline_us;
    char lane[32], key[32], group[32], body[32];
} last_commit; /* its first item */

int spool_commit(struct spool *s, const struct queue_item *items, size_t n, int64_t deadline_us,
                 bool *spooled, struct err *e)
{
    (void)s;
    last_commit.deadline_us = deadline_us;
    snprintf(last_commit.lane, sizeof last_commit.lane, "%s", items[0].lane);
    snprintf(last_commit.key, sizeof last_commit.key, "%s", items[0].key);
    snprintf(last_commit.group, sizeof last_commit.group, "%s", items[0].group);
    assert_true(slice_to_cstr(items[0].body, last_commit.body, sizeof last_commit.body));
    if (spool_refusal != ERR_NONE) {
        return err_set(e, spool_refusal, 0, "deadline %lld", (long long)deadline_us);
    }
    items_committed += n;
    *spooled = !spool_is_direct;
    return 0;
}

/* --- a loop's side -----------------------------------------------------------------------------
 */

struct fixture {
    struct intake *in;
    struct dedupe *dedupe;
    struct mailbox mailbox;
};

static void open_with(struct fixture *f, int64_t commit_threads, int64_t batch, int64_t max,
                      struct spool *spool)
{
    struct err e = {0};
    calls_reset();
    MUST(queue_open("memory://intake", &queue, &e));
    f->dedupe = dedupe_new(1000);
    assert_int_equal(mailbox_init(&f->mailbox, &e), 0);
    const struct intake_options o = {.queue = queue,
                                     .dedupe = f->dedupe,
                                     .spool = spool,
                                     .commit_threads = commit_threads,
                                     .batch = batch,
                                     .max_in_flight = max,
                                     .enqueue_timeout_ms = 10000};
    assert_int_equal(intake_start(&o, &f->in, &e), 0);
}

static void open_fixture(struct fixture *f, int64_t commit_threads, int64_t batch, int64_t max)
{
    open_with(f, commit_threads, batch, max, NULL);
}

static void open_spooling(struct fixture *f)
{
    static int handle;
    spool_refusal = ERR_NONE;
    spool_is_direct = false;
    items_committed = 0;
    open_with(f, 1, 8, 10, (struct spool *)(void *)&handle);
}

static void close_fixture(struct fixture *f)
{
    intake_stop(f->in);
    (void)items_put();
    queue_close(queue);
    mailbox_fini(&f->mailbox);
    dedupe_free(f->dedupe);
}

static struct delivery *make(struct fixture *f, int number)
{
    struct delivery *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->home = &f->mailbox;
    d->submitted_us = clock_mono_us();
    buf_init(&d->message.body, 16);
    buf_append_cstr(&d->message.body, "{}");
    snprintf(d->message.lane, sizeof d->message.lane, "events");
    snprintf(d->message.key, sizeof d->message.key, "%d", number);
    snprintf(d->guid, sizeof d->guid, "guid-%d", number);
    return d;
}

/* Takes the next that comes home, waiting for it. */
static struct delivery *come_home(struct fixture *f, struct delivery **rest)
{
    while (*rest == NULL) {
        struct pollfd p = {.fd = mailbox_fd(&f->mailbox), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 30000), 1);
        *rest = mailbox_take(&f->mailbox);
    }
    struct delivery *d = *rest;
    *rest = d->next;
    return d;
}

static size_t collect(struct fixture *f, size_t n, enum delivery_result wanted)
{
    struct delivery *rest = NULL;
    size_t as_wanted = 0;
    for (size_t i = 0; i < n; i++) {
        struct delivery *d = come_home(f, &rest);
        as_wanted += d->result == wanted;
        job_message_fini(&d->message);
        free(d);
        intake_release(f->in);
    }
    assert_null(rest);
    return as_wanted;
}

static void submit_numbers(struct fixture *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        assert_true(intake_reserve(f->in));
        intake_submit(f->in, make(f, i));
    }
}

/* --- the cases ---------------------------------------------------------------------------------
 */

static void submit_comes_back_queued_and_is_remembered(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 1, 8, 10);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_QUEUED), 1);
    assert_true(dedupe_seen(f.dedupe, "guid-1"));
    assert_int_equal(intake_in_flight(f.in), 0);
    close_fixture(&f);
}

static void busy_intake_gathers_a_batch(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 1, 16, 100);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 1);
    wait_for_puts(1);
    submit_numbers(&f, 1, 41);
    plan(false, false, NULL);
    assert_int_equal(collect(&f, 41, DELIVERY_QUEUED), 41);
    assert_int_equal(calls_done("queue_put", NULL), 1 + 3);
    assert_int_equal(calls_done("queue_put", " n=16 "), 2);
    assert_int_equal(items_put(), 41);
    close_fixture(&f);
}

static void several_committers_work_at_once(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 3, 1, 100);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 3);
    wait_for_puts(3);
    plan(false, false, NULL);
    assert_int_equal(collect(&f, 3, DELIVERY_QUEUED), 3);
    close_fixture(&f);
}

static void reserve_at_the_bound_is_refused(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 1, 8, 2);
    assert_true(intake_reserve(f.in));
    assert_true(intake_reserve(f.in));
    assert_false(intake_reserve(f.in));
    intake_release(f.in);
    assert_true(intake_reserve(f.in));
    intake_release(f.in);
    intake_release(f.in);
    close_fixture(&f);
}

static void failed_put_comes_back_failed_and_is_not_remembered(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 1, 8, 10);
    plan(false, true, NULL);
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_FAILED), 1);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
    close_fixture(&f);
}

static void poisoned_message_fails_alone(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 1, 8, 10);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 1);
    wait_for_puts(1);
    submit_numbers(&f, 1, 6);
    plan(false, false, " key=3 ");
    assert_int_equal(collect(&f, 6, DELIVERY_QUEUED), 5);
    assert_false(dedupe_seen(f.dedupe, "guid-3"));
    assert_true(dedupe_seen(f.dedupe, "guid-5"));
    close_fixture(&f);
}

static void late_delivery_is_not_put(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 1, 8, 10);
    struct delivery *late = make(&f, 1);
    struct delivery *timely = make(&f, 2);
    late->submitted_us -= 11 * 1000000;
    late->next = timely;
    assert_true(intake_reserve(f.in));
    assert_true(intake_reserve(f.in));
    intake_submit(f.in, late);
    assert_int_equal(collect(&f, 2, DELIVERY_LATE), 1);
    assert_int_equal(items_put(), 1);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
    close_fixture(&f);
}

static void spooled_delivery_comes_back_spooled_and_is_remembered(void **state)
{
    struct fixture f;
    (void)state;
    open_spooling(&f);
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_SPOOLED), 1);
    assert_true(dedupe_seen(f.dedupe, "guid-1"));
    spool_is_direct = true;
    submit_numbers(&f, 2, 3);
    assert_int_equal(collect(&f, 1, DELIVERY_QUEUED), 1);
    assert_int_equal(items_put(), 0);
    close_fixture(&f);
}

static void commit_carries_the_delivery_and_its_deadline(void **state)
{
    struct fixture f;
    (void)state;
    open_spooling(&f);
    struct delivery *d = make(&f, 7);
    snprintf(d->message.group, sizeof d->message.group, "octo/repo");
    int64_t submitted_us = d->submitted_us;
    assert_true(intake_reserve(f.in));
    intake_submit(f.in, d);
    assert_int_equal(collect(&f, 1, DELIVERY_SPOOLED), 1);
    assert_int_equal(last_commit.deadline_us, submitted_us + 10000 * 1000);
    assert_string_equal(last_commit.lane, "events");
    assert_string_equal(last_commit.key, "7");
    assert_string_equal(last_commit.group, "octo/repo");
    assert_string_equal(last_commit.body, "{}");
    close_fixture(&f);
}

/* Of a batch the delivery that has waited longest decides. */
static void batch_has_the_deadline_of_its_oldest(void **state)
{
    struct fixture f;
    (void)state;
    open_spooling(&f);
    struct delivery *list[3];
    for (int i = 0; i < 3; i++) {
        list[i] = make(&f, i);
        assert_true(intake_reserve(f.in));
    }
    int64_t submitted_us = list[0]->submitted_us;
    list[0]->submitted_us = submitted_us + 2000000;
    list[1]->submitted_us = submitted_us - 1000000;
    list[0]->next = list[1];
    list[1]->next = list[2];
    intake_submit(f.in, list[0]);
    assert_int_equal(collect(&f, 3, DELIVERY_SPOOLED), 3);
    assert_int_equal(last_commit.deadline_us, submitted_us - 1000000 + 10000 * 1000);
    close_fixture(&f);
}

static void intake_without_threads_does_not_start(void **state)
{
    pthread_attr_t usual;
    pthread_attr_t huge;
    struct err e = {0};
    struct intake *in = NULL;
    const struct intake_options o = {
        .commit_threads = 3, .batch = 1, .max_in_flight = 1, .enqueue_timeout_ms = 1};
    (void)state;
    /* A stack that no machine has room for. */
    assert_int_equal(pthread_getattr_default_np(&usual), 0);
    assert_int_equal(pthread_attr_init(&huge), 0);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 47), 0);
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    int rc = intake_start(&o, &in, &e);
    assert_int_equal(pthread_setattr_default_np(&usual), 0);
    assert_int_equal(rc, -1);
    assert_null(in);
    assert_int_equal(e.class, ERR_CAPACITY);
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&usual);
}

static void full_spool_sends_home_refused_and_is_not_remembered(void **state)
{
    struct fixture f;
    (void)state;
    open_spooling(&f);
    spool_refusal = ERR_CAPACITY;
    submit_numbers(&f, 1, 2);
    assert_int_equal(collect(&f, 1, DELIVERY_REFUSED), 1);
    assert_false(dedupe_seen(f.dedupe, "guid-1"));
    spool_refusal = ERR_PERMANENT;
    submit_numbers(&f, 2, 3);
    assert_int_equal(collect(&f, 1, DELIVERY_FAILED), 1);
    close_fixture(&f);
}

static void late_delivery_is_spooled(void **state)
{
    struct fixture f;
    (void)state;
    open_spooling(&f);
    struct delivery *late = make(&f, 1);
    late->submitted_us -= 11 * 1000000;
    assert_true(intake_reserve(f.in));
    intake_submit(f.in, late);
    assert_int_equal(collect(&f, 1, DELIVERY_SPOOLED), 1);
    assert_int_equal(items_committed, 1);
    close_fixture(&f);
}

static void stop_finishes_what_was_submitted(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f, 2, 4, 100);
    plan(true, false, NULL);
    submit_numbers(&f, 0, 20);
    plan(false, false, NULL);
    intake_stop(f.in);
    struct delivery *d = mailbox_take(&f.mailbox);
    size_t n = 0;
    while (d != NULL) {
        struct delivery *next = d->next;
        assert_int_equal(d->result, DELIVERY_QUEUED);
        job_message_fini(&d->message);
        free(d);
        d = next;
        n++;
    }
    assert_int_equal(n, 20);
    assert_int_equal(items_put(), 20);
    queue_close(queue);
    mailbox_fini(&f.mailbox);
    dedupe_free(f.dedupe);
}

/* --- many threads, as ThreadSanitizer likes it --------------------------------------------------
 */

struct submitter {
    struct fixture *f; /* with a mailbox of its own, and a shared intake */
    struct fixture own;
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
    struct fixture f;
    struct submitter s[4];
    pthread_t threads[4];
    struct err e = {0};
    (void)state;
    open_fixture(&f, 3, 16, 1000);
    for (size_t i = 0; i < COUNT_OF(s); i++) {
        s[i] = (struct submitter){.f = &f, .own = {.in = f.in}, .from = (int)i * 1000};
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
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(submit_comes_back_queued_and_is_remembered),
        cmocka_unit_test(busy_intake_gathers_a_batch),
        cmocka_unit_test(several_committers_work_at_once),
        cmocka_unit_test(reserve_at_the_bound_is_refused),
        cmocka_unit_test(failed_put_comes_back_failed_and_is_not_remembered),
        cmocka_unit_test(poisoned_message_fails_alone),
        cmocka_unit_test(late_delivery_is_not_put),
        cmocka_unit_test(spooled_delivery_comes_back_spooled_and_is_remembered),
        cmocka_unit_test(commit_carries_the_delivery_and_its_deadline),
        cmocka_unit_test(batch_has_the_deadline_of_its_oldest),
        cmocka_unit_test(intake_without_threads_does_not_start),
        cmocka_unit_test(full_spool_sends_home_refused_and_is_not_remembered),
        cmocka_unit_test(late_delivery_is_spooled),
        cmocka_unit_test(stop_finishes_what_was_submitted),
        cmocka_unit_test(loops_get_their_own_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
