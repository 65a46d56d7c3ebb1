/* Events out: the file, the topic, the collector of traces. */
#include "common/events/events.h"
#include "common/check/check.h"

static void print_result(struct check *c, const char *request, int rc, const struct err *e)
{
    const struct check_finding good = {.level = CHECK_OK, .subject = "events", .request = request};
    if (rc != 0) {
        check_say_error(c, CHECK_FAIL, "events", request, e);
    } else {
        check_say(c, &good, "records can be written");
    }
}

static void check_traces(struct check *c)
{
    struct err e = {0};
    const struct config_traces *traces = &c->config->traces;
    const struct events_options options = {.program = "mayfly-check",
                                           .deployment = c->config->deployment,
                                           .traces = traces->endpoint,
                                           .headers = (const char *const *)traces->headers.items,
                                           .header_count = traces->headers.count,
                                           .traces_buffer = traces->buffer};
    print_result(c, "traces.endpoint", events_check_traces(&options, &e), &e);
}

void check_events(struct check *c)
{
    struct err e = {0};
    const struct config_events *events = &c->config->events;
    if (events->file[0] != '\0') {
        print_result(c, "events.file", events_check_file(events->file, &e), &e);
    }
    if (events->kafka[0] != '\0') {
        print_result(c, "events.kafka", events_check_kafka(events->kafka, &e), &e);
    }
    if (c->config->traces.endpoint[0] != '\0') {
        check_traces(c);
    }
}
