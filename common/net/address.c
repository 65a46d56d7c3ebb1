#include "common/net/address.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

void ip_address_text(const struct ip_address *a, char *out)
{
    if (inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->bytes, out, IP_ADDRESS_TEXT) == NULL) {
        out[0] = '\0';
    }
}

bool ip_address_parse(struct slice text, struct ip_address *out)
{
    char copy[IP_ADDRESS_TEXT];
    struct ip_address a = {.v6 = text.len > 0 && memchr(text.ptr, ':', text.len) != NULL};
    if (!slice_to_cstr(text, copy, sizeof copy) ||
        inet_pton(a.v6 ? AF_INET6 : AF_INET, copy, a.bytes) != 1) {
        return false;
    }
    *out = a;
    return true;
}

bool ip_address_of(const struct sockaddr *sa, socklen_t len, struct ip_address *out, uint16_t *port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    *out = (struct ip_address){.v6 = false};
    if (sa != NULL && len >= sizeof v4 && sa->sa_family == AF_INET) {
        memcpy(&v4, sa, sizeof v4);
        memcpy(out->bytes, &v4.sin_addr, 4);
        *port = ntohs(v4.sin_port);
        return true;
    }
    if (sa != NULL && len >= sizeof v6 && sa->sa_family == AF_INET6) {
        memcpy(&v6, sa, sizeof v6);
        out->v6 = true;
        memcpy(out->bytes, &v6.sin6_addr, 16);
        *port = ntohs(v6.sin6_port);
        return true;
    }
    return false;
}

bool ip_address_eq(const struct ip_address *a, const struct ip_address *b)
{
    return a->v6 == b->v6 && memcmp(a->bytes, b->bytes, a->v6 ? 16 : 4) == 0;
}

unsigned ip_address_bits(const struct ip_address *a)
{
    return a->v6 ? 128 : 32;
}

/* Of the byte that a prefix ends in. */
static unsigned mask_of(unsigned bits)
{
    return bits == 0 ? 0 : 0xffU << (8 - bits) & 0xffU;
}

bool ip_address_begins(const struct ip_address *a, const uint8_t *base, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned mask = mask_of(bits % 8);
    return memcmp(a->bytes, base, whole) == 0 &&
           (mask == 0 || (a->bytes[whole] & mask) == (base[whole] & mask));
}

struct ip_address ip_address_unmapped(const struct ip_address *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ip_address inside = {.v6 = false};
    if (!a->v6 || !ip_address_begins(a, mapped, 96)) {
        return *a;
    }
    memcpy(inside.bytes, a->bytes + sizeof mapped, 4);
    return inside;
}

struct ip_address ip_address_masked(const struct ip_address *a, unsigned bits)
{
    struct ip_address masked = {.v6 = a->v6};
    bits = bits < ip_address_bits(a) ? bits : ip_address_bits(a);
    memcpy(masked.bytes, a->bytes, bits / 8);
    if (bits % 8 != 0) {
        masked.bytes[bits / 8] = (uint8_t)(a->bytes[bits / 8] & mask_of(bits % 8));
    }
    return masked;
}

const char *ip_prefix_parse(struct slice text, struct ip_prefix *out)
{
    struct ip_prefix p;
    struct slice address;
    struct slice length;
    bool has_length = slice_cut(text, '/', &address, &length);
    if (!ip_address_parse(address, &p.base)) {
        return "is no IP address (names are not looked up)";
    }
    int64_t bits = ip_address_bits(&p.base);
    if (has_length && !slice_to_range(length, 0, bits, &bits)) {
        return "has a prefix length that does not fit its address";
    }
    p.bits = (uint8_t)bits;
    struct ip_address first = ip_address_masked(&p.base, p.bits);
    if (!ip_address_eq(&first, &p.base)) {
        return "has an address that is not the first of its prefix";
    }
    *out = p;
    return NULL;
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_address *a)
{
    return p->base.v6 == a->v6 && ip_address_begins(a, p->base.bytes, p->bits);
}

bool ip_prefixes_contain(const struct ip_prefixes *set, const struct ip_address *a)
{
    for (size_t i = 0; i < set->count; i++) {
        if (ip_prefix_contains(&set->list[i], a)) {
            return true;
        }
    }
    return false;
}
