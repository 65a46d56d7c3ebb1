#include "reaper/lost/unread.h"

#include <stdlib.h>

#include "common/base/log.h"

static struct unread *find(const struct unread_list *l, int64_t repository_id)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->items[i].repository_id == repository_id) {
            return &l->items[i];
        }
    }
    return NULL;
}

static struct unread *add(struct unread_list *l, int64_t repository_id)
{
    l->items = reallocarray(l->items, l->count + 1, sizeof *l->items);
    ASSERT(l->items != NULL);
    struct unread *u = &l->items[l->count++];
    *u = (struct unread){.repository_id = repository_id, .class = ERR_NONE};
    return u;
}

void unread_report(struct unread_list *l, int64_t repository_id, const struct err *e)
{
    struct unread *u = find(l, repository_id);
    u = u != NULL ? u : add(l, repository_id);
    if (u->class == e->class && u->code == e->code) {
        log_debug("job_list_failed", LOG_INT("repository_id", repository_id), LOG_ERR(e),
                  LOG_STR("action", "the next sweep tries again"));
        return;
    }
    u->class = e->class;
    u->code = e->code;
    log_warn("job_list_failed", LOG_INT("repository_id", repository_id), LOG_ERR(e),
             LOG_STR("action", "the recovery goes on until they are read: each sweep tries again, "
                               "and is silent unless the reason changes"));
}

void unread_forget(struct unread_list *l, int64_t repository_id)
{
    struct unread *u = find(l, repository_id);
    if (u != NULL) {
        *u = l->items[--l->count];
    }
}

void unread_report_refused(const char *repository, const struct err *e)
{
    log_warn("job_list_refused", LOG_STR("repository", repository), LOG_ERR(e),
             LOG_STR("action",
                     "its deliveries are read instead, one by one; grant the App or token "
                     "read access to Actions"));
}

void unread_fini(struct unread_list *l)
{
    free(l->items);
    *l = (struct unread_list){.items = NULL};
}
