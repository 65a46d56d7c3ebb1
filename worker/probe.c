#include "worker/probe.h"

#include "common/base/clock.h"
#include "common/base/random.h"

#define PROBE_MS 60000 /* more than a call may take; then another process may probe */

static int ask_github(struct worker *w, struct err *e)
{
    return github_ping(w->github, e) == 0 ? 0 : err_said_by(e, ERR_FROM_GITHUB);
}

/* Any response but a server's error shows that GitHub works, also one that refuses us. */
static bool github_is_away(const struct err *e)
{
    return e->class == ERR_RETRY || e->class == ERR_THROTTLED;
}

/* This fleet's own rate (github.rate) allows no call now. */
static bool was_not_asked(const struct err *e)
{
    return e->class == ERR_THROTTLED && e->code == 0;
}

static bool target_is_away(const struct err *e)
{
    return e->from == ERR_FROM_PROVIDER &&
           (e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_AUTH);
}

static bool is_target(enum subject s)
{
    return s == SUBJECT_TARGET || s == SUBJECT_TARGET_HERE;
}

enum finding { WORKS, FAILS, UNKNOWN };

static enum finding finding_of(enum subject subject, const struct err *e)
{
    bool from_github = e->from == ERR_FROM_GITHUB || e->from == ERR_FROM_APP;
    if (e->of_this_host) {
        return FAILS;
    }
    if (subject == SUBJECT_TARGET_HERE) {
        return e->from == ERR_FROM_PROVIDER ? WORKS : UNKNOWN;
    }
    if (subject == SUBJECT_TARGET) {
        return target_is_away(e) ? FAILS : e->from == ERR_FROM_PROVIDER ? WORKS : UNKNOWN;
    }
    if (subject == SUBJECT_CREDENTIALS && e->from == ERR_FROM_KMS) {
        return FAILS;
    }
    if (!from_github || was_not_asked(e)) {
        return UNKNOWN;
    }
    if (subject == SUBJECT_GITHUB_HERE) {
        return WORKS;
    }
    if (subject == SUBJECT_GITHUB) {
        return github_is_away(e) ? FAILS : WORKS;
    }
    return e->class == ERR_AUTH ? FAILS : UNKNOWN;
}

static void probe(struct worker *w, const struct config *c, const char *class_name,
                  const struct subjects *s, enum subject subject)
{
    struct err e = {0};
    char holder[33];
    random_hex(holder, sizeof holder / 2);
    if (!circuits_begin_probe(w->circuits, s, subject, holder, clock_wall_ms() + PROBE_MS)) {
        return;
    }
    int rc =
        is_target(subject) ? vm_probe(fleet_provider(w->fleet, class_name), &e) : ask_github(w, &e);
    enum finding found = rc == 0 ? WORKS : finding_of(subject, &e);
    if (found == WORKS) {
        circuits_call_succeeded(w->circuits, s, SUBJECT_BIT(subject));
    } else if (found == FAILS) {
        const struct verdict v = {.subject = e.of_this_host ? subject_here(subject) : subject,
                                  .treatment = TREAT_WAIT};
        (void)circuits_failed(w->circuits, c, s, &v, 0, holder, &e);
    }
    circuits_leave(w->circuits, s, holder); /* where it has shown nothing */
}

void probe_due(struct worker *w, const struct config *c, const char *class_name,
               const struct subjects *s)
{
    static const enum subject kinds[] = {SUBJECT_GITHUB, SUBJECT_GITHUB_HERE, SUBJECT_CREDENTIALS,
                                         SUBJECT_TARGET, SUBJECT_TARGET_HERE};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (s->names[kinds[i]][0] != '\0') {
            probe(w, c, class_name, s, kinds[i]);
        }
    }
}
