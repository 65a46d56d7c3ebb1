/* Whose request it is: what proxies added is read from the right, what clients forged is not used. */
#include "ingress/peer/forwarded.h"
#include "tests/lib/cmocka.h"

/* The proxies: 10.0.0.0/8, 2001:db8:1::/48. */
#define PROXY "10.0.0.1"

static enum forwarded_client find(const char *peer, const struct forwarded_lines *forwarded,
                                  const struct forwarded_lines *x, char *client)
{
    struct ip_prefix list[2];
    struct ip_address a;
    assert_null(ip_prefix_parse(SLICE("10.0.0.0/8"), &list[0]));
    assert_null(ip_prefix_parse(SLICE("2001:db8:1::/48"), &list[1]));
    const struct ip_prefixes trusted = {list, 2};
    assert_true(ip_address_parse(slice_of(peer), &a));
    enum forwarded_client found = forwarded_client(&trusted, &a, forwarded, x, &a);
    ip_address_text(&a, client);
    return found;
}

static struct forwarded_lines one_line(const char *value)
{
    struct forwarded_lines l = {.count = 0};
    if (value != NULL) {
        forwarded_lines_add(&l, slice_of(value));
    }
    return l;
}

/* NULL: there is no such header. */
static void expect(const char *peer, const char *forwarded, const char *x,
                   enum forwarded_client expected, const char *client)
{
    struct forwarded_lines f = one_line(forwarded);
    struct forwarded_lines xff = one_line(x);
    char text[IP_ADDRESS_TEXT];
    assert_int_equal(find(peer, &f, &xff, text), expected);
    assert_string_equal(text, client);
}

static void peer_that_is_no_proxy_is_the_client_whatever_it_says(void **state)
{
    expect("192.0.2.1", "for=198.51.100.1", "198.51.100.1", FORWARDED_PEER, "192.0.2.1");
    expect("::ffff:192.0.2.1", NULL, "198.51.100.1", FORWARDED_PEER, "192.0.2.1");
    expect("2001:db8:2::1", NULL, "198.51.100.1", FORWARDED_PEER, "2001:db8:2::1");
}

static void first_from_the_right_that_is_no_proxy_is_the_client(void **state)
{
    static const char *const good[] = {
        "192.0.2.1",
        "192.0.2.1:4711",
        "  192.0.2.1\t",
        "203.0.113.9, 192.0.2.1",
        "forged, 192.0.2.1",
        "192.0.2.1,10.1.1.1",
        "203.0.113.9, 192.0.2.1, 10.1.1.1:80 , 2001:db8:1::1,[2001:db8:1::2], [2001:db8:1::3]:80",
        "::ffff:192.0.2.1",
        "[::ffff:192.0.2.1]:80",
        "192.0.2.1, ::ffff:10.2.3.4",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        expect(PROXY, NULL, good[i], FORWARDED_NAMED, "192.0.2.1");
        expect("::ffff:10.0.0.1", NULL, good[i], FORWARDED_NAMED, "192.0.2.1");
    }
    expect("2001:db8:1::1", NULL, "2001:db8:2::7", FORWARDED_NAMED, "2001:db8:2::7");
}

static void forwarded_of_rfc_7239_is_understood(void **state)
{
    static const struct {
        const char *line;
        const char *client;
    } all[] = {
        {"for=192.0.2.43", "192.0.2.43"},
        {"For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"},
        {"for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"},
        {"by=203.0.113.43 ; FOR=\"192.0.2.60:_port\" ;host=\"a.example\"", "192.0.2.60"},
        {"for=192.0.2.43, for=198.51.100.17", "198.51.100.17"},
        {"for=192.0.2.43, for=\"10.3.2.1:80\"", "192.0.2.43"},
        {"for=_hidden, for=192.0.2.43", "192.0.2.43"},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        expect(PROXY, all[i].line, NULL, FORWARDED_NAMED, all[i].client);
    }
}

static void what_is_no_address_ends_the_walk_at_the_last_proxy(void **state)
{
    static const char *const bad[] = {
        "unknown",
        "_hidden",
        "",
        ",",
        "192.0.2.1, unknown",
        "192.0.2.1,",
        "192.0.2.1 198.51.100.1",
        "192.0.2.1:",
        "192.0.2.1:http",
        "[192.0.2.1]",
        "[2001:db8:2::1",
        "[2001:db8:2::1]x",
        "[2001:db8:2::1]:",
        "2001:db8:2::1%eth0",
        "192.0.2.1;10.0.0.1",
        "localhost",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        expect(PROXY, NULL, bad[i], FORWARDED_NOBODY, PROXY);
    }
    expect(PROXY, NULL, "192.0.2.1, unknown, 10.9.9.9", FORWARDED_NOBODY, "10.9.9.9");
    expect(PROXY, NULL, "10.9.9.9", FORWARDED_NOBODY, "10.9.9.9");
    expect(PROXY, NULL, NULL, FORWARDED_NOBODY, PROXY);
}

static void element_of_forwarded_that_is_malformed_names_nobody(void **state)
{
    static const char *const bad[] = {
        "192.0.2.1",
        "proto=https",
        "for=192.0.2.1;for=192.0.2.2",
        "for=\"192.0.2.1",
        "for=192.0.2.1\"",
        "for=\"192\\.0.2.1\"",
        "for=192.0.2.1;x",
        "for = 192.0.2.1",
        "for=unknown",
        "for=",
        "for=\"",
        "for=\"\"",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        expect(PROXY, bad[i], NULL, FORWARDED_NOBODY, PROXY);
    }
}

/* The client opens a quote, and the proxy adds its element behind it. */
static void quote_of_a_client_swallows_nothing(void **state)
{
    expect(PROXY, "for=\", for=\"[2001:db8:2::1]\"", NULL, FORWARDED_NAMED, "2001:db8:2::1");
    expect(PROXY, "for=203.0.113.9;x=\", for=192.0.2.1", NULL, FORWARDED_NAMED, "192.0.2.1");
}

/* The proxy writes one of the two headers and passes on the other one as the client forged it. */
static void headers_that_differ_name_nobody(void **state)
{
    expect(PROXY, "for=203.0.113.9", "192.0.2.1", FORWARDED_NOBODY, PROXY);
    expect(PROXY, "for=192.0.2.1", "203.0.113.9, 192.0.2.1", FORWARDED_NAMED, "192.0.2.1");
    expect(PROXY, "for=192.0.2.1", "10.9.9.9", FORWARDED_NAMED, "192.0.2.1");
    expect(PROXY, "for=10.9.9.9", "192.0.2.1", FORWARDED_NAMED, "192.0.2.1");
    expect(PROXY, "garbage", "192.0.2.1", FORWARDED_NAMED, "192.0.2.1");
}

static void lines_count_as_one_and_the_last_are_kept(void **state)
{
    char text[IP_ADDRESS_TEXT];
    struct forwarded_lines none = {.count = 0};
    struct forwarded_lines l = {.count = 0};
    forwarded_lines_add(&l, SLICE("203.0.113.9"));
    forwarded_lines_add(&l, SLICE("192.0.2.1, 10.1.1.1"));
    forwarded_lines_add(&l, SLICE("10.1.1.2"));
    assert_int_equal(find(PROXY, &none, &l, text), FORWARDED_NAMED);
    assert_string_equal(text, "192.0.2.1");
    for (int i = 0; i < FORWARDED_LINES_MAX - 1; i++) {
        forwarded_lines_add(&l, SLICE("10.1.1.3"));
    }
    assert_int_equal(find(PROXY, &none, &l, text), FORWARDED_NOBODY);
    assert_string_equal(text, "10.1.1.2");
    forwarded_lines_add(&l, SLICE("198.51.100.1"));
    assert_int_equal(find(PROXY, &none, &l, text), FORWARDED_NAMED);
    assert_string_equal(text, "198.51.100.1");
}

static void walk_over_proxies_is_bounded(void **state)
{
    char line[1024] = "192.0.2.1";
    for (size_t i = 0; i < 40; i++) {
        static const char hop[] = ",10.0.0.2";
        for (size_t k = 0; k < sizeof hop; k++) {
            line[9 + i * (sizeof hop - 1) + k] = hop[k];
        }
    }
    expect(PROXY, NULL, line, FORWARDED_NOBODY, "10.0.0.2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peer_that_is_no_proxy_is_the_client_whatever_it_says),
        cmocka_unit_test(first_from_the_right_that_is_no_proxy_is_the_client),
        cmocka_unit_test(forwarded_of_rfc_7239_is_understood),
        cmocka_unit_test(what_is_no_address_ends_the_walk_at_the_last_proxy),
        cmocka_unit_test(element_of_forwarded_that_is_malformed_names_nobody),
        cmocka_unit_test(quote_of_a_client_swallows_nothing),
        cmocka_unit_test(headers_that_differ_name_nobody),
        cmocka_unit_test(lines_count_as_one_and_the_last_are_kept),
        cmocka_unit_test(walk_over_proxies_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
