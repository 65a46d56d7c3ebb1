#include "common/program/reload.h"

#include "common/base/log.h"
#include "common/config/provider.h"

#define CHANGED_LIMIT_BYTES ((size_t)8 * 1024)

static void report_restart(const struct config_class *class, const char *reason)
{
    log_warn("config_restart_required", LOG_STR("class", class->name), LOG_STR("reason", reason),
             LOG_STR("action", "the class is not used by this process until it is restarted"));
}

static bool is_host_bound(const struct config_class *class)
{
    const struct config_provider *p = config_provider_find(class->provider);
    return p != NULL && p->domain == NULL;
}

static void reload_class(struct stores *s, const struct config *c, const struct config_class *class)
{
    struct err e = {0};
    bool known = fleet_provider(s->fleet, class->name) != NULL;
    bool changed = false;
    if (!known && is_host_bound(class) && !s->host.has_id) {
        report_restart(class, "it is the first class whose VMs run on this host");
        return;
    }
    if (fleet_add_place(s->fleet, c, class, &changed, &e) != 0) {
        log_error("class_not_opened", LOG_STR("class", class->name), LOG_ERR(&e),
                  LOG_STR("action", known
                                        ? "its VMs are launched as before: fix it and send SIGHUP "
                                          "again"
                                        : "its jobs wait: fix it and send SIGHUP again"));
        return;
    }
    if (changed) {
        log_info(known ? "class_changed" : "class_added", LOG_STR("class", class->name));
    }
}

static void reload_apps(struct stores *s, const struct config *c)
{
    struct err e = {0};
    struct buf changed;
    buf_init(&changed, CHANGED_LIMIT_BYTES);
    if (github_reload(s->github, c, &changed, &e) != 0) {
        log_error("app_key_not_replaced", LOG_ERR(&e),
                  LOG_STR("action", "the keys of all Apps stay as they were: fix it and send "
                                    "SIGHUP again"));
    } else if (changed.len > 0) {
        log_info("app_key_replaced", LOG_STR("apps", changed.data));
    }
    buf_fini(&changed);
}

void reload_stores(struct stores *s, struct presence *presence, const struct config *c)
{
    reload_apps(s, c);
    for (size_t i = 0; i < c->place_count; i++) {
        const struct config_class *class = c->places[i];
        if (!config_class_is_retired(class)) {
            reload_class(s, c, class);
        } else if (fleet_provider(s->fleet, class->name) != NULL) {
            log_info("class_retired", LOG_STR("class", class->name),
                     LOG_STR("action", "its VMs finish; for jobs in its lane: mayflyctl class "
                                       "retire"));
        }
    }
    const struct presence_classes classes = stores_classes(s, c);
    presence_set_classes(presence, &classes);
}
