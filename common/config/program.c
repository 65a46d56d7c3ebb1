#include "common/config/program.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/config/config_aws.h"

#define COMPLAINTS_LIMIT_BYTES (256 * 1024)

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

/* Returns PROGRAM_EXIT when an argument has said it all. */
static enum program_go read_arguments(const struct program *p, int argc, char **argv,
                                      struct arguments *out, int *exit_code)
{
    *exit_code = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(p);
            return PROGRAM_EXIT;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", p->name, MAYFLY_VERSION);
            return PROGRAM_EXIT;
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
            return PROGRAM_EXIT;
        }
    }
    if ((out->online && !out->check) || (out->json && !out->online)) {
        fprintf(stderr, "%s: --online belongs to --check-config, and --json to --online\n",
                p->name);
        *exit_code = 2;
        return PROGRAM_EXIT;
    }
    return PROGRAM_RUN;
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
    log_set_level(LOG_ERROR); /* what is wrong is told as a finding */
    return p->check_online(c, args->json);
}

enum program_go program_start(const struct program *p, int argc, char **argv,
                              struct config_live **out, int *exit_code)
{
    struct arguments args = {0};
    struct config *config = NULL;
    stop_block_signals();
    log_open(p->name, STDERR_FILENO);
    if (read_arguments(p, argc, argv, &args, exit_code) == PROGRAM_EXIT) {
        return PROGRAM_EXIT;
    }
    if (!args.check || args.online) {
        config_aws_use();
    }
    if (load(p, &args, &config) != 0) {
        *exit_code = 1;
        return PROGRAM_EXIT;
    }
    if (args.check) {
        *exit_code = check(p, &args, config);
        config_free(config);
        return PROGRAM_EXIT;
    }
    apply_log_level(config);
    config_aws_apply(&config->aws);
    *out = config_live_new(config, args.config_path, p->who);
    return PROGRAM_RUN;
}

static void reload(struct config_live *live, void (*reloaded)(void *arg), void *arg)
{
    struct err e = {0};
    struct buf ignored;
    buf_init(&ignored, COMPLAINTS_LIMIT_BYTES);
    if (config_live_reload(live, &ignored, &e) != 0) {
        log_error("config_reload_failed", LOG_ERR(&e),
                  LOG_STR("next", "mend the file and send SIGHUP again; the old one stays in use"));
        buf_fini(&ignored);
        return;
    }
    const struct config *c = config_live_get(live);
    apply_log_level(c);
    config_live_put(live, c);
    log_info("config_reloaded", LOG_STR("needs_restart", ignored.len > 0 ? ignored.data : ""));
    buf_fini(&ignored);
    if (reloaded != NULL) {
        reloaded(arg);
    }
}

void program_wait(const struct program *p, struct config_live *live, void (*reloaded)(void *arg),
                  void *arg)
{
    for (;;) {
        int signal_number = stop_wait_signal(60 * 1000);
        if (signal_number == SIGHUP) {
            reload(live, reloaded, arg);
        } else if (signal_number != 0) {
            log_info("stopping", LOG_STR("signal", signal_number == SIGINT ? "SIGINT" : "SIGTERM"),
                     LOG_STR("version", MAYFLY_VERSION), LOG_STR("name", p->name));
            return;
        }
    }
}

struct drain {
    const char *program;
    int64_t seconds;
};

static void *watch_drain(void *arg)
{
    struct drain drain = *(struct drain *)arg;
    free(arg);
    int signal_number;
    do {
        signal_number = stop_wait_signal(drain.seconds * 1000);
    } while (signal_number == SIGHUP);
    log_warn("drain_cut_short",
             LOG_STR("cause", signal_number != 0 ? "second signal" : "time over"),
             LOG_INT("seconds", drain.seconds),
             LOG_STR("next", "what was under way is taken up again when its lease runs out"));
    _exit(1);
}

void program_draining(const struct program *p, int64_t seconds)
{
    pthread_t thread;
    struct drain *drain = malloc(sizeof *drain);
    ASSERT(drain != NULL);
    *drain = (struct drain){p->name, seconds};
    ASSERT(pthread_create(&thread, NULL, watch_drain, drain) == 0);
    (void)pthread_detach(thread);
}
