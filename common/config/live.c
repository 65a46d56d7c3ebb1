#include <pthread.h>
#include <stdlib.h>

#include "common/config/private.h"

/* One configuration and the number of references to it. config_live itself holds one to the current
 * version. */
struct version {
    struct version *next;
    struct config *config;
    size_t holders;
};

struct config_live {
    pthread_mutex_t lock; /* guards versions; path and who never change */
    pthread_mutex_t reload_lock;
    struct version *versions; /* the current one first */
    char *path;
    enum config_for who;
};

static struct version *version_new(struct config *c, struct version *next)
{
    struct version *v = calloc(1, sizeof *v);
    ASSERT(v != NULL);
    *v = (struct version){.next = next, .config = c, .holders = 1};
    return v;
}

/* Frees unreferenced versions; under the lock. */
static void free_unreferenced(struct config_live *live)
{
    struct version **at = &live->versions;
    while (*at != NULL) {
        struct version *v = *at;
        if (v->holders > 0) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        config_free(v->config);
        free(v);
    }
}

struct config_live *config_live_new(struct config *first, const char *path, enum config_for who)
{
    struct config_live *live = calloc(1, sizeof *live);
    ASSERT(live != NULL);
    ASSERT(pthread_mutex_init(&live->lock, NULL) == 0);
    ASSERT(pthread_mutex_init(&live->reload_lock, NULL) == 0);
    live->versions = version_new(first, NULL);
    live->path = path != NULL ? slice_dup(slice_of(path)) : NULL;
    live->who = who;
    return live;
}

void config_live_free(struct config_live *live)
{
    if (live == NULL) {
        return;
    }
    /* A remaining reference would point to freed memory. */
    ASSERT(live->versions->holders == 1 && live->versions->next == NULL);
    live->versions->holders = 0;
    free_unreferenced(live);
    pthread_mutex_destroy(&live->lock);
    pthread_mutex_destroy(&live->reload_lock);
    free(live->path);
    free(live);
}

const struct config *config_live_get(struct config_live *live)
{
    pthread_mutex_lock(&live->lock);
    live->versions->holders++;
    const struct config *c = live->versions->config;
    pthread_mutex_unlock(&live->lock);
    return c;
}

void config_live_put(struct config_live *live, const struct config *c)
{
    pthread_mutex_lock(&live->lock);
    struct version *v = live->versions;
    while (v != NULL && v->config != c) {
        v = v->next;
    }
    ASSERT(v != NULL && v->holders > 0);
    v->holders--;
    free_unreferenced(live);
    pthread_mutex_unlock(&live->lock);
}

/* Under reload_lock. */
static void put_current(struct config_live *live, const struct config *old, struct config *fresh,
                        struct buf *ignored)
{
    config_keep_fixed(old, fresh, ignored);
    pthread_mutex_lock(&live->lock);
    live->versions->holders--;
    live->versions = version_new(fresh, live->versions);
    free_unreferenced(live);
    pthread_mutex_unlock(&live->lock);
}

int config_live_reload(struct config_live *live, struct buf *ignored, struct err *e)
{
    struct config *fresh = NULL;
    /* One reload at a time, so that each starts from the result of the one before. */
    pthread_mutex_lock(&live->reload_lock);
    int rc = config_load(live->path, live->who, &fresh, NULL, e);
    if (rc == 0) {
        const struct config *old = config_live_get(live);
        put_current(live, old, fresh, ignored);
        config_live_put(live, old);
    }
    pthread_mutex_unlock(&live->reload_lock);
    return rc;
}

bool config_live_read_quotas(struct config_live *live)
{
    struct config *fresh = NULL;
    struct err ignored;
    bool renewed = false;
    pthread_mutex_lock(&live->reload_lock);
    const struct config *old = config_live_get(live);
    if (old->automatic.count > 0 &&
        config_load(live->path, live->who, &fresh, NULL, &ignored) == 0) {
        renewed = fresh->text_hash == old->text_hash && !fresh->quotas_unread;
        if (renewed) {
            put_current(live, old, fresh, NULL);
        } else {
            config_free(fresh);
        }
    }
    config_live_put(live, old);
    pthread_mutex_unlock(&live->reload_lock);
    return renewed;
}
