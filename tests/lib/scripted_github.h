/*
 * A scripted GitHub: replaces github.h's calls about runners, jobs and deliveries. Its state is
 * arrays that the test fills and inspects; calls.h records the calls and makes them fail, under
 * their own names, with arguments such as "scope=acme id=1001".
 *
 * There are two scopes, acme (installation 11) and other (22), and a call that names a runner of
 * another scope, or a job of another repository than acme/app, is ERR_NOT_FOUND. A delivery is of
 * acme/app unless its repository_id is 502: then it is of acme/site.
 */
#ifndef MAYFLY_TEST_SCRIPTED_GITHUB_H
#define MAYFLY_TEST_SCRIPTED_GITHUB_H

#include "common/github/budget.h"
#include "common/github/github.h"

#define SCRIPTED_GITHUB_MAX 640
#define SCRIPTED_JIT_CONFIG "bm90aGluZyBzZWNyZXQ=" /* of each registration */

struct scripted_delivery {
    struct github_delivery entry;
    char payload[600];
    enum err_class payload_fails;   /* ERR_NONE: it succeeds */
    enum err_class redeliver_fails; /* ERR_NONE: it is accepted */
};

/* What lists of runs and jobs say of a job beside its status. */
struct scripted_job {
    const char *repository; /* NULL: acme/app, whose id is 501 */
    int64_t created_ms;     /* 0: an hour before the world began */
    bool is_public;
};

extern struct scripted_github {
    struct github_runner runners[SCRIPTED_GITHUB_MAX];
    const char *runner_scope[SCRIPTED_GITHUB_MAX]; /* NULL: it was deleted */
    size_t runner_count;
    int deleted;                                 /* registrations that existed */
    struct github_job jobs[SCRIPTED_GITHUB_MAX]; /* each the only one of a run with its id */
    struct scripted_job job_facts[SCRIPTED_GITHUB_MAX];
    size_t job_count;
    struct scripted_delivery deliveries[SCRIPTED_GITHUB_MAX]; /* the newest first */
    size_t delivery_count;
    bool has_hook;
    struct github_installation installations[4]; /* where the App is installed */
    size_t installation_count;
    const char *repositories[4]; /* of each installation */
    size_t repository_count;
    const char *refusing_group;         /* admits no repository; NULL: each admits all */
    size_t page_size;                   /* of the delivery log, and of other lists by page */
    bool refuses[GITHUB_RECONCILE + 1]; /* the budget, by purpose */
    int64_t refused_installation;       /* whose budget alone; 0: of all */
    struct github_rate rate;            /* the lowest; limit 0: none is known */
    bool intake_ends;                   /* no calls are left for pulling */
    int64_t intake_pause_ms;            /* after each, or from now on */
} scripted_github;

/* Empties it, with pages of 100. */
void scripted_github_reset(void);
/* Adds a runner in acme; its id is 1001, 1002, … */
struct github_runner *scripted_github_add_runner(const char *name, bool online, bool busy);
struct github_job *scripted_github_add_job(int64_t id, const char *status);
/* Adds a delivery of a job at the top of the log, `age_ms` ago; returns a pointer that the next
 * call invalidates. */
struct scripted_delivery *scripted_github_add_delivery(int64_t job_id, const char *action,
                                                       int status_code, int64_t age_ms);

#endif
