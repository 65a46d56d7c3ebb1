/*
 * The cells of the daily totals (totals.h): how they are named, written and read.
 *
 * For totals.c, total_cells.c and their tests alone.
 */
#ifndef MAYFLY_LEDGER_TOTAL_CELLS_H
#define MAYFLY_LEDGER_TOTAL_CELLS_H

#include "common/ledger/totals.h"

/* n decimal numbers with a blank between two. False, with the rest 0, if there are fewer. */
bool ledger_read_numbers(const char *text, int64_t *out, size_t n);

/* Of the class and repository of `of`. */
MUST_CHECK int ledger_total_cell_get(struct ledger *l, const char *day,
                                     const struct ledger_total *of, struct ledger_cell *out,
                                     struct err *e);
/* One that cannot be read counts as new. */
void ledger_total_decode(const struct ledger_cell *cell, struct ledger_total *out,
                         int64_t *out_batch);
void ledger_total_encode(const struct ledger_total *total, int64_t batch,
                         char out[LEDGER_CELL_VALUE]);

#endif
