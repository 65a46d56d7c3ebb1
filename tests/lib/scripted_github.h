/*
 * GitHub of a test: in the place of github.h's calls about runners, jobs and deliveries. What there
 * is are arrays that the test fills and looks at; the calls are recorded and made to fail by
 * calls.h, under their own names, with arguments as "scope=acme id=1001".
 *
 * There are two scopes, acme (installation 11) and other (22), and a call that names a runner of
 * another scope, or a job of another repository than acme/app, finds none.
 */
#ifndef MAYFLY_TEST_SCRIPTED_GITHUB_H
#define MAYFLY_TEST_SCRIPTED_GITHUB_H

#include "common/github/github.h"

#define SCRIPTED_GITHUB_MAX 640
#define SCRIPTED_JIT_CONFIG "bm90aGluZyBzZWNyZXQ=" /* of each registration */

struct scripted_delivery {
    struct github_delivery entry;
    char payload[600];
    enum err_class payload_fails;   /* ERR_NONE: it is given */
    enum err_class redeliver_fails; /* ERR_NONE: it is taken on */
};

extern struct scripted_github {
    struct github_runner runners[SCRIPTED_GITHUB_MAX];
    const char *runner_scope[SCRIPTED_GITHUB_MAX]; /* NULL: it was deleted */
    size_t runner_count;
    int deleted; /* registrations that were there */
    struct github_job jobs[SCRIPTED_GITHUB_MAX];
    size_t job_count;
    struct scripted_delivery deliveries[SCRIPTED_GITHUB_MAX]; /* the newest first */
    size_t delivery_count;
    bool has_hook;
    size_t page_size; /* of the log of deliveries */
} scripted_github;

/* Nothing, and pages of 100. */
void scripted_github_reset(void);
/* In acme; its id is 1001, 1002, … */
struct github_runner *scripted_github_add_runner(const char *name, bool online, bool busy);
struct github_job *scripted_github_add_job(int64_t id, const char *status);
/* A delivery of a job at the top of the log, `age_ms` ago; returns its place (the array moves with
 * the next one). */
struct scripted_delivery *scripted_github_add_delivery(int64_t job_id, const char *action,
                                                       int status_code, int64_t age_ms);

#endif
