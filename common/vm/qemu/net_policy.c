#include "common/vm/qemu/net_policy.h"

#include <string.h>

#define DNS_PORT 53

/* --- addresses -------------------------------------------------------------------------------- */

struct ip_address net_address_meant(const struct ip_address *a)
{
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    struct ip_address inside = {.v6 = false};
    if (!a->v6 || memcmp(a->bytes, nat64, sizeof nat64) != 0) {
        return *a;
    }
    memcpy(inside.bytes, a->bytes + sizeof nat64, 4);
    return inside;
}

/* --- the allow list --------------------------------------------------------------------------- */

bool net_allow_matches(const struct net_allow *allow, const struct ip_address *a, uint16_t port)
{
    return (allow->port == 0 || allow->port == port) && ip_prefix_contains(&allow->to, a);
}

/* Cuts "…:PORT" off what is not an IPv6 address without brackets. */
static const char *cut_port(struct slice *text, uint16_t *port)
{
    struct slice rest = {"", 0};
    int64_t number;
    *port = 0;
    if (text->len > 0 && text->ptr[0] == '[') {
        struct slice inside = {text->ptr + 1, text->len - 1};
        if (!slice_cut(inside, ']', text, &rest) || (rest.len > 0 && rest.ptr[0] != ':')) {
            return "has a [ without its ]";
        }
        if (rest.len == 0) {
            return NULL;
        }
        rest = (struct slice){rest.ptr + 1, rest.len - 1};
    } else {
        struct slice head;
        if (!slice_cut(*text, ':', &head, &rest) || memchr(rest.ptr, ':', rest.len) != NULL) {
            return NULL;
        }
        *text = head;
    }
    if (!slice_to_range(rest, 1, 65535, &number)) {
        return "has a port that is not 1 to 65535";
    }
    *port = (uint16_t)number;
    return NULL;
}

static bool is_loopback(const struct ip_address *a)
{
    static const uint8_t zeros[15] = {0};
    if (a->v6) {
        return memcmp(a->bytes, zeros, sizeof zeros) == 0 && a->bytes[15] <= 1;
    }
    return a->bytes[0] == 127 || a->bytes[0] == 0;
}

static bool is_one_address(const struct ip_prefix *p)
{
    return p->bits == ip_address_bits(&p->base);
}

const char *net_allow_parse(struct slice text, struct net_allow *out)
{
    struct net_allow allow;
    const char *trouble = cut_port(&text, &allow.port);
    trouble = trouble != NULL ? trouble : ip_prefix_parse(text, &allow.to);
    if (trouble != NULL) {
        return trouble;
    }
    if (is_loopback(&allow.to.base) && is_one_address(&allow.to) && allow.port == 0) {
        return "opens all ports of this host's loopback: add :PORT";
    }
    *out = allow;
    return NULL;
}

/* --- names ------------------------------------------------------------------------------------ */

static const char *const mode_names[] = {
    [NET_MODE_INTERNET] = "internet", [NET_MODE_PROXY] = "proxy", [NET_MODE_NONE] = "none"};

bool net_mode_parse(struct slice text, enum net_mode *out)
{
    for (size_t i = 0; i < COUNT_OF(mode_names); i++) {
        if (slice_eq_cstr(text, mode_names[i])) {
            *out = (enum net_mode)i;
            return true;
        }
    }
    return false;
}

static const char *const kind_names[NET_KINDS] = {
    [NET_LET_THROUGH] = "let_through",   [NET_LOOPBACK] = "loopback",
    [NET_HOST_ADDRESS] = "host_address", [NET_LINK_LOCAL] = "link_local",
    [NET_MULTICAST] = "multicast",       [NET_CLOSED] = "closed",
    [NET_NEIGHBOUR] = "neighbour",       [NET_PRIVATE] = "private",
    [NET_RESERVED] = "reserved",         [NET_PACKET] = "packet",
    [NET_CONNECTIONS] = "connections"};

const char *net_kind_name(enum net_kind kind)
{
    ASSERT((size_t)kind < COUNT_OF(kind_names));
    return kind_names[kind];
}

bool net_kind_parse(struct slice text, enum net_kind *out)
{
    for (size_t i = 0; i < COUNT_OF(kind_names); i++) {
        if (slice_eq_cstr(text, kind_names[i])) {
            *out = (enum net_kind)i;
            return true;
        }
    }
    return false;
}

/* --- the ranges ------------------------------------------------------------------------------- */

struct range {
    uint8_t base[4];
    uint8_t bits;
    enum net_kind kind;
};

static enum net_kind never_wide_v6(const struct ip_address *a)
{
    static const uint8_t link_local[] = {0xfe, 0x80};
    static const uint8_t metadata[16] = {0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54};
    static const uint8_t zeros[10] = {0};
    if (a->bytes[0] == 0xff) {
        return NET_MULTICAST;
    }
    if (ip_address_begins(a, link_local, 10) || memcmp(a->bytes, metadata, sizeof metadata) == 0) {
        return NET_LINK_LOCAL;
    }
    /* IPv4 inside, compatible and mapped: the kernel connects the latter to the IPv4 address. */
    bool has_v4 = memcmp(a->bytes, zeros, sizeof zeros) == 0 &&
                  ((a->bytes[10] == 0 && a->bytes[11] == 0) ||
                   (a->bytes[10] == 0xff && a->bytes[11] == 0xff));
    return has_v4 ? NET_RESERVED : NET_LET_THROUGH;
}

/* No entry of the allow list that is wider than one address opens these. */
static enum net_kind never_wide(const struct ip_address *a)
{
    static const uint8_t link_local[] = {169, 254};
    if (is_loopback(a)) {
        return NET_LOOPBACK;
    }
    if (a->v6) {
        return never_wide_v6(a);
    }
    if (a->bytes[0] >= 224) {
        return NET_MULTICAST;
    }
    return ip_address_begins(a, link_local, 16) ? NET_LINK_LOCAL : NET_LET_THROUGH;
}

static enum net_kind in_v4(const struct ip_address *a)
{
    static const struct range ranges[] = {
        {{10}, 8, NET_PRIVATE},        {{100, 64}, 10, NET_PRIVATE},
        {{172, 16}, 12, NET_PRIVATE},  {{192, 0, 0}, 24, NET_RESERVED},
        {{192, 168}, 16, NET_PRIVATE}, {{198, 18}, 15, NET_RESERVED}};
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        if (ip_address_begins(a, ranges[i].base, ranges[i].bits)) {
            return ranges[i].kind;
        }
    }
    return NET_LET_THROUGH;
}

/* Only global unicast is let through, and in it nothing that has an IPv4 address inside, 6to4 (RFC
 * 3056) and Teredo (RFC 4380). So mapped and compatible forms of IPv4 are refused too. */
static enum net_kind in_v6(const struct ip_address *a)
{
    static const uint8_t global[] = {0x20};
    static const uint8_t six_to_four[] = {0x20, 0x02};
    static const uint8_t teredo[] = {0x20, 0x01, 0x00, 0x00};
    static const uint8_t unique_local[] = {0xfc};
    if (ip_address_begins(a, unique_local, 7)) {
        return NET_PRIVATE;
    }
    return !ip_address_begins(a, global, 3) || ip_address_begins(a, six_to_four, 16) ||
                   ip_address_begins(a, teredo, 32)
               ? NET_RESERVED
               : NET_LET_THROUGH;
}

static bool is_listed(const struct net_policy *p, const struct ip_address *a, uint16_t port,
                      bool exactly)
{
    for (size_t i = 0; i < p->allow_count; i++) {
        const struct net_allow *allow = &p->allow[i];
        if ((!exactly || is_one_address(&allow->to)) && net_allow_matches(allow, a, port)) {
            return true;
        }
    }
    return false;
}

enum net_kind net_policy_judge(const struct net_policy *p, const struct ip_address *a,
                               uint16_t port, const struct net_facts *facts)
{
    if (facts->is_proxy || is_listed(p, a, port, true) ||
        (facts->is_resolver && port == DNS_PORT && p->mode == NET_MODE_INTERNET)) {
        return NET_LET_THROUGH;
    }
    enum net_kind kind = never_wide(a);
    if (kind != NET_LET_THROUGH) {
        return kind;
    }
    if (facts->is_own) {
        return NET_HOST_ADDRESS;
    }
    if (is_listed(p, a, port, false)) {
        return NET_LET_THROUGH;
    }
    if (p->mode != NET_MODE_INTERNET) {
        return NET_CLOSED;
    }
    kind = a->v6 ? in_v6(a) : in_v4(a);
    return kind == NET_LET_THROUGH && facts->is_connected ? NET_NEIGHBOUR : kind;
}
