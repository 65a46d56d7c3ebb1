/* A peer that has all the connections it may have: which of them gives way to a new one. */
#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingress/conn.h"
#include "tests/lib/cmocka.h"

#define PLACES 3

static struct {
    struct event_base *base;
    struct event *turn;
    struct shares *shares;
    struct conn_set set;
    struct ip_address peer;
} world;

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void do_nothing(struct conn *c)
{
    (void)c;
}

static const struct conn_handler handler = {.read = do_nothing, .answered = do_nothing};

static int begin(void **state)
{
    const struct shares_limits shares = {
        .peer_connections = PLACES, .peer_bytes = 1000, .bytes = 1000, .connections = 100};
    const struct conn_limits limits = {.connections = 100, .held_bytes = 1000};
    (void)state;
    world.base = event_base_new();
    world.turn = event_new(world.base, -1, 0, on_turn, NULL);
    world.shares = shares_new(&shares);
    assert_true(ip_address_parse(slice_of("192.0.2.1"), &world.peer));
    conn_set_init(&world.set, world.base, world.turn, &limits, world.shares, &handler, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    conn_close_all(&world.set);
    conn_set_fini(&world.set);
    shares_free(world.shares);
    event_free(world.turn);
    event_base_free(world.base);
    return 0;
}

/* Its client's end. */
static int open_of(const struct ip_address *peer)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    conn_new(&world.set, ends[0], NULL, peer, false);
    return ends[1];
}

static bool is_open(int client)
{
    char byte;
    return recv(client, &byte, 1, 0) < 0; /* nothing yet, and no end */
}

static void send_byte(int client)
{
    assert_int_equal(send(client, "P", 1, 0), 1);
}

static void close_clients(const int *clients, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)close(clients[i]);
    }
}

static void oldest_that_sends_nothing_gives_way_however_young_it_is(void **state)
{
    int c[PLACES + 2];
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        c[i] = open_of(&world.peer);
    }
    send_byte(c[0]);
    c[PLACES] = open_of(&world.peer);
    assert_true(is_open(c[0]));
    assert_false(is_open(c[1]));
    assert_true(is_open(c[2]));
    assert_true(is_open(c[PLACES]));
    c[PLACES + 1] = open_of(&world.peer);
    assert_false(is_open(c[2]));
    assert_true(is_open(c[PLACES]));
    assert_true(is_open(c[PLACES + 1]));
    close_clients(c, COUNT_OF(c));
}

static void new_one_is_refused_where_each_has_sent_something(void **state)
{
    int c[PLACES + 1];
    (void)state;
    for (size_t i = 0; i < PLACES; i++) {
        c[i] = open_of(&world.peer);
        send_byte(c[i]);
    }
    c[PLACES] = open_of(&world.peer);
    assert_false(is_open(c[PLACES]));
    for (size_t i = 0; i < PLACES; i++) {
        assert_true(is_open(c[i]));
    }
    close_clients(c, COUNT_OF(c));
}

static void connections_of_others_stay(void **state)
{
    struct ip_address other;
    int c[PLACES + 1];
    (void)state;
    assert_true(ip_address_parse(slice_of("192.0.2.2"), &other));
    int elder = open_of(&other);
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        c[i] = open_of(&world.peer);
    }
    assert_true(is_open(elder));
    assert_false(is_open(c[0]));
    close_clients(c, COUNT_OF(c));
    (void)close(elder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(oldest_that_sends_nothing_gives_way_however_young_it_is,
                                        begin, end),
        cmocka_unit_test_setup_teardown(new_one_is_refused_where_each_has_sent_something, begin,
                                        end),
        cmocka_unit_test_setup_teardown(connections_of_others_stay, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
