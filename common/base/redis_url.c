/*
 * The URL of a Redis store.
 */
#include <string.h>

#include "common/base/codec.h"
#include "common/base/redis_internal.h"

#define PORT_DEFAULT 6379
#define DEADLINE_DEFAULT_MS 5000
#define CONNECTIONS_DEFAULT 64

static int take_text(struct slice value, char *out, size_t size, const char *what, struct err *e)
{
    if (!codec_unpercent(value, out, size)) {
        return err_set(e, ERR_PERMANENT, 0, "the Redis URL's %s is too long or has a bad %%XX",
                       what);
    }
    return 0;
}

static int take_number(struct slice value, int64_t least, int64_t most, const char *what,
                       int64_t *out, struct err *e)
{
    if (!slice_to_int64(value, out) || *out < least || *out > most) {
        return err_set(e, ERR_PERMANENT, 0, "the Redis URL's %s must be a number from %lld to %lld",
                       what, (long long)least, (long long)most);
    }
    return 0;
}

static int take_prefix(struct slice value, struct redis_url *u, struct err *e)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (value.len == 0 || !slice_to_cstr(value, u->prefix, sizeof u->prefix) ||
        strspn(u->prefix, allowed) != value.len) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the Redis URL's prefix must have 1 to %zu letters, digits, '.', '_' or '-'",
                       sizeof u->prefix - 1);
    }
    return 0;
}

static int take_option_number(struct slice name, struct slice value, struct redis_url *u,
                              bool *known, struct err *e)
{
    static const struct {
        const char *name;
        int64_t least;
        int64_t most;
    } numbers[] = {{"db", 0, 1000000},
                   {"deadline_ms", 100, 60000},
                   {"connections", 1, 1024},
                   {"wait_replicas", 0, 100},
                   {"wait_aof", 0, 1}};
    int64_t values[COUNT_OF(numbers)] = {u->db, u->deadline_ms, (int64_t)u->connections,
                                         u->wait_replicas, u->wait_aof};
    *known = false;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (slice_eq_cstr(name, numbers[i].name)) {
            *known = true;
            if (take_number(value, numbers[i].least, numbers[i].most, numbers[i].name, &values[i],
                            e) != 0) {
                return -1;
            }
        }
    }
    u->db = (int)values[0];
    u->deadline_ms = values[1];
    u->connections = (size_t)values[2];
    u->wait_replicas = (int)values[3];
    u->wait_aof = values[4] != 0;
    return 0;
}

static int take_option(struct slice option, struct redis_url *u, struct err *e)
{
    struct slice name;
    struct slice value;
    bool known;
    (void)slice_cut(option, '=', &name, &value);
    if (slice_eq_cstr(name, "prefix")) {
        return take_prefix(value, u, e);
    }
    if (slice_eq_cstr(name, "ca")) {
        return take_text(value, u->ca, sizeof u->ca, "ca", e);
    }
    if (slice_eq_cstr(name, "cert")) {
        return take_text(value, u->cert, sizeof u->cert, "cert", e);
    }
    if (slice_eq_cstr(name, "key")) {
        return take_text(value, u->key, sizeof u->key, "key", e);
    }
    if (take_option_number(name, value, u, &known, e) != 0) {
        return -1;
    }
    if (!known) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the Redis URL has an option \"%.*s\": known are prefix, db, deadline_ms, "
                       "connections, wait_replicas, wait_aof, ca, cert and key",
                       SLICE_ARG(name));
    }
    return 0;
}

static int take_options(struct slice options, struct redis_url *u, struct err *e)
{
    while (options.len > 0) {
        struct slice option;
        struct slice rest;
        (void)slice_cut(options, '&', &option, &rest);
        if (option.len > 0 && take_option(option, u, e) != 0) {
            return -1;
        }
        options = rest;
    }
    return 0;
}

/* The last '@' ends the user's part. Returns what follows it. */
static int take_user(struct slice *authority, struct redis_url *u, struct err *e)
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
    if (take_text(user, u->user, sizeof u->user, "user", e) != 0 ||
        take_text(password, u->password, sizeof u->password, "password", e) != 0) {
        return -1;
    }
    if (u->user[0] != '\0' && u->password[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "the Redis URL names a user but no password");
    }
    authority->ptr += at;
    authority->len -= at;
    return 0;
}

static int take_host(struct slice authority, struct redis_url *u, struct err *e)
{
    struct slice host;
    struct slice port;
    int64_t number = PORT_DEFAULT;
    bool has_port;
    if (authority.len > 0 && authority.ptr[0] == '[') {
        authority.ptr++;
        authority.len--;
        if (!slice_cut(authority, ']', &host, &port) || (port.len > 0 && port.ptr[0] != ':')) {
            return err_set(e, ERR_PERMANENT, 0, "the Redis URL's address lacks its ']'");
        }
        has_port = port.len > 0;
        port = has_port ? (struct slice){port.ptr + 1, port.len - 1} : port;
    } else {
        has_port = slice_cut(authority, ':', &host, &port);
    }
    if (has_port && take_number(port, 1, 65535, "port", &number, e) != 0) {
        return -1;
    }
    u->port = (int)number;
    return take_text(host, u->host, sizeof u->host, "host", e);
}

/* The path is a socket's where there is no host, else "/" and the database. */
static int take_path(struct slice path, struct redis_url *u, struct err *e)
{
    int64_t db = 0;
    if (u->host[0] == '\0') {
        if (path.len < 2 || u->tls) {
            return err_set(e, ERR_PERMANENT, 0,
                           "the Redis URL names no server: write redis://HOST:PORT, "
                           "rediss://HOST:PORT or redis:///path/to/socket");
        }
        return take_text(path, u->socket, sizeof u->socket, "socket", e);
    }
    if (path.len > 1 && take_number((struct slice){path.ptr + 1, path.len - 1}, 0, 1000000,
                                    "database", &db, e) != 0) {
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
        .deadline_ms = DEADLINE_DEFAULT_MS, .connections = CONNECTIONS_DEFAULT, .prefix = "mayfly"};
    u.tls = slice_starts_with(rest, SLICE("rediss://"));
    if (!u.tls && !slice_starts_with(rest, SLICE("redis://"))) {
        return err_set(e, ERR_PERMANENT, 0,
                       "no address of a Redis server: write redis://HOST:PORT or rediss://");
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
    if (take_user(&authority, &u, e) != 0 || take_host(authority, &u, e) != 0 ||
        take_path(path, &u, e) != 0 || take_options(options, &u, e) != 0) {
        return -1;
    }
    *out = u;
    return 0;
}
