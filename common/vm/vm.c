#include "common/vm/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/calls.h"
#include "common/base/clock.h"
#include "common/check/check.h"
#include "common/vm/proxy.h"
#include "common/vm/vm_backend.h"

#define NAME_MAX_CHARS 64

const char *vm_run_state_name(enum vm_run_state s)
{
    static const char *const names[] = {[VM_RUN_PENDING] = "pending",
                                        [VM_RUN_RUNNING] = "running",
                                        [VM_RUN_ENDING] = "ending",
                                        [VM_RUN_ENDED] = "ended"};
    ASSERT((size_t)s < COUNT_OF(names));
    return names[s];
}

const char *vm_call_name(enum vm_call c)
{
    static const char *const names[] = {[VM_CALL_RUN] = "run",
                                        [VM_CALL_TERMINATE] = "terminate",
                                        [VM_CALL_DESCRIBE] = "describe",
                                        [VM_CALL_LIST] = "list"};
    ASSERT((size_t)c < COUNT_OF(names));
    return names[c];
}

static const struct vm_ops *find_ops(const char *name)
{
    for (size_t i = 0; i < vm_all_ops_count; i++) {
        const struct vm_ops *ops = vm_all_ops[i];
        if (strcmp(ops->name, name) == 0) {
            ASSERT(ops->open != NULL && ops->close != NULL && ops->run != NULL &&
                   ops->terminate != NULL && ops->describe != NULL && ops->forget != NULL &&
                   ops->list != NULL && ops->console != NULL &&
                   ((ops->domain != NULL && ops->probe != NULL) || ops->host_bound) &&
                   ops->payload_max > 0);
            return ops;
        }
    }
    return NULL;
}

/* The calls to a service of AWS are counted by its client. */
static int end_call(const struct vm_provider *p, enum vm_call call, int64_t began_us, int rc,
                    const struct err *e)
{
    return p->ops->host_bound ? calls_ended(p->ops->name, vm_call_name(call), began_us, rc, e) : rc;
}

int vm_open(const struct config_class *class, const char *deployment, struct vm_provider **out,
            struct err *e)
{
    const struct vm_pace none = {.arg = NULL};
    return vm_open_paced(class, deployment, &none, out, e);
}

int vm_open_paced(const struct config_class *class, const char *deployment,
                  const struct vm_pace *pace, struct vm_provider **out, struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    void *state = NULL;
    if (ops == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "class %s: there is no VM provider \"%s\"", class->name,
                       class->provider);
    }
    if (ops->open(class, deployment, &state, e) != 0) {
        return -1;
    }
    struct vm_provider *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->ops = ops;
    p->state = state;
    p->pace = ops->host_bound ? (struct vm_pace){.arg = NULL} : *pace;
    *out = p;
    return 0;
}

void vm_close(struct vm_provider *p)
{
    if (p != NULL) {
        p->ops->close(p->state);
        free(p);
    }
}

bool vm_host_bound(const struct vm_provider *p)
{
    return p->ops->host_bound;
}

bool vm_is_named(const struct vm_provider *p)
{
    return p->ops->named;
}

const char *vm_domain(const struct vm_provider *p)
{
    return p->ops->host_bound ? "" : p->ops->domain(p->state);
}

struct checked_class {
    struct check *check;
    const struct config_class *class;
};

static void say_refused(void *arg, const char *host, const char *why)
{
    const struct checked_class *checked = arg;
    char subject[160];
    (void)host;
    (void)snprintf(subject, sizeof subject, "class %.128s", checked->class->name);
    const struct check_finding f = {.level = CHECK_FAIL,
                                    .subject = subject,
                                    .request = "the VMs' network",
                                    .hint = "until then no runner of this class comes online"};
    check_say(checked->check, &f, "%s", why);
}

void vm_check(struct check *c)
{
    for (size_t i = 0; i < vm_all_ops_count; i++) {
        if (vm_all_ops[i]->check != NULL) {
            vm_all_ops[i]->check(c);
        }
    }
    for (size_t i = 0; i < c->config->place_count; i++) {
        struct checked_class checked = {.check = c, .class = c->config->places[i]};
        vm_refused_hosts(c->config, checked.class, say_refused, &checked);
    }
}

bool vm_image_of(const struct config_class *class, struct vm_image *out)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->image == NULL) {
        return false;
    }
    ops->image(class, out);
    return true;
}

int vm_image_versions(const struct config_class *class, struct vm_image_version **out, size_t *n,
                      struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->image_versions == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "class %s: its image has no versions", class->name);
    }
    return ops->image_versions(class, out, n, e) == 0 ? 0 : err_said_by(e, ERR_FROM_PROVIDER);
}

/* Versions are numbers with a point; any other text sorts first. */
static bool is_newer(const struct vm_image_version *v, const struct vm_image_version *than)
{
    return than == NULL || strtod(v->name, NULL) > strtod(than->name, NULL);
}

const struct vm_image_version *vm_image_newest(const struct vm_image_version *list, size_t n,
                                               vm_image_refused_fn *refused, const void *arg)
{
    const struct vm_image_version *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (list[i].active && is_newer(&list[i], best) &&
            (refused == NULL || !refused(list[i].name, arg))) {
            best = &list[i];
        }
    }
    return best;
}

const struct vm_image_version *vm_image_find(const struct vm_image_version *list, size_t n,
                                             const char *version)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].name, version) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

int vm_image_deactivate(const struct config_class *class, const char *version, struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->image_deactivate == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "class %s: its image has no versions", class->name);
    }
    return ops->image_deactivate(class, version, e) == 0 ? 0 : err_said_by(e, ERR_FROM_PROVIDER);
}

int vm_image_recalled(const struct config_class *class, const char *version, bool *recalled,
                      struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->image_recalled == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "the provider recalls no images");
    }
    return ops->image_recalled(class, version, recalled, e);
}

int vm_image_built(const struct config_class *class, const char *version, int64_t *built_ms,
                   struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->image_built == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "the provider does not know when its images were built");
    }
    return ops->image_built(class, version, built_ms, e);
}

int vm_shell(const struct config_class *class, const char *deployment, const char *name,
             int *out_fd, struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->shell == NULL) {
        return err_set(
            e, ERR_CONFLICT, 0,
            "VMs of the provider %s have no shell here: how the terminal that its service "
            "offers speaks is not documented",
            class->provider);
    }
    return ops->shell(class, deployment, name, out_fd, e);
}

int vm_image_runner(const struct config_class *class, char out[VM_RUNNER_VERSION], struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->image_runner == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "the provider does not know which runner its images have");
    }
    return ops->image_runner(class, out, e);
}

int vm_size_of(const struct config_class *class, const char *version, struct vm_size *out,
               struct err *e)
{
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->size == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "the provider does not know the size of its VMs");
    }
    return ops->size(class, version, out, e) == 0 ? 0 : err_said_by(e, ERR_FROM_PROVIDER);
}

static void apply_quotas(struct config *c)
{
    for (size_t i = 0; i < vm_all_ops_count; i++) {
        if (vm_all_ops[i]->apply_quotas != NULL) {
            vm_all_ops[i]->apply_quotas(c);
        }
    }
}

void vm_use_quotas(void)
{
    config_set_quota_reader(apply_quotas);
}

/* --- the pace --- */

int vm_pace_wait(const struct vm_pace *pace, enum vm_call call, struct err *e)
{
    return pace->wait != NULL ? pace->wait(pace->arg, call, e) : 0;
}

/* Reports a throttled call to the pace; returns rc. */
static int report_throttling(const struct vm_provider *p, enum vm_call call, int rc,
                             const struct err *e)
{
    if (rc != 0 && e->class == ERR_THROTTLED && p->pace.throttled != NULL) {
        p->pace.throttled(p->pace.arg, call, e->retry_after_ms);
    }
    return rc;
}

/* --- calls to a provider --- */

static int said_by_provider(const struct vm_provider *p, struct err *e)
{
    return err_said_by(e, p->ops->host_bound ? ERR_FROM_HOST : ERR_FROM_PROVIDER);
}

int vm_call_ended(const struct vm_provider *p, enum vm_call call, int rc, struct err *e)
{
    return report_throttling(p, call, rc, e) == 0 ? 0 : said_by_provider(p, e);
}

/* VM names become file names and parts of commands. */
static bool name_is_valid(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= NAME_MAX_CHARS && name[0] != '-' &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static int check_spec(const struct vm_provider *p, const struct vm_spec *spec, struct err *e)
{
    if (!name_is_valid(spec->name)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "a VM's name has 1 to 64 letters, digits and hyphens, and does not start "
                       "with a hyphen");
    }
    size_t token_len = strlen(spec->client_token);
    if (token_len < 1 || token_len > 64) {
        return err_set(e, ERR_PERMANENT, 0, "a VM's token has 1 to 64 characters");
    }
    if (spec->payload.len < 1 || spec->payload.len > p->ops->payload_max) {
        return err_set(e, ERR_PERMANENT, 0,
                       "a VM's payload has 1 to %zu bytes, this one %zu: shorten the class's proxy "
                       "settings",
                       p->ops->payload_max, spec->payload.len);
    }
    if (spec->max_duration_ms < 1) {
        return err_set(e, ERR_PERMANENT, 0, "a VM must have a maximum duration");
    }
    return 0;
}

/* Other ids cannot belong to a VM of this provider. */
static bool id_is_valid(const struct vm_provider *p, const char *id)
{
    return strlen(id) <= VM_ID_MAX && (!p->ops->named || name_is_valid(id));
}

/* A service may answer a request with an empty id as one about a VM that does not exist, and that
 * would be taken as the VM's end. */
static int check_id_known(const char *id, struct err *e)
{
    return id[0] != '\0' ? 0
                         : err_set(e, ERR_PERMANENT, 0,
                                   "the VM's id is unknown, so the provider was not called");
}

int vm_run(struct vm_provider *p, const struct vm_spec *spec, char *out_id, struct err *e)
{
    int64_t began_us = clock_mono_us();
    int rc = check_spec(p, spec, e);
    if (rc == 0) {
        rc = report_throttling(p, VM_CALL_RUN, p->ops->run(p->state, spec, out_id, e), e);
    }
    return end_call(p, VM_CALL_RUN, began_us, rc, e) == 0 ? 0 : said_by_provider(p, e);
}

int vm_room(struct vm_provider *p, struct err *e)
{
    return p->ops->room == NULL || p->ops->room(p->state, e) == 0 ? 0 : said_by_provider(p, e);
}

void vm_room_release(struct vm_provider *p)
{
    if (p->ops->room_release != NULL) {
        p->ops->room_release(p->state);
    }
}

bool vm_run_left_nothing(const struct err *e)
{
    return e->class != ERR_RETRY || e->code == VM_RUN_NOTHING;
}

int vm_terminate(struct vm_provider *p, const char *id, int64_t grace_ms, struct err *e)
{
    if (check_id_known(id, e) != 0) {
        return -1;
    }
    if (!id_is_valid(p, id)) {
        return 0;
    }
    int64_t began_us = clock_mono_us();
    int rc = report_throttling(p, VM_CALL_TERMINATE,
                               p->ops->terminate(p->state, id, grace_ms < 0 ? 0 : grace_ms, e), e);
    return end_call(p, VM_CALL_TERMINATE, began_us, rc, e) == 0 ? 0 : said_by_provider(p, e);
}

int vm_describe(struct vm_provider *p, const char *id, struct vm_info *out, struct err *e)
{
    if (check_id_known(id, e) != 0) {
        return -1;
    }
    if (!id_is_valid(p, id)) {
        return err_set(e, ERR_NOT_FOUND, 0, "there is no such VM");
    }
    if (vm_pace_wait(&p->pace, VM_CALL_DESCRIBE, e) != 0) {
        return -1;
    }
    return report_throttling(p, VM_CALL_DESCRIBE, p->ops->describe(p->state, id, out, e), e);
}

int vm_forget(struct vm_provider *p, const char *id, struct err *e)
{
    if (check_id_known(id, e) != 0) {
        return -1;
    }
    return id_is_valid(p, id) ? p->ops->forget(p->state, id, e) : 0;
}

int vm_probe(struct vm_provider *p, struct err *e)
{
    if (p->ops->probe == NULL || p->ops->probe(p->state, e) == 0) {
        return 0;
    }
    return said_by_provider(p, e);
}

int vm_console(struct vm_provider *p, const char *id, const char *name, size_t limit,
               struct buf *out, struct err *e)
{
    if (check_id_known(id, e) != 0) {
        return -1;
    }
    if (!id_is_valid(p, id)) {
        return err_set(e, ERR_NOT_FOUND, 0, "there is no such VM");
    }
    return p->ops->console(p->state, id, name, limit, out, e);
}

const char *vm_directory(const struct vm_provider *p)
{
    return p->ops->directory == NULL ? NULL : p->ops->directory(p->state);
}

/* --- the network ------------------------------------------------------------------------------ */

bool vm_refuses(const struct config_class *class, const char *host, const char *port,
                struct buf *why)
{
    const struct vm_ops *ops = find_ops(class->provider);
    return ops != NULL && ops->refuses != NULL && ops->refuses(class, host, port, why);
}

struct refused_hosts {
    const struct config_class *class;
    vm_refused_host_fn *found;
    void *arg;
};

static void check_host(const struct refused_hosts *r, const struct vm_proxy *at)
{
    struct buf why;
    buf_init(&why, 1024);
    if (vm_refuses(r->class, at->host, at->port, &why)) {
        r->found(r->arg, at->host, why.data);
    }
    buf_fini(&why);
}

static bool is_loopback_name(const char *host)
{
    return strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 ||
           strcmp(host, "::1") == 0;
}

/* A proxy is let through by itself, but in the VM its own loopback is another. */
static void check_proxy(const struct refused_hosts *r, const char *url)
{
    struct vm_proxy proxy;
    if (!vm_proxy_only(r->class) && vm_proxy_destination(url, &proxy) &&
        is_loopback_name(proxy.host)) {
        r->found(
            r->arg, proxy.host,
            "the class's proxy is at a loopback address, which in a VM is the VM itself: write "
            "this host's as 10.0.2.2");
    }
}

void vm_refused_hosts(const struct config *c, const struct config_class *class,
                      vm_refused_host_fn *found, void *arg)
{
    const struct refused_hosts r = {class, found, arg};
    char url[300];
    struct vm_proxy github;
    struct slice api = slice_of(c->github.api_url);
    const struct vm_ops *ops = find_ops(class->provider);
    if (ops == NULL || ops->refuses == NULL) {
        return;
    }
    /* Without its path. */
    const char *authority = strstr(c->github.api_url, "://");
    const char *path = authority == NULL ? NULL : strchr(authority + 3, '/');
    if (path != NULL) {
        api.len = (size_t)(path - api.ptr);
    }
    /* What goes through a proxy is looked up there. */
    if (*vm_proxy_url(class) == '\0' && slice_to_cstr(api, url, sizeof url) &&
        vm_proxy_destination(url, &github)) {
        check_host(&r, &github);
    }
    check_proxy(&r, class->proxy.http);
    if (strcmp(class->proxy.http, class->proxy.https) != 0) {
        check_proxy(&r, class->proxy.https);
    }
}

void vm_notices(struct vm_provider *p, vm_notice_fn *take, void *arg)
{
    if (p->ops->notices != NULL) {
        p->ops->notices(p->state, take, arg);
    }
}
