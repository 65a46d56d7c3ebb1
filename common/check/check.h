/*
 * Checks that everything in a configuration works: `--check-config --online`.
 *
 * A check calls one service (the queue, AWS, GitHub, …) and prints its findings, one per line: the
 * request, the result, and a hint if something has to be done. A failed check does not stop the
 * others: it is a finding too. Nothing is launched, terminated, registered, created or migrated.
 *
 * One thread. Findings never contain a secret.
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
    CHECK_WARN, /* works with a risk, or cannot be checked */
    CHECK_FAIL, /* does not work */
};

struct check {
    const struct config *config;
    enum config_for who;
    FILE *out;
    bool json;               /* one object a line */
    const char *webhook_url; /* that the App's hook ought to have; NULL: any */
    int counts[CHECK_FAIL + 1];
};

struct check_finding {
    enum check_level level;
    const char *subject; /* "github", "class arm" */
    const char *request; /* "GET /app" */
    const char *hint;    /* NULL: nothing to do */
};
/* Prints one finding; the format gives the result. */
PRINTF(3, 4)
void check_say(struct check *c, const struct check_finding *f, const char *fmt, ...);
/* Prints a failure; the error's message says what to do. */
void check_say_error(struct check *c, enum check_level level, const char *subject,
                     const char *request, const struct err *e);

/* Prints that the store of that URL opened and answered a ping since began_us (monotonic). */
void check_say_answered(struct check *c, const char *subject, const char *url, int64_t began_us);

/* Prints why the store of that URL could not be opened: a warning if the programs make or migrate it
 * at their start, else a failure. */
void check_say_unopened(struct check *c, const char *subject, const char *url, const struct err *e);

typedef void check_fn(struct check *c);
check_fn check_addresses; /* those that other hosts reach have TLS and a password */
check_fn check_ports;     /* the program's addresses are free, or its own */
check_fn check_queue;     /* it responds, and its settings keep what it confirms */
check_fn check_ledger;    /* it responds, its settings are right, and access is allowed */
check_fn check_slot_poll; /* for workers: the interval of reads of a paid ledger */
check_fn check_aws;       /* credentials and region, if the configuration uses AWS */
check_fn check_github;
check_fn check_events; /* the file can be written, Kafka has the topic, the collector of traces
                        * takes a request; where they are set */

/* Runs them in that order (NULL ends the list) and prints a summary. Returns the exit code: 1 if
 * anything failed, else 0. */
int check_all(const struct config *config, enum config_for who, check_fn *const *checks, bool json,
              FILE *out);

#endif
