/*
 * A deployment in memory for tests of `mayflyctl why`: queue, ledger, a scripted GitHub and a
 * configuration with the classes small (at most 2 VMs), old (retired), far (at target west, at most 1
 * VM) and drained (at target east, of weight 0), at most 3 VMs and 2 of a repository. Job 7 is the one that is asked about.
 */
#ifndef MAYFLY_TEST_WHY_BED_H
#define MAYFLY_TEST_WHY_BED_H

#include "deploy/ctl/why.h"

#define WHY_BED_URL "https://github.com/acme/app/actions/runs/7/job/7"
#define WHY_BED_WAITED_MS 300000LL /* since each job's delivery was received */
#define WHY_BED_OPEN_MS 180000LL   /* since each circuit opened */

extern struct config *why_bed_config;
extern struct ctl why_bed_ctl;
extern char why_bed_url[48];    /* of queue and ledger */
extern char why_bed_given[200]; /* what is asked about; the job's id at first */

int why_bed_set_up(void **state);
int why_bed_tear_down(void **state);

/* A delivery of that job of acme/app. */
struct job_event why_bed_event(int64_t id, enum job_action action, const char *class_name);
void why_bed_apply(const struct job_event *ev);
/* The job is in the ledger, and waits. */
void why_bed_queued(int64_t id, const char *class_name);
/* Job 7 has ended; no event said that it started. */
void why_bed_ended(const char *conclusion, const char *runner);
/* Its launch request is in its lane. */
void why_bed_put(int64_t id, const char *class_name);
/* A worker lives on host-1 and launches these classes. */
void why_bed_worker(const char *classes);
/* Job 7 of that class waits for its turn, and a worker of these classes lives. */
void why_bed_in_lane(const char *class_name, const char *workers);
void why_bed_receive(const char *lane, struct queue_message *m);
/* Receives the next message of that lane, whose eighth attempt has failed. */
void why_bed_dead_letter(const char *lane, const char *reason);
/* The next message of class small comes back in 90 seconds. */
void why_bed_returned(const char *reason, bool spent);
/* A VM launched for that job, in that state; the row. */
struct ledger_vm *why_bed_vm(int64_t id, const char *class_name, enum ledger_vm_state state);
void why_bed_circuit(const char *subject, const char *why);
/* GitHub knows the job, and its URL is asked about. */
struct github_job *why_bed_at_github(const char *status, const char *labels);

#endif
