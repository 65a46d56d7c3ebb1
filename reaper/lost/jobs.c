/*
 * Jobs whose deliveries left no trace: GitHub made none, or none that its log shows. They are found
 * in the lists of jobs alone.
 *
 * Repositories with a job in the last seven days are read every reaper.job_scan_interval, in rounds.
 * All others of the App's installations are read in rotation, evenly over most of a day; how far it
 * has come is in the ledger. Both end where sweep_may_reconcile says so: with many repositories, or
 * with lists of many runs, a round takes as long as the installation's share of calls lets it. A
 * personal token has no list of its repositories, so it has no rotation.
 */
#include "reaper/lost/jobs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/ledger/kinds.h"
#include "reaper/reaper.h"

#define ROTATION_MS (20 * 3600 * 1000LL) /* the rest of a day is for what slows it down */
#define INSTALLATIONS_MS (3600 * 1000LL)
#define REPOSITORIES_PER_PAGE 100

void reaper_free_lost_jobs(struct reaper *r)
{
    struct lost_jobs *l = &r->lost_jobs;
    for (size_t i = 0; i < l->installation_count; i++) {
        job_lists_end(&l->installations[i].lists);
        free(l->installations[i].rotation.names);
    }
    free(l->installations);
    free(l->active);
    *l = (struct lost_jobs){.active = NULL};
}

/* --- one repository --- */

static void report_refused(struct lost_jobs *l, struct lost_jobs_installation *of,
                           const char *repository, const struct err *e)
{
    of->refused++;
    if (l->refusal[0] != '\0') {
        return;
    }
    (void)snprintf(l->refusal, sizeof l->refusal, "%.140s: %.250s", repository, e->message);
    log_warn("job_list_refused", LOG_STR("repository", repository), LOG_ERR(e),
             LOG_STR("action", "jobs whose deliveries leave no trace are not found there; grant "
                               "the App or token read access to Actions"));
}

/* Goes on with the repository that is read. Returns false if this sweep ends here. */
static bool read_on(struct sweep *s, struct lost_jobs_installation *of, int64_t *repairs)
{
    struct err e = {0};
    switch (sweep_read_job_lists(s, &of->lists, false, repairs, &e)) {
    case JOB_LISTS_PAUSED:
        return false;
    case JOB_LISTS_REFUSED:
        report_refused(&s->reaper->lost_jobs, of, of->lists.repository, &e);
        break;
    case JOB_LISTS_FAILED:
        log_debug("job_list_failed", LOG_STR("repository", of->lists.repository), LOG_ERR(&e),
                  LOG_STR("action", "the next round reads it again"));
        break;
    case JOB_LISTS_DONE:
        break;
    }
    job_lists_end(&of->lists);
    return true;
}

static bool search_repository(struct sweep *s, struct lost_jobs_installation *of, const char *name,
                              int64_t *repairs)
{
    if (!config_admits_repository(s->config, slice_of(name))) {
        return true;
    }
    job_lists_begin(&of->lists, name, of->id);
    return read_on(s, of, repairs);
}

/* --- repositories that had jobs lately --- */

static const struct repository_seen *next_active(const struct lost_jobs *l,
                                                 const struct lost_jobs_installation *of)
{
    for (size_t i = 0; i < l->active_count; i++) {
        if (l->active[i].installation_id == of->id && strcmp(l->active[i].name, of->after) > 0) {
            return &l->active[i];
        }
    }
    return NULL;
}

static bool search_active(struct sweep *s, struct lost_jobs_installation *of, int64_t *repairs)
{
    const struct repository_seen *next = NULL;
    if (!of->round && clock_mono_ms() >= of->round_due_ms) {
        of->round = true;
        of->round_due_ms = clock_mono_ms() + s->config->reaper.job_scan_interval_ms;
        of->refused_before = of->refused;
        of->refused = 0;
        of->after[0] = '\0';
    }
    while (of->round && (next = next_active(&s->reaper->lost_jobs, of)) != NULL) {
        memcpy(of->after, next->name, sizeof of->after);
        of->of_rotation = false;
        if (!search_repository(s, of, next->name, repairs)) {
            return false;
        }
    }
    if (of->round) {
        of->round = false;
        of->round_done_ms = clock_mono_ms();
    }
    return true;
}

/* --- all others, in rotation --- */

static void rotation_name(const struct lost_jobs_installation *of, char out[LEDGER_CELL_NAME])
{
    (void)snprintf(out, LEDGER_CELL_NAME, "%" PRId64, of->id);
}

static void begin_rotation(const struct sweep *s, struct lost_jobs_rotation *r)
{
    r->began_ms = s->now_ms;
    r->page = 1;
    r->index = 0;
    r->done = 0;
    r->loaded = false;
}

/* "<began> <page> <index> <done>" */
static int load_rotation(struct sweep *s, struct lost_jobs_installation *of, struct err *e)
{
    struct lost_jobs_rotation *r = &of->rotation;
    char name[LEDGER_CELL_NAME];
    struct ledger_cell cell;
    struct slice rest;
    struct slice part[3];
    rotation_name(of, name);
    if (ledger_cell_get(s->reaper->ledger, LEDGER_KIND_ROTATION, name, &cell, e) != 0) {
        return -1;
    }
    rest = slice_of(cell.value);
    for (size_t i = 0; i < COUNT_OF(part); i++) {
        (void)slice_cut(rest, ' ', &part[i], &rest);
    }
    if (!slice_to_int64(part[0], &r->began_ms) || !slice_to_int64(part[1], &r->page) ||
        !slice_to_int64(part[2], &r->index) || !slice_to_int64(rest, &r->done) ||
        r->began_ms <= 0 || r->began_ms > s->now_ms || r->page < 1 || r->index < 0) {
        begin_rotation(s, r);
    }
    return 0;
}

/* A repository whose reading was interrupted is read again by whoever goes on. */
static int save_rotation(struct sweep *s, const struct lost_jobs_installation *of, struct err *e)
{
    const struct lost_jobs_rotation *r = &of->rotation;
    int64_t index = r->index - (of->of_rotation && of->lists.under_way ? 1 : 0);
    char name[LEDGER_CELL_NAME];
    char value[100];
    struct ledger_cell cell;
    rotation_name(of, name);
    (void)snprintf(value, sizeof value, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64, r->began_ms,
                   r->page, index, r->done);
    if (!sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (ledger_cell_get(s->reaper->ledger, LEDGER_KIND_ROTATION, name, &cell, e) != 0) {
        return -1;
    }
    int rc = ledger_cell_put(s->reaper->ledger, LEDGER_KIND_ROTATION, name, value, cell.version,
                             NULL, e);
    return rc != 0 && e->class == ERR_CONFLICT ? 0 : rc;
}

static int add_repository(void *arg, const char *name)
{
    struct lost_jobs_rotation *r = arg;
    if (r->name_count == REPOSITORIES_PER_PAGE) {
        return 1;
    }
    (void)snprintf(r->names[r->name_count++], REPOSITORY_SIZE, "%s", name);
    return 0;
}

/* Returns false if this sweep ends here, or the page could not be read. */
static bool load_page(struct sweep *s, struct lost_jobs_installation *of)
{
    struct lost_jobs_rotation *r = &of->rotation;
    struct err e = {0};
    struct sweep_call call;
    struct github_repositories page = {.more = false};
    if (!sweep_begin_reconcile_call(s, of->owner, of->id, &call)) {
        return false;
    }
    r->names = reallocarray(r->names, REPOSITORIES_PER_PAGE, sizeof *r->names);
    ASSERT(r->names != NULL);
    r->name_count = 0;
    int rc = github_list_repositories_page(s->reaper->github, of->id, (int)r->page, add_repository,
                                           r, &page, &e);
    sweep_end_call(s, &call, rc, &e);
    if (rc != 0) {
        log_debug("job_list_failed", LOG_STR("repository", of->owner), LOG_ERR(&e),
                  LOG_STR("action", "the next sweep tries again"));
        return false;
    }
    r->total = page.total;
    r->more = page.more;
    r->loaded = true;
    return true;
}

/* The rotation moves evenly. */
static bool is_due(const struct sweep *s, const struct lost_jobs_rotation *r)
{
    int64_t passed_ms = s->now_ms - r->began_ms;
    return passed_ms >= ROTATION_MS ||
           (double)r->done < (double)r->total * (double)passed_ms / (double)ROTATION_MS;
}

static bool is_active(const struct lost_jobs *l, const char *name)
{
    for (size_t i = 0; i < l->active_count; i++) {
        if (strcmp(l->active[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Behind the last repository of a page. Returns whether there is one to load. */
static bool turn_page(const struct sweep *s, struct lost_jobs_rotation *r)
{
    if (r->more) {
        r->page++;
        r->index = 0;
        r->loaded = false;
        return true;
    }
    if (s->now_ms - r->began_ms >= ROTATION_MS) {
        begin_rotation(s, r);
        return true;
    }
    return false;
}

/* *moved: what the ledger says of it is no longer true. */
static void rotate(struct sweep *s, struct lost_jobs_installation *of, int64_t *repairs,
                   bool *moved)
{
    struct lost_jobs_rotation *r = &of->rotation;
    bool on = true;
    while (on && (r->loaded || load_page(s, of))) {
        if (r->index >= (int64_t)r->name_count) {
            on = turn_page(s, r);
            *moved = *moved || on;
            continue;
        }
        on = is_due(s, r);
        if (on) {
            const char *name = r->names[r->index++];
            r->done++;
            of->of_rotation = true;
            *moved = true;
            on = is_active(&s->reaper->lost_jobs, name) || search_repository(s, of, name, repairs);
        }
    }
}

static int search_all(struct sweep *s, struct lost_jobs_installation *of, int64_t *repairs,
                      struct err *e)
{
    bool moved = false;
    if (of->owner[0] == '\0') {
        return 0;
    }
    if (of->rotation.began_ms == 0) {
        if (load_rotation(s, of, e) != 0) {
            return -1;
        }
        moved = true;
    }
    rotate(s, of, repairs, &moved);
    return moved ? save_rotation(s, of, e) : 0;
}

/* --- installations --- */

static struct lost_jobs_installation *installation(struct lost_jobs *l, int64_t id)
{
    for (size_t i = 0; i < l->installation_count; i++) {
        if (l->installations[i].id == id) {
            return &l->installations[i];
        }
    }
    l->installations =
        reallocarray(l->installations, l->installation_count + 1, sizeof *l->installations);
    ASSERT(l->installations != NULL);
    struct lost_jobs_installation *of = &l->installations[l->installation_count++];
    *of = (struct lost_jobs_installation){.id = id, .round_done_ms = clock_mono_ms()};
    return of;
}

static int read_active(struct sweep *s, struct err *e)
{
    struct lost_jobs *l = &s->reaper->lost_jobs;
    struct repository_seen *active = NULL;
    size_t n = 0;
    if (clock_mono_ms() < l->active_due_ms) {
        return 0;
    }
    if (repositories_list(s->reaper->ledger, s->now_ms - REPOSITORIES_ACTIVE_MS, &active, &n, e) !=
        0) {
        return -1;
    }
    free(l->active);
    l->active = active;
    l->active_count = n;
    l->active_due_ms = clock_mono_ms() + s->config->reaper.job_scan_interval_ms / 2;
    for (size_t i = 0; i < n; i++) {
        (void)installation(l, active[i].installation_id);
    }
    return 0;
}

static int add_installation(void *arg, const struct github_installation *i)
{
    struct sweep *s = arg;
    int64_t only = s->config->github.installation;
    if (!i->suspended && (only == 0 || i->id == only)) {
        struct lost_jobs_installation *of = installation(&s->reaper->lost_jobs, i->id);
        (void)snprintf(of->owner, sizeof of->owner, "%s", i->owner);
    }
    return 0;
}

static void list_installations(struct sweep *s)
{
    struct lost_jobs *l = &s->reaper->lost_jobs;
    struct err e = {0};
    struct sweep_call call;
    if (!config_has_app(s->config) || clock_mono_ms() < l->installations_due_ms ||
        !sweep_begin_github_call(s, "", &call)) {
        return;
    }
    l->installations_due_ms = clock_mono_ms() + INSTALLATIONS_MS;
    for (size_t i = 0; i < l->installation_count; i++) {
        l->installations[i].owner[0] = '\0'; /* unless it is still listed */
    }
    int rc = github_list_installations(s->reaper->github, add_installation, s, &e);
    sweep_end_call(s, &call, rc, &e);
    if (rc != 0) {
        log_warn("scopes_not_listed", LOG_STR("owner", ""), LOG_ERR(&e),
                 LOG_STR("action", "within the hour they are listed again; until then only "
                                   "repositories that had jobs lately are searched for lost ones"));
    }
}

/* --- the task --- */

static void report_state(struct sweep *s)
{
    struct lost_jobs *l = &s->reaper->lost_jobs;
    int64_t now_ms = clock_mono_ms();
    int64_t oldest_ms = now_ms;
    size_t refused = 0;
    for (size_t i = 0; i < l->installation_count; i++) {
        const struct lost_jobs_installation *of = &l->installations[i];
        refused += of->refused > of->refused_before ? of->refused : of->refused_before;
        oldest_ms = of->round_done_ms < oldest_ms ? of->round_done_ms : oldest_ms;
    }
    if (refused == 0) {
        l->refusal[0] = '\0';
    } else {
        sweep_notice(s, NULL, "job lists",
                     "GitHub does not let us list the jobs of %zu repositories, so that lost ones "
                     "are not found there: grant read access to Actions; %s",
                     refused, l->refusal);
    }
    metric_set(metrics_gauge("mayfly_reaper_job_scan_age_seconds", ""),
               (now_ms - oldest_ms) / 1000);
    metric_set(metrics_gauge("mayfly_reaper_active_repositories", ""), (int64_t)l->active_count);
}

static int search_installation(struct sweep *s, struct lost_jobs_installation *of, int64_t *repairs,
                               struct err *e)
{
    if ((of->lists.under_way && !read_on(s, of, repairs)) || !search_active(s, of, repairs)) {
        return 0;
    }
    return search_all(s, of, repairs, e);
}

/* It reads the same, and needs the calls. It may last, as where an App was uninstalled or the log may
 * not be read: the others are then searched beside it. */
static bool recovery_goes_first(const struct sweep *s)
{
    const struct recovery *r = &s->reaper->recovery;
    return r->stage != RECOVERY_NONE &&
           clock_mono_ms() - r->began_ms < s->config->reaper.job_scan_interval_ms;
}

int sweep_lost_jobs(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct lost_jobs *l = &s->reaper->lost_jobs;
    int failed = 0;
    if (recovery_goes_first(s)) {
        l->active_due_ms = clock_mono_ms() + s->config->reaper.job_scan_interval_ms / 2;
        return 0;
    }
    if (read_active(s, e) != 0) {
        return -1;
    }
    list_installations(s);
    for (size_t i = 0; i < l->installation_count; i++) {
        struct lost_jobs_installation *of =
            &l->installations[(l->first + i) % l->installation_count];
        failed = search_installation(s, of, repairs, e) != 0 ? -1 : failed;
    }
    l->first++;
    report_state(s);
    return failed;
}
