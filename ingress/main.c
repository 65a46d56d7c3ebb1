/*
 * mayfly-ingress: verifies GitHub's webhooks and puts the jobs they tell of on the queue.
 *
 *     configuration ─ queue ─ intake ─ server ─ admin port ─ (wait) ─ drain ─ close, in reverse
 */
#include <malloc.h>

#include "common/base/log.h"
#include "common/config/program.h"
#include "common/http/admin.h"
#include "common/queue/queue.h"
#include "ingress/dedupe.h"
#include "ingress/intake.h"
#include "ingress/server.h"
#include "ingress/stats.h"

#define KEPT_BYTES (16 * 1024 * 1024)

static const struct program program = {
    .name = "mayfly-ingress",
    .purpose = "takes GitHub's webhooks and puts their jobs on the queue",
    .who = CONFIG_FOR_INGRESS,
};

struct ingress {
    struct config_live *live;
    struct queue *queue;
    struct dedupe *dedupe;
    struct intake *intake;
    struct server *server;
    struct admin *admin;
    bool draining; /* atomic: the admin thread reads it */
};

static bool is_ready(void *arg, struct buf *why)
{
    const struct ingress *in = arg;
    struct err e = {0};
    if (__atomic_load_n(&in->draining, __ATOMIC_ACQUIRE)) {
        buf_append_cstr(why, "draining");
        return false;
    }
    if (queue_ping(in->queue, &e) != 0) {
        buf_printf(why, "queue: %s", e.message);
        return false;
    }
    return true;
}

static void refresh(void *arg)
{
    const struct ingress *in = arg;
    stats_in_flight(intake_in_flight(in->intake));
}

static void reloaded(void *arg)
{
    const struct ingress *in = arg;
    server_reload(in->server);
}

static int start_intake(struct ingress *in, const struct config_ingress *c, struct err *e)
{
    const struct intake_options options = {
        .queue = in->queue,
        .dedupe = in->dedupe,
        .committers = c->committers,
        .batch = c->batch < QUEUE_BATCH_MAX ? c->batch : QUEUE_BATCH_MAX,
        .max_in_flight = c->max_in_flight,
        .put_deadline_ms = c->put_deadline_ms,
    };
    return intake_start(&options, &in->intake, e);
}

static int start_admin(struct ingress *in, const struct config_ingress *c, struct err *e)
{
    const struct admin_options options = {
        .listen = c->admin_listen, .ready = is_ready, .refresh = refresh, .arg = in};
    if (admin_start(&options, &in->admin, e) != 0) {
        return -1;
    }
    if (in->admin != NULL) {
        log_info("admin_listening", LOG_STR("address", c->admin_listen),
                 LOG_INT("port", admin_port(in->admin)));
    }
    return 0;
}

static int start(struct ingress *in, const struct config *c, struct err *e)
{
    stats_open();
    in->dedupe = dedupe_new((size_t)c->ingress.dedupe_entries);
    if (queue_open(c->queue, &in->queue, e) != 0 || start_intake(in, &c->ingress, e) != 0 ||
        server_start(in->live, in->intake, in->dedupe, &in->server, e) != 0) {
        return -1;
    }
    return start_admin(in, &c->ingress, e);
}

/* In reverse; what was never started is NULL. The admin port tells of the drain while it lasts. */
static void stop(struct ingress *in, int64_t drain_seconds)
{
    __atomic_store_n(&in->draining, true, __ATOMIC_RELEASE);
    server_stop(in->server, drain_seconds);
    admin_stop(in->admin);
    intake_stop(in->intake);
    queue_close(in->queue);
    dedupe_free(in->dedupe);
}

/* Each delivery takes and gives back a few buffers of some KiB; returning them to the kernel each
 * time would cost page faults on every request. */
static void keep_memory(void)
{
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
    (void)mallopt(M_TOP_PAD, KEPT_BYTES / 16);
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_BYTES / 2);
    /* Fast bins are emptied whenever a large chunk is freed, which here is on every request. */
    (void)mallopt(M_MXFAST, 0);
}

int main(int argc, char **argv)
{
    struct ingress in = {0};
    struct err e = {0};
    int exit_code = 0;
    keep_memory();
    if (program_start(&program, argc, argv, &in.live, &exit_code) == PROGRAM_EXIT) {
        return exit_code;
    }
    const struct config *c = config_live_get(in.live);
    if (start(&in, c, &e) == 0) {
        program_wait(&program, in.live, reloaded, &in);
        program_draining(&program, c->ingress.drain_seconds + 2);
    } else {
        log_error("start_failed", LOG_ERR(&e));
        exit_code = 1;
    }
    stop(&in, exit_code == 0 ? c->ingress.drain_seconds : 0);
    log_info("stopped", LOG_INT("exit_code", exit_code));
    config_live_put(in.live, c);
    config_live_free(in.live);
    return exit_code;
}
