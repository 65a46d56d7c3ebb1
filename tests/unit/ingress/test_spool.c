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
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/log.h"
#include "ingress/spool.h"
#include "scripted_queue.h"

#define PATIENCE_MS 30000
#define LONG_US (PATIENCE_MS * 1000LL)

/* --- clocks and the fixture ------------------------------------------------------------------- */

static int64_t ahead_ms; /* atomic: of the wall clock */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000 +
           __atomic_load_n(&ahead_ms, __ATOMIC_RELAXED);
}

static int64_t mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static char folder[64];
static char path[96];
static struct spool *spool;

static int open_spool(int64_t max_messages, struct err *e)
{
    const struct spool_options o = {.path = path,
                                    .queue_url = "fake://",
                                    .max_messages = max_messages,
                                    .max_age_ms = 60000,
                                    .batch = 4,
                                    .retry_ms = 100,
                                    .put_deadline_ms = PATIENCE_MS,
                                    .committers = 2,
                                    .opened = scripted_opened};
    spool = NULL;
    return spool_open(&o, &spool, e);
}

static void open_good(int64_t max_messages)
{
    struct err e = {0};
    if (open_spool(max_messages, &e) != 0) {
        fail_msg("spool_open: %s", e.message);
    }
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mayfly-spool-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spool.db", folder);
    scripted_reset();
    ahead_ms = 0;
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    (void)state;
    spool_close(spool);
    spool = NULL;
    return fs_remove_tree(folder, &e);
}

/* One batch, of consecutive numbers; body and group say the number too. */
static int commit_until(int from, int to, int64_t deadline_us, bool *spooled, struct err *e)
{
    char keys[16][8];
    char groups[16][16];
    struct queue_item items[16];
    assert_in_range(to - from, 1, 16);
    for (int i = 0; i < to - from; i++) {
        snprintf(keys[i], sizeof keys[i], "%d", from + i);
        snprintf(groups[i], sizeof groups[i], "acme/%d", from + i);
        items[i] = (struct queue_item){.lane = "launch.small",
                                       .body = slice_of(groups[i]),
                                       .key = keys[i],
                                       .group = groups[i]};
    }
    return spool_commit(spool, items, (size_t)(to - from), deadline_us, spooled, e);
}

static void commit(int from, int to, bool wanted_spooled)
{
    struct err e = {0};
    bool spooled = !wanted_spooled;
    if (commit_until(from, to, mono_us() + LONG_US, &spooled, &e) != 0) {
        fail_msg("spool_commit: %s", e.message);
    }
    assert_int_equal(spooled, wanted_spooled);
}

static void commit_refused(int from, int to, enum err_class class)
{
    struct err e = {0};
    bool spooled;
    assert_int_equal(commit_until(from, to, mono_us() + LONG_US, &spooled, &e), -1);
    assert_string_equal(err_class_name(e.class), err_class_name(class));
}

static int64_t held(void)
{
    struct spool_view view;
    spool_look(spool, &view);
    return view.messages;
}

static void wait_direct(void)
{
    struct spool_view view;
    int64_t until_us = mono_us() + LONG_US;
    for (spool_look(spool, &view); !view.direct; spool_look(spool, &view)) {
        assert_true(mono_us() < until_us);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(view.messages, 0);
    assert_int_equal(view.oldest_age_ms, 0);
}

/* Exactly these numbers arrived, in order. */
static void check_arrived(int from, int to)
{
    assert_int_equal(fake.arrived, to - from);
    for (int i = 0; i < to - from; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", from + i);
        assert_string_equal(fake.keys[i], text);
        snprintf(text, sizeof text, "acme/%d", from + i);
        assert_string_equal(fake.groups[i], text);
        assert_string_equal(fake.bodies[i], text);
    }
}

/* --- the cases -------------------------------------------------------------------------------- */

static void healthy_queue_takes_deliveries_directly(void **state)
{
    (void)state;
    open_good(100);
    commit(0, 3, false);
    assert_int_equal(held(), 0);
    check_arrived(0, 3);
    assert_int_equal(scripted_count(&fake.told), 1);
}

static void refused_put_is_spooled_and_moved_on_in_order(void **state)
{
    const enum err_class classes[] = {ERR_RETRY, ERR_THROTTLED, ERR_CAPACITY, ERR_AUTH};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        fake.arrived = 0;
        open_good(100);
        scripted_refuse(classes[i]);
        commit(0, 6, true);
        commit(6, 11, true);
        assert_int_equal(held(), 11);
        assert_int_equal(scripted_count(&fake.arrived), 0);
        scripted_refuse(ERR_NONE);
        wait_direct();
        check_arrived(0, 11);
        commit(11, 12, false);
        check_arrived(0, 12);
        spool_close(spool);
        spool = NULL;
    }
}

static void failed_drain_keeps_everything(void **state)
{
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 6, true);
    scripted_wait_above(&fake.refused, 4);
    assert_int_equal(held(), 6);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 6);
}

static void put_past_its_deadline_is_spooled_and_the_next_do_not_wait(void **state)
{
    struct err e = {0};
    bool spooled = false;
    (void)state;
    open_good(100);
    scripted_set(&fake.blocked, true);
    size_t begun = scripted_count(&fake.puts);
    assert_int_equal(commit_until(0, 1, mono_us() + 20000, &spooled, &e), 0);
    assert_true(spooled);
    /* A machine that is busy enough may not have begun it. */
    size_t left = scripted_count(&fake.puts) - begun;
    /* The queue still hangs; nobody waits for it but the drainer and the put left behind. */
    commit(1, 2, true);
    commit(2, 3, true);
    scripted_set(&fake.blocked, false);
    wait_direct();
    /* The put that was left behind arrived as well: at least once. */
    scripted_wait_above(&fake.arrived, 2 + left);
    assert_int_equal(fake.arrived, 3 + left);
    commit(3, 4, false);
}

static void deadline_already_past_is_spooled_unput(void **state)
{
    struct err e = {0};
    bool spooled = false;
    (void)state;
    open_good(100);
    assert_int_equal(commit_until(0, 1, mono_us() - 1, &spooled, &e), 0);
    assert_true(spooled);
    wait_direct();
    check_arrived(0, 1);
}

static void new_delivery_goes_behind_what_is_spooled(void **state)
{
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 2, true);
    size_t before = scripted_count(&fake.puts);
    scripted_set(&fake.blocked, true);
    scripted_refuse(ERR_NONE);
    scripted_wait_above(&fake.puts, before);
    commit(2, 3, true);
    scripted_set(&fake.blocked, false);
    wait_direct();
    check_arrived(0, 3);
}

static void full_spool_refuses_until_there_is_room(void **state)
{
    (void)state;
    open_good(4);
    scripted_refuse(ERR_RETRY);
    commit(0, 3, true);
    commit_refused(9, 11, ERR_CAPACITY);
    commit(3, 4, true);
    commit_refused(9, 10, ERR_CAPACITY);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 4);
    commit(4, 5, false);
}

static void spool_over_age_refuses_and_still_moves_on(void **state)
{
    struct spool_view view;
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 1, true);
    __atomic_store_n(&ahead_ms, 61000, __ATOMIC_RELAXED);
    commit_refused(9, 10, ERR_CAPACITY);
    spool_look(spool, &view);
    assert_true(view.over_age);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 1);
    commit(1, 2, false);
}

static void full_disk_refuses_and_counts_nothing(void **state)
{
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    scripted_set(&fake.disk_full, true);
    commit_refused(0, 1, ERR_CAPACITY);
    assert_int_equal(held(), 0);
    scripted_set(&fake.disk_full, false);
    commit(0, 1, true);
    scripted_set(&fake.disk_full, true);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 1);
}

static void restart_moves_on_what_it_finds_first(void **state)
{
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 6, true);
    scripted_wait_above(&fake.refused, 1);
    spool_close(spool);
    open_good(100);
    assert_int_equal(held(), 6);
    commit(6, 7, true);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 7);
}

static void queue_away_at_the_start_is_opened_later(void **state)
{
    (void)state;
    fake.closed = ERR_RETRY;
    open_good(100);
    commit(0, 2, true);
    scripted_wait_above(&fake.opens, 2);
    pthread_mutex_lock(&fake.lock);
    fake.closed = ERR_NONE;
    pthread_mutex_unlock(&fake.lock);
    wait_direct();
    check_arrived(0, 2);
    assert_int_equal(scripted_count(&fake.told), 1);
}

static void queue_that_will_never_open_is_an_error(void **state)
{
    struct err e = {0};
    (void)state;
    fake.closed = ERR_PERMANENT;
    assert_int_equal(open_spool(100, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_null(spool);
}

static void message_refused_for_good_fails_and_is_not_spooled(void **state)
{
    (void)state;
    open_good(100);
    scripted_poison("1");
    commit_refused(0, 3, ERR_PERMANENT);
    assert_int_equal(held(), 0);
    commit(5, 6, false);
}

static void poisoned_message_in_the_spool_is_buried_alone(void **state)
{
    struct queue *file = NULL;
    struct queue_entry *dead = NULL;
    size_t n = 0;
    struct err e = {0};
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 3, true);
    scripted_poison("1");
    scripted_refuse(ERR_NONE);
    wait_direct();
    assert_int_equal(fake.arrived, 2);
    assert_string_equal(fake.keys[0], "0");
    assert_string_equal(fake.keys[1], "2");
    spool_close(spool);
    spool = NULL;
    char url[128];
    snprintf(url, sizeof url, "sqlite://%s", path);
    assert_int_equal(queue_open(url, &file, &e), 0);
    assert_int_equal(queue_dead(file, NULL, 10, &dead, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_string_equal(dead[0].message.key, "1");
    queue_entries_free(dead, n);
    queue_close(file);
}

static void queue_that_refuses_all_for_good_buries_nothing(void **state)
{
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 3, true);
    scripted_refuse(ERR_PERMANENT);
    size_t before = scripted_count(&fake.refused);
    scripted_wait_above(&fake.refused, before + 8);
    assert_int_equal(held(), 3);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 3);
}

/* --- one process a file ------------------------------------------------------------------------
 */

static void check_refused(const char *name)
{
    struct err e = {0};
    struct spool *first = spool;
    char real[sizeof path];
    memcpy(real, path, sizeof path);
    memmove(path, name, strlen(name) + 1);
    assert_int_equal(open_spool(100, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_non_null(strstr(e.message, path));
    assert_non_null(strstr(e.message, "ingress.spool.path"));
    char owner[64];
    snprintf(owner, sizeof owner, "process %d holds", (int)getpid());
    assert_non_null(strstr(e.message, owner));
    memcpy(path, real, sizeof path);
    spool = first;
}

static void second_spool_of_a_file_is_refused(void **state)
{
    (void)state;
    open_good(100);
    scripted_refuse(ERR_RETRY);
    commit(0, 2, true);
    check_refused(path);
    /* The first one goes on, and its lock outlives the other's attempt. */
    commit(2, 3, true);
    check_refused(path);
    scripted_refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 3);
}

static void second_name_of_a_spool_is_refused_too(void **state)
{
    char alias[128];
    (void)state;
    open_good(100);
    snprintf(alias, sizeof alias, "%s/alias.db", folder);
    assert_int_equal(symlink(path, alias), 0);
    check_refused(alias);
    snprintf(alias, sizeof alias, "%s/alias", folder);
    assert_int_equal(symlink(folder, alias), 0);
    snprintf(alias, sizeof alias, "%s/alias/spool.db", folder);
    check_refused(alias);
}

static void closed_spool_is_free_again(void **state)
{
    (void)state;
    open_good(100);
    spool_close(spool);
    open_good(100);
    commit(0, 1, false);
}

/* --- committers at once, as ThreadSanitizer likes it ------------------------------------------ */

static void *commit_many(void *arg)
{
    int base = *(const int *)arg;
    for (int i = 0; i < 20; i++) {
        struct err e = {0};
        bool spooled;
        if (commit_until(base + i, base + i + 1, mono_us() + LONG_US, &spooled, &e) != 0) {
            return arg;
        }
        if (i % 7 == 3) {
            scripted_refuse(ERR_RETRY);
        } else if (i % 7 == 6) {
            scripted_refuse(ERR_NONE);
        }
    }
    return NULL;
}

static void committers_and_outages_lose_nothing(void **state)
{
    pthread_t threads[3];
    int bases[3] = {100, 200, 300};
    (void)state;
    open_good(1000);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &bases[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed = &bases[i];
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    scripted_refuse(ERR_NONE);
    wait_direct();
    bool seen[400] = {false};
    size_t distinct = 0;
    for (size_t i = 0; i < fake.arrived; i++) {
        int key = (int)strtol(fake.keys[i], NULL, 10);
        distinct += !seen[key];
        seen[key] = true;
    }
    assert_int_equal(distinct, 60);
}

int main(void)
{
    const struct clock_source clocks = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&clocks);
    log_set_level(LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(healthy_queue_takes_deliveries_directly),
        CASE(refused_put_is_spooled_and_moved_on_in_order),
        CASE(failed_drain_keeps_everything),
        CASE(put_past_its_deadline_is_spooled_and_the_next_do_not_wait),
        CASE(deadline_already_past_is_spooled_unput),
        CASE(new_delivery_goes_behind_what_is_spooled),
        CASE(full_spool_refuses_until_there_is_room),
        CASE(spool_over_age_refuses_and_still_moves_on),
        CASE(full_disk_refuses_and_counts_nothing),
        CASE(restart_moves_on_what_it_finds_first),
        CASE(queue_away_at_the_start_is_opened_later),
        CASE(queue_that_will_never_open_is_an_error),
        CASE(message_refused_for_good_fails_and_is_not_spooled),
        CASE(poisoned_message_in_the_spool_is_buried_alone),
        CASE(queue_that_refuses_all_for_good_buries_nothing),
        CASE(second_spool_of_a_file_is_refused),
        CASE(second_name_of_a_spool_is_refused_too),
        CASE(closed_spool_is_free_again),
        CASE(committers_and_outages_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
