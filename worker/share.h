/*
 * Which class the next free launch thread serves: the fair-share rule of the launch pool. Pure.
 *
 * A worker has a fixed number of launch threads for all its classes. Each class that is neither
 * polled nor launching gets a thread first, so that a class with work always has one, however long
 * another's launches last. Threads beyond that go to the class that holds the fewest. A class may
 * hold more than its share, which is threads / classes, only as long as enough threads stay free
 * for every other class with work to reach its own share.
 */
#ifndef MAYFLY_WORKER_SHARE_H
#define MAYFLY_WORKER_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct share_class {
    size_t launching; /* threads that launch for it */
    bool polled;      /* one thread polls its lane; never two */
    bool has_work;    /* the last poll found a message that could be launched */
    uint64_t picked;  /* grows with every pick of any class: the least recent goes first */
    bool retired;     /* nothing is launched for it: its lane is not polled */
};

/* threads: the size of the pool, at least as many as the classes that are not retired; idle: threads
 * without a class, including the caller. Returns an index, or -1: none may be polled now. */
int share_pick(const struct share_class *classes, size_t count, size_t threads, size_t idle);

#endif
