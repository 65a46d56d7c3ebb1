#include "tests/bench/aws/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/slice.h"

#define REQUEST_MAX 16384

static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-amzn-RequestId: bench\r\n"
    "Content-Length: 57\r\n\r\n"
    "{\"microvmId\":\"microvm-1\",\"state\":\"PENDING\",\"startedAt\":1}";

static struct peer_board *board;

/* The length of the first whole request in the text; 0 if it is not whole yet. */
static size_t request_length(const char *text, size_t len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    int64_t body = 0;
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - text) + 4;
    const char *name = memmem(text, head, "Content-Length: ", 16);
    if (name != NULL) {
        const char *value = name + 16;
        const char *stop = memchr(value, '\r', head - (size_t)(value - text));
        if (stop == NULL || !slice_to_int64((struct slice){value, (size_t)(stop - value)}, &body)) {
            abort();
        }
    }
    return len >= head + (size_t)body ? head + (size_t)body : 0;
}

static void note_request(void)
{
    int64_t n = __atomic_add_fetch(&board->requests, 1, __ATOMIC_ACQ_REL);
    if (n <= PEER_TIMES_MAX) {
        board->seen_us[n] = clock_mono_us();
    }
}

static void *serve(void *arg)
{
    int fd = *(int *)arg;
    char text[REQUEST_MAX];
    size_t len = 0;
    free(arg);
    for (;;) {
        ssize_t got = read(fd, text + len, sizeof text - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
        size_t used = request_length(text, len);
        if (used > 0) {
            note_request();
            memmove(text, text + used, len - used);
            len -= used;
            if (write(fd, answer, sizeof answer - 1) != (ssize_t)(sizeof answer - 1)) {
                break;
            }
        }
    }
    close(fd);
    return NULL;
}

void peer_leave_core_0(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t i = 1; i < 64; i++) {
        CPU_SET(i, &set);
    }
    (void)sched_setaffinity(0, sizeof set, &set); /* on one core it shares it */
}

_Noreturn static void accept_all(int listener)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    peer_leave_core_0();
    for (;;) {
        pthread_t thread;
        int on = 1;
        int *fd = malloc(sizeof *fd);
        ASSERT(fd != NULL);
        *fd = accept(listener, NULL, NULL);
        ASSERT(*fd >= 0);
        (void)setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        __atomic_add_fetch(&board->connections, 1, __ATOMIC_ACQ_REL);
        ASSERT(pthread_create(&thread, NULL, serve, fd) == 0);
        (void)pthread_detach(thread);
    }
}

void peer_start(struct peer *p)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(board != MAP_FAILED && listener >= 0);
    ASSERT(bind(listener, (struct sockaddr *)&at, sizeof at) == 0);
    ASSERT(listen(listener, 256) == 0);
    ASSERT(getsockname(listener, (struct sockaddr *)&at, &size) == 0);
    (void)snprintf(p->url, sizeof p->url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    p->board = board;
    p->pid = fork();
    ASSERT(p->pid >= 0);
    if (p->pid == 0) {
        accept_all(listener);
    }
    close(listener);
}

void peer_stop(struct peer *p)
{
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
}

int64_t peer_requests(const struct peer *p)
{
    return __atomic_load_n(&p->board->requests, __ATOMIC_ACQUIRE);
}

int64_t peer_connections(const struct peer *p)
{
    return __atomic_load_n(&p->board->connections, __ATOMIC_ACQUIRE);
}
