#include "ingress/server.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/net/listen_address.h"
#include "ingress/loop.h"

#define LOOPS_MAX 256
#define BACKLOG 4096
/* Descriptors for the program itself: databases, admin port, loops. */
#define OWN_DESCRIPTORS 64

struct server {
    struct config_live *live;
    const struct config *config; /* the one of the start */
    struct tls *tls;
    struct loop *loops[LOOPS_MAX];
    size_t loop_count;
    struct program_listener listener;
};

/* --- the port --- */

static bool set_options(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}

/* A listening socket; sets *address to the bound address with its port. -1 with errno. */
static int open_listener(struct sockaddr_storage *address, socklen_t *size)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (!set_options(fd) || bind(fd, (struct sockaddr *)address, *size) != 0 ||
        listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)address, size) != 0) {
        int errnum = errno;
        close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static void name_listener(struct server *s, const struct sockaddr_storage *address, socklen_t size)
{
    struct program_listener *on = &s->listener;
    char port[NI_MAXSERV] = "0";
    (void)getnameinfo((const struct sockaddr *)address, size, on->address, sizeof on->address, port,
                      sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    ASSERT(slice_to_int64(slice_of(port), &on->port));
    on->tls = s->tls != NULL;
}

/* --- sizes --- */

static size_t loops_wanted(const struct config_ingress *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t wanted = c->threads > 0 ? c->threads : cores;
    wanted = wanted > c->max_connections ? c->max_connections : wanted;
    wanted = wanted > c->max_in_flight ? c->max_in_flight : wanted;
    return wanted < 1 ? 1 : wanted > LOOPS_MAX ? LOOPS_MAX : (size_t)wanted;
}

size_t server_connections(const struct config_ingress *c)
{
    int64_t wanted = c->max_connections;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return (size_t)wanted;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (rlim_t)wanted + OWN_DESCRIPTORS) {
        return (size_t)wanted;
    }
    int64_t possible = (int64_t)limit.rlim_cur - OWN_DESCRIPTORS;
    possible = possible < 1 ? 1 : possible;
    log_warn("fd_limit_low", LOG_INT("max_connections", wanted), LOG_INT("possible", possible),
             LOG_STR("hint", "raise the limit of open files (systemd: LimitNOFILE)"));
    return (size_t)possible;
}

/* --- libevent's own messages --- */

static void on_library_log(int severity, const char *message)
{
    if (severity >= EVENT_LOG_WARN) {
        log_warn("libevent_warning", LOG_STR("message", message));
    }
}

/* --- lifetime --- */

/* All places in flight are distributed, so that together the loops can reach the bound and never
 * exceed it. */
static size_t share_of_places(size_t loop, size_t loops, int64_t max_in_flight)
{
    return (size_t)max_in_flight / loops + (loop < (size_t)max_in_flight % loops ? 1 : 0);
}

static int start_loops(struct server *s, const struct loop_shared *shared, size_t connections,
                       struct err *e)
{
    const struct config_ingress *c = &s->config->ingress;
    struct sockaddr_storage address;
    socklen_t size = 0;
    size_t wanted = loops_wanted(c);
    if (listen_address_resolve("ingress.listen", c->listen, &address, &size, e) != 0) {
        return -1;
    }
    for (; s->loop_count < wanted; s->loop_count++) {
        const struct loop_bounds share = {
            .connections = (connections + wanted - 1) / wanted,
            .in_flight = share_of_places(s->loop_count, wanted, c->max_in_flight),
        };
        int fd = open_listener(&address, &size);
        if (fd < 0) {
            return err_errno(e, ERR_PERMANENT, errno, "ingress.listen: %s", c->listen);
        }
        if (loop_start(shared, fd, &share, &s->loops[s->loop_count], e) != 0) {
            return -1;
        }
    }
    name_listener(s, &address, size);
    return 0;
}

const struct program_listener *server_listener(const struct server *s)
{
    return &s->listener;
}

int server_start(const struct server_options *o, struct server **out, struct err *e)
{
    struct server *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->live = o->live;
    s->config = config_live_get(o->live);
    event_set_log_callback(on_library_log);
    const struct config_ingress *c = &s->config->ingress;
    if (c->tls_certificate[0] != '\0' &&
        tls_open(c->tls_certificate, c->tls_key, &s->tls, e) != 0) {
        server_stop(s, 0);
        return -1;
    }
    const struct loop_shared shared = {o->live, s->config, o->intake, o->dedupe, o->peers, s->tls};
    if (start_loops(s, &shared, o->connections, e) != 0) {
        server_stop(s, 0);
        return -1;
    }
    *out = s;
    return 0;
}

void server_reload(struct server *s)
{
    struct err e = {0};
    const struct config_ingress *c = &s->config->ingress;
    if (s->tls == NULL) {
        return;
    }
    if (tls_reload(s->tls, c->tls_certificate, c->tls_key, &e) != 0) {
        log_error("certificate_reload_failed", LOG_ERR(&e));
    } else {
        log_info("certificate_reloaded", LOG_STR("path", c->tls_certificate));
    }
}

void server_stop(struct server *s, int64_t timeout_ms)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->loop_count; i++) {
        loop_drain(s->loops[i], timeout_ms);
    }
    for (size_t i = 0; i < s->loop_count; i++) {
        loop_join(s->loops[i]);
    }
    tls_close(s->tls);
    config_live_put(s->live, s->config);
    free(s);
}
