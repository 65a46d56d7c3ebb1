#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/sqlite/sqlite.h"

/* --- get and list --- */
struct get {
    const char *name;
    struct ledger_vm vm;
};

static int sqlite_vm_get_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct get *g = arg;
    return ledger_sqlite_need_vm(db, g->name, &g->vm, e);
}

int ledger_sqlite_vm_get(void *state, const char *name, struct ledger_vm *out, struct err *e)
{
    struct get g = {.name = name};
    if (sqlite_store_read(ledger_sqlite_store(state), sqlite_vm_get_work, &g, e) != 0) {
        return -1;
    }
    *out = g.vm;
    return 0;
}

struct list {
    unsigned mask;
    const char *after;
    size_t max;
    struct ledger_list vms;
};

static void sqlite_add_vm_item(struct sqlite_rows *r, void *arg)
{
    struct ledger_vm vm;
    if (ledger_sqlite_read_vm(r, &vm)) { /* the statement asks for known states */
        *(struct ledger_vm *)ledger_list_add(arg) = vm;
    }
}

static int list_work(struct sqlite_db *db, void *arg, struct err *e)
{
    /* VMs that hold a slot are found without reading the many that are gone. */
    static const char live[] =
        "SELECT " LEDGER_SQLITE_VM " FROM vms WHERE state < 5 AND name > ?1 AND "
        "(?2 >> state) & 1 ORDER BY name LIMIT ?3";
    static const char any[] =
        "SELECT " LEDGER_SQLITE_VM " FROM vms WHERE name > ?1 AND (?2 >> state) & 1 "
        "ORDER BY name LIMIT ?3";
    struct list *l = arg;
    bool with_gone = (l->mask & (1U << VM_GONE)) != 0;
    struct sqlite_rows *r = sqlite_query(db, with_gone ? any : live, SQL_TEXT(l->after),
                                         SQL_INT(l->mask), SQL_INT((int64_t)l->max));
    ledger_list_reset(&l->vms);
    return sqlite_each(r, sqlite_add_vm_item, &l->vms, e);
}

int ledger_sqlite_vm_list(void *state, unsigned state_mask, const char *after, size_t max,
                          struct ledger_vm **out, size_t *n, struct err *e)
{
    struct list l = {.mask = state_mask & ((1U << (VM_GONE + 1)) - 1),
                     .after = after,
                     .max = max,
                     .vms = {.item_size = sizeof(struct ledger_vm)}};
    if (sqlite_store_read(ledger_sqlite_store(state), list_work, &l, e) != 0) {
        free(l.vms.items);
        return -1;
    }
    *out = l.vms.items;
    *n = l.vms.count;
    return 0;
}

/* --- gone --- */
struct gone {
    const struct ledger_gone *span;
    struct ledger_list vms;
};

static int gone_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] = "SELECT " LEDGER_SQLITE_VM " FROM vms WHERE state = 5 AND "
                              "gone_ms >= ?1 AND gone_ms < ?2 ORDER BY gone_ms LIMIT ?3";
    struct gone *g = arg;
    ledger_list_reset(&g->vms);
    return sqlite_each(sqlite_query(db, sql, SQL_INT(g->span->from_ms), SQL_INT(g->span->before_ms),
                                    SQL_INT((int64_t)g->span->max)),
                       sqlite_add_vm_item, &g->vms, e);
}

int ledger_sqlite_vms_gone(void *state, const struct ledger_gone *span, struct ledger_vm **out,
                           size_t *n, struct err *e)
{
    struct gone g = {.span = span, .vms = {.item_size = sizeof(struct ledger_vm)}};
    if (sqlite_store_read(ledger_sqlite_store(state), gone_work, &g, e) != 0) {
        free(g.vms.items);
        return -1;
    }
    *out = g.vms.items;
    *n = g.vms.count;
    return 0;
}
