/*
 * `mayflyctl completion bash|zsh`, and what the shells then call at each Tab:
 * `mayflyctl completion words -- WORD…`, with the words of the line as far as the cursor. It prints
 * what the last one may become, one a line, or ":file" if that is a file; nothing if it does not know.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/config/aws.h"
#include "common/ledger/hosts.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/circuits.h"
#include "deploy/ctl/cli/arguments.h"
#include "deploy/ctl/commands.h"

#define WAIT_S 3 /* a shell waits no longer for a store */
#define NAMES_MAX 200

static const char bash_script[] =
    "# bash completion of mayflyctl\n"
    "_mayflyctl() {\n"
    "    local IFS=$'\\n'\n"
    "    COMPREPLY=($(\"$1\" completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n"
    "    if [ \"${COMPREPLY[0]:-}\" = :file ]; then\n"
    "        COMPREPLY=()\n"
    "        compopt -o default 2>/dev/null\n"
    "    fi\n"
    "}\n"
    "complete -F _mayflyctl mayflyctl\n";

static const char zsh_script[] =
    "#compdef mayflyctl\n"
    "_mayflyctl() {\n"
    "    local -a found\n"
    "    found=(${(f)\"$(\"${words[1]}\" completion words -- \"${(@)words[2,CURRENT]}\" "
    "2>/dev/null)\"})\n"
    "    if [ \"${found[1]:-}\" = :file ]; then\n"
    "        _files\n"
    "    else\n"
    "        compadd -a found\n"
    "    fi\n"
    "}\n"
    "compdef _mayflyctl mayflyctl\n";

/* A line that is being written. */
struct line {
    const char *current; /* the word to complete, as far as it goes */
    const char *option;  /* whose value that is; NULL: of none */
    const char *config_path;
    char *words[ARGUMENTS_WORDS_MAX]; /* before it, without options */
    int count;
};

static void offer(const struct line *line, const char *word)
{
    size_t n = strlen(line->current);
    if (strncmp(word, line->current, n) == 0) {
        printable_line(stdout, "%s", word);
    }
}

/* --- the line --- */

static bool takes_value(const char *word)
{
    const struct ctl_option *o = ctl_option_find(NULL, slice_of(word));
    return o != NULL && o->value != NULL && !o->value_is_optional;
}

static void keep_value(struct line *line, const char *option, const char *value)
{
    if (strcmp(option, "--config") == 0) {
        line->config_path = value;
    }
}

/* bash splits "--name=value" into three words. */
static void read_line(char **words, int count, struct line *out)
{
    out->current = count > 0 ? words[count - 1] : "";
    for (int i = 0; i < count - 1; i++) {
        const char *equals = strchr(words[i], '=');
        if (words[i][0] != '-') {
            out->words[out->count++] = words[i];
        } else if (equals != NULL) {
            if (strncmp(words[i], "--config=", 9) == 0) {
                out->config_path = equals + 1;
            }
        } else if (takes_value(words[i])) {
            int value = i + 1 < count && strcmp(words[i + 1], "=") == 0 ? i + 2 : i + 1;
            if (value >= count - 1) {
                out->option = words[i];
                out->current = value == count ? "" : out->current;
                return;
            }
            keep_value(out, words[i], words[value]);
            i = value;
        }
    }
    if (out->count > 0 && strcmp(out->words[0], "help") == 0) {
        out->count--;
        memmove(out->words, out->words + 1, (size_t)out->count * sizeof out->words[0]);
    }
}

/* --- names that a store knows --- */

static void offer_hosts(struct ctl *c, const struct line *line)
{
    struct ledger_program *programs = NULL;
    size_t n = 0;
    struct err e;
    if (ledger_program_list(c->ledger, &programs, &n, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < i && programs[i].is_host; k++) {
            again = again || strcmp(programs[k].host, programs[i].host) == 0;
        }
        if (programs[i].is_host && !again) {
            offer(line, programs[i].host);
        }
    }
    free(programs);
}

static void offer_vms(struct ctl *c, const struct line *line)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    struct err e;
    if (ledger_vm_list(c->ledger, ~(1u << VM_GONE), "", NAMES_MAX, &vms, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            offer(line, vms[i].name);
        }
        free(vms);
    }
}

static void offer_messages(struct ctl *c, const struct line *line)
{
    struct queue_entry *entries = NULL;
    size_t n = 0;
    struct err e;
    if (queue_can(c->queue, QUEUE_BROWSE) && !queue_can(c->queue, QUEUE_SCANS) &&
        queue_dead(c->queue, NULL, NAMES_MAX, &entries, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            offer(line, entries[i].message.id);
        }
        queue_entries_free(entries, n);
    }
}

static void offer_circuits(struct ctl *c, const struct line *line)
{
    struct ctl_circuit *all = NULL;
    size_t n = 0;
    struct err e;
    if (ctl_circuits(c, &all, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            offer(line, all[i].subject);
        }
        free(all);
    }
}

static void offer_classes(struct ctl *c, const struct line *line)
{
    for (size_t i = 0; i < c->config->class_count; i++) {
        offer(line, c->config->classes[i].name);
    }
}

static void offer_places(struct ctl *c, const struct line *line)
{
    for (size_t i = 0; i < c->config->place_count; i++) {
        offer(line, c->config->places[i]->name);
    }
}

static void offer_from_stores(struct ctl *c, enum ctl_names names, const struct line *line)
{
    struct err e;
    if (names == CTL_NAMES_CLASS) {
        offer_classes(c, line);
    } else if (names == CTL_NAMES_PLACE) {
        offer_places(c, line);
    } else if (names == CTL_NAMES_MESSAGE) {
        offer(line, "all");
        if (queue_open_existing(c->config->queue, &c->queue, &e) == 0) {
            offer_messages(c, line);
        }
    } else if (ledger_open_existing(c->config->ledger, &c->ledger, &e) == 0) {
        if (names == CTL_NAMES_HOST) {
            offer_hosts(c, line);
        } else if (names == CTL_NAMES_VM) {
            offer_vms(c, line);
        } else if (names == CTL_NAMES_CIRCUIT) {
            offer_circuits(c, line);
        }
    }
    ledger_close(c->ledger);
    queue_close(c->queue);
}

static void offer_names(enum ctl_names names, const struct line *line)
{
    struct config *config = NULL;
    struct err e;
    config_aws_use();
    if (config_load(line->config_path, CONFIG_FOR_CTL, &config, NULL, &e) == 0) {
        struct ctl c = {.config = config};
        config_aws_apply(&config->aws);
        offer_from_stores(&c, names, line);
        config_free(config);
    }
}

/* --- what the table knows --- */

static void offer_options(const struct line *line, const struct ctl_option *options)
{
    for (; options->name != NULL; options++) {
        offer(line, options->name);
    }
}

/* The first words, or the second words of those that begin with the one that was written. */
static void offer_commands(const struct line *line)
{
    if (line->count == 0) {
        offer(line, "help");
    }
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        bool again = i > 0 && strcmp(c->words[0], ctl_commands[i - 1].words[0]) == 0;
        if (line->count == 0 && !again) {
            offer(line, c->words[0]);
        } else if (line->count == 1 && c->words[1] != NULL &&
                   strcmp(c->words[0], line->words[0]) == 0) {
            offer(line, c->words[1]);
        }
    }
}

static void offer_argument(const struct line *line, const struct ctl_command *command)
{
    if (line->count != ctl_command_words(command)) {
        return;
    }
    switch (command->names) {
    case CTL_NAMES_DIRECTORY:
        puts(":file");
        break;
    case CTL_NAMES_SHELL:
        offer(line, "bash");
        offer(line, "zsh");
        break;
    case CTL_NAMES_CLASS:
    case CTL_NAMES_PLACE:
    case CTL_NAMES_HOST:
    case CTL_NAMES_VM:
    case CTL_NAMES_MESSAGE:
    case CTL_NAMES_CIRCUIT:
        offer_names(command->names, line);
        break;
    case CTL_NAMES_NOTHING:
    case CTL_NAMES_COUNT:
        break;
    }
}

static void complete(const struct line *line)
{
    const struct ctl_command *command =
        line->count > 0 ? ctl_command_named((char *const *)line->words, line->count) : NULL;
    if (line->option != NULL) {
        if (strcmp(line->option, "--config") == 0) {
            puts(":file");
        }
    } else if (line->current[0] == '-') {
        offer_options(line, ctl_common_options);
        if (command != NULL) {
            offer_options(line, command->options);
        }
    } else {
        offer_commands(line);
        if (command != NULL) {
            offer_argument(line, command);
        }
    }
}

int ctl_completion(struct ctl *c, struct err *e)
{
    struct line line = {.current = ""};
    if (c->argc == 1 && strcmp(c->argv[0], "bash") == 0) {
        fputs(bash_script, stdout);
    } else if (c->argc == 1 && strcmp(c->argv[0], "zsh") == 0) {
        fputs(zsh_script, stdout);
    } else if (strcmp(c->argv[0], "words") == 0) {
        log_set_level(LOG_ERROR);
        (void)alarm(WAIT_S);
        read_line(c->argv + 1, c->argc - 1, &line);
        complete(&line);
    } else {
        c->exit_code = CTL_EXIT_USAGE;
        return err_set(e, ERR_PERMANENT, 0, "there is no completion for \"%s\": write bash or zsh",
                       c->argv[0]);
    }
    return 0;
}
