/* The table from an error to its subject and to what happens to the job. */
#include <string.h>

#include "common/fleet/verdict.h"
#include "tests/lib/cmocka.h"

#define NOT_SENT (-1)

struct row {
    enum err_from from;
    enum err_class class;
    int code;
    bool repository; /* the scope is one */
    struct verdict expected;
};

#define WAIT(s)                                                                                    \
    {                                                                                              \
        s, TREAT_WAIT, false, false                                                                \
    }
#define AT_ONCE(s)                                                                                 \
    {                                                                                              \
        s, TREAT_WAIT, true, false                                                                 \
    }
#define LAUNCH(s)                                                                                  \
    {                                                                                              \
        s, TREAT_WAIT, true, true                                                                  \
    }

static const struct row rows[] = {
    /* Stores: nothing is the job's fault. */
    {ERR_FROM_LEDGER, ERR_RETRY, 0, false, WAIT(SUBJECT_LEDGER)},
    {ERR_FROM_LEDGER, ERR_PERMANENT, 0, false, WAIT(SUBJECT_LEDGER)},
    {ERR_FROM_LEDGER, ERR_AUTH, 400, true, WAIT(SUBJECT_LEDGER)},
    {ERR_FROM_QUEUE, ERR_NOT_FOUND, 0, false, WAIT(SUBJECT_QUEUE)},
    /* A proxy's refusal says nothing about what is behind it. */
    {ERR_FROM_PROXY, ERR_RETRY, NOT_SENT, false, AT_ONCE(SUBJECT_PROXY)},
    /* The key that signs as the App is not GitHub's. */
    {ERR_FROM_KMS, ERR_AUTH, 400, false, AT_ONCE(SUBJECT_CREDENTIALS)},
    {ERR_FROM_KMS, ERR_THROTTLED, 400, true, AT_ONCE(SUBJECT_CREDENTIALS)},
    {ERR_FROM_KMS, ERR_RETRY, NOT_SENT, false, WAIT(SUBJECT_CREDENTIALS)},
    /* GitHub, to the App. */
    {ERR_FROM_APP, ERR_RETRY, 0, false, WAIT(SUBJECT_GITHUB)},
    {ERR_FROM_APP, ERR_RETRY, NOT_SENT, false, WAIT(SUBJECT_GITHUB)},
    {ERR_FROM_APP, ERR_RETRY, 502, false, WAIT(SUBJECT_INSTALLATION)},
    {ERR_FROM_APP, ERR_AUTH, 401, false, AT_ONCE(SUBJECT_CREDENTIALS)},
    {ERR_FROM_APP, ERR_AUTH, 403, false, AT_ONCE(SUBJECT_INSTALLATION)}, /* suspended */
    {ERR_FROM_APP, ERR_AUTH, 404, false, AT_ONCE(SUBJECT_INSTALLATION)}, /* not installed */
    {ERR_FROM_APP, ERR_THROTTLED, 403, false, AT_ONCE(SUBJECT_INSTALLATION)},
    {ERR_FROM_APP, ERR_THROTTLED, 0, false, WAIT(SUBJECT_JOB)}, /* github.rate */
    {ERR_FROM_GITHUB, ERR_THROTTLED, 0, false, WAIT(SUBJECT_JOB)},
    {ERR_FROM_GITHUB, ERR_PERMANENT, 0, false, WAIT(SUBJECT_GROUP)}, /* no such group */
    {ERR_FROM_GITHUB, ERR_PERMANENT, 0, true, WAIT(SUBJECT_REPOSITORY)},
    /* GitHub, to a registration: the narrowest that explains it. */
    {ERR_FROM_GITHUB, ERR_RETRY, NOT_SENT, true, WAIT(SUBJECT_GITHUB)},
    {ERR_FROM_GITHUB, ERR_RETRY, 502, true, WAIT(SUBJECT_REPOSITORY)},
    {ERR_FROM_GITHUB, ERR_RETRY, 502, false, WAIT(SUBJECT_GROUP)},
    {ERR_FROM_GITHUB, ERR_AUTH, 401, true, AT_ONCE(SUBJECT_INSTALLATION)},
    {ERR_FROM_GITHUB, ERR_AUTH, 403, true, WAIT(SUBJECT_REPOSITORY)},
    {ERR_FROM_GITHUB, ERR_AUTH, 403, false, WAIT(SUBJECT_GROUP)},
    {ERR_FROM_GITHUB, ERR_NOT_FOUND, 404, true, WAIT(SUBJECT_REPOSITORY)},
    {ERR_FROM_GITHUB, ERR_NOT_FOUND, 404, false, WAIT(SUBJECT_GROUP)},
    {ERR_FROM_GITHUB, ERR_CONFLICT, 409, false, WAIT(SUBJECT_GROUP)},
    {ERR_FROM_GITHUB, ERR_CAPACITY, 422, false, AT_ONCE(SUBJECT_GROUP)},
    {ERR_FROM_GITHUB, ERR_THROTTLED, 429, true, AT_ONCE(SUBJECT_INSTALLATION)},
    {ERR_FROM_GITHUB, ERR_PERMANENT, 422, true, WAIT(SUBJECT_LABELS)},
    {ERR_FROM_GITHUB, ERR_PERMANENT, 422, false, WAIT(SUBJECT_LABELS)},
    /* The provider. */
    {ERR_FROM_PROVIDER, ERR_RETRY, 0, false, WAIT(SUBJECT_TARGET)},
    {ERR_FROM_PROVIDER, ERR_RETRY, NOT_SENT, false, WAIT(SUBJECT_TARGET)},
    {ERR_FROM_PROVIDER, ERR_RETRY, 500, false, WAIT(SUBJECT_CLASS)},
    {ERR_FROM_PROVIDER, ERR_THROTTLED, 429, false, {SUBJECT_TARGET, TREAT_WAIT, false, true}},
    {ERR_FROM_PROVIDER, ERR_CAPACITY, 402, false, LAUNCH(SUBJECT_TARGET)},
    {ERR_FROM_PROVIDER, ERR_AUTH, 403, false, LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_PROVIDER, ERR_AUTH, NOT_SENT, false, AT_ONCE(SUBJECT_TARGET)}, /* no keys */
    {ERR_FROM_PROVIDER, ERR_NOT_FOUND, 404, false, LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_PROVIDER, ERR_PERMANENT, 400, false, LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_PROVIDER, ERR_CONFLICT, 409, false, {SUBJECT_JOB, TREAT_ATTEMPT, false, false}},
    {ERR_FROM_HOST, ERR_CAPACITY, 0, false, LAUNCH(SUBJECT_HOST)},
    {ERR_FROM_HOST, ERR_PERMANENT, 0, false, LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_HOST, ERR_NOT_FOUND, 2, false, LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_HOST, ERR_RETRY, NOT_SENT, false, {SUBJECT_HOST, TREAT_WAIT, false, true}},
    /* The job's own data. */
    {ERR_FROM_US, ERR_PERMANENT, 0, false, {SUBJECT_JOB, TREAT_PERMANENT, false, false}},
    {ERR_FROM_US, ERR_CONFLICT, 0, false, {SUBJECT_JOB, TREAT_ATTEMPT, false, false}},
    {ERR_FROM_US, ERR_RETRY, NOT_SENT, false, WAIT(SUBJECT_JOB)},
};

static void verdicts_are_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *r = &rows[i];
        struct err e;
        (void)err_set(&e, r->class, r->code, "test");
        e.from = r->from;
        struct verdict v = verdict_of(&e, r->repository);
        if (v.subject != r->expected.subject || v.treatment != r->expected.treatment ||
            v.at_once != r->expected.at_once || v.needs_launch != r->expected.needs_launch) {
            fail_msg("row %zu (from %d, class %s, code %d): %s, %s, at once %d, launch %d", i,
                     (int)r->from, err_class_name(r->class), r->code, subject_kind(v.subject),
                     treatment_name(v.treatment), v.at_once, v.needs_launch);
        }
    }
}

/* Whatever a peer says: only an error of this program's own checks, and a token that was used for
 * another launch, are the job's. */
static void nobody_elses_error_spends_anything(void **state)
{
    (void)state;
    const int codes[] = {NOT_SENT, 0, 400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503};
    for (enum err_from from = ERR_FROM_LEDGER; from <= ERR_FROM_HOST; from++) {
        for (enum err_class class = ERR_RETRY; class <= ERR_CONFLICT; class ++) {
            for (size_t i = 0; i < COUNT_OF(codes) * 2; i++) {
                struct err e;
                (void)err_set(&e, class, codes[i / 2], "test");
                e.from = from;
                struct verdict v = verdict_of(&e, i % 2 == 0);
                bool own = from == ERR_FROM_PROVIDER && class == ERR_CONFLICT;
                assert_int_equal(v.treatment, own ? TREAT_ATTEMPT : TREAT_WAIT);
                bool paced = class == ERR_THROTTLED && codes[i / 2] <= 0 &&
                             (from == ERR_FROM_APP || from == ERR_FROM_GITHUB);
                assert_true(own || paced || v.subject != SUBJECT_JOB);
            }
        }
    }
}

/* A name that one host does not resolve stops that host alone. */
static void error_of_this_host_has_its_own_subject(void **state)
{
    static const struct {
        enum err_from from;
        enum subject subject;
    } cases[] = {{ERR_FROM_APP, SUBJECT_GITHUB_HERE},
                 {ERR_FROM_GITHUB, SUBJECT_GITHUB_HERE},
                 {ERR_FROM_PROVIDER, SUBJECT_TARGET_HERE},
                 {ERR_FROM_KMS, SUBJECT_CREDENTIALS},
                 {ERR_FROM_LEDGER, SUBJECT_LEDGER}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct err e = {
            .class = ERR_RETRY, .code = NOT_SENT, .from = cases[i].from, .of_this_host = true};
        const struct verdict v = verdict_of(&e, true);
        assert_int_equal(v.subject, cases[i].subject);
        assert_int_equal(v.treatment, TREAT_WAIT);
    }
}

static void who_said_it_is_kept_by_the_module_that_knew(void **state)
{
    (void)state;
    struct err e;
    (void)err_set(&e, ERR_RETRY, 0, "no response");
    assert_int_equal(err_said_by(&e, ERR_FROM_PROXY), -1);
    (void)err_wrap(&e, "a call");
    (void)err_said_by(&e, ERR_FROM_GITHUB);
    assert_int_equal(e.from, ERR_FROM_PROXY);
    (void)err_set(&e, ERR_RETRY, 0, "another");
    assert_int_equal(e.from, ERR_FROM_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_as_the_table_says),
        cmocka_unit_test(nobody_elses_error_spends_anything),
        cmocka_unit_test(error_of_this_host_has_its_own_subject),
        cmocka_unit_test(who_said_it_is_kept_by_the_module_that_knew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
