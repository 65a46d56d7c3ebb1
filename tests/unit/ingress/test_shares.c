/* The accounts of peers: who is one peer, what each may hold, and that nothing is left of one that went. */
#include <pthread.h>
#include <stdio.h>

#include "common/base/thread.h"
#include "ingress/peer/shares.h"
#include "tests/lib/cmocka.h"

static const struct shares_limits small = {
    .peer_connections = 2, .peer_bytes = 100, .bytes = 250, .connections = 8};

static struct ip_address address(const char *text)
{
    struct ip_address a = {.v6 = false};
    assert_true(ip_address_parse(slice_of(text), &a));
    return a;
}

static struct share *join(struct shares *s, const char *text)
{
    struct ip_address a = address(text);
    return shares_join(s, &a);
}

static void peer_has_its_share_of_connections_and_others_have_theirs(void **state)
{
    struct shares *s = shares_new(&small);
    struct share *first = join(s, "192.0.2.1");
    struct share *second = join(s, "192.0.2.1");
    assert_non_null(first);
    assert_ptr_equal(first, second);
    assert_null(join(s, "192.0.2.1"));
    struct share *other = join(s, "192.0.2.2");
    assert_non_null(other);
    assert_int_equal(shares_count(s), 2);
    shares_leave(second);
    second = join(s, "192.0.2.1");
    assert_ptr_equal(first, second);
    shares_leave(first);
    shares_leave(second);
    shares_leave(other);
    assert_int_equal(shares_count(s), 0);
    shares_free(s);
}

static void account_is_found_while_it_has_connections(void **state)
{
    struct shares *s = shares_new(&small);
    struct ip_address a = address("192.0.2.1");
    assert_null(shares_find(s, &a));
    struct share *share = join(s, "192.0.2.1");
    assert_ptr_equal(shares_find(s, &a), share);
    shares_leave(share);
    assert_null(shares_find(s, &a));
    shares_free(s);
}

static void peer_is_an_ipv4_address_or_the_64_of_an_ipv6_address(void **state)
{
    struct shares *s = shares_new(&small);
    struct share *all[] = {join(s, "2001:db8:0:1::1"),  join(s, "2001:db8:0:1:ffff::2"),
                           join(s, "2001:db8:0:2::1"),  join(s, "192.0.2.1"),
                           join(s, "::ffff:192.0.2.1"), join(s, "::c000:201"),
                           join(s, "0.0.0.0")};
    assert_ptr_equal(all[0], all[1]);
    assert_ptr_not_equal(all[0], all[2]);
    assert_ptr_equal(all[3], all[4]);
    assert_ptr_not_equal(all[3], all[5]);
    assert_ptr_not_equal(all[5], all[6]);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        shares_leave(all[i]);
    }
    shares_free(s);
}

static void bytes_are_limited_for_each_peer_and_for_all(void **state)
{
    struct shares *s = shares_new(&small);
    struct share *a = join(s, "192.0.2.1");
    struct share *b = join(s, "192.0.2.2");
    struct share *c = join(s, "192.0.2.3");
    assert_int_equal(shares_reserve(s, a, 60), SHARES_GRANTED);
    assert_int_equal(shares_reserve(s, a, 41), SHARES_PEER_FULL);
    assert_int_equal(shares_reserve(s, a, SIZE_MAX), SHARES_PEER_FULL);
    assert_int_equal(shares_reserve(s, a, 40), SHARES_GRANTED);
    assert_int_equal(shares_reserve(s, b, 100), SHARES_GRANTED);
    assert_int_equal(shares_reserve(s, c, 51), SHARES_FULL);
    assert_int_equal(shares_reserve(s, c, 50), SHARES_GRANTED);
    assert_int_equal(shares_reserve(s, NULL, 1), SHARES_FULL);
    assert_int_equal(shares_bytes(s), 250);
    shares_release(s, b, 100);
    assert_int_equal(shares_reserve(s, NULL, 100), SHARES_GRANTED);
    assert_int_equal(shares_reserve(s, b, 1), SHARES_FULL);
    shares_release(s, NULL, 100);
    shares_release(s, a, 100);
    shares_release(s, c, 50);
    assert_int_equal(shares_bytes(s), 0);
    shares_leave(a);
    shares_leave(b);
    shares_leave(c);
    shares_free(s);
}

/* More peers than the table has buckets: chains, and removal from their middles. */
static void accounts_of_many_peers_stay_apart(void **state)
{
    enum { PEERS = 4000 };
    static struct share *all[PEERS];
    struct shares *s = shares_new(&small);
    for (int i = 0; i < PEERS; i++) {
        const struct ip_address a = {.bytes = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        all[i] = shares_join(s, &a);
        assert_non_null(all[i]);
    }
    assert_int_equal(shares_count(s), PEERS);
    for (int i = 0; i < PEERS; i += 2) {
        shares_leave(all[i]);
    }
    for (int i = 0; i < PEERS; i++) {
        const struct ip_address a = {.bytes = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        assert_ptr_equal(shares_find(s, &a), i % 2 == 0 ? NULL : all[i]);
    }
    for (int i = 1; i < PEERS; i += 2) {
        shares_leave(all[i]);
    }
    assert_int_equal(shares_count(s), 0);
    shares_free(s);
}

/* --- several loops ------------------------------------------------------------------------------ */

#define ROUNDS 20000

static void *come_and_go(void *arg)
{
    struct shares *s = arg;
    const struct ip_address near = {.bytes = {10, 1, 1, 1}};
    for (int i = 0; i < ROUNDS; i++) {
        struct share *share = shares_join(s, &near);
        if (share == NULL) {
            continue;
        }
        if (shares_reserve(s, share, 60) == SHARES_GRANTED) {
            shares_release(s, share, 60);
        }
        shares_leave(share);
    }
    return NULL;
}

static void threads_leave_nothing_behind(void **state)
{
    struct shares *s = shares_new(&small);
    struct threads threads = {.count = 0};
    struct err e = {0};
    assert_int_equal(threads_start(&threads, 4, "a peer", come_and_go, s, &e), 0);
    threads_join(&threads);
    assert_int_equal(shares_count(s), 0);
    assert_int_equal(shares_bytes(s), 0);
    shares_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peer_has_its_share_of_connections_and_others_have_theirs),
        cmocka_unit_test(account_is_found_while_it_has_connections),
        cmocka_unit_test(peer_is_an_ipv4_address_or_the_64_of_an_ipv6_address),
        cmocka_unit_test(bytes_are_limited_for_each_peer_and_for_all),
        cmocka_unit_test(accounts_of_many_peers_stay_apart),
        cmocka_unit_test(threads_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
