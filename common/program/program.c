#include "common/program/program.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/base/protect.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/version.h"
#include "common/base/wakeup.h"
#include "common/check/addresses.h"
#include "common/config/aws.h"
#include "common/http/admin.h"
#include "common/program/health.h"
#include "common/program/process_metrics.h"

#define MESSAGES_LIMIT_BYTES (256 * 1024)
/* The time to close everything after the drain's timeout. */
#define DRAIN_GRACE_MS 2000
#define QUOTAS_EVERY_MS (24 * 60 * 60 * 1000)
/* Between two tries to open what is away. */
#define OPEN_AGAIN_MS 500
#define OPEN_AGAIN_MAX_MS 10000
/* For a reader of standard error that is stuck, at the end. */
#define LOG_FLUSH_MS 2000
#define LOG_FLUSH_INTERRUPTED_MS 500

enum next_step { NEXT_RUN, NEXT_EXIT };

struct arguments {
    const char *config_path;
    bool check;
    bool online;
    bool json;
    bool health;
};

static void print_help(const struct program *p)
{
    printf(
        "%s - %s\n\n"
        "usage: %s [--config FILE] [--check-config [--online [--json]] | --health]\n\n"
        "  --config FILE    the configuration (YAML or JSON); without it the text in\n"
        "                   MAYFLY_CONFIG, without that the file " CONFIG_DEFAULT_PATH "\n"
        "  --check-config   check the configuration, print the problems, and exit\n"
        "  --online         with --check-config: check the queue, the ledger, AWS and GitHub too,\n"
        "                   one finding a line (ok, warn, FAIL); 1 if anything failed\n"
        "  --json           with --online: one JSON object a line\n"
        "  --health         ask the running program's /healthz, for a container's health check, "
        "and\n"
        "                   exit: 0 healthy, 1 stuck or not there\n"
        "  --version        print the version, and exit\n"
        "  --help           print this help, and exit; also -h\n\n"
        "SIGTERM drains and exits (a second one exits at once), SIGHUP reloads the "
        "configuration.\n",
        p->name, p->purpose, p->name);
}

static bool is_flag(const char *argument, const char *name, bool *out)
{
    *out = *out || strcmp(argument, name) == 0;
    return strcmp(argument, name) == 0;
}

/* Returns NEXT_EXIT when the arguments leave nothing to run. */
static enum next_step read_arguments(const struct program *p, int argc, char **argv,
                                     struct arguments *out, int *exit_code)
{
    *exit_code = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(p);
            return NEXT_EXIT;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", p->name, mayfly_version);
            return NEXT_EXIT;
        }
        if (is_flag(argv[i], "--check-config", &out->check) ||
            is_flag(argv[i], "--online", &out->online) || is_flag(argv[i], "--json", &out->json) ||
            is_flag(argv[i], "--health", &out->health)) {
            continue;
        }
        if (strncmp(argv[i], "--config=", 9) == 0) {
            out->config_path = argv[i] + 9;
        } else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            out->config_path = argv[++i];
        } else {
            printable_line(stderr, "%s: unknown option or missing value: %s: see --help", p->name,
                           argv[i]);
            *exit_code = 2;
            return NEXT_EXIT;
        }
    }
    if ((out->online && !out->check) || (out->json && !out->online) ||
        (out->health && out->check)) {
        fprintf(stderr,
                "%s: --online belongs to --check-config, --json to --online, and --health stands "
                "alone\n",
                p->name);
        *exit_code = 2;
        return NEXT_EXIT;
    }
    return NEXT_RUN;
}

static int load_config(const struct program *p, const struct arguments *args, struct config **out)
{
    struct err e = {0};
    struct buf messages;
    buf_init(&messages, MESSAGES_LIMIT_BYTES);
    int failed = config_load(args->config_path, p->who, out, &messages, &e);
    if (failed != 0) {
        printable_line(stderr, "%s: the configuration is invalid:", p->name);
        printable_lines(stderr, messages.len > 0 ? buf_slice(&messages) : slice_of(e.message));
    }
    buf_fini(&messages);
    return failed;
}

/* What the configuration allows, and is hardly meant. */
static void print_warnings(const struct program *p, const struct config *c)
{
    for (size_t i = 0; i < c->warnings.count; i++) {
        printable_line(stdout, "%s: warning: %s", p->name, c->warnings.items[i]);
    }
}

static void log_warnings(const struct config *c)
{
    for (size_t i = 0; i < c->warnings.count; i++) {
        log_warn("config_warning", LOG_STR("warning", c->warnings.items[i]));
    }
}

/* Without --online nothing is fetched from AWS; this prints what was therefore not checked. */
static void print_unfetched(const struct program *p, const struct config *c)
{
    for (size_t i = 0; i < c->unfetched.count; i++) {
        printable_line(stdout, "%s: not fetched, and so not checked: %s", p->name,
                       c->unfetched.items[i]);
    }
}

static void print_unprotected(const struct program *p, const struct config *c)
{
    struct address_gap found[ADDRESS_GAPS_MAX];
    size_t n = addresses_unprotected(c, p->who, found);
    for (size_t i = 0; i < n; i++) {
        printable_line(stdout, "%s: warning: %s: %s: %s", p->name, found[i].setting, found[i].lacks,
                       found[i].action);
    }
}

static void apply_log_level(const struct config *c)
{
    enum log_level level;
    if (log_level_parse(c->log_level, &level)) {
        log_set_level(level);
    }
}

static int run_checks(const struct program *p, const struct arguments *args, const struct config *c)
{
    if (!args->json) {
        printf("%s: the configuration is valid\n", p->name);
    }
    if (!args->json) {
        print_warnings(p, c);
    }
    if (!args->online) {
        print_unprotected(p, c);
        print_unfetched(p, c);
        return 0;
    }
    config_aws_apply(&c->aws);
    log_set_level(LOG_ERROR); /* problems are printed as findings */
    return check_all(c, p->who, p->checks, args->json, stdout);
}

/* NEXT_EXIT: nothing is left to do, the reason is on stderr. NEXT_RUN: *out belongs to the
 * caller. */
static enum next_step read_configuration(const struct program *p, int argc, char **argv,
                                         struct config_live **out, int *exit_code)
{
    struct arguments args = {0};
    struct config *config = NULL;
    if (read_arguments(p, argc, argv, &args, exit_code) == NEXT_EXIT) {
        return NEXT_EXIT;
    }
    if (args.health) {
        *exit_code = health_ask(p, args.config_path);
        return NEXT_EXIT;
    }
    if (!args.check || args.online) {
        config_aws_use();
    }
    if (load_config(p, &args, &config) != 0) {
        *exit_code = 1;
        return NEXT_EXIT;
    }
    if (args.check) {
        *exit_code = run_checks(p, &args, config);
        config_free(config);
        return NEXT_EXIT;
    }
    apply_log_level(config);
    config_aws_apply(&config->aws);
    *out = config_live_new(config, args.config_path, p->who);
    return NEXT_RUN;
}

/* --- the life cycle --- */

enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_DRAINING };

struct daemon {
    const struct program *program;
    void *self;
    struct config_live *live;
    const struct config *config; /* of the start */
    struct program_settings settings;
    struct admin *admin;
    int64_t drain_until_ms; /* monotonic; set before the thread that reads it starts */
    enum phase phase;       /* atomic: the admin thread reads it */
    bool opened;            /* what `open` opened, even half-way, is to be closed */
    pthread_mutex_t lock;
    struct err awaited; /* under lock: why `open` has failed last; message "" if it has not */
};

static void enter_phase(struct daemon *d, enum phase phase)
{
    __atomic_store_n(&d->phase, phase, __ATOMIC_RELEASE);
}

static void say_what_is_awaited(struct daemon *d, struct buf *why)
{
    (void)pthread_mutex_lock(&d->lock);
    buf_append_cstr(why, d->awaited.message[0] != '\0' ? "waiting: " : "starting");
    buf_append_cstr(why, d->awaited.message);
    (void)pthread_mutex_unlock(&d->lock);
}

/* A drain has a timeout of its own. */
static bool daemon_is_healthy(void *arg, struct buf *why)
{
    const struct daemon *d = arg;
    return __atomic_load_n(&d->phase, __ATOMIC_ACQUIRE) == PHASE_DRAINING || liveness_check(why);
}

static bool daemon_is_ready(void *arg, struct buf *why)
{
    struct daemon *d = arg;
    switch (__atomic_load_n(&d->phase, __ATOMIC_ACQUIRE)) {
    case PHASE_STARTING:
        say_what_is_awaited(d, why);
        return false;
    case PHASE_DRAINING:
        buf_append_cstr(why, "draining");
        return false;
    case PHASE_RUNNING:
        break;
    }
    return d->program->ready(d->self, why);
}

static void refresh_gauges(void *arg)
{
    struct daemon *d = arg;
    bool opened = __atomic_load_n(&d->phase, __ATOMIC_ACQUIRE) != PHASE_STARTING;
    process_metrics_refresh();
    if (opened && d->program->refresh != NULL) {
        d->program->refresh(d->self);
    }
}

static int start_admin(struct daemon *d, struct err *e)
{
    const struct admin_options options = {.listen = d->settings.admin_listen,
                                          .healthy = daemon_is_healthy,
                                          .ready = daemon_is_ready,
                                          .refresh = refresh_gauges,
                                          .arg = d};
    return admin_start(&options, &d->admin, e);
}

static void reload_config(struct daemon *d)
{
    struct err e = {0};
    struct buf needs_restart;
    buf_init(&needs_restart, MESSAGES_LIMIT_BYTES);
    if (config_live_reload(d->live, &needs_restart, &e) != 0) {
        log_error(
            "config_reload_failed", LOG_ERR(&e),
            LOG_STR("action",
                    "the old configuration stays in use; fix the file and send SIGHUP again"));
        buf_fini(&needs_restart);
        return;
    }
    const struct config *c = config_live_get(d->live);
    bool has_credentials = c->has_credentials;
    apply_log_level(c);
    log_warnings(c);
    config_live_put(d->live, c);
    if (needs_restart.len > 0) {
        log_warn("config_restart_required", LOG_STR("settings", needs_restart.data),
                 LOG_STR("action", "they keep their values until the restart"));
    }
    log_info("config_reloaded",
             LOG_STR("credentials", has_credentials ? "as of the unit's start" : ""));
    buf_fini(&needs_restart);
    if (d->program->reloaded != NULL) {
        d->program->reloaded(d->self);
    }
}

/* Applied quotas are raised on request, and lowered by nobody's. Programs that started together ask at
 * different times. */
static int64_t next_quotas_ms(void)
{
    return clock_mono_ms() + QUOTAS_EVERY_MS - (int64_t)random_below(QUOTAS_EVERY_MS / 24);
}

static void read_quotas(struct daemon *d)
{
    if (config_live_read_quotas(d->live) && d->program->reloaded != NULL) {
        d->program->reloaded(d->self);
    }
}

static void wait_for_stop_signal(struct daemon *d)
{
    int64_t quotas_ms = next_quotas_ms();
    for (;;) {
        int signal_number = signals_wait(60 * 1000);
        if (clock_mono_ms() >= quotas_ms) {
            read_quotas(d);
            quotas_ms = next_quotas_ms();
        }
        if (signal_number == SIGHUP) {
            reload_config(d);
        } else if (signal_number != 0) {
            log_info("stopping", LOG_STR("signal", signal_number == SIGINT ? "SIGINT" : "SIGTERM"),
                     LOG_STR("version", mayfly_version), LOG_STR("name", d->program->name));
            return;
        }
    }
}

/* Ends the process at another SIGTERM or SIGINT, or when the drain exceeds its timeout. */
static void *limit_drain(void *arg)
{
    const struct daemon *d = arg;
    int signal_number = SIGHUP;
    int64_t left_ms;
    while (signal_number == SIGHUP && (left_ms = d->drain_until_ms - clock_mono_ms()) > 0) {
        signal_number = signals_wait(left_ms);
    }
    bool again = signal_number == SIGTERM || signal_number == SIGINT;
    log_warn("drain_interrupted", LOG_STR("cause", again ? "second signal" : "timeout"),
             LOG_INT("drain_timeout_ms", d->settings.drain_timeout_ms),
             LOG_STR("action",
                     "unfinished messages are redelivered when their lease expires; GitHub records "
                     "unanswered deliveries as failed"));
    (void)log_stop(LOG_FLUSH_INTERRUPTED_MS);
    _exit(1);
}

static void drain_program(struct daemon *d, int64_t timeout_ms)
{
    struct err e = {0};
    pthread_t watch;
    d->drain_until_ms = clock_mono_ms() + d->settings.drain_timeout_ms + DRAIN_GRACE_MS;
    enter_phase(d, PHASE_DRAINING);
    if (thread_start(&watch, "the thread that limits the drain", limit_drain, d, &e) == 0) {
        (void)pthread_detach(watch);
    } else {
        log_warn(
            "drain_timer_failed", LOG_ERR(&e),
            LOG_STR("action",
                    "the drain continues without a time limit; send SIGKILL if it does not end"));
    }
    d->program->drain(d->self, timeout_ms);
}

/* Only the scheme of a store's URL is logged: the rest may hold a password. */
static struct slice scheme_of(const char *url)
{
    struct slice scheme;
    struct slice rest;
    return slice_cut(slice_of(url), ':', &scheme, &rest) ? scheme : SLICE("");
}

static void log_started(const struct daemon *d)
{
    struct program_listener on = {0};
    if (d->program->listener != NULL) {
        d->program->listener(d->self, &on);
    }
    log_info("started", LOG_STR("version", mayfly_version), LOG_STR("address", on.address),
             LOG_INT("port", on.port), LOG_BOOL("tls", on.tls),
             LOG_INT("admin_port", admin_port(d->admin)),
             LOG_SLICE("queue", scheme_of(d->config->queue)),
             LOG_SLICE("ledger", scheme_of(d->config->ledger)));
}

static void log_unprotected(const struct daemon *d)
{
    struct address_gap found[ADDRESS_GAPS_MAX];
    size_t n = addresses_unprotected(d->config, d->program->who, found);
    for (size_t i = 0; i < n; i++) {
        log_warn("unprotected_address", LOG_STR("setting", found[i].setting),
                 LOG_STR("reason", found[i].lacks), LOG_STR("action", found[i].action));
    }
}

/* Trouble of a service that ends by itself. A refusal, a wrong setting, or a limit of this host ends
 * the program, for all to see. */
static bool is_worth_waiting_for(const struct err *e)
{
    return e->class == ERR_RETRY || e->class == ERR_THROTTLED;
}

static void await(struct daemon *d, const struct err *e)
{
    (void)pthread_mutex_lock(&d->lock);
    d->awaited = *e;
    (void)pthread_mutex_unlock(&d->lock);
    log_warn("start_waits", LOG_INT("admin_port", admin_port(d->admin)), LOG_ERR(e),
             LOG_STR("action", "the program tries again until it succeeds, and is not ready until "
                               "then; restore what the error names"));
}

static bool is_asked_to_stop_within(int64_t pause_ms)
{
    int64_t until_ms = clock_mono_ms() + pause_ms;
    int64_t left_ms;
    while ((left_ms = until_ms - clock_mono_ms()) > 0) {
        int signal_number = signals_wait(left_ms);
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            return true;
        }
    }
    return false;
}

/* Opens, however long what the program needs is away. NEXT_EXIT: it failed with *e, or was asked to
 * stop meanwhile (*rc 0). SIGHUP is ignored, since the stores' settings need a restart anyway. */
static enum next_step open_with_retries(struct daemon *d, int *rc, struct err *e)
{
    const struct program *p = d->program;
    int64_t pause_ms = OPEN_AGAIN_MS;
    d->opened = true;
    while ((*rc = p->open(d->self, d->live, d->config, e)) != 0 && is_worth_waiting_for(e)) {
        await(d, e);
        p->close(d->self);
        if (is_asked_to_stop_within(pause_ms)) {
            d->opened = false;
            *rc = 0;
            return NEXT_EXIT;
        }
        pause_ms = pause_ms * 2 < OPEN_AGAIN_MAX_MS ? pause_ms * 2 : OPEN_AGAIN_MAX_MS;
    }
    return *rc == 0 ? NEXT_RUN : NEXT_EXIT;
}

static int run_daemon(struct daemon *d, struct err *e)
{
    const struct program *p = d->program;
    int rc = 0;
    if (log_start(e) != 0) {
        return -1;
    }
    log_unprotected(d);
    log_warnings(d->config);
    if (start_admin(d, e) != 0) {
        return -1;
    }
    if (open_with_retries(d, &rc, e) == NEXT_EXIT) {
        return rc;
    }
    if (p->start(d->self, d->config, e) != 0) {
        drain_program(d, 0);
        return -1;
    }
    enter_phase(d, PHASE_RUNNING);
    log_started(d);
    wait_for_stop_signal(d);
    drain_program(d, d->settings.drain_timeout_ms);
    return 0;
}

int program_main(const struct program *p, void *self, int argc, char **argv)
{
    /* Static: the thread that limits the drain reads it until the process ends, after this function
     * has returned. */
    static struct daemon d;
    struct err e = {0};
    d = (struct daemon){.program = p, .self = self, .lock = PTHREAD_MUTEX_INITIALIZER};
    int exit_code = 0;
    protect_memory();
    signals_block();
    log_open(p->name, STDERR_FILENO);
    if (read_configuration(p, argc, argv, &d.live, &exit_code) == NEXT_EXIT) {
        return printable_end(p->name, exit_code);
    }
    d.config = config_live_get(d.live);
    d.settings = p->settings(d.config);
    process_metrics_begin();
    if (run_daemon(&d, &e) != 0) {
        log_error("startup_failed", LOG_ERR(&e));
        exit_code = 1;
    }
    admin_stop(d.admin);
    if (d.opened) {
        p->close(self);
    }
    log_info("stopped", LOG_INT("exit_code", exit_code));
    config_live_put(d.live, d.config);
    config_live_free(d.live);
    (void)log_stop(LOG_FLUSH_MS);
    return exit_code;
}
