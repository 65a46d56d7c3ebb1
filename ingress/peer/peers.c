#include "ingress/peer/peers.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/metrics.h"
#include "ingress/peer/hook_ranges.h"

#define FILE_SUFFIX ".hook-ranges"

struct peers {
    struct shares *shares;
    struct ip_prefix *proxies;
    size_t proxy_count;
    struct ip_prefix *allowed;
    size_t allowed_count;
    bool allows_all;
    struct hook_ranges *hooks; /* NULL: not in the list */
    struct metric *unverified;
    struct metric *accounts;
};

/* --- lists of the configuration ----------------------------------------------------------------- */

/* Without the word that stands for GitHub's. */
static int read_prefixes(const struct config_list *texts, struct ip_prefix **out, size_t *count,
                         struct err *e)
{
    struct ip_prefix *list = calloc(texts->count + 1, sizeof *list);
    ASSERT(list != NULL);
    *out = list;
    for (size_t i = 0; i < texts->count; i++) {
        const char *trouble = NULL;
        if (!config_means_github_hooks(texts->items[i])) {
            trouble = ip_prefix_parse(slice_of(texts->items[i]), &list[*count]);
            *count += 1;
        }
        if (trouble != NULL) {
            return err_set(e, ERR_PERMANENT, 0, "\"%s\" %s", texts->items[i], trouble);
        }
    }
    return 0;
}

static bool wants_github_hooks(const struct config_list *allow_from)
{
    for (size_t i = 0; i < allow_from->count; i++) {
        if (config_means_github_hooks(allow_from->items[i])) {
            return true;
        }
    }
    return false;
}

static int start_hook_ranges(struct peers *p, const struct config *c, struct err *e)
{
    char file[4096 + sizeof FILE_SUFFIX] = "";
    if (!wants_github_hooks(&c->ingress.allow_from)) {
        return 0;
    }
    if (c->ingress.spool_path[0] != '\0') {
        (void)snprintf(file, sizeof file, "%s" FILE_SUFFIX, c->ingress.spool_path);
    }
    const struct hook_ranges_options o = {
        .api_url = c->github.api_url, .ca_file = c->github.ca, .file = file};
    return hook_ranges_start(&o, &p->hooks, e);
}

/* --- limits ------------------------------------------------------------------------------------- */

static size_t quarter(size_t whole, size_t least)
{
    size_t part = whole / 4 > least ? whole / 4 : least;
    return part < whole ? part : whole;
}

void peers_limits(const struct config_ingress *c, size_t connections, struct shares_limits *out)
{
    size_t bytes = (size_t)c->max_unverified_memory_bytes;
    size_t request = (size_t)(c->max_body_size_bytes + c->max_header_size_bytes);
    *out = (struct shares_limits){
        .peer_connections = c->max_peer_connections > 0
                                ? (size_t)c->max_peer_connections
                                : quarter(connections, PEERS_CONNECTIONS_LEAST),
        .peer_bytes = c->max_peer_unverified_memory_bytes > 0
                          ? (size_t)c->max_peer_unverified_memory_bytes
                          : quarter(bytes, request),
        .bytes = bytes,
        .connections = connections,
    };
}

/* --- lifetime ----------------------------------------------------------------------------------- */

int peers_open(const struct config *c, size_t connections, struct peers **out, struct err *e)
{
    struct shares_limits limits;
    struct peers *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    peers_limits(&c->ingress, connections, &limits);
    p->shares = shares_new(&limits);
    p->allows_all = c->ingress.allow_from.count == 0;
    p->unverified = metrics_gauge("mayfly_ingress_unverified_bytes", "");
    p->accounts = metrics_gauge("mayfly_ingress_peers", "");
    if (read_prefixes(&c->ingress.trusted_proxies, &p->proxies, &p->proxy_count, e) != 0 ||
        read_prefixes(&c->ingress.allow_from, &p->allowed, &p->allowed_count, e) != 0 ||
        start_hook_ranges(p, c, e) != 0) {
        peers_close(p);
        return -1;
    }
    *out = p;
    return 0;
}

void peers_close(struct peers *p)
{
    if (p == NULL) {
        return;
    }
    hook_ranges_stop(p->hooks);
    shares_free(p->shares);
    free(p->proxies);
    free(p->allowed);
    free(p);
}

/* --- questions ---------------------------------------------------------------------------------- */

struct shares *peers_shares(struct peers *p)
{
    return p->shares;
}

bool peers_is_proxy(const struct peers *p, const struct ip_address *peer)
{
    struct ip_address a = ip_address_unmapped(peer);
    const struct ip_prefixes proxies = {p->proxies, p->proxy_count};
    return ip_prefixes_contain(&proxies, &a);
}

enum forwarded_client peers_client(const struct peers *p, const struct ip_address *peer,
                                   const struct forwarded_lines *forwarded,
                                   const struct forwarded_lines *x_forwarded_for,
                                   struct ip_address *client)
{
    const struct ip_prefixes proxies = {p->proxies, p->proxy_count};
    return forwarded_client(&proxies, peer, forwarded, x_forwarded_for, client);
}

enum peers_verdict peers_admit(struct peers *p, const struct ip_address *client)
{
    struct ip_address a = ip_address_unmapped(client);
    const struct ip_prefixes allowed = {p->allowed, p->allowed_count};
    if (p->allows_all || ip_prefixes_contain(&allowed, &a)) {
        return PEERS_ADMITTED;
    }
    if (p->hooks == NULL) {
        return PEERS_REFUSED;
    }
    if (hook_ranges_contain(p->hooks, &a)) {
        return PEERS_ADMITTED;
    }
    return hook_ranges_known(p->hooks, NULL) ? PEERS_REFUSED : PEERS_UNKNOWN;
}

bool peers_ready(struct peers *p, struct buf *why)
{
    return p->hooks == NULL || hook_ranges_known(p->hooks, why);
}

void peers_refresh(struct peers *p)
{
    metric_set(p->unverified, (int64_t)shares_bytes(p->shares));
    metric_set(p->accounts, (int64_t)shares_count(p->shares));
}
