/*
 * The versions of the classes' images (common/ledger/images.h): a version that somebody built becomes the canary,
 * whoever built it; one that cannot be launched any more is replaced before a launch meets it; one that was rejected
 * is made INACTIVE; and what was decided is logged, once, by the holder of the lease.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/class_images.h"
#include "reaper/reaper.h"

struct look {
    const struct vm_image *image;
    const struct vm_image_version *list;
    size_t n;
    bool listed;
    struct ledger_image
        said[2]; /* out: each with the news that is logged: what was decided before, and now */
    size_t said_count;
};

/* A canary that was deleted or made INACTIVE has failed nothing: it is only no longer tried. */
static bool drop_canary(struct ledger_image *i, const struct look *l)
{
    const struct vm_image_version *v = vm_image_find(l->list, l->n, i->canary);
    if (i->canary[0] == '\0' || (v != NULL && v->active)) {
        return false;
    }
    return ledger_image_reject(i, i->canary, false, "it is not ACTIVE any more", clock_wall_ms());
}

/* Takes the news from the cell. Returns whether there was any. */
static bool take_news(struct ledger_image *i, struct look *l)
{
    bool any = i->news != IMAGE_NO_NEWS;
    if (any) {
        l->said[l->said_count++] = *i;
        i->news = IMAGE_NO_NEWS;
    }
    return any;
}

static bool is_for(const struct ledger_image *i, const struct vm_image *image)
{
    return i->version != 0 && strncmp(i->image, image->id, sizeof i->image - 1) == 0;
}

static bool change_image(struct ledger_image *i, void *arg)
{
    struct look *l = arg;
    l->said_count = 0;
    if (!is_for(i, l->image)) {
        return false; /* the first launch begins */
    }
    bool write = take_news(i, l);
    if (l->listed) {
        const struct vm_image_version *newest = vm_image_newest(l->list, l->n, NULL, NULL);
        write |= drop_canary(i, l);
        write |= class_images_replace(i, l->list, l->n, clock_wall_ms());
        write |= newest != NULL && ledger_image_offer(i, newest->name, clock_wall_ms());
    }
    return take_news(i, l) || write;
}

static void log_image_rejected(const struct ledger_image *i)
{
    if (!i->by_rule) {
        log_info("image_withdrawn", LOG_STR("class", i->class_name),
                 LOG_STR("version", i->rejected[0]), LOG_STR("good", i->good),
                 LOG_STR("reason", i->why));
        return;
    }
    log_error("image_rejected", LOG_STR("class", i->class_name), LOG_STR("version", i->rejected[0]),
              LOG_STR("good", i->good), LOG_STR("reason", i->why),
              LOG_STR("action", "launches use the good version: find out why its VMs failed, and "
                                "publish another one"));
}

static void log_news(const struct ledger_image *i)
{
    switch (i->news) {
    case IMAGE_NO_NEWS:
        break;
    case IMAGE_BEGAN:
        log_info("image_canary_began", LOG_STR("class", i->class_name),
                 LOG_STR("version", i->canary), LOG_STR("good", i->good));
        break;
    case IMAGE_PROMOTED:
        log_info("image_promoted", LOG_STR("class", i->class_name), LOG_STR("version", i->good),
                 LOG_STR("former", i->former));
        break;
    case IMAGE_REJECTED:
        log_image_rejected(i);
        break;
    case IMAGE_REPLACED:
        log_warn("image_replaced", LOG_STR("class", i->class_name), LOG_STR("version", i->good),
                 LOG_STR("reason", i->why), LOG_STR("action", "launches use that version"));
        break;
    }
}

/* A version that was rejected is made INACTIVE before that is logged, once: so a ledger that was lost begins with none that
 * failed, and an operator may activate it again. Where that is refused, the ledger alone
 * knows. */
static int deactivate_rejected(struct sweep *s, const struct config_class *class,
                               const struct vm_image *image, struct err *e)
{
    struct ledger_image i;
    if (ledger_image_get(s->reaper->ledger, class->name, &i, e) != 0) {
        return -1;
    }
    if (i.news != IMAGE_REJECTED || !is_for(&i, image) ||
        vm_image_deactivate(class, i.rejected[0], e) == 0 || e->class == ERR_NOT_FOUND) {
        return 0;
    }
    if (e->class == ERR_RETRY || e->class == ERR_THROTTLED) {
        return -1;
    }
    log_warn("image_not_deactivated", LOG_STR("class", class->name),
             LOG_STR("version", i.rejected[0]), LOG_ERR(e),
             LOG_STR("action", "the ledger alone knows that it was rejected: allow the reaper to "
                               "make versions INACTIVE"));
    return 0;
}

static int look_at_class(struct sweep *s, const struct config_class *class, int64_t *repairs,
                         struct err *e)
{
    struct vm_image image;
    struct vm_image_version *list = NULL;
    struct ledger_image after;
    struct look l = {.image = &image};
    if (!vm_image_of(class, &image) || image.pinned[0] != '\0' || config_class_is_retired(class)) {
        return 0;
    }
    if (deactivate_rejected(s, class, &image, e) != 0) {
        return -1; /* the next sweep */
    }
    /* Without the list what was decided is logged all the same. */
    int rc = vm_image_versions(class, &list, &l.n, e);
    l.listed = rc == 0;
    l.list = list;
    struct err of_ledger = {0};
    if (ledger_image_change(s->reaper->ledger, class->name, change_image, &l, &after, &of_ledger) !=
        0) {
        *e = of_ledger;
        rc = -1;
    } else {
        for (size_t i = 0; i < l.said_count; i++) {
            log_news(&l.said[i]);
            *repairs += l.said[i].news == IMAGE_REPLACED;
        }
    }
    free(list);
    return rc;
}

int sweep_images(struct sweep *s, int64_t *repairs, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < s->config->place_count; i++) {
        struct err one = {0};
        if (look_at_class(s, s->config->places[i], repairs, &one) != 0) {
            *e = one;
            rc = -1;
        }
    }
    return rc;
}

int64_t sweep_images_interval_ms(const struct sweep *s)
{
    return s->config->reaper.vm_list_interval_ms;
}
