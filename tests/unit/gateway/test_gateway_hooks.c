/* The last look: connect and sendto as a library calls them, in this process. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
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
    static const struct ip_address v4 = {.bytes = {127, 0, 0, 1}};
    static const struct ip_address v6 = {.v6 = true, .bytes = {[15] = 1}};
    static const struct ip_address public = {.bytes = {140, 82, 112, 3}};
    assert_int_equal(judge_destination(&v4, 80, "tcp"), NET_LOOPBACK);
    assert_int_equal(judge_destination(&v6, 80, "tcp"), NET_LOOPBACK);
    assert_int_equal(judge_destination(&public, 80, "tcp"), NET_LET_THROUGH);
}

/* --- idle connections --- */

#define IDLE_MS 100
#define WAIT_MS 10000

struct connection {
    int near;
    int far;
};

static struct connection connect_through(int listener, uint16_t port)
{
    struct sockaddr_in to = loopback(port);
    struct connection c = {.near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    hooks_trust_thread(true);
    assert_int_equal(connect(c.near, (struct sockaddr *)&to, sizeof to), 0);
    hooks_trust_thread(false);
    c.far = accept(listener, NULL, NULL);
    assert_true(c.far >= 0);
    hooks_opened(c.near);
    return c;
}

static void disconnect(struct connection c)
{
    hooks_closing(c.near);
    close(c.near);
    close(c.far);
}

static bool is_ended(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* Until one of two has ended, the other carries a byte every few milliseconds. */
static void idle_connection_to_the_proxy_is_closed_and_a_busy_one_is_not(void **state)
{
    uint16_t port;
    int listener = receiver(SOCK_STREAM, &port);
    hooks_open(NET_MODE_PROXY, IDLE_MS);
    struct connection idle = connect_through(listener, port);
    struct connection busy = connect_through(listener, port);
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    while (!is_ended(idle.far)) {
        assert_true(clock_mono_ms() < deadline_ms);
        assert_int_equal(send(busy.far, "x", 1, 0), 1);
        hooks_close_idle();
        clock_sleep_until(clock_mono_ms() + 5);
    }
    assert_false(is_ended(busy.far));
    hooks_open(NET_MODE_INTERNET, 0);
    hooks_close_idle();
    assert_false(is_ended(busy.far));
    disconnect(idle);
    disconnect(busy);
    close(listener);
    hooks_open(settings.mode, GATEWAY_PROXY_IDLE_MS);
}

/* --- an address that this host gets while a VM runs --- */

#define SKIPPED 77

static bool add_address(const char *interface, const char *text)
{
    struct ifreq r = {.ifr_flags = 0};
    struct sockaddr_in to = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(r.ifr_name, interface, strlen(interface) + 1);
    (void)inet_pton(AF_INET, text, &to.sin_addr);
    memcpy(&r.ifr_addr, &to, sizeof to);
    bool added = ioctl(fd, SIOCSIFADDR, &r) == 0;
    r.ifr_flags = IFF_UP;
    added = added && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    close(fd);
    return added;
}

/* In a child with a network of its own, whose kernel has no table of addresses before the first. */
static int judge_an_address_that_comes_late(void)
{
    static const struct ip_address late = {.bytes = {52, 1, 2, 3}};
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return SKIPPED;
    }
    if (!add_address("lo", "127.0.0.1") || judge_destination(&late, 80, "tcp") != NET_LET_THROUGH) {
        return 1;
    }
    if (!add_address("lo:1", "52.1.2.3")) {
        return 2;
    }
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    while (judge_destination(&late, 80, "tcp") != NET_HOST_ADDRESS) {
        if (clock_mono_ms() >= deadline_ms) {
            return 3;
        }
        clock_sleep_until(clock_mono_ms() + 20);
    }
    return 0;
}

static void address_that_the_host_gets_later_is_refused(void **state)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(judge_an_address_that_comes_late());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int open_all(void **state)
{
    struct err e;
    hooks_open(settings.mode, GATEWAY_PROXY_IDLE_MS);
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
        cmocka_unit_test(address_that_the_host_gets_later_is_refused),
        cmocka_unit_test(idle_connection_to_the_proxy_is_closed_and_a_busy_one_is_not),
    };
    return cmocka_run_group_tests(tests, open_all, NULL);
}
