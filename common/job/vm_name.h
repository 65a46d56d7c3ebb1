/*
 * The names of VMs, which are the names of their runners too, made and read in one place.
 *
 *   mf-<4 hex of deployment><4 hex of class>-<deployment>-<class, cut>-<12 hex, random>
 *
 * At most 64 characters of [a-z0-9-], GitHub's limit for a runner's name. Several deployments may
 * register runners in one organization: the digits of a hash of the deployment tell `prod` with a
 * class `eu-small` from `prod-eu` with a class `small`. The digits of the class tell classes apart
 * whose names are cut alike, those too that are configured no more. Pure functions but for the
 * random digits; any thread.
 */
#ifndef MAYFLY_JOB_VM_NAME_H
#define MAYFLY_JOB_VM_NAME_H

#include <stdbool.h>

#include "common/job/job.h"

#define DEPLOYMENT_NAME_MAX 20 /* never cut */

/* A name that no VM has had. `deployment`: 1 to DEPLOYMENT_NAME_MAX of [a-z0-9-]. */
void vm_name_make(const char *deployment, const char *class_name, char out[VM_NAME_SIZE]);

/* Whether a VM or a runner of that name is owned by the deployment. */
bool vm_name_is_owned(const char *name, const char *deployment);

#endif
