/*
 * What was seen of the delivery log: deliveries that wait for their payload, and which were handled.
 * Bounded; entries that find no room are left to a later reading, which dropped_ms says. One thread.
 */
#ifndef MAYFLY_REAPER_PULL_SEEN_H
#define MAYFLY_REAPER_PULL_SEEN_H

#include "common/github/github.h"

#define SEEN_WAITING_MAX 10000
#define SEEN_HANDLED_MAX 32768

struct seen_waiting {
    struct github_delivery entry;
    uint64_t guid;   /* its hash */
    bool doubtful;   /* it may have been handled by a process that died */
    bool done;       /* it leaves with the next seen_remove_done */
    int tries;       /* that failed */
    int refusals;    /* of these, about this delivery alone */
    int64_t next_ms; /* monotonic: no try before */
};

struct seen_handled {
    uint64_t guid; /* a hash */
    int64_t delivered_ms;
};

struct seen {
    struct seen_waiting *waiting; /* oldest first after seen_sort */
    size_t waiting_count;
    struct seen_handled *handled; /* the oldest are forgotten first */
    size_t handled_count;
    int64_t dropped_ms; /* of the oldest entry that found no room; 0: none */
};

void seen_init(struct seen *s);
void seen_fini(struct seen *s);
/* As after seen_init. */
void seen_clear(struct seen *s);

/* An entry that nobody has accepted; nothing happens if its GUID waits or was handled. */
void seen_add(struct seen *s, const struct github_delivery *d, bool doubtful);
void seen_sort(struct seen *s);
void seen_remove_done(struct seen *s);
/* When the oldest one that waits was delivered; 0: none waits. After seen_sort. */
int64_t seen_oldest_ms(const struct seen *s);

bool seen_is_handled(const struct seen *s, uint64_t guid);
void seen_handle(struct seen *s, uint64_t guid, int64_t delivered_ms);
void seen_forget_before(struct seen *s, int64_t delivered_ms);

#endif
