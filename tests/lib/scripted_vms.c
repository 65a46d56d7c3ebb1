#include "tests/lib/scripted_vms.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/vm/vm_backend.h"
#include "tests/lib/calls.h"

struct scripted_vms scripted_vms;
static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* of the list, while calls are carried out */

static struct vm_ops in_cloud;

void scripted_vms_reset(void)
{
    scripted_vms = (struct scripted_vms){.domain = "lambda/r/1"};
    in_cloud.image = NULL;
}

struct vm_info *scripted_vms_add(const char *class_name, const char *name, enum vm_run_state state)
{
    ASSERT(scripted_vms.count < SCRIPTED_VMS_MAX);
    struct scripted_vm *m = &scripted_vms.list[scripted_vms.count++];
    *m = (struct scripted_vm){.class_name = class_name, .info.state = state};
    (void)snprintf(m->info.id, sizeof m->info.id, "id-%s", name);
    (void)snprintf(m->info.name, sizeof m->info.name, "%s", name);
    return &m->info;
}

static struct vm_info *find(const char *class_name, const char *id)
{
    for (size_t i = 0; i < scripted_vms.count; i++) {
        struct scripted_vm *m = &scripted_vms.list[i];
        if (strcmp(m->class_name, class_name) == 0 && strcmp(m->info.id, id) == 0) {
            return &m->info;
        }
    }
    return NULL;
}

/* The state of a provider is its class's name. */
static int open_class(const struct config_class *class, const char *deployment, void **out_state,
                      struct err *e)
{
    (void)deployment;
    (void)e;
    *out_state = strdup(class->name);
    ASSERT(*out_state != NULL);
    return 0;
}

/* Each target ("class@target") is a domain of its own. */
static const char *domain(const void *state)
{
    const char *target = strchr(state, '@');
    return target != NULL ? target : scripted_vms.domain;
}

static int run(void *state, const struct vm_spec *spec, char *out_id, struct err *e)
{
    struct call c = call_begin("vm_run", e, "class=%s name=%s token=%s max_duration_ms=%lld",
                               (const char *)state, spec->name, spec->client_token,
                               (long long)spec->max_duration_ms);
    if (c.goes_on) {
        pthread_mutex_lock(&lock);
        memcpy(scripted_vms.payload, spec->payload.ptr, spec->payload.len);
        scripted_vms.payload_len = spec->payload.len;
        const struct vm_info *m = scripted_vms_add(state, spec->name, VM_RUN_RUNNING);
        (void)snprintf(out_id, VM_ID_MAX + 1, "%s", m->id);
        pthread_mutex_unlock(&lock);
    } else if (spec->console != NULL && scripted_vms.console != NULL) {
        buf_append_cstr(spec->console, scripted_vms.console);
    }
    return call_end(&c, 0, e);
}

static int terminate(void *state, const char *id, int64_t grace_ms, struct err *e)
{
    struct call c = call_begin("vm_terminate", e, "class=%s id=%s grace_ms=%lld",
                               (const char *)state, id, (long long)grace_ms);
    pthread_mutex_lock(&lock);
    struct vm_info *m = find(state, id);
    if (c.goes_on && m != NULL && !scripted_vms.end_does_nothing) {
        m->state = VM_RUN_ENDED;
        m->ended_ms = clock_wall_ms();
    }
    pthread_mutex_unlock(&lock);
    return call_end(&c, 0, e);
}

static int describe(void *state, const char *id, struct vm_info *out, struct err *e)
{
    struct call c = call_begin("vm_describe", e, "class=%s id=%s", (const char *)state, id);
    pthread_mutex_lock(&lock);
    const struct vm_info *m = find(state, id); /* the plan of the call may have added it */
    bool unknown = c.goes_on && m == NULL;
    *out = c.goes_on && !unknown ? *m : *out;
    pthread_mutex_unlock(&lock);
    return call_end(&c, unknown ? err_set(e, ERR_NOT_FOUND, 0, "no VM") : 0, e);
}

/* Forgotten VMs are not listed. */
static int forget(void *state, const char *id, struct err *e)
{
    struct call c = call_begin("vm_forget", e, "class=%s id=%s", (const char *)state, id);
    pthread_mutex_lock(&lock);
    struct vm_info *m = find(state, id);
    if (c.goes_on && m != NULL) {
        *m = (struct vm_info){.id = ""};
    }
    pthread_mutex_unlock(&lock);
    return call_end(&c, 0, e);
}

static void add_vms_of(struct vm_list_page *page, size_t class)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < scripted_vms.count; i++) {
        const struct scripted_vm *m = &scripted_vms.list[i];
        if (strcmp(m->class_name, page->states[class]) == 0 && m->info.id[0] != '\0') {
            vm_listing_add(page->listing, class, &m->info);
        }
    }
    pthread_mutex_unlock(&lock);
}

/* A page for every class that is listed, or one for all of them. */
static int list(struct vm_list_page *page, struct err *e)
{
    char names[256] = "";
    for (size_t i = 0; i < page->classes; i++) {
        (void)snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                       i == 0 ? "" : ",", (const char *)page->states[i]);
    }
    struct call c = call_begin("vm_list", e, "class=%s cursor=%s", names,
                               page->cursor != NULL ? page->cursor : "");
    if (!c.goes_on) {
        return call_end(&c, -1, e);
    }
    size_t at = page->cursor != NULL ? strlen(page->cursor) : 0;
    for (size_t i = 0; at == 0 && i < page->classes; i++) {
        add_vms_of(page, i);
    }
    if (at < scripted_vms.more_pages) {
        page->next = calloc(1, at + 2);
        ASSERT(page->next != NULL);
        memset(page->next, 'x', at + 1);
    }
    return call_end(&c, 0, e);
}

static bool listed_together(const void *a, const void *b)
{
    (void)a;
    (void)b;
    return true;
}

static int console(void *state, const char *id, const char *name, size_t limit, struct buf *out,
                   struct err *e)
{
    struct call c =
        call_begin("vm_console", e, "class=%s id=%s name=%s", (const char *)state, id, name);
    const char *text = scripted_vms.console;
    if (!c.goes_on || text == NULL) {
        return call_end(&c, err_set(e, ERR_NOT_FOUND, 0, "no console"), e);
    }
    size_t skip = strlen(text) > limit ? strlen(text) - limit : 0;
    buf_append_cstr(out, text + skip);
    return call_end(&c, 0, e);
}

static int room(void *state, struct err *e)
{
    struct call c = call_begin("vm_room", e, "class=%s", (const char *)state);
    return call_end(&c, 0, e);
}

static void room_release(void *state)
{
    (void)call_begin("vm_room_release", NULL, "class=%s", (const char *)state);
}

static int probe(void *state, struct err *e)
{
    struct call c = call_begin("vm_probe", e, "class=%s", (const char *)state);
    return call_end(&c, 0, e);
}

#define OPERATIONS                                                                                 \
    .payload_max = SCRIPTED_PAYLOAD_MAX, .open = open_class, .close = free, .run = run,            \
    .terminate = terminate, .describe = describe, .forget = forget, .list = list,                  \
    .console = console, .size = size

static int image_built(const struct config_class *class, const char *version, int64_t *built_ms,
                       struct err *e)
{
    (void)version;
    *built_ms = scripted_vms.image_built_ms;
    return *built_ms > 0 ? 0 : err_set(e, ERR_NOT_FOUND, 0, "no image of class %s", class->name);
}

/* --- versions --- */

static void image_of(const struct config_class *class, struct vm_image *out)
{
    (void)class;
    *out = (struct vm_image){.id = SCRIPTED_IMAGE,
                             .pinned = scripted_vms.pinned != NULL ? scripted_vms.pinned : "",
                             .endpoint = "",
                             .name = "scripted"};
}

static int image_versions(const struct config_class *class, struct vm_image_version **out,
                          size_t *n, struct err *e)
{
    struct call c = call_begin("vm_image_versions", e, "class=%s", class->name);
    if (c.goes_on) {
        *out = calloc(SCRIPTED_VERSIONS_MAX, sizeof **out);
        ASSERT(*out != NULL);
        memcpy(*out, scripted_vms.versions, sizeof scripted_vms.versions);
        *n = scripted_vms.version_count;
    }
    return call_end(&c, 0, e);
}

static int image_deactivate(const struct config_class *class, const char *version, struct err *e)
{
    struct call c =
        call_begin("vm_image_deactivate", e, "class=%s version=%s", class->name, version);
    for (size_t i = 0; c.goes_on && i < scripted_vms.version_count; i++) {
        if (strcmp(scripted_vms.versions[i].name, version) == 0) {
            scripted_vms.versions[i].active = false;
        }
    }
    return call_end(&c, 0, e);
}

static int size(const struct config_class *class, const char *version, struct vm_size *out,
                struct err *e)
{
    struct call c = call_begin("vm_size", e, "class=%s version=%s", class->name, version);
    *out = (struct vm_size){.milli_vcpus = 1000 * scripted_vms.vcpus,
                            .memory_mib = 2048 * scripted_vms.vcpus};
    return call_end(&c, 0, e);
}

static const struct vm_ops on_host = {.name = "qemu",
                                      .host_bound = true,
                                      .named = true,
                                      .room = room,
                                      .room_release = room_release,
                                      OPERATIONS};
static struct vm_ops in_cloud = {.name = "lambda",
                                 .domain = domain,
                                 .probe = probe,
                                 .listed_together = listed_together,
                                 .image_versions = image_versions,
                                 .image_deactivate = image_deactivate,
                                 .image_built = image_built,
                                 OPERATIONS};

const struct vm_ops *const vm_all_ops[] = {&on_host, &in_cloud};
const size_t vm_all_ops_count = COUNT_OF(vm_all_ops);

struct vm_image_version *scripted_vms_add_version(const char *name, bool active)
{
    ASSERT(scripted_vms.version_count < SCRIPTED_VERSIONS_MAX);
    struct vm_image_version *v = &scripted_vms.versions[scripted_vms.version_count++];
    *v = (struct vm_image_version){.active = active};
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    in_cloud.image = image_of;
    return v;
}
