#include "common/fleet/class_images.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/vm/vm.h"

#define BEGIN_TRIES 3

/* When this process last launched the canary of a class. */
struct canary_launch {
    char class_name[PLACE_NAME_SIZE];
    char version[LEDGER_IMAGE_VERSION];
    int64_t at_ms; /* monotonic */
    int64_t
        owed; /* launches of the good version for the control group, one for each of the canary's */
};

struct class_images {
    struct ledger *ledger;
    pthread_mutex_t beginning; /* one thread asks for the versions of a class without a cell */
    pthread_mutex_t lock;
    /* Under the lock: */
    struct ledger_image *list;
    size_t count;
    int64_t read_ms; /* monotonic, when the read began; 0: never */
    struct canary_launch *launches;
    size_t launch_count;
};

/* --- the copy of the cells --- */

static void take_list(struct class_images *ci, struct ledger_image *list, size_t n, int64_t read_ms)
{
    pthread_mutex_lock(&ci->lock);
    if (read_ms >= ci->read_ms) {
        struct ledger_image *old = ci->list;
        ci->list = list;
        ci->count = n;
        ci->read_ms = read_ms;
        list = old;
    }
    pthread_mutex_unlock(&ci->lock);
    free(list);
}

static int refresh(struct class_images *ci, bool at_once, struct err *e)
{
    struct ledger_image *list = NULL;
    size_t n = 0;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&ci->lock);
    bool fresh = ci->read_ms != 0 && now - ci->read_ms < CLASS_IMAGES_AGE_MS;
    pthread_mutex_unlock(&ci->lock);
    if (fresh && !at_once) {
        return 0;
    }
    if (ledger_image_list(ci->ledger, &list, &n, e) != 0) {
        return -1;
    }
    take_list(ci, list, n, now);
    return 0;
}

/* Whether there is a cell for that image of the class. */
static bool find_image(struct class_images *ci, const char *class_name,
                       const struct vm_image *image, struct ledger_image *out)
{
    bool found = false;
    *out = (struct ledger_image){.version = 0};
    (void)snprintf(out->class_name, sizeof out->class_name, "%s", class_name);
    pthread_mutex_lock(&ci->lock);
    for (size_t i = 0; i < ci->count && out->version == 0; i++) {
        if (strcmp(ci->list[i].class_name, class_name) == 0) {
            *out = ci->list[i];
            found =
                strncmp(out->image, image->id, sizeof out->image - 1) == 0 && out->good[0] != '\0';
        }
    }
    pthread_mutex_unlock(&ci->lock);
    return found;
}

/* --- a class without a cell --- */

static int put_newest(struct class_images *ci, const struct config_class *class,
                      const struct vm_image *image, struct ledger_image *i, struct err *e)
{
    struct vm_image_version *list = NULL;
    size_t n = 0;
    if (vm_image_versions(class, &list, &n, e) != 0) {
        return -1;
    }
    const struct vm_image_version *newest = vm_image_newest(list, n, NULL, NULL);
    int rc = 0;
    if (newest == NULL) {
        rc = err_set(e, ERR_PERMANENT, VM_RUN_NO_VERSION,
                     "class %s: the image has no ACTIVE version to run: build or activate one",
                     class->name);
        (void)err_said_by(e, ERR_FROM_PROVIDER);
    } else {
        ledger_image_begin(i, image->id, newest->name, clock_wall_ms());
        rc = ledger_image_put(ci->ledger, i, e);
    }
    free(list);
    return rc;
}

/* Another process may be faster; its choice counts then. */
static int begin(struct class_images *ci, const struct config_class *class,
                 const struct vm_image *image, struct ledger_image *i, struct err *e)
{
    int rc = -1;
    pthread_mutex_lock(&ci->beginning);
    for (int try = 0; rc != 0 && try < BEGIN_TRIES; try++) {
        rc = refresh(ci, true, e);
        if (rc == 0 && !find_image(ci, class->name, image, i)) {
            rc = put_newest(ci, class, image, i, e);
        }
        if (rc != 0 && e->class != ERR_CONFLICT) {
            break;
        }
    }
    pthread_mutex_unlock(&ci->beginning);
    return rc;
}

static int get_image(struct class_images *ci, const struct config_class *class,
                     const struct vm_image *image, struct ledger_image *out, struct err *e)
{
    if (refresh(ci, false, e) != 0) {
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    if (find_image(ci, class->name, image, out) || begin(ci, class, image, out, e) == 0) {
        return 0;
    }
    return err_said_by(e, ERR_FROM_LEDGER);
}

/* --- the choice --- */

/* Under the lock. */
static struct canary_launch *last_canary(struct class_images *ci, const char *class_name)
{
    for (size_t i = 0; i < ci->launch_count; i++) {
        if (strcmp(ci->launches[i].class_name, class_name) == 0) {
            return &ci->launches[i];
        }
    }
    ci->launches = reallocarray(ci->launches, ci->launch_count + 1, sizeof *ci->launches);
    ASSERT(ci->launches != NULL);
    struct canary_launch *l = &ci->launches[ci->launch_count++];
    *l = (struct canary_launch){.at_ms = 0};
    (void)snprintf(l->class_name, sizeof l->class_name, "%s", class_name);
    return l;
}

/* The canary gets a share of the launches, and one after a while without any; the control group as many, right after. */
static enum ledger_image_part choose_part(struct class_images *ci, const struct ledger_image *i,
                                          const char *vm_name)
{
    int64_t now = clock_mono_ms();
    enum ledger_image_part part = IMAGE_NO_PART;
    pthread_mutex_lock(&ci->lock);
    struct canary_launch *last = last_canary(ci, i->class_name);
    bool is_new = strcmp(last->version, i->canary) != 0;
    if (is_new || now - last->at_ms >= CLASS_IMAGES_CANARY_EVERY_MS ||
        hash_text(vm_name) % 100 < IMAGE_CANARY_PERCENT) {
        memcpy(last->version, i->canary, sizeof last->version);
        last->at_ms = now;
        last->owed = is_new ? 1 : last->owed + 1;
        part = IMAGE_IS_CANARY;
    } else if (last->owed > 0) {
        last->owed--;
        part = IMAGE_IS_GOOD;
    }
    pthread_mutex_unlock(&ci->lock);
    return part;
}

int class_images_choose(struct class_images *ci, const struct config_class *class,
                        const char *vm_name, bool is_first, struct image_choice *out, struct err *e)
{
    struct vm_image image;
    struct ledger_image i;
    *out = (struct image_choice){.part = IMAGE_NO_PART};
    if (!vm_image_of(class, &image)) {
        return 0;
    }
    if (image.pinned[0] != '\0') {
        slice_shorten(image.pinned, out->version, sizeof out->version);
        return 0;
    }
    if (get_image(ci, class, &image, &i, e) != 0) {
        return -1;
    }
    if (i.canary[0] != '\0' && is_first) {
        out->part = choose_part(ci, &i, vm_name);
    }
    memcpy(out->version, out->part == IMAGE_IS_CANARY ? i.canary : i.good, sizeof out->version);
    return 0;
}

/* --- a version that cannot be launched --- */

static bool is_refused(const char *version, const void *arg)
{
    return ledger_image_is_rejected(arg, version);
}

bool class_images_replace(struct ledger_image *i, const struct vm_image_version *list, size_t n,
                          int64_t now_ms)
{
    char why[160];
    const struct vm_image_version *good = vm_image_find(list, n, i->good);
    if (good != NULL && good->active) {
        return false;
    }
    /* The former one is known to work. */
    const struct vm_image_version *next = vm_image_find(list, n, i->former);
    if (next == NULL || !next->active || ledger_image_is_rejected(i, i->former)) {
        next = vm_image_newest(list, n, is_refused, i);
    }
    if (next == NULL) {
        return false;
    }
    (void)snprintf(why, sizeof why, "version %s %s", i->good,
                   good != NULL ? "is not ACTIVE" : "does not exist any more");
    ledger_image_replace(i, next->name, why, now_ms);
    return true;
}

struct gone {
    const char *version;
    const struct vm_image_version *list;
    size_t n;
    bool changed; /* out: also where another process has changed it */
};

static bool change_gone(struct ledger_image *i, void *arg)
{
    struct gone *g = arg;
    int64_t now_ms = clock_wall_ms();
    const struct vm_image_version *v = vm_image_find(g->list, g->n, g->version);
    bool runs = v != NULL && v->active;
    bool write = false;
    if (strcmp(i->canary, g->version) == 0 && !runs) {
        write = ledger_image_reject(i, g->version, false, "it cannot be launched: it is not ACTIVE",
                                    now_ms);
    }
    write |= class_images_replace(i, g->list, g->n, now_ms);
    g->changed = write || strcmp(i->good, g->version) != 0;
    return write;
}

int class_images_gone(struct class_images *ci, const struct config_class *class,
                      const char *version, bool *changed, struct err *e)
{
    struct vm_image_version *list = NULL;
    struct ledger_image after;
    struct gone g = {.version = version};
    *changed = false;
    if (vm_image_versions(class, &list, &g.n, e) != 0) {
        return -1;
    }
    g.list = list;
    int rc = ledger_image_change(ci->ledger, class->name, change_gone, &g, &after, e);
    free(list);
    if (rc == 0) {
        *changed = g.changed;
        rc = refresh(ci, true, e);
    }
    return rc;
}

struct class_images *class_images_new(struct ledger *ledger)
{
    struct class_images *ci = calloc(1, sizeof *ci);
    ASSERT(ci != NULL && pthread_mutex_init(&ci->lock, NULL) == 0 &&
           pthread_mutex_init(&ci->beginning, NULL) == 0);
    ci->ledger = ledger;
    return ci;
}

void class_images_free(struct class_images *ci)
{
    if (ci != NULL) {
        pthread_mutex_destroy(&ci->lock);
        pthread_mutex_destroy(&ci->beginning);
        free(ci->list);
        free(ci->launches);
        free(ci);
    }
}
