/*
 * A circuit breaker: stops the work on one subject (a runner class, …) after consecutive failures.
 *
 *     closed ──N failures in a row──> open ──pause ends──> half open: one probe
 *       ^                              ^                      │        │
 *       │                              └──fails: double pause─┘        │
 *       └──────────────────────────succeeds────────────────────────────┘
 *
 * One record per subject, a text in a ledger cell (kind "circuit", name = subject), changed by
 * compare-and-set and shared by all processes: with one circuit per process, each process would
 * spend jobs of its own on the same failure. A closed circuit without failures has no cell. The
 * rule is pure. A process that dies during its probe blocks the next probe only until the probe's
 * deadline. One job cannot open a circuit: only failures of different jobs count. Any thread; no
 * state of its own.
 */
#ifndef MAYFLY_LEDGER_CIRCUIT_H
#define MAYFLY_LEDGER_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ledger/ledger.h"

#define CIRCUIT_KIND "circuit"
#define CIRCUIT_HOLDER_SIZE 40

struct circuit {
    int64_t failures;                /* consecutive, of different jobs */
    int64_t last_job;                /* the job of the last counted failure */
    int64_t opens;                   /* consecutive; each doubles the pause */
    int64_t open_until_ms;           /* wall clock; 0: closed */
    int64_t probe_until_ms;          /* wall clock: the probe's deadline */
    char probe[CIRCUIT_HOLDER_SIZE]; /* the probe's holder, without spaces; "" none */
};

struct circuit_limits {
    int64_t failures; /* to open it; 0: never */
    int64_t pause_ms;
    int64_t max_pause_ms;
};

enum circuit_change {
    CIRCUIT_UNCHANGED,
    CIRCUIT_COUNTED, /* changed, but still open or still closed */
    CIRCUIT_OPENED,
    CIRCUIT_REOPENED,
    CIRCUIT_CLOSED
};

/* --- the rule --- */
bool circuit_is_open(const struct circuit *c);
/* The time until a probe may start; 0: now, or it is closed. */
int64_t circuit_wait_ms(const struct circuit *c, int64_t now_ms);
/* Half-opens it for this holder. UNCHANGED: it is closed, paused, or another holder probes. */
enum circuit_change circuit_begin_probe(struct circuit *c, const char *holder, int64_t until_ms,
                                        int64_t now_ms);
/* Extends the probe's deadline. UNCHANGED: this holder does not have the probe. */
enum circuit_change circuit_extend_probe(struct circuit *c, const char *holder, int64_t until_ms);
/* The probe ended without a result: the next one may start. */
enum circuit_change circuit_drop_probe(struct circuit *c, const char *holder);
/* A failure. holder: whose probe this was; "" none. */
enum circuit_change circuit_refused(struct circuit *c, const struct circuit_limits *limits,
                                    int64_t job_id, const char *holder, int64_t now_ms);
enum circuit_change circuit_succeeded(struct circuit *c);

/* --- the record --- */
void circuit_encode(const struct circuit *c, char out[LEDGER_CELL_VALUE]);
/* Fields of a newer version are skipped; an unreadable record is a closed circuit. */
void circuit_decode(const char *value, struct circuit *out);

/* The subject for a runner class. */
void circuit_subject_of_class(const char *class_name, char out[LEDGER_CELL_NAME]);

MUST_CHECK int circuit_load(struct ledger *l, const char *subject, struct circuit *out,
                            struct err *e);
/* Applies a step of the rule to the present record; repeats it if another process changed the
 * record meanwhile. *out: the record after it. */
typedef enum circuit_change circuit_step_fn(struct circuit *c, void *arg);
MUST_CHECK int circuit_update(struct ledger *l, const char *subject, circuit_step_fn *step,
                              void *arg, struct circuit *out, enum circuit_change *change,
                              struct err *e);

#endif
