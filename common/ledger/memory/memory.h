/*
 * What the files of the ledger in memory share: one store of lists under one lock.
 *
 * For common/ledger/memory alone. memory://NAME is a ledger for tests: all handles of a name in one
 * process share it, and it stays until the process ends. Small and slow: nothing is kept that can
 * be derived, and every list is walked. Functions that take a store or a list are called under the
 * store's lock.
 */
#ifndef MAYFLY_LEDGER_MEMORY_H
#define MAYFLY_LEDGER_MEMORY_H

#include <pthread.h>

#include "common/ledger/ledger_backend.h"
#include "common/ledger/ledger_list.h"

struct ledger_memory_job {
    struct ledger_job job; /* first */
    int64_t told;          /* 1 << outcome: causes of waiting that stand in the timeline already */
};

struct ledger_memory_bucket {
    char name[128]; /* first */
    struct ledger_bucket_row row;
};

struct ledger_memory {
    struct ledger_memory *next;
    char *name;
    pthread_mutex_t lock;    /* what follows */
    struct ledger_list jobs; /* of struct ledger_memory_job; all lists are in the order of adding */
    struct ledger_list vms;
    struct ledger_list entries; /* the timelines */
    struct ledger_list cells;
    struct ledger_list buckets;
    int64_t freed;
};

/* The store of a handle, locked. */
struct ledger_memory *ledger_memory_lock(void *state);
void ledger_memory_unlock(struct ledger_memory *m);

/* --- lists --- */
typedef bool ledger_memory_fits_fn(struct ledger_memory *m, const void *item, const void *arg);

void *ledger_memory_at(const struct ledger_list *l, size_t i);
/* The item that begins with that text and has the other text at that offset (NULL: any); NULL if
 * there is none. Valid until the next is added. */
void *ledger_memory_find(const struct ledger_list *l, const char *text, const char *other,
                         size_t offset);
/* The same, added if there is none. */
void *ledger_memory_need(struct ledger_list *l, const char *text, const char *other, size_t offset);
/* Copies the items that fit, or the first item_size bytes of each. order NULL: that of adding. */
struct ledger_memory_pick {
    size_t list; /* offsetof(struct ledger_memory, …) */
    ledger_memory_fits_fn *fits;
    const void *arg;
    size_t item_size;
    int (*order)(const void *a, const void *b);
    size_t max;
};
/* out: where the pointer to them goes; owned, free(). Returns 0. */
int ledger_memory_pick(void *state, const struct ledger_memory_pick *p, void *out, size_t *n);
/* Removes at most max items that fit; how many. */
size_t ledger_memory_remove(struct ledger_memory *m, struct ledger_list *l,
                            ledger_memory_fits_fn *fits, const void *arg, size_t max);
/* For lists whose items begin with a text. */
int ledger_memory_by_text(const void *a, const void *b);

/* --- rows --- */
struct ledger_memory_job *ledger_memory_job(struct ledger_memory *m, int64_t id);
/* Adds a line about the job, the VM (then job_id is 0), or both; nothing if line->what is NULL. */
void ledger_memory_add_line(struct ledger_memory *m, int64_t job_id, const char *vm,
                            const struct ledger_line *line);

extern const struct ledger_txn_ops ledger_memory_txn_ops;

/* --- the calls, by topic --- */
ledger_reserve_fn ledger_memory_reserve;
ledger_room_fn ledger_memory_room;
ledger_rate_take_fn ledger_memory_rate_take;
ledger_rate_pause_fn ledger_memory_rate_pause;
ledger_job_get_fn ledger_memory_job_get;
ledger_jobs_waiting_fn ledger_memory_jobs_waiting;
ledger_vm_get_fn ledger_memory_vm_get;
ledger_vm_list_fn ledger_memory_vm_list;
ledger_timeline_fn ledger_memory_timeline;
ledger_cells_fn ledger_memory_cells;
ledger_balances_fn ledger_memory_balances;
ledger_scopes_fn ledger_memory_scopes;
ledger_counts_fn ledger_memory_counts;
ledger_tidy_fn ledger_memory_tidy;

#endif
