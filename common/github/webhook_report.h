/*
 * What is said of a verified delivery that is not queued: the log line, and the count of jobs that no
 * class accepts. Any thread. webhook.h says what the reasons are.
 */
#ifndef MAYFLY_GITHUB_WEBHOOK_REPORT_H
#define MAYFLY_GITHUB_WEBHOOK_REPORT_H

#include "common/config/config.h"
#include "common/job/event.h"

/* Registers the counter, so that its series begin at 0. */
void webhook_report_open(void);

/* A job that waits for a runner, and not for one of this deployment's. */
void webhook_report_ignored(const struct config *c, const struct job_event *ev, const char *reason);
/* A job of a class, which the configuration refuses to run. */
void webhook_report_refused(const struct job_event *ev, const char *reason);

#endif
