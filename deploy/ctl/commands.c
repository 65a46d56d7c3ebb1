#include "deploy/ctl/commands.h"

#include <string.h>

const struct ctl_command ctl_commands[] = {
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
     "vm terminate VM [--force]",
     "terminate a VM, by its name, unless it runs a job; with --force in any case: its job fails",
     ctl_vm_terminate,
     ctl_done_print},
    {{"hosts", NULL}, 0, "hosts", "hosts that run VMs themselves", ctl_hosts, ctl_hosts_print},
    {{"workers", NULL},
     0,
     "workers",
     "workers and reapers that run",
     ctl_workers,
     ctl_workers_print},
    {{"host", "drain"},
     1,
     "host drain HOST",
     "let a host (its id, the beginning of it, or its name) launch no more VMs",
     ctl_host_drain,
     ctl_done_print},
    {{"host", "undrain"},
     1,
     "host undrain HOST",
     "let it launch VMs again",
     ctl_host_undrain,
     ctl_done_print},
    {{"host", "forget"},
     1,
     "host forget HOST",
     "free the slots of a host that is gone permanently, without waiting for its VMs' deadlines",
     ctl_host_forget,
     ctl_done_print},
    {{"pause", NULL},
     1,
     "pause CLASS [--reason TEXT]",
     "launch no more VMs of a class until it is resumed: its jobs wait, its VMs run on",
     ctl_pause,
     ctl_done_print},
    {{"resume", NULL}, 1, "resume CLASS", "launch VMs of it again", ctl_resume, ctl_done_print},
    {{"class", "retire"},
     1,
     "class retire CLASS",
     "route the jobs that wait for a class that is retired (`max_vms: 0`) or not configured to "
     "other classes by their labels; dead-letter the rest",
     ctl_class_retire,
     ctl_done_print},
    {{"dlq", "list"},
     0,
     "dlq list",
     "messages in the dead-letter queue, with their reasons: the oldest 1000; it says how many "
     "there are",
     ctl_dlq_list,
     ctl_dlq_list_print},
    {{"dlq", "list"}, 1, "dlq list all", "all of them", ctl_dlq_list_all, ctl_dlq_list_print},
    {{"dlq", "show"}, 1, "dlq show MESSAGE", "one of them, whole", ctl_dlq_show, ctl_json_print},
    {{"dlq", "redrive"},
     1,
     "dlq redrive MESSAGE|all",
     "return it to its lane, with its attempts at zero",
     ctl_dlq_redrive,
     ctl_done_print},
    {{"dlq", "delete"}, 1, "dlq delete MESSAGE", "delete it", ctl_dlq_delete, ctl_done_print},
    {{"backup", NULL},
     1,
     "backup DIRECTORY",
     "copy the SQLite files of queue and ledger there, as queue.db and ledger.db, while the "
     "programs "
     "run; replaces no file",
     ctl_backup,
     ctl_backup_print},
    {{"recover", NULL},
     0,
     "recover [--since DURATION]",
     "after the loss of a store, or of webhooks: let the reaper read from GitHub the jobs that it "
     "delivered since then (2h unless given, at most 3 days) and that wait",
     ctl_recover,
     ctl_done_print},
    {{"upgrade", "finish"},
     0,
     "upgrade finish",
     "after all programs were upgraded: let them write the new record format",
     ctl_upgrade_finish,
     ctl_done_print},
};
const size_t ctl_command_count = COUNT_OF(ctl_commands);

static bool has_word(char *const *words, int count, int i, const char *expected)
{
    return expected == NULL || (i < count && strcmp(words[i], expected) == 0);
}

const struct ctl_command *ctl_command_find(char *const *words, int count)
{
    for (size_t i = 0; i < ctl_command_count; i++) {
        const struct ctl_command *c = &ctl_commands[i];
        int own_words = c->words[1] == NULL ? 1 : 2;
        if (count == own_words + c->arguments && has_word(words, count, 0, c->words[0]) &&
            has_word(words, count, 1, c->words[1])) {
            return c;
        }
    }
    return NULL;
}

void ctl_commands_reference(struct buf *out)
{
    buf_append_cstr(out,
                    "# Commands\n\nGenerated from `deploy/ctl/commands.c` by the build target "
                    "`reference-pages`; a test fails when it is stale.\n\n"
                    "`mayflyctl [--config FILE] [--json] COMMAND` reads the queue and the ledger "
                    "directly, so it works when no daemon does. Without `--config` it reads the "
                    "text in `MAYFLY_CONFIG`. Exit status: 0, 1 when the command failed, 2 for bad "
                    "usage.\n\n| Command | What it does |\n|---|---|\n");
    for (size_t i = 0; i < ctl_command_count; i++) {
        buf_append_cstr(out, "| `");
        for (const char *c = ctl_commands[i].usage; *c != '\0'; c++) {
            buf_append_cstr(out, *c == '|' ? "\\|" : (char[]){*c, '\0'});
        }
        buf_printf(out, "` | %s |\n", ctl_commands[i].help);
    }
    buf_append_cstr(
        out, "\n`mayfly-ingress`, `mayfly-worker` and `mayfly-reaper` have no commands, and "
             "these options: `--config FILE`; `--check-config` (checks the configuration and "
             "ends), with `--online` also what it names (stores, GitHub, the provider) and "
             "with `--json` one JSON object a line; `--version`; `--help`.\n");
}
