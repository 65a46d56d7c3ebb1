/*
 * The queue on Redis: depths, dead letters, search by key.
 *
 * Lists are read in pages, so that no script blocks the server for long.
 */
#include <stdlib.h>
#include <string.h>

#include "common/queue/redis/internal.h"

#define PAGE 100

/* --- depths --- */
static void read_depth(const struct redis_reply *r, struct queue_depth *d)
{
    redis_reply_text(redis_reply_at(r, 0), d->lane, sizeof d->lane);
    d->ready = redis_reply_int(redis_reply_at(r, 1), 0);
    d->leased = redis_reply_int(redis_reply_at(r, 2), 0);
    d->delayed = redis_reply_int(redis_reply_at(r, 3), 0);
    d->dead = redis_reply_int(redis_reply_at(r, 4), 0);
    d->oldest_ready_ms = redis_reply_int(redis_reply_at(r, 5), 0);
}

static int redis_compare_lanes(const void *a, const void *b)
{
    return strcmp(((const struct queue_depth *)a)->lane, ((const struct queue_depth *)b)->lane);
}

int queue_redis_depths(void *state, const char *lane, struct queue_depth **out, size_t *n,
                       struct err *e)
{
    struct queue_redis *q = state;
    struct redis_args args;
    struct redis_reply *reply = NULL;
    redis_args_init(&args);
    redis_arg_text(&args, lane);
    int rc = redis_store_eval(q->store, &queue_script_depths, &args, &reply, e);
    redis_args_fini(&args);
    if (rc != 0) {
        return -1;
    }
    size_t count = redis_reply_count(reply);
    struct queue_depth *all = calloc(count + 1, sizeof *all);
    ASSERT(all != NULL);
    for (size_t i = 0; i < count; i++) {
        read_depth(redis_reply_at(reply, i), &all[i]);
    }
    redis_reply_free(reply);
    qsort(all, count, sizeof *all, redis_compare_lanes);
    *out = all;
    *n = count;
    return 0;
}

/* --- entries --- */
struct listing {
    struct queue_redis *q;
    const struct redis_script *script;
    size_t max; /* of one key or one lane */
    struct queue_entry *entries;
    size_t count;
};

static enum queue_place place_of(struct slice letter)
{
    if (slice_eq_cstr(letter, "l")) {
        return QUEUE_LEASED;
    }
    if (slice_eq_cstr(letter, "d")) {
        return QUEUE_DELAYED;
    }
    return slice_eq_cstr(letter, "x") ? QUEUE_DEAD : QUEUE_READY;
}

static void redis_read_entry(struct listing *l, const struct redis_reply *r)
{
    l->entries = realloc(l->entries, (l->count + 1) * sizeof *l->entries);
    ASSERT(l->entries != NULL);
    struct queue_entry *entry = &l->entries[l->count++];
    *entry = (struct queue_entry){.place = place_of(redis_reply_bytes(redis_reply_at(r, 6))),
                                  .due_ms = redis_reply_int(redis_reply_at(r, 7), 0),
                                  .dead_lettered_ms = redis_reply_int(redis_reply_at(r, 8), 0),
                                  .ahead = redis_reply_int(redis_reply_at(r, 10), -1)};
    queue_redis_message(r, &entry->message);
    redis_reply_text(redis_reply_at(r, 9), entry->reason, sizeof entry->reason);
    if (entry->place == QUEUE_LEASED) {
        entry->message.leased_until_ms = entry->due_ms;
    }
}

static void free_listing(struct listing *l)
{
    queue_entries_free(l->entries, l->count);
    l->entries = NULL;
    l->count = 0;
}

/* Reads one page of `what` (a lane or a key) after `from`, and sets `from` to the page's last
 * entry; "" at the end. */
static int redis_list_page(struct listing *l, const char *what, size_t count, char *from,
                           size_t size, struct err *e)
{
    struct redis_args args;
    struct redis_reply *reply = NULL;
    redis_args_init(&args);
    redis_arg_text(&args, what);
    redis_arg_text(&args, from);
    redis_arg_int(&args, (int64_t)count);
    int rc = redis_store_eval(l->q->store, l->script, &args, &reply, e);
    redis_args_fini(&args);
    if (rc != 0) {
        return -1;
    }
    const struct redis_reply *page = redis_reply_at(reply, 1);
    for (size_t i = 0; i < redis_reply_count(page) && i < count; i++) {
        redis_read_entry(l, redis_reply_at(page, i));
    }
    redis_reply_text(redis_reply_at(reply, 0), from, size);
    redis_reply_free(reply);
    return 0;
}

static int list_all(struct listing *l, const char *what, const char *start, struct err *e)
{
    char from[64];
    size_t first = l->count;
    ASSERT(slice_to_cstr(slice_of(start), from, sizeof from));
    while (from[0] != '\0' && l->count - first < l->max) {
        size_t left = l->max - (l->count - first);
        if (redis_list_page(l, what, left < PAGE ? left : PAGE, from, sizeof from, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int redis_find(void *state, const char *key, size_t max, struct queue_entry **out, size_t *n,
                      struct err *e)
{
    struct listing l = {.q = state, .script = &queue_script_find, .max = max};
    if (list_all(&l, key, "0", e) != 0) {
        free_listing(&l);
        return -1;
    }
    *out = l.entries;
    *n = l.count;
    return 0;
}

/* --- dead letters --- */
static int redis_compare_dead(const void *a, const void *b)
{
    const struct queue_entry *x = a;
    const struct queue_entry *y = b;
    int64_t left = x->dead_lettered_ms;
    int64_t right = y->dead_lettered_ms;
    if (left == right) {
        left = strtoll(x->message.id, NULL, 10);
        right = strtoll(y->message.id, NULL, 10);
    }
    return left < right ? -1 : left > right;
}

static int list_lanes(struct queue_redis *q, struct redis_reply **out, struct err *e)
{
    struct redis_args args;
    redis_args_init(&args);
    redis_arg_text(&args, "");
    int rc = redis_store_eval(q->store, &queue_script_dead, &args, out, e);
    redis_args_fini(&args);
    return rc;
}

static int list_every_lane(struct listing *l, struct err *e)
{
    struct redis_reply *lanes = NULL;
    if (list_lanes(l->q, &lanes, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < redis_reply_count(lanes); i++) {
        char lane[QUEUE_LANE_MAX + 1];
        redis_reply_text(redis_reply_at(lanes, i), lane, sizeof lane);
        rc = lane[0] != '\0' ? list_all(l, lane, "-", e) : 0;
    }
    redis_reply_free(lanes);
    return rc;
}

static int redis_dead(void *state, const char *lane, size_t max, struct queue_entry **out,
                      size_t *n, struct err *e)
{
    struct listing l = {.q = state, .script = &queue_script_dead, .max = max};
    int rc = lane != NULL ? list_all(&l, lane, "-", e) : list_every_lane(&l, e);
    if (rc != 0) {
        free_listing(&l);
        return -1;
    }
    if (l.count > 1) {
        qsort(l.entries, l.count, sizeof *l.entries, redis_compare_dead);
    }
    for (; l.count > max; l.count--) {
        queue_message_fini(&l.entries[l.count - 1].message);
    }
    *out = l.entries;
    *n = l.count;
    return 0;
}

/* --- redrive and delete --- */
static int redis_change_dead(struct queue_redis *q, const struct redis_script *script,
                             const char *id, struct err *e)
{
    struct redis_args args;
    struct redis_reply *reply = NULL;
    int64_t number;
    if (!slice_to_int64(slice_of(id), &number) || number <= 0) {
        return err_set(e, ERR_NOT_FOUND, 0, "\"%.80s\" is not a message id: an id is a number", id);
    }
    redis_args_init(&args);
    redis_arg_int(&args, number);
    int rc = redis_store_write(q->store, script, &args, &reply, e);
    bool found = redis_reply_int(reply, 0) == 1;
    redis_reply_free(reply);
    redis_args_fini(&args);
    if (rc == 0 && !found) {
        return err_set(e, ERR_NOT_FOUND, 0, "no dead letter has the id %s", id);
    }
    return rc;
}

static int redis_redrive(void *state, const char *id, struct err *e)
{
    return redis_change_dead(state, &queue_script_redrive, id, e);
}

static int redis_delete(void *state, const char *id, struct err *e)
{
    return redis_change_dead(state, &queue_script_delete, id, e);
}

const struct queue_admin_ops queue_redis_admin = {
    .dead = redis_dead,
    .find = redis_find,
    .redrive = redis_redrive,
    .delete = redis_delete,
};
