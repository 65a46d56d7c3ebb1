#include <arpa/inet.h>
#include <errno.h>
#include <libslirp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "worker/gateway/gateway.h"

#define TICK_MS 1000
#define POLLS_MAX 4096

/* libslirp wants one timer, for its router advertisements. */
struct timer {
    SlirpTimerCb run;
    void *arg;
    int64_t due_ms; /* monotonic; INT64_MAX: not set */
};

struct loop {
    Slirp *slirp;
    struct stream *qemu;
    int stream_fd;
    bool names;
    struct timer timer;
    struct pollfd polls[POLLS_MAX]; /* [0]: QEMU's */
    size_t poll_count;
};

/* --- what libslirp calls ---------------------------------------------------------------------- */

static ssize_t send_packet(const void *frame, size_t len, void *arg)
{
    struct loop *l = arg;
    stream_send(l->qemu, frame, len);
    return (ssize_t)len;
}

static void ignore_guest_error(const char *message, void *arg)
{
    (void)message;
    (void)arg;
}

static int64_t clock_ns(void *arg)
{
    (void)arg;
    return clock_mono_us() * 1000;
}

static void *new_timer(SlirpTimerCb run, void *cb_arg, void *arg)
{
    struct loop *l = arg;
    ASSERT(l->timer.run == NULL);
    l->timer = (struct timer){.run = run, .arg = cb_arg, .due_ms = INT64_MAX};
    return &l->timer;
}

static void free_timer(void *timer, void *arg)
{
    (void)arg;
    *(struct timer *)timer = (struct timer){.due_ms = INT64_MAX};
}

static void set_timer(void *timer, int64_t due_ms, void *arg)
{
    (void)arg;
    ((struct timer *)timer)->due_ms = due_ms;
}

static void opened(int fd, void *arg)
{
    (void)arg;
    hooks_opened(fd);
}

static void closing(int fd, void *arg)
{
    (void)arg;
    hooks_closing(fd);
}

static void wake_nobody(void *arg)
{
    (void)arg;
}

static int add_poll(int fd, int events, void *arg)
{
    struct loop *l = arg;
    if (l->poll_count == POLLS_MAX) {
        return -1;
    }
    short wanted = (short)(((events & SLIRP_POLL_IN) != 0 ? POLLIN : 0) |
                           ((events & SLIRP_POLL_OUT) != 0 ? POLLOUT : 0) |
                           ((events & SLIRP_POLL_PRI) != 0 ? POLLPRI : 0));
    l->polls[l->poll_count] = (struct pollfd){.fd = fd, .events = wanted};
    return (int)l->poll_count++;
}

static int get_revents(int index, void *arg)
{
    const struct loop *l = arg;
    if (index < 0) {
        return 0;
    }
    short seen = l->polls[index].revents;
    return ((seen & POLLIN) != 0 ? SLIRP_POLL_IN : 0) |
           ((seen & POLLOUT) != 0 ? SLIRP_POLL_OUT : 0) |
           ((seen & POLLPRI) != 0 ? SLIRP_POLL_PRI : 0) |
           ((seen & POLLERR) != 0 ? SLIRP_POLL_ERR : 0) |
           ((seen & POLLHUP) != 0 ? SLIRP_POLL_HUP : 0);
}

static Slirp *open_slirp(struct loop *l)
{
    static const SlirpCb callbacks = {.send_packet = send_packet,
                                      .guest_error = ignore_guest_error,
                                      .clock_get_ns = clock_ns,
                                      .timer_new = new_timer,
                                      .timer_free = free_timer,
                                      .timer_mod = set_timer,
                                      .register_poll_fd = opened,
                                      .unregister_poll_fd = closing,
                                      .notify = wake_nobody};
    SlirpConfig config = {.version = 4,
                          .in_enabled = true,
                          .in6_enabled = true,
                          .vprefix_len = 64,
                          .disable_host_loopback = !judge_opens_loopback(),
                          .enable_emu = false,
                          .disable_dns = !l->names};
    bool good = inet_pton(AF_INET, "10.0.2.0", &config.vnetwork) == 1 &&
                inet_pton(AF_INET, "255.255.255.0", &config.vnetmask) == 1 &&
                inet_pton(AF_INET, NET_ROUTER, &config.vhost) == 1 &&
                inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start) == 1 &&
                inet_pton(AF_INET, "10.0.2.3", &config.vnameserver) == 1 &&
                inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6) == 1 &&
                inet_pton(AF_INET6, "fec0::2", &config.vhost6) == 1 &&
                inet_pton(AF_INET6, "fec0::3", &config.vnameserver6) == 1;
    ASSERT(good);
    return slirp_new(&config, &callbacks, l);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void refuse_frame(struct loop *l, const uint8_t *frame, size_t len,
                         const struct net_flow *flow)
{
    uint8_t response[NET_REFUSAL_MAX];
    size_t size = flow->opens ? net_frame_refusal(frame, len, response) : 0;
    if (size > 0) {
        stream_send(l->qemu, response, size);
    }
}

static void take_frame(const uint8_t *frame, size_t len, void *arg)
{
    struct loop *l = arg;
    struct net_flow flow;
    switch (net_frame_classify(frame, len, l->names, &flow)) {
    case NET_FRAME_PASS:
        slirp_input(l->slirp, frame, (int)len);
        break;
    case NET_FRAME_JUDGE:
        if (judge_destination(&flow.to, flow.port, flow.protocol) == NET_LET_THROUGH) {
            slirp_input(l->slirp, frame, (int)len);
        } else {
            refuse_frame(l, frame, len, &flow);
        }
        break;
    case NET_FRAME_REFUSE:
        report_refusal(flow.kind, flow.protocol, &flow.to, flow.port);
        refuse_frame(l, frame, len, &flow);
        break;
    case NET_FRAME_DROP:
        break;
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static int time_to_wait(const struct loop *l, uint32_t slirp_ms)
{
    int64_t wait_ms = slirp_ms < TICK_MS ? (int64_t)slirp_ms : TICK_MS;
    if (l->timer.due_ms != INT64_MAX) {
        int64_t left_ms = l->timer.due_ms - clock_mono_ms();
        wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
    }
    return wait_ms < 0 ? 0 : (int)wait_ms;
}

static void run_timer(struct loop *l)
{
    if (clock_mono_ms() >= l->timer.due_ms) {
        l->timer.due_ms = INT64_MAX;
        l->timer.run(l->timer.arg);
    }
}

/* False when QEMU closed its side. */
static bool run_once(struct loop *l)
{
    uint32_t slirp_ms = UINT32_MAX;
    short events = (short)(POLLIN | (stream_has_output(l->qemu) ? POLLOUT : 0));
    l->polls[0] = (struct pollfd){.fd = l->stream_fd, .events = events};
    l->poll_count = 1;
    slirp_pollfds_fill(l->slirp, &slirp_ms, add_poll, l);
    int ready = poll(l->polls, l->poll_count, time_to_wait(l, slirp_ms));
    bool failed = ready < 0 && errno != EINTR;
    slirp_pollfds_poll(l->slirp, ready < 0, get_revents, l);
    if (ready > 0 && l->polls[0].revents != 0 && !stream_read(l->qemu, take_frame, l)) {
        return false;
    }
    run_timer(l);
    return stream_flush(l->qemu) && !failed;
}

int gateway_serve(int stream_fd, bool names)
{
    struct loop *l = calloc(1, sizeof *l);
    ASSERT(l != NULL);
    int64_t tick_ms = clock_mono_ms() + TICK_MS;
    l->qemu = stream_new(stream_fd);
    l->stream_fd = stream_fd;
    l->names = names;
    l->timer.due_ms = INT64_MAX;
    l->slirp = open_slirp(l);
    ASSERT(l->slirp != NULL);
    report_ready();
    while (run_once(l)) {
        if (clock_mono_ms() >= tick_ms) {
            tick_ms = clock_mono_ms() + TICK_MS;
            report_flush();
            hooks_close_idle();
        }
    }
    report_flush();
    slirp_cleanup(l->slirp);
    stream_free(l->qemu);
    free(l);
    return 0;
}
