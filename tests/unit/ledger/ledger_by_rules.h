/*
 * The rules twice: what a ledger decides in its store (a script, a conditional write), held against
 * rules.c on plain values.
 *
 * Long random histories of buckets, leases, signs and reservations go through the ledger, which is
 * to be empty and no one else's; every answer must be that of the rules. The seed is printed;
 * MAYFLY_SEED=n runs that history alone. Sets the process's and the store's clock; whoever calls
 * sets them back. Fails the running cmocka test.
 */
#ifndef MAYFLY_TEST_LEDGER_BY_RULES_H
#define MAYFLY_TEST_LEDGER_BY_RULES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/ledger.h"

/* steps: 1 to 1500; a reservation counts for three. */
void ledger_buckets_by_rules(struct ledger *l, int steps);
void ledger_leases_by_rules(struct ledger *l, int steps);
void ledger_reservations_by_rules(struct ledger *l, int steps);

#endif
