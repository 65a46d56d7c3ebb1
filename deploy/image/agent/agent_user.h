/*
 * The user that the runner runs as, read from /etc/passwd and /etc/group.
 *
 * The agent is linked statically, and the C library's own look-ups would load shared libraries; an
 * image has only these two files in any case. Pure functions over the files' text, safe from any
 * thread.
 */
#ifndef MAYFLY_AGENT_USER_H
#define MAYFLY_AGENT_USER_H

#include <stddef.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define AGENT_GROUPS_MAX 32

struct agent_user {
    char name[33];
    char home[256];
    uid_t uid;
    gid_t gid;
    gid_t groups[AGENT_GROUPS_MAX]; /* the primary one first */
    size_t group_count;
};

/* passwd, group: the files' texts. ERR_NOT_FOUND for an unknown name. */
MUST_CHECK int agent_user_find(struct slice passwd, struct slice group, const char *name,
                               struct agent_user *out, struct err *e);

/* The same from the files of this VM. */
MUST_CHECK int agent_user_load(const char *name, struct agent_user *out, struct err *e);

#endif
