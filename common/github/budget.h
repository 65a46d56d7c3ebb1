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
 * no installation's limit counts. Intake from the delivery log (github.pull) is no reconciling: it has a
 * pace of its own, below.
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

/* How intake from a hook's delivery log is paced (github.pull): by what GitHub last said of the limit that
 * its calls count against. The App's own log has one of its own, which nothing but new tokens and the
 * like use; another hook's log shares that of the launches. Intake leaves github.reserve_percent of the
 * limit, and of a shared one github.reconcile_percent too. Half of what an even use would have left by
 * now may be used at once, so that a burst of jobs does not wait; below that, calls are spread evenly
 * over the rest of GitHub's hour. Where GitHub names no limit, nothing is paced.
 *
 * Returns how many calls, of `most`, may be made now; 0: none. *pause_ms: after them (or, for 0, from now
 * on) none for so long. */
int64_t github_intake_calls(struct github *g, const struct github_hook *h, int64_t most,
                            int64_t *pause_ms);
/* The same as a pure function. `kept`: calls that are left. until_reset_ms: of the hour. */
struct github_hour {
    int64_t limit;
    int64_t left;
    int64_t kept;
    int64_t until_reset_ms;
};
int64_t github_pace_calls(const struct github_hour *h, int64_t most, int64_t *pause_ms);

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
