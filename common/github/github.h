/*
 * The part of GitHub's REST API that Mayfly uses: runners, jobs, webhook deliveries, and access
 * tokens.
 *
 * One handle serves all threads of a program. Installation tokens are cached until five minutes
 * before they expire and minted by one thread while others wait; runner groups are cached by name.
 * Every call first takes from the installation's bucket in the ledger, which all processes share;
 * if GitHub answers 403 or 429 with a limit, the call closes that bucket until the time that GitHub
 * gave. Errors: ERR_RETRY (5xx, network), ERR_THROTTLED (limits, with retry_after_ms), ERR_AUTH
 * (401, 403 without a limit), ERR_NOT_FOUND, ERR_CONFLICT, ERR_PERMANENT (400, 422). No message
 * contains a secret. Sources: docs.github.com REST reference; GitHub's OpenAPI description.
 */
#ifndef MAYFLY_GITHUB_GITHUB_H
#define MAYFLY_GITHUB_GITHUB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/config/config.h"
#include "common/github/app_needs.h"
#include "common/job/scope.h"

struct github;
struct ledger;

/* Where a runner registers. Plain value. */
struct github_scope {
    char name[SCOPE_SIZE];        /* as in common/job/scope.h, without a group */
    char group[SCOPE_GROUP_SIZE]; /* that github.groups names, or a scale set (scope_set); "": the
                                   * class's */
    bool is_repository;
    bool is_enterprise;
    int64_t installation_id;
};

/* The scope of a job of that class (NULL: one that is not configured): its organisation, the
 * enterprise if so configured, or its repository if so configured or if its owner is a user. */
struct github_scope github_scope_of(const struct config *c, const struct config_class *class,
                                    const struct job *job);
/* From a name as common/job/scope.h describes it. */
struct github_scope github_scope_parse(const char *name, int64_t installation_id);

/* What a call is for: see budget.h. */
enum github_purpose { GITHUB_LAUNCH, GITHUB_EARLY_END, GITHUB_RECONCILE };
/* The code of an ERR_THROTTLED of the budget's: no response of GitHub. */
#define GITHUB_LATER (-2)

/* `ledger` (borrowed, may be NULL in tools: then no shared bucket) must outlive the handle. Reads
 * the App key now: an invalid key is ERR_PERMANENT. */
MUST_CHECK int github_open(const struct config *c, struct ledger *ledger, struct github **out,
                           struct err *e);
void github_close(struct github *g);
/* Takes the Apps' private keys and organizations from a configuration that SIGHUP has read; the Apps
 * are the same. Calls under way end with the key that they have. Appends the ids of the Apps that have
 * another key now, separated by spaces. A key that cannot be used is an error, and all stay as they
 * were. */
MUST_CHECK int github_reload(struct github *g, const struct config *c, struct buf *changed,
                             struct err *e);

struct github_jit {
    int64_t runner_id;
    char *config; /* encoded_jit_config, a secret; owned: github_jit_fini wipes and frees it */
};
void github_jit_fini(struct github_jit *j);

struct github_register {
    const struct github_scope *scope;
    const char *name; /* 1 to 64 characters */
    const struct config_list *labels;
    const char *group; /* a runner group's name; ignored for a repository scope (its group is 1);
                        * of a scale set: the group that it is in */
};
/* Registers a one-job runner, in the scale set that the scope may name. A runner of that name from an earlier attempt is deleted and
 * registered again (the blob cannot be read twice). */
MUST_CHECK int github_register_runner(struct github *g, const struct github_register *r,
                                      struct github_jit *out, struct err *e);

struct github_runner {
    int64_t id;
    char name[RUNNER_NAME_SIZE];
    bool online;
    bool busy;
};
MUST_CHECK int github_get_runner(struct github *g, const struct github_scope *s, int64_t id,
                                 struct github_runner *out, struct err *e);
/* By exact name; ERR_NOT_FOUND if there is none. */
MUST_CHECK int github_find_runner(struct github *g, const struct github_scope *s, const char *name,
                                  struct github_runner *out, struct err *e);
/* A busy one is ERR_CONFLICT (422). ERR_NOT_FOUND: it does not exist, or access was lost. */
MUST_CHECK int github_delete_runner(struct github *g, const struct github_scope *s, int64_t id,
                                    struct err *e);
/* Calls `each` for every runner, page by page; a non-zero return value of it ends the listing with
 * success. The caller has asked github_budget_allows for the first page; the first page says how many
 * follow, and if the budget has fewer calls left, none is read (github_budget_refused). */
typedef int github_runner_fn(void *arg, const struct github_runner *r);
MUST_CHECK int github_list_runners(struct github *g, const struct github_scope *s,
                                   enum github_purpose purpose, github_runner_fn *each, void *arg,
                                   struct err *e);

/* A runner group of an organisation: which repositories its runners serve. */
struct github_group {
    int64_t id;
    char visibility[16]; /* "all", "selected", "private" */
    bool allows_public;  /* also public repositories; true if GitHub does not say */
};
/* By name, case folded. One that does not exist is ERR_PERMANENT, with what to do. */
MUST_CHECK int github_get_group(struct github *g, const struct github_scope *s, const char *name,
                                struct github_group *out, struct err *e);

/* Whether the organization's group serves the repository (owner/name): no runner of it gets a job of
 * one that it does not. Of an enterprise's group that is not known: true. The response is kept for ten minutes. */
MUST_CHECK int github_group_admits(struct github *g, const struct github_scope *s,
                                   const char *group, const char *repository, bool *admits,
                                   struct err *e);

struct github_job {
    int64_t id;
    int64_t run_id;
    int64_t created_ms;           /* wall clock; 0 unknown */
    char status[JOB_STATUS_SIZE]; /* queued, in_progress, completed, waiting, requested, pending */
    char conclusion[CONCLUSION_SIZE];
    int64_t runner_id;
    char runner_name[RUNNER_NAME_SIZE];
    char labels[JOB_LABELS_SIZE]; /* as job_labels_join makes them */
    char head_sha[72];            /* the commit */
};
MUST_CHECK int github_get_job(struct github *g, const char *repository, int64_t installation_id,
                              int64_t job_id, struct github_job *out, struct err *e);

/* --- workflow runs, and their jobs: needs *Actions: read* --- */

struct github_runs_query {
    const char *repository;
    int64_t installation_id;
    const char *status;        /* "queued", "in_progress" */
    const char *created_until; /* as GitHub writes times; "": any */
    int page;                  /* from 1 on */
};
struct github_run {
    int64_t id;
    int64_t installation_id;
    char repository[REPOSITORY_SIZE];
    char organization[ORGANIZATION_SIZE]; /* "" for a user's repository */
    char created[24];                     /* as GitHub writes times */
    bool is_public;                       /* its repository is, or GitHub does not say */
};
/* GitHub names at most so many runs for one query, the newest first; created_until leads further. */
#define GITHUB_RUNS_MAX 1000
/* One page of a repository's runs in that state: `each` is called for every run until it returns
 * non-zero. *more: there is another page. */
typedef int github_run_fn(void *arg, const struct github_run *run);
MUST_CHECK int github_list_runs(struct github *g, const struct github_runs_query *q,
                                github_run_fn *each, void *arg, bool *more, struct err *e);
/* One run. ERR_NOT_FOUND: the repository has none of that id, or access to it was lost. */
MUST_CHECK int github_get_run(struct github *g, const char *repository, int64_t installation_id,
                              int64_t run_id, struct github_run *out, struct err *e);
/* One page of the jobs of a run's last attempt. `delivery`: the body of a webhook as GitHub sends it
 * of a job in that state, for webhook_parse; jobs in states without one ("pending") are left out. */
typedef void github_run_job_fn(void *arg, const char *status, struct slice delivery);
MUST_CHECK int github_list_run_jobs(struct github *g, const struct github_run *run, int page,
                                    github_run_job_fn *each, void *arg, bool *more, struct err *e);

/* The status of each job of a run's last attempt, in whatever state: `each` is called for every one.
 * An error: it may have been called for some. */
typedef void github_run_state_fn(void *arg, int64_t job_id, const char *status);
MUST_CHECK int github_list_run_states(struct github *g, const char *repository,
                                      int64_t installation_id, int64_t run_id,
                                      github_run_state_fn *each, void *arg, struct err *e);

/* --- terminal answers (reaper/give_up): need *Checks: write* and *Actions: write* --- */

/* Completed with the conclusion "failure", of the App that this program is. Borrowed texts. */
struct github_check_run {
    const char *repository;
    int64_t installation_id;
    const char *head_sha;
    const char *name;        /* GitHub shows the newest one of each name */
    const char *external_id; /* for whoever reads them through the API */
    const char *title;
    const char *summary; /* Markdown */
};
MUST_CHECK int github_create_check_run(struct github *g, const struct github_check_run *run,
                                       struct err *e);
/* Accepted is success, and so is a run that is over. */
MUST_CHECK int github_cancel_run(struct github *g, const char *repository, int64_t installation_id,
                                 int64_t run_id, struct err *e);

/* --- where the App is installed --- */

struct github_installation {
    int64_t id;
    char owner[SCOPE_SIZE]; /* the login of an organisation or a user */
    bool is_organization;
    bool suspended;              /* its owner has suspended it: no call for it is accepted */
    struct github_levels levels; /* that its owner has granted, which may lag behind the App's */
    bool workflow_job;           /* its owner has accepted the event */
};
/* All call `each` for every item, page by page; a non-zero return value of it ends the listing
 * with success. ERR_AUTH with a personal token. */
typedef int github_installation_fn(void *arg, const struct github_installation *i);
/* Of several Apps: each owner once, as the first that serves it has it. An App that fails does not keep
 * the others from being listed; the error is the first. */
MUST_CHECK int github_list_installations(struct github *g, github_installation_fn *each, void *arg,
                                         struct err *e);
/* Those of one App. */
MUST_CHECK int github_list_app_installations(struct github *g, size_t app,
                                             github_installation_fn *each, void *arg,
                                             struct err *e);
/* Whether the app-th App serves that owner, by github.apps[].organizations. */
bool github_app_serves(struct github *g, size_t app, const char *owner);
/* `repository`: owner/name. */
typedef int github_repository_fn(void *arg, const char *repository);
MUST_CHECK int github_list_repositories(struct github *g, int64_t installation_id,
                                        github_repository_fn *each, void *arg, struct err *e);
/* The same for one page of at most 100, from 1 on. */
struct github_repositories {
    int64_t total; /* of all pages; 0: GitHub does not say */
    bool more;     /* there is another page */
};
MUST_CHECK int github_list_repositories_page(struct github *g, int64_t installation_id, int number,
                                             github_repository_fn *each, void *arg,
                                             struct github_repositories *out, struct err *e);

/* --- the log of webhook deliveries (three days, on Enterprise Server seven) --- */

/* The hook whose log is read: the App's own, or one of an organisation or a repository. */
struct github_hook {
    int64_t id;                /* 0: the App's own */
    size_t app;                /* whose; 0: the first, which has its hook switched on */
    struct github_scope scope; /* of a hook with an id */
};
/* The hook whose log the configuration allows to read; false if there is none: a personal token
 * cannot read an App's log, and github.hook is not set. */
bool github_hook_of(const struct config *c, struct github_hook *out);

struct github_delivery {
    int64_t id;
    int64_t repository_id;   /* 0: unknown */
    int64_t installation_id; /* 0: unknown, or the hook is not an App's */
    int64_t delivered_ms;    /* GitHub's clock */
    char guid[DELIVERY_ID_SIZE];
    char event[40]; /* "workflow_job", … */
    char action[32];
    bool ok; /* the receiver answered 2xx in time */
    bool redelivery;
    int status_code; /* 0: no response */
};

#define GITHUB_CURSOR_BYTES 256
/* One page of the log, newest first: `each` is called for every entry until it returns non-zero.
 * `cursor`: "" for the newest page, else the *next of an earlier call; *next is "" after the last
 * page. The two may not overlap. */
typedef int github_delivery_fn(void *arg, const struct github_delivery *d);
MUST_CHECK int github_list_deliveries(struct github *g, const struct github_hook *h,
                                      const char *cursor, github_delivery_fn *each, void *arg,
                                      char next[GITHUB_CURSOR_BYTES], struct err *e);

/* Appends the JSON text of the delivery; ERR_NOT_FOUND also if GitHub no longer has it. It needs no
 * signature, because it comes from GitHub's API over TLS. */
MUST_CHECK int github_delivery_payload(struct github *g, const struct github_hook *h, int64_t id,
                                       struct buf *out, struct err *e);

/* The repository of a delivery, which the log names by its id only. Errors as above. */
MUST_CHECK int github_delivery_repository(struct github *g, const struct github_hook *h, int64_t id,
                                          char out[REPOSITORY_SIZE], struct err *e);

/* --- settings of the App and the hook, for checks --- */

struct github_app {
    char slug[104];
    struct github_levels levels;
    bool workflow_job; /* subscribed to GITHUB_APP_EVENT */
    int64_t installations;
};
/* How many Apps are configured; 0: a personal token is used alone. */
size_t github_apps(const struct github *g);
/* The app-th of them, from 0 on. ERR_AUTH with a personal token. */
MUST_CHECK int github_get_app(struct github *g, size_t app, struct github_app *out, struct err *e);

struct github_hook_config {
    char url[1024];
    char content_type[16];
    bool has_secret;
    bool insecure; /* GitHub does not verify the receiver's certificate */
};
MUST_CHECK int github_get_hook_config(struct github *g, const struct github_hook *h,
                                      struct github_hook_config *out, struct err *e);

/* Lets the App's own hook post JSON to that URL; its secret stays. ERR_AUTH with a personal token. */
MUST_CHECK int github_set_hook_url(struct github *g, const char *url, struct err *e);

/* From when on GitHub refuses that version of its runner, wall clock ms; 0: no date is known. */
struct github_deprecation {
    int64_t registration_ms; /* it cannot be registered */
    int64_t runtime_ms;      /* it is given no jobs */
};
/* `version`: digits and dots. ERR_NOT_FOUND where GitHub has no such page (at first only Enterprise
 * Cloud had it) or does not know the version. */
MUST_CHECK int github_get_deprecation(struct github *g, const struct github_scope *s,
                                      const char *version, struct github_deprecation *out,
                                      struct err *e);

/* A call that does not count against the rate limit and proves that the API responds and accepts
 * the token. Of several Apps, one that succeeds is enough. */
MUST_CHECK int github_ping(struct github *g, struct err *e);

/* Requests a redelivery, which has the same GUID. */
MUST_CHECK int github_redeliver(struct github *g, const struct github_hook *h, int64_t id,
                                struct err *e);

#endif
