/*
 * The circuits' records (ledger/circuit.h) as this process last read them, and changes of one.
 *
 * All are read together, at most once a second. While the ledger is away the last copy holds, and no
 * record changes. Any thread.
 */
#ifndef MAYFLY_FLEET_CIRCUIT_VIEW_H
#define MAYFLY_FLEET_CIRCUIT_VIEW_H

#include "common/fleet/subject.h"
#include "common/ledger/circuit.h"

struct circuit_view;

/* Borrows the ledger. */
struct circuit_view *circuit_view_new(struct ledger *ledger);
void circuit_view_free(struct circuit_view *v);

/* Reads the records, if the copy is a second old. A call to the ledger; failures are logged. */
void circuit_view_refresh(struct circuit_view *v);
/* Whether there is a record; *out is a closed circuit otherwise. */
bool circuit_view_get(struct circuit_view *v, const char *name, struct circuit *out);
size_t circuit_view_count(struct circuit_view *v);
/* How many of that kind of subject are open or half-open. */
int64_t circuit_view_open(struct circuit_view *v, enum subject kind);

/* A step of the rule, with its arguments; `apply` is one of the five below. */
struct circuit_step {
    enum circuit_change (*apply)(struct circuit *c, const struct circuit_step *s);
    const char *holder;
    bool untried; /* of a probe (circuit_untried_wait_ms) */
    int64_t until_ms;
    struct circuit_opening opening;
    int64_t now_ms;      /* out */
    int64_t was_open_ms; /* out */
};
typedef enum circuit_change circuit_apply_fn(struct circuit *c, const struct circuit_step *s);
circuit_apply_fn circuit_step_begin_probe;
circuit_apply_fn circuit_step_drop_probe;
circuit_apply_fn circuit_step_open;
circuit_apply_fn circuit_step_hasten;
circuit_apply_fn circuit_step_close;

/* One call to the ledger, or a few. If it fails, nothing changes; *out is that of the copy then. */
enum circuit_change circuit_view_update(struct circuit_view *v, const char *name,
                                        struct circuit_step *s, struct circuit *out);

#endif
