#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "worker/gateway/gateway.h"

#define FLUSH_MS 1000
#define LINE_MAX 512

/* One kind of refusal: what has not been reported yet. */
struct pending {
    uint64_t count;
    int64_t due_ms; /* monotonic; 0: at once */
    const char *protocol;
    char address[IP_ADDRESS_TEXT];
    uint16_t port;
};

static int report_fd = -1;
static struct pending pending[NET_KINDS];

void report_open(int fd)
{
    report_fd = fd;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* Lines are shorter than PIPE_BUF: written whole, or not at all while the pipe is full. */
static bool write_line(const char *line)
{
    size_t len = strlen(line);
    return write(report_fd, line, len) == (ssize_t)len;
}

void report_ready(void)
{
    (void)write_line("READY\n");
}

void report_error(const struct err *e)
{
    char line[sizeof e->message + 8];
    (void)snprintf(line, sizeof line, "ERR %s\n", e->message);
    (void)write_line(line);
}

static void flush_kind(enum net_kind kind, int64_t now_ms)
{
    char line[LINE_MAX];
    struct pending *p = &pending[kind];
    if (p->count == 0 || now_ms < p->due_ms) {
        return;
    }
    (void)snprintf(line, sizeof line, "REFUSED %s %llu %s %s %u\n", net_kind_name(kind),
                   (unsigned long long)p->count, p->protocol, p->address, (unsigned)p->port);
    if (write_line(line)) {
        p->count = 0;
        p->due_ms = now_ms + FLUSH_MS;
    }
}

void report_refusal(enum net_kind kind, const char *protocol, const struct ip_address *to,
                    uint16_t port)
{
    struct pending *p = &pending[kind];
    if (p->count++ == 0) {
        p->protocol = protocol;
        p->port = port;
        ip_address_text(to, p->address);
    }
    flush_kind(kind, clock_mono_ms());
}

void report_flush(void)
{
    int64_t now_ms = clock_mono_ms();
    for (int kind = 0; kind < NET_KINDS; kind++) {
        flush_kind((enum net_kind)kind, now_ms);
    }
}
