/*
 * The commands of mayflyctl: what they are called, what they do, who does it.
 *
 * From this table come the parser, the help of each command, the completion of the shells, and the
 * page deploy/docs/commands.md. A command is a row here and its functions in ctl.h.
 */
#ifndef MAYFLY_DEPLOY_CTL_COMMANDS_H
#define MAYFLY_DEPLOY_CTL_COMMANDS_H

#include "common/base/buf.h"
#include "deploy/ctl/ctl.h"

#define CTL_WORDS_MAX 2    /* of a command's name */
#define CTL_OPTIONS_MAX 12 /* of one command, with the end of the list */

/* What is opened before a command runs; 0: not even the configuration is read. */
enum ctl_needs {
    CTL_CONFIG = 1,
    CTL_QUEUE = 2,
    CTL_LEDGER = 4,
    CTL_GITHUB = 8, /* the credentials of GitHub's API, if this user can read them */
};

/* What a command's first argument names, for the completion. */
enum ctl_names {
    CTL_NAMES_NOTHING,
    CTL_NAMES_CLASS,
    CTL_NAMES_PLACE, /* CLASS, or CLASS@TARGET */
    CTL_NAMES_HOST,
    CTL_NAMES_VM,
    CTL_NAMES_MESSAGE, /* of the dead-letter queue */
    CTL_NAMES_CIRCUIT,
    CTL_NAMES_DIRECTORY,
    CTL_NAMES_SHELL,
    CTL_NAMES_COUNT
};

struct ctl_option {
    const char *name;       /* "--since"; NULL ends the list */
    const char *value;      /* "DURATION"; NULL: takes none */
    bool value_is_optional; /* only "--name=VALUE" gives one */
    const char *help;
};

struct ctl_command {
    const char *words[CTL_WORDS_MAX]; /* the second is NULL for commands of one word */
    int least;                        /* words after the command's own */
    int most;
    const char *arguments; /* for the usage: "MESSAGE|all"; NULL: none */
    const char *brief;     /* one line, at most 60 characters */
    const char *help;      /* one paragraph or several, which a blank line separates */
    const char *example;   /* what follows "mayflyctl "; NULL: the words */
    const char *exits;     /* what its own exit codes mean, in one sentence; NULL: it has none */
    unsigned needs;        /* of enum ctl_needs */
    enum ctl_names names;
    struct ctl_option options[CTL_OPTIONS_MAX];
    ctl_build_fn *build;
    ctl_print_fn *print;
    ctl_run_fn *run; /* in place of build and print */
};

extern const struct ctl_command ctl_commands[];
extern const size_t ctl_command_count;

/* Of every command. */
extern const struct ctl_option ctl_common_options[];

/* How many words are the command's own: 1 or 2. */
int ctl_command_words(const struct ctl_command *c);
/* The command that the words begin with; NULL: none. */
const struct ctl_command *ctl_command_named(char *const *words, int count);
/* The same with its arguments checked; *e says what is wrong, and names the nearest one. */
MUST_CHECK int ctl_command_find(char *const *words, int count, const struct ctl_command **out,
                                struct err *e);
/* The option of that name: of `c` or of every command, or if c is NULL of any; NULL: none. */
const struct ctl_option *ctl_option_find(const struct ctl_command *c, struct slice name);

#endif
