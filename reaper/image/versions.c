/*
 * The versions of the classes' images (common/ledger/images.h): a version that somebody built becomes the canary,
 * whoever built it; one that cannot be launched any more is replaced before a launch meets it; and what was
 * decided is logged, once, by the holder of the lease.
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
    enum ledger_image_news news; /* out: that the change took from the cell */
    struct ledger_image logged;  /* out: as it is logged */
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

static bool change_image(struct ledger_image *i, void *arg)
{
    struct look *l = arg;
    bool write = false;
    l->news = IMAGE_NO_NEWS;
    if (i->version == 0 || strncmp(i->image, l->image->id, sizeof i->image - 1) != 0) {
        return false; /* the first launch begins */
    }
    if (l->listed) {
        const struct vm_image_version *newest = vm_image_newest(l->list, l->n, NULL, NULL);
        write = drop_canary(i, l);
        write |= class_images_replace(i, l->list, l->n, clock_wall_ms());
        write |= newest != NULL && ledger_image_offer(i, newest->name, clock_wall_ms());
    }
    l->news = i->news;
    l->logged = *i;
    write |= i->news != IMAGE_NO_NEWS;
    i->news = IMAGE_NO_NEWS;
    return write;
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

static void log_news(const struct look *l)
{
    const struct ledger_image *i = &l->logged;
    switch (l->news) {
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
                 LOG_STR("reason", i->why),
                 LOG_STR("action", "launches use the newest version that can be launched"));
        break;
    }
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
        log_news(&l);
        *repairs += l.news == IMAGE_REPLACED;
    }
    free(list);
    return rc;
}

int sweep_images(struct sweep *s, int64_t *repairs, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < s->config->class_count; i++) {
        struct err one = {0};
        if (look_at_class(s, &s->config->classes[i], repairs, &one) != 0) {
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
