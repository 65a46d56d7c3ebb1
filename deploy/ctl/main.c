#include <stdio.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/base/protect.h"
#include "common/base/version.h"
#include "common/config/aws.h"
#include "deploy/ctl/cli/arguments.h"
#include "deploy/ctl/cli/help.h"
#include "deploy/ctl/cli/report.h"
#include "deploy/ctl/cli/stores.h"

#define COMPLAINTS_LIMIT_BYTES ((size_t)64 * 1024)
#define HELP_LIMIT_BYTES ((size_t)64 * 1024)

static int print_help(const struct arguments *args)
{
    struct err e = {0};
    struct buf text;
    buf_init(&text, HELP_LIMIT_BYTES);
    int rc = help_append(&text, args->words, args->count, &e);
    if (rc == 0) {
        fputs(text.data, stdout);
    }
    buf_fini(&text);
    return rc == 0 ? 0 : report_usage(&e, args->json);
}

/* Returns 0, or the exit code of a configuration that cannot be used. */
static int load_config(const struct arguments *args, struct config **out)
{
    struct err e = {0};
    struct buf complaints;
    buf_init(&complaints, COMPLAINTS_LIMIT_BYTES);
    config_aws_use();
    int code = 0;
    bool asks_github = (args->command->needs & CTL_GITHUB) != 0;
    enum config_for who = asks_github ? CONFIG_FOR_CTL_GITHUB : CONFIG_FOR_CTL;
    if (config_load(args->config_path, who, out, &complaints, &e) != 0) {
        code = report_config(complaints.len > 0 ? buf_slice(&complaints) : slice_of(e.message),
                             args->json);
    } else {
        config_aws_apply(&(*out)->aws);
    }
    buf_fini(&complaints);
    return code;
}

/* Of a command that uses one store, trouble that is not its own is that store's. */
static int lay_to_the_store(const struct ctl_command *command, struct err *e)
{
    bool outside = e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_CAPACITY ||
                   e->class == ERR_AUTH;
    if (outside && (command->needs & CTL_LEDGER) != 0 && (command->needs & CTL_QUEUE) == 0) {
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    return -1;
}

static int carry_out(const struct ctl_command *command, struct ctl *c, struct err *e)
{
    json_t *answer = NULL;
    if (ctl_open_stores(c, command->needs, e) != 0) {
        return -1;
    }
    if (command->run != NULL) {
        return command->run(c, e);
    }
    if (command->build(c, &answer, e) != 0) {
        return lay_to_the_store(command, e);
    }
    if (c->json) {
        ctl_json_print(answer);
    } else {
        command->print(answer);
    }
    json_decref(answer);
    return 0;
}

static int run_command(struct arguments *args)
{
    struct err e = {0};
    struct config *config = NULL;
    const struct ctl_command *command = args->command;
    int code = (command->needs & CTL_CONFIG) != 0 ? load_config(args, &config) : 0;
    if (code != 0) {
        return code;
    }
    struct ctl c = {.config = config,
                    .config_path = args->config_path,
                    .json = args->json,
                    .given = args->given,
                    .given_count = args->given_count,
                    .argc = args->count - ctl_command_words(command),
                    .argv = args->words + ctl_command_words(command)};
    if (carry_out(command, &c, &e) == 0) {
        code = c.exit_code;
    } else {
        code =
            c.exit_code == CTL_EXIT_USAGE ? report_usage(&e, c.json) : report_failure(&e, c.json);
        code = c.exit_code > code ? c.exit_code : code; /* of `why`: nobody knows the run */
    }
    ctl_close_stores(&c);
    config_free(config);
    return code;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct arguments args = {0};
    int code = 0;
    protect_memory();
    log_open("mayflyctl", STDERR_FILENO);
    if (arguments_read(argc, argv, &args, &e) != 0) {
        return report_usage(&e, args.json);
    }
    switch (args.wish) {
    case WISH_HELP:
        code = print_help(&args);
        break;
    case WISH_VERSION:
        printf("mayflyctl %s\n", mayfly_version);
        break;
    case WISH_RUN:
        code = run_command(&args);
        break;
    }
    return printable_end("mayflyctl", code);
}
