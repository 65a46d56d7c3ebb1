/*
 * Whether a configuration works, asked of everything it names: `--check-config --online`.
 *
 * A check asks one side (the queue, AWS, GitHub, …) and says what came back, one finding a line:
 * what was asked, the answer, and what to do about it where something is to be done. A check never
 * ends another: what cannot be asked is a finding too. Nothing is launched, ended or registered;
 * stores are opened as a start of the program would open them.
 *
 * One thread. Findings never hold a secret.
 */
#ifndef MAYFLY_CHECK_CHECK_H
#define MAYFLY_CHECK_CHECK_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/config/config.h"

enum check_level {
    CHECK_OK,
    CHECK_WARN, /* works, or cannot be told; worth a look */
    CHECK_FAIL, /* does not work */
};

struct check {
    const struct config *config;
    FILE *out;
    bool json; /* one object a line */
    int counts[CHECK_FAIL + 1];
};

struct check_finding {
    enum check_level level;
    const char *subject; /* "github", "class arm" */
    const char *asked;   /* "GET /app" */
    const char *mend;    /* NULL: nothing is to be done */
};
/* Tells one finding; the format gives the answer. */
PRINTF(3, 4)
void check_say(struct check *c, const struct check_finding *f, const char *fmt, ...);
/* A failure in its own words, which say what to do. */
void check_say_error(struct check *c, enum check_level level, const char *subject,
                     const char *asked, const struct err *e);

/* A store of that URL opened and answered a ping, begun then (monotonic). */
void check_say_answered(struct check *c, const char *subject, const char *url, int64_t began_us);

typedef void check_fn(struct check *c);
check_fn check_queue;     /* it answers, and keeps what it confirms */
check_fn check_ledger;    /* it answers, is set up as it should be, and may be used */
check_fn check_slot_poll; /* a worker's: the ledger is not read more often than it is worth */
check_fn check_aws;       /* credentials and region, if anything here is AWS's */
check_fn check_github;    /* App or token, permissions, events, webhook and its last deliveries */

/* Runs them in that order (NULL ends the list) and tells a last line that counts. Returns the exit
 * code: 1 if anything failed, else 0. */
int check_all(const struct config *config, check_fn *const *checks, bool json, FILE *out);

#endif
