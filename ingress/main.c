/*
 * mayfly-ingress: verifies GitHub's webhooks and puts their jobs on the queue.
 *
 *   open: queue or spool, intake; start: server
 */
#include <malloc.h>

#include "common/base/log.h"
#include "common/github/webhook_report.h"
#include "common/program/durability.h"
#include "common/program/program.h"
#include "common/queue/queue.h"
#include "ingress/dedupe.h"
#include "ingress/intake.h"
#include "ingress/peer/peers.h"
#include "ingress/server.h"
#include "ingress/spool.h"
#include "ingress/stats.h"

#define KEPT_BYTES (1024 * 1024)

struct ingress {
    struct config_live *live;
    struct queue *queue; /* NULL with a spool, which has its own */
    struct spool *spool; /* NULL: none */
    struct dedupe *dedupe;
    struct intake *intake;
    struct peers *peers;
    struct server *server;
    size_t connections;
    int64_t intake_not_ready_at; /* /readyz fails from this many in flight on */
    int64_t spool_not_ready_at;  /* and from this many in the spool on */
};

/* With a spool, readiness means that the spool has space, not that the queue is available. */
static bool is_spool_ready(const struct ingress *in, struct buf *why)
{
    struct spool_view view;
    spool_read_state(in->spool, &view);
    if (view.over_age) {
        buf_append_cstr(why, "spool: its oldest delivery is older than ingress.spool.max_age");
        return false;
    }
    if (view.messages >= in->spool_not_ready_at) {
        buf_append_cstr(why, "spool: at ingress.spool_not_ready_percent");
        return false;
    }
    return true;
}

static bool ingress_is_ready(void *arg, struct buf *why)
{
    const struct ingress *in = arg;
    struct err e = {0};
    if (intake_in_flight(in->intake) >= in->intake_not_ready_at) {
        buf_append_cstr(why, "intake: at ingress.intake_not_ready_percent");
        return false;
    }
    if (intake_is_failing(in->intake, &e)) {
        buf_printf(why, "queue%s: the last deliveries could not be stored: %s",
                   in->spool != NULL ? " and spool" : "", e.message);
        return false;
    }
    if (!peers_ready(in->peers, why)) {
        return false;
    }
    if (in->spool != NULL) {
        return is_spool_ready(in, why);
    }
    if (queue_ping(in->queue, &e) != 0) {
        buf_printf(why, "queue: %s", e.message);
        return false;
    }
    return true;
}

static void refresh_ingress_gauges(void *arg)
{
    const struct ingress *in = arg;
    stats_in_flight(intake_in_flight(in->intake));
    peers_refresh(in->peers);
    if (in->spool != NULL) {
        struct spool_view view;
        spool_read_state(in->spool, &view);
        stats_spool(view.messages, view.oldest_age_ms);
    }
}

static void reload_certificate(void *arg)
{
    const struct ingress *in = arg;
    server_reload(in->server);
}

static void check_durability(struct queue *q)
{
    durability_warn_of_queue(q, false);
}

static int open_queue(struct ingress *in, const struct config *c, struct err *e)
{
    if (c->ingress.spool_path[0] == '\0') {
        if (queue_open(c->queue, &in->queue, e) != 0) {
            return -1;
        }
        check_durability(in->queue);
        return 0;
    }
    const struct spool_options options = {
        .path = c->ingress.spool_path,
        .queue_url = c->queue,
        .max_messages = c->ingress.spool_max_messages,
        .max_age_ms = c->ingress.spool_max_age_ms,
        .batch = c->ingress.spool_batch,
        .retry_ms = c->ingress.spool_max_retry_delay_ms,
        .after_ms = c->ingress.spool_after_ms,
        .commit_threads = c->ingress.commit_threads,
        .opened = check_durability,
    };
    return spool_open(&options, &in->spool, e);
}

/* A percentage of a bound, at least 1. */
static int64_t share_of(int64_t bound, int64_t percent)
{
    int64_t share = bound * percent / 100;
    return share > 0 ? share : 1;
}

static int start_intake(struct ingress *in, const struct config_ingress *c, struct err *e)
{
    const struct intake_options options = {
        .queue = in->queue,
        .spool = in->spool,
        .dedupe = in->dedupe,
        .commit_threads = c->commit_threads,
        .batch = c->batch,
        .max_in_flight = c->max_in_flight,
        .enqueue_timeout_ms = c->enqueue_timeout_ms,
    };
    return intake_start(&options, &in->intake, e);
}

static int open_ingress(void *self, struct config_live *live, const struct config *c, struct err *e)
{
    struct ingress *in = self;
    stats_open();
    webhook_report_open();
    in->live = live;
    in->dedupe = dedupe_new((size_t)c->ingress.dedupe_cache_size);
    in->intake_not_ready_at =
        share_of(c->ingress.max_in_flight, c->ingress.intake_not_ready_percent);
    in->spool_not_ready_at =
        share_of(c->ingress.spool_max_messages, c->ingress.spool_not_ready_percent);
    in->connections = server_connections(&c->ingress);
    if (peers_open(c, in->connections, &in->peers, e) != 0 || open_queue(in, c, e) != 0) {
        return -1;
    }
    return start_intake(in, &c->ingress, e);
}

static int start_ingress(void *self, const struct config *c, struct err *e)
{
    struct ingress *in = self;
    const struct server_options options = {in->live, in->intake, in->dedupe, in->peers,
                                           in->connections};
    (void)c;
    return server_start(&options, &in->server, e);
}

static void describe_listener(const void *self, struct program_listener *out)
{
    const struct ingress *in = self;
    *out = *server_listener(in->server);
}

static void drain_ingress(void *self, int64_t timeout_ms)
{
    struct ingress *in = self;
    server_stop(in->server, timeout_ms);
}

static void close_ingress(void *self)
{
    struct ingress *in = self;
    intake_stop(in->intake);
    spool_close(in->spool);
    queue_close(in->queue);
    dedupe_free(in->dedupe);
    peers_close(in->peers);
    *in = (struct ingress){0};
}

/* Each delivery allocates and frees a few buffers of some KiB; returning them to the kernel each
 * time would cost page faults on every request. What is larger, the bodies that come in pieces, goes
 * back at once: after a flood, memory is what it was. */
static void configure_malloc(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_TOP_PAD, KEPT_BYTES / 16);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES / 32);
    /* Fast bins are emptied whenever a large chunk is freed, here on every request. */
    (void)mallopt(M_MXFAST, 0);
}

static struct program_settings ingress_settings(const struct config *c)
{
    return (struct program_settings){c->ingress.admin_listen, c->ingress.drain_timeout_ms};
}

int main(int argc, char **argv)
{
    static check_fn *const checks[] = {check_addresses, check_ports, check_queue, check_aws, NULL};
    static const struct program program = {
        .name = "mayfly-ingress",
        .purpose = "receives GitHub's webhooks and puts their jobs on the queue",
        .who = CONFIG_FOR_INGRESS,
        .checks = checks,
        .settings = ingress_settings,
        .open = open_ingress,
        .start = start_ingress,
        .drain = drain_ingress,
        .close = close_ingress,
        .listener = describe_listener,
        .ready = ingress_is_ready,
        .refresh = refresh_ingress_gauges,
        .reloaded = reload_certificate,
    };
    struct ingress in = {0};
    configure_malloc();
    return program_main(&program, &in, argc, argv);
}
