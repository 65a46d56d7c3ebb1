/*
 * The names of scopes: where a runner registers, and whose jobs it may get.
 *
 * "acme": an organization, with the runner group of each class. "acme#quiet": an organization, with
 * a group that the configuration maps repositories to. "acme/site": a repository.
 * "enterprises/acme": an enterprise; no owner has that name, since it is a page of GitHub's.
 * "acme#set:blue": the scale set blue of an organization (or a repository), whose jobs GitHub gives to no other runners. Demand and supply
 * are counted by this name, so that a VM in one group is no supply for the jobs of another. No name
 * of GitHub's owners and repositories contains a #. Pure functions, any thread.
 */
#ifndef MAYFLY_JOB_SCOPE_H
#define MAYFLY_JOB_SCOPE_H

#include "common/base/slice.h"
#include "common/job/job.h"

#define SCOPE_ENTERPRISES "enterprises/" /* begins the name of an enterprise */
#define SCOPE_SET "set:"                 /* begins the group of a scale set; its name follows */
#define SCOPE_GROUP_SIZE 104             /* of a mapped group's name */

/* `place`: an organization or owner/name; `group` "": none. The name is cut at its size. */
void scope_name_make(const char *place, const char *group, char out[SCOPE_SIZE]);
/* Both point into the name; the group is empty if it has none. */
struct slice scope_place(const char *scope);
struct slice scope_group(const char *scope);
/* The name of the scale set, a part of `group`; NULL: it is a group. */
const char *scope_set(const char *group);

#endif
