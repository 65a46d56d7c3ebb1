/*
 * Where a launch of a class goes: at which of its places (config.h).
 *
 * Of those that no circuit stops, that have a free slot and a launch token, it is the one with the largest
 * free share of its cap, times its weight; of equal ones any. A target whose calls have had no response
 * for PLACES_SILENT_MS is taken only if there is no other: a region that is lost holds up no more launches
 * than it has already. What is read here is a moment old: the reservation decides. A class without
 * targets is its own place, which costs no call. Any thread.
 */
#ifndef MAYFLY_FLEET_PLACES_H
#define MAYFLY_FLEET_PLACES_H

#include "common/fleet/circuits.h"
#include "common/fleet/fleet.h"

#define PLACES_SILENT_MS 1000
#define PLACES_MAX 32 /* targets of a class */

struct places_query {
    struct fleet *fleet;
    struct ledger *ledger;
    struct circuits *circuits;
    const struct config *config;
    const struct config_class *class;
    uint64_t without;    /* places that are left out: bits, by their order in the class */
    bool circuits_alone; /* nothing is read: any place that no circuit stops will do */
};

enum places_hold {
    PLACES_NOTHING, /* holds it: `place` is where it goes */
    PLACES_CIRCUIT, /* each is stopped: `stop` and `subjects` are of the one that is open again first */
    PLACES_FULL, /* until a slot is released */
    PLACES_RATE, /* for wait_ms */
    PLACES_NONE, /* there is none: all are left out, or get no launches */
};

struct places_choice {
    enum places_hold hold;
    const struct config_class *place;
    size_t index;             /* its bit */
    struct subjects subjects; /* of every launch there */
    struct circuits_stop stop;
    int64_t wait_ms;
};
/* Errors are the ledger's. */
MUST_CHECK int places_choose(const struct places_query *q, struct places_choice *out,
                             struct err *e);

/* Around a call that launches a VM there; answered: a response came. */
void places_call_began(struct fleet *f, const char *place);
void places_call_ended(struct fleet *f, const char *place, bool answered);

#endif
