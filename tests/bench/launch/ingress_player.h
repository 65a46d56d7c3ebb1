/*
 * A process that plays the ingress for benches: it puts launch messages on the queue when it is
 * told to, and notes when each was accepted.
 *
 * It has to be forked before any store is open in the parent: SQLite keeps the locks of a process
 * in its memory, and a child that inherits the note of one that was held at that moment never gets
 * it. So it is started first, opens the queue with its first order, and takes orders by a pipe. A
 * put that fails ends it. One thread owns it.
 */
#ifndef MAYFLY_TESTS_BENCH_LAUNCH_INGRESS_PLAYER_H
#define MAYFLY_TESTS_BENCH_LAUNCH_INGRESS_PLAYER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct ingress_player {
    pid_t pid;
    int orders; /* the pipe's end for writing */
};

/* accepted_us: shared memory for the jobs' times (clock_mono_us), by job; NULL notes none. prepare:
 * called in the new process first; NULL is fine. */
struct ingress_player ingress_player_start(const char *queue_url, const char *class_name,
                                           int64_t *accepted_us, void (*prepare)(void));
/* The jobs first to first + count - 1, at that pace; 0: as fast as the queue takes them. */
void ingress_player_put(const struct ingress_player *p, int64_t first, int64_t count,
                        int64_t per_second);
/* Whether it has ended before its time, which is a failure. */
bool ingress_player_failed(const struct ingress_player *p);
/* Waits until all orders are carried out; returns whether they were. */
bool ingress_player_end(struct ingress_player *p);

#endif
