#include <dirent.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/vm/qemu/net_frame.h"
#include "common/vm/qemu/notice.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/settings.h"
#include "common/vm/qemu/state.h"

/* --- the gateway ------------------------------------------------------------------------------ */

static bool same_destination(const struct vm_proxy *a, const struct vm_proxy *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

static int add_proxy(struct vm_qemu *q, const struct config_class *class, const char *url,
                     struct err *e)
{
    struct vm_proxy *p = &q->proxies[q->proxy_count];
    if (*url == '\0') {
        return 0;
    }
    if (!vm_proxy_destination(url, p)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "class %s: a URL of its proxy has another form than http://host:port, so "
                       "that its VMs' gateway cannot let it through",
                       class->name);
    }
    p->userinfo = (struct slice){"", 0}; /* it points into the URL */
    q->proxy_count += q->proxy_count == 0 || !same_destination(p, &q->proxies[0]);
    return 0;
}

static void open_event_counters(struct vm_qemu *q)
{
    for (size_t event = 0; event < QEMU_EVENTS; event++) {
        char label[64];
        (void)snprintf(label, sizeof label, "kind=\"%s\"", qemu_event_name((enum qemu_event)event));
        q->events[event] =
            event == QEMU_EVENT_CONSOLE_DROPPED
                ? metrics_counter("mayfly_vm_output_dropped_bytes_total", "output=\"console\"")
            : event == QEMU_EVENT_STATUS_DROPPED
                ? metrics_counter("mayfly_vm_output_dropped_bytes_total", "output=\"status\"")
                : metrics_counter("mayfly_vm_events_total", label);
    }
}

int qemu_network_open(struct vm_qemu *q, const struct config_class *class, struct err *e)
{
    const struct qemu_settings *s = qemu_settings_of(class);
    struct vm_proxy first;
    q->network = slice_dup(slice_of(s->network));
    q->allow = calloc(s->allow.count + 1, sizeof *q->allow);
    ASSERT(q->allow != NULL);
    for (; q->allow_count < s->allow.count; q->allow_count++) {
        q->allow[q->allow_count] = slice_dup(slice_of(s->allow.items[q->allow_count]));
    }
    if (vm_proxy_only(class) && !vm_proxy_parse(vm_proxy_url(class), &first)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "class %s: qemu.network: proxy requires proxy.http to be http://host:port",
                       class->name);
    }
    for (size_t kind = 0; kind < NET_KINDS; kind++) {
        char label[64];
        (void)snprintf(label, sizeof label, "kind=\"%s\"", net_kind_name((enum net_kind)kind));
        q->refused[kind] = metrics_counter("mayfly_vm_network_refused_total", label);
    }
    open_event_counters(q);
    /* The one that a closed network leads to comes first. */
    return add_proxy(q, class, vm_proxy_url(class), e) != 0 ||
                   add_proxy(q, class, class->proxy.https, e) != 0
               ? -1
               : 0;
}

void qemu_network_close(struct vm_qemu *q)
{
    for (size_t i = 0; i < q->allow_count; i++) {
        free(q->allow[i]);
    }
    free(q->allow);
    free(q->network);
}

char **qemu_network_gateway(const struct vm_qemu *q)
{
    const struct qemu_gateway_in in = {.binary = q->gateway,
                                       .mode = q->network,
                                       .allow = q->allow,
                                       .allow_count = q->allow_count,
                                       .proxies = q->proxies,
                                       .proxy_count = q->proxy_count};
    return qemu_gateway_args_build(&in);
}

/* --- hosts that runners need ------------------------------------------------------------------ */

struct rules {
    struct net_policy policy;
    struct net_allow allow[64];
};

static void read_rules(const struct qemu_settings *s, struct rules *out)
{
    *out = (struct rules){.policy = {.allow = out->allow}};
    (void)!net_mode_parse(slice_of(s->network), &out->policy.mode);
    for (size_t i = 0; i < s->allow.count && i < COUNT_OF(out->allow); i++) {
        if (net_allow_parse(slice_of(s->allow.items[i]), &out->allow[i]) == NULL) {
            out->policy.allow_count = i + 1;
        }
    }
}

static bool refused_address(const struct rules *r, const struct addrinfo *at, const char *host,
                            struct buf *why)
{
    static const struct net_facts facts;
    struct ip_address a;
    char text[IP_ADDRESS_TEXT];
    uint16_t port;
    if (!ip_address_of(at->ai_addr, at->ai_addrlen, &a, &port)) {
        return false;
    }
    struct ip_address meant = net_address_meant(&a);
    enum net_kind kind = net_policy_judge(&r->policy, &meant, port, &facts);
    if (kind == NET_LET_THROUGH) {
        return false;
    }
    ip_address_text(&a, text);
    buf_printf(why,
               "%s has the address %s, which the VMs' network refuses (%s): add \"%s:%u\" to "
               "qemu.allow%s",
               host, text, net_kind_name(kind), text, (unsigned)port,
               kind == NET_LOOPBACK ? "; a VM reaches it as 10.0.2.2" : "");
    return true;
}

bool vm_qemu_refuses(const struct config_class *class, const char *host, const char *port,
                     struct buf *why)
{
    struct rules rules;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    bool refused = false;
    read_rules(qemu_settings_of(class), &rules);
    if (getaddrinfo(host, port, &hints, &all) != 0) {
        return false;
    }
    for (const struct addrinfo *a = all; a != NULL && !refused; a = a->ai_next) {
        refused = refused_address(&rules, a, host, why);
    }
    freeaddrinfo(all);
    return refused;
}

/* --- notices ---------------------------------------------------------------------------------- */

static void pass_on_item(const struct qemu_refused *r, struct vm_notice *n, vm_notice_fn *take,
                         void *arg)
{
    n->count = r->count;
    n->first = r->first;
    (void)snprintf(n->text, sizeof n->text, "%s", r->text);
    take(arg, n);
}

static void pass_on(const struct vm_qemu *q, const char *vm, const struct qemu_notice *n,
                    vm_notice_fn *take, void *arg)
{
    struct vm_notice out = {.kind = NULL, .count = 1, .first = true};
    (void)snprintf(out.vm, sizeof out.vm, "%.64s", vm);
    if (n->shared_network[0] != '\0') {
        (void)snprintf(out.text, sizeof out.text, "%s", n->shared_network);
        take(arg, &out);
    }
    for (int kind = 0; kind < NET_KINDS; kind++) {
        const struct qemu_refused *r = &n->refused[kind];
        if (r->count > 0) {
            metric_add(q->refused[kind], r->count);
            out.kind = net_kind_name((enum net_kind)kind);
            pass_on_item(r, &out, take, arg);
        }
    }
    out.kind = NULL;
    for (int event = 0; event < QEMU_EVENTS; event++) {
        const struct qemu_refused *r = &n->events[event];
        if (r->count > 0) {
            metric_add(q->events[event], r->count);
            out.event = qemu_event_name((enum qemu_event)event);
            pass_on_item(r, &out, take, arg);
        }
    }
}

static void pass_on_snapshot(struct vm_qemu *q, vm_notice_fn *take, void *arg)
{
    struct vm_notice out = {.event = "snapshot_refused", .count = 1, .first = true};
    pthread_mutex_lock(&q->lock);
    (void)snprintf(out.text, sizeof out.text, "%s", q->snapshot_refused);
    q->snapshot_refused[0] = '\0';
    pthread_mutex_unlock(&q->lock);
    if (out.text[0] != '\0') {
        take(arg, &out);
    }
}

void vm_qemu_notices(void *state, vm_notice_fn *take, void *arg)
{
    struct vm_qemu *q = state;
    qemu_host_measure(q);
    pass_on_snapshot(q, take, arg);
    const struct dirent *entry;
    DIR *dir = opendir(q->vms_dir);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        struct qemu_notice notice;
        if (entry->d_name[0] != '.' &&
            qemu_notice_take(qemu_path(path, q->vms_dir, entry->d_name), &notice)) {
            pass_on(q, entry->d_name, &notice, take, arg);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}
