/*
 * Returns deliveries from the commit threads to an event loop.
 *
 * Each loop owns one mailbox. Any thread posts a list of finished deliveries; a descriptor becomes
 * readable, and the loop takes all deliveries at once. One wake-up serves any number of posts that
 * come before the loop has read them.
 */
#ifndef MAYFLY_INGRESS_MAILBOX_H
#define MAYFLY_INGRESS_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct delivery;

struct mailbox {
    pthread_mutex_t lock;
    struct delivery *first; /* guarded by lock, as the rest */
    struct delivery **last;
    bool signalled; /* the descriptor is readable already */
    int fd;
};

MUST_CHECK int mailbox_init(struct mailbox *m, struct err *e);
void mailbox_fini(struct mailbox *m);

/* The descriptor that the loop polls for reading. */
int mailbox_fd(const struct mailbox *m);

/* Posts a list linked by `next`, and wakes the loop. Any thread. */
void mailbox_post(struct mailbox *m, struct delivery *list);

/* Wakes the loop without a delivery. Any thread. */
void mailbox_wake(struct mailbox *m);

/* All deliveries since the last call, oldest first; NULL if there is none. The loop's thread
 * only. */
struct delivery *mailbox_take(struct mailbox *m);

#endif
