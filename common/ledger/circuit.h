/*
 * A circuit breaker: stops the work on one subject (a repository, a runner class, GitHub, …) that
 * is in trouble, and lets one probe at a time find out whether the trouble is over.
 *
 *     closed ──opened──> open ──pause ends──> half open: one probe
 *       ^                 ^                      │        │
 *       │                 └──fails: longer pause─┘        │
 *       └──────────────────────succeeds───────────────────┘
 *
 * One record per open circuit, a text in a ledger cell (kind "circuit", name = subject), changed by
 * compare-and-set and shared by all processes. A closed circuit has no cell: failures before it
 * opens are counted by each process for itself (fleet/circuits.h). The rule is pure. A process that
 * dies during its probe blocks the next one only until the probe's deadline. Any thread; no state
 * of its own.
 */
#ifndef MAYFLY_LEDGER_CIRCUIT_H
#define MAYFLY_LEDGER_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ledger/ledger.h"

#define CIRCUIT_KIND "circuit"
#define CIRCUIT_HOLDER_SIZE 80
#define CIRCUIT_WHY_SIZE 320
#define CIRCUIT_LIFE_MS (24LL * 3600 * 1000) /* after its last change: then it counts as closed */

struct circuit {
    int64_t since_ms;       /* wall clock: when it opened; 0: closed */
    int64_t changed_ms;     /* wall clock */
    int64_t opens;          /* consecutive; each doubles the longest pause */
    int64_t open_until_ms;  /* wall clock: when the next probe may begin */
    int64_t stated;         /* not 0: the other side said that it ends then */
    int64_t needs_launch;   /* not 0: only a launch can probe it (a quota, an image) */
    int64_t widened;        /* not 0: only narrower subjects failed, several of them alike */
    int64_t probe_until_ms; /* wall clock: the probe's deadline; 0: none */
    char probe[CIRCUIT_HOLDER_SIZE]; /* the probe's holder, without spaces; "" none */
    char why[CIRCUIT_WHY_SIZE];      /* what the last failure said */
};

/* Why and for how long. */
struct circuit_opening {
    int64_t pause_ms;     /* the longest first pause; drawn with full jitter */
    int64_t max_pause_ms; /* of later ones */
    int64_t wait_ms;      /* the other side said how long; 0: it did not */
    bool needs_launch;
    bool widened;
    const char *why;
};

enum circuit_change {
    CIRCUIT_UNCHANGED,
    CIRCUIT_COUNTED, /* changed, but still open or still closed */
    CIRCUIT_OPENED,
    CIRCUIT_REOPENED,
    CIRCUIT_CLOSED
};

/* --- the rule --- */
bool circuit_is_open(const struct circuit *c, int64_t now_ms);
/* The time until a probe may start; 0: now, or it is closed. */
int64_t circuit_wait_ms(const struct circuit *c, int64_t now_ms);
/* The same for a launch whose narrower subject has not failed: where the circuit was widened it knows
 * best, and need not wait until the pause ends, which the failures of others prolong. */
int64_t circuit_untried_wait_ms(const struct circuit *c, int64_t now_ms);
/* Half-opens it for this holder. UNCHANGED: it is closed, paused, or another holder probes. */
enum circuit_change circuit_begin_probe(struct circuit *c, const char *holder, bool untried,
                                        int64_t until_ms, int64_t now_ms);
/* The probe ended without a result: the next one may start. */
enum circuit_change circuit_drop_probe(struct circuit *c, const char *holder);
/* A failure. holder: whose probe this was; "" none: then an open circuit stays as it is, unless the
 * other side stated a longer wait. */
enum circuit_change circuit_open(struct circuit *c, const struct circuit_opening *o,
                                 const char *holder, int64_t now_ms);
/* Something changed that may have ended it: the next probe may begin now. */
enum circuit_change circuit_hasten(struct circuit *c, int64_t now_ms);
enum circuit_change circuit_close(struct circuit *c, int64_t now_ms);

/* --- the record --- */
void circuit_encode(const struct circuit *c, char out[LEDGER_CELL_VALUE]);
/* Fields of a newer version are skipped; an unreadable record is a closed circuit. */
void circuit_decode(const char *value, struct circuit *out);

MUST_CHECK int circuit_load(struct ledger *l, const char *subject, struct circuit *out,
                            struct err *e);
/* Removes the records that count as closed since CIRCUIT_LIFE_MS have passed. */
MUST_CHECK int circuits_tidy(struct ledger *l, int64_t now_ms, struct err *e);
/* Applies a step of the rule to the present record; repeats it if another process changed the
 * record meanwhile. *out: the record after it. */
typedef enum circuit_change circuit_step_fn(struct circuit *c, void *arg);
MUST_CHECK int circuit_update(struct ledger *l, const char *subject, circuit_step_fn *step,
                              void *arg, struct circuit *out, enum circuit_change *change,
                              struct err *e);

#endif
