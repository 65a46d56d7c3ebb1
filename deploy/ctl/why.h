/*
 * The parts of `mayflyctl why`.
 *
 * why_target.c reads which job or run is meant, why_facts.c gathers once what queue and ledger know
 * of one job, why_github.c asks GitHub, why_reasons.c decides by an ordered table which one reason
 * holds, why_timeline.c arranges the timeline, and why.c answers. Only why_facts.c and why_github.c
 * make calls; the others work on what those found. Single thread.
 */
#ifndef MAYFLY_DEPLOY_CTL_WHY_H
#define MAYFLY_DEPLOY_CTL_WHY_H

#include "common/fleet/relaunch_wait.h"
#include "common/github/github.h"
#include "common/ledger/pauses.h"
#include "deploy/ctl/circuits.h"
#include "deploy/ctl/ctl.h"

#define WHY_REASON_NAME_SIZE 40
#define WHY_TEXT_LIMIT_BYTES 2000
#define WHY_RUN_JOBS_MAX 100    /* of a run; it says how many there are */
#define WHY_VMS_MAX 2000        /* VMs that hold a slot and are looked at; more are not counted */
#define WHY_REPOSITORIES_MAX 20 /* that GitHub is asked about for a job that nobody here knows */
#define WHY_GITHUB_TIMEOUT_MS 5000
#define WHY_BOOT_MS 60000 /* from a launch to the job, where nothing shows what is usual */

/* --- what was asked about --- */
struct why_target {
    int64_t job; /* 0: only a run is named */
    int64_t run; /* 0: none is named; equal to `job`: one number, which may be either */
    char repository[REPOSITORY_SIZE]; /* of a URL; "" none */
};
/* A job's or run's id, or the URL of its page or of the API. ERR_PERMANENT otherwise. */
MUST_CHECK int why_read_target(const char *given, struct why_target *out, struct err *e);

/* --- GitHub --- */
/* The connection, which is opened when it is first needed. Zero it to begin. */
struct why_github {
    struct config config; /* the deployment's, with a shorter timeout */
    struct github *github;
    char trouble[400]; /* why GitHub cannot be asked; "" not tried, or it can */
};
void why_github_close(struct why_github *g);

enum why_answer {
    WHY_NOT_ASKED,
    WHY_UNANSWERED, /* it could not be asked, or did not answer */
    WHY_NOT_FOUND,
    WHY_FOUND,
};
struct why_github_job {
    enum why_answer answer;
    char trouble[400]; /* WHY_UNANSWERED */
    char repository[REPOSITORY_SIZE];
    struct github_job job;
    struct github_run run; /* id 0: it could not be read */
};
/* Asks for the job in the repository, or if that is "" in those that had jobs of this deployment. */
void why_ask_for_job(struct ctl *c, struct why_github *g, const char *repository, int64_t job_id,
                     struct why_github_job *out);
/* The jobs of a run's last attempt, at most WHY_RUN_JOBS_MAX: *jobs owned, free(). */
MUST_CHECK int why_ask_for_run(struct ctl *c, struct why_github *g, const char *repository,
                               int64_t run_id, int64_t **jobs, size_t *n, struct err *e);
/* Whether the runner group admits the job's repository; true also if that cannot be found out. */
bool why_ask_admission(struct ctl *c, struct why_github *g, const struct ledger_job *job,
                       const struct config_class *class, char group[SCOPE_GROUP_SIZE]);

/* --- facts --- */
struct why_workers {
    size_t count;        /* live ones that launch the class */
    size_t drained;      /* of them: their hosts are drained by an operator */
    size_t of_any_class; /* live ones */
    size_t reapers;
};
/* VMs of the job's scope and class. */
struct why_vms {
    struct ledger_vm
        own;           /* the last one launched for this job, while it has no job; name "" none */
    int64_t starting;  /* reserved or registered */
    int64_t launched;  /* they boot, or wait for GitHub */
    int64_t newest_ms; /* since the last of them was launched */
    int64_t idle;      /* launched, and idle for longer than GitHub takes to give them a job */
    int64_t idle_ms;   /* the one that idles longest */
    int64_t busy_ms;   /* when one last got a job; 0 none of those at work */
    int64_t usual_ms;  /* from a slot to the job, the median of those at work; 0 unknown */
    int64_t of_repository; /* VMs of any class that the repository holds */
};
/* The targets of a class. */
struct why_places {
    size_t count;         /* that get launches (weight > 0) */
    size_t stopped;       /* of them: a circuit is open there */
    size_t full;          /* of the others */
    size_t without_token; /* of the rest */
    int64_t token_in_ms;  /* the first of these has one */
    int64_t used;         /* slots of the full ones, of their max_vms */
    int64_t most;
};
struct why_facts {
    const struct config *config;
    char ctl[CONFIG_CTL_SIZE]; /* how this program is called: "mayflyctl --config FILE" */
    int64_t id;
    int64_t now_ms;
    bool in_ledger;
    struct ledger_job job; /* without a row: what its message says of it */
    bool unsearched;       /* the queue cannot be searched: whether a message waits is not known */
    bool in_queue;
    struct queue_entry entry;         /* the message that counts; its body is not kept */
    struct queue_depth lane;          /* of its class; zeros if it is not known */
    const char *class_name;           /* "" unknown */
    const struct config_class *class; /* NULL: not configured */
    struct ledger_pause pause;
    struct why_workers workers;
    struct ctl_circuit circuit; /* that stops it; subject "": none does */
    struct ledger_caps caps;
    struct ledger_capacity used;
    struct why_places places;
    int64_t demand;
    int64_t supply;
    struct why_vms vms;
    int64_t jobless; /* VMs of its class in a row that ended without a job */
    struct why_github_job github;
    bool is_admitted; /* by `group`, as far as that is known */
    char group[SCOPE_GROUP_SIZE];
    char target
        [TARGET_NAME_SIZE]; /* of the VM that it runs or ran on, or that starts for it; "" none */
    struct ledger_entry *timeline;
    size_t timeline_count;
};
/* github may be shared by several jobs. *out: why_facts_fini. */
MUST_CHECK int why_gather(struct ctl *c, struct why_github *g, const struct why_target *target,
                          struct why_facts *out, struct err *e);
void why_facts_fini(struct why_facts *f);
bool why_is_known(const struct why_facts *f);
/* No VM is on its way for it, as far as queue and ledger say. */
bool why_lacks_vm(const struct why_facts *f);
/* From when it began to wait for a runner until it got one or ended. */
int64_t why_waited_ms(const struct ledger_job *j, int64_t now_ms);

/* --- the reason --- */
/* What a script does with the answer: the exit status. */
enum why_outcome {
    WHY_RUNS_OR_ENDED = 0,
    WHY_WAITS = 3,          /* it goes on by itself */
    WHY_NEEDS_A_PERSON = 4, /* it does not */
    WHY_UNKNOWN = 5,        /* it is not known here, nor at GitHub if that can be asked */
};
struct why_reason {
    const char *name; /* stable */
    enum why_outcome outcome;
    bool (*holds)(const struct why_facts *f);
    void (*say)(const struct why_facts *f, struct buf *out);
};
/* The first that holds; the last of the table always does. */
const struct why_reason *why_find_reason(const struct why_facts *f);
/* In order; NULL past the last. */
const struct why_reason *why_reason_at(size_t i);

/* --- the timeline --- */
/* A new array: lines with the time, what, detail, vm, and for a wait its length. */
json_t *why_timeline(const struct why_facts *f);

#endif
