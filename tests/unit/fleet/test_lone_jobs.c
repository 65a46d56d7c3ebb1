/* When a refusal is the job's own trouble: not in an outage, and not because a peer is flapping. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fleet/lone_jobs.h"
#include "tests/lib/cmocka.h"

static struct lone_jobs *jobs;

static int set_up(void **state)
{
    (void)state;
    jobs = lone_jobs_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lone_jobs_free(jobs);
    return 0;
}

static struct subjects subjects(const char *owner, const char *class)
{
    struct subjects s = {0};
    (void)snprintf(s.names[SUBJECT_GROUP], LEDGER_CELL_NAME, "runner_group:%s/default", owner);
    (void)snprintf(s.names[SUBJECT_LABELS], LEDGER_CELL_NAME, "labels:%s/%s", owner, class);
    (void)snprintf(s.names[SUBJECT_CLASS], LEDGER_CELL_NAME, "class:%s", class);
    return s;
}

static bool refuse(const struct subjects *s, enum subject subject, int64_t job,
                   enum err_class class, int code)
{
    struct err e;
    const struct verdict v = {.subject = subject, .treatment = TREAT_WAIT};
    (void)err_set(&e, class, code, "no");
    e.from = subject == SUBJECT_CLASS ? ERR_FROM_PROVIDER : ERR_FROM_GITHUB;
    return lone_jobs_failed(jobs, s, &v, job, &e);
}

static bool refuse_422(const struct subjects *s, int64_t job)
{
    return refuse(s, SUBJECT_LABELS, job, ERR_PERMANENT, 422);
}

static void others_work(const struct subjects *s)
{
    lone_jobs_worked(jobs, s, SUBJECTS_OF_GITHUB);
    lone_jobs_worked(jobs, s, SUBJECTS_OF_PROVIDER);
}

static void job_that_alone_is_refused_is_its_own_trouble(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    for (int round = 0; round < LONE_ROUNDS; round++) {
        assert_false(refuse_422(&s, 1));
        others_work(&s);
    }
    assert_true(refuse_422(&s, 1));
    assert_false(refuse_422(&s, 1)); /* nothing has worked since */
    others_work(&s);
    assert_true(refuse_422(&s, 1));
    assert_false(refuse_422(&s, 2)); /* another job begins anew */
}

static void refusal_of_a_provider_counts_where_the_class_works(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    const struct subjects other_owner = subjects("other", "small");
    const struct subjects other_class = subjects("acme", "large");
    for (int round = 0; round < 20; round++) {
        assert_false(refuse(&s, SUBJECT_CLASS, 1, ERR_PERMANENT, 400));
        others_work(&other_class);
        lone_jobs_worked(jobs, &s, SUBJECTS_OF_GITHUB); /* its own registration */
    }
    bool own = false;
    for (int round = 0; round <= LONE_ROUNDS; round++) {
        own = refuse(&s, SUBJECT_CLASS, 1, ERR_PERMANENT, 400);
        others_work(&other_owner);
    }
    assert_true(own);
}

static void nothing_works_in_an_outage(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    const struct subjects elsewhere = subjects("other", "small");
    const struct subjects other_labels = subjects("acme", "large");
    for (int round = 0; round < 100; round++) {
        assert_false(refuse_422(&s, 1));
        others_work(&elsewhere);
        others_work(&other_labels); /* the same group, with labels that GitHub accepts */
    }
}

static void different_failure_in_between_begins_anew(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    for (int i = 0; i < 100; i++) {
        bool own = i % 3 == 2 ? refuse(&s, SUBJECT_GROUP, 1, ERR_RETRY, 502) : refuse_422(&s, 1);
        assert_false(own);
        others_work(&s);
    }
}

static void trouble_that_passes_by_itself_is_nobodys_own(void **state)
{
    static const struct {
        enum subject subject;
        enum err_class class;
        int code;
    } cases[] = {{SUBJECT_GROUP, ERR_RETRY, 502},       {SUBJECT_GITHUB, ERR_RETRY, 0},
                 {SUBJECT_GROUP, ERR_CAPACITY, 422},    {SUBJECT_INSTALLATION, ERR_THROTTLED, 429},
                 {SUBJECT_INSTALLATION, ERR_AUTH, 401}, {SUBJECT_GROUP, ERR_PERMANENT, 0},
                 {SUBJECT_TARGET, ERR_CAPACITY, 402},   {SUBJECT_LEDGER, ERR_PERMANENT, 1}};
    const struct subjects s = subjects("acme", "small");
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int round = 0; round < 20; round++) {
            assert_false(refuse(&s, cases[i].subject, 1, cases[i].class, cases[i].code));
            others_work(&s);
        }
    }
}

/* Each job is refused several times in a row by chance. */
static void peer_that_refuses_every_other_launch_spends_nothing(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    srand(1);
    for (int i = 0; i < 100000; i++) {
        if (rand() % 2 == 0) {
            assert_false(refuse_422(&s, 1 + rand() % 20));
        } else {
            others_work(&s);
        }
    }
}

static void few_jobs_with_the_same_trouble_among_many_are_found(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    bool found[3] = {false};
    for (int round = 0; round < 10; round++) {
        for (int64_t job = 0; job < 3; job++) {
            found[job] = refuse_422(&s, job + 1) || found[job];
            for (int k = 0; k < 3; k++) {
                others_work(&s);
            }
        }
    }
    assert_true(found[0] && found[1] && found[2]);
}

static void jobs_beyond_the_bound_replace_the_oldest(void **state)
{
    (void)state;
    const struct subjects s = subjects("acme", "small");
    for (int64_t job = 1; job <= 2 * LONE_JOBS_MAX; job++) {
        assert_false(refuse_422(&s, job));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(job_that_alone_is_refused_is_its_own_trouble),
        CASE(refusal_of_a_provider_counts_where_the_class_works),
        CASE(nothing_works_in_an_outage),
        CASE(different_failure_in_between_begins_anew),
        CASE(trouble_that_passes_by_itself_is_nobodys_own),
        CASE(peer_that_refuses_every_other_launch_spends_nothing),
        CASE(few_jobs_with_the_same_trouble_among_many_are_found),
        CASE(jobs_beyond_the_bound_replace_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
