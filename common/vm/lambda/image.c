/*
 * The versions of a class's image, and which of them launches use.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/vm/lambda/call.h"
#include "common/vm/lambda/check.h"

#define TEXT_BYTES_MAX 2048
#define PAGES_MAX 100

void lambda_image(const struct config_class *class, struct vm_image *out)
{
    const struct lambda_settings *s = lambda_settings_of(class);
    *out = (struct vm_image){.id = s->image,
                             .pinned = s->image_version,
                             .endpoint = s->endpoint,
                             .role_arn = s->role_arn};
    (void)!slice_to_cstr(lambda_region(s), out->region, sizeof out->region);
    (void)!slice_to_cstr(lambda_arn_part(s->image, 6), out->name, sizeof out->name);
}

static const char *json_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

/* From the description that mayfly-publish-image writes: "…, runner 2.337.0, …". */
static void read_runner(const char *description, char out[VM_RUNNER_VERSION])
{
    const char *at = strstr(description, "runner ");
    const size_t len = at != NULL ? strspn(at + 7, "0123456789.") : 0;
    if (len > 0) {
        (void)!slice_to_cstr((struct slice){at + 7, len}, out, VM_RUNNER_VERSION);
    }
}

static void read_version(const json_t *item, struct vm_image_version *out)
{
    const json_t *resources = json_array_get(json_object_get(item, "resources"), 0);
    *out = (struct vm_image_version){
        .active = strcmp(json_text(item, "status"), "ACTIVE") == 0 &&
                  strcmp(json_text(item, "state"), "SUCCESSFUL") == 0,
        .built_ms = (int64_t)(json_number_value(json_object_get(item, "createdAt")) * 1000),
        .memory_mib =
            (int64_t)json_integer_value(json_object_get(resources, "minimumMemoryInMiB"))};
    (void)!slice_to_cstr(slice_of(json_text(item, "imageVersion")), out->name, sizeof out->name);
    (void)!slice_to_cstr(slice_of(json_text(item, "baseImageVersion")), out->base,
                         sizeof out->base);
    (void)!slice_to_cstr(slice_of(json_text(item, "baseImageArn")), out->base_image,
                         sizeof out->base_image);
    read_runner(json_text(item, "description"), out->runner);
}

struct version_list {
    struct vm_image_version *items;
    size_t count;
};

typedef void add_items_fn(void *arg, const json_t *items);

static void add_versions(void *arg, const json_t *items)
{
    struct version_list *l = arg;
    size_t i;
    const json_t *item;
    l->items = reallocarray(l->items, l->count + json_array_size(items) + 1, sizeof *l->items);
    ASSERT(l->items != NULL);
    json_array_foreach(items, i, item)
    {
        struct vm_image_version *v = &l->items[l->count];
        read_version(item, v);
        l->count += v->name[0] != '\0';
    }
}

/* A list of versions: of this deployment's image, or of one of the service's. */
struct pages {
    const char *operation;
    const char *folder; /* "/microvm-images/" */
    const char *image;
    add_items_fn *add;
    void *arg;
};

/* One page; *cursor is NULL after the last one. */
static int read_page(struct aws_client *service, const struct pages *p, char **cursor,
                     struct err *e)
{
    struct buf path;
    struct buf query;
    struct http_response answer;
    buf_init(&path, TEXT_BYTES_MAX);
    buf_init(&query, TEXT_BYTES_MAX);
    buf_append_cstr(&path, p->folder);
    codec_percent(&path, slice_of(p->image));
    buf_append_cstr(&path, "/versions");
    if (*cursor != NULL) {
        buf_append_cstr(&query, "nextToken=");
        codec_percent(&query, slice_of(*cursor));
    }
    const struct lambda_call call = {.operation = p->operation,
                                     .method = "GET",
                                     .path = buf_slice(&path),
                                     .query = buf_slice(&query)};
    int rc = lambda_send(service, &call, &answer, NULL, e);
    free(*cursor);
    *cursor = NULL;
    buf_fini(&path);
    buf_fini(&query);
    if (rc != 0) {
        return -1;
    }
    json_t *page =
        json_loadb(answer.body.len > 0 ? answer.body.data : "", answer.body.len, 0, NULL);
    http_response_fini(&answer);
    if (page == NULL) {
        return err_set(e, ERR_RETRY, 0, "%s: the response is not JSON: check lambda.endpoint",
                       p->operation);
    }
    p->add(p->arg, json_object_get(page, "items"));
    const char *next = json_text(page, "nextToken");
    *cursor = next[0] != '\0' ? slice_dup(slice_of(next)) : NULL;
    json_decref(page);
    return 0;
}

static int read_pages(struct aws_client *service, const struct pages *p, struct err *e)
{
    char *cursor = NULL;
    int pages = 0;
    int rc;
    do {
        rc = read_page(service, p, &cursor, e);
    } while (rc == 0 && cursor != NULL && ++pages < PAGES_MAX);
    free(cursor);
    return rc;
}

int lambda_list_versions(struct aws_client *service, const char *image,
                         struct vm_image_version **out, size_t *n, struct err *e)
{
    struct version_list l = {.items = NULL};
    const struct pages p = {.operation = LAMBDA_VERSIONS_OPERATION,
                            .folder = "/microvm-images/",
                            .image = image,
                            .add = add_versions,
                            .arg = &l};
    if (read_pages(service, &p, e) != 0) {
        free(l.items);
        return -1;
    }
    *out = l.items;
    *n = l.count;
    return 0;
}

/* --- what an image is built on --- */

struct base_search {
    const char *version;
    bool found;
    bool recalled;
};

static void search_base(void *arg, const json_t *items)
{
    struct base_search *s = arg;
    size_t i;
    const json_t *item;
    json_array_foreach(items, i, item)
    {
        if (strcmp(json_text(item, "imageVersion"), s->version) == 0) {
            s->found = true;
            s->recalled = strcmp(json_text(item, "status"), "RECALLED") == 0;
        }
    }
}

int lambda_base_recalled(struct aws_client *service, const struct vm_image_version *version,
                         bool *recalled, struct err *e)
{
    struct base_search s = {.version = version->base};
    const struct pages p = {.operation = LAMBDA_BASES_OPERATION,
                            .folder = "/managed-microvm-images/",
                            .image = version->base_image,
                            .add = search_base,
                            .arg = &s};
    if (version->base[0] == '\0' || version->base_image[0] == '\0') {
        return err_set(e, ERR_NOT_FOUND, 0, "version %s does not say what it was built on",
                       version->name);
    }
    if (read_pages(service, &p, e) != 0) {
        return -1;
    }
    if (!s.found) {
        return err_set(e, ERR_NOT_FOUND, 0, "version %s of the base image is not listed",
                       version->base);
    }
    *recalled = s.recalled;
    return 0;
}

int lambda_image_versions(const struct config_class *class, struct vm_image_version **out,
                          size_t *n, struct err *e)
{
    struct aws_client *service = NULL;
    if (lambda_check_image(class, e) != 0 || lambda_client_open(class, &service, e) != 0) {
        return -1;
    }
    int rc = lambda_list_versions(service, lambda_settings_of(class)->image, out, n, e);
    aws_client_close(service);
    return rc;
}

int lambda_image_deactivate(const struct config_class *class, const char *version, struct err *e)
{
    struct aws_client *service = NULL;
    struct http_response answer;
    struct buf path;
    if (lambda_check_image(class, e) != 0 || lambda_client_open(class, &service, e) != 0) {
        return -1;
    }
    buf_init(&path, TEXT_BYTES_MAX);
    buf_append_cstr(&path, "/microvm-images/");
    codec_percent(&path, slice_of(lambda_settings_of(class)->image));
    buf_append_cstr(&path, "/versions/");
    codec_percent(&path, slice_of(version));
    const struct lambda_call call = {.operation = "UpdateMicrovmImageVersion",
                                     .method = "PATCH",
                                     .path = buf_slice(&path),
                                     .body = SLICE("{\"status\":\"INACTIVE\"}")};
    int rc = lambda_send(service, &call, &answer, NULL, e);
    if (rc == 0) {
        http_response_fini(&answer);
    }
    buf_fini(&path);
    aws_client_close(service);
    return rc;
}

const struct vm_image_version *lambda_version_in_use(const struct config_class *class,
                                                     const struct vm_image_version *list, size_t n,
                                                     const char *version)
{
    const char *pinned = lambda_settings_of(class)->image_version;
    const char *wanted = pinned[0] != '\0' ? pinned : version;
    return wanted[0] != '\0' ? vm_image_find(list, n, wanted)
                             : vm_image_newest(list, n, NULL, NULL);
}

/* The version that a launch of the class would use; false if there is none. */
static int read_version_in_use(const struct config_class *class, const char *version, bool *found,
                               struct vm_image_version *out, struct err *e)
{
    struct vm_image_version *list = NULL;
    size_t n = 0;
    if (lambda_image_versions(class, &list, &n, e) != 0) {
        return -1;
    }
    const struct vm_image_version *used = lambda_version_in_use(class, list, n, version);
    *found = used != NULL;
    if (used != NULL) {
        *out = *used;
    }
    free(list);
    return 0;
}

int lambda_image_built(const struct config_class *class, const char *version, int64_t *built_ms,
                       struct err *e)
{
    struct vm_image_version used;
    bool found;
    if (read_version_in_use(class, version, &found, &used, e) != 0) {
        return -1;
    }
    if (!found || used.built_ms <= 0) {
        return err_set(e, ERR_NOT_FOUND, 0, "class %s: the image has no ACTIVE version with a time",
                       class->name);
    }
    *built_ms = used.built_ms;
    return 0;
}

int lambda_image_recalled(const struct config_class *class, const char *version, bool *recalled,
                          struct err *e)
{
    struct vm_image_version used;
    struct aws_client *service = NULL;
    bool found;
    if (read_version_in_use(class, version, &found, &used, e) != 0) {
        return -1;
    }
    if (!found) {
        return err_set(e, ERR_NOT_FOUND, 0, "class %s: the image has no ACTIVE version",
                       class->name);
    }
    if (lambda_client_open(class, &service, e) != 0) {
        return -1;
    }
    int rc = lambda_base_recalled(service, &used, recalled, e);
    aws_client_close(service);
    return rc;
}

int lambda_image_runner(const struct config_class *class, char out[VM_RUNNER_VERSION],
                        struct err *e)
{
    struct vm_image_version used;
    bool found;
    if (read_version_in_use(class, "", &found, &used, e) != 0) {
        return -1;
    }
    if (!found || used.runner[0] == '\0') {
        return err_set(e, ERR_NOT_FOUND, 0, "class %s: the image does not say which runner it has",
                       class->name);
    }
    memcpy(out, used.runner, sizeof used.runner);
    return 0;
}

int lambda_image_memory(const struct config_class *class, int64_t *mib, struct err *e)
{
    struct vm_image_version used;
    bool found = false;
    int rc = read_version_in_use(class, "", &found, &used, e);
    if (rc == 0 && (!found || used.memory_mib <= 0)) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "class %s: the image has no ACTIVE version, so the size of its VMs is unknown",
                     class->name);
    }
    *mib = rc == 0 ? used.memory_mib : 0;
    return rc;
}

/* The baseline: 2 GB of memory come with one vCPU. */
int lambda_size(const struct config_class *class, const char *version, struct vm_size *out,
                struct err *e)
{
    struct vm_image_version used;
    bool found = false;
    if (read_version_in_use(class, version, &found, &used, e) != 0) {
        return -1;
    }
    if (!found || used.memory_mib <= 0) {
        return err_set(e, ERR_NOT_FOUND, 0, "class %s: nothing says how large its VMs are",
                       class->name);
    }
    *out = (struct vm_size){.milli_vcpus = used.memory_mib * 1000 / 2048,
                            .memory_mib = used.memory_mib};
    return 0;
}
