#include "worker/vm_watch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/log.h"
#include "common/base/thread.h"

#define LOOK_MS 5000

struct vm_watch {
    struct worker *worker;
    struct threads threads;
    bool said_shared; /* that emulators share this host's network, which is the same for all VMs */
};

struct watched_class {
    struct vm_watch *watch;
    const char *name;
};

static void log_refused_host(void *arg, const char *host, const char *why)
{
    const struct watched_class *class = arg;
    log_warn("vm_network_refuses_host", LOG_STR("class", class->name), LOG_STR("host", host),
             LOG_STR("error", why),
             LOG_STR("action", "no runner of this class comes online until it is allowed"));
}

static bool is_event(const struct vm_notice *n, const char *name)
{
    return strcmp(n->event, name) == 0;
}

/* Each is reported, for those who look up later who it was. */
static bool is_shell(const struct vm_notice *n)
{
    return is_event(n, "shell_opened") || is_event(n, "shell_closed");
}

/* With its job, and whether that runs: then its secrets were within reach. */
static void log_shell(const struct watched_class *class, const struct vm_notice *n)
{
    struct err e = {0};
    struct ledger_vm vm = {.job_id = 0};
    bool known = ledger_vm_get(class->watch->worker->ledger, n->vm, &vm, &e) == 0;
    log_info(is_event(n, "shell_opened") ? "vm_shell_opened" : "vm_shell_closed",
             LOG_STR("vm", n->vm), LOG_STR("state", known ? ledger_vm_state_name(vm.state) : ""),
             LOG_INT("job_id", vm.job_id), LOG_STR("class", class->name),
             LOG_INT("count", n->count), LOG_STR("who", n->text));
}

static void log_event(const char *class_name, const struct vm_notice *n)
{
    if (is_event(n, "resumed")) {
        log_info("vm_resumed", LOG_STR("vm", n->vm), LOG_STR("class", class_name),
                 LOG_STR("detail", n->text));
    } else if (is_event(n, "snapshot_refused")) {
        log_warn("vm_snapshot_refused", LOG_STR("class", class_name), LOG_STR("error", n->text),
                 LOG_STR("action", "a new one is made; if it repeats, check the disk, and who can "
                                   "write there"));
    } else if (is_event(n, "paused") || is_event(n, "io_error")) {
        log_warn(is_event(n, "paused") ? "vm_paused" : "vm_io_error", LOG_STR("vm", n->vm),
                 LOG_STR("class", class_name), LOG_STR("error", n->text));
    } else {
        log_warn(is_event(n, "status_dropped") ? "vm_status_dropped" : "vm_process_limit",
                 LOG_STR("vm", n->vm), LOG_STR("class", class_name), LOG_STR("error", n->text));
    }
}

/* For the log, and for the timeline of the VM and its job. That the console keeps its newest part is
 * for the metric alone. */
static void report_event(const struct watched_class *class, const struct vm_notice *n)
{
    struct err e = {0};
    if ((!n->first && !is_shell(n)) || is_event(n, "console_dropped")) {
        return;
    }
    if (is_shell(n)) {
        log_shell(class, n);
    } else {
        log_event(class->name, n);
    }
    if (n->vm[0] != '\0' &&
        ledger_log_event(class->watch->worker->ledger, 0, n->vm, n->event, n->text, &e) != 0) {
        log_debug("timeline_write_failed", LOG_STR("vm", n->vm), LOG_ERR(&e));
    }
}

static void take_notice(void *arg, const struct vm_notice *n)
{
    const struct watched_class *class = arg;
    if (n->event != NULL) {
        report_event(class, n);
    } else if (n->kind == NULL) {
        if (!class->watch->said_shared) {
            log_info("vm_network_namespace_unavailable", LOG_STR("class", class->name),
                     LOG_STR("error", n->text));
        }
        class->watch->said_shared = true;
    } else if (n->first) {
        log_warn("vm_network_refused", LOG_STR("vm", n->vm), LOG_STR("class", class->name),
                 LOG_STR("kind", n->kind), LOG_STR("destination", n->text));
    }
}

/* --- the file systems ------------------------------------------------------------------------ */

/* Of a file that need not exist yet: of its directory. */
static bool device_of(struct slice path, dev_t *out)
{
    char dir[PATH_MAX];
    struct stat st;
    if (!slice_to_cstr(path, dir, sizeof dir)) {
        return false;
    }
    char *slash = strrchr(dir, '/');
    if (stat(dir, &st) != 0 && slash != NULL && slash != dir) {
        *slash = '\0';
    }
    bool known = stat(dir, &st) == 0;
    *out = known ? st.st_dev : 0;
    return known;
}

/* A store that finds no space stops the whole fleet; VMs get what they are promised, and a full disk
 * is theirs alone. */
static void check_store(const char *class, const char *vms_dir, const char *store, const char *url)
{
    struct slice path = slice_of(url);
    dev_t of_store;
    dev_t of_vms;
    if (!slice_starts_with(path, SLICE("sqlite://"))) {
        return;
    }
    path.ptr += sizeof "sqlite://" - 1;
    path.len -= sizeof "sqlite://" - 1;
    if (device_of(path, &of_store) && device_of(slice_of(vms_dir), &of_vms) && of_store == of_vms) {
        log_warn("vms_share_store_disk", LOG_STR("class", class), LOG_STR("path", vms_dir),
                 LOG_STR("store", store),
                 LOG_STR("action", "put the VMs on another file system: one that they fill stops "
                                   "this store"));
    }
}

/* A class is found by its name: a reload may replace the configuration meanwhile. */
static void for_each_class(struct vm_watch *n, bool at_start)
{
    const struct config *c = config_live_get(n->worker->config);
    for (size_t i = 0; i < c->class_count; i++) {
        struct watched_class class = {.watch = n, .name = c->classes[i].name};
        struct vm_provider *p = fleet_provider(n->worker->fleet, class.name);
        if (p == NULL || !vm_host_bound(p)) {
            continue;
        }
        if (at_start) {
            vm_refused_hosts(c, &c->classes[i], log_refused_host, &class);
            if (vm_directory(p) != NULL) {
                check_store(class.name, vm_directory(p), "queue", c->queue);
                check_store(class.name, vm_directory(p), "ledger", c->ledger);
            }
        }
        vm_notices(p, take_notice, &class);
    }
    config_live_put(n->worker->config, c);
}

static void *watch(void *arg)
{
    struct vm_watch *n = arg;
    for_each_class(n, true);
    while (!wakeup_sleep(&n->worker->working, LOOK_MS)) {
        for_each_class(n, false);
    }
    for_each_class(n, false);
    return NULL;
}

bool vm_watch_needed(const struct worker *w)
{
    const struct config *c = config_live_get(w->config);
    bool has = false;
    for (size_t i = 0; i < c->class_count && !has; i++) {
        const struct vm_provider *p = fleet_provider(w->fleet, c->classes[i].name);
        has = p != NULL && vm_host_bound(p);
    }
    config_live_put(w->config, c);
    return has;
}

int vm_watch_start(struct worker *w, struct vm_watch **out, struct err *e)
{
    if (!vm_watch_needed(w)) {
        return 0;
    }
    struct vm_watch *n = calloc(1, sizeof *n);
    ASSERT(n != NULL);
    n->worker = w;
    if (threads_start(&n->threads, 1, "the thread that reports on this host's VMs", watch, n, e) !=
        0) {
        wakeup_raise(&w->working);
        vm_watch_join(n);
        return -1;
    }
    *out = n;
    return 0;
}

void vm_watch_join(struct vm_watch *n)
{
    if (n != NULL) {
        threads_join(&n->threads);
        free(n);
    }
}
