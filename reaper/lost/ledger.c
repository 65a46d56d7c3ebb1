/*
 * A lost ledger is rebuilt from GitHub.
 *
 * A cell of the ledger says since when it is complete, in which of its store's histories, and when
 * that was last so. There is none in a ledger that is new or was emptied; it is an old one in a
 * ledger that was restored, went back behind what this process has seen, or may have lost its last
 * writes. Then, and when `mayflyctl recover` asks for it:
 *
 *   log            GitHub's delivery log, as far back as the loss may reach: the repositories of its
 *                  `queued` deliveries, also of those that were accepted (a cell each)
 *   repositories   the jobs of each, as GitHub lists them (job_lists.c)
 *   payloads       of those whose jobs may not be listed, the deliveries of the log
 *
 * The stage and the repositories that are left are in the ledger, so that whoever holds the lease
 * goes on; a stage that was interrupted may be done again, which changes nothing. VMs that run are
 * not started again: a job in progress is only recorded, and the VMs get rows (common/fleet/
 * reconcile.h, orphans.c).
 */
#include "reaper/lost/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/ledger/kinds.h"
#include "reaper/reaper.h"

#define STATE "fleet"
#define REFRESHED_MS (60 * 1000LL)
#define VALID_MS (5 * REFRESHED_MS)
#define QUEUED_AT_MOST_MS (24 * 3600 * 1000LL) /* GitHub cancels a job that is queued for longer */

/* --- the cell: "<at> <history> <stage> <since>" --- */

static const char *const stages[] = {"none", "log", "repositories", "payloads"};

struct state {
    struct ledger_cell cell; /* version 0: there is none, or it cannot be read */
    int64_t at_ms;           /* when it was last written */
    char history[LEDGER_HISTORY_SIZE];
    enum recovery_stage stage;
    int64_t since_ms;
    int64_t requested_ms; /* by an operator, since then; 0: not */
    struct ledger_cell request;
};

static bool read_state_cell(struct state *out)
{
    struct slice at;
    struct slice history;
    struct slice stage;
    struct slice rest;
    if (!slice_cut(slice_of(out->cell.value), ' ', &at, &rest) ||
        !slice_cut(rest, ' ', &history, &rest) || !slice_cut(rest, ' ', &stage, &rest) ||
        !slice_to_int64(at, &out->at_ms) || !slice_to_int64(rest, &out->since_ms) ||
        !slice_to_cstr(history, out->history, sizeof out->history)) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(stages); i++) {
        if (slice_eq_cstr(stage, stages[i])) {
            out->stage = (enum recovery_stage)i;
            return true;
        }
    }
    return false;
}

/* The history first: a cell that is read later cannot be of an earlier one. */
static int read_state(struct sweep *s, char history[LEDGER_HISTORY_SIZE], struct state *out,
                      struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    *out = (struct state){.at_ms = 0};
    if (ledger_history(s->reaper->ledger, history, e) != 0 ||
        ledger_cell_list(s->reaper->ledger, LEDGER_KIND_RECOVERY, &cells, &n, e) != 0) {
        return -1;
    }
    if (history[0] == '\0') {
        memcpy(history, "-", 2);
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(cells[i].name, STATE) == 0) {
            out->cell = cells[i];
        } else if (strcmp(cells[i].name, LEDGER_RECOVERY_REQUEST) == 0 &&
                   slice_to_int64(slice_of(cells[i].value), &out->requested_ms)) {
            out->request = cells[i];
        }
    }
    free(cells);
    if (out->cell.version != 0 && !read_state_cell(out)) {
        return err_set(e, ERR_PERMANENT, 0, "the ledger's cell %s/%s cannot be read: %s",
                       LEDGER_KIND_RECOVERY, STATE, out->cell.value);
    }
    return 0;
}

static int write_state(struct sweep *s, struct state *now, struct err *e)
{
    struct recovery *r = &s->reaper->recovery;
    char value[LEDGER_CELL_VALUE];
    now->at_ms = s->now_ms;
    (void)snprintf(value, sizeof value, "%" PRId64 " %s %s %" PRId64, now->at_ms, now->history,
                   stages[now->stage], now->since_ms);
    if (!sweep_still_holds(s, NULL)) {
        return err_set(e, ERR_CONFLICT, 0, "the lease of the sweep is lost");
    }
    if (ledger_cell_put(s->reaper->ledger, LEDGER_KIND_RECOVERY, STATE, value, now->cell.version,
                        &now->cell.version, e) != 0) {
        return -1;
    }
    r->seen_version = now->cell.version;
    r->stage = now->stage;
    r->since_ms = now->since_ms;
    metric_set(metrics_gauge("mayfly_reaper_recovery", ""), now->stage != RECOVERY_NONE ? 1 : 0);
    return 0;
}

static int set_stage(struct sweep *s, enum recovery_stage stage, struct err *e)
{
    struct state now;
    char history[LEDGER_HISTORY_SIZE];
    if (read_state(s, history, &now, e) != 0) {
        return -1;
    }
    if (now.cell.version == 0) {
        return err_set(e, ERR_RETRY, 0, "the ledger was emptied meanwhile");
    }
    now.stage = stage;
    return write_state(s, &now, e);
}

static void end_readings(struct recovery *r)
{
    for (size_t i = 0; i < r->reading_count; i++) {
        job_lists_end(&r->readings[i].lists);
    }
    r->reading_count = 0;
    unread_fini(&r->unread);
}

void reaper_free_recovery(struct reaper *r)
{
    end_readings(&r->recovery);
    free(r->recovery.readings);
    free(r->recovery.ids);
    r->recovery = (struct recovery){.ids = NULL};
}

/* --- what begins it --- */

static const char *find_loss(const struct sweep *s, const struct state *now, const char *history)
{
    if (now->cell.version == 0) {
        return "the ledger is new, or was emptied";
    }
    if (now->cell.version < s->reaper->recovery.seen_version) {
        return "the ledger went back behind what this reaper has seen";
    }
    if (strcmp(now->history, history) != 0) {
        return "the ledger was restored, or its server restarted or another took over: its last "
               "writes may be lost";
    }
    if (s->now_ms - now->at_ms > VALID_MS) {
        return "no reaper has worked for a while, or the ledger was restored";
    }
    return now->requested_ms > 0 ? "an operator asked for it" : NULL;
}

static int64_t loss_since_ms(const struct sweep *s, const struct state *now)
{
    const struct config_deliveries *c = &s->config->reaper.deliveries;
    int64_t oldest_ms = s->now_ms - QUEUED_AT_MOST_MS;
    int64_t since_ms = s->now_ms - c->initial_lookback_ms;
    if (now->cell.version != 0) {
        since_ms = (now->at_ms < s->now_ms ? now->at_ms : s->now_ms) - c->overlap_ms;
    }
    if (now->stage != RECOVERY_NONE && now->since_ms < since_ms) {
        since_ms = now->since_ms; /* of the one that this one replaces */
    }
    since_ms = since_ms > oldest_ms ? since_ms : oldest_ms;
    return now->requested_ms > 0 && now->requested_ms < since_ms ? now->requested_ms : since_ms;
}

/* What this process remembers of deliveries is of the ledger that was lost. */
static void forget_what_was_read(struct reaper *r)
{
    r->walk.under_way = false;
    memset(&r->recent, 0, sizeof r->recent);
    memset(&r->noted, 0, sizeof r->noted);
    end_readings(&r->recovery);
    r->recovery.id_count = 0;
    r->recovery.jobs = 0;
    r->recovery.began_ms = clock_mono_ms();
}

static int begin(struct sweep *s, struct state *now, const char *history, const char *why,
                 struct err *e)
{
    char since[40];
    now->since_ms = loss_since_ms(s, now);
    now->stage = RECOVERY_LOG;
    (void)snprintf(now->history, sizeof now->history, "%s", history);
    forget_what_was_read(s->reaper);
    if (write_state(s, now, e) != 0) {
        return -1;
    }
    clock_format_utc(now->since_ms, since, sizeof since);
    log_info("recovery_started", LOG_STR("reason", why), LOG_STR("since", since),
             LOG_STR("action", "jobs that GitHub delivered since then and that wait are read from "
                               "GitHub"));
    return now->request.version == 0
               ? 0
               : ledger_cell_put(s->reaper->ledger, LEDGER_KIND_RECOVERY, LEDGER_RECOVERY_REQUEST,
                                 NULL, now->request.version, NULL, e);
}

static int finish(struct sweep *s, struct err *e)
{
    struct recovery *r = &s->reaper->recovery;
    if (set_stage(s, RECOVERY_NONE, e) != 0) {
        return -1;
    }
    free(r->ids);
    r->ids = NULL;
    r->id_count = 0;
    log_info("recovery_finished", LOG_INT("jobs", r->jobs));
    return 0;
}

/* --- the log --- */

static bool has_id(const struct recovery *r, int64_t id)
{
    for (size_t i = 0; i < r->id_count; i++) {
        if (r->ids[i] == id) {
            return true;
        }
    }
    return false;
}

static void add_id(struct recovery *r, int64_t id)
{
    if (r->id_count < RECOVERY_IDS_MAX) {
        r->ids = reallocarray(r->ids, r->id_count + 1, sizeof *r->ids);
        ASSERT(r->ids != NULL);
        r->ids[r->id_count++] = id;
    }
}

/* A repository to be read: its name is the id that the log gives; its value
 * "<installation> <a delivery of it> <0 | 1: by payloads>". */
struct left {
    struct ledger_cell cell;
    int64_t id;
    int64_t installation_id;
    int64_t delivery_id;
    int64_t by_payloads;
};

static bool read_left(const struct ledger_cell *cell, struct left *out)
{
    struct slice installation;
    struct slice delivery;
    struct slice rest;
    *out = (struct left){.cell = *cell};
    return slice_to_int64(slice_of(cell->name), &out->id) &&
           slice_cut(slice_of(cell->value), ' ', &installation, &rest) &&
           slice_cut(rest, ' ', &delivery, &rest) &&
           slice_to_int64(installation, &out->installation_id) &&
           slice_to_int64(delivery, &out->delivery_id) && slice_to_int64(rest, &out->by_payloads);
}

/* Another reaper may have written or removed it. */
static int put_left(struct sweep *s, const char *name, const char *value, int64_t version,
                    struct err *e)
{
    int rc = ledger_cell_put(s->reaper->ledger, LEDGER_KIND_RECOVER, name, value, version, NULL, e);
    return rc != 0 && e->class == ERR_CONFLICT ? 0 : rc;
}

static int list_left(struct sweep *s, struct left **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(s->reaper->ledger, LEDGER_KIND_RECOVER, &cells, &count, e) != 0) {
        return -1;
    }
    struct left *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        *n += read_left(&cells[i], &list[*n]) ? 1 : 0;
    }
    free(cells);
    *out = list;
    return 0;
}

int sweep_recovery_begin_log(struct sweep *s, struct err *e)
{
    struct recovery *r = &s->reaper->recovery;
    struct left *left = NULL;
    size_t n = 0;
    r->id_count = 0;
    if (r->stage != RECOVERY_PAYLOADS) {
        return 0;
    }
    if (list_left(s, &left, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (left[i].by_payloads != 0) {
            add_id(r, left[i].id);
        }
    }
    free(left);
    return 0;
}

static int see_repository(struct sweep *s, const struct github_delivery *d, struct err *e)
{
    struct recovery *r = &s->reaper->recovery;
    char name[32];
    char value[80];
    if (strcmp(d->action, "queued") != 0 || has_id(r, d->repository_id)) {
        return 0;
    }
    (void)snprintf(name, sizeof name, "%" PRId64, d->repository_id);
    (void)snprintf(value, sizeof value, "%" PRId64 " %" PRId64 " 0", d->installation_id, d->id);
    if (put_left(s, name, value, 0, e) != 0) {
        return -1;
    }
    add_id(r, d->repository_id);
    return 0;
}

int sweep_recovery_see(struct sweep *s, const struct github_delivery *d, bool *wanted,
                       struct err *e)
{
    const struct recovery *r = &s->reaper->recovery;
    *wanted = false;
    if (r->stage == RECOVERY_NONE || d->repository_id <= 0 || d->delivered_ms < r->since_ms ||
        strcmp(d->event, "workflow_job") != 0) {
        return 0;
    }
    *wanted = r->stage == RECOVERY_PAYLOADS && has_id(r, d->repository_id);
    return r->stage == RECOVERY_LOG ? see_repository(s, d, e) : 0;
}

/* Those whose payloads were read are done. */
static int remove_read_by_payloads(struct sweep *s, struct err *e)
{
    struct left *left = NULL;
    size_t n = 0;
    int failed = list_left(s, &left, &n, e);
    for (size_t i = 0; failed == 0 && i < n; i++) {
        failed = left[i].by_payloads == 0
                     ? 0
                     : put_left(s, left[i].cell.name, NULL, left[i].cell.version, e);
    }
    free(left);
    return failed;
}

int sweep_recovery_log_read(struct sweep *s, struct err *e)
{
    switch (s->reaper->recovery.stage) {
    case RECOVERY_LOG:
        return set_stage(s, RECOVERY_REPOSITORIES, e);
    case RECOVERY_PAYLOADS:
        if (s->reaper->walk.missed_ms > 0) {
            return 0; /* the next reading gets the rest */
        }
        return remove_read_by_payloads(s, e) == 0 ? finish(s, e) : -1;
    case RECOVERY_NONE:
    case RECOVERY_REPOSITORIES:
        break;
    }
    return 0;
}

/* --- the repositories --- */

/* The log names no repositories, only their ids; a delivery names its own. */
static enum job_lists_result name_repository(struct sweep *s, const struct left *of,
                                             char name[REPOSITORY_SIZE], struct err *e)
{
    struct github_hook hook;
    struct sweep_call call;
    if (!github_hook_of(s->config, &hook)) {
        return JOB_LISTS_REFUSED;
    }
    if (!sweep_may_reconcile(s) ||
        !sweep_begin_github_call(s, hook.id != 0 ? hook.scope.name : "", &call)) {
        return JOB_LISTS_PAUSED;
    }
    int rc = github_delivery_repository(s->reaper->github, &hook, of->delivery_id, name, e);
    sweep_end_call(s, &call, rc, e);
    if (rc == 0) {
        return JOB_LISTS_DONE;
    }
    bool refused = e->class == ERR_NOT_FOUND || e->class == ERR_PERMANENT ||
                   (e->class == ERR_AUTH && e->code == 403);
    return refused ? JOB_LISTS_REFUSED : JOB_LISTS_FAILED;
}

static int mark_for_payloads(struct sweep *s, const struct left *of, struct err *e)
{
    char value[80];
    (void)snprintf(value, sizeof value, "%" PRId64 " %" PRId64 " 1", of->installation_id,
                   of->delivery_id);
    return put_left(s, of->cell.name, value, of->cell.version, e);
}

/* One of each installation: another's share of calls may be used up, or its circuit open. */
static struct recovery_reading *reading_of(struct recovery *r, int64_t installation_id)
{
    for (size_t i = 0; i < r->reading_count; i++) {
        if (r->readings[i].installation_id == installation_id) {
            return &r->readings[i];
        }
    }
    r->readings = reallocarray(r->readings, r->reading_count + 1, sizeof *r->readings);
    ASSERT(r->readings != NULL);
    struct recovery_reading *of = &r->readings[r->reading_count++];
    *of = (struct recovery_reading){.installation_id = installation_id};
    return of;
}

static int read_repository(struct sweep *s, const struct left *of, struct recovery_reading *reading,
                           int64_t *repairs, struct err *e)
{
    struct err why = {0};
    char name[REPOSITORY_SIZE];
    enum job_lists_result result = JOB_LISTS_DONE;
    int64_t before = *repairs;
    if (!reading->lists.under_way || reading->repository_id != of->id) {
        result = name_repository(s, of, name, &why);
        if (result == JOB_LISTS_DONE && !config_admits_repository(s->config, slice_of(name))) {
            return put_left(s, of->cell.name, NULL, of->cell.version, e);
        }
        if (result == JOB_LISTS_DONE) {
            job_lists_begin(&reading->lists, name, of->installation_id);
            reading->repository_id = of->id;
        }
    }
    if (result == JOB_LISTS_DONE) {
        result = sweep_read_job_lists(s, &reading->lists, true, repairs, &why);
    }
    s->reaper->recovery.jobs += *repairs - before;
    switch (result) {
    case JOB_LISTS_DONE:
        unread_forget(&s->reaper->recovery.unread, of->id);
        return put_left(s, of->cell.name, NULL, of->cell.version, e);
    case JOB_LISTS_PAUSED:
        reading->paused = true;
        return 0;
    case JOB_LISTS_REFUSED:
        unread_report_refused(reading->lists.under_way ? reading->lists.repository : of->cell.name,
                              &why);
        job_lists_end(&reading->lists);
        return mark_for_payloads(s, of, e);
    case JOB_LISTS_FAILED:
        break;
    }
    job_lists_end(&reading->lists);
    unread_report(&s->reaper->recovery.unread, of->id, &why);
    return 0;
}

/* Those that were begun first. An installation that pauses is left to the next sweep. */
static int read_each(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct recovery *r = &s->reaper->recovery;
    struct left *left = NULL;
    size_t n = 0;
    size_t front = 0;
    int failed = list_left(s, &left, &n, e);
    for (size_t i = 0; i < n; i++) {
        struct recovery_reading *of = reading_of(r, left[i].installation_id);
        of->paused = false;
        if (of->lists.under_way && of->repository_id == left[i].id) {
            struct left begun = left[i];
            left[i] = left[front];
            left[front++] = begun;
        }
    }
    for (size_t i = 0; failed == 0 && i < n; i++) {
        struct recovery_reading *of = reading_of(r, left[i].installation_id);
        if (left[i].by_payloads == 0 && !of->paused) {
            failed = read_repository(s, &left[i], of, repairs, e);
        }
    }
    free(left);
    return failed;
}

static int read_repositories(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct left *left = NULL;
    size_t n = 0;
    size_t by_payloads = 0;
    if (read_each(s, repairs, e) != 0 || list_left(s, &left, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        by_payloads += left[i].by_payloads != 0 ? 1 : 0;
    }
    free(left);
    if (by_payloads < n) {
        return 0;
    }
    s->reaper->walk.under_way = s->reaper->walk.under_way && n == 0;
    return n > 0 ? set_stage(s, RECOVERY_PAYLOADS, e) : finish(s, e);
}

/* --- the task --- */

static void report_stage(struct sweep *s)
{
    static const char *const doing[] = {
        [RECOVERY_LOG] = "GitHub's delivery log is read",
        [RECOVERY_REPOSITORIES] = "the jobs of its repositories are read",
        [RECOVERY_PAYLOADS] =
            "the deliveries of repositories whose jobs may not be listed are read",
    };
    const struct recovery *r = &s->reaper->recovery;
    char since[40];
    if (r->stage != RECOVERY_NONE) {
        clock_format_utc(r->since_ms, since, sizeof since);
        sweep_notice(s, NULL, "recovery",
                     "jobs that the ledger lost since %s are read from GitHub: %s", since,
                     doing[r->stage]);
    }
}

/* The task that follows reads it. */
static int read_log(struct sweep *s, struct err *e)
{
    struct github_hook hook;
    if (github_hook_of(s->config, &hook)) {
        sweep_run_at_once(s, sweep_deliveries);
        return 0;
    }
    log_info("recovery_without_log",
             LOG_STR("reason", "no delivery log can be read, so the repositories whose jobs were "
                               "lost are not known"),
             LOG_STR("action", "set github.app or github.hook; the jobs of repositories that have "
                               "jobs again are found"));
    return finish(s, e);
}

/* Refreshed also while it goes on: only what was lost after that is lost again. */
static int refresh(struct sweep *s, struct state *now, struct err *e)
{
    return s->now_ms - now->at_ms > REFRESHED_MS ? write_state(s, now, e) : 0;
}

int sweep_recovery(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct recovery *r = &s->reaper->recovery;
    struct state now;
    char history[LEDGER_HISTORY_SIZE];
    if (read_state(s, history, &now, e) != 0) {
        return -1;
    }
    const char *why = find_loss(s, &now, history);
    if ((why != NULL ? begin(s, &now, history, why, e) : refresh(s, &now, e)) != 0) {
        return -1;
    }
    if (r->stage == RECOVERY_NONE && now.stage != RECOVERY_NONE) { /* another reaper began it */
        r->began_ms = clock_mono_ms();
    }
    r->seen_version = now.cell.version;
    r->stage = now.stage;
    r->since_ms = now.since_ms;
    report_stage(s);
    switch (r->stage) {
    case RECOVERY_LOG:
    case RECOVERY_PAYLOADS:
        return read_log(s, e);
    case RECOVERY_REPOSITORIES:
        return read_repositories(s, repairs, e);
    case RECOVERY_NONE:
        break;
    }
    return 0;
}
