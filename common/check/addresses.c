#include "common/check/addresses.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/base/url_options.h"
#include "common/check/check.h"

#define ADDRESS_BYTES 64

enum gap { GAP_NONE = 0, GAP_TLS = 1, GAP_PASSWORD = 2 };

static const char *const gap_texts[] = {
    [GAP_NONE] = NULL,
    [GAP_TLS] = "other hosts may reach it, and it has no TLS",
    [GAP_PASSWORD] = "other hosts may reach it, and it asks for no password",
    [GAP_TLS | GAP_PASSWORD] = "other hosts may reach it, and it has no TLS and no password",
};

/* --- hosts --- */

/* Of "host", "host:port", "[address]:port". */
static struct slice host_of(struct slice place)
{
    struct slice host;
    struct slice port;
    if (place.len > 0 && place.ptr[0] == '[') {
        (void)slice_cut((struct slice){place.ptr + 1, place.len - 1}, ']', &host, &port);
    } else {
        (void)slice_cut(place, ':', &host, &port);
    }
    return host;
}

static bool is_loopback(struct slice host)
{
    char text[ADDRESS_BYTES];
    struct in_addr v4;
    struct in6_addr v6;
    if (slice_eq_nocase(host, SLICE("localhost"))) {
        return true;
    }
    if (!slice_to_cstr(host, text, sizeof text)) {
        return false;
    }
    if (inet_pton(AF_INET, text, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* --- URLs --- */

struct url {
    struct slice password; /* of the user's part */
    struct slice places;   /* host:port, of Kafka several with commas */
    struct slice options;
};

/* `rest` follows the "scheme://". The last '@' before a '/' ends the user's part. */
static struct url cut_url(struct slice rest)
{
    struct url u = {.password = {NULL, 0}};
    struct slice place;
    struct slice path;
    struct slice user;
    (void)slice_cut(rest, '?', &place, &u.options);
    (void)slice_cut(place, '/', &u.places, &path);
    for (size_t i = u.places.len; i > 0; i--) {
        if (u.places.ptr[i - 1] == '@') {
            (void)slice_cut((struct slice){u.places.ptr, i - 1}, ':', &user, &u.password);
            u.places = (struct slice){u.places.ptr + i, u.places.len - i};
            break;
        }
    }
    return u;
}

/* As the stores read it: the last one applies. */
static struct slice option_of(const struct url *u, const char *name)
{
    struct slice query = u->options;
    struct slice found = {NULL, 0};
    struct slice key;
    struct slice value;
    while (url_next_parameter(&query, &key, &value)) {
        found = slice_eq_cstr(key, name) ? value : found;
    }
    return found;
}

/* Without a host it is a socket. */
static bool is_reachable(struct slice places)
{
    while (places.len > 0) {
        struct slice place;
        (void)slice_cut(places, ',', &place, &places);
        if (place.len > 0 && !is_loopback(host_of(place))) {
            return true;
        }
    }
    return false;
}

static unsigned gaps(bool tls, bool credentials)
{
    return (tls ? 0U : GAP_TLS) | (credentials ? 0U : GAP_PASSWORD);
}

static bool cut_scheme(struct slice url, struct slice scheme, struct slice *rest)
{
    bool is = slice_starts_with(url, scheme);
    *rest = is ? (struct slice){url.ptr + scheme.len, url.len - scheme.len} : url;
    return is;
}

struct address_gap address_of_store(const char *setting, struct slice url)
{
    struct address_gap out = {.setting = setting};
    struct slice rest;
    bool secure = cut_scheme(url, SLICE("rediss://"), &rest);
    if (secure || cut_scheme(url, SLICE("redis://"), &rest)) {
        struct url u = cut_url(rest);
        bool known = u.password.len > 0 || (secure && option_of(&u, "cert").len > 0);
        out.lacks = gap_texts[is_reachable(u.places) ? gaps(secure, known) : GAP_NONE];
        out.action = "write rediss://USER:PASSWORD@HOST:PORT, and set up TLS and a password in "
                     "Redis: who reaches it can read and change every job (deploy/docs/redis.md)";
    } else if (cut_scheme(url, SLICE("kafka://"), &rest)) {
        struct url u = cut_url(rest);
        bool tls = slice_eq_cstr(option_of(&u, "tls"), "1");
        bool known = option_of(&u, "sasl").len > 0 || option_of(&u, "cert").len > 0;
        out.lacks = gap_texts[is_reachable(u.places) ? gaps(tls, known) : GAP_NONE];
        out.action = "add tls=1, and sasl=… or cert=PATH, and ACLs in Kafka: who reaches it can "
                     "read and add messages (deploy/docs/kafka.md)";
    }
    return out;
}

struct address_gap address_of_admin(const char *setting, struct slice listen)
{
    bool is_local = slice_starts_with(listen, SLICE("unix:")) || is_loopback(host_of(listen));
    return (struct address_gap){
        .setting = setting,
        .lacks = gap_texts[listen.len > 0 && !is_local ? GAP_TLS | GAP_PASSWORD : GAP_NONE],
        .action = "set it to an address of 127.0.0.1, or let a firewall admit the monitoring "
                  "alone: it shows the names of classes and lanes, and how much is in use"};
}

static const char *admin_listen_of(const struct config *c, enum config_for who,
                                   const char **setting)
{
    switch (who) {
    case CONFIG_FOR_INGRESS:
        *setting = "ingress.admin_listen";
        return c->ingress.admin_listen;
    case CONFIG_FOR_WORKER:
        *setting = "worker.admin_listen";
        return c->worker.admin_listen;
    case CONFIG_FOR_REAPER:
        *setting = "reaper.admin_listen";
        return c->reaper.admin_listen;
    case CONFIG_FOR_CTL:
    case CONFIG_FOR_CTL_GITHUB:
    case CONFIG_FOR_CHECK:
        break;
    }
    *setting = "";
    return "";
}

size_t addresses_unprotected(const struct config *c, enum config_for who,
                             struct address_gap out[ADDRESS_GAPS_MAX])
{
    bool fleet = who == CONFIG_FOR_WORKER || who == CONFIG_FOR_REAPER;
    const char *setting = NULL;
    const char *listen = admin_listen_of(c, who, &setting);
    const struct address_gap all[ADDRESS_GAPS_MAX] = {
        address_of_store("queue", slice_of(c->queue)),
        address_of_store("ledger", slice_of(fleet ? c->ledger : "")),
        address_of_store("events.kafka", slice_of(fleet ? c->events.kafka : "")),
        address_of_admin(setting, slice_of(listen)),
    };
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (all[i].lacks != NULL) {
            out[n++] = all[i];
        }
    }
    return n;
}

void check_addresses(struct check *c)
{
    struct address_gap found[ADDRESS_GAPS_MAX];
    size_t n = addresses_unprotected(c->config, c->who, found);
    for (size_t i = 0; i < n; i++) {
        const struct check_finding f = {.level = CHECK_WARN,
                                        .subject = found[i].setting,
                                        .request = "protection of the address",
                                        .hint = found[i].action};
        check_say(c, &f, "%s", found[i].lacks);
    }
}
