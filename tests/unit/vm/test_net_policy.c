/* The rules for destinations: what is refused by default, and what an entry of the list opens. */
#include <string.h>

#include "common/vm/qemu/net_policy.h"
#include "tests/lib/cmocka.h"

static const struct net_facts nothing;

static struct ip_address address(const char *text)
{
    struct ip_address a = {.v6 = false};
    assert_true(ip_address_parse(slice_of(text), &a));
    return net_address_meant(&a);
}

static enum net_kind judge_with(const char *allow, enum net_mode mode, const char *to,
                                uint16_t port, struct net_facts facts)
{
    struct net_allow entry;
    struct net_policy p = {.mode = mode, .allow = &entry, .allow_count = allow != NULL};
    struct ip_address a = address(to);
    if (allow != NULL) {
        assert_null(net_allow_parse(slice_of(allow), &entry));
    }
    return net_policy_judge(&p, &a, port, &facts);
}

static enum net_kind judge(const char *to, uint16_t port)
{
    return judge_with(NULL, NET_MODE_INTERNET, to, port, nothing);
}

static enum net_kind judge_allowing(const char *allow, const char *to, uint16_t port)
{
    return judge_with(allow, NET_MODE_INTERNET, to, port, nothing);
}

struct expected {
    const char *to;
    enum net_kind kind;
};

static void internet_refuses_every_range_at_both_ends(void **state)
{
    static const struct expected all[] = {
        {"0.0.0.0", NET_LOOPBACK},
        {"0.255.255.255", NET_LOOPBACK},
        {"1.0.0.0", NET_LET_THROUGH},
        {"9.255.255.255", NET_LET_THROUGH},
        {"10.0.0.0", NET_PRIVATE},
        {"10.255.255.255", NET_PRIVATE},
        {"11.0.0.0", NET_LET_THROUGH},
        {"100.63.255.255", NET_LET_THROUGH},
        {"100.64.0.0", NET_PRIVATE},
        {"100.100.100.200", NET_PRIVATE},
        {"100.127.255.255", NET_PRIVATE},
        {"100.128.0.0", NET_LET_THROUGH},
        {"126.255.255.255", NET_LET_THROUGH},
        {"127.0.0.0", NET_LOOPBACK},
        {"127.255.255.255", NET_LOOPBACK},
        {"128.0.0.0", NET_LET_THROUGH},
        {"169.253.255.255", NET_LET_THROUGH},
        {"169.254.0.0", NET_LINK_LOCAL},
        {"169.254.169.254", NET_LINK_LOCAL},
        {"169.254.255.255", NET_LINK_LOCAL},
        {"169.255.0.0", NET_LET_THROUGH},
        {"172.15.255.255", NET_LET_THROUGH},
        {"172.16.0.0", NET_PRIVATE},
        {"172.31.255.255", NET_PRIVATE},
        {"172.32.0.0", NET_LET_THROUGH},
        {"191.255.255.255", NET_LET_THROUGH},
        {"192.0.0.0", NET_RESERVED},
        {"192.0.0.255", NET_RESERVED},
        {"192.0.1.0", NET_LET_THROUGH},
        {"192.167.255.255", NET_LET_THROUGH},
        {"192.168.0.0", NET_PRIVATE},
        {"192.168.255.255", NET_PRIVATE},
        {"192.169.0.0", NET_LET_THROUGH},
        {"198.17.255.255", NET_LET_THROUGH},
        {"198.18.0.0", NET_RESERVED},
        {"198.19.255.255", NET_RESERVED},
        {"198.20.0.0", NET_LET_THROUGH},
        {"223.255.255.255", NET_LET_THROUGH},
        {"224.0.0.0", NET_MULTICAST},
        {"240.0.0.0", NET_MULTICAST},
        {"255.255.255.255", NET_MULTICAST},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_int_equal(judge(all[i].to, 443), all[i].kind);
    }
}

static void internet_of_ipv6_is_global_unicast_alone(void **state)
{
    static const struct expected all[] = {
        {"::", NET_LOOPBACK},
        {"::1", NET_LOOPBACK},
        {"::2", NET_RESERVED},
        {"::127.0.0.1", NET_RESERVED},
        {"::ffff:127.0.0.1", NET_RESERVED},
        {"::ffff:8.8.8.8", NET_RESERVED},
        {"1fff::1", NET_RESERVED},
        {"2000::", NET_LET_THROUGH},
        {"2001::1", NET_RESERVED},
        {"2001:0:ffff::1", NET_RESERVED},
        {"2001:1::1", NET_LET_THROUGH},
        {"2001:db8::1", NET_LET_THROUGH},
        {"2001:ffff::1", NET_LET_THROUGH},
        {"2002::", NET_RESERVED},
        {"2002:7f00:1::1", NET_RESERVED},
        {"2003::1", NET_LET_THROUGH},
        {"2a05:d018::77", NET_LET_THROUGH},
        {"3fff:ffff::1", NET_LET_THROUGH},
        {"4000::1", NET_RESERVED},
        {"fc00::1", NET_PRIVATE},
        {"fd00:ec2::254", NET_LINK_LOCAL},
        {"fe80::1", NET_LINK_LOCAL},
        {"febf::1", NET_LINK_LOCAL},
        {"fec0::2", NET_RESERVED},
        {"ff02::1", NET_MULTICAST},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        assert_int_equal(judge(all[i].to, 443), all[i].kind);
    }
}

static void nat64_is_judged_by_the_address_inside(void **state)
{
    assert_int_equal(judge("64:ff9b::169.254.169.254", 80), NET_LINK_LOCAL);
    assert_int_equal(judge("64:ff9b::127.0.0.1", 80), NET_LOOPBACK);
    assert_int_equal(judge("64:ff9b::10.0.0.1", 80), NET_PRIVATE);
    assert_int_equal(judge("64:ff9b::140.82.112.3", 443), NET_LET_THROUGH);
    assert_int_equal(judge("64:ff9b:0:0:1::8.8.8.8", 443), NET_RESERVED);
}

static void facts_of_the_host_refuse_public_addresses(void **state)
{
    static const struct net_facts own = {.is_own = true};
    static const struct net_facts near = {.is_connected = true};
    assert_int_equal(judge_with(NULL, NET_MODE_INTERNET, "52.1.2.3", 22, own), NET_HOST_ADDRESS);
    assert_int_equal(judge_with(NULL, NET_MODE_INTERNET, "2a05:d018::10", 22, own),
                     NET_HOST_ADDRESS);
    assert_int_equal(judge_with(NULL, NET_MODE_INTERNET, "2a05:d018::77", 22, near), NET_NEIGHBOUR);
}

static void resolver_is_let_through_on_its_port_alone(void **state)
{
    static const struct net_facts resolver = {.is_resolver = true};
    static const char *const places[] = {"127.0.0.53", "169.254.169.254", "10.0.0.2", "::1"};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        assert_int_equal(judge_with(NULL, NET_MODE_INTERNET, places[i], 53, resolver),
                         NET_LET_THROUGH);
        assert_int_not_equal(judge_with(NULL, NET_MODE_INTERNET, places[i], 80, resolver),
                             NET_LET_THROUGH);
        assert_int_not_equal(judge_with(NULL, NET_MODE_PROXY, places[i], 53, resolver),
                             NET_LET_THROUGH);
    }
}

static void proxy_is_let_through_in_every_mode(void **state)
{
    static const struct net_facts proxy = {.is_proxy = true, .is_own = true};
    for (int mode = NET_MODE_INTERNET; mode <= NET_MODE_NONE; mode++) {
        assert_int_equal(judge_with(NULL, (enum net_mode)mode, "10.1.2.3", 3128, proxy),
                         NET_LET_THROUGH);
    }
}

static void closed_modes_reach_what_is_listed(void **state)
{
    for (int mode = NET_MODE_PROXY; mode <= NET_MODE_NONE; mode++) {
        enum net_mode m = (enum net_mode)mode;
        assert_int_equal(judge_with(NULL, m, "140.82.112.3", 443, nothing), NET_CLOSED);
        assert_int_equal(judge_with(NULL, m, "10.0.0.1", 443, nothing), NET_CLOSED);
        assert_int_equal(judge_with("10.0.0.0/8:443", m, "10.0.0.1", 443, nothing),
                         NET_LET_THROUGH);
        assert_int_equal(judge_with("10.0.0.0/8:443", m, "10.0.0.1", 80, nothing), NET_CLOSED);
    }
}

static void allow_opens_its_addresses_and_nothing_beside_them(void **state)
{
    assert_int_equal(judge_allowing("10.20.0.0/15", "10.20.0.0", 1), NET_LET_THROUGH);
    assert_int_equal(judge_allowing("10.20.0.0/15", "10.21.255.255", 1), NET_LET_THROUGH);
    assert_int_equal(judge_allowing("10.20.0.0/15", "10.22.0.0", 1), NET_PRIVATE);
    assert_int_equal(judge_allowing("10.20.0.0/15", "10.19.255.255", 1), NET_PRIVATE);
    assert_int_equal(judge_allowing("10.1.2.3:443", "10.1.2.3", 443), NET_LET_THROUGH);
    assert_int_equal(judge_allowing("10.1.2.3:443", "10.1.2.3", 444), NET_PRIVATE);
    assert_int_equal(judge_allowing("127.0.0.1:8080", "127.0.0.1", 8080), NET_LET_THROUGH);
    assert_int_equal(judge_allowing("127.0.0.1:8080", "127.0.0.1", 6379), NET_LOOPBACK);
    assert_int_equal(judge_allowing("127.0.0.1:8080", "127.0.0.2", 8080), NET_LOOPBACK);
    assert_int_equal(judge_allowing("[fd00:1::/32]:443", "fd00:1::9", 443), NET_LET_THROUGH);
    assert_int_equal(judge_allowing("[fd00:1::/32]:443", "fd00:2::9", 443), NET_PRIVATE);
    assert_int_equal(judge_allowing("fd00::/8", "fd12::9", 443), NET_LET_THROUGH);
}

static void wide_entry_opens_neither_host_nor_metadata(void **state)
{
    static const struct net_facts own = {.is_own = true};
    static const char *const places[] = {"127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        assert_int_not_equal(judge_allowing("0.0.0.0/0", places[i], 80), NET_LET_THROUGH);
        assert_int_not_equal(judge_allowing("128.0.0.0/1", places[i], 80), NET_LET_THROUGH);
    }
    assert_int_equal(judge_allowing("0.0.0.0/0", "10.1.1.1", 80), NET_LET_THROUGH);
    assert_int_equal(judge_with("10.0.0.0/8", NET_MODE_INTERNET, "10.1.1.1", 80, own),
                     NET_HOST_ADDRESS);
    assert_int_equal(judge_with("10.1.1.1", NET_MODE_INTERNET, "10.1.1.1", 80, own),
                     NET_LET_THROUGH);
    assert_int_equal(judge_allowing("::/0", "::ffff:127.0.0.1", 80), NET_RESERVED);
    assert_int_equal(judge_allowing("fd00::/8", "fd00:ec2::254", 80), NET_LINK_LOCAL);
    assert_int_equal(judge_allowing("169.254.0.0/16", "169.254.169.254", 80), NET_LINK_LOCAL);
}

static void allow_what_is_no_entry_is_refused(void **state)
{
    static const char *const bad[] = {
        "",           "example.com",  "10.0.0.0/33", "10.0.0.1/8",  "10.0.0.0/-1",
        "10.0.0.1:0", "10.0.0.1:x",   "10.0.0.1:",   "10.0.0",      "10.0.0.1:65536",
        "[fd00::1",   "[fd00::1]443", "fd00::/129",  "fd00::1/8",   "127.0.0.1",
        "::1",        "[::1]",        "10.0.0.0/",   "10.0.0.0/8 ", "[10.0.0.1]:",
    };
    struct net_allow entry;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_non_null(net_allow_parse(slice_of(bad[i]), &entry));
    }
}

static void names_lead_back_to_their_values(void **state)
{
    enum net_kind kind;
    enum net_mode mode;
    for (int i = 0; i < NET_KINDS; i++) {
        assert_true(net_kind_parse(slice_of(net_kind_name((enum net_kind)i)), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(net_kind_parse(SLICE("all"), &kind));
    assert_true(net_mode_parse(SLICE("none"), &mode));
    assert_int_equal(mode, NET_MODE_NONE);
    assert_false(net_mode_parse(SLICE("user"), &mode));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(internet_refuses_every_range_at_both_ends),
        cmocka_unit_test(internet_of_ipv6_is_global_unicast_alone),
        cmocka_unit_test(nat64_is_judged_by_the_address_inside),
        cmocka_unit_test(facts_of_the_host_refuse_public_addresses),
        cmocka_unit_test(resolver_is_let_through_on_its_port_alone),
        cmocka_unit_test(proxy_is_let_through_in_every_mode),
        cmocka_unit_test(closed_modes_reach_what_is_listed),
        cmocka_unit_test(allow_opens_its_addresses_and_nothing_beside_them),
        cmocka_unit_test(wide_entry_opens_neither_host_nor_metadata),
        cmocka_unit_test(allow_what_is_no_entry_is_refused),
        cmocka_unit_test(names_lead_back_to_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
