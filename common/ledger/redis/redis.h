/*
 * Shared by the files of the Redis ledger: rows, transactions and the timeline.
 *
 * For common/ledger/redis/ alone. Every step is one script, and so atomic. There are two kinds:
 *   - Steps under contention (reserve, capacity, tokens) are decided inside the script, on the
 *     server's clock. redis/scripts/ repeats the rules of rules.c in Lua, and tests/unit/ledger
 *     compares the two.
 *   - Steps on one job, one VM or one cell (apply_event, advance, lease …) are decided by steps.c
 *     on the rows that this process saw last, and written by a script only if the stored bytes are
 *     the same. Otherwise the script returns the present rows, and the step decides again. A step
 *     is one round trip if this process wrote the rows last, else two, and never acts on a stale
 *     row. Comparing bytes instead of versions works even after a server came back with older data.
 *
 * On a server without memory every script runs but reserve, which is then refused before it has
 * written anything: what the others add is bounded by the rows and messages that exist.
 *
 * Keys, all with the prefix "<root>:l:" and so in one slot:
 *   meta        hash: format, fleet (VMs with a slot), freed (slots released), seq (of lines)
 *   jobs, vms   hash: a row of columns, each ended by NUL (redis/rows.c)
 *   waits_logged        hash by job: causes of waiting that its timeline holds, 1 << outcome
 *   demand, supply        hash by scope NUL class      slots         hash by class
 *   repositories, targets hashes of slots in use       counts        hash: j|v NUL class NUL state
 *   scope_vms, scopes     hash by scope: VM rows, installation
 *   waiting:<n>:<scope>:<class>   sorted set of jobs by start of waiting; n is scope's length
 *   seen, running, ended  sorted sets of jobs by age   gone          sorted set of VMs by age
 *   live, names           sorted sets of VMs by name: with a slot, all
 *   lines:j:<job>, lines:v:<vm>   lists: seq, at, job, vm, text
 *   job_vms:<job>         set: VMs launched for it or that ran it
 *   vm_jobs:<vm>          set: jobs with a line that names the VM
 *   cells:<kind>          hash by name: version | value
 *   buckets, bucket_ages
 *   freed                 channel: a slot was released
 * Job ids are written with 20 digits, so that they sort. A count that is zero has no field.
 */
#ifndef MAYFLY_LEDGER_REDIS_REDIS_H
#define MAYFLY_LEDGER_REDIS_REDIS_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/ledger/ledger_backend.h"
#include "common/ledger/list.h"
#include "common/ledger/messages.h"
#include "common/ledger/txn.h"
#include "common/redis/store.h"

/* --- scripts: generated from redis/scripts/ by CMake --- */
extern const char ledger_redis_lua_commit[];
extern const char ledger_redis_lua_reserve[];
extern const char ledger_redis_lua_capacity[];
extern const char ledger_redis_lua_targets[];
extern const char ledger_redis_lua_take[];
extern const char ledger_redis_lua_pause[];
extern const char ledger_redis_lua_page[];
extern const char ledger_redis_lua_jobs[];

/* --- the handle --- */
#define LEDGER_REDIS_CACHE 1024 /* rows last seen; a power of two */
#define LEDGER_REDIS_CACHE_NAME (sizeof "cells:|" + LEDGER_CELL_KIND + LEDGER_CELL_NAME)

struct ledger_redis_cached {
    char *name; /* hash|field; NULL: empty */
    char *bytes;
    size_t len;
};

struct ledger_redis {
    struct redis_store *store;
    _Atomic int64_t ahead_ms; /* the server's wall clock minus this process's monotonic clock */
    pthread_mutex_t lock;     /* cache */
    struct ledger_redis_cached cache[LEDGER_REDIS_CACHE];
    struct redis_subscription *watch; /* NULL: not watched; set before the thread starts */
    pthread_t watcher;
    atomic_bool watching; /* subscribed */
    void (*on_release)(void *arg);
    void *on_release_arg;
};

/* The server's wall clock: of the last reply, plus the monotonic time since. */
int64_t ledger_redis_now(struct ledger_redis *l);
/* Converts this process's wall clock time to the server's. */
int64_t ledger_redis_server_ms(struct ledger_redis *l, int64_t wall_ms);

/* Starts a script's arguments: a test's clock time, or "". */
void ledger_redis_args(struct redis_args *a);
/* Runs the script. *out: {time, word, …}; owned. `writes`: its writes must be durable. */
MUST_CHECK int ledger_redis_eval(struct ledger_redis *l, const struct redis_script *script,
                                 const struct redis_args *args, bool writes,
                                 struct redis_reply **out, struct err *e);
/* One plain command of up to 8 words; the key is the second, prefixed with the root. *out: owned.
 * */
MUST_CHECK int ledger_redis_call(struct ledger_redis *l, const char *command, const char *key,
                                 const char *const *words, struct redis_reply **out, struct err *e);
void ledger_redis_key(struct ledger_redis *l, struct redis_args *a, const char *key);

/* --- names of keys and fields --- */
struct ledger_redis_name {
    char text[416];
    size_t len;
};
struct slice ledger_redis_slice(const struct ledger_redis_name *n);
struct ledger_redis_name ledger_redis_id(int64_t job_id);
PRINTF(1, 2) struct ledger_redis_name ledger_redis_named(const char *fmt, ...);
struct ledger_redis_name ledger_redis_pair(const char *a, const char *b); /* a NUL b */
struct ledger_redis_name ledger_redis_waiting_key(const char *scope, const char *class_name);

/* --- rows --- */
#define LEDGER_REDIS_ROW_MAX 4096
struct ledger_redis_row {
    char bytes[LEDGER_REDIS_ROW_MAX];
    size_t len; /* 0: no row */
};
/* Columns of a newer version, which follow this version's and are written back unchanged. */
#define LEDGER_REDIS_MORE_MAX 2048
struct ledger_redis_more {
    char bytes[LEDGER_REDIS_MORE_MAX];
    size_t len;
};
void ledger_redis_pack_job(const struct ledger_job *job, const struct ledger_redis_more *more,
                           struct ledger_redis_row *out);
void ledger_redis_pack_vm(const struct ledger_vm *vm, const struct ledger_redis_more *more,
                          struct ledger_redis_row *out);
/* ERR_PERMANENT if the row is malformed, or too long for *more. more: may be NULL. */
MUST_CHECK int ledger_redis_unpack_job(struct slice row, struct ledger_job *out,
                                       struct ledger_redis_more *more, struct err *e);
MUST_CHECK int ledger_redis_unpack_vm(struct slice row, struct ledger_vm *out,
                                      struct ledger_redis_more *more, struct err *e);

/* --- writes: a list of changes for a script --- */
struct ledger_redis_writes {
    struct redis_args args;
    int64_t count;
    struct ledger_redis_more job_more; /* of the rows that were loaded for them */
    struct ledger_redis_more vm_more;
};
void ledger_redis_writes_init(struct ledger_redis_writes *w);
void ledger_redis_writes_fini(struct ledger_redis_writes *w);
void ledger_redis_write(struct ledger_redis_writes *w, const char *what, struct slice key,
                        const struct slice *rest, size_t n);
#define LEDGER_REDIS_WRITE(w, what, key, ...)                                                      \
    ledger_redis_write((w), (what), (key), (const struct slice[]){__VA_ARGS__},                    \
                       COUNT_OF(((const struct slice[]){__VA_ARGS__})))
/* A row with its counts and indexes. before NULL: it is new; after NULL: it is removed. */
void ledger_redis_write_job(struct ledger_redis_writes *w, const struct ledger_job *before,
                            const struct ledger_job *after);
void ledger_redis_write_vm(struct ledger_redis_writes *w, const struct ledger_vm *before,
                           const struct ledger_vm *after);
/* A line about the job, the VM (then job_id is 0), or both; nothing if line->what is NULL. */
void ledger_redis_write_line(struct ledger_redis_writes *w, int64_t job_id, const char *vm,
                             const struct ledger_line *line);
/* Each cause of waiting may be added to the timeline once more. */
void ledger_redis_write_new_waits(struct ledger_redis_writes *w, int64_t job_id);

/* --- transactions --- */
#define LEDGER_REDIS_GUARDS 64
#define LEDGER_REDIS_LOADS 4 /* rows that one step loads */
struct ledger_redis_txn {
    struct ledger_redis *l;
    struct redis_args guards;
    size_t guard_count;
    /* The guarded rows' names in the cache; "": not cached. */
    char names[LEDGER_REDIS_GUARDS][LEDGER_REDIS_CACHE_NAME];
    /* Rows that the store returned to this step; unlike in the cache, they are not evicted. */
    struct ledger_redis_cached fresh[LEDGER_REDIS_LOADS];
    struct ledger_redis_writes writes;
    int rounds;
};
void ledger_redis_begin(struct ledger_redis_txn *t, struct ledger_redis *l);
void ledger_redis_end(struct ledger_redis_txn *t);
/* Clears guards and writes for another round. ERR_RETRY after too many rounds. */
MUST_CHECK int ledger_redis_again(struct ledger_redis_txn *t, struct err *e);
/* The row must still have these bytes; empty: it must not exist. */
void ledger_redis_guard(struct ledger_redis_txn *t, const char *hash, struct slice field,
                        struct slice bytes);
/* The server's clock must be near the time that the step used: a process that was suspended has a
 * wrong estimate of it until the next reply. */
void ledger_redis_guard_clock(struct ledger_redis_txn *t, int64_t now_ms);
/* Loads the row as this process saw it last, and guards it. Returns whether there is one. */
bool ledger_redis_load(struct ledger_redis_txn *t, const char *hash, struct slice field,
                       struct ledger_redis_row *out);
MUST_CHECK int ledger_redis_load_job(struct ledger_redis_txn *t, int64_t id, struct ledger_job *out,
                                     bool *known, struct err *e);
MUST_CHECK int ledger_redis_load_vm(struct ledger_redis_txn *t, const char *name,
                                    struct ledger_vm *out, bool *known, struct err *e);
/* Writes if all guards hold. *done false: they do not, and the next load returns the present rows.
 * */
MUST_CHECK int ledger_redis_commit(struct ledger_redis_txn *t, bool *done, struct err *e);
/* Appends the guards and their count, or the list of writes, to a script's arguments. */
void ledger_redis_put_guards(const struct ledger_redis_txn *t, struct redis_args *a);
void ledger_redis_put_writes(const struct ledger_redis_writes *w, struct redis_args *a);
/* Reads the reply of a script with guards. Returns whether they held. */
bool ledger_redis_held(struct ledger_redis_txn *t, const struct redis_reply *r);

/* --- the cache of rows --- */
/* Caches a row that was just written. */
void ledger_redis_saw_job(struct ledger_redis *l, const struct ledger_job *job,
                          const struct ledger_redis_more *more);
void ledger_redis_saw_vm(struct ledger_redis *l, const struct ledger_vm *vm,
                         const struct ledger_redis_more *more);
void ledger_redis_saw(struct ledger_redis *l, const char *hash, struct slice field,
                      struct slice bytes);
bool ledger_redis_recall(struct ledger_redis *l, const char *name, struct ledger_redis_row *out);
void ledger_redis_forget_all(struct ledger_redis *l);

extern const struct ledger_txn_ops ledger_redis_txn_ops;

/* --- the calls, by topic --- */
ledger_job_get_fn ledger_redis_job_get;
ledger_job_page_fn ledger_redis_job_page;
ledger_reserve_fn ledger_redis_reserve;
ledger_capacity_fn ledger_redis_capacity;
ledger_targets_read_fn ledger_redis_targets_read;
ledger_release_seq_fn ledger_redis_release_seq;
ledger_balances_fn ledger_redis_balances;
ledger_scopes_fn ledger_redis_scopes;
ledger_vm_get_fn ledger_redis_vm_get;
ledger_vm_list_fn ledger_redis_vm_list;
ledger_vms_gone_fn ledger_redis_vms_gone;
ledger_timeline_fn ledger_redis_timeline;
ledger_rate_take_fn ledger_redis_rate_take;
ledger_rate_pause_fn ledger_redis_rate_pause;
ledger_cells_fn ledger_redis_cells;
ledger_counts_fn ledger_redis_counts;
ledger_tidy_fn ledger_redis_tidy;

/* --- pages of an index with the rows --- */
struct ledger_redis_range {
    const char *index;   /* a key */
    const char *hash;    /* the rows' */
    const char *command; /* ZRANGEBYLEX or ZRANGEBYSCORE */
    const char *from;
    const char *to;
    size_t skip;
    size_t max;
};
/* *out: owned; ledger_redis_page_at reads it. */
MUST_CHECK int ledger_redis_page(struct ledger_redis *l, const struct ledger_redis_range *r,
                                 struct redis_reply **out, struct err *e);
size_t ledger_redis_page_count(const struct redis_reply *page);
void ledger_redis_page_at(const struct redis_reply *page, size_t i, struct slice *name,
                          struct slice *row);

#endif
