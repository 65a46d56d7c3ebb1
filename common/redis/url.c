/*
 * The URL of a Redis store.
 */
#include <string.h>

#include "common/base/url_options.h"
#include "common/redis/internal.h"

#define STORE "Redis"
#define DATABASE_MAX 1000000
#define PORT_DEFAULT 6379
#define TIMEOUT_DEFAULT_MS 5000
#define CONNECTIONS_DEFAULT 64

static int read_text_option(struct slice value, char *out, size_t size, const char *what,
                            struct err *e)
{
    const struct url_option o = {.name = what, .text = out, .size = size};
    return url_option_parse(STORE, &o, value, e);
}

static int read_number_option(struct slice value, int64_t least, int64_t most, const char *what,
                              int64_t *out, struct err *e)
{
    const struct url_option o = {.name = what, .number = out, .least = least, .most = most};
    return url_option_parse(STORE, &o, value, e);
}

static int read_url_options(struct slice query, struct redis_url *u, struct err *e)
{
    int64_t db = u->db;
    int64_t connections = (int64_t)u->connections;
    int64_t wait_replicas = u->wait_replicas;
    int64_t wait_aof = u->wait_aof;
    const struct url_option known[] = {
        {.name = "prefix", .text = u->prefix, .size = sizeof u->prefix, .identifier = true},
        {.name = "db", .number = &db, .least = 0, .most = DATABASE_MAX},
        {.name = "timeout", .duration_ms = &u->timeout_ms, .least = 100, .most = 60000},
        {.name = "connections", .number = &connections, .least = 1, .most = 1024},
        {.name = "wait_replicas", .number = &wait_replicas, .least = 0, .most = 100},
        {.name = "wait_aof", .number = &wait_aof, .least = 0, .most = 1},
        {.name = "ca", .text = u->ca, .size = sizeof u->ca},
        {.name = "cert", .text = u->cert, .size = sizeof u->cert},
        {.name = "key", .text = u->key, .size = sizeof u->key}};
    const struct url_options options = {.store = STORE, .known = known, .count = COUNT_OF(known)};
    if (url_options_read(query, &options, e) != 0) {
        return -1;
    }
    u->db = (int)db;
    u->connections = (size_t)connections;
    u->wait_replicas = (int)wait_replicas;
    u->wait_aof = wait_aof != 0;
    return 0;
}

/* The last '@' ends the user's part. Returns what follows it. */
static int read_user(struct slice *authority, struct redis_url *u, struct err *e)
{
    struct slice user;
    struct slice password;
    size_t at = authority->len;
    while (at > 0 && authority->ptr[at - 1] != '@') {
        at--;
    }
    if (at == 0) {
        return 0;
    }
    (void)slice_cut((struct slice){authority->ptr, at - 1}, ':', &user, &password);
    if (read_text_option(user, u->user, sizeof u->user, "user", e) != 0 ||
        read_text_option(password, u->password, sizeof u->password, "password", e) != 0) {
        return -1;
    }
    if (u->user[0] != '\0' && u->password[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "the Redis URL has a user but no password");
    }
    authority->ptr += at;
    authority->len -= at;
    return 0;
}

static int read_host(struct slice authority, struct redis_url *u, struct err *e)
{
    struct slice host;
    struct slice port;
    int64_t number = PORT_DEFAULT;
    bool has_port;
    if (authority.len > 0 && authority.ptr[0] == '[') {
        authority.ptr++;
        authority.len--;
        if (!slice_cut(authority, ']', &host, &port) || (port.len > 0 && port.ptr[0] != ':')) {
            return err_set(e, ERR_PERMANENT, 0, "the Redis URL's IPv6 address lacks its ']'");
        }
        has_port = port.len > 0;
        port = has_port ? (struct slice){port.ptr + 1, port.len - 1} : port;
    } else {
        has_port = slice_cut(authority, ':', &host, &port);
    }
    if (has_port && read_number_option(port, 1, 65535, "port", &number, e) != 0) {
        return -1;
    }
    u->port = (int)number;
    return read_text_option(host, u->host, sizeof u->host, "host", e);
}

/* Without a host the path is a socket's; else it is "/" and the database. */
static int read_path(struct slice path, struct redis_url *u, struct err *e)
{
    int64_t db = 0;
    if (u->host[0] == '\0') {
        if (path.len < 2 || u->tls) {
            return err_set(e, ERR_PERMANENT, 0,
                           "the Redis URL has no server: write redis://HOST:PORT, "
                           "rediss://HOST:PORT or redis:///path/to/socket");
        }
        return read_text_option(path, u->socket, sizeof u->socket, "socket", e);
    }
    if (path.len > 1 && read_number_option((struct slice){path.ptr + 1, path.len - 1}, 0,
                                           DATABASE_MAX, "database", &db, e) != 0) {
        return -1;
    }
    u->db = (int)db;
    return 0;
}

int redis_url_parse(const char *url, struct redis_url *out, struct err *e)
{
    struct slice rest = slice_of(url);
    struct slice place;
    struct slice options;
    struct redis_url u = {
        .timeout_ms = TIMEOUT_DEFAULT_MS, .connections = CONNECTIONS_DEFAULT, .prefix = "mayfly"};
    u.tls = slice_starts_with(rest, SLICE("rediss://"));
    if (!u.tls && !slice_starts_with(rest, SLICE("redis://"))) {
        return err_set(e, ERR_PERMANENT, 0,
                       "not the URL of a Redis server: write redis://HOST:PORT or "
                       "rediss://HOST:PORT");
    }
    rest.ptr += u.tls ? 9 : 8;
    rest.len -= u.tls ? 9 : 8;
    (void)slice_cut(rest, '?', &place, &options);
    size_t slash = 0;
    while (slash < place.len && place.ptr[slash] != '/') {
        slash++;
    }
    struct slice authority = {place.ptr, slash};
    struct slice path = {place.ptr + slash, place.len - slash};
    if (read_user(&authority, &u, e) != 0 || read_host(authority, &u, e) != 0 ||
        read_path(path, &u, e) != 0 || read_url_options(options, &u, e) != 0) {
        return -1;
    }
    *out = u;
    return 0;
}
