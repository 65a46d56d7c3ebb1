/* Addresses and prefixes: what is read, what is refused, and what contains what. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "common/net/address.h"
#include "tests/lib/cmocka.h"

static struct ip_address address(const char *text)
{
    struct ip_address a = {.v6 = false};
    assert_true(ip_address_parse(slice_of(text), &a));
    return a;
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p = {.bits = 0};
    assert_null(ip_prefix_parse(slice_of(text), &p));
    return p;
}

static void text_leads_back_to_its_address(void **state)
{
    static const char *const texts[] = {"10.1.2.3", "255.255.255.255", "::", "fd00::1",
                                        "::ffff:1.2.3.4"};
    char text[IP_ADDRESS_TEXT];
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct ip_address a = address(texts[i]);
        ip_address_text(&a, text);
        assert_string_equal(text, texts[i]);
    }
}

static void text_that_is_no_address_is_refused(void **state)
{
    static const char *const bad[] = {"",          "1.2.3",     "1.2.3.4.5",  "1.2.3.256",
                                      "01.2.3.4 ", "[fd00::1]", "fd00::1%lo", "1.2.3.4:80",
                                      "host",      ":"};
    struct ip_address a;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(ip_address_parse(slice_of(bad[i]), &a));
    }
    assert_false(ip_address_parse((struct slice){NULL, 0}, &a));
    assert_false(ip_address_parse((struct slice){"1.2.3.4\0", 8}, &a));
}

static void address_of_a_socket_address(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(81)};
    struct sockaddr local = {.sa_family = AF_UNIX};
    struct ip_address a;
    char text[IP_ADDRESS_TEXT];
    uint16_t port = 0;
    assert_int_equal(inet_pton(AF_INET, "10.1.2.3", &v4.sin_addr), 1);
    assert_true(ip_address_of((struct sockaddr *)&v4, sizeof v4, &a, &port));
    ip_address_text(&a, text);
    assert_string_equal(text, "10.1.2.3");
    assert_int_equal(port, 80);
    assert_int_equal(inet_pton(AF_INET6, "fd00::1", &v6.sin6_addr), 1);
    assert_true(ip_address_of((struct sockaddr *)&v6, sizeof v6, &a, &port));
    ip_address_text(&a, text);
    assert_string_equal(text, "fd00::1");
    assert_int_equal(port, 81);
    assert_false(ip_address_of(&local, sizeof local, &a, &port));
    assert_false(ip_address_of((struct sockaddr *)&v6, sizeof v4, &a, &port));
    assert_false(ip_address_of(NULL, 0, &a, &port));
}

static void unmapped_is_the_address_inside_of_a_mapped_one_alone(void **state)
{
    static const char *const pairs[][2] = {{"::ffff:1.2.3.4", "1.2.3.4"},
                                           {"::1.2.3.4", "::1.2.3.4"},
                                           {"64:ff9b::1.2.3.4", "64:ff9b::102:304"},
                                           {"1.2.3.4", "1.2.3.4"},
                                           {"fd00::1", "fd00::1"}};
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        struct ip_address a = address(pairs[i][0]);
        struct ip_address expected = address(pairs[i][1]);
        struct ip_address inside = ip_address_unmapped(&a);
        assert_true(ip_address_eq(&inside, &expected));
    }
}

static void masked_keeps_the_first_bits(void **state)
{
    static const struct {
        const char *from;
        unsigned bits;
        const char *to;
    } all[] = {{"10.255.255.255", 9, "10.128.0.0"},
               {"10.255.255.255", 32, "10.255.255.255"},
               {"10.255.255.255", 0, "0.0.0.0"},
               {"10.255.255.255", 64, "10.255.255.255"},
               {"2001:db8:1:2:3::4", 64, "2001:db8:1:2::"},
               {"ffff::", 3, "e000::"}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct ip_address from = address(all[i].from);
        struct ip_address to = address(all[i].to);
        struct ip_address masked = ip_address_masked(&from, all[i].bits);
        assert_true(ip_address_eq(&masked, &to));
    }
}

static void prefix_contains_both_its_ends_and_nothing_beside_them(void **state)
{
    static const struct {
        const char *prefix;
        const char *address;
        bool inside;
    } all[] = {{"10.20.0.0/15", "10.20.0.0", true},
               {"10.20.0.0/15", "10.21.255.255", true},
               {"10.20.0.0/15", "10.22.0.0", false},
               {"10.20.0.0/15", "10.19.255.255", false},
               {"0.0.0.0/0", "255.0.0.1", true},
               {"0.0.0.0/0", "::1", false},
               {"::/0", "1.2.3.4", false},
               {"::/0", "fd00::1", true},
               {"192.0.2.1", "192.0.2.1", true},
               {"192.0.2.1", "192.0.2.2", false},
               {"2001:db8::/29", "2001:dbf:ffff::1", true},
               {"2001:db8::/29", "2001:dc0::", false}};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct ip_prefix p = prefix(all[i].prefix);
        struct ip_address a = address(all[i].address);
        assert_int_equal(ip_prefix_contains(&p, &a), all[i].inside);
        struct ip_prefix both[] = {prefix("203.0.113.9"), p};
        const struct ip_prefixes set = {both, 2};
        assert_int_equal(ip_prefixes_contain(&set, &a), all[i].inside);
    }
    const struct ip_prefixes none = {NULL, 0};
    struct ip_address a = address("1.2.3.4");
    assert_false(ip_prefixes_contain(&none, &a));
}

static void prefix_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "",       "example.com", "10.0.0.0/33", "10.0.0.1/8",  "10.0.0.0/-1", "10.0.0.0/",
        "10.0.0", "fd00::/129",  "fd00::1/8",   "10.0.0.0/8 ", "10.0.0.0/8/8"};
    struct ip_prefix p;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_non_null(ip_prefix_parse(slice_of(bad[i]), &p));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_leads_back_to_its_address),
        cmocka_unit_test(text_that_is_no_address_is_refused),
        cmocka_unit_test(address_of_a_socket_address),
        cmocka_unit_test(unmapped_is_the_address_inside_of_a_mapped_one_alone),
        cmocka_unit_test(masked_keeps_the_first_bits),
        cmocka_unit_test(prefix_contains_both_its_ends_and_nothing_beside_them),
        cmocka_unit_test(prefix_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
