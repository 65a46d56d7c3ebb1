/*
 * Who may call GitHub when there are more questions than calls. Launches have priority.
 *
 *   launch      registrations and what they need: always allowed here (github.rate, and limits of
 *               their own, pace them)
 *   early end   a question about a VM that may be terminated before its deadline, and what follows
 *   reconcile   every other question: lists, jobs, repositories, stale registrations
 *
 * Early ends and reconciling together take at most github.reconcile_percent of the installation's
 * hourly limit, as x-ratelimit-limit names it, over all processes: a bucket of the ledger,
 * "reconcile/github:<installation>". A quarter of the share can be used at once, the rest is added over the
 * hour, so no hour has more than the share. When GitHub reports less than github.reserve_percent of
 * the limit remaining, reconciling waits for the end of its window. What is left is GitHub's to say, and
 * each process hears it with each response, so nothing else is shared. A server without these headers
 * (GitHub Enterprise Server, where limits are off) has no budget; nor have calls as the App, which
 * no installation's limit counts.
 *
 * A refused question is no error: it is asked later, and nothing is concluded until then.
 */
#ifndef MAYFLY_GITHUB_BUDGET_H
#define MAYFLY_GITHUB_BUDGET_H

#include "common/github/github.h"

/* Takes `calls` calls about that scope from the budget; false: none was taken, ask later. Lists take
 * what their pages after the first need themselves. Before the first response from an installation
 * its limit is unknown, and the question is allowed. Counts refusals in
 * mayfly_github_deferred_total. */
bool github_budget_allows(struct github *g, const struct github_scope *s,
                          enum github_purpose purpose, int64_t calls);

/* The same; refused, it is github_budget_later with the time until so many calls are left, if that is
 * known. */
MUST_CHECK int github_budget_take(struct github *g, const struct github_scope *s,
                                  enum github_purpose purpose, int64_t calls, struct err *e);
/* The error of a call that the budget has refused: ERR_THROTTLED with the code GITHUB_LATER. */
int github_budget_later(const struct github_scope *s, struct err *e);
/* Whether a call failed for that reason: a list that needs more pages than are left. */
static inline bool github_budget_refused(const struct err *e)
{
    return e->class == ERR_THROTTLED && e->code == GITHUB_LATER;
}

/* What GitHub last reported of an installation's hourly limit. */
struct github_rate {
    int64_t limit;    /* > 0 */
    int64_t left;     /* of it */
    int64_t reset_ms; /* wall clock: when the window ends */
};
/* Of the installation with the smallest share left, among those that this process heard from in their
 * present windows. False: none. Any thread. */
bool github_lowest_rate(struct github *g, struct github_rate *out);

/* "launch", "early_end" or "reconcile". */
const char *github_purpose_name(enum github_purpose p);

#endif
