/* usage: kafka_permissions URL PROGRAM: the calls of that program; status 0 if none is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue/queue.h"

#define LEASE_MS 60000
#define WAIT_MS 20000
#define LAUNCH "launch.small"

static struct queue *queue;
static bool refused;

static void report(const char *call, int failed, const struct err *e)
{
    printf("  %s: %s\n", call, failed != 0 ? e->message : "ok");
    refused = refused || failed != 0;
}

static void put(const char *lane)
{
    struct err e = {0};
    const struct queue_item item = {
        .lane = lane, .body = SLICE("{}"), .key = "42", .group = "acme/site"};
    report("put", queue_put(queue, &item, 1, &e), &e);
}

static void receive(const char *lane, struct queue_message *m)
{
    struct err e = {0};
    size_t got = 0;
    int failed = queue_receive(queue, lane, 1, LEASE_MS, WAIT_MS, m, &got, &e);
    if (failed == 0 && got == 0) {
        failed = err_set(&e, ERR_RETRY, 0, "nothing in lane %s", lane);
    }
    report("receive", failed, &e);
}

static void ack(struct queue_message *m)
{
    struct err e = {0};
    report("ack", queue_ack(queue, m, 1, &e), &e);
    queue_message_fini(m);
}

static void check(void)
{
    struct err e = {0};
    struct buf warnings;
    buf_init(&warnings, 65536);
    report("check", queue_check(queue, true, &warnings, &e), &e);
    bool unread = warnings.data != NULL && strstr(warnings.data, "DescribeConfigs") != NULL;
    report("check of settings", unread ? err_set(&e, ERR_AUTH, 0, "%s", warnings.data) : 0, &e);
    buf_fini(&warnings);
}

static void be_ingress(void)
{
    check();
    put("events");
    for (int i = 0; i < 2; i++) {
        put(LAUNCH);
    }
}

/* The delayed message comes back through a delay topic. */
static void be_worker(void)
{
    static const struct queue_return back = {.delay_ms = 5000, .reason = "waits"};
    struct queue_message m = {0};
    struct err e = {0};
    receive("events", &m);
    ack(&m);
    receive(LAUNCH, &m);
    report("nack", queue_nack(queue, &m, &back, &e), &e);
    queue_message_fini(&m);
    receive(LAUNCH, &m);
    report("dead_letter", queue_dead_letter(queue, &m, "refused", &e), &e);
    queue_message_fini(&m);
    receive(LAUNCH, &m);
    ack(&m);
}

static void be_reaper(void)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    struct queue_entry *entries = NULL;
    size_t n = 0;
    put(LAUNCH);
    report("depths", queue_depths(queue, NULL, &depths, &n, &e), &e);
    int failed = queue_find(queue, "42", 8, &entries, &n, &e);
    report("find", failed, &e);
    if (failed == 0) {
        queue_entries_free(entries, n);
    }
    free(depths);
}

static void be_mayflyctl(void)
{
    struct err e = {0};
    struct queue_entry *entries = NULL;
    size_t n = 0;
    be_reaper();
    int failed = queue_dead(queue, NULL, 8, &entries, &n, &e);
    if (failed == 0 && n == 0) {
        failed = err_set(&e, ERR_NOT_FOUND, 0, "no dead letter");
    }
    report("dead", failed, &e);
    if (failed == 0) {
        report("redrive", queue_redrive(queue, entries[0].message.id, &e), &e);
        queue_entries_free(entries, n);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } programs[] = {{"admin", be_ingress}, {"none", be_ingress},  {"ingress", be_ingress},
                    {"worker", be_worker}, {"reaper", be_reaper}, {"mayflyctl", be_mayflyctl}};
    struct err e;
    if (argc != 3) {
        return 2;
    }
    printf("%s\n", argv[2]);
    if (queue_open(argv[1], &queue, &e) != 0) {
        printf("  open: %s\n", e.message);
        return 1;
    }
    for (size_t i = 0; i < COUNT_OF(programs); i++) {
        if (strcmp(programs[i].name, argv[2]) == 0) {
            programs[i].run();
        }
    }
    queue_close(queue);
    return refused ? 1 : 0;
}
