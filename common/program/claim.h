/*
 * Two processes must not be one host: a copy of a disk, or a second container with the same state_dir,
 * has the host's id, and would see none of the other's VMs alive.
 *
 * A program that starts and finds a heartbeat of its host id and its own name, but of another boot or
 * process namespace, cannot know yet whether that is another process or what it was itself before a
 * restart. So it waits for one time to live of the heartbeat, and is refused only if the other's still
 * advances. The one that runs notices nothing. Of several that wait at once, each that
 * still sees another is refused: the one that waits longest begins.
 */
#ifndef MAYFLY_PROGRAM_CLAIM_H
#define MAYFLY_PROGRAM_CLAIM_H

#include "common/program/presence.h"

/* Returns at once for a process without a host id, or when nothing else has it. *stopped: SIGTERM came
 * meanwhile; start nothing. ERR_CONFLICT: the host id belongs to another process. */
MUST_CHECK int host_claim(struct ledger *l, struct presence *p, bool *stopped, struct err *e);

#endif
