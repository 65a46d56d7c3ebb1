#include "common/fleet/circuit_view.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define VIEW_MS 1000 /* maximum age of the copy */

struct seen {
    char name[LEDGER_CELL_NAME];
    struct circuit circuit;
};

struct circuit_view {
    struct ledger *ledger;
    pthread_mutex_t lock;
    /* Under the lock: */
    struct seen *list;
    size_t count;
    int64_t read_ms; /* monotonic; 0: never */
};

/* --- the copy --- */

static struct seen *find_seen(const struct circuit_view *v, const char *name)
{
    for (size_t i = 0; name[0] != '\0' && i < v->count; i++) {
        if (strcmp(v->list[i].name, name) == 0) {
            return &v->list[i];
        }
    }
    return NULL;
}

static void set_seen(struct circuit_view *v, const char *name, const struct circuit *c)
{
    pthread_mutex_lock(&v->lock);
    struct seen *seen = find_seen(v, name);
    if (seen == NULL && c->since_ms > 0) {
        v->list = realloc(v->list, (v->count + 1) * sizeof *v->list);
        ASSERT(v->list != NULL);
        seen = &v->list[v->count++];
        (void)snprintf(seen->name, sizeof seen->name, "%s", name);
    }
    if (seen != NULL) {
        seen->circuit = *c;
    }
    pthread_mutex_unlock(&v->lock);
}

bool circuit_view_get(struct circuit_view *v, const char *name, struct circuit *out)
{
    pthread_mutex_lock(&v->lock);
    const struct seen *seen = find_seen(v, name);
    *out = seen != NULL ? seen->circuit : (struct circuit){0};
    pthread_mutex_unlock(&v->lock);
    return seen != NULL;
}

size_t circuit_view_count(struct circuit_view *v)
{
    pthread_mutex_lock(&v->lock);
    size_t count = v->count;
    pthread_mutex_unlock(&v->lock);
    return count;
}

int64_t circuit_view_open(struct circuit_view *v, enum subject kind)
{
    int64_t now = clock_wall_ms();
    size_t len = strlen(subject_kind(kind));
    int64_t open = 0;
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < v->count; i++) {
        const char *name = v->list[i].name;
        bool of_kind = strncmp(name, subject_kind(kind), len) == 0 && name[len] == ':';
        open += of_kind && circuit_is_open(&v->list[i].circuit, now) ? 1 : 0;
    }
    pthread_mutex_unlock(&v->lock);
    return open;
}

static void take_list(struct circuit_view *v, const struct ledger_cell *cells, size_t n)
{
    struct seen *list = calloc(n + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < n; i++) {
        memcpy(list[i].name, cells[i].name, sizeof list[i].name);
        circuit_decode(cells[i].value, &list[i].circuit);
    }
    pthread_mutex_lock(&v->lock);
    free(v->list);
    v->list = list;
    v->count = n;
    pthread_mutex_unlock(&v->lock);
}

void circuit_view_refresh(struct circuit_view *v)
{
    struct err e = {0};
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&v->lock);
    bool fresh = v->read_ms != 0 && now - v->read_ms < VIEW_MS;
    v->read_ms = fresh ? v->read_ms : now;
    pthread_mutex_unlock(&v->lock);
    if (fresh) {
        return;
    }
    if (ledger_cell_list(v->ledger, CIRCUIT_KIND, &cells, &n, &e) != 0) {
        log_warn("circuits_not_read", LOG_ERR(&e),
                 LOG_STR("action", "the circuits that were read before hold until then"));
        return;
    }
    take_list(v, cells, n);
    free(cells);
}

/* --- changes of a record --- */

enum circuit_change circuit_step_begin_probe(struct circuit *c, const struct circuit_step *s)
{
    return circuit_begin_probe(c, s->holder, s->untried, s->until_ms, s->now_ms);
}

enum circuit_change circuit_step_drop_probe(struct circuit *c, const struct circuit_step *s)
{
    return circuit_drop_probe(c, s->holder);
}

enum circuit_change circuit_step_open(struct circuit *c, const struct circuit_step *s)
{
    return circuit_open(c, &s->opening, s->holder, s->now_ms);
}

enum circuit_change circuit_step_hasten(struct circuit *c, const struct circuit_step *s)
{
    return circuit_hasten(c, s->now_ms);
}

enum circuit_change circuit_step_close(struct circuit *c, const struct circuit_step *s)
{
    return circuit_close(c, s->now_ms);
}

static enum circuit_change apply_step(struct circuit *c, void *arg)
{
    struct circuit_step *s = arg;
    s->was_open_ms = c->since_ms > 0 ? s->now_ms - c->since_ms : 0;
    return s->apply(c, s);
}

enum circuit_change circuit_view_update(struct circuit_view *v, const char *name,
                                        struct circuit_step *s, struct circuit *out)
{
    struct err e = {0};
    enum circuit_change did;
    s->now_ms = clock_wall_ms();
    if (circuit_update(v->ledger, name, apply_step, s, out, &did, &e) != 0) {
        log_warn("circuit_not_updated", LOG_STR("subject", name), LOG_ERR(&e),
                 LOG_STR("action", "the next call that depends on the subject updates it"));
        (void)circuit_view_get(v, name, out);
        return CIRCUIT_UNCHANGED;
    }
    set_seen(v, name, out);
    return did;
}

/* --- lifetime --- */

struct circuit_view *circuit_view_new(struct ledger *ledger)
{
    struct circuit_view *v = calloc(1, sizeof *v);
    ASSERT(v != NULL && pthread_mutex_init(&v->lock, NULL) == 0);
    v->ledger = ledger;
    return v;
}

void circuit_view_free(struct circuit_view *v)
{
    if (v != NULL) {
        pthread_mutex_destroy(&v->lock);
        free(v->list);
        free(v);
    }
}
