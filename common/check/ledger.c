/* The ledger. */
#include <string.h>

#include "common/base/clock.h"
#include "common/check/check.h"
#include "common/ledger/ledger.h"

#define POLL_LEAST_MS 100 /* for a store that charges for each request */

static void print_finding(void *arg, enum ledger_finding level, const char *asked,
                          const char *answer)
{
    static const enum check_level levels[] = {[LEDGER_CHECK_OK] = CHECK_OK,
                                              [LEDGER_CHECK_WARNING] = CHECK_WARN,
                                              [LEDGER_CHECK_ERROR] = CHECK_FAIL};
    struct err e;
    (void)err_set(&e, ERR_RETRY, 0, "%s", answer); /* carries the message */
    check_say_error(arg, levels[level], "ledger", asked, &e);
}

void check_ledger(struct check *c)
{
    struct err e = {0};
    struct ledger *l = NULL;
    int64_t began_us = clock_mono_us();
    if (ledger_open_existing(c->config->ledger, &l, &e) != 0) {
        check_say_unopened(c, "ledger", c->config->ledger, &e);
    } else if (ledger_ping(l, &e) != 0) {
        check_say_error(c, CHECK_FAIL, "ledger", "ping", &e);
    } else {
        check_say_answered(c, "ledger", c->config->ledger, began_us);
        ledger_check(l, LEDGER_CHECK_ALL, print_finding, c);
    }
    ledger_close(l);
}

void check_slot_poll(struct check *c)
{
    const struct check_finding f = {.level = CHECK_WARN,
                                    .subject = "ledger",
                                    .request = "worker.capacity_poll",
                                    .hint = "set it to 250ms"};
    if (strncmp(c->config->ledger, "dynamodb:", 9) == 0 &&
        c->config->worker.capacity_poll_ms < POLL_LEAST_MS) {
        check_say(
            c, &f,
            "a worker whose class is at its cap reads free slots every %lld ms, and each read of "
            "DynamoDB is paid for",
            (long long)c->config->worker.capacity_poll_ms);
    }
}
