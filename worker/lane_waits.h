/*
 * What a lane has waited for, so that the timeline of a job that comes out of it can name it.
 *
 * A worker does not receive what it cannot launch: while a job waits behind a cap nobody holds its
 * message. The lane remembers when it was kept from receiving, and by what. A full class lets a
 * message through whenever a slot is released: a few seconds do not end a wait. One thread at a
 * time; pure.
 */
#ifndef MAYFLY_WORKER_LANE_WAITS_H
#define MAYFLY_WORKER_LANE_WAITS_H

#include <stddef.h>
#include <stdint.h>

#include "common/ledger/cells.h"

#define LANE_WAITS_MAX 32       /* the oldest are forgotten: what is said then is too little */
#define LANE_WAIT_GAP_MS 3000   /* between two that are one; a full lane is polled once a second */
#define LANE_WAIT_SHOWN_MS 1000 /* a shorter one is not worth a line */
#define LANE_WAITED_SIZE 320

enum lane_cause {
    LANE_WAITS_FOR_FLEET,
    LANE_WAITS_FOR_CLASS,
    LANE_WAITS_FOR_TARGETS,
    LANE_WAITS_FOR_RATE,
    LANE_WAITS_FOR_CIRCUIT,
    LANE_WAITS_WHILE_PAUSED,
    LANE_CAUSES
};

struct lane_wait {
    enum lane_cause cause;
    char name[LEDGER_CELL_NAME]; /* of the class, or of the circuit's subject */
    int64_t from_ms;             /* wall clock */
    int64_t to_ms;
};
/* Zero it to begin. */
struct lane_waits {
    struct lane_wait list[LANE_WAITS_MAX];
    size_t count;
};

/* At now_ms the lane may not receive. */
void lane_waits_add(struct lane_waits *w, enum lane_cause cause, const char *name, int64_t now_ms);
/* What a job waited for that was there from since_ms to until_ms: "3m12s for a slot of class small";
 * "" for nothing that is worth a line. */
void lane_waits_describe(const struct lane_waits *w, int64_t since_ms, int64_t until_ms,
                         char out[LANE_WAITED_SIZE]);

#endif
