/*
 * The circuits (fleet/circuits.h) that the calls of a sweep meet. While the circuit of GitHub, of an
 * installation, of this host's credentials or of a provider's target is open, no call that depends
 * on it is made: what it would have shown is not known, so nothing is concluded from it. When the
 * circuit is half-open, the next such call is its probe. A fleet without workers recovers by itself.
 *
 * What a call shows goes to the same circuits: that a peer cannot be reached, throttles or refuses
 * the App, and that it works again. Whether it launches VMs only launches show. A proxy that fails
 * is left alone for the rest of the sweep.
 */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/github/budget.h"
#include "reaper/reaper.h"

#define RUNNERS_ASKED_MAX 50 /* single runners, in a sweep; the next one goes on */
#define PROBE_MS 60000       /* more than a call may take; then another process may probe */

/* Once while the circuit is open. */
static void report_pause(struct reaper *r, const char *subject, const struct circuit *c)
{
    char until[40];
    uint64_t this = hash_text(subject) ^ (uint64_t)c->since_ms;
    for (size_t i = 0; i < COUNT_OF(r->pauses); i++) {
        if (r->pauses[i] == this) {
            return;
        }
    }
    r->pauses[r->next_pause] = this;
    r->next_pause = (r->next_pause + 1) % COUNT_OF(r->pauses);
    clock_format_utc(c->open_until_ms, until, sizeof until);
    log_info("sweep_calls_paused", LOG_STR("subject", subject), LOG_STR("reason", c->why),
             LOG_STR("until", until),
             LOG_STR("action", "no sweep makes a call that depends on it, or concludes anything "
                               "from what it could not read; one call is made at that time"));
}

static bool begin_call(struct sweep *s, struct sweep_call *call)
{
    struct reaper *r = s->reaper;
    struct circuits_stop stop;
    if (*call->proxy_failed) {
        return false;
    }
    random_hex(call->holder, sizeof call->holder / 2);
    circuits_refresh(r->circuits);
    if (circuits_enter_call(r->circuits, &call->subjects, call->holder, clock_wall_ms() + PROBE_MS,
                            &stop) == 0) {
        return true;
    }
    if (stop.circuit.since_ms > 0) {
        report_pause(r, call->subjects.names[stop.subject], &stop.circuit);
    }
    return false;
}

static void name_github(const struct sweep *s, const char *scope, struct subjects *out)
{
    subjects_of_github(fleet_host(s->reaper->fleet), out);
    if (scope[0] != '\0') {
        const struct github_scope of = github_scope_parse(scope, 0);
        subjects_add_installation(&of, out);
    }
}

bool sweep_begin_github_call(struct sweep *s, const char *scope, struct sweep_call *call)
{
    *call = (struct sweep_call){.proxy_failed = &s->github_proxy_failed};
    name_github(s, scope, &call->subjects);
    return begin_call(s, call);
}

bool sweep_begin_question(struct sweep *s, const struct github_scope *scope,
                          enum github_purpose purpose, int64_t calls, struct sweep_call *call)
{
    if (!sweep_begin_github_call(s, scope->name, call)) {
        return false;
    }
    if (github_budget_allows(s->reaper->github, scope, purpose, calls)) {
        return true;
    }
    circuits_leave(s->reaper->circuits, &call->subjects, call->holder);
    sweep_defer(s, scope);
    return false;
}

bool sweep_may_ask_runner(struct sweep *s)
{
    return s->runners_asked++ < RUNNERS_ASKED_MAX;
}

bool sweep_begin_runner_question(struct sweep *s, const struct github_scope *scope,
                                 enum github_purpose purpose, int64_t calls,
                                 struct sweep_call *call)
{
    return sweep_may_ask_runner(s) && sweep_begin_question(s, scope, purpose, calls, call);
}

bool sweep_begin_provider_call(struct sweep *s, const struct vm_provider *p,
                               struct sweep_call *call)
{
    *call = (struct sweep_call){.proxy_failed = &s->provider_proxy_failed};
    subjects_add_target(p, fleet_host(s->reaper->fleet), &call->subjects);
    return begin_call(s, call);
}

/* --- results --- */

/* What works although GitHub refused the call: it has read it. */
static unsigned shown_by_refusal(const struct err *e)
{
    if (e->from == ERR_FROM_KMS || e->class == ERR_RETRY || e->class == ERR_THROTTLED) {
        return 0;
    }
    unsigned works = SUBJECT_BIT(SUBJECT_GITHUB) | SUBJECT_BIT(SUBJECT_GITHUB_HERE);
    works |= e->code != 401 ? SUBJECT_BIT(SUBJECT_CREDENTIALS) : 0;
    works |= e->code != 401 && e->from == ERR_FROM_GITHUB ? SUBJECT_BIT(SUBJECT_INSTALLATION) : 0;
    return works;
}

static void count_failure(struct sweep *s, const struct sweep_call *call, const struct verdict *v,
                          const struct err *e)
{
    if (v->subject < SUBJECT_CIRCUITS && call->subjects.names[v->subject][0] != '\0') {
        (void)circuits_failed(s->reaper->circuits, s->config, &call->subjects, v,
                              --s->reaper->failed_calls, call->holder, e);
    }
}

static void github_failed(struct sweep *s, const struct sweep_call *call, const struct err *e)
{
    const struct verdict v = verdict_of(e, false);
    circuits_call_succeeded(s->reaper->circuits, &call->subjects, shown_by_refusal(e));
    count_failure(s, call, &v, e);
}

/* A list that is throttled or not permitted does not show that launches are; but as a probe it has
 * failed. */
static void provider_failed(struct sweep *s, const struct sweep_call *call, const struct err *e)
{
    const struct verdict v = {.subject = e->of_this_host ? SUBJECT_TARGET_HERE : SUBJECT_TARGET,
                              .treatment = TREAT_WAIT};
    struct circuits *cs = s->reaper->circuits;
    bool unreachable = e->class == ERR_RETRY && e->code <= 0;
    bool away = e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_AUTH;
    if (unreachable || (away && circuits_is_probe(cs, &call->subjects, call->holder))) {
        count_failure(s, call, &v, e);
    } else if (!away) {
        circuits_call_succeeded(cs, &call->subjects, SUBJECTS_OF_TARGET);
    }
}

static void call_failed(struct sweep *s, const struct sweep_call *call, const struct err *e)
{
    if (e->from == ERR_FROM_GITHUB || e->from == ERR_FROM_APP || e->from == ERR_FROM_KMS) {
        github_failed(s, call, e);
    } else if (e->from == ERR_FROM_PROVIDER) {
        provider_failed(s, call, e);
    }
}

void sweep_end_call(struct sweep *s, struct sweep_call *call, int rc, const struct err *e)
{
    struct circuits *cs = s->reaper->circuits;
    if (rc == 0) {
        circuits_call_succeeded(cs, &call->subjects, SUBJECTS_OF_GITHUB | SUBJECTS_OF_TARGET);
    } else {
        *call->proxy_failed = *call->proxy_failed || e->from == ERR_FROM_PROXY;
        call_failed(s, call, e);
    }
    circuits_leave(cs, &call->subjects, call->holder);
}

/* --- terminations --- */

bool sweep_github_is_away(struct sweep *s, const char *scope)
{
    struct subjects of;
    name_github(s, scope, &of);
    circuits_refresh(s->reaper->circuits);
    return s->github_proxy_failed || circuits_stop_calls(s->reaper->circuits, &of);
}

bool sweep_target_is_away(struct sweep *s, const struct vm_provider *p)
{
    struct subjects of = {0};
    subjects_add_target(p, fleet_host(s->reaper->fleet), &of);
    circuits_refresh(s->reaper->circuits);
    return s->provider_proxy_failed || circuits_stop_calls(s->reaper->circuits, &of);
}

void sweep_termination_failed(struct sweep *s, const struct ledger_vm *vm, const struct err *e)
{
    struct sweep_call call = {.proxy_failed = NULL};
    if (e->from == ERR_FROM_PROVIDER) {
        subjects_add_target(fleet_provider_of(s->reaper->fleet, vm), fleet_host(s->reaper->fleet),
                            &call.subjects);
    } else {
        name_github(s, vm->scope, &call.subjects);
    }
    call_failed(s, &call, e);
}
