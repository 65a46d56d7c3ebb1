/* The world's queue: a real one, in memory. */
#include <stdio.h>
#include <string.h>

#include "tests/lib/calls.h"
#include "tests/unit/reaper/world.h"

#define DAY_MS (24LL * 3600 * 1000)

/* What calls_queue.c stands before; the world's own messages are no calls of the reaper's. */
int __real_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);

struct queue *world_queue;

bool __real_queue_can(const struct queue *q, enum queue_capability c);
bool __wrap_queue_can(const struct queue *q, enum queue_capability c);
bool __wrap_queue_can(const struct queue *q, enum queue_capability c)
{
    return __real_queue_can(q, c) && !(c == QUEUE_FIND && world.queue_cannot_find);
}

static void place_one(const char *lane, enum queue_place place, const char *key)
{
    struct err e = {0};
    struct queue_message m = {.id = ""};
    size_t got = 0;
    const struct queue_item item = {.lane = lane,
                                    .body = SLICE("{}"),
                                    .key = key,
                                    .delay_ms = place == QUEUE_DELAYED ? DAY_MS : 0};
    ASSERT(__real_queue_put(world_queue, &item, 1, &e) == 0);
    if (place == QUEUE_LEASED || place == QUEUE_DEAD) {
        ASSERT(queue_take(world_queue, lane, 1, DAY_MS, 0, &m, &got, &e) == 0 && got == 1);
        ASSERT(strcmp(m.key, key) == 0); /* nothing was ready before it */
        ASSERT(place == QUEUE_LEASED || queue_bury(world_queue, &m, "test", &e) == 0);
        queue_message_fini(&m);
    }
}

void world_add_messages(const char *lane, enum queue_place place, const char *key, int n)
{
    for (int i = 0; i < n; i++) {
        place_one(lane, place, key);
    }
}

/* A queue of another name in the place of this one. */
void world_empty_queue(void)
{
    static int times;
    char url[64];
    struct err e = {0};
    struct queue *old = world_queue;
    (void)snprintf(url, sizeof url, "memory://reaper-%d", ++times);
    ASSERT(queue_open(url, &world_queue, &e) == 0);
    if (world.reaper != NULL) {
        world.reaper->queue = world_queue;
    }
    queue_close(old);
}

int world_puts(void)
{
    return (int)calls_done("queue_put", NULL);
}

const char *world_put(int i, const char *field)
{
    static char value[QUEUE_BODY_MAX_BYTES];
    char begin[16];
    const char *args = calls_args("queue_put", NULL, (size_t)i + 1);
    (void)snprintf(begin, sizeof begin, "%s=", field);
    const char *from = strstr(args, begin);
    ASSERT(from != NULL);
    from += strlen(begin);
    size_t len = strcmp(field, "body") == 0 ? strlen(from) - 1 : strcspn(from, " ");
    ASSERT(slice_to_cstr((struct slice){from, len}, value, sizeof value));
    return value;
}

void world_queue_fails(const char *function, enum err_class class)
{
    const struct call_plan plan = {.function = function, .fails = class};
    calls_replan(&plan, 1);
}
