/*
 * The circuits that a process's launches meet: which subjects are in trouble, who probes them, and
 * what a launch's result says about them.
 *
 * Failures are counted by each process; an open circuit is a cell in the ledger that all processes
 * share (ledger/circuit.h). They are read together, at most once a second, by whoever polls a lane;
 * a launch looks at that copy and makes no call for it. While the ledger is away the last copy
 * holds. A process writes only when a circuit changes.
 *
 * A circuit opens after `circuit.failure_threshold` failures in a row, of different jobs, or at once
 * where the error leaves no doubt. Three narrower subjects that failed alike, with no success of the
 * wider one meanwhile, open the wider one; failures under a circuit that is open already do not
 * count for that. A launch whose narrower subject has not failed may probe such a wider one early, so
 * that several tenants in trouble do not keep the others waiting.
 *
 * Launches meet all circuits. Other calls (the reaper's) meet those that need no launch: a quota that
 * is used up does not keep VMs from being listed or terminated. Any thread.
 */
#ifndef MAYFLY_FLEET_CIRCUITS_H
#define MAYFLY_FLEET_CIRCUITS_H

#include "common/config/config.h"
#include "common/fleet/verdict.h"
#include "common/ledger/circuit.h"

struct circuits;

/* How long at most a message is parked under a circuit without a stated end: half of
 * circuit.max_open_duration, so that it goes on soon after the circuit has closed. */
static inline int64_t circuits_park_max_ms(const struct config *c)
{
    return c->circuit.max_open_duration_ms / 2 + 1;
}

/* Borrows the ledger. */
struct circuits *circuits_new(struct ledger *ledger);
void circuits_free(struct circuits *cs);

/* Reads the circuits, if the copy is a second old. A call to the ledger; failures are logged. */
void circuits_refresh(struct circuits *cs);

/* How many of that kind of subject are open, in the copy. */
int64_t circuits_open_count(struct circuits *cs, enum subject kind);

/* The one that stops longest what depends on these subjects. */
struct circuits_stop {
    int64_t wait_ms; /* 0: nothing stops it, or a probe may begin */
    enum subject subject;
    bool open;    /* any of its circuits is, though its probe may begin */
    bool untried; /* others failed, and the circuit was widened; this launch's narrower has not */
    struct circuit circuit;
};
struct circuits_stop circuits_stop_of(struct circuits *cs, const struct subjects *s);
/* How long a message that was stopped stays away: until the next probe; many of one subject come
 * back one after another. One whose lane is stopped as a whole is back within a second. */
int64_t circuits_park_ms(struct circuits *cs, const struct config *c, const struct subjects *s,
                         const struct circuits_stop *stop);

/* Before a launch: 0, or the time to wait. Where a circuit is half-open this launch becomes its
 * probe, for at most until_ms (wall clock), and circuits_leave must follow. holder: unique to this
 * launch, without spaces. */
int64_t circuits_enter(struct circuits *cs, const struct subjects *s, const char *holder,
                       int64_t until_ms, struct circuits_stop *out);
/* The same before a call that is no launch. */
int64_t circuits_enter_call(struct circuits *cs, const struct subjects *s, const char *holder,
                            int64_t until_ms, struct circuits_stop *out);
/* A probe that is no launch, of a subject whose circuit is half-open and needs none. Returns whether
 * this holder has it; a result must follow. */
bool circuits_begin_probe(struct circuits *cs, const struct subjects *s, enum subject subject,
                          const char *holder, int64_t until_ms);

/* These of its subjects have shown that they work. */
void circuits_succeeded(struct circuits *cs, const struct subjects *s, unsigned subjects);
/* The same by a call that is no launch. */
void circuits_call_succeeded(struct circuits *cs, const struct subjects *s, unsigned subjects);
/* Whether this holder probes any of them. */
bool circuits_is_probe(struct circuits *cs, const struct subjects *s, const char *holder);
/* Whether a circuit is open, or half-open, that such calls meet. */
bool circuits_stop_calls(struct circuits *cs, const struct subjects *s);
/* A VM of this host has ended: what it held may be what the host lacked. */
void circuits_host_freed(struct circuits *cs, const char *host);
/* What follows from the failed launch of that job: by the table of verdict.h, unless the job alone is
 * refused again and again (lone_jobs.h): then it spends an attempt. Call it once for a failure. */
struct verdict circuits_verdict(struct circuits *cs, const struct subjects *s,
                                bool scope_is_repository, int64_t job_id, const struct err *why);
/* The launch of that job, or its probe, failed for a reason that lies with verdict->subject. Returns
 * how long what depends on the subject should wait now. */
int64_t circuits_failed(struct circuits *cs, const struct config *c, const struct subjects *s,
                        const struct verdict *verdict, int64_t job_id, const char *holder,
                        const struct err *why);
/* The launch has ended: probes of it without a result may begin anew. */
void circuits_leave(struct circuits *cs, const struct subjects *s, const char *holder);

#endif
