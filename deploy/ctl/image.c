/*
 * `mayflyctl image …`: the versions of the classes' images (common/ledger/images.h), by the place where
 * each is: the class, or CLASS@TARGET.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/ledger/images.h"
#include "deploy/ctl/ctl.h"

json_t *ctl_image_describe(const struct ledger_image *i)
{
    json_t *rejected = json_array();
    json_t *canary = json_null();
    for (size_t k = 0; k < IMAGE_REJECTED_MAX && i->rejected[k][0] != '\0'; k++) {
        json_array_append_new(rejected, ctl_text(i->rejected[k]));
    }
    if (i->canary[0] != '\0') {
        canary = json_pack("{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "version",
                           ctl_text(i->canary), "since", ctl_time(i->canary_since_ms), "jobs",
                           (json_int_t)i->jobs, "jobs_needed", (json_int_t)IMAGE_CANARY_JOBS,
                           "failures", (json_int_t)i->failures, "failures_allowed",
                           (json_int_t)IMAGE_CANARY_FAILURES - 1, "good_jobs",
                           (json_int_t)i->good_jobs, "good_failures", (json_int_t)i->good_failures);
    }
    char class_name[PLACE_NAME_SIZE];
    const char *at = strchr(i->class_name, '@');
    (void)snprintf(class_name, sizeof class_name, "%.*s", (int)strcspn(i->class_name, "@"),
                   i->class_name);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "place",
                     ctl_text(i->class_name), "class", ctl_text(class_name), "target",
                     ctl_text(at != NULL ? at + 1 : ""), "image", ctl_text(i->image), "good",
                     ctl_text(i->good), "since", ctl_time(i->good_since_ms), "former",
                     ctl_text(i->former), "canary", canary, "rejected", rejected, "rejected_at",
                     ctl_time(i->rejected_ms), "reason", ctl_text(i->why));
}

int ctl_image_list(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_image *list = NULL;
    size_t n = 0;
    if (ledger_image_list(c->ledger, &list, &n, e) != 0) {
        return -1;
    }
    *out = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(*out, ctl_image_describe(&list[i]));
    }
    free(list);
    return 0;
}

void ctl_image_print(const json_t *image)
{
    const json_t *canary = json_object_get(image, "canary");
    const json_t *rejected = json_object_get(image, "rejected");
    printable_line(stdout, "%s: version %s since %s", ctl_str(image, "place"),
                   ctl_str(image, "good"), ctl_str(image, "since"));
    if (json_is_object(canary)) {
        printable_line(
            stdout,
            "  canary %s since %s: %lld of %lld jobs, %lld VMs failed (of the good version beside "
            "it: %lld jobs, %lld failed)",
            ctl_str(canary, "version"), ctl_str(canary, "since"),
            (long long)ctl_int(canary, "jobs"), (long long)ctl_int(canary, "jobs_needed"),
            (long long)ctl_int(canary, "failures"), (long long)ctl_int(canary, "good_jobs"),
            (long long)ctl_int(canary, "good_failures"));
    }
    if (json_array_size(rejected) > 0) {
        printable_line(stdout, "  rejected %s at %s: %s",
                       json_string_value(json_array_get(rejected, 0)),
                       ctl_str(image, "rejected_at"), ctl_str(image, "reason"));
    }
}

void ctl_image_list_print(const json_t *answer)
{
    size_t i;
    const json_t *image;
    json_array_foreach(answer, i, image)
    {
        ctl_image_print(image);
    }
    if (json_array_size(answer) == 0) {
        printable_line(stdout, "no class has launched from an image with versions");
    }
}

/* Where a class has targets, each has an image of its own: its name alone says too little. */
static int refuse_place(const struct ctl *c, const char *name, struct err *e)
{
    struct buf names;
    buf_init(&names, 600);
    for (size_t i = 0; i < c->config->place_count; i++) {
        buf_printf(&names, "%s%s", i > 0 ? ", " : "", c->config->places[i]->name);
    }
    err_set(e, ERR_NOT_FOUND, 0, "no place of images is named \"%.64s\"; the configuration has: %s",
            name, names.len > 0 ? names.data : "none");
    buf_fini(&names);
    return -1;
}

struct decision {
    const char *version; /* NULL: the canary */
    bool done;           /* out */
    bool was_rejected;   /* out */
    char named[LEDGER_IMAGE_VERSION];
};

static bool promote(struct ledger_image *i, void *arg)
{
    struct decision *d = arg;
    const char *version = d->version != NULL ? d->version : i->canary;
    (void)snprintf(d->named, sizeof d->named, "%s", version);
    d->done = i->version != 0 && version[0] != '\0' && strcmp(version, i->good) != 0;
    d->was_rejected = ledger_image_is_rejected(i, version);
    if (d->done) {
        ledger_image_take(i, version, clock_wall_ms());
    }
    return d->done;
}

static bool reject(struct ledger_image *i, void *arg)
{
    struct decision *d = arg;
    const char *version = d->version != NULL ? d->version : i->canary;
    (void)snprintf(d->named, sizeof d->named, "%s", version);
    d->done = version[0] != '\0' &&
              ledger_image_reject(i, version, false, "rejected by an operator", clock_wall_ms());
    return d->done;
}

static int decide(struct ctl *c, ledger_image_change_fn *change, const char *did, json_t **out,
                  struct err *e)
{
    struct ledger_image after;
    char text[400];
    struct decision d = {.version = c->argc > 1 ? c->argv[1] : NULL};
    if (config_place_by_name(c->config, c->argv[0]) == NULL) {
        return refuse_place(c, c->argv[0], e);
    }
    if (ledger_image_change(c->ledger, c->argv[0], change, &d, &after, e) != 0) {
        return -1;
    }
    if (!d.done) {
        return err_set(e, ERR_CONFLICT, 0,
                       after.version == 0
                           ? "class %s has launched from no image with versions yet%s"
                       : d.named[0] == '\0' ? "class %s tries no version: name one%s"
                                            : "class %s: nothing to change about version %s",
                       c->argv[0], after.version == 0 ? "" : d.named);
    }
    (void)snprintf(text, sizeof text, "class %s: version %s %s; launches use %s within seconds%s",
                   c->argv[0], d.named, did, after.good,
                   d.was_rejected
                       ? ". It was rejected, and so made INACTIVE: unless it is ACTIVE again "
                         "(mayfly-publish-image activate) the version before it takes its "
                         "place"
                       : "");
    *out = json_pack("{s:s, s:o, s:o, s:o}", "place", c->argv[0], "version", ctl_text(d.named),
                     "good", ctl_text(after.good), "did", ctl_text(text));
    return 0;
}

int ctl_image_promote(struct ctl *c, json_t **out, struct err *e)
{
    return decide(c, promote, "is good", out, e);
}

int ctl_image_reject(struct ctl *c, json_t **out, struct err *e)
{
    return decide(c, reject, "is rejected", out, e);
}
