#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/base/protect.h"
#include "common/base/version.h"
#include "common/config/aws.h"
#include "deploy/ctl/commands.h"

#define COMPLAINTS_LIMIT_BYTES (64 * 1024)

struct arguments {
    const char *config_path;
    bool json;
    bool force;
    const char *since;
    const char *reason;
    int count;
    char *words[4];
};

static void print_usage(FILE *to)
{
    fprintf(to, "mayflyctl - shows the state of a Mayfly deployment, and repairs it\n\n"
                "usage: mayflyctl [--config FILE] [--json] COMMAND\n\n");
    for (size_t i = 0; i < ctl_command_count; i++) {
        fprintf(to, "  %-24s %s\n", ctl_commands[i].usage, ctl_commands[i].help);
    }
    fprintf(to,
            "\n  --config FILE   the deployment's configuration, else the text in MAYFLY_CONFIG\n"
            "  --json          print one JSON value\n"
            "  --force         vm terminate: also a VM that runs a job, which then fails\n"
            "  --since TIME    recover: how long ago the loss may have begun, such as 2h\n"
            "  --reason TEXT   pause: why, for those who ask later\n"
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
        } else if (strcmp(argv[i], "--force") == 0) {
            out->force = true;
        } else if (strcmp(argv[i], "--since") == 0 && i + 1 < argc) {
            out->since = argv[++i];
        } else if (strcmp(argv[i], "--reason") == 0 && i + 1 < argc) {
            out->reason = argv[++i];
        } else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            out->config_path = argv[++i];
        } else if (argv[i][0] != '-' && out->count < (int)COUNT_OF(out->words)) {
            out->words[out->count++] = argv[i];
        } else {
            printable_line(stderr,
                           "mayflyctl: unknown option, missing value or too many words: %s: see "
                           "mayflyctl --help",
                           argv[i]);
            return 2;
        }
    }
    return -1;
}

static int load_config(const struct arguments *args, struct config **out)
{
    struct err e = {0};
    struct buf complaints;
    buf_init(&complaints, COMPLAINTS_LIMIT_BYTES);
    config_aws_use();
    int failed = config_load(args->config_path, CONFIG_FOR_CTL, out, &complaints, &e);
    if (failed != 0) {
        fputs("mayflyctl: ", stderr);
        printable_lines(stderr, complaints.len > 0 ? buf_slice(&complaints) : slice_of(e.message));
    } else {
        config_aws_apply(&(*out)->aws);
    }
    buf_fini(&complaints);
    return failed;
}

static int carry_out(const struct ctl_command *command, struct ctl *c, bool as_json, struct err *e)
{
    json_t *answer = NULL;
    if (queue_open(c->config->queue, &c->queue, e) != 0 ||
        ledger_open(c->config->ledger, &c->ledger, e) != 0 || command->build(c, &answer, e) != 0) {
        return -1;
    }
    if (as_json) {
        ctl_json_print(answer);
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
    protect_memory();
    log_open("mayflyctl", STDERR_FILENO);
    int code = read_arguments(argc, argv, &args);
    if (code >= 0) {
        return printable_end("mayflyctl", code);
    }
    const struct ctl_command *command = ctl_command_find(args.words, args.count);
    if (command == NULL || (args.force && command->build != ctl_vm_terminate) ||
        (args.since != NULL && command->build != ctl_recover) ||
        (args.reason != NULL && command->build != ctl_pause)) {
        print_usage(stderr);
        return 2;
    }
    if (load_config(&args, &config) != 0) {
        return 1;
    }
    c.config = config;
    c.force = args.force;
    c.since = args.since;
    c.reason = args.reason;
    c.argc = command->arguments;
    c.argv = args.words + (args.count - command->arguments);
    code = carry_out(command, &c, args.json, &e) == 0 ? 0 : 1;
    if (code != 0) {
        printable_line(stderr, "mayflyctl: %s", e.message);
    }
    ledger_close(c.ledger);
    queue_close(c.queue);
    config_free(config);
    return printable_end("mayflyctl", code);
}
