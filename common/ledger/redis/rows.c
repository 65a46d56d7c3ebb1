#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/ledger/columns.h"
#include "common/ledger/redis/redis.h"

/* A row is its columns in the order of columns.h, each ended by a NUL, which no text holds. */

static void redis_pack_row(const struct ledger_columns *columns, const void *row,
                           const struct ledger_redis_more *more, struct ledger_redis_row *out)
{
    out->len = 0;
    for (size_t i = 0; i < columns->count; i++) {
        const struct ledger_column *c = &columns->at[i];
        char *to = out->bytes + out->len;
        size_t left = sizeof out->bytes - sizeof more->bytes - out->len;
        int len = c->kind == LEDGER_TEXT
                      ? snprintf(to, left, "%s", ledger_column_text(c, row))
                      : snprintf(to, left, "%" PRId64, ledger_column_number(c, row));
        ASSERT(len >= 0 && (size_t)len < left); /* the columns' sizes guarantee it */
        out->len += (size_t)len + 1;
    }
    memcpy(out->bytes + out->len, more->bytes, more->len);
    out->len += more->len;
}

/* A row that an older version wrote ends before the last columns. `more` gets what a newer one put behind
 * them; NULL: it is not asked for. */
static bool redis_unpack_row(const struct ledger_columns *columns, struct slice bytes, void *row,
                             struct ledger_redis_more *more)
{
    bool good = true;
    ledger_columns_clear(columns, row);
    for (size_t i = 0; good && i < columns->count && (i == 0 || bytes.len > 0); i++) {
        const struct ledger_column *c = &columns->at[i];
        struct slice text;
        int64_t number;
        good = slice_cut(bytes, '\0', &text, &bytes);
        if (good && c->kind == LEDGER_TEXT) {
            good = slice_to_cstr(text, ledger_column_space(c, row), c->size);
        } else if (good) {
            good = slice_to_int64(text, &number) && ledger_column_set(columns, c, row, number);
        }
    }
    if (good && more != NULL && bytes.len > 0) {
        good = bytes.len <= sizeof more->bytes;
        more->len = good ? bytes.len : 0;
        memcpy(more->bytes, bytes.ptr, more->len);
    }
    return good;
}

void ledger_redis_pack_job(const struct ledger_job *job, const struct ledger_redis_more *more,
                           struct ledger_redis_row *out)
{
    redis_pack_row(&ledger_job_columns, job, more, out);
}

void ledger_redis_pack_vm(const struct ledger_vm *vm, const struct ledger_redis_more *more,
                          struct ledger_redis_row *out)
{
    redis_pack_row(&ledger_vm_columns, vm, more, out);
}

int ledger_redis_unpack_job(struct slice row, struct ledger_job *out,
                            struct ledger_redis_more *more, struct err *e)
{
    struct ledger_job job;
    if (!redis_unpack_row(&ledger_job_columns, row, &job, more)) {
        return err_set(e, ERR_PERMANENT, 0, "a job's row in Redis cannot be read");
    }
    *out = job;
    return 0;
}

int ledger_redis_unpack_vm(struct slice row, struct ledger_vm *out, struct ledger_redis_more *more,
                           struct err *e)
{
    struct ledger_vm vm;
    if (!redis_unpack_row(&ledger_vm_columns, row, &vm, more)) {
        return err_set(e, ERR_PERMANENT, 0, "a VM's row in Redis cannot be read");
    }
    *out = vm;
    return 0;
}

/* --- the list of writes --- */
void ledger_redis_writes_init(struct ledger_redis_writes *w)
{
    redis_args_init(&w->args);
    w->count = 0;
    w->job_more.len = 0;
    w->vm_more.len = 0;
}

void ledger_redis_writes_fini(struct ledger_redis_writes *w)
{
    redis_args_fini(&w->args);
}

void ledger_redis_write(struct ledger_redis_writes *w, const char *what, struct slice key,
                        const struct slice *rest, size_t n)
{
    redis_arg_int(&w->args, (int64_t)n);
    redis_arg_text(&w->args, what);
    redis_arg(&w->args, key);
    for (size_t i = 0; i < n; i++) {
        redis_arg(&w->args, rest[i]);
    }
    w->count++;
}

#define WRITE LEDGER_REDIS_WRITE
#define OF(name) ledger_redis_slice(&(name))

static struct ledger_redis_name decimal(int64_t n)
{
    return ledger_redis_named("%" PRId64, n);
}

static void tally(struct ledger_redis_writes *w, struct slice key, struct slice field, int by)
{
    WRITE(w, "tally", key, field, by > 0 ? SLICE("1") : SLICE("-1"));
}

static void tally_state(struct ledger_redis_writes *w, char kind, const char *class_name,
                        unsigned state, int by)
{
    struct ledger_redis_name field = ledger_redis_named("%c|%s|%u", kind, class_name, state);
    field.text[1] = '\0';
    field.text[2 + strlen(class_name)] = '\0';
    tally(w, SLICE("counts"), OF(field), by);
}

/* --- jobs --- */
/* What stands of a job in counts and indexes, by > 0 put there, else taken away. */
static void index_job(struct ledger_redis_writes *w, const struct ledger_job *j, int by)
{
    struct ledger_redis_name id = ledger_redis_id(j->facts.id);
    struct ledger_redis_name key = ledger_redis_named("%s", ledger_job_has_ended(j->state) ? "ended"
                                                            : j->state == JOB_RUNNING ? "running"
                                                                                      : "seen");
    struct ledger_redis_name at =
        decimal(ledger_job_has_ended(j->state) ? j->ended_ms : j->updated_ms);
    tally_state(w, 'j', j->facts.class_name, j->state, by);
    if (j->state == JOB_WAITING) {
        struct ledger_redis_name pair = ledger_redis_pair(j->scope, j->facts.class_name);
        tally(w, SLICE("demand"), OF(pair), by);
        key = ledger_redis_waiting_key(j->scope, j->facts.class_name);
        at = decimal(j->waiting_ms);
    }
    if (by > 0) {
        WRITE(w, "ZADD", OF(key), OF(at), OF(id));
    } else {
        WRITE(w, "ZREM", OF(key), OF(id));
    }
}

static void redis_write_job_removal(struct ledger_redis_writes *w, const struct ledger_job *job)
{
    struct ledger_redis_name id = ledger_redis_id(job->facts.id);
    struct ledger_redis_name lines = ledger_redis_named("lines:j:%s", id.text);
    WRITE(w, "HDEL", SLICE("jobs"), OF(id));
    WRITE(w, "HDEL", SLICE("waits_logged"), OF(id));
    ledger_redis_write(w, "DEL", OF(lines), NULL, 0);
    index_job(w, job, -1);
}

static bool job_stands_elsewhere(const struct ledger_job *a, const struct ledger_job *b)
{
    return a->state != b->state || strcmp(a->scope, b->scope) != 0 ||
           strcmp(a->facts.class_name, b->facts.class_name) != 0 ||
           a->waiting_ms != b->waiting_ms || a->updated_ms != b->updated_ms ||
           a->ended_ms != b->ended_ms;
}

void ledger_redis_write_job(struct ledger_redis_writes *w, const struct ledger_job *before,
                            const struct ledger_job *after)
{
    struct ledger_redis_row row;
    struct ledger_redis_row old = {.len = 0};
    if (after == NULL) {
        redis_write_job_removal(w, before);
        return;
    }
    struct ledger_redis_name id = ledger_redis_id(after->facts.id);
    ledger_redis_pack_job(after, &w->job_more, &row);
    if (before != NULL) {
        ledger_redis_pack_job(before, &w->job_more, &old);
    }
    if (row.len == old.len && memcmp(row.bytes, old.bytes, row.len) == 0) {
        return;
    }
    WRITE(w, "HSET", SLICE("jobs"), OF(id), (struct slice){row.bytes, row.len});
    if (before == NULL) {
        index_job(w, after, 1);
    } else if (job_stands_elsewhere(before, after)) {
        index_job(w, before, -1);
        index_job(w, after, 1);
    }
}

void ledger_redis_write_new_waits(struct ledger_redis_writes *w, int64_t job_id)
{
    struct ledger_redis_name id = ledger_redis_id(job_id);
    WRITE(w, "HDEL", SLICE("waits_logged"), OF(id));
}

/* --- VMs --- */
static bool redis_is_supply(const struct ledger_vm *vm)
{
    return vm->state < VM_BUSY;
}

static void count_supply(struct ledger_redis_writes *w, const struct ledger_vm *vm, int by)
{
    struct ledger_redis_name pair = ledger_redis_pair(vm->scope, vm->class_name);
    tally(w, SLICE("supply"), OF(pair), by);
}

static void redis_count_slot(struct ledger_redis_writes *w, const struct ledger_vm *vm, int by)
{
    tally(w, SLICE("meta"), SLICE("fleet"), by);
    tally(w, SLICE("slots"), slice_of(vm->class_name), by);
    tally(w, SLICE("repositories"), slice_of(vm->repository), by);
    if (vm->target[0] != '\0') {
        tally(w, SLICE("targets"), slice_of(vm->target), by);
    }
}

static void relate(struct ledger_redis_writes *w, const char *what, int64_t job_id, const char *vm)
{
    struct ledger_redis_name key = ledger_redis_named("job_vms:%020" PRId64, job_id);
    if (job_id == 0) {
        return;
    }
    WRITE(w, what, OF(key), slice_of(vm));
}

static void redis_write_new_vm(struct ledger_redis_writes *w, const struct ledger_vm *vm)
{
    struct ledger_redis_name installation = decimal(vm->installation_id);
    tally_state(w, 'v', vm->class_name, vm->state, 1);
    count_supply(w, vm, 1);
    redis_count_slot(w, vm, 1);
    WRITE(w, "ZADD", SLICE("live"), SLICE("0"), slice_of(vm->name));
    WRITE(w, "ZADD", SLICE("names"), SLICE("0"), slice_of(vm->name));
    relate(w, "SADD", vm->for_job, vm->name);
    tally(w, SLICE("scope_vms"), slice_of(vm->scope), 1);
    WRITE(w, vm->installation_id > 0 ? "HSET" : "HSETNX", SLICE("scopes"), slice_of(vm->scope),
          OF(installation));
}

static void redis_write_vm_removal(struct ledger_redis_writes *w, const struct ledger_vm *vm)
{
    struct ledger_redis_name lines = ledger_redis_named("lines:v:%s", vm->name);
    struct ledger_redis_name jobs = ledger_redis_named("vm_jobs:%s", vm->name);
    ASSERT(vm->state == VM_GONE); /* one that holds a slot stays */
    tally_state(w, 'v', vm->class_name, vm->state, -1);
    WRITE(w, "HDEL", SLICE("vms"), slice_of(vm->name));
    WRITE(w, "ZREM", SLICE("gone"), slice_of(vm->name));
    WRITE(w, "ZREM", SLICE("names"), slice_of(vm->name));
    WRITE(w, "tally", SLICE("scope_vms"), slice_of(vm->scope), SLICE("-1"), SLICE("scopes"));
    ledger_redis_write(w, "DEL", OF(lines), NULL, 0);
    ledger_redis_write(w, "DEL", OF(jobs), NULL, 0);
    relate(w, "SREM", vm->for_job, vm->name);
    relate(w, "SREM", vm->job_id, vm->name);
}

static void move_vm(struct ledger_redis_writes *w, const struct ledger_vm *before,
                    const struct ledger_vm *after)
{
    struct ledger_redis_name at = decimal(after->gone_ms);
    tally_state(w, 'v', before->class_name, before->state, -1);
    tally_state(w, 'v', after->class_name, after->state, 1);
    if (redis_is_supply(before) && !redis_is_supply(after)) {
        count_supply(w, after, -1);
    }
    if (ledger_vm_has_slot(before->state) && !ledger_vm_has_slot(after->state)) {
        redis_count_slot(w, after, -1);
        WRITE(w, "ZREM", SLICE("live"), slice_of(after->name));
        WRITE(w, "ZADD", SLICE("gone"), OF(at), slice_of(after->name));
        ledger_redis_write(w, "freed", SLICE("meta"), NULL, 0);
    }
}

void ledger_redis_write_vm(struct ledger_redis_writes *w, const struct ledger_vm *before,
                           const struct ledger_vm *after)
{
    struct ledger_redis_row row;
    if (after == NULL) {
        redis_write_vm_removal(w, before);
        return;
    }
    ledger_redis_pack_vm(after, &w->vm_more, &row);
    WRITE(w, "HSET", SLICE("vms"), slice_of(after->name), (struct slice){row.bytes, row.len});
    if (before == NULL) {
        struct ledger_vm reserved = *after;
        reserved.state = VM_RESERVED;
        redis_write_new_vm(w, &reserved);
        if (after->state != VM_RESERVED) { /* adopted */
            move_vm(w, &reserved, after);
        }
        return;
    }
    if (ledger_vm_has_slot(before->state) && strcmp(before->repository, after->repository) != 0) {
        tally(w, SLICE("repositories"), slice_of(before->repository), -1);
        tally(w, SLICE("repositories"), slice_of(after->repository), 1);
    }
    if (before->state != after->state) {
        move_vm(w, before, after);
    }
    if (before->job_id != after->job_id) {
        if (before->job_id != 0 && before->job_id != before->for_job) {
            relate(w, "SREM", before->job_id, before->name);
        }
        relate(w, "SADD", after->job_id, after->name);
    }
}
