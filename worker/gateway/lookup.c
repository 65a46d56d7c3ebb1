#include <netdb.h>
#include <pthread.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/thread.h"
#include "worker/gateway/gateway.h"

#define AGAIN_MS 30000
#define FIRST_MS 3000
#define FOUND_MAX 32

struct found {
    struct sockaddr_storage to;
    socklen_t len;
    uint16_t port;
    struct ip_address address;
    uint8_t proxy; /* index in the settings */
};

static struct {
    const struct gateway_settings *settings;
    pthread_mutex_t lock;
    pthread_cond_t first; /* the first look-up is over */
    bool looked;
    struct found list[FOUND_MAX]; /* under the lock, as the rest */
    size_t count;
    size_t next;
} lookup = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Appends what the host's name resolves to. False if it does not. */
static bool resolve(size_t index, struct found *list, size_t *count)
{
    const struct gateway_proxy *p = &lookup.settings->proxies[index];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *all = NULL;
    /* A VM's name for its host's loopback. */
    const char *host = strcmp(p->host, NET_ROUTER) == 0 ? "127.0.0.1" : p->host;
    if (getaddrinfo(host, p->port, &hints, &all) != 0) {
        return false;
    }
    for (const struct addrinfo *a = all; a != NULL && *count < FOUND_MAX; a = a->ai_next) {
        struct found *f = &list[*count];
        *f = (struct found){.len = a->ai_addrlen, .proxy = (uint8_t)index};
        if (a->ai_addrlen <= sizeof f->to &&
            ip_address_of(a->ai_addr, a->ai_addrlen, &f->address, &f->port)) {
            memcpy(&f->to, a->ai_addr, a->ai_addrlen);
            (*count)++;
        }
    }
    freeaddrinfo(all);
    return true;
}

/* A name that does not resolve now keeps its addresses. */
static void look_up_all(void)
{
    struct found list[FOUND_MAX];
    size_t count = 0;
    for (size_t i = 0; i < lookup.settings->proxy_count; i++) {
        if (resolve(i, list, &count)) {
            continue;
        }
        for (size_t k = 0; k < lookup.count && count < FOUND_MAX; k++) {
            if (lookup.list[k].proxy == i) {
                list[count++] = lookup.list[k];
            }
        }
    }
    (void)pthread_mutex_lock(&lookup.lock);
    memcpy(lookup.list, list, count * sizeof list[0]);
    lookup.count = count;
    lookup.looked = true;
    (void)pthread_cond_signal(&lookup.first);
    (void)pthread_mutex_unlock(&lookup.lock);
}

static void *keep_looking(void *arg)
{
    (void)arg;
    hooks_trust_thread(true);
    for (;;) {
        look_up_all();
        clock_sleep_until(clock_mono_ms() + AGAIN_MS);
    }
    return NULL;
}

int lookup_open(const struct gateway_settings *settings, struct err *e)
{
    pthread_t thread;
    lookup.settings = settings;
    if (settings->proxy_count == 0) {
        return 0;
    }
    cond_init(&lookup.first);
    if (thread_start(&thread, "the thread that looks the proxy's name up", keep_looking, NULL, e) !=
        0) {
        return -1;
    }
    int64_t until_us = cond_deadline_us(FIRST_MS);
    (void)pthread_mutex_lock(&lookup.lock);
    while (!lookup.looked && cond_wait_until(&lookup.first, &lookup.lock, until_us)) {
    }
    (void)pthread_mutex_unlock(&lookup.lock);
    return 0;
}

bool lookup_has(const struct ip_address *a, uint16_t port)
{
    bool has = false;
    (void)pthread_mutex_lock(&lookup.lock);
    for (size_t i = 0; i < lookup.count && !has; i++) {
        has = lookup.list[i].port == port && ip_address_eq(&lookup.list[i].address, a);
    }
    (void)pthread_mutex_unlock(&lookup.lock);
    return has;
}

bool lookup_next(struct sockaddr_storage *out, socklen_t *len)
{
    bool has = false;
    (void)pthread_mutex_lock(&lookup.lock);
    for (size_t i = 0; i < lookup.count && !has; i++) {
        const struct found *f = &lookup.list[lookup.next++ % lookup.count];
        if (f->proxy == 0) {
            *out = f->to;
            *len = f->len;
            has = true;
        }
    }
    (void)pthread_mutex_unlock(&lookup.lock);
    return has;
}
