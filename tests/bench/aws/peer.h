/*
 * A server that costs nothing, in a process of its own on another core: it takes any request and
 * answers RunMicrovm's success at once.
 *
 * It stands for the service where its own time must not count. A thread per connection, keep-alive;
 * it looks at no signature (the tests against the stand-ins do).
 */
#ifndef MAYFLY_TESTS_BENCH_AWS_PEER_H
#define MAYFLY_TESTS_BENCH_AWS_PEER_H

#include <stdint.h>
#include <sys/types.h>

#define PEER_TIMES_MAX 50000

/* Shared with the peer's process. */
struct peer_board {
    int64_t connections; /* opened so far; atomic, as the next */
    int64_t requests;
    int64_t seen_us[PEER_TIMES_MAX + 1]; /* monotonic: when the n-th request, from 1, was there */
};

struct peer {
    struct peer_board *board;
    char url[64];
    pid_t pid;
};

/* For processes that stand for other machines; on one core they share it. */
void peer_leave_core_0(void);

void peer_start(struct peer *p);
void peer_stop(struct peer *p);
int64_t peer_requests(const struct peer *p);
int64_t peer_connections(const struct peer *p);

#endif
