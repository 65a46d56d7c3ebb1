#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/ledger/redis/redis.h"

/* The cache of rows that this process saw last, and writes conditional on them. */

#define ROUNDS_MAX 100 /* each lost round means that another process succeeded */

/* --- the cache --- */
static size_t cache_slot(const char *name)
{
    return hash_text(name) & (LEDGER_REDIS_CACHE - 1);
}

static void empty(struct ledger_redis_cached *c)
{
    free(c->name);
    free(c->bytes);
    *c = (struct ledger_redis_cached){.name = NULL};
}

static bool is_of(const struct ledger_redis_cached *c, const char *name)
{
    return c->name != NULL && strcmp(c->name, name) == 0;
}

static void fill(struct ledger_redis_cached *c, const char *name, struct slice bytes)
{
    empty(c);
    c->name = slice_dup(slice_of(name));
    c->bytes = malloc(bytes.len + 1);
    ASSERT(c->bytes != NULL);
    if (bytes.len > 0) {
        memcpy(c->bytes, bytes.ptr, bytes.len);
    }
    c->len = bytes.len;
}

static void saw(struct ledger_redis *l, const char *name, struct slice bytes)
{
    struct ledger_redis_cached *c = &l->cache[cache_slot(name)];
    pthread_mutex_lock(&l->lock);
    if (bytes.len > 0 && bytes.len <= LEDGER_REDIS_ROW_MAX) {
        fill(c, name, bytes);
    } else if (is_of(c, name)) {
        empty(c);
    }
    pthread_mutex_unlock(&l->lock);
}

bool ledger_redis_recall(struct ledger_redis *l, const char *name, struct ledger_redis_row *out)
{
    const struct ledger_redis_cached *c = &l->cache[cache_slot(name)];
    pthread_mutex_lock(&l->lock);
    bool found = is_of(c, name);
    out->len = 0;
    if (found) {
        memcpy(out->bytes, c->bytes, c->len);
        out->len = c->len;
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

void ledger_redis_forget_all(struct ledger_redis *l)
{
    for (size_t i = 0; i < LEDGER_REDIS_CACHE; i++) {
        empty(&l->cache[i]);
    }
}

/* hash|field; "" if the hash's rows are not kept. */
static void cache_name(const char *hash, struct slice field, char *out, size_t size)
{
    bool kept = strcmp(hash, "jobs") == 0 || strcmp(hash, "vms") == 0 ||
                strncmp(hash, "cells:", strlen("cells:")) == 0;
    out[0] = '\0';
    if (kept) {
        (void)snprintf(out, size, "%s|%.*s", hash, SLICE_ARG(field));
    }
}

void ledger_redis_saw(struct ledger_redis *l, const char *hash, struct slice field,
                      struct slice bytes)
{
    char name[LEDGER_REDIS_CACHE_NAME];
    cache_name(hash, field, name, sizeof name);
    saw(l, name, bytes);
}

void ledger_redis_saw_job(struct ledger_redis *l, const struct ledger_job *job,
                          const struct ledger_redis_more *more)
{
    struct ledger_redis_row row;
    struct ledger_redis_name id = ledger_redis_id(job->facts.id);
    ledger_redis_pack_job(job, more, &row);
    ledger_redis_saw(l, "jobs", ledger_redis_slice(&id), (struct slice){row.bytes, row.len});
}

void ledger_redis_saw_vm(struct ledger_redis *l, const struct ledger_vm *vm,
                         const struct ledger_redis_more *more)
{
    struct ledger_redis_row row;
    ledger_redis_pack_vm(vm, more, &row);
    ledger_redis_saw(l, "vms", slice_of(vm->name), (struct slice){row.bytes, row.len});
}

/* --- transactions --- */
void ledger_redis_begin(struct ledger_redis_txn *t, struct ledger_redis *l)
{
    t->l = l;
    t->rounds = 0;
    t->guard_count = 0;
    memset(t->fresh, 0, sizeof t->fresh);
    redis_args_init(&t->guards);
    ledger_redis_writes_init(&t->writes);
}

void ledger_redis_end(struct ledger_redis_txn *t)
{
    for (size_t i = 0; i < LEDGER_REDIS_LOADS; i++) {
        empty(&t->fresh[i]);
    }
    redis_args_fini(&t->guards);
    ledger_redis_writes_fini(&t->writes);
}

int ledger_redis_again(struct ledger_redis_txn *t, struct err *e)
{
    redis_args_reset(&t->guards);
    redis_args_reset(&t->writes.args);
    t->guard_count = 0;
    t->writes.count = 0;
    if (++t->rounds > ROUNDS_MAX) {
        return err_set(e, ERR_RETRY, 0, "the ledger's rows changed %d times during one step",
                       ROUNDS_MAX);
    }
    return 0;
}

void ledger_redis_guard(struct ledger_redis_txn *t, const char *hash, struct slice field,
                        struct slice bytes)
{
    ASSERT(t->guard_count < LEDGER_REDIS_GUARDS);
    size_t size = sizeof t->names[0];
    cache_name(hash, field, t->names[t->guard_count++], size);
    redis_arg_text(&t->guards, hash);
    redis_arg(&t->guards, field);
    redis_arg(&t->guards, bytes);
}

/* From this step's rounds, else from the cache. Returns whether there is a row. */
static bool recall(struct ledger_redis_txn *t, const char *name, struct ledger_redis_row *out)
{
    for (size_t i = 0; i < LEDGER_REDIS_LOADS; i++) {
        const struct ledger_redis_cached *c = &t->fresh[i];
        if (is_of(c, name)) {
            memcpy(out->bytes, c->bytes, c->len);
            out->len = c->len;
            return c->len > 0;
        }
    }
    return ledger_redis_recall(t->l, name, out);
}

/* A step loads few rows, and tidy loads none, so any further row may replace the last one. */
static void remember(struct ledger_redis_txn *t, const char *name, struct slice bytes)
{
    size_t at = 0;
    while (at < LEDGER_REDIS_LOADS - 1 && t->fresh[at].name != NULL &&
           !is_of(&t->fresh[at], name)) {
        at++;
    }
    if (bytes.len <= LEDGER_REDIS_ROW_MAX) {
        fill(&t->fresh[at], name, bytes);
    }
}

bool ledger_redis_load(struct ledger_redis_txn *t, const char *hash, struct slice field,
                       struct ledger_redis_row *out)
{
    char name[LEDGER_REDIS_CACHE_NAME];
    cache_name(hash, field, name, sizeof name);
    bool known = recall(t, name, out);
    ledger_redis_guard(t, hash, field, (struct slice){out->bytes, out->len});
    return known;
}

int ledger_redis_load_job(struct ledger_redis_txn *t, int64_t id, struct ledger_job *out,
                          bool *known, struct err *e)
{
    struct ledger_redis_row row;
    struct ledger_redis_name field = ledger_redis_id(id);
    memset(out, 0, sizeof *out);
    *known = ledger_redis_load(t, "jobs", ledger_redis_slice(&field), &row);
    t->writes.job_more.len = 0;
    return *known ? ledger_redis_unpack_job((struct slice){row.bytes, row.len}, out,
                                            &t->writes.job_more, e)
                  : 0;
}

int ledger_redis_load_vm(struct ledger_redis_txn *t, const char *vm, struct ledger_vm *out,
                         bool *known, struct err *e)
{
    struct ledger_redis_row row;
    memset(out, 0, sizeof *out);
    *known = ledger_redis_load(t, "vms", slice_of(vm), &row);
    t->writes.vm_more.len = 0;
    return *known ? ledger_redis_unpack_vm((struct slice){row.bytes, row.len}, out,
                                           &t->writes.vm_more, e)
                  : 0;
}

void ledger_redis_guard_clock(struct ledger_redis_txn *t, int64_t now_ms)
{
    struct ledger_redis_name now = ledger_redis_named("%lld", (long long)now_ms);
    ledger_redis_guard(t, "clock", SLICE(""), ledger_redis_slice(&now));
}

/* Appends a list of arguments to another. */
static void join(struct redis_args *a, const struct redis_args *more)
{
    buf_append(&a->wire, buf_slice(&more->wire));
    a->wire.failed = a->wire.failed || more->wire.failed;
    a->count += more->count;
}

void ledger_redis_put_guards(const struct ledger_redis_txn *t, struct redis_args *a)
{
    redis_arg_int(a, (int64_t)t->guard_count);
    join(a, &t->guards);
}

void ledger_redis_put_writes(const struct ledger_redis_writes *w, struct redis_args *a)
{
    redis_arg_int(a, w->count);
    join(a, &w->args);
}

bool ledger_redis_held(struct ledger_redis_txn *t, const struct redis_reply *r)
{
    if (!slice_eq_cstr(redis_reply_bytes(redis_reply_at(r, 1)), "moved")) {
        return true;
    }
    const struct redis_reply *rows = redis_reply_at(r, 2);
    for (size_t i = 0; i < t->guard_count; i++) {
        struct slice bytes = redis_reply_bytes(redis_reply_at(rows, i));
        if (t->names[i][0] != '\0') {
            remember(t, t->names[i], bytes);
            saw(t->l, t->names[i], bytes);
        }
    }
    return false;
}

int ledger_redis_commit(struct ledger_redis_txn *t, bool *done, struct err *e)
{
    static const struct redis_script commit = {"ledger commit", ledger_redis_lua_commit};
    struct redis_reply *r = NULL;
    struct redis_args a;
    ledger_redis_args(&a);
    ledger_redis_put_guards(t, &a);
    ledger_redis_put_writes(&t->writes, &a);
    int rc = ledger_redis_eval(t->l, &commit, &a, t->writes.count > 0, &r, e);
    redis_args_fini(&a);
    if (rc != 0) {
        return -1;
    }
    *done = ledger_redis_held(t, r);
    redis_reply_free(r);
    return 0;
}
