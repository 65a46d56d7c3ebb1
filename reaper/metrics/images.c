#include "reaper/metrics/images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/images.h"
#include "common/vm/vm.h"

#define ASK_EVERY_MS 3600000

void image_times_fini(struct image_times *t)
{
    free(t->list);
    *t = (struct image_times){.list = NULL};
}

static bool has_same_classes(const struct image_times *t, const struct config *c)
{
    bool same = t->count == c->place_count;
    for (size_t i = 0; same && i < t->count; i++) {
        same = strcmp(t->list[i].class_name, c->places[i]->name) == 0;
    }
    return same;
}

/* Of the version that the ledger says is launched, or without one of the newest. */
static void ask(struct ledger *l, const struct config_class *class, struct image_time *out)
{
    struct err e = {0};
    struct vm_image of;
    struct ledger_image image = {.version = 0};
    bool recalled = false;
    bool has_versions = vm_image_of(class, &of);
    out->built_ms = 0;
    out->recalled = -1;
    if (has_versions && ledger_image_get(l, class->name, &image, &e) != 0) {
        return;
    }
    if (vm_image_built(class, image.good, &out->built_ms, &e) != 0) {
        out->built_ms = 0;
    }
    if (vm_image_recalled(class, image.good, &recalled, &e) == 0) {
        out->recalled = recalled ? 1 : 0;
    }
}

void image_times_refresh(struct image_times *t, struct ledger *l, const struct config *c)
{
    if (clock_mono_ms() < t->due_ms && has_same_classes(t, c)) {
        return;
    }
    image_times_fini(t);
    t->due_ms = clock_mono_ms() + ASK_EVERY_MS;
    t->list = calloc(c->place_count + 1, sizeof *t->list);
    ASSERT(t->list != NULL);
    for (size_t i = 0; i < c->place_count; i++) {
        struct image_time *one = &t->list[t->count++];
        (void)snprintf(one->class_name, sizeof one->class_name, "%s", c->places[i]->name);
        ask(l, c->places[i], one);
    }
}

static const struct image_time *find_time(const struct image_times *t, const char *class_name)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->list[i].class_name, class_name) == 0) {
            return &t->list[i];
        }
    }
    return NULL;
}

int64_t image_built_ms(const struct image_times *t, const char *class_name)
{
    const struct image_time *one = find_time(t, class_name);
    return one != NULL ? one->built_ms : 0;
}

int image_base_recalled(const struct image_times *t, const char *class_name)
{
    const struct image_time *one = find_time(t, class_name);
    return one != NULL ? one->recalled : -1;
}
