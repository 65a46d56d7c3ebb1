/* The ledger. */
#include "common/base/clock.h"
#include "common/check/check.h"
#include "common/ledger/ledger.h"

void check_ledger(struct check *c)
{
    struct err e = {0};
    struct ledger *l = NULL;
    int64_t began_us = clock_mono_us();
    if (ledger_open(c->config->ledger, &l, &e) != 0 || ledger_ping(l, &e) != 0) {
        check_say_error(c, CHECK_FAIL, "ledger", "ping", &e);
    } else {
        check_say_answered(c, "ledger", c->config->ledger, began_us);
    }
    ledger_close(l);
}
