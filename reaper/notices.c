/*
 * What an operator should know of the reaper's state: cells that `mayflyctl status` prints. They are
 * written by sweeps that scan the runner lists, and only if they have changed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/ledger/kinds.h"
#include "reaper/reaper.h"

/* The name begins with the lease, so that a reaper removes none of another's. */
static void name_of(const struct sweep_lease *l, const char *subject, char out[LEDGER_CELL_NAME])
{
    (void)snprintf(out, LEDGER_CELL_NAME, "%.80s: %.40s", l->name, subject);
}

void sweep_notice(struct sweep *s, const struct vm_provider *p, const char *subject,
                  const char *format, ...)
{
    s->notices = reallocarray(s->notices, s->notice_count + 1, sizeof *s->notices);
    ASSERT(s->notices != NULL);
    struct ledger_cell *n = &s->notices[s->notice_count++];
    *n = (struct ledger_cell){.kind = LEDGER_KIND_NOTICE};
    name_of(sweep_lease_of(s, p), subject, n->name);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(n->value, sizeof n->value, format, args);
    va_end(args);
}

static const struct ledger_cell *find_cell(const struct ledger_cell *list, size_t n,
                                           const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

static bool is_of_held_lease(const struct sweep *s, const char *name)
{
    char begin[LEDGER_CELL_NAME];
    name_of(&s->fleet, "", begin);
    if (s->fleet.held && strncmp(name, begin, strlen(begin)) == 0) {
        return true;
    }
    name_of(&s->host, "", begin);
    return s->host.held && strncmp(name, begin, strlen(begin)) == 0;
}

static void put(struct sweep *s, const char *name, const char *value, int64_t version)
{
    struct err e = {0};
    if (ledger_cell_put(s->reaper->ledger, LEDGER_KIND_NOTICE, name, value, version, NULL, &e) !=
        0) {
        log_debug("notice_not_written", LOG_ERR(&e),
                  LOG_STR("action", "the next scan of the runner lists writes it"));
    }
}

void sweep_write_notices(struct sweep *s)
{
    struct err e = {0};
    struct ledger_cell *known = NULL;
    size_t n = 0;
    if (!s->scans_runners || s->lost ||
        ledger_cell_list(s->reaper->ledger, LEDGER_KIND_NOTICE, &known, &n, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < s->notice_count; i++) {
        const struct ledger_cell *now = &s->notices[i];
        const struct ledger_cell *was = find_cell(known, n, now->name);
        if (was == NULL || strcmp(was->value, now->value) != 0) {
            put(s, now->name, now->value, was != NULL ? was->version : 0);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (is_of_held_lease(s, known[i].name) &&
            find_cell(s->notices, s->notice_count, known[i].name) == NULL) {
            put(s, known[i].name, NULL, known[i].version);
        }
    }
    free(known);
}

/* --- questions to GitHub that the budget has deferred; the metric is mayfly_github_deferred_total --- */

static struct reaper_deferred *find_deferred(struct reaper *r, const char *scope)
{
    size_t last = COUNT_OF(r->deferred) - 1;
    for (size_t i = 0; i < last; i++) {
        if (r->deferred[i].count == 0 || strcmp(r->deferred[i].scope, scope) == 0) {
            return &r->deferred[i];
        }
    }
    return &r->deferred[last];
}

void sweep_defer(struct sweep *s, const struct github_scope *scope)
{
    struct reaper_deferred *d = find_deferred(s->reaper, scope->name);
    if (d->count++ == 0) {
        (void)snprintf(d->scope, sizeof d->scope, "%s", scope->name);
    }
}

void sweep_report_deferred(struct sweep *s)
{
    struct reaper *r = s->reaper;
    if (!s->scans_runners) {
        return;
    }
    for (size_t i = 0; i < COUNT_OF(r->deferred); i++) {
        const struct reaper_deferred *d = &r->deferred[i];
        if (d->count > 0) {
            sweep_notice(s, NULL, d->scope,
                         "GitHub: %lld questions about %s%s were put off in the last scan: "
                         "reconciling has used its share of the hourly limit "
                         "(github.reconcile_percent); launches go on",
                         (long long)d->count, d->scope,
                         i + 1 < COUNT_OF(r->deferred) ? "" : " and others");
        }
    }
    memset(r->deferred, 0, sizeof r->deferred);
}
