/*
 * A circuit: whether what concerns one subject (a runner class, …) is stopped because it was
 * refused several times in a row.
 *
 *   closed ──refused N times in a row──> open ──pause over──> half open: one probe ──taken──>
 * closed ^                        │ └── refused: twice the pause
 *
 * One record per subject, in the ledger's cell (kind "circuit", name = subject) as a text, changed
 * by compare-and-set: what is refused is refused to every process, and one in each would spend so
 * many jobs for every process there is. A closed circuit has no cell. The rule is pure; a process
 * that dies over its probe blocks nobody for longer than the probe's time. One job cannot open a
 * circuit: only refusals of different jobs count as in a row. Any thread; no state of its own.
 */
#ifndef MAYFLY_LEDGER_CIRCUIT_H
#define MAYFLY_LEDGER_CIRCUIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ledger/ledger.h"

#define CIRCUIT_KIND "circuit"
#define CIRCUIT_HOLDER_SIZE 40

struct circuit {
    int64_t failures;                /* in a row, of different jobs */
    int64_t last_job;                /* the one that was counted last */
    int64_t opens;                   /* in a row: each doubles the pause */
    int64_t open_until_ms;           /* wall clock; 0: closed */
    int64_t probe_until_ms;          /* wall clock: the probe's verdict is awaited until then */
    char probe[CIRCUIT_HOLDER_SIZE]; /* who has the probe; "" none. No spaces */
};

struct circuit_limits {
    int64_t failures; /* that open it; 0: never */
    int64_t pause_ms;
    int64_t max_pause_ms;
};

enum circuit_change {
    CIRCUIT_UNCHANGED,
    CIRCUIT_COUNTED, /* changed, and open or closed as before */
    CIRCUIT_OPENED,
    CIRCUIT_REOPENED,
    CIRCUIT_CLOSED
};

/* --- the rule --- */
bool circuit_is_open(const struct circuit *c);
/* How long until a probe may begin: 0 now, or it is closed. */
int64_t circuit_wait_ms(const struct circuit *c, int64_t now_ms);
/* Half opens it for this holder. UNCHANGED: it is closed, paused, or another has the probe. */
enum circuit_change circuit_begin_probe(struct circuit *c, const char *holder, int64_t until_ms,
                                        int64_t now_ms);
/* The probe's verdict is awaited until then. UNCHANGED: the probe is not this holder's (any more).
 */
enum circuit_change circuit_extend_probe(struct circuit *c, const char *holder, int64_t until_ms);
/* The probe ended without a verdict: the next one may begin. */
enum circuit_change circuit_drop_probe(struct circuit *c, const char *holder);
/* holder: whose probe this was, "" none. */
enum circuit_change circuit_refused(struct circuit *c, const struct circuit_limits *limits,
                                    int64_t job_id, const char *holder, int64_t now_ms);
enum circuit_change circuit_succeeded(struct circuit *c);

/* --- the record --- */
void circuit_encode(const struct circuit *c, char out[LEDGER_CELL_VALUE]);
/* Fields of a newer version are skipped; what cannot be read is closed. */
void circuit_decode(const char *value, struct circuit *out);

/* The subject of a runner class. */
void circuit_subject_of_class(const char *class_name, char out[LEDGER_CELL_NAME]);

MUST_CHECK int circuit_load(struct ledger *l, const char *subject, struct circuit *out,
                            struct err *e);
/* Applies a step of the rule to the record as it is now, again whenever another was faster. *out:
 * the record after it. */
typedef enum circuit_change circuit_step_fn(struct circuit *c, void *arg);
MUST_CHECK int circuit_update(struct ledger *l, const char *subject, circuit_step_fn *step,
                              void *arg, struct circuit *out, enum circuit_change *change,
                              struct err *e);

#endif
