#include "worker/neighbours.h"

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

static bool is_elsewhere(const struct ledger_program *p, const char *host)
{
    return strcmp(p->program, "mayfly-worker") == 0 && strcmp(p->host, host) != 0;
}

bool neighbours_check(struct worker *w, const struct config *c)
{
    const char *class_name = host_bound_class(w, c);
    struct ledger_program *all = NULL;
    struct err ignored;
    size_t n = 0;
    if (class_name == NULL || !queue_can(w->queue, QUEUE_PARTITIONED) ||
        ledger_program_list(w->ledger, &all, &n, &ignored) != 0) {
        return false;
    }
    bool found = false;
    for (size_t i = 0; i < n && !found; i++) {
        found = is_elsewhere(&all[i], fleet_host(w->fleet));
        if (found) {
            log_warn("host_bound_class_on_partitions", LOG_STR("class", class_name),
                     LOG_STR("host", fleet_host(w->fleet)), LOG_STR("other_host", all[i].host),
                     LOG_STR("action", "each host gets its own part of the lane's jobs, and those "
                                       "of a full host wait beside free ones: use a class for each "
                                       "host, or another queue"));
        }
    }
    free(all);
    return found;
}
