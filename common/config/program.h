/*
 * What the three programs do alike at their start: command line, configuration, log, and the loop
 * that turns signals into steps.
 *
 *   --config FILE    (else the text in MAYFLY_CONFIG)   --check-config [--online [--json]]
 *   --version        --help
 *
 * SIGTERM or SIGINT: stop intake, finish, release the rest, exit 0; again: exit now. SIGHUP:
 * reload. For main threads only.
 */
#ifndef MAYFLY_CONFIG_PROGRAM_H
#define MAYFLY_CONFIG_PROGRAM_H

#include "common/config/config.h"

struct program {
    const char *name;    /* "mayfly-worker" */
    const char *purpose; /* one sentence for --help */
    enum config_for who;
    /* --check-config --online: asks everything that the configuration names, tells findings on
     * standard output, and returns the exit code. */
    int (*check_online)(const struct config *c, bool json);
};

enum program_go { PROGRAM_RUN, PROGRAM_EXIT };

/* Blocks signals, opens the log, reads the configuration. PROGRAM_EXIT: nothing is left to do, end
 * with *exit_code (0 after --help, --version or a clean --check-config; 1 for a bad configuration;
 * 2 for bad usage), the reason is on stderr. PROGRAM_RUN: *out is owned by the caller
 * (config_live_free). */
enum program_go program_start(const struct program *p, int argc, char **argv,
                              struct config_live **out, int *exit_code);

/* Returns when SIGTERM or SIGINT came, having reloaded on each SIGHUP; `reloaded` (may be NULL) is
 * called after each success. */
void program_wait(const struct program *p, struct config_live *live, void (*reloaded)(void *arg),
                  void *arg);

/* Ends the process at once (exit code 1) if another SIGTERM comes, or if `seconds` pass before
 * the process ending by itself. Starts a thread; call after program_wait. */
void program_draining(const struct program *p, int64_t seconds);

#endif
