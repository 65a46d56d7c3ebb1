/*
 * The configuration's way to AWS: the values that AWS keeps, and the section `aws`.
 *
 * config_aws_use lets config_load fetch values from AWS (one call each, some seconds at most while
 * AWS does not answer), when there are any; without it they stay unfetched. config_aws_apply makes
 * the section hold for all calls of the process. Both are for main threads at their start, before
 * other threads. Failures are config_load's complaints.
 */
#ifndef MAYFLY_CONFIG_AWS_H
#define MAYFLY_CONFIG_AWS_H

#include "common/config/config.h"

void config_aws_use(void);
void config_aws_apply(const struct config_aws *aws);

#endif
