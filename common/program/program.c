#include "common/program/program.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/base/version.h"
#include "common/base/wakeup.h"
#include "common/config/aws.h"
#include "common/http/admin.h"

#define COMPLAINTS_LIMIT_BYTES (256 * 1024)
/* What a program may take beyond its drain to close what it opened. */
#define DRAIN_GRACE_MS 2000

enum go { GO_RUN, GO_EXIT };

struct arguments {
    const char *config_path;
    bool check;
    bool online;
    bool json;
};

static void print_help(const struct program *p)
{
    printf(
        "%s - %s\n\n"
        "usage: %s [--config FILE] [--check-config [--online [--json]]]\n\n"
        "  --config FILE    the configuration (YAML or JSON); without it the text in "
        "MAYFLY_CONFIG\n"
        "  --check-config   say what is wrong with the configuration, and end\n"
        "  --online         with --check-config: ask the queue, the ledger, AWS and GitHub too,\n"
        "                   one finding a line (ok, warn, FAIL); 1 if anything failed\n"
        "  --json           with --online: one JSON object a line\n"
        "  --version        print the version, and end\n"
        "  --help           print this, and end\n\n"
        "SIGTERM ends it gracefully (twice: at once), SIGHUP reads the configuration again.\n",
        p->name, p->purpose, p->name);
}

static bool is_flag(const char *argument, const char *name, bool *out)
{
    *out = *out || strcmp(argument, name) == 0;
    return strcmp(argument, name) == 0;
}

/* Returns GO_EXIT when an argument has said it all. */
static enum go read_arguments(const struct program *p, int argc, char **argv, struct arguments *out,
                              int *exit_code)
{
    *exit_code = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(p);
            return GO_EXIT;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", p->name, mayfly_version);
            return GO_EXIT;
        }
        if (is_flag(argv[i], "--check-config", &out->check) ||
            is_flag(argv[i], "--online", &out->online) || is_flag(argv[i], "--json", &out->json)) {
            continue;
        }
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            out->config_path = argv[++i];
        } else {
            fprintf(stderr, "%s: %s is no option it knows, or lacks its value: see --help\n",
                    p->name, argv[i]);
            *exit_code = 2;
            return GO_EXIT;
        }
    }
    if ((out->online && !out->check) || (out->json && !out->online)) {
        fprintf(stderr, "%s: --online belongs to --check-config, and --json to --online\n",
                p->name);
        *exit_code = 2;
        return GO_EXIT;
    }
    return GO_RUN;
}

static int load(const struct program *p, const struct arguments *args, struct config **out)
{
    struct err e = {0};
    struct buf complaints;
    buf_init(&complaints, COMPLAINTS_LIMIT_BYTES);
    int failed = config_load(args->config_path, p->who, out, &complaints, &e);
    if (failed != 0) {
        fprintf(stderr, "%s: the configuration cannot be used:\n%s\n", p->name,
                complaints.len > 0 ? complaints.data : e.message);
    }
    buf_fini(&complaints);
    return failed;
}

/* A check that is not --online needs no AWS; what it left out it says. */
static void say_unfetched(const struct program *p, const struct config *c)
{
    for (size_t i = 0; i < c->unfetched.count; i++) {
        printf("%s: not fetched, and so not checked: %s\n", p->name, c->unfetched.items[i]);
    }
}

static void apply_log_level(const struct config *c)
{
    enum log_level level;
    if (log_level_parse(c->log_level, &level)) {
        log_set_level(level);
    }
}

static int check(const struct program *p, const struct arguments *args, const struct config *c)
{
    if (!args->json) {
        printf("%s: the configuration is good\n", p->name);
    }
    if (!args->online) {
        say_unfetched(p, c);
        return 0;
    }
    config_aws_apply(&c->aws);
    log_set_level(LOG_ERROR); /* problems are printed as findings */
    return check_all(c, p->checks, args->json, stdout);
}

/* GO_EXIT: nothing is left to do, the reason is on stderr. GO_RUN: *out is the caller's. */
static enum go read_configuration(const struct program *p, int argc, char **argv,
                                  struct config_live **out, int *exit_code)
{
    struct arguments args = {0};
    struct config *config = NULL;
    if (read_arguments(p, argc, argv, &args, exit_code) == GO_EXIT) {
        return GO_EXIT;
    }
    if (!args.check || args.online) {
        config_aws_use();
    }
    if (load(p, &args, &config) != 0) {
        *exit_code = 1;
        return GO_EXIT;
    }
    if (args.check) {
        *exit_code = check(p, &args, config);
        config_free(config);
        return GO_EXIT;
    }
    apply_log_level(config);
    config_aws_apply(&config->aws);
    *out = config_live_new(config, args.config_path, p->who);
    return GO_RUN;
}

/* --- a life ------------------------------------------------------------------------------------
 */

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_DRAINING };

struct life {
    const struct program *program;
    void *self;
    struct config_live *live;
    const struct config *config; /* of the start */
    struct program_settings settings;
    struct admin *admin;
    int64_t drain_until_ms; /* monotonic; set before the thread that minds it starts */
    enum phase phase;       /* atomic: the admin thread reads it */
};

static void enter_phase(struct life *l, enum phase phase)
{
    __atomic_store_n(&l->phase, phase, __ATOMIC_RELEASE);
}

static bool is_ready(void *arg, struct buf *why)
{
    struct life *l = arg;
    switch (__atomic_load_n(&l->phase, __ATOMIC_ACQUIRE)) {
    case PHASE_STARTING:
        buf_append_cstr(why, "starting");
        return false;
    case PHASE_DRAINING:
        buf_append_cstr(why, "draining");
        return false;
    case PHASE_RUNNING:
        break;
    }
    return l->program->ready(l->self, why);
}

static void refresh(void *arg)
{
    struct life *l = arg;
    if (l->program->refresh != NULL) {
        l->program->refresh(l->self);
    }
}

static int start_admin(struct life *l, struct err *e)
{
    const struct admin_options options = {
        .listen = l->settings.admin_listen, .ready = is_ready, .refresh = refresh, .arg = l};
    return admin_start(&options, &l->admin, e);
}

static void reload(struct life *l)
{
    struct err e = {0};
    struct buf needs_restart;
    buf_init(&needs_restart, COMPLAINTS_LIMIT_BYTES);
    if (config_live_reload(l->live, &needs_restart, &e) != 0) {
        log_error(
            "config_reload_failed", LOG_ERR(&e),
            LOG_STR("action",
                    "the old configuration stays in use; fix the file and send SIGHUP again"));
        buf_fini(&needs_restart);
        return;
    }
    const struct config *c = config_live_get(l->live);
    apply_log_level(c);
    config_live_put(l->live, c);
    log_info("config_reloaded",
             LOG_STR("restart_required", needs_restart.len > 0 ? needs_restart.data : ""));
    buf_fini(&needs_restart);
    if (l->program->reloaded != NULL) {
        l->program->reloaded(l->self);
    }
}

static void wait_for_end(struct life *l)
{
    for (;;) {
        int signal_number = signals_wait(60 * 1000);
        if (signal_number == SIGHUP) {
            reload(l);
        } else if (signal_number != 0) {
            log_info("stopping", LOG_STR("signal", signal_number == SIGINT ? "SIGINT" : "SIGTERM"),
                     LOG_STR("version", mayfly_version), LOG_STR("name", l->program->name));
            return;
        }
    }
}

/* Ends the process at another SIGTERM or SIGINT, or when the drain has taken too long. */
static void *limit_drain(void *arg)
{
    const struct life *l = arg;
    int signal_number = SIGHUP;
    int64_t left_ms;
    while (signal_number == SIGHUP && (left_ms = l->drain_until_ms - clock_mono_ms()) > 0) {
        signal_number = signals_wait(left_ms);
    }
    bool again = signal_number == SIGTERM || signal_number == SIGINT;
    log_warn("drain_interrupted", LOG_STR("cause", again ? "second signal" : "timeout"),
             LOG_INT("drain_timeout_ms", l->settings.drain_timeout_ms),
             LOG_STR("action", "unfinished work is redelivered when its lease expires"));
    _exit(1);
}

static void drain(struct life *l, int64_t timeout_ms)
{
    struct err e = {0};
    pthread_t watch;
    l->drain_until_ms = clock_mono_ms() + l->settings.drain_timeout_ms + DRAIN_GRACE_MS;
    enter_phase(l, PHASE_DRAINING);
    if (thread_start(&watch, "the thread that limits the drain", limit_drain, l, &e) == 0) {
        (void)pthread_detach(watch);
    } else {
        log_warn(
            "drain_timer_failed", LOG_ERR(&e),
            LOG_STR("action",
                    "the drain continues without a time limit; send SIGKILL if it does not end"));
    }
    l->program->drain(l->self, timeout_ms);
}

/* Of a store's address the scheme alone is logged: the rest may hold a password. */
static struct slice scheme_of(const char *url)
{
    struct slice scheme;
    struct slice rest;
    return slice_cut(slice_of(url), ':', &scheme, &rest) ? scheme : SLICE("");
}

static void log_started(const struct life *l)
{
    struct program_listener on = {0};
    if (l->program->listener != NULL) {
        l->program->listener(l->self, &on);
    }
    log_info("started", LOG_STR("version", mayfly_version), LOG_STR("address", on.address),
             LOG_INT("port", on.port), LOG_BOOL("tls", on.tls),
             LOG_INT("admin_port", admin_port(l->admin)),
             LOG_SLICE("queue", scheme_of(l->config->queue)),
             LOG_SLICE("ledger", scheme_of(l->config->ledger)));
}

static int run(struct life *l, struct err *e)
{
    const struct program *p = l->program;
    if (p->open(l->self, l->live, l->config, e) != 0 || start_admin(l, e) != 0) {
        return -1;
    }
    if (p->start(l->self, l->config, e) != 0) {
        drain(l, 0);
        return -1;
    }
    enter_phase(l, PHASE_RUNNING);
    log_started(l);
    wait_for_end(l);
    drain(l, l->settings.drain_timeout_ms);
    return 0;
}

int program_main(const struct program *p, void *self, int argc, char **argv)
{
    /* Static: the thread that limits the drain reads it until the process ends, which is after this
     * function returned. */
    static struct life l;
    struct err e = {0};
    l = (struct life){.program = p, .self = self};
    int exit_code = 0;
    signals_block();
    log_open(p->name, STDERR_FILENO);
    if (read_configuration(p, argc, argv, &l.live, &exit_code) == GO_EXIT) {
        return exit_code;
    }
    l.config = config_live_get(l.live);
    l.settings = p->settings(l.config);
    if (run(&l, &e) != 0) {
        log_error("startup_failed", LOG_ERR(&e));
        exit_code = 1;
    }
    admin_stop(l.admin);
    p->close(self);
    log_info("stopped", LOG_INT("exit_code", exit_code));
    config_live_put(l.live, l.config);
    config_live_free(l.live);
    return exit_code;
}
