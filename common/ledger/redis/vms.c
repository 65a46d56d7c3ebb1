#include <stdlib.h>
#include <string.h>

#include "common/ledger/redis/redis.h"

#define PAGE 200

static int redis_unknown_vm(const char *name, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "VM %s is not in the ledger", name);
}

/* --- get and list --- */
int ledger_redis_vm_get(void *state, const char *name, struct ledger_vm *out, struct err *e)
{
    const char *words[] = {name, NULL};
    struct redis_reply *r = NULL;
    struct ledger_vm vm;
    if (ledger_redis_call(state, "HGET", "vms", words, &r, e) != 0) {
        return -1;
    }
    struct slice row = redis_reply_bytes(r);
    int rc = row.len > 0 ? ledger_redis_unpack_vm(row, &vm, NULL, e) : redis_unknown_vm(name, e);
    ledger_redis_saw(state, "vms", slice_of(name), row);
    redis_reply_free(r);
    if (rc == 0) {
        *out = vm;
    }
    return rc;
}

/* Adds the VMs of the mask. *last: the page's last name. */
static int read_page(const struct redis_reply *page, unsigned mask, size_t max,
                     struct ledger_list *vms, struct ledger_redis_name *last, struct err *e)
{
    for (size_t i = 0; i < ledger_redis_page_count(page) && vms->count < max; i++) {
        struct slice name;
        struct slice row;
        struct ledger_vm vm;
        ledger_redis_page_at(page, i, &name, &row);
        *last = ledger_redis_named("(%.*s", SLICE_ARG(name));
        if (row.len == 0) {
            continue;
        }
        if (ledger_redis_unpack_vm(row, &vm, NULL, e) != 0) {
            return -1;
        }
        if ((mask >> (unsigned)vm.state & 1U) != 0) {
            *(struct ledger_vm *)ledger_list_add(vms) = vm;
        }
    }
    return 0;
}

int ledger_redis_vm_list(void *state, unsigned state_mask, const char *after, size_t max,
                         struct ledger_vm **out, size_t *n, struct err *e)
{
    /* VMs that hold a slot are found without reading the many that are gone. */
    const char *index = (state_mask & (1U << VM_GONE)) != 0 ? "names" : "live";
    struct ledger_list vms = {.item_size = sizeof(struct ledger_vm)};
    struct ledger_redis_name from = ledger_redis_named(after[0] == '\0' ? "-%s" : "(%s", after);
    bool more = true;
    while (more && vms.count < max) {
        struct ledger_redis_range range = {index, "vms", "ZRANGEBYLEX", from.text, "+", 0, PAGE};
        struct redis_reply *page = NULL;
        int rc = ledger_redis_page(state, &range, &page, e);
        more = rc == 0 && ledger_redis_page_count(page) == PAGE;
        rc = rc == 0 ? read_page(page, state_mask, max, &vms, &from, e) : rc;
        redis_reply_free(page);
        if (rc != 0) {
            free(vms.items);
            return -1;
        }
    }
    *out = vms.items;
    *n = vms.count;
    return 0;
}

/* --- gone --- */
int ledger_redis_vms_gone(void *state, const struct ledger_gone *span, struct ledger_vm **out,
                          size_t *n, struct err *e)
{
    struct ledger_list vms = {.item_size = sizeof(struct ledger_vm)};
    struct ledger_redis_name from = ledger_redis_named("%lld", (long long)span->from_ms);
    struct ledger_redis_name to = ledger_redis_named("(%lld", (long long)span->before_ms);
    bool more = true;
    for (size_t skip = 0; more && vms.count < span->max; skip += PAGE) {
        struct ledger_redis_range range = {"gone", "vms", "ZRANGEBYSCORE", from.text, to.text,
                                           skip,   PAGE};
        struct ledger_redis_name last;
        struct redis_reply *page = NULL;
        int rc = ledger_redis_page(state, &range, &page, e);
        more = rc == 0 && ledger_redis_page_count(page) == PAGE;
        rc = rc == 0 ? read_page(page, 1U << VM_GONE, span->max, &vms, &last, e) : rc;
        redis_reply_free(page);
        if (rc != 0) {
            free(vms.items);
            return -1;
        }
    }
    *out = vms.items;
    *n = vms.count;
    return 0;
}
