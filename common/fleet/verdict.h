/*
 * What follows from an error of a launch: one table, from who said what to the subject that it is
 * about, and to what happens to the job.
 *
 * Only an error about the job itself spends one of its attempts or dead-letters it. Anything wider
 * makes the job wait, and counts towards the circuit of its subject. An unclear error is laid to
 * the narrowest subject that explains it; circuits.h widens it when several narrower subjects fail
 * alike, and lone_jobs.h narrows it to a job that is refused alone. Pure.
 */
#ifndef MAYFLY_FLEET_VERDICT_H
#define MAYFLY_FLEET_VERDICT_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/fleet/subject.h"

enum treatment {
    TREAT_WAIT,      /* until its subject works again; spends nothing */
    TREAT_ATTEMPT,   /* spends one attempt */
    TREAT_PERMANENT, /* the job itself can never be launched: a dead letter */
};
const char *treatment_name(enum treatment t); /* "wait", "retry", "dead_letter" */

struct verdict {
    enum subject subject;
    enum treatment treatment;
    bool at_once;      /* the error leaves no doubt: it opens the circuit without others */
    bool needs_launch; /* only a launch shows whether it is over */
};

struct verdict verdict_of(const struct err *e, bool scope_is_repository);

#endif
