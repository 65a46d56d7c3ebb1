/*
 * mayflyctl: what an operator asks of a running deployment, and what the commands share.
 *
 * Each command builds one JSON value, which is printed as it is with --json, and otherwise by the
 * command's own text form of the same value: the two cannot differ. It reads the
 * queue and the ledger directly, so it works when no daemon does. Single thread.
 */
#ifndef MAYFLY_DEPLOY_CTL_CTL_H
#define MAYFLY_DEPLOY_CTL_CTL_H

#include <jansson.h>

#include "common/base/err.h"
#include "common/config/config.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"

/* Exit codes. A command's own are from 3. */
#define CTL_EXIT_FAILED 1
#define CTL_EXIT_USAGE 2 /* nothing was done */

struct ctl_given { /* an option of the command line */
    const char *name;
    const char *value; /* "": none */
};

struct ctl {
    const struct config *config;
    struct queue *queue;   /* NULL unless the command's row needs it */
    struct ledger *ledger; /* the same */
    const struct ctl_given *given;
    int given_count;
    int argc; /* words after the command's own */
    char **argv;
    const char *config_path; /* --config; NULL: not given */
    bool json;               /* --json */
    bool serves;             /* the console: nothing is printed, and GitHub is not asked */
    int exit_code;           /* set by a command that has an exit code of its own; in a failure 0 is
                      CTL_EXIT_FAILED */
};

/* Builds the answer (*out, a new reference). */
typedef int ctl_build_fn(struct ctl *c, json_t **out, struct err *e);
/* Writes it for people, to stdout, with printable_line. */
typedef void ctl_print_fn(const json_t *answer);
/* Does all of it, and prints what it finds, also with --json. */
typedef int ctl_run_fn(struct ctl *c, struct err *e);

/* The value of an option; "" for one without, NULL if it was not given. */
const char *ctl_option(const struct ctl *c, const char *name);
/* The same of one that is a number, or a duration; `otherwise` if it was not given. A failure sets
 * the exit code to CTL_EXIT_USAGE. */
MUST_CHECK int ctl_option_number(struct ctl *c, const char *name, int64_t least, int64_t most,
                                 int64_t otherwise, int64_t *out, struct err *e);
MUST_CHECK int ctl_option_duration(struct ctl *c, const char *name, int64_t least_ms,
                                   int64_t most_ms, int64_t otherwise_ms, int64_t *out_ms,
                                   struct err *e);

ctl_run_fn ctl_status_run;
ctl_build_fn ctl_status;
ctl_print_fn ctl_status_print;
ctl_run_fn ctl_check;
ctl_build_fn ctl_app_create;
ctl_print_fn ctl_app_create_print;
ctl_run_fn ctl_app_check;
ctl_build_fn ctl_app_hook;
ctl_build_fn ctl_app_import_key;
ctl_print_fn ctl_app_import_key_print;
ctl_run_fn ctl_completion;
ctl_run_fn ctl_console;
ctl_run_fn ctl_shell;
ctl_build_fn ctl_why;
ctl_print_fn ctl_why_print;
ctl_build_fn ctl_vms;
ctl_print_fn ctl_vms_print;
ctl_build_fn ctl_vm_terminate;
ctl_build_fn ctl_targets;
ctl_print_fn ctl_targets_print;
ctl_build_fn ctl_hosts;
ctl_print_fn ctl_hosts_print;
ctl_build_fn ctl_workers;
ctl_print_fn ctl_workers_print;
ctl_build_fn ctl_jobs;
ctl_print_fn ctl_jobs_print;
ctl_build_fn ctl_classes;
ctl_print_fn ctl_classes_print;
ctl_build_fn ctl_image_list;
ctl_print_fn ctl_image_list_print;
ctl_build_fn ctl_image_promote;
ctl_build_fn ctl_image_reject;
ctl_build_fn ctl_cost;
ctl_print_fn ctl_cost_print;
ctl_build_fn ctl_circuits_list;
ctl_print_fn ctl_circuits_list_print;
ctl_build_fn ctl_circuit_close;
ctl_build_fn ctl_class_retire;
ctl_build_fn ctl_pause;
ctl_build_fn ctl_resume;
ctl_build_fn ctl_host_drain;
ctl_build_fn ctl_host_undrain;
ctl_build_fn ctl_host_forget;
ctl_build_fn ctl_dlq_list;
ctl_print_fn ctl_dlq_list_print;
ctl_build_fn ctl_dlq_show;
ctl_build_fn ctl_dlq_redrive;
ctl_build_fn ctl_dlq_delete;
ctl_build_fn ctl_recover;
ctl_build_fn ctl_upgrade_finish;
ctl_build_fn ctl_backup;
ctl_print_fn ctl_backup_print;
ctl_print_fn ctl_done_print;
/* The value itself: with --json, and where that is the best text. Valid JSON that can be shown on a
 * terminal. */
ctl_print_fn ctl_json_print;

/* The job's id out of what a person gave: the id, or the URL of the job's page
 * (…/actions/runs/RUN/job/ID, with or without a query or a fragment). ERR_PERMANENT otherwise. */
MUST_CHECK int ctl_read_job(const char *given, int64_t *out_id, struct err *e);

/* "user@host": who runs this command; behind sudo, who called it. */
void ctl_operator(char *out, size_t size);

/* Returns -1, with an error that names the classes of the configuration. */
int ctl_refuse_class(const struct ctl *c, const char *class_name, struct err *e);

/* What `classes` and `image list` say of the image of a place; a new reference. */
struct ledger_image;
json_t *ctl_image_describe(const struct ledger_image *i);
void ctl_image_print(const json_t *image);

/* A new reference. What is no UTF-8 is replaced. */
json_t *ctl_text(const char *s);
/* "2026-11-20T18:12:03.456Z", or null for 0. */
json_t *ctl_time(int64_t wall_ms);
/* "1.2s", "3m05s", "2h10m"; out holds 24 bytes. */
const char *ctl_duration(int64_t ms, char out[24]);

/* Members of an object, for the text forms; "" and 0 when absent. */
const char *ctl_str(const json_t *o, const char *key);
int64_t ctl_int(const json_t *o, const char *key);

#endif
