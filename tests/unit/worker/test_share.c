/*
 * The fair-share rule of the launch threads, as a table.
 */

#include "common/base/slice.h"
#include "tests/lib/cmocka.h"
#include "worker/share.h"

static void free_thread_goes_where_the_rule_says(void **state)
{
    const struct {
        const char *why;
        size_t threads;
        size_t idle;
        int picked;
        struct share_class classes[3]; /* launching, polled, has work, picked, retired */
    } cases[] = {
        {"all idle: who was picked longest ago",
         8,
         8,
         1,
         {{0, 0, 0, 5, 0}, {0, 0, 0, 3, 0}, {0, 0, 0, 4, 0}}},
        {"one that has work before one that has none",
         8,
         8,
         2,
         {{0, 0, 0, 1, 0}, {0, 0, 0, 2, 0}, {0, 0, 1, 3, 0}}},
        {"a class without a thread before one with",
         8,
         3,
         1,
         {{1, 0, 1, 1, 0}, {0, 0, 0, 9, 0}, {3, 1, 1, 2, 0}}},
        {"the fewest launches first", 8, 2, 2, {{3, 0, 1, 1, 0}, {2, 0, 1, 2, 0}, {1, 0, 1, 3, 0}}},
        {"never two polls of a class",
         8,
         5,
         -1,
         {{1, 1, 1, 1, 0}, {1, 1, 1, 2, 0}, {0, 1, 1, 3, 0}}},
        {"no free thread, no pick", 8, 0, -1, {{3, 0, 1, 1, 0}, {3, 0, 1, 2, 0}, {2, 0, 1, 3, 0}}},
        {"past its share while the others have no work",
         9,
         4,
         0,
         {{3, 0, 1, 1, 0}, {0, 1, 0, 2, 0}, {0, 1, 0, 3, 0}}},
        {"up to every thread but one for each of the others",
         9,
         1,
         0,
         {{6, 0, 1, 1, 0}, {0, 1, 0, 2, 0}, {0, 1, 0, 3, 0}}},
        {"not past its share when another has work and could need the thread",
         9,
         2,
         -1,
         {{3, 0, 1, 1, 0}, {0, 1, 1, 2, 0}, {2, 1, 1, 3, 0}}},
        {"past its share by what the others cannot claim",
         9,
         3,
         0,
         {{3, 0, 1, 1, 0}, {0, 1, 1, 2, 0}, {1, 1, 0, 3, 0}}},
        {"not one that is retired, and nothing is kept for it",
         2,
         1,
         1,
         {{0, 0, 1, 1, 1}, {1, 0, 1, 2, 0}, {0, 0, 0, 0, 1}}},
        {"none that is retired", 9, 9, -1, {{0, 0, 1, 1, 1}, {0, 0, 1, 2, 1}, {0, 0, 0, 3, 1}}},
        {"within its share whatever the others claim",
         9,
         1,
         0,
         {{2, 0, 0, 1, 0}, {3, 1, 1, 2, 0}, {1, 1, 1, 3, 0}}},
        {"one thread for each class is enough to serve all",
         3,
         1,
         2,
         {{1, 0, 1, 1, 0}, {0, 1, 0, 2, 0}, {0, 0, 0, 3, 0}}},
        {"and none holds two of them",
         3,
         1,
         0,
         {{0, 0, 1, 1, 0}, {1, 0, 1, 0, 0}, {0, 1, 0, 0, 0}}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int picked = share_pick(cases[i].classes, 3, cases[i].threads, cases[i].idle);
        if (picked != cases[i].picked) {
            fail_msg("%s: %d instead of %d", cases[i].why, picked, cases[i].picked);
        }
    }
}

/* Every thread that is free takes what it is given, until none is; then one class's launches end.
 */
static void no_class_holds_more_than_its_share_while_others_have_work(void **state)
{
    struct share_class c[3] = {
        {0, false, true, 0, false}, {0, false, true, 0, false}, {0, false, true, 0, false}};
    size_t idle = 9;
    for (int i; (i = share_pick(c, 3, 9, idle)) >= 0; idle--) {
        c[i].launching++;
        c[i].picked++;
    }
    assert_int_equal(idle, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c[i].launching, 3);
    }
    for (int round = 0; round < 20; round++) { /* the others' boots last 180 s */
        c[1].launching--;
        assert_int_equal(share_pick(c, 3, 9, 1), 1);
        c[1].launching++;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_thread_goes_where_the_rule_says),
        cmocka_unit_test(no_class_holds_more_than_its_share_while_others_have_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
