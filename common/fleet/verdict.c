#include "common/fleet/verdict.h"

#define ANY (-1000)
#define REFUSED 401
#define FORBIDDEN 403
/* The repository or the runner group, whichever the scope has. */
#define SUBJECT_NARROWEST (SUBJECT_JOB + 1)

struct rule {
    enum err_from from;
    int class; /* or ANY */
    int code;  /* or ANY */
    struct verdict verdict;
};

#define WAIT(s)                                                                                    \
    {                                                                                              \
        s, TREAT_WAIT, false, false                                                                \
    }
#define WAIT_AT_ONCE(s)                                                                            \
    {                                                                                              \
        s, TREAT_WAIT, true, false                                                                 \
    }
/* Whether it is over only a launch can show. */
#define WAIT_FOR_A_LAUNCH(s)                                                                       \
    {                                                                                              \
        s, TREAT_WAIT, true, true                                                                  \
    }

/* The first that matches counts. A code of 0 or less is no response of the other side: it could not
 * be reached. */
static const struct rule rules[] = {
    {ERR_FROM_LEDGER, ANY, ANY, WAIT(SUBJECT_LEDGER)},
    {ERR_FROM_QUEUE, ANY, ANY, WAIT(SUBJECT_QUEUE)},
    {ERR_FROM_PROXY, ANY, ANY, WAIT_AT_ONCE(SUBJECT_PROXY)},

    {ERR_FROM_KMS, ERR_RETRY, ANY, WAIT(SUBJECT_CREDENTIALS)},
    {ERR_FROM_KMS, ANY, ANY, WAIT_AT_ONCE(SUBJECT_CREDENTIALS)},

    /* The rates that this fleet keeps itself (github.rate): no trouble, only a time to wait. */
    {ERR_FROM_APP, ERR_THROTTLED, 0, WAIT(SUBJECT_JOB)},
    {ERR_FROM_GITHUB, ERR_THROTTLED, 0, WAIT(SUBJECT_JOB)},

    /* GitHub, to the App: who we are, and where it is installed. */
    {ERR_FROM_APP, ERR_RETRY, 0, WAIT(SUBJECT_GITHUB)},
    {ERR_FROM_APP, ERR_THROTTLED, ANY, WAIT_AT_ONCE(SUBJECT_INSTALLATION)},
    {ERR_FROM_APP, ERR_AUTH, REFUSED, WAIT_AT_ONCE(SUBJECT_CREDENTIALS)},
    {ERR_FROM_APP, ERR_AUTH, ANY, WAIT_AT_ONCE(SUBJECT_INSTALLATION)}, /* suspended, or removed */
    {ERR_FROM_APP, ANY, ANY, WAIT(SUBJECT_INSTALLATION)},

    /* GitHub, to a registration. */
    {ERR_FROM_GITHUB, ERR_RETRY, 0, WAIT(SUBJECT_GITHUB)},
    {ERR_FROM_GITHUB, ERR_THROTTLED, ANY, WAIT_AT_ONCE(SUBJECT_INSTALLATION)},
    {ERR_FROM_GITHUB, ERR_AUTH, REFUSED, WAIT_AT_ONCE(SUBJECT_INSTALLATION)},
    {ERR_FROM_GITHUB, ERR_CAPACITY, ANY, WAIT_AT_ONCE(SUBJECT_NARROWEST)},
    {ERR_FROM_GITHUB, ERR_PERMANENT, 0, WAIT(SUBJECT_NARROWEST)}, /* no such runner group */
    {ERR_FROM_GITHUB, ERR_PERMANENT, ANY, WAIT(SUBJECT_LABELS)},
    {ERR_FROM_GITHUB, ANY, ANY, WAIT(SUBJECT_NARROWEST)},

    /* The provider's service. */
    {ERR_FROM_PROVIDER, ERR_RETRY, 0, WAIT(SUBJECT_TARGET)},
    {ERR_FROM_PROVIDER, ERR_RETRY, ANY, WAIT(SUBJECT_CLASS)},
    /* A list is let through meanwhile. */
    {ERR_FROM_PROVIDER, ERR_THROTTLED, ANY, {SUBJECT_TARGET, TREAT_WAIT, false, true}},
    {ERR_FROM_PROVIDER, ERR_CAPACITY, ANY, WAIT_FOR_A_LAUNCH(SUBJECT_TARGET)},
    {ERR_FROM_PROVIDER, ERR_AUTH, 0, WAIT_AT_ONCE(SUBJECT_TARGET)}, /* no keys to sign with */
    {ERR_FROM_PROVIDER, ERR_CONFLICT, ANY, {SUBJECT_JOB, TREAT_ATTEMPT, false, false}},
    {ERR_FROM_PROVIDER, ANY, ANY, WAIT_FOR_A_LAUNCH(SUBJECT_CLASS)}, /* image, role, settings */

    /* A provider on this host. */
    {ERR_FROM_HOST, ERR_CAPACITY, ANY, WAIT_FOR_A_LAUNCH(SUBJECT_HOST)},
    {ERR_FROM_HOST, ERR_PERMANENT, ANY, WAIT_FOR_A_LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_HOST, ERR_NOT_FOUND, ANY, WAIT_FOR_A_LAUNCH(SUBJECT_CLASS)},
    {ERR_FROM_HOST, ANY, ANY, {SUBJECT_HOST, TREAT_WAIT, false, true}},

    /* Checks of our own, on the job's data. */
    {ERR_FROM_US, ERR_PERMANENT, ANY, {SUBJECT_JOB, TREAT_PERMANENT, false, false}},
    {ERR_FROM_US, ERR_CONFLICT, ANY, {SUBJECT_JOB, TREAT_ATTEMPT, false, false}},
};

const char *treatment_name(enum treatment t)
{
    static const char *const names[] = {"wait", "retry", "dead_letter"};
    return (size_t)t < COUNT_OF(names) ? names[t] : "unknown";
}

static bool matches(const struct rule *r, const struct err *e)
{
    int code = e->code > 0 ? e->code : 0;
    return r->from == e->from && (r->class == ANY || r->class == (int)e->class) &&
           (r->code == ANY || r->code == code);
}

struct verdict verdict_of(const struct err *e, bool scope_is_repository)
{
    struct verdict v = {SUBJECT_JOB, TREAT_WAIT, false, false};
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        if (matches(&rules[i], e)) {
            v = rules[i].verdict;
            break;
        }
    }
    if (v.subject == SUBJECT_NARROWEST) {
        v.subject = scope_is_repository ? SUBJECT_REPOSITORY : SUBJECT_GROUP;
    }
    if (e->of_one_app && (v.subject == SUBJECT_CREDENTIALS || v.subject == SUBJECT_GITHUB)) {
        v.subject = SUBJECT_INSTALLATION; /* what other Apps serve goes on */
    }
    v.subject = e->of_this_host ? subject_here(v.subject) : v.subject;
    return v;
}
