/*
 * The command line of mayflyctl: options before or after the command's words, "--name VALUE" or
 * "--name=VALUE", "--" ends the options.
 */
#ifndef MAYFLY_DEPLOY_CTL_CLI_ARGUMENTS_H
#define MAYFLY_DEPLOY_CTL_CLI_ARGUMENTS_H

#include "deploy/ctl/commands.h"

#define ARGUMENTS_WORDS_MAX 40 /* a line to complete has more than a command's */

enum arguments_wish { WISH_RUN, WISH_HELP, WISH_VERSION };

struct arguments {
    enum arguments_wish wish;
    const struct ctl_command *command; /* of WISH_RUN */
    const char *config_path;           /* NULL: not given */
    bool json;                         /* known even if the rest cannot be read */
    struct ctl_given given[CTL_OPTIONS_MAX];
    int given_count;
    char *words[ARGUMENTS_WORDS_MAX]; /* borrowed from argv; of WISH_HELP those that it is about */
    int count;
};

/* *out: zeroed. ERR_PERMANENT says what is wrong with the line. */
MUST_CHECK int arguments_read(int argc, char **argv, struct arguments *out, struct err *e);

#endif
