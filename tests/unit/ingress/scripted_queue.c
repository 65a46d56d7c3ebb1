#include "scripted_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct scripted_queue fake = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER};

static int fake_handle;
#define FAKE ((struct queue *)(void *)&fake_handle)

int __real_queue_open(const char *url, struct queue **out, struct err *e);
int __wrap_queue_open(const char *url, struct queue **out, struct err *e);
int __real_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);
int __wrap_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);
int __real_queue_ping(struct queue *q, struct err *e);
int __wrap_queue_ping(struct queue *q, struct err *e);
void __real_queue_close(struct queue *q);
void __wrap_queue_close(struct queue *q);

int __wrap_queue_open(const char *url, struct queue **out, struct err *e)
{
    if (strcmp(url, "fake://") != 0) {
        return __real_queue_open(url, out, e);
    }
    pthread_mutex_lock(&fake.lock);
    enum err_class closed = fake.closed;
    fake.opens++;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    if (closed != ERR_NONE) {
        return err_set(e, closed, 0, "nobody there");
    }
    *out = FAKE;
    return 0;
}

static bool has_poison(const struct queue_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fake.poisoned != NULL && strcmp(items[i].key, fake.poisoned) == 0) {
            return true;
        }
    }
    return false;
}

static void arrive(const struct queue_item *item)
{
    assert_true(fake.arrived < SCRIPTED_MAX);
    assert_string_equal(item->lane, "launch.small");
    snprintf(fake.keys[fake.arrived], sizeof fake.keys[0], "%s", item->key);
    snprintf(fake.groups[fake.arrived], sizeof fake.groups[0], "%s", item->group);
    snprintf(fake.bodies[fake.arrived], sizeof fake.bodies[0], "%.*s", (int)item->body.len,
             item->body.ptr);
    fake.arrived++;
}

static int fake_put(const struct queue_item *items, size_t n, struct err *e)
{
    int result = 0;
    pthread_mutex_lock(&fake.lock);
    fake.puts++;
    pthread_cond_broadcast(&fake.changed);
    while (fake.blocked) {
        pthread_cond_wait(&fake.changed, &fake.lock);
    }
    if (fake.refusal != ERR_NONE || has_poison(items, n)) {
        fake.refused++;
        result = err_set(e, fake.refusal != ERR_NONE ? fake.refusal : ERR_PERMANENT, 0, "no");
    }
    for (size_t i = 0; i < n && result == 0; i++) {
        arrive(&items[i]);
    }
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    return result;
}

int __wrap_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e)
{
    if (q == FAKE) {
        return fake_put(items, n, e);
    }
    pthread_mutex_lock(&fake.lock);
    bool full = fake.disk_full;
    pthread_mutex_unlock(&fake.lock);
    return full ? err_set(e, ERR_CAPACITY, 0, "disk full") : __real_queue_put(q, items, n, e);
}

int __wrap_queue_ping(struct queue *q, struct err *e)
{
    if (q != FAKE) {
        return __real_queue_ping(q, e);
    }
    pthread_mutex_lock(&fake.lock);
    enum err_class refusal = fake.refusal;
    pthread_mutex_unlock(&fake.lock);
    return refusal != ERR_NONE ? err_set(e, refusal, 0, "no") : 0;
}

void __wrap_queue_close(struct queue *q)
{
    if (q != FAKE) {
        __real_queue_close(q);
    }
}

void scripted_reset(void)
{
    fake.refusal = fake.closed = ERR_NONE;
    fake.blocked = fake.disk_full = false;
    fake.poisoned = NULL;
    fake.arrived = fake.puts = fake.refused = fake.opens = fake.told = 0;
}

void scripted_opened(struct queue *q)
{
    assert_ptr_equal(q, FAKE);
    pthread_mutex_lock(&fake.lock);
    fake.told++;
    pthread_mutex_unlock(&fake.lock);
}

void scripted_refuse(enum err_class refusal)
{
    pthread_mutex_lock(&fake.lock);
    fake.refusal = refusal;
    pthread_mutex_unlock(&fake.lock);
}

void scripted_poison(const char *key)
{
    pthread_mutex_lock(&fake.lock);
    fake.poisoned = key;
    pthread_mutex_unlock(&fake.lock);
}

size_t scripted_count(const size_t *count)
{
    pthread_mutex_lock(&fake.lock);
    size_t now = *count;
    pthread_mutex_unlock(&fake.lock);
    return now;
}

void scripted_set(bool *flag, bool value)
{
    pthread_mutex_lock(&fake.lock);
    *flag = value;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

void scripted_wait_above(const size_t *count, size_t above)
{
    pthread_mutex_lock(&fake.lock);
    while (*count <= above) {
        pthread_cond_wait(&fake.changed, &fake.lock);
    }
    pthread_mutex_unlock(&fake.lock);
}
