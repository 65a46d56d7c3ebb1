#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/gateway/gateway.h"

#define DESCRIPTORS_MAX 4096

/* libslirp opens everything through connect, and sends datagrams through sendto. The program is
 * linked with -rdynamic, so that these definitions stand before libc's. sendmsg and sendmmsg are
 * for a later libslirp: data for an address is judged whatever call carries it. The names for the
 * linker are given apart, since glibc's own declarations have a union for the address. */
int hook_connect(int fd, const struct sockaddr *to, socklen_t len) __asm__("connect");
ssize_t hook_sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
                    socklen_t to_len) __asm__("sendto");
ssize_t hook_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg");
int hook_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) __asm__("sendmmsg");

static _Thread_local bool thread_is_trusted;
static bool is_open[DESCRIPTORS_MAX]; /* the TCP sockets of libslirp */
static size_t limit = GATEWAY_CONNECTIONS;
static bool closes_idle; /* the mode is proxy */
static uint32_t longest_idle_ms;

bool hooks_are_in_place(void)
{
    union {
        void *symbol;
        int (*connect)(int, const struct sockaddr *, socklen_t);
        ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    } of_connect = {dlsym(RTLD_DEFAULT, "connect")}, of_sendto = {dlsym(RTLD_DEFAULT, "sendto")};
    return of_connect.connect == hook_connect && of_sendto.sendto == hook_sendto;
}

void hooks_open(enum net_mode mode, uint32_t idle_ms)
{
    longest_idle_ms = idle_ms;
    closes_idle = mode == NET_MODE_PROXY;
    limit = closes_idle ? GATEWAY_PROXY_CONNECTIONS : GATEWAY_CONNECTIONS;
}

void hooks_trust_thread(bool trusted)
{
    thread_is_trusted = trusted;
}

/* --- TCP connections -------------------------------------------------------------------------- */

void hooks_opened(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX) {
        is_open[fd] = true;
    }
}

void hooks_closing(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX) {
        is_open[fd] = false;
    }
}

static bool is_tcp(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/* A descriptor that was closed without notice, or became another, does not count. */
static size_t count_connections(void)
{
    size_t n = 0;
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
        is_open[fd] = is_open[fd] && is_tcp(fd);
        n += is_open[fd];
    }
    return n;
}

void hooks_close_idle(void)
{
    for (int fd = 0; closes_idle && fd < DESCRIPTORS_MAX; fd++) {
        struct tcp_info info = {.tcpi_state = 0};
        socklen_t size = sizeof info;
        if (is_open[fd] && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
            info.tcpi_state == TCP_ESTABLISHED && info.tcpi_last_data_recv > longest_idle_ms &&
            info.tcpi_last_data_sent > longest_idle_ms) {
            /* libslirp sees the end of the stream and closes both sides. */
            (void)shutdown(fd, SHUT_RDWR);
        }
    }
}

/* --- verdicts --------------------------------------------------------------------------------- */

static const char *protocol_of(int fd)
{
    int protocol = 0;
    socklen_t size = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0) {
        return "ip";
    }
    return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "icmp";
}

/* 0, or -1 and errno as of a network that does not lead there. */
static int judge_socket(int fd, const struct sockaddr *to, socklen_t len)
{
    struct ip_address a;
    uint16_t port;
    if (ip_address_of(to, len, &a, &port) &&
        judge_destination(&a, port, protocol_of(fd)) == NET_LET_THROUGH) {
        return 0;
    }
    errno = ENETUNREACH;
    return -1;
}

static int connect_syscall(int fd, const struct sockaddr *to, socklen_t len)
{
    return (int)syscall(SYS_connect, fd, to, len);
}

/* The proxy's place in the VM's network leads to the proxy. Its socket is one of IPv4, which is
 * replaced when the proxy has another address. */
static int connect_to_proxy(int fd)
{
    struct sockaddr_storage to;
    socklen_t len;
    int one = 1;
    if (!lookup_next(&to, &len)) {
        errno = ENETUNREACH;
        return -1;
    }
    if (to.ss_family == AF_INET6) {
        int other = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (other < 0 || dup3(other, fd, O_CLOEXEC) < 0) {
            return -1;
        }
        close(other);
        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return connect_syscall(fd, (struct sockaddr *)&to, len);
}

int hook_connect(int fd, const struct sockaddr *to, socklen_t len)
{
    struct ip_address a;
    uint16_t port;
    if (thread_is_trusted) {
        return connect_syscall(fd, to, len);
    }
    if (judge_socket(fd, to, len) != 0 || !ip_address_of(to, len, &a, &port)) {
        return -1;
    }
    if (is_tcp(fd) && count_connections() > limit) {
        report_refusal(NET_CONNECTIONS, "tcp", &a, port);
        errno = ENETUNREACH;
        return -1;
    }
    return judge_is_proxy_place(&a, port) ? connect_to_proxy(fd) : connect_syscall(fd, to, len);
}

ssize_t hook_sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
                    socklen_t to_len)
{
    if (to != NULL && !thread_is_trusted && judge_socket(fd, to, to_len) != 0) {
        return -1;
    }
    return syscall(SYS_sendto, fd, data, len, flags, to, to_len);
}

ssize_t hook_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (message->msg_name != NULL && !thread_is_trusted &&
        judge_socket(fd, message->msg_name, message->msg_namelen) != 0) {
        return -1;
    }
    return syscall(SYS_sendmsg, fd, message, flags);
}

int hook_sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    for (unsigned i = 0; i < count && !thread_is_trusted; i++) {
        const struct msghdr *m = &messages[i].msg_hdr;
        if (m->msg_name != NULL && judge_socket(fd, m->msg_name, m->msg_namelen) != 0) {
            return -1;
        }
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}
