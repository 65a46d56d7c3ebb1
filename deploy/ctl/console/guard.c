/*
 * Which requests are served.
 *
 * A page of a stranger that a browser of this host shows may send requests here, and by a name that
 * resolves to this address (DNS rebinding) it could read what they return: so the Host header must be
 * one that no stranger has. What only this host reaches needs nothing else; elsewhere a token does.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <string.h>

#include "common/http/request.h"
#include "common/net/listen_address.h"
#include "deploy/ctl/console/console.h"

#define BEARER "Bearer "

/* --- hosts --- */

/* Cuts the port off: "[::1]:9110" is "[::1]". False: it is no host. */
static bool cut_port(struct slice host, struct slice *name)
{
    size_t end = host.len;
    while (end > 0 && host.ptr[end - 1] >= '0' && host.ptr[end - 1] <= '9') {
        end--;
    }
    bool is_v6 = host.len > 0 && host.ptr[0] == '[';
    bool has_port = end > 0 && end < host.len && host.ptr[end - 1] == ':' &&
                    (!is_v6 || (end > 1 && host.ptr[end - 2] == ']'));
    *name = (struct slice){host.ptr, has_port ? end - 1 : host.len};
    return name->len > 0 && (is_v6 || memchr(name->ptr, ':', name->len) == NULL);
}

static bool is_loopback(struct slice name)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr v4;
    return slice_eq_nocase(name, SLICE("localhost")) || slice_eq_cstr(name, "[::1]") ||
           (slice_to_cstr(name, text, sizeof text) && inet_pton(AF_INET, text, &v4) == 1 &&
            ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET);
}

bool guard_admits_host(const struct guard *g, struct slice host)
{
    struct slice name;
    if (!cut_port(host, &name)) {
        return false;
    }
    bool admitted = is_loopback(name);
    for (size_t i = 0; i < g->host_count; i++) {
        admitted = admitted || slice_eq_nocase(name, slice_of(g->hosts[i]));
    }
    return admitted;
}

static bool is_host_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool known = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-._[]:", c) != NULL);
        if (!known) {
            return false;
        }
    }
    return name.len > 0;
}

int guard_add_hosts(struct guard *g, const char *list, struct err *e)
{
    struct slice rest = slice_of(list);
    while (rest.len > 0) {
        struct slice one;
        struct slice name;
        (void)slice_cut(rest, ',', &one, &rest);
        one = slice_trim(one);
        if (!is_host_name(one) || !cut_port(one, &name) || g->host_count == GUARD_HOSTS_MAX ||
            !slice_to_cstr(name, g->hosts[g->host_count], GUARD_HOST_SIZE)) {
            return err_set(
                e, ERR_PERMANENT, 0,
                "--host %.200s: it takes names of hosts, at most %d, with commas between "
                "them",
                list, GUARD_HOSTS_MAX);
        }
        g->host_count++;
    }
    return 0;
}

int guard_is_local(const char *listen, bool *out, struct err *e)
{
    struct sockaddr_storage address;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    socklen_t size = 0;
    if (listen_address_resolve("--listen", listen, &address, &size, e) != 0) {
        return -1;
    }
    memcpy(&v4, &address, sizeof v4);
    memcpy(&v6, &address, sizeof v6);
    *out = address.ss_family == AF_UNIX ||
           (address.ss_family == AF_INET && ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) ||
           (address.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr));
    return 0;
}

/* --- the token --- */

int guard_set_token(struct guard *g, struct slice text, struct err *e)
{
    struct slice token = slice_trim(text);
    bool good = token.len >= CONSOLE_TOKEN_MIN && token.len <= CONSOLE_TOKEN_MAX;
    for (size_t i = 0; good && i < token.len; i++) {
        good = token.ptr[i] > ' ' && token.ptr[i] < 0x7f;
    }
    if (!good || !slice_to_cstr(token, g->token, sizeof g->token)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the token must have %d to %d characters of ASCII, without blanks",
                       CONSOLE_TOKEN_MIN, CONSOLE_TOKEN_MAX);
    }
    return 0;
}

/* In constant time, but for its length: others can measure it. */
static bool is_token(const struct guard *g, struct slice given)
{
    size_t len = strlen(g->token);
    return given.len == len && CRYPTO_memcmp(given.ptr, g->token, len) == 0;
}

/* --- requests --- */

struct heads { /* headers that decide */
    struct slice host;
    struct slice token;
    struct slice fetched_by; /* the relation of the page that sends it, as browsers say it */
};

static struct heads read_heads(const struct http_request *r)
{
    struct heads h = {.host = {.len = 0}};
    struct slice headers = r->headers;
    struct slice name;
    struct slice value;
    while (http_request_next_header(&headers, &name, &value)) {
        if (slice_eq_nocase(name, SLICE("host"))) {
            h.host = value;
        } else if (slice_eq_nocase(name, SLICE("sec-fetch-site"))) {
            h.fetched_by = value;
        } else if (slice_eq_nocase(name, SLICE("authorization")) &&
                   slice_starts_with(value, SLICE(BEARER))) {
            size_t n = strlen(BEARER);
            h.token = (struct slice){value.ptr + n, value.len - n};
        }
    }
    return h;
}

/* A browser says who sends a request: another site's page gets nothing, and costs the stores nothing. */
static bool is_of_other_site(struct slice fetched_by)
{
    return fetched_by.len > 0 && !slice_eq_cstr(fetched_by, "same-origin") &&
           !slice_eq_cstr(fetched_by, "none");
}

struct guard_verdict guard_judge(const struct guard *g, const struct http_request *r)
{
    const struct heads h = read_heads(r);
    bool is_api =
        slice_starts_with(r->path, SLICE(ROUTE_API)) || slice_eq_cstr(r->path, ROUTE_METRICS);
    if (!guard_admits_host(g, h.host) ||
        (r->authority.len > 0 && !guard_admits_host(g, r->authority))) {
        return (struct guard_verdict){421, "this host is not served here: --host adds names"};
    }
    if (!slice_eq_cstr(r->method, "GET") && !slice_eq_cstr(r->method, "HEAD")) {
        return (struct guard_verdict){405, "only GET and HEAD are supported"};
    }
    if (is_api && is_of_other_site(h.fetched_by)) {
        return (struct guard_verdict){403, "a page of another site sent this request"};
    }
    if (is_api && g->token[0] != '\0' && !is_token(g, h.token)) {
        return (struct guard_verdict){401, "the token is missing or wrong: open the page's URL as "
                                           "mayflyctl console printed it, or enter the token"};
    }
    return (struct guard_verdict){200, ""};
}
