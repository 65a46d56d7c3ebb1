/* The settings about peers, as the ingress uses them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingress/peer/peers.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/config/config_testing.h"

static struct peers *open_peers(const char *ingress)
{
    char text[1024];
    struct err e = {0};
    struct peers *p = NULL;
    (void)snprintf(text, sizeof text, "%singress: {%s}\n", GOOD, ingress);
    struct config *c = parse_ok(text, CONFIG_FOR_INGRESS);
    MUST(peers_open(c, 1000, &p, &e));
    config_free(c);
    return p;
}

static struct ip_address address(const char *text)
{
    struct ip_address a = {.v6 = false};
    assert_true(ip_address_parse(slice_of(text), &a));
    return a;
}

static enum peers_verdict admit(struct peers *p, const char *text)
{
    struct ip_address a = address(text);
    return peers_admit(p, &a);
}

static void without_a_list_everybody_is_admitted(void **state)
{
    struct buf why = {.data = NULL};
    struct peers *p = open_peers("");
    assert_int_equal(admit(p, "192.0.2.1"), PEERS_ADMITTED);
    assert_int_equal(admit(p, "2001:db8::1"), PEERS_ADMITTED);
    assert_true(peers_ready(p, &why));
    peers_close(p);
}

static void list_admits_what_is_in_it(void **state)
{
    struct peers *p = open_peers("allow_from: [192.0.2.0/24, \"2001:db8::/32\"]");
    assert_int_equal(admit(p, "192.0.2.255"), PEERS_ADMITTED);
    assert_int_equal(admit(p, "::ffff:192.0.2.255"), PEERS_ADMITTED);
    assert_int_equal(admit(p, "2001:db8::1"), PEERS_ADMITTED);
    assert_int_equal(admit(p, "192.0.3.1"), PEERS_REFUSED);
    assert_int_equal(admit(p, "::1"), PEERS_REFUSED);
    peers_close(p);
}

/* Nothing listens on that port, and the call has the time to fail until the end. */
static void ranges_of_github_that_are_not_known_admit_the_rest_of_the_list_alone(void **state)
{
    struct buf why;
    struct err e = {0};
    struct peers *p = NULL;
    static const char text[] = GOOD_TOP
        "github: {webhook_secrets: [a-long-secret], api_url: \"http://127.0.0.1:1\"}\n" GOOD_CLASSES
        "ingress: {allow_from: [192.0.2.1, github-hooks]}\n";
    struct config *c = parse_ok(text, CONFIG_FOR_INGRESS);
    MUST(peers_open(c, 1000, &p, &e));
    config_free(c);
    assert_int_equal(admit(p, "192.0.2.1"), PEERS_ADMITTED);
    assert_int_equal(admit(p, "192.30.252.1"), PEERS_UNKNOWN);
    buf_init(&why, 1024);
    assert_false(peers_ready(p, &why));
    assert_non_null(strstr(why.data, "allow_from: GitHub's ranges are not known yet"));
    buf_fini(&why);
    peers_close(p);
}

static void proxies_are_those_of_the_list_and_name_the_client(void **state)
{
    struct forwarded_lines none = {.count = 0};
    struct forwarded_lines x = {.count = 0};
    struct ip_address client;
    struct peers *p = open_peers("trusted_proxies: [10.0.0.0/8]");
    struct ip_address proxy = address("::ffff:10.1.2.3");
    struct ip_address other = address("192.0.2.1");
    assert_true(peers_is_proxy(p, &proxy));
    assert_false(peers_is_proxy(p, &other));
    forwarded_lines_add(&x, SLICE("192.0.2.1"));
    assert_int_equal(peers_client(p, &proxy, &none, &x, &client), FORWARDED_NAMED);
    assert_true(ip_address_eq(&client, &other));
    peers_close(p);
}

static void shares_are_a_quarter_unless_set(void **state)
{
    static const struct {
        int64_t connections;      /* of all */
        int64_t peer_connections; /* as set */
        int64_t memory;
        int64_t peer_memory;
        size_t expected_connections;
        size_t expected_memory;
    } all[] = {
        {4096, 0, 64 << 20, 0, 1024, 16 << 20},  {200, 0, 3 << 20, 0, 64, 2 << 20},
        {40, 0, 1 << 20, 0, 40, 1 << 20},        {4096, 7, 64 << 20, 5 << 20, 7, 5 << 20},
        {10, 4096, 64 << 20, 0, 4096, 16 << 20},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        const struct config_ingress c = {
            .max_peer_connections = all[i].peer_connections,
            .max_unverified_memory_bytes = all[i].memory,
            .max_peer_unverified_memory_bytes = all[i].peer_memory,
            .max_body_size_bytes = 1 << 20,
            .max_header_size_bytes = 1 << 20,
        };
        struct shares_limits limits;
        peers_limits(&c, (size_t)all[i].connections, &limits);
        assert_int_equal(limits.peer_connections, all[i].expected_connections);
        assert_int_equal(limits.peer_bytes, all[i].expected_memory);
        assert_int_equal(limits.bytes, all[i].memory);
        assert_int_equal(limits.connections, all[i].connections);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_list_everybody_is_admitted),
        cmocka_unit_test(list_admits_what_is_in_it),
        cmocka_unit_test(ranges_of_github_that_are_not_known_admit_the_rest_of_the_list_alone),
        cmocka_unit_test(proxies_are_those_of_the_list_and_name_the_client),
        cmocka_unit_test(shares_are_a_quarter_unless_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
