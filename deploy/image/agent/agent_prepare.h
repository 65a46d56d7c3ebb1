/*
 * A program of the image that is started with the runner: as root, in the background, with the
 * image's environment and the payload's proxies. Docker's start in a Lambda MicroVM, Docker's
 * proxies in a QEMU VM. One thread.
 */
#ifndef MAYFLY_AGENT_PREPARE_H
#define MAYFLY_AGENT_PREPARE_H

#include <sys/types.h>

#include "common/payload/payload.h"

struct agent_prepare {
    const char *path; /* NULL: the image has none */
    pid_t pid;        /* also its session; 0: not started */
};

/* A failure is logged: the job may not need what it prepares. */
void agent_prepare_start(struct agent_prepare *p, const struct payload *payload);
/* Kills what is left of its session. */
void agent_prepare_stop(struct agent_prepare *p);

#endif
