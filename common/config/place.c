/* Where the VMs of classes run: see config.h. */
#include <stdlib.h>
#include <string.h>

#include "common/config/private.h"
#include "common/config/provider.h"
#include "common/job/vm_name.h"

const struct config_class *config_place_class(const struct config_class *place)
{
    return place->place_of != NULL ? place->place_of : place;
}

const char *config_place_class_name(const struct config_class *place)
{
    return config_place_class(place)->name;
}

const char *config_place_target(const struct config_class *place)
{
    return place->target != NULL ? place->target->name : "";
}

size_t config_launch_places(const struct config *c, const struct config_class *class,
                            const struct config_class *const **first)
{
    for (size_t i = 0; i < c->place_count; i++) {
        const struct config_class *place = c->places[i];
        if (config_place_class(place) == class &&
            (place->target != NULL || class->target_count == 0)) {
            *first = &c->places[i];
            return class->target_count > 0 ? class->target_count : 1;
        }
    }
    return 0;
}

const struct config_class *config_place_by_name(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->place_count; i++) {
        if (strcmp(c->places[i]->name, name) == 0) {
            return c->places[i];
        }
    }
    return NULL;
}

bool config_place_is_of(const struct config_class *place, const char *class_name,
                        const char *target)
{
    bool there =
        strcmp(config_place_target(place), target) == 0 || (place->has_former && target[0] == '\0');
    return there && strcmp(config_place_class_name(place), class_name) == 0;
}

const struct config_target *config_target_by_name(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->place_count; i++) {
        const struct config_target *t = c->places[i]->target;
        if (t != NULL && strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

/* --- making them --- */

static size_t count_targets(const struct config *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->class_count; i++) {
        n += c->classes[i].target_count;
    }
    return n;
}

void config_free_places(struct config *c)
{
    for (size_t i = 0; i < c->target_place_count; i++) {
        free(c->target_places[i].name);
        free(c->target_places[i].settings);
    }
    free(c->target_places);
    free((void *)c->places);
    c->target_places = NULL;
    c->target_place_count = 0;
    c->places = NULL;
    c->place_count = 0;
}

/* A class that launches at its targets may still have VMs where it launched before. */
static bool is_own_place(const struct config_class *class, const struct config_provider *p)
{
    bool has_own = class->target_count == 0 ||
                   (p != NULL && p->has_own_place != NULL && p->has_own_place(class->settings));
    for (size_t i = 0; has_own && i < class->target_count; i++) {
        has_own = !p->is_own_place(class->settings, &class->targets[i]);
    }
    return has_own;
}

static void make_target_place(const struct config_class *class, const struct config_provider *p,
                              const struct config_target *t, struct config_class *out)
{
    char name[PLACE_NAME_SIZE];
    place_name_make(class->name, t->name, name);
    *out = *class;
    out->name = slice_dup(slice_of(name));
    out->place_of = class;
    out->target = t;
    out->targets = NULL;
    out->target_count = 0;
    out->blocks = NULL;
    out->settings = p->at_target(class->settings, t);
    out->has_former = p->is_own_place != NULL && p->is_own_place(class->settings, t);
}

void config_make_places(struct config *c)
{
    size_t targets = count_targets(c);
    config_free_places(c);
    c->places = calloc(c->class_count + targets + 1, sizeof(struct config_class *));
    c->target_places = calloc(targets + 1, sizeof c->target_places[0]);
    ASSERT(c->places != NULL && c->target_places != NULL);
    for (size_t i = 0; i < c->class_count; i++) {
        const struct config_class *class = &c->classes[i];
        const struct config_provider *p = config_provider_find(class->provider);
        if (is_own_place(class, p)) {
            c->places[c->place_count++] = class;
        }
        for (size_t k = 0; p != NULL && p->at_target != NULL && k < class->target_count; k++) {
            struct config_class *place = &c->target_places[c->target_place_count++];
            make_target_place(class, p, &class->targets[k], place);
            c->places[c->place_count++] = place;
        }
    }
}
