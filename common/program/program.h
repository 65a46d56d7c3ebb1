/*
 * The life cycle of a daemon, the same for all three: arguments, configuration, admin port,
 * signals, drain, exit code. A program describes itself as a struct program and calls program_main.
 *
 *   arguments - configuration - admin port - open - start - (signals) - drain - admin port - close
 *
 *   --config FILE    (else the text in MAYFLY_CONFIG)   --check-config [--online [--json]]
 *   --health         --version        --help
 *
 * SIGTERM or SIGINT drains and exits 0. A second one, or a drain that exceeds its timeout (counted
 * from the first signal), exits 1 at once. SIGHUP reloads the configuration, and is ignored while
 * the program waits for what is away at its start, and while it drains. /readyz is 503 until `start`
 * returned and again from the first SIGTERM on; in between the program's own `ready` decides. /healthz
 * is 503 only while a loop is stuck (common/base/liveness.h) and the program does not drain. Logs
 * `unprotected_address`, `start_waits`, `started`, `startup_failed`, `stopping` and `stopped`. For
 * main threads only.
 */
#ifndef MAYFLY_PROGRAM_PROGRAM_H
#define MAYFLY_PROGRAM_PROGRAM_H

#include "common/check/check.h"
#include "common/config/config.h"

/* The settings of one program's life cycle. */
struct program_settings {
    const char *admin_listen; /* "": no admin port */
    int64_t drain_timeout_ms;
};

/* A program's listener besides the admin port. */
struct program_listener {
    char address[64]; /* numeric */
    int64_t port;
    bool tls;
};

struct program {
    const char *name;    /* "mayfly-worker" */
    const char *purpose; /* one sentence for --help */
    enum config_for who;
    check_fn *const *checks; /* of --check-config --online; NULL-terminated */
    struct program_settings (*settings)(const struct config *c);

    /* The steps; `self` is passed through from program_main. Those that return an int return 0 or
     * -1 with *e. `c` is the configuration of the start and stays valid until `close` returned. */

    /* Opens stores and providers; accepts no work yet. A failure that may end by itself (ERR_RETRY,
     * ERR_THROTTLED) is followed by `close` and another `open`, until one succeeds. */
    int (*open)(void *self, struct config_live *live, const struct config *c, struct err *e);
    /* Begins to accept work. */
    int (*start)(void *self, const struct config *c, struct err *e);
    /* Accepts no more work, finishes what is in progress, ends the threads. Also called, with 0,
     * after a `start` that failed half-way. */
    void (*drain)(void *self, int64_t timeout_ms);
    /* Closes what `open` opened, even if `open` failed half-way; leaves nothing of it in `self`. */
    void (*close)(void *self);

    /* For /readyz, on a thread of its own: true, or the reason appended to `why`. */
    bool (*ready)(void *self, struct buf *why);
    /* For the log line `started`; NULL: no listener but the admin port. */
    void (*listener)(const void *self, struct program_listener *out);
    void (*refresh)(void *self);  /* before /metrics is rendered; may be NULL */
    void (*reloaded)(void *self); /* after each successful reload; may be NULL */
};

/* Runs the whole program. Returns its exit code: 0 after a drain, --help, --version or a valid
 * --check-config; 1 if it could not start or a check failed; 2 for bad usage. */
int program_main(const struct program *p, void *self, int argc, char **argv);

#endif
