#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/version.h"
#include "common/config/aws.h"
#include "deploy/ctl/ctl.h"

#define COMPLAINTS_LIMIT_BYTES (64 * 1024)

static const struct command {
    const char *words[2]; /* the second is NULL for commands of one word */
    int arguments;
    const char *usage;
    const char *help;
    ctl_build_fn *build;
    ctl_print_fn *print;
} commands[] = {
    {{"status", NULL},
     0,
     "status",
     "lanes, slots, VMs and dead letters at a glance",
     ctl_status,
     ctl_status_print},
    {{"why", NULL},
     1,
     "why JOB",
     "a job's timeline and what it waits for; JOB is its id or its URL",
     ctl_why,
     ctl_why_print},
    {{"vms", NULL}, 0, "vms", "VMs that hold a slot", ctl_vms, ctl_vms_print},
    {{"vm", "terminate"},
     1,
     "vm terminate VM",
     "terminate a VM, by its name",
     ctl_vm_terminate,
     ctl_done_print},
    {{"dlq", "list"},
     0,
     "dlq list",
     "messages in the dead-letter queue, with their reasons",
     ctl_dlq_list,
     ctl_dlq_list_print},
    {{"dlq", "show"},
     1,
     "dlq show MESSAGE",
     "one of them, whole",
     ctl_dlq_show,
     ctl_dlq_show_print},
    {{"dlq", "redrive"},
     1,
     "dlq redrive MESSAGE|all",
     "return it to its lane, with its attempts at zero",
     ctl_dlq_redrive,
     ctl_done_print},
    {{"dlq", "delete"}, 1, "dlq delete MESSAGE", "delete it", ctl_dlq_delete, ctl_done_print},
    {{"upgrade", "finish"},
     0,
     "upgrade finish",
     "after all programs were upgraded: let them write the new record format",
     ctl_upgrade_finish,
     ctl_done_print},
};

struct arguments {
    const char *config_path;
    bool json;
    int count;
    char *words[4];
};

static void print_usage(FILE *to)
{
    fprintf(to, "mayflyctl - shows the state of a Mayfly deployment, and repairs it\n\n"
                "usage: mayflyctl [--config FILE] [--json] COMMAND\n\n");
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        fprintf(to, "  %-24s %s\n", commands[i].usage, commands[i].help);
    }
    fprintf(to,
            "\n  --config FILE   the deployment's configuration, else the text in MAYFLY_CONFIG\n"
            "  --json          print one JSON value\n"
            "  --version, --help\n");
}

/* Returns -1 to go on, else the exit code. */
static int read_arguments(int argc, char **argv, struct arguments *out)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_usage(stdout);
            return 0;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("mayflyctl %s\n", mayfly_version);
            return 0;
        }
        if (strcmp(argv[i], "--json") == 0) {
            out->json = true;
        } else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            out->config_path = argv[++i];
        } else if (argv[i][0] != '-' && out->count < (int)COUNT_OF(out->words)) {
            out->words[out->count++] = argv[i];
        } else {
            fprintf(stderr, "mayflyctl: unknown option %s: see mayflyctl --help\n", argv[i]);
            return 2;
        }
    }
    return -1;
}

static bool same(const char *word, const char *expected)
{
    return word != NULL && strcmp(word, expected) == 0;
}

static const struct command *find_command(const struct arguments *args)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        const struct command *c = &commands[i];
        int words = c->words[1] == NULL ? 1 : 2;
        if (args->count == words + c->arguments && same(args->words[0], c->words[0]) &&
            (words == 1 || same(args->words[1], c->words[1]))) {
            return c;
        }
    }
    return NULL;
}

static int load_config(const struct arguments *args, struct config **out)
{
    struct err e = {0};
    struct buf complaints;
    buf_init(&complaints, COMPLAINTS_LIMIT_BYTES);
    config_aws_use();
    int failed = config_load(args->config_path, CONFIG_FOR_CTL, out, &complaints, &e);
    if (failed != 0) {
        fprintf(stderr, "mayflyctl: %s\n", complaints.len > 0 ? complaints.data : e.message);
    } else {
        config_aws_apply(&(*out)->aws);
    }
    buf_fini(&complaints);
    return failed;
}

static int carry_out(const struct command *command, struct ctl *c, bool as_json, struct err *e)
{
    json_t *answer = NULL;
    if (queue_open(c->config->queue, &c->queue, e) != 0 ||
        ledger_open(c->config->ledger, &c->ledger, e) != 0 || command->build(c, &answer, e) != 0) {
        return -1;
    }
    if (as_json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        command->print(answer);
    }
    json_decref(answer);
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct arguments args = {0};
    struct ctl c = {0};
    struct config *config = NULL;
    log_open("mayflyctl", STDERR_FILENO);
    int code = read_arguments(argc, argv, &args);
    if (code >= 0) {
        return code;
    }
    const struct command *command = args.count > 0 ? find_command(&args) : NULL;
    if (command == NULL) {
        print_usage(stderr);
        return 2;
    }
    if (load_config(&args, &config) != 0) {
        return 1;
    }
    c.config = config;
    c.argc = command->arguments;
    c.argv = args.words + (args.count - command->arguments);
    code = carry_out(command, &c, args.json, &e) == 0 ? 0 : 1;
    if (code != 0) {
        fprintf(stderr, "mayflyctl: %s\n", e.message);
    }
    ledger_close(c.ledger);
    queue_close(c.queue);
    config_free(config);
    return code;
}
