#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "worker/gateway/gateway.h"

#define RESOLV_CONF "/etc/resolv.conf"
/* How long what was read of this host, and a verdict, are taken as current. */
#define FRESH_MS 1000
#define INTERFACES_MAX 1024
#define CACHE_SIZE 256

/* An address of this host with the network around it. */
struct interface {
    struct ip_prefix network;
    struct ip_address own;
};

struct verdict {
    struct ip_address to;
    uint16_t port;
    enum net_kind kind;
    int64_t until_ms;
};

static struct {
    const struct gateway_settings *settings;
    struct net_policy policy;
    int64_t read_ms; /* monotonic: when the following was read */
    struct interface interfaces[INTERFACES_MAX];
    size_t interface_count;
    bool any_address_binds;         /* net.ipv4.ip_nonlocal_bind: a bind shows nothing */
    struct ip_address resolvers[2]; /* the first of each family, as libslirp chooses */
    bool has_resolver[2];
    struct verdict cache[CACHE_SIZE];
} judge;

/* --- what this host is ------------------------------------------------------------------------ */

/* The bits at the beginning that are set. */
static uint8_t mask_bits(const struct ip_address *mask)
{
    uint8_t bits = 0;
    while (bits < ip_address_bits(mask) && (mask->bytes[bits / 8] >> (7 - bits % 8) & 1) != 0) {
        bits++;
    }
    return bits;
}

static socklen_t size_of(const struct sockaddr *sa)
{
    return sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static bool read_interface(const struct ifaddrs *i, struct interface *out)
{
    struct ip_address mask;
    uint16_t port;
    if (i->ifa_addr == NULL || i->ifa_netmask == NULL ||
        !ip_address_of(i->ifa_addr, size_of(i->ifa_addr), &out->own, &port) ||
        !ip_address_of(i->ifa_netmask, size_of(i->ifa_addr), &mask, &port)) {
        return false;
    }
    out->network = (struct ip_prefix){.base = out->own, .bits = mask_bits(&mask)};
    return true;
}

static int read_interfaces(struct err *e)
{
    struct ifaddrs *list = NULL;
    size_t n = 0;
    if (getifaddrs(&list) != 0) {
        return err_errno(e, ERR_PERMANENT, errno,
                         "the VM's gateway cannot read this host's addresses");
    }
    for (const struct ifaddrs *i = list; i != NULL && n < INTERFACES_MAX; i = i->ifa_next) {
        if (read_interface(i, &judge.interfaces[n])) {
            n++;
        }
    }
    freeifaddrs(list);
    judge.interface_count = n;
    return 0;
}

/* Whether the kernel takes the address as its own: only such a one can be bound. */
static bool can_bind(const struct ip_address *a)
{
    struct sockaddr_storage to = {.ss_family = a->v6 ? AF_INET6 : AF_INET};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v4.sin_addr, a->bytes, 4);
    memcpy(&v6.sin6_addr, a->bytes, 16);
    memcpy(&to, a->v6 ? (const void *)&v6 : (const void *)&v4, a->v6 ? sizeof v6 : sizeof v4);
    int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        /* Without a family it has no addresses of it; without a descriptor nothing is known. */
        return errno != EAFNOSUPPORT;
    }
    bool bound = bind(fd, (struct sockaddr *)&to, a->v6 ? sizeof v6 : sizeof v4) == 0 ||
                 errno != EADDRNOTAVAIL;
    close(fd);
    return bound;
}

/* The first nameserver of each family. */
static void read_resolvers(void)
{
    struct buf text;
    struct err e;
    struct slice line;
    judge.has_resolver[0] = false;
    judge.has_resolver[1] = false;
    buf_init(&text, 65536);
    if (fs_read(RESOLV_CONF, &text, &e) != 0) {
        buf_reset(&text);
    }
    struct slice rest = buf_slice(&text);
    while (rest.len > 0) {
        struct slice word;
        struct ip_address a;
        (void)slice_cut(rest, '\n', &line, &rest);
        if (!slice_starts_with(line, SLICE("nameserver"))) {
            continue;
        }
        word = slice_trim((struct slice){line.ptr + 10, line.len - 10});
        (void)slice_cut(word, '%', &word, &line);
        if (ip_address_parse(word, &a) && !judge.has_resolver[a.v6]) {
            judge.has_resolver[a.v6] = true;
            judge.resolvers[a.v6] = a;
        }
    }
    buf_fini(&text);
}

static int read_host(struct err *e)
{
    static const struct ip_address nobody = {.bytes = {192, 0, 2, 1}};
    hooks_trust_thread(true);
    int rc = read_interfaces(e);
    judge.any_address_binds = can_bind(&nobody);
    read_resolvers();
    hooks_trust_thread(false);
    judge.read_ms = clock_mono_ms();
    return rc;
}

/* --- verdicts --------------------------------------------------------------------------------- */

static struct net_facts facts_of(const struct ip_address *a, uint16_t port)
{
    struct net_facts facts = {.is_proxy = lookup_has(a, port)};
    facts.is_resolver = judge.has_resolver[a->v6] && ip_address_eq(a, &judge.resolvers[a->v6]);
    facts.is_own = !judge.any_address_binds && can_bind(a);
    for (size_t i = 0; i < judge.interface_count; i++) {
        const struct interface *in = &judge.interfaces[i];
        bool alone = in->network.bits == ip_address_bits(a);
        facts.is_own = facts.is_own || ip_address_eq(a, &in->own);
        facts.is_connected = facts.is_connected || (!alone && in->network.bits > 0 &&
                                                    ip_prefix_contains(&in->network, a));
    }
    return facts;
}

int judge_open(const struct gateway_settings *settings, struct err *e)
{
    judge.settings = settings;
    judge.policy = (struct net_policy){
        .mode = settings->mode, .allow = settings->allow, .allow_count = settings->allow_count};
    return read_host(e);
}

bool judge_is_proxy_place(const struct ip_address *to, uint16_t port)
{
    static const struct ip_address loopback = {.bytes = {127, 0, 0, 1}};
    return judge.settings->mode == NET_MODE_PROXY && port == GATEWAY_PROXY_PORT &&
           ip_address_eq(to, &loopback);
}

static bool is_loopback(const struct ip_address *a)
{
    static const struct ip_address v6 = {.v6 = true, .bytes = {[15] = 1}};
    return a->v6 ? ip_address_eq(a, &v6) : a->bytes[0] == 127;
}

bool judge_opens_loopback(void)
{
    const struct gateway_settings *s = judge.settings;
    struct ip_address a;
    bool opens = s->mode == NET_MODE_PROXY;
    for (size_t i = 0; i < s->allow_count; i++) {
        opens = opens || is_loopback(&s->allow[i].to.base);
    }
    for (size_t i = 0; i < s->proxy_count; i++) {
        opens = opens || (ip_address_parse(slice_of(s->proxies[i].host), &a) && is_loopback(&a));
    }
    return opens;
}

static struct verdict *cached(const struct ip_address *to, uint16_t port)
{
    uint32_t hash = port;
    for (size_t i = 0; i < (to->v6 ? 16 : 4); i++) {
        hash = hash * 31 + to->bytes[i];
    }
    return &judge.cache[hash % CACHE_SIZE];
}

static enum net_kind judge_anew(const struct ip_address *to, uint16_t port)
{
    if (judge_is_proxy_place(to, port)) {
        return NET_LET_THROUGH;
    }
    struct ip_address meant = net_address_meant(to);
    struct net_facts facts = facts_of(&meant, port);
    return net_policy_judge(&judge.policy, &meant, port, &facts);
}

enum net_kind judge_destination(const struct ip_address *to, uint16_t port, const char *protocol)
{
    int64_t now_ms = clock_mono_ms();
    struct verdict *v = cached(to, port);
    struct err ignored;
    if (now_ms - judge.read_ms >= FRESH_MS) {
        (void)!read_host(&ignored); /* what was read before stays then */
    }
    if (now_ms >= v->until_ms || v->port != port || !ip_address_eq(&v->to, to)) {
        *v = (struct verdict){
            .to = *to, .port = port, .kind = judge_anew(to, port), .until_ms = now_ms + FRESH_MS};
    }
    if (v->kind != NET_LET_THROUGH) {
        report_refusal(v->kind, protocol, to, port);
    }
    return v->kind;
}
