/* What mayflyctl's commands work on in a test: a configuration, and its stores in memory. */
#ifndef MAYFLY_TESTS_UNIT_CTL_CTL_BED_H
#define MAYFLY_TESTS_UNIT_CTL_CTL_BED_H

#include "deploy/ctl/ctl.h"

extern struct config *config;
extern struct ctl ctl;

/* text: a configuration. ledger_url NULL: a new one in memory, as the queue always is. */
void ctl_bed_open(const char *text, const char *ledger_url);
/* Applies an event of that job of acme/app to the ledger. */
void ctl_bed_apply(int64_t id, enum job_action action, const char *class_name, const char *runner);
/* A teardown of cmocka's. */
int ctl_bed_close(void **state);

#endif
