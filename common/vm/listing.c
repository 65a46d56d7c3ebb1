#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/vm/vm_backend.h"

#define REPEATS_MAX 100

struct vms {
    struct vm_info *list;
    size_t count;
    size_t room;
    size_t kept; /* those of pages that were read to their end */
};

struct vm_listing {
    struct vm_provider **classes;
    void **states;
    struct vms *vms; /* of each class */
    size_t count;
    char *cursor; /* of the next page */
    int repeats;
    bool complete;
    int64_t pages;
};

bool vm_listed_together(const struct vm_provider *a, const struct vm_provider *b)
{
    return a == b ||
           (a->ops == b->ops && a->ops->listed_together != NULL &&
            strcmp(vm_domain(a), vm_domain(b)) == 0 && a->ops->listed_together(a->state, b->state));
}

struct vm_listing *vm_listing_new(struct vm_provider *const *classes, size_t n)
{
    struct vm_listing *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && n > 0);
    l->count = n;
    l->classes = calloc(n, sizeof(struct vm_provider *));
    l->states = calloc(n, sizeof(void *));
    l->vms = calloc(n, sizeof *l->vms);
    ASSERT(l->classes != NULL && l->states != NULL && l->vms != NULL);
    for (size_t i = 0; i < n; i++) {
        ASSERT(vm_listed_together(classes[0], classes[i]));
        l->classes[i] = classes[i];
        l->states[i] = classes[i]->state;
    }
    return l;
}

void vm_listing_free(struct vm_listing *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->count; i++) {
        free(l->vms[i].list);
    }
    free(l->vms);
    free(l->states);
    free((void *)l->classes);
    free(l->cursor);
    free(l);
}

void vm_listing_add(struct vm_listing *l, size_t class, const struct vm_info *vm)
{
    ASSERT(class < l->count);
    struct vms *vms = &l->vms[class];
    if (vms->count == vms->room) {
        vms->room = vms->room == 0 ? 64 : vms->room * 2;
        vms->list = reallocarray(vms->list, vms->room, sizeof *vms->list);
        ASSERT(vms->list != NULL);
    }
    vms->list[vms->count++] = *vm;
}

/* A page that names itself as the next one is to be read again, but not endlessly. */
static int take_cursor(struct vm_listing *l, struct vm_list_page *page, struct err *e)
{
    bool same = page->next != NULL && l->cursor != NULL && strcmp(page->next, l->cursor) == 0;
    l->repeats = same ? l->repeats + 1 : 0;
    if (l->repeats > REPEATS_MAX) {
        free(page->next);
        return err_set(e, ERR_PERMANENT, 0,
                       "the provider's list does not advance: %d times a page named itself as the "
                       "next one",
                       REPEATS_MAX);
    }
    free(l->cursor);
    l->cursor = page->next;
    l->complete = page->next == NULL;
    return 0;
}

static void keep_page(struct vm_listing *l, bool keep)
{
    for (size_t i = 0; i < l->count; i++) {
        struct vms *vms = &l->vms[i];
        vms->kept = keep ? vms->count : vms->kept;
        vms->count = vms->kept;
    }
}

static int read_page(struct vm_listing *l, struct err *e)
{
    const struct vm_provider *p = l->classes[0];
    struct vm_list_page page = {
        .states = l->states, .classes = l->count, .cursor = l->cursor, .listing = l};
    if (vm_pace_wait(&p->pace, VM_CALL_LIST, e) != 0) {
        return -1;
    }
    l->pages++;
    int rc = p->ops->list(&page, e);
    rc = rc == 0 ? take_cursor(l, &page, e) : rc;
    keep_page(l, rc == 0);
    return vm_call_ended(p, VM_CALL_LIST, rc, e);
}

int vm_listing_read(struct vm_listing *l, int64_t until_ms, bool *complete, struct err *e)
{
    do {
        if (!l->complete && read_page(l, e) != 0) {
            return -1;
        }
    } while (!l->complete && clock_mono_ms() < until_ms);
    *complete = l->complete;
    return 0;
}

const struct vm_info *vm_listing_vms(const struct vm_listing *l, size_t class, size_t *n)
{
    ASSERT(class < l->count);
    *n = l->vms[class].count;
    return l->vms[class].list;
}

int64_t vm_listing_pages(const struct vm_listing *l)
{
    return l->pages;
}

int vm_list(struct vm_provider *p, struct vm_info **out, size_t *n, struct err *e)
{
    struct vm_listing *l = vm_listing_new(&p, 1);
    bool complete = false;
    int rc = vm_listing_read(l, INT64_MAX, &complete, e);
    if (rc == 0) {
        *out = l->vms[0].list;
        *n = l->vms[0].count;
        l->vms[0].list = NULL;
    }
    vm_listing_free(l);
    return rc;
}
