#include "common/vm/qemu/net_frame.h"

#include <string.h>

#define ETHER_SIZE ((size_t)14)
#define V4_SIZE ((size_t)20)
#define V6_SIZE ((size_t)40)
#define TYPE_V4 0x0800
#define TYPE_ARP 0x0806
#define TYPE_V6 0x86dd
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ICMP6 58
#define DNS_PORT 53
#define QUOTED ((size_t)8) /* of a refused packet's payload: its ports */

static unsigned read16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

/* One IP packet; v6 says which. */
struct packet {
    const uint8_t *ip;
    const uint8_t *payload;
    size_t payload_len;
    unsigned protocol;
    const uint8_t *source;
    struct ip_address to;
};

/* --- the parts of a frame --------------------------------------------------------------------- */

static enum net_frame_class classify_arp(const uint8_t *arp, size_t len)
{
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0}; /* Ethernet, IPv4, lengths, operation */
    bool good = len >= 28 && memcmp(arp, head, sizeof head) == 0 && (arp[7] == 1 || arp[7] == 2);
    return good ? NET_FRAME_PASS : NET_FRAME_REFUSE;
}

static bool parse_v4(const uint8_t *ip, size_t len, struct packet *p)
{
    if (len < V4_SIZE || ip[0] != 0x45 || read16(ip + 2) < V4_SIZE || read16(ip + 2) > len ||
        (read16(ip + 6) & 0x3fff) != 0) { /* more fragments, or an offset */
        return false;
    }
    *p = (struct packet){.ip = ip,
                         .payload = ip + V4_SIZE,
                         .payload_len = read16(ip + 2) - V4_SIZE,
                         .protocol = ip[9],
                         .source = ip + 12,
                         .to = {.v6 = false}};
    memcpy(p->to.bytes, ip + 16, 4);
    return true;
}

static bool parse_v6(const uint8_t *ip, size_t len, struct packet *p)
{
    if (len < V6_SIZE || ip[0] >> 4 != 6 || read16(ip + 4) > len - V6_SIZE) {
        return false;
    }
    *p = (struct packet){.ip = ip,
                         .payload = ip + V6_SIZE,
                         .payload_len = read16(ip + 4),
                         .protocol = ip[6],
                         .source = ip + 8,
                         .to = {.v6 = true}};
    memcpy(p->to.bytes, ip + 24, 16);
    return true;
}

/* The ports of TCP and UDP, whose headers must be whole. */
static bool parse_transport(const struct packet *p, struct net_flow *flow)
{
    const uint8_t *at = p->payload;
    if (p->protocol == PROTOCOL_TCP) {
        size_t header = p->payload_len >= 20 ? (size_t)(at[12] >> 4) * 4 : 0;
        if (header < 20 || header > p->payload_len) {
            return false;
        }
        flow->protocol = "tcp";
        flow->opens = (at[13] & 0x12) == 0x02; /* SYN without ACK */
    } else {
        if (p->payload_len < 8 || read16(at + 4) < 8 || read16(at + 4) > p->payload_len) {
            return false;
        }
        flow->protocol = "udp";
        flow->opens = true;
    }
    flow->port = (uint16_t)read16(at + 2);
    return true;
}

static enum net_frame_class refuse_packet(struct net_flow *flow)
{
    flow->kind = NET_PACKET;
    flow->opens = false;
    return NET_FRAME_REFUSE;
}

/* --- the network's own addresses -------------------------------------------------------------- */

enum place { OUTSIDE, ROUTER, RESOLVER, ELSEWHERE_INSIDE };

static enum place place_of(const struct ip_address *a)
{
    static const uint8_t v4[] = {10, 0, 2};
    static const uint8_t v6[15] = {0xfe, 0xc0};
    if (memcmp(a->bytes, a->v6 ? v6 : v4, a->v6 ? 8 : 3) != 0) {
        return OUTSIDE;
    }
    uint8_t last = a->bytes[a->v6 ? 15 : 3];
    if (a->v6 && memcmp(a->bytes, v6, sizeof v6) != 0) {
        return ELSEWHERE_INSIDE;
    }
    return last == 2 ? ROUTER : last == 3 ? RESOLVER : ELSEWHERE_INSIDE;
}

/* What has TCP or UDP and goes to one host. */
static enum net_frame_class classify_transport(const struct packet *p, bool names,
                                               struct net_flow *flow)
{
    if (!parse_transport(p, flow)) {
        return refuse_packet(flow);
    }
    enum place place = place_of(&p->to);
    if (place == RESOLVER && names && flow->port == DNS_PORT) {
        return NET_FRAME_PASS;
    }
    if (place == ROUTER) {
        flow->to = (struct ip_address){.v6 = p->to.v6};
        flow->to.bytes[p->to.v6 ? 15 : 3] = 1;
        flow->to.bytes[0] = p->to.v6 ? 0 : 127;
        return NET_FRAME_JUDGE;
    }
    bool loopback = !p->to.v6 && (p->to.bytes[0] == 127 || p->to.bytes[0] == 0);
    static const uint8_t zeros[15] = {0};
    loopback = loopback || (p->to.v6 && memcmp(p->to.bytes, zeros, sizeof zeros) == 0);
    if (place != OUTSIDE || loopback) {
        flow->kind = loopback ? NET_LOOPBACK : NET_HOST_ADDRESS;
        return NET_FRAME_REFUSE;
    }
    return NET_FRAME_JUDGE;
}

static bool is_dhcp(const struct packet *p)
{
    return p->protocol == PROTOCOL_UDP && p->payload_len >= 8 && read16(p->payload) == 68 &&
           read16(p->payload + 2) == 67;
}

/* The sender is a host of this network, or one that asks for its address. */
static bool source_is_inside(const struct packet *p)
{
    static const uint8_t zeros[16] = {0};
    static const uint8_t link_local[8] = {0xfe, 0x80};
    struct ip_address from = {.v6 = p->to.v6};
    memcpy(from.bytes, p->source, p->to.v6 ? 16 : 4);
    if (memcmp(p->source, zeros, p->to.v6 ? 16 : 4) == 0) {
        return p->to.v6 ? p->protocol == PROTOCOL_ICMP6 : is_dhcp(p);
    }
    return place_of(&from) == ELSEWHERE_INSIDE ||
           (p->to.v6 && memcmp(p->source, link_local, sizeof link_local) == 0);
}

static enum net_frame_class classify_v4(const struct packet *p, bool names, struct net_flow *flow)
{
    static const uint8_t broadcast[] = {255, 255, 255, 255};
    bool to_all = memcmp(p->to.bytes, broadcast, 4) == 0;
    enum place place = place_of(&p->to);
    if (!source_is_inside(p)) {
        return refuse_packet(flow);
    }
    if (is_dhcp(p) && (to_all || place == ROUTER)) {
        return parse_transport(p, flow) ? NET_FRAME_PASS : refuse_packet(flow);
    }
    if (p->to.bytes[0] >= 224 || (place == ELSEWHERE_INSIDE && p->to.bytes[3] == 255)) {
        return NET_FRAME_DROP;
    }
    if (p->protocol == PROTOCOL_TCP || p->protocol == PROTOCOL_UDP) {
        return classify_transport(p, names, flow);
    }
    if (p->protocol != PROTOCOL_ICMP || p->payload_len < 8 || p->payload[0] != 8) {
        return NET_FRAME_DROP;
    }
    flow->protocol = "icmp";
    if (place == ROUTER || place == RESOLVER) {
        return NET_FRAME_PASS; /* answered inside */
    }
    return place == OUTSIDE ? NET_FRAME_JUDGE : NET_FRAME_DROP;
}

/* Router and neighbour discovery, and an echo of the router. */
static bool stays_inside(const struct packet *p)
{
    bool to_link = p->to.bytes[0] == 0xff || p->to.bytes[0] == 0xfe;
    if (p->protocol != PROTOCOL_ICMP6 || p->payload_len < 8 || !to_link) {
        return false;
    }
    uint8_t type = p->payload[0];
    return type == 133 || type == 135 || type == 136 || (type == 128 && p->to.bytes[0] == 0xfe);
}

static enum net_frame_class classify_v6(const struct packet *p, bool names, struct net_flow *flow)
{
    if (!source_is_inside(p)) {
        /* Multicast listener reports, which every guest sends, have an extension header. */
        return p->to.bytes[0] == 0xff ? NET_FRAME_DROP : refuse_packet(flow);
    }
    if (stays_inside(p)) {
        return NET_FRAME_PASS;
    }
    if (p->to.bytes[0] == 0xff || p->protocol == PROTOCOL_ICMP6) {
        return NET_FRAME_DROP;
    }
    if (p->protocol == PROTOCOL_TCP || p->protocol == PROTOCOL_UDP) {
        return classify_transport(p, names, flow);
    }
    return refuse_packet(flow);
}

enum net_frame_class net_frame_classify(const uint8_t *frame, size_t len, bool names,
                                        struct net_flow *out)
{
    struct packet p;
    *out = (struct net_flow){.protocol = "ip", .kind = NET_PACKET};
    if (len < ETHER_SIZE || len > NET_FRAME_MAX) {
        return NET_FRAME_REFUSE;
    }
    const uint8_t *inside = frame + ETHER_SIZE;
    size_t rest = len - ETHER_SIZE;
    unsigned type = read16(frame + 12);
    if (type == TYPE_ARP) {
        return classify_arp(inside, rest);
    }
    if (type != TYPE_V4 && type != TYPE_V6) {
        return NET_FRAME_DROP;
    }
    if (type == TYPE_V4 ? !parse_v4(inside, rest, &p) : !parse_v6(inside, rest, &p)) {
        return NET_FRAME_REFUSE;
    }
    out->to = p.to;
    return p.to.v6 ? classify_v6(&p, names, out) : classify_v4(&p, names, out);
}

/* --- the response to what is refused ---------------------------------------------------------- */

static void write16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        sum += read16(data + i);
    }
    return (len & 1) == 0 ? sum : sum + ((uint32_t)data[len - 1] << 8);
}

static size_t checksum(uint32_t sum)
{
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return ~sum & 0xffff;
}

/* Destination unreachable, communication administratively prohibited: type 3, code 13. */
static size_t refuse_v4(const struct packet *p, uint8_t *ip)
{
    static const uint8_t router[] = {10, 0, 2, 2};
    size_t quoted = V4_SIZE + QUOTED;
    uint8_t *icmp = ip + V4_SIZE;
    memset(ip, 0, V4_SIZE + 8);
    ip[0] = 0x45;
    write16(ip + 2, V4_SIZE + 8 + quoted);
    ip[8] = 64;
    ip[9] = PROTOCOL_ICMP;
    memcpy(ip + 12, router, 4);
    memcpy(ip + 16, p->source, 4);
    write16(ip + 10, checksum(add_words(0, ip, V4_SIZE)));
    icmp[0] = 3;
    icmp[1] = 13;
    memcpy(icmp + 8, p->ip, quoted);
    write16(icmp + 2, checksum(add_words(0, icmp, 8 + quoted)));
    return V4_SIZE + 8 + quoted;
}

/* The same: type 1, code 1; its checksum covers a pseudo-header. */
static size_t refuse_v6(const struct packet *p, uint8_t *ip)
{
    static const uint8_t router[16] = {0xfe, 0x80, [15] = 2};
    size_t quoted = V6_SIZE + QUOTED;
    uint8_t *icmp = ip + V6_SIZE;
    memset(ip, 0, V6_SIZE + 8);
    ip[0] = 0x60;
    write16(ip + 4, 8 + quoted);
    ip[6] = PROTOCOL_ICMP6;
    ip[7] = 255;
    memcpy(ip + 8, router, 16);
    memcpy(ip + 24, p->source, 16);
    icmp[0] = 1;
    icmp[1] = 1;
    memcpy(icmp + 8, p->ip, quoted);
    uint32_t sum = add_words(PROTOCOL_ICMP6 + (uint32_t)(8 + quoted), ip + 8, 32);
    write16(icmp + 2, checksum(add_words(sum, icmp, 8 + quoted)));
    return V6_SIZE + 8 + quoted;
}

size_t net_frame_refusal(const uint8_t *frame, size_t len, uint8_t out[NET_REFUSAL_MAX])
{
    static const uint8_t router_mac[] = {0x52, 0x55, 10, 0, 2, 2};
    struct packet p;
    bool v6 = len >= ETHER_SIZE && read16(frame + 12) == TYPE_V6;
    if (len < ETHER_SIZE || (!v6 && read16(frame + 12) != TYPE_V4)) {
        return 0;
    }
    const uint8_t *inside = frame + ETHER_SIZE;
    size_t rest = len - ETHER_SIZE;
    if (!(v6 ? parse_v6(inside, rest, &p) : parse_v4(inside, rest, &p)) || p.payload_len < QUOTED ||
        !source_is_inside(&p)) {
        return 0;
    }
    memcpy(out, frame + 6, 6);
    memcpy(out + 6, router_mac, 6);
    memcpy(out + 12, frame + 12, 2);
    return ETHER_SIZE + (v6 ? refuse_v6(&p, out + ETHER_SIZE) : refuse_v4(&p, out + ETHER_SIZE));
}
