/*
 * Old versions of an image, which count against a quota of 50.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/base/printable.h"
#include "deploy/image/lambda/publish/publish.h"

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* The versions that VMs run which have not ended. */
static int list_running(struct images *im, const char *arn, json_t **out, struct err *e)
{
    struct buf path;
    buf_init(&path, 4096);
    buf_append_cstr(&path, "/microvms?imageIdentifier=");
    codec_percent(&path, slice_of(arn));
    int rc = images_list(im, "ListMicrovms", path.data, out, e);
    buf_fini(&path);
    return rc;
}

static bool is_running(const json_t *vms, const char *version)
{
    size_t i;
    const json_t *vm;
    json_array_foreach(vms, i, vm)
    {
        if (strcmp(member_text(vm, "state"), "TERMINATED") != 0 &&
            strcmp(member_text(vm, "imageVersion"), version) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_newest_first(const void *a, const void *b)
{
    const double x = strtod(member_text(*(json_t *const *)a, "imageVersion"), NULL);
    const double y = strtod(member_text(*(json_t *const *)b, "imageVersion"), NULL);
    return (x < y) - (x > y);
}

static bool is_unfinished(const json_t *version)
{
    const char *state = member_text(version, "state");
    return strcmp(state, "PENDING") == 0 || strcmp(state, "IN_PROGRESS") == 0 ||
           strcmp(state, "DELETING") == 0 || strcmp(state, "DELETED") == 0;
}

static int delete_version(struct images *im, const char *arn, const char *version, struct err *e)
{
    struct buf path;
    json_t *answer = NULL;
    buf_init(&path, 4096);
    images_path(&path, arn, version);
    int rc = images_call(im, "DeleteMicrovmImageVersion", "DELETE", path.data, NULL, &answer, e);
    buf_fini(&path);
    json_decref(answer);
    return rc;
}

/* The service deletes one version at a time: what it refuses is left to the next run. */
static void delete_old(struct images *im, const char *arn, json_t *const *list, size_t n,
                       const struct prune *p)
{
    for (size_t i = p->keep; i < n; i++) {
        struct err e = {0};
        const char *version = member_text(list[i], "imageVersion");
        if (is_unfinished(list[i]) || is_running(p->running, version) ||
            p->in_use(version, p->arg)) {
            continue;
        }
        if (delete_version(im, arn, version, &e) != 0) {
            printable_line(stderr, "version %s was not deleted, the next run tries again: %s",
                           version, e.message);
            return;
        }
        printable_line(stderr, "version %s was deleted: the newest %zu stay, and what runs",
                       version, p->keep);
    }
}

int prune_versions(struct images *im, const char *arn, size_t keep, prune_in_use_fn *in_use,
                   const void *arg, struct err *e)
{
    struct buf path;
    json_t *versions = NULL;
    json_t *vms = NULL;
    buf_init(&path, 4096);
    images_path(&path, arn, NULL);
    buf_append_cstr(&path, "/versions");
    int rc = images_list(im, "ListMicrovmImageVersions", path.data, &versions, e);
    buf_fini(&path);
    size_t n = json_array_size(versions);
    if (rc == 0 && n > keep) {
        rc = list_running(im, arn, &vms, e);
    }
    if (rc == 0 && n > keep) {
        json_t **list = calloc(n, sizeof(void *));
        const struct prune p = {.keep = keep, .running = vms, .in_use = in_use, .arg = arg};
        ASSERT(list != NULL);
        for (size_t i = 0; i < n; i++) {
            list[i] = json_array_get(versions, i);
        }
        qsort(list, n, sizeof(void *), compare_newest_first);
        delete_old(im, arn, list, n, &p);
        free(list);
    }
    json_decref(vms);
    json_decref(versions);
    return rc;
}
