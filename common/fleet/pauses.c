#include "common/fleet/pauses.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"

#define AGE_MAX_MS 1000

struct pauses {
    struct ledger *ledger;
    pthread_mutex_t lock;
    /* Under the lock: */
    struct ledger_pause *list;
    size_t count;
    int64_t read_ms; /* monotonic, when the read began; 0: never */
};

static void take_list(struct pauses *p, struct ledger_pause *list, size_t n, int64_t read_ms)
{
    pthread_mutex_lock(&p->lock);
    if (read_ms >= p->read_ms) {
        struct ledger_pause *old = p->list;
        p->list = list;
        p->count = n;
        p->read_ms = read_ms;
        list = old;
    }
    pthread_mutex_unlock(&p->lock);
    free(list);
}

static int refresh(struct pauses *p, struct err *e)
{
    struct ledger_pause *list = NULL;
    size_t n = 0;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&p->lock);
    bool fresh = p->read_ms != 0 && now - p->read_ms < AGE_MAX_MS;
    pthread_mutex_unlock(&p->lock);
    if (fresh) {
        return 0;
    }
    if (ledger_pause_list(p->ledger, &list, &n, e) != 0) {
        return -1;
    }
    take_list(p, list, n, now);
    return 0;
}

int pauses_get(struct pauses *p, const char *class_name, struct ledger_pause *out, struct err *e)
{
    if (refresh(p, e) != 0) {
        return -1;
    }
    pthread_mutex_lock(&p->lock);
    const struct ledger_pause *found = ledger_pause_of(p->list, p->count, class_name);
    *out = found != NULL ? *found : (struct ledger_pause){0};
    pthread_mutex_unlock(&p->lock);
    return 0;
}

struct pauses *pauses_new(struct ledger *ledger)
{
    struct pauses *p = calloc(1, sizeof *p);
    ASSERT(p != NULL && pthread_mutex_init(&p->lock, NULL) == 0);
    p->ledger = ledger;
    return p;
}

void pauses_free(struct pauses *p)
{
    if (p != NULL) {
        pthread_mutex_destroy(&p->lock);
        free(p->list);
        free(p);
    }
}
