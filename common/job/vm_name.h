/*
 * The names of VMs, which are also the names of their runners; and of the places where they run.
 *
 *   mf-<4 hex of deployment><4 hex of class>-<deployment>-<class, cut>-<12 hex, random>
 *
 * At most 64 characters of [a-z0-9-], GitHub's limit for a runner's name. Several deployments may
 * register runners in one organization: the hash digits of the deployment distinguish `prod` with a
 * class `eu-small` from `prod-eu` with a class `small`. The hash digits of the class distinguish
 * classes whose cut names are equal, also classes that are no longer configured. Pure functions,
 * except for the random digits; any thread.
 */
#ifndef MAYFLY_JOB_VM_NAME_H
#define MAYFLY_JOB_VM_NAME_H

#include <stdbool.h>

#include "common/job/job.h"

#define DEPLOYMENT_NAME_MAX 20 /* never cut */

/* Where a class's VMs run: "CLASS@TARGET", or the class's name if target is "". */
#define PLACE_NAME_SIZE (CLASS_NAME_SIZE + TARGET_NAME_SIZE)
void place_name_make(const char *class_name, const char *target, char out[PLACE_NAME_SIZE]);

/* A new unique name. `deployment`: 1 to DEPLOYMENT_NAME_MAX characters of [a-z0-9-]. */
void vm_name_make(const char *deployment, const char *class_name, char out[VM_NAME_SIZE]);

/* Whether the VM or runner of that name belongs to the deployment. */
bool vm_name_is_owned(const char *name, const char *deployment);

/* Whether the name was made for a class of that name, of any deployment. */
bool vm_name_is_of_class(const char *name, const char *class_name);

#endif
