/* The queue. */
#include "common/queue/queue.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/check/check.h"

#define WARNINGS_MAX ((size_t)64 << 10)

static void print_warnings(struct check *c, struct slice text)
{
    const struct check_finding warning = {
        .level = CHECK_WARN, .subject = "queue", .request = "settings of the store"};
    const struct check_finding good = {
        .level = CHECK_OK, .subject = "queue", .request = "settings of the store"};
    if (text.len == 0) {
        check_say(c, &good, "they lose no confirmed message");
    }
    while (text.len > 0) {
        struct slice line;
        (void)slice_cut(text, '\n', &line, &text);
        if (line.len > 0) {
            check_say(c, &warning, "%.*s", SLICE_ARG(line));
        }
    }
}

void check_queue(struct check *c)
{
    struct err e = {0};
    struct queue *q = NULL;
    struct buf warnings;
    int64_t began_us = clock_mono_us();
    buf_init(&warnings, WARNINGS_MAX);
    if (queue_open_existing(c->config->queue, &q, &e) != 0) {
        check_say_unopened(c, "queue", c->config->queue, &e);
    } else if (queue_ping(q, &e) != 0) {
        check_say_error(c, CHECK_FAIL, "queue", "ping", &e);
    } else {
        check_say_answered(c, "queue", c->config->queue, began_us);
        if (queue_check(q, c->who == CONFIG_FOR_WORKER, &warnings, &e) != 0) {
            check_say_error(c, CHECK_WARN, "queue", "settings of the store", &e);
        } else {
            print_warnings(c, buf_slice(&warnings));
        }
    }
    buf_fini(&warnings);
    queue_close(q);
}
