#include "common/program/stores.h"

#include <string.h>

#include "common/base/log.h"
#include "common/program/durability.h"

#define EVENTS_FLUSH_MS 2000

static int open_events(const struct config *c, const char *program, struct stores *out,
                       struct err *e)
{
    const struct events_options options = {.program = program,
                                           .deployment = c->deployment,
                                           .file = c->events.file,
                                           .kafka = c->events.kafka,
                                           .buffer = c->events.buffer,
                                           .traces = c->traces.endpoint,
                                           .headers = (const char *const *)c->traces.headers.items,
                                           .header_count = c->traces.headers.count,
                                           .traces_buffer = c->traces.buffer};
    if (events_open(&options, &out->events, e) != 0) {
        return -1;
    }
    if (out->events != NULL) {
        ledger_observe(out->ledger, events_record, out->events);
    }
    return 0;
}

static void warn_of_ledger(void *arg, enum ledger_finding level, const char *subject,
                           const char *finding)
{
    (void)arg;
    (void)subject;
    if (level != LEDGER_CHECK_OK) {
        durability_warn("ledger", slice_of(finding));
    }
}

/* A store that is both is named once. */
static void warn_of_durability(const struct config *c, const struct stores *s)
{
    durability_warn_of_queue(s->queue, true);
    if (strcmp(c->queue, c->ledger) != 0) {
        ledger_check(s->ledger, LEDGER_CHECK_DURABILITY, warn_of_ledger, NULL);
    }
}

static void report_class(const struct config_class *class, const struct err *e)
{
    log_error("class_not_opened", LOG_STR("class", class->name), LOG_ERR(e),
              LOG_STR("action", "its jobs wait, other classes are served: fix it and send SIGHUP"));
}

int stores_open(const struct config *c, const char *program, struct stores *out, struct err *e)
{
    if (host_open(c, &out->host, e) != 0 || queue_open(c->queue, &out->queue, e) != 0 ||
        ledger_open(c->ledger, &out->ledger, e) != 0 || open_events(c, program, out, e) != 0 ||
        github_open(c, out->ledger, &out->github, e) != 0) {
        return -1;
    }
    if (fleet_open_most(c, out->host.id, out->ledger, out->github, report_class, &out->fleet, e) !=
        0) {
        return -1;
    }
    warn_of_durability(c, out);
    return 0;
}

void stores_close(struct stores *s)
{
    fleet_close(s->fleet);
    github_close(s->github);
    ledger_close(s->ledger);
    events_close(s->events, EVENTS_FLUSH_MS);
    queue_close(s->queue);
    *s = (struct stores){0};
}

static bool is_open(const void *fleet, const char *class_name)
{
    return fleet_serves(fleet, class_name);
}

struct presence_classes stores_classes(const struct stores *s, const struct config *c)
{
    return (struct presence_classes){.config = c, .serves = is_open, .arg = s->fleet};
}

bool stores_ready(const struct stores *s, struct buf *why)
{
    struct err e = {0};
    if (queue_ping(s->queue, &e) == 0 && ledger_ping(s->ledger, &e) == 0) {
        return true;
    }
    buf_append_cstr(why, e.message);
    return false;
}
