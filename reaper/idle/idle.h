/*
 * What the task of idle VMs remembers from sweep to sweep. The sweep thread's alone. Nothing depends on it
 * but the number of requests and of calls: a reaper that begins without it does no harm.
 */
#ifndef MAYFLY_REAPER_IDLE_IDLE_H
#define MAYFLY_REAPER_IDLE_IDLE_H

#include <stddef.h>
#include <stdint.h>

#define REAPER_IDLE_POOLS 256
#define REAPER_IDLE_RUNNERS 1024

/* The requests for one pool in the current span of min_idle.replace_after. */
struct reaper_idle_pool {
    uint64_t key;     /* a hash of class and scope; 0: none yet */
    int64_t since_ms; /* monotonic */
    int64_t requested;
};

struct reaper_idle {
    struct reaper_idle_pool pools[REAPER_IDLE_POOLS]; /* beyond that, the oldest are forgotten */
    size_t next_pool;
    uint64_t online[REAPER_IDLE_RUNNERS]; /* hashes of the names of runners that were seen online */
    size_t next_online;
    int64_t
        yielded_ms; /* monotonic: when VMs were last terminated for jobs that waited; 0: never */
};

#endif
