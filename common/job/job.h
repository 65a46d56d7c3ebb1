/*
 * The facts of one GitHub workflow job, and the sizes of names.
 *
 * A plain value of bounded, terminated strings, embedded in a job event, a launch request, and the
 * ledger's row of a job. The sizes include the terminator and follow GitHub's limits: owner 39,
 * repository 100, runner name 64 characters. "" and 0 mean unknown.
 */
#ifndef MAYFLY_JOB_JOB_H
#define MAYFLY_JOB_JOB_H

#include <stdint.h>

#define REPOSITORY_SIZE 144 /* owner/name */
#define ORGANIZATION_SIZE 40
#define SCOPE_SIZE REPOSITORY_SIZE /* an organization, or owner/name */
#define CLASS_NAME_SIZE 40
#define TARGET_NAME_SIZE 40 /* one account and region of a provider */
#define CONCLUSION_SIZE 24
#define JOB_STATUS_SIZE 16
#define JOB_NAME_SIZE 104
#define WORKFLOW_SIZE 104
#define JOB_LABELS_SIZE 1024
#define RUNNER_NAME_SIZE 80 /* any runner, not only Mayfly's */
#define VM_NAME_SIZE 68     /* a VM and its runner: at most 64 characters */
#define DELIVERY_ID_SIZE 64 /* X-GitHub-Delivery */

struct job {
    int64_t id;
    int64_t run_id;
    int64_t run_attempt;
    int64_t installation_id;
    int64_t created_ms; /* GitHub's created_at, wall clock */
    char repository[REPOSITORY_SIZE];
    char organization[ORGANIZATION_SIZE]; /* "" for a user's repository */
    char class_name[CLASS_NAME_SIZE];     /* routed by the ingress; "" for none */
    char name[JOB_NAME_SIZE];             /* cut */
    char workflow[WORKFLOW_SIZE];         /* the name of its workflow, or its path; cut */
    char labels[JOB_LABELS_SIZE];         /* as job_labels_join makes them */
    char conclusion[CONCLUSION_SIZE];
    char runner_name[RUNNER_NAME_SIZE]; /* the runner that GitHub assigned; "" none yet */
};

#endif
