/*
 * Connects the configuration with AWS: values that are stored in AWS, and the section `aws`.
 *
 * config_aws_use lets config_load fetch such values (one call each; some seconds at most while AWS
 * is unreachable); without it they stay unfetched. config_aws_apply applies the section to all
 * calls of the process. Call both from the main thread before other threads start. Failures are
 * among config_load's complaints.
 */
#ifndef MAYFLY_CONFIG_AWS_H
#define MAYFLY_CONFIG_AWS_H

#include "common/config/config.h"

void config_aws_use(void);
void config_aws_apply(const struct config_aws *aws);

#endif
