/*
 * The launcher, seen by the process that forked it (worker/launcher/): it starts programs that take a
 * user id of their own, which this process may not do itself.
 *
 * One per process. vm_launcher_use is called once, before there are threads; the rest is safe from
 * any thread. Messages are records of a fixed size on a SOCK_SEQPACKET pair: first a
 * vm_launcher_ids, to which an int responds (0 or an errno), then any number of
 * vm_launcher_request, each with one descriptor, to which nothing responds: what is started writes
 * to that descriptor, and so does the launcher when it cannot start it ("ERR <text>\n").
 */
#ifndef MAYFLY_VM_LAUNCHER_H
#define MAYFLY_VM_LAUNCHER_H

#include <limits.h>
#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/id_range.h"

struct vm_launcher_ids {
    struct id_range range; /* of users and of groups */
};

struct vm_launcher_request {
    char dir[PATH_MAX]; /* of the VM */
};

/* The VMs of this process run as users of their own from now on. fd stays open until the process
 * ends. */
void vm_launcher_use(int fd);
/* Whether they do. */
bool vm_launcher_present(void);

/* Has the supervisor of the VM in `dir` started; `output` becomes its standard output. ERR_RETRY when
 * the launcher is gone. */
MUST_CHECK int vm_launcher_start(const char *dir, int output, struct err *e);

#endif
