#include "tests/unit/worker/world.h"
#include "worker/takeover.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ledger/kinds.h"

#define HOUR_MS 3600000

struct world world;
const char *world_more_classes = "";

static const char settings[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\", \"github\": "
    "{\"token\": \"x\"},"
    " \"worker\": {\"visibility_timeout\": \"30s\"}, \"reaper\": {\"startup_timeout\": \"5m\"},"
    " \"circuit\": {\"failure_threshold\": 5, \"open_duration\": \"1m\", \"max_open_duration\": "
    "\"15m\"},"
    " \"retry\": {\"max_attempts\": 3, \"base_delay\": \"10ms\", \"max_delay\": \"100ms\"},"
    " \"limits\": {\"max_vms\": 9, \"max_vms_per_repository\": 2,"
    " \"launch_rate\": {\"per_second\": 1, \"burst\": 4}}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"self-hosted\"], \"provider\": \"qemu\", \"qemu\": "
    "{\"image\": \"/none\"},"
    " \"max_vms\": 3, \"launch_rate\": {\"per_second\": 3, \"burst\": 4}, \"runner_group\": "
    "\"Fleet\","
    " \"max_duration\": \"1m\", \"idle_timeout\": \"10s\","
    " \"proxy\": {\"http\": \"http://plain:1\", \"https\": \"http://secure:2\", \"no_proxy\": "
    "\"near.example\"}},"
    " {\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"lambda\", \"max_vms\": 5,"
    " \"launch_rate\": {\"per_second\": 7, \"burst\": 8}, \"max_duration\": \"1m\", "
    "\"idle_timeout\": \"10s\","
    " \"lambda\": {\"image\": \"arn:aws:lambda:us-east-1:123456789012:microvm-image:ci\"}},"
    " {\"name\": \"other\", \"labels\": [\"other\"], \"provider\": \"qemu\", \"qemu\": {\"image\": "
    "\"/none\"},"
    " \"max_duration\": \"1m\", \"idle_timeout\": \"10s\"}";

static int64_t mono_us(void)
{
    return (world.now_ms - WORLD_BEGAN_MS + HOUR_MS) * 1000;
}

static int64_t wall_ms(void)
{
    return world.now_ms;
}

int __real_ledger_cell_get(struct ledger *l, const char *kind, const char *name,
                           struct ledger_cell *out, struct err *e);
int __real_ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                           int64_t expected, int64_t *version, struct err *e);

void world_reconcile(const char *class_name, int64_t age_ms)
{
    struct ledger *l = world.worker.ledger;
    bool bound = vm_host_bound(fleet_provider(world.worker.fleet, class_name));
    struct ledger_cell cell;
    struct err e = {0};
    char name[LEDGER_CELL_NAME];
    char value[24];
    (void)snprintf(name, sizeof name, "%s%s%s", class_name, bound ? "/" : "",
                   bound ? fleet_host(world.worker.fleet) : "");
    (void)snprintf(value, sizeof value, "%lld ", (long long)(world.now_ms - age_ms));
    MUST(__real_ledger_cell_get(l, LEDGER_KIND_RECONCILED, name, &cell, &e));
    MUST(__real_ledger_cell_put(l, LEDGER_KIND_RECONCILED, name, age_ms < 0 ? NULL : value,
                                cell.version, NULL, &e));
}

int world_set_up(void **state)
{
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    static int times;
    struct worker *w = &world.worker;
    struct err e = {0};
    log_set_level(LOG_ERROR);
    clock_set_source(&source);
    world = (struct world){.now_ms = WORLD_BEGAN_MS};
    calls_reset();
    scripted_vms_reset();
    scripted_github_reset();
    (void)snprintf(world.url, sizeof world.url, "memory://worker-%d", ++times);
    struct buf text;
    buf_init(&text, 16384);
    buf_printf(&text, "%s%s]}", settings, world_more_classes);
    MUST(config_parse(buf_slice(&text), "test", CONFIG_FOR_WORKER, &world.config, NULL, &e));
    buf_fini(&text);
    MUST(queue_open(world.url, &w->queue, &e));
    MUST(ledger_open(world.url, &w->ledger, &e));
    MUST(fleet_open(world.config, "this-host", w->ledger, NULL, &w->fleet, &e));
    w->circuits = circuits_new(w->ledger);
    w->pauses = pauses_new(w->ledger);
    w->images = class_images_new(w->ledger);
    w->config = config_live_new(world.config, NULL, CONFIG_FOR_WORKER);
    wakeup_init(&w->intake);
    wakeup_init(&w->working);
    world_reconcile("small", 0);
    world_reconcile("large", 0);
    world_reconcile("other", 0);
    repositories_note(&w->repositories, w->ledger, "acme/app", 0);
    calls_reset();
    return 0;
}

int world_tear_down(void **state)
{
    struct worker *w = &world.worker;
    wakeup_fini(&w->working);
    wakeup_fini(&w->intake);
    circuits_free(w->circuits);
    pauses_free(w->pauses);
    class_images_free(w->images);
    fleet_close(w->fleet);
    ledger_close(w->ledger);
    queue_close(w->queue);
    config_live_free(w->config);
    clock_set_source(NULL);
    return 0;
}

int __real_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);
int __real_queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms,
                         int64_t wait_ms, struct queue_message *out, size_t *got, struct err *e);

void world_put(const char *lane, const char *body)
{
    const struct queue_item item = {.lane = lane, .body = slice_of(body)};
    struct err e = {0};
    MUST(__real_queue_put(world.worker.queue, &item, 1, &e));
}

struct queue_message world_take(const char *lane)
{
    struct queue_message m = {.id = ""};
    size_t got = 0;
    struct err e = {0};
    MUST(__real_queue_receive(world.worker.queue, lane, 1, LEASE_MS, 0, &m, &got, &e));
    assert_int_equal(got, 1);
    return m;
}

void world_fail(const char *function, enum err_class class)
{
    calls_plan(&(struct call_plan){.function = function, .fails = class});
}

void world_heal(void)
{
    calls_replan(NULL, 0);
}

void world_note_silent_rows(void)
{
    const struct launch_request request = {.job.id = 42, .class_name = "small"};
    struct takeover t;
    struct err e;
    world.now_ms -= LEASE_MS / 3;
    MUST(takeover_dead_launch(&world.worker, world.config, &request, "acme", &t, &e));
    world.now_ms += LEASE_MS / 3;
    calls_reset();
}

void world_put_queued(const char *lane_name, const char *class_name, int64_t job_id)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED,
                           .status = "queued",
                           .job = {.id = job_id,
                                   .run_id = 1,
                                   .run_attempt = 1,
                                   .installation_id = 11,
                                   .repository = "acme/app",
                                   .organization = "acme"}};
    struct buf body;
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    struct launch_request request = launch_request_of(&ev);
    buf_init(&body, 65536);
    launch_request_encode(&request, 1, &body);
    world_put(lane_name, body.data);
    buf_fini(&body);
}
