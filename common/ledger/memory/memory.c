#include "common/ledger/memory/memory.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

/* --- the handle --- */
static pthread_mutex_t stores_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ledger_memory *stores; /* under stores_lock; only added to */

static struct ledger_memory *new_store(const char *name)
{
    struct ledger_memory *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    m->name = strdup(name);
    ASSERT(m->name != NULL && pthread_mutex_init(&m->lock, NULL) == 0);
    m->jobs.item_size = sizeof(struct ledger_memory_job);
    m->vms.item_size = sizeof(struct ledger_vm);
    m->entries.item_size = sizeof(struct ledger_entry);
    m->cells.item_size = sizeof(struct ledger_cell);
    m->buckets.item_size = sizeof(struct ledger_memory_bucket);
    m->next = stores;
    stores = m;
    return m;
}

static int open_memory(const char *url, void **out_state, struct err *e)
{
    static const char scheme[] = "memory://";
    const char *name = url + sizeof scheme - 1;
    if (strncmp(url, scheme, sizeof scheme - 1) != 0 || name[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "\"%s\" is no ledger in memory: write memory://NAME",
                       url);
    }
    pthread_mutex_lock(&stores_lock);
    struct ledger_memory *m = stores;
    while (m != NULL && strcmp(m->name, name) != 0) {
        m = m->next;
    }
    *out_state = m != NULL ? m : new_store(name);
    pthread_mutex_unlock(&stores_lock);
    return 0;
}

static void close_memory(void *state)
{
    (void)state; /* it stays, for those who open it again */
}

static int ping_memory(void *state, struct err *e)
{
    (void)state;
    (void)e;
    return 0;
}

static void watch_memory(void *state, ledger_heard_fn *heard, void *arg)
{
    (void)state;
    (void)heard;
    (void)arg;
}

static bool watching_memory(void *state)
{
    (void)state;
    return false;
}

static int freed(void *state, int64_t *out, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    (void)e;
    *out = m->freed;
    ledger_memory_unlock(m);
    return 0;
}

struct ledger_memory *ledger_memory_lock(void *state)
{
    struct ledger_memory *m = state;
    pthread_mutex_lock(&m->lock);
    return m;
}

void ledger_memory_unlock(struct ledger_memory *m)
{
    pthread_mutex_unlock(&m->lock);
}

/* --- lists --- */
void *ledger_memory_at(const struct ledger_list *l, size_t i)
{
    return (char *)l->items + i * l->item_size;
}

void *ledger_memory_find(const struct ledger_list *l, const char *text, const char *other,
                         size_t offset)
{
    for (size_t i = 0; i < l->count; i++) {
        char *item = ledger_memory_at(l, i);
        if (strcmp(item, text) == 0 && (other == NULL || strcmp(item + offset, other) == 0)) {
            return item;
        }
    }
    return NULL;
}

void *ledger_memory_need(struct ledger_list *l, const char *text, const char *other, size_t offset)
{
    char *item = ledger_memory_find(l, text, other, offset);
    if (item == NULL) {
        item = ledger_list_add(l);
        memcpy(item, text, strlen(text) + 1);
        if (other != NULL) {
            memcpy(item + offset, other, strlen(other) + 1);
        }
    }
    return item;
}

int ledger_memory_pick(void *state, const struct ledger_memory_pick *p, void *out, size_t *n)
{
    struct ledger_list found = {.item_size = p->item_size};
    struct ledger_memory *m = ledger_memory_lock(state);
    const struct ledger_list *l = (const struct ledger_list *)(const void *)((char *)m + p->list);
    for (size_t i = 0; i < l->count; i++) {
        if (p->fits(m, ledger_memory_at(l, i), p->arg)) {
            memcpy(ledger_list_add(&found), ledger_memory_at(l, i), found.item_size);
        }
    }
    ledger_memory_unlock(m);
    if (p->order != NULL && found.count > 0) {
        qsort(found.items, found.count, found.item_size, p->order);
    }
    memcpy(out, &found.items, sizeof found.items);
    *n = found.count < p->max ? found.count : p->max;
    return 0;
}

size_t ledger_memory_remove(struct ledger_memory *m, struct ledger_list *l,
                            ledger_memory_fits_fn *fits, const void *arg, size_t max)
{
    size_t kept = 0;
    size_t count = l->count;
    for (size_t i = 0; i < count; i++) {
        if (i - kept >= max || !fits(m, ledger_memory_at(l, i), arg)) {
            memmove(ledger_memory_at(l, kept++), ledger_memory_at(l, i), l->item_size);
        }
    }
    l->count = kept;
    return count - kept;
}

int ledger_memory_by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* --- the steps of ledger_txn.h --- */
struct txn {
    struct ledger_txn base; /* first */
    struct ledger_memory *m;
    bool wrote;
};

static struct txn *txn_of(struct ledger_txn *t)
{
    return (struct txn *)(void *)t;
}

static struct ledger_cell *find_cell(struct ledger_memory *m, const struct ledger_cell *cell)
{
    return ledger_memory_find(&m->cells, cell->kind, cell->name,
                              offsetof(struct ledger_cell, name));
}

static int load_job(struct ledger_txn *t, int64_t id, const char *vm_hint, struct ledger_job *out,
                    bool *known, struct err *e)
{
    const struct ledger_memory_job *row = ledger_memory_job(txn_of(t)->m, id);
    (void)vm_hint;
    (void)e;
    *known = row != NULL;
    *out = *known ? row->job : (struct ledger_job){.state = JOB_SEEN};
    return 0;
}

static int load_vm(struct ledger_txn *t, const char *name, struct ledger_vm *out, bool *known,
                   struct err *e)
{
    const struct ledger_vm *vm = ledger_memory_find(&txn_of(t)->m->vms, name, NULL, 0);
    (void)e;
    *known = vm != NULL;
    *out = *known ? *vm : (struct ledger_vm){.state = VM_RESERVED};
    return 0;
}

static int load_cell(struct ledger_txn *t, struct ledger_cell *cell, struct err *e)
{
    const struct ledger_cell *found = find_cell(txn_of(t)->m, cell);
    (void)e;
    *cell = found != NULL ? *found : *cell;
    return 0;
}

static int write_job(struct ledger_txn *t, const struct ledger_job *before,
                     const struct ledger_job *after, bool new_waits, const struct ledger_line *line,
                     struct err *e)
{
    struct ledger_memory *m = txn_of(t)->m;
    struct ledger_memory_job *row =
        before != NULL ? ledger_memory_job(m, before->facts.id) : ledger_list_add(&m->jobs);
    (void)e;
    ASSERT(row != NULL);
    txn_of(t)->wrote = true;
    row->job = *after;
    row->told = new_waits ? 0 : row->told;
    ledger_memory_add_line(m, after->facts.id, line->vm != NULL ? line->vm : "", line);
    return 0;
}

static int write_vm(struct ledger_txn *t, const struct ledger_vm *before,
                    const struct ledger_vm *after, const struct ledger_line *line, struct err *e)
{
    struct ledger_memory *m = txn_of(t)->m;
    struct ledger_vm *row = ledger_memory_find(&m->vms, before->name, NULL, 0);
    (void)e;
    ASSERT(row != NULL);
    txn_of(t)->wrote = true;
    m->freed += ledger_vm_has_slot(row->state) && !ledger_vm_has_slot(after->state);
    *row = *after;
    ledger_memory_add_line(m, 0, after->name, line);
    return 0;
}

static bool is_that(struct ledger_memory *m, const void *item, const void *arg)
{
    (void)m;
    return item == arg;
}

static int write_cell(struct ledger_txn *t, const struct ledger_cell *after, struct err *e)
{
    struct ledger_memory *m = txn_of(t)->m;
    struct ledger_cell *row = find_cell(m, after);
    (void)e;
    txn_of(t)->wrote = true;
    if (after->version != 0) {
        row = row != NULL ? row : ledger_list_add(&m->cells);
        *row = *after;
    } else {
        (void)ledger_memory_remove(m, &m->cells, is_that, row, 1);
    }
    return 0;
}

/* Loads and writes cannot fail here, so a step that fails does so before its first write. */
static int run(void *state, ledger_step_fn *step, void *arg, struct err *e)
{
    struct txn t = {.base = {.ops = &ledger_memory_txn_ops, .now_ms = clock_wall_ms()}};
    t.m = ledger_memory_lock(state);
    int rc = step(&t.base, arg, e);
    ASSERT(rc == 0 || !t.wrote);
    ledger_memory_unlock(t.m);
    return rc;
}

const struct ledger_txn_ops ledger_memory_txn_ops = {
    .run = run,
    .job = load_job,
    .vm = load_vm,
    .cell = load_cell,
    .write_job = write_job,
    .write_vm = write_vm,
    .write_cell = write_cell,
};

const struct ledger_ops ledger_ops_memory = {
    .scheme = "memory",
    .open = open_memory,
    .close = close_memory,
    .ping = ping_memory,
    .txn = &ledger_memory_txn_ops,
    .job_get = ledger_memory_job_get,
    .jobs_waiting = ledger_memory_jobs_waiting,
    .reserve = ledger_memory_reserve,
    .room = ledger_memory_room,
    .freed = freed,
    .watch_freed = watch_memory,
    .watching = watching_memory,
    .balances = ledger_memory_balances,
    .scopes = ledger_memory_scopes,
    .vm_get = ledger_memory_vm_get,
    .vm_list = ledger_memory_vm_list,
    .timeline = ledger_memory_timeline,
    .rate_take = ledger_memory_rate_take,
    .rate_pause = ledger_memory_rate_pause,
    .cells = ledger_memory_cells,
    .counts = ledger_memory_counts,
    .tidy = ledger_memory_tidy,
    .repair = ledger_repair_nothing,
    .check = ledger_check_nothing,
};
