#include "worker/neighbours.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/ledger/programs.h"

static const char *host_bound_class(const struct worker *w, const struct config *c)
{
    for (size_t i = 0; i < c->class_count; i++) {
        const struct vm_provider *p = fleet_provider(w->fleet, c->classes[i].name);
        if (p != NULL && vm_host_bound(p)) {
            return c->classes[i].name;
        }
    }
    return NULL;
}

/* The host of "mayfly-worker/<host>/<unique>", if it is another than ours. */
static bool is_elsewhere(const struct ledger_program *p, const char *host, char *out, size_t size)
{
    struct slice program;
    struct slice name;
    struct slice rest;
    return slice_cut(slice_of(p->id), '/', &program, &rest) &&
           slice_eq_cstr(program, "mayfly-worker") && slice_cut(rest, '/', &name, &rest) &&
           !slice_eq_cstr(name, host) && slice_to_cstr(name, out, size);
}

bool neighbours_check(struct worker *w, const struct config *c)
{
    const char *class_name = host_bound_class(w, c);
    struct ledger_program *all = NULL;
    struct err ignored;
    char other[sizeof all->id];
    size_t n = 0;
    if (class_name == NULL || !queue_can(w->queue, QUEUE_PARTITIONED) ||
        ledger_program_list(w->ledger, &all, &n, &ignored) != 0) {
        return false;
    }
    bool found = false;
    for (size_t i = 0; i < n && !found; i++) {
        found = is_elsewhere(&all[i], fleet_host(w->fleet), other, sizeof other);
        if (found) {
            log_warn("host_bound_class_on_partitions", LOG_STR("class", class_name),
                     LOG_STR("host", fleet_host(w->fleet)), LOG_STR("other_host", other),
                     LOG_STR("action", "each host gets its own part of the lane's jobs, and those "
                                       "of a full host wait beside free ones: use a class for each "
                                       "host, or another queue"));
        }
    }
    free(all);
    return found;
}
