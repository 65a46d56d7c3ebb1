#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "worker/supervisor/supervisor.h"

#define READY_MS 10000
#define PUBLISH_MS 1000
#define COUNT_MAX INT64_C(1000000000)

/* Words of a line from another process that end in a log. */
static void keep_printable(char *out, size_t size, struct slice text)
{
    size_t len = text.len < size - 1 ? text.len : size - 1;
    for (size_t i = 0; i < len; i++) {
        out[i] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?';
    }
    out[len] = '\0';
}

/* "<kind> <count> <protocol> <address> <port>" */
static bool take_refusal(struct supervisor_network *n, struct slice rest)
{
    struct slice word;
    enum net_kind kind;
    int64_t count;
    (void)slice_cut(rest, ' ', &word, &rest);
    if (!net_kind_parse(word, &kind)) {
        return false;
    }
    (void)slice_cut(rest, ' ', &word, &rest);
    if (!slice_to_range(word, 1, COUNT_MAX, &count)) {
        return false;
    }
    struct qemu_refused *r = &n->notice.refused[kind];
    if (r->count == 0) {
        r->first = !n->seen[kind];
        keep_printable(r->text, sizeof r->text, rest);
    }
    r->count += r->count < COUNT_MAX ? count : 0;
    n->seen[kind] = true;
    n->unsaid = true;
    return true;
}

static void take_line(struct supervisor_network *n, struct slice line)
{
    struct slice word;
    struct slice rest;
    (void)slice_cut(line, ' ', &word, &rest);
    if (slice_eq_cstr(line, "READY")) {
        n->ready = true;
    } else if (slice_eq_cstr(word, "ERR")) {
        n->failed = true;
        keep_printable(n->last, sizeof n->last, rest);
    } else if (!(slice_eq_cstr(word, "REFUSED") && take_refusal(n, rest)) && line.len > 0) {
        keep_printable(n->last, sizeof n->last, line);
    }
}

void supervisor_network_take(struct supervisor_network *n, struct slice data)
{
    for (size_t i = 0; i < data.len; i++) {
        if (data.ptr[i] == '\n') {
            take_line(n, (struct slice){n->line, n->line_len});
            n->line_len = 0;
        } else if (n->line_len < sizeof n->line) {
            n->line[n->line_len++] = data.ptr[i];
        }
    }
}

int supervisor_network_wait(struct supervisor_network *n, int report_fd, struct err *e)
{
    char chunk[1024];
    int64_t deadline_ms = clock_mono_ms() + READY_MS;
    while (!n->ready && !n->failed) {
        struct pollfd p = {.fd = report_fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_mono_ms();
        if (left_ms <= 0) {
            return err_set(e, ERR_RETRY, ETIMEDOUT,
                           "the gateway of its network was not ready within %d s", READY_MS / 1000);
        }
        (void)poll(&p, 1, (int)left_ms);
        ssize_t size = read(report_fd, chunk, sizeof chunk);
        if (size == 0) {
            n->failed = true;
        } else if (size > 0) {
            supervisor_network_take(n, (struct slice){chunk, (size_t)size});
        }
    }
    return n->ready ? 0
                    : err_set(e, ERR_RETRY, 0, "the gateway of its network did not start: %s",
                              n->last[0] != '\0' ? n->last : "it ended without a word");
}

static void add_refused(struct qemu_refused *to, const struct qemu_refused *earlier)
{
    if (earlier->count > 0) {
        to->count += earlier->count;
        to->first = to->first || earlier->first;
        (void)snprintf(to->text, sizeof to->text, "%s", earlier->text);
    }
}

void supervisor_network_finish(struct supervisor_network *n)
{
    struct qemu_notice earlier;
    struct err e;
    if (n->unsaid && qemu_notice_take(n->dir, &earlier)) {
        for (size_t kind = 0; kind < NET_KINDS; kind++) {
            add_refused(&n->notice.refused[kind], &earlier.refused[kind]);
        }
        for (size_t event = 0; event < QEMU_EVENTS; event++) {
            add_refused(&n->notice.events[event], &earlier.events[event]);
        }
        (void)snprintf(n->notice.shared_network, sizeof n->notice.shared_network, "%s",
                       earlier.shared_network);
    }
    if (n->unsaid && qemu_notice_write(n->dir, &n->notice, &e) == 1) {
        n->notice = (struct qemu_notice){.shared_network = ""};
        n->unsaid = false;
    }
}

void supervisor_network_event(struct supervisor_network *n, enum qemu_event event, int64_t count,
                              const char *text)
{
    struct qemu_refused *r = &n->notice.events[event];
    if (r->count == 0) {
        r->first = !n->happened[event];
        keep_printable(r->text, sizeof r->text, slice_of(text));
    } else if (event == QEMU_EVENT_SHELL_OPENED || event == QEMU_EVENT_SHELL_CLOSED) {
        size_t len = strlen(r->text); /* each counts who it was, as far as there is room */
        keep_printable(r->text + len, sizeof r->text - len, SLICE("; "));
        len = strlen(r->text);
        keep_printable(r->text + len, sizeof r->text - len, slice_of(text));
    }
    r->count += r->count < COUNT_MAX ? count : 0;
    n->happened[event] = true;
    n->unsaid = true;
}

int64_t supervisor_network_publish(struct supervisor_network *n)
{
    struct err e;
    int64_t now_ms = clock_mono_ms();
    if (!n->unsaid) {
        return INT64_MAX;
    }
    if (now_ms < n->write_at_ms) {
        return n->write_at_ms;
    }
    n->write_at_ms = now_ms + PUBLISH_MS;
    if (qemu_notice_write(n->dir, &n->notice, &e) == 1) {
        n->notice = (struct qemu_notice){.shared_network = ""};
        n->unsaid = false;
        return INT64_MAX;
    }
    return n->write_at_ms;
}
