/* The launcher's own side. */
#ifndef MAYFLY_WORKER_LAUNCHER_SERVE_H
#define MAYFLY_WORKER_LAUNCHER_SERVE_H

#include <linux/capability.h>

#include "common/base/attr.h"

#define LAUNCHER_CAPABILITIES ((1U << CAP_SETUID) | (1U << CAP_SETGID))

/* Serves the worker at the other end of fd until that closes it; ends the process. */
NORETURN void launcher_serve(int fd);

#endif
