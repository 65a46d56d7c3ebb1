/*
 * One process for each spool: a second one is refused, by whatever name it knows the file.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/log.h"
#include "ingress/spool.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

static char folder[64];
static char path[96];
static struct spool *spool;

static int open_spool(const char *at, struct spool **out, struct err *e)
{
    const struct spool_options o = {.path = at,
                                    .queue_url = "memory://spool-lock",
                                    .max_messages = 100,
                                    .max_age_ms = 60000,
                                    .batch = 4,
                                    .retry_ms = 100,
                                    .after_ms = 60000,
                                    .commit_threads = 1};
    return spool_open(&o, out, e);
}

static int set_up(void **state)
{
    struct err e = {0};
    snprintf(folder, sizeof folder, "/tmp/mayfly-lock-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spool.db", folder);
    MUST(open_spool(path, &spool, &e));
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    spool_close(spool);
    return fs_remove_tree(folder, &e);
}

static void check_refused(const char *name)
{
    struct err e = {0};
    struct spool *second = NULL;
    char owner[64];
    must_fail(open_spool(name, &second, &e), &e, ERR_CONFLICT);
    assert_null(second);
    assert_non_null(strstr(e.message, name));
    assert_non_null(strstr(e.message, "ingress.spool.path"));
    snprintf(owner, sizeof owner, "process %d holds", (int)getpid());
    assert_non_null(strstr(e.message, owner));
}

static void check_works(void)
{
    struct err e = {0};
    bool spooled = true;
    const struct queue_item item = {.lane = "events", .body = SLICE("{}"), .key = ""};
    const struct spool_caller caller = {.deadline_us = clock_mono_us() + 30000000};
    MUST(spool_commit(spool, &item, 1, &caller, &spooled, &e));
    assert_false(spooled);
}

static void second_spool_of_a_file_is_refused(void **state)
{
    check_refused(path);
    /* The first one goes on, and its lock outlives the other's attempt. */
    check_works();
    check_refused(path);
}

static void second_name_of_a_spool_is_refused_too(void **state)
{
    char alias[128];
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
    struct err e = {0};
    spool_close(spool);
    spool = NULL;
    MUST(open_spool(path, &spool, &e));
    check_works();
}

int main(void)
{
    log_set_level(LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(second_spool_of_a_file_is_refused),
        CASE(second_name_of_a_spool_is_refused_too),
        CASE(closed_spool_is_free_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
