/* The last look: connect and sendto as a library calls them, in this process. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/cmocka.h"
#include "worker/gateway/gateway.h"

static struct gateway_settings settings = {.mode = NET_MODE_INTERNET};

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int receiver(int type, uint16_t *port)
{
    struct sockaddr_in to = loopback(0);
    socklen_t size = sizeof to;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(type == SOCK_DGRAM || listen(fd, 100) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &size), 0);
    *port = ntohs(to.sin_port);
    return fd;
}

static bool got_something(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void hooks_stand_before_libc(void **state)
{
    assert_true(hooks_are_in_place());
}

static void connect_to_what_is_refused_fails(void **state)
{
    uint16_t port;
    int listener = receiver(SOCK_STREAM, &port);
    struct sockaddr_in to = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    errno = 0;
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ENETUNREACH);
    assert_false(got_something(listener));
    close(fd);
    close(listener);
}

static void connect_to_a_unix_socket_fails(void **state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ENETUNREACH); /* and not ENOENT */
    close(fd);
}

static void datagram_is_judged_whatever_call_carries_it(void **state)
{
    uint16_t port;
    int target = receiver(SOCK_DGRAM, &port);
    struct sockaddr_in to = loopback(port);
    char data[] = "data";
    struct iovec part = {.iov_base = data, .iov_len = sizeof data};
    struct mmsghdr m = {
        .msg_hdr = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(fd, data, 4, 0, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(sendmsg(fd, &m.msg_hdr, 0), -1);
    assert_int_equal(sendmmsg(fd, &m, 1, 0), -1);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), -1);
    assert_int_equal(errno, ENETUNREACH);
    assert_false(got_something(target));
    hooks_trust_thread(true);
    assert_int_equal(sendto(fd, data, 4, 0, (struct sockaddr *)&to, sizeof to), 4);
    hooks_trust_thread(false);
    assert_true(got_something(target));
    close(fd);
    close(target);
}

static void own_addresses_are_refused(void **state)
{
    static const struct net_address v4 = {.bytes = {127, 0, 0, 1}};
    static const struct net_address v6 = {.v6 = true, .bytes = {[15] = 1}};
    static const struct net_address public = {.bytes = {140, 82, 112, 3}};
    assert_int_equal(judge_destination(&v4, 80, "tcp"), NET_LOOPBACK);
    assert_int_equal(judge_destination(&v6, 80, "tcp"), NET_LOOPBACK);
    assert_int_equal(judge_destination(&public, 80, "tcp"), NET_LET_THROUGH);
}

static int open_all(void **state)
{
    struct err e;
    hooks_open(settings.mode);
    return lookup_open(&settings, &e) != 0 || judge_open(&settings, &e) != 0 ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_stand_before_libc),
        cmocka_unit_test(connect_to_what_is_refused_fails),
        cmocka_unit_test(connect_to_a_unix_socket_fails),
        cmocka_unit_test(datagram_is_judged_whatever_call_carries_it),
        cmocka_unit_test(own_addresses_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, NULL);
}
