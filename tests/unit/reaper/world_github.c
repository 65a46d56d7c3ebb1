/* The world's GitHub. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/reaper/world.h"

struct github_scope github_scope_parse(const char *name, int64_t installation_id)
{
    struct github_scope s = {.installation_id = installation_id};
    (void)snprintf(s.name, sizeof s.name, "%s", name);
    return s;
}

static bool is_scope(const struct github_scope *s, const char *name)
{
    return strcmp(s->name, name) == 0 &&
           s->installation_id == (strcmp(name, "acme") == 0 ? 11 : 22);
}

int github_get_runner(struct github *g, const struct github_scope *s, int64_t id,
                      struct github_runner *out, struct err *e)
{
    (void)g;
    if (world_called(CALL_GET_RUNNER, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < world.runner_count; i++) {
        if (world.runners[i].id == id && is_scope(s, world.runner_scope[i])) {
            *out = world.runners[i];
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, 404, "no runner");
}

int github_delete_runner(struct github *g, const struct github_scope *s, int64_t id, struct err *e)
{
    (void)g;
    (void)e;
    world.records_deleted++;
    world.deleted_runner = id;
    (void)snprintf(world.deleted_scope, sizeof world.deleted_scope, "%s", s->name);
    return 0;
}

int github_list_runners(struct github *g, const struct github_scope *s, github_runner_fn *each,
                        void *arg, struct err *e)
{
    (void)g;
    if (world_called(CALL_LIST_RUNNERS, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < world.runner_count; i++) {
        if (is_scope(s, world.runner_scope[i]) && each(arg, &world.runners[i]) != 0) {
            break;
        }
    }
    return 0;
}

int github_get_job(struct github *g, const char *repository, int64_t installation_id,
                   int64_t job_id, struct github_job *out, struct err *e)
{
    (void)g;
    world.asked_of_job_1 += job_id == 1 ? 1 : 0;
    if (world_called(CALL_GET_JOB, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < world.job_count; i++) {
        if (world.github_jobs[i].id == job_id && installation_id == 11 &&
            strcmp(repository, world.jobs[i].facts.repository) == 0) {
            *out = world.github_jobs[i];
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, 404, "no job");
}

/* --- webhook deliveries --- */
struct world_delivery *world_add_delivery(int64_t job_id, const char *action, int status_code,
                                          int64_t age_ms)
{
    struct world_delivery *top = &world.deliveries[0];
    memmove(top + 1, top, world.delivery_count * sizeof *top);
    world.delivery_count++;
    *top = (struct world_delivery){.entry = {.id = (int64_t)world.delivery_count,
                                             .delivered_ms = world.now_ms - age_ms,
                                             .ok = status_code >= 200 && status_code < 300,
                                             .status_code = status_code,
                                             .event = "workflow_job"}};
    (void)snprintf(top->entry.guid, sizeof top->entry.guid, "guid-%lld-%s", (long long)job_id,
                   strcmp(action, "queued") == 0 ? "q" : "c");
    (void)snprintf(top->entry.action, sizeof top->entry.action, "%s", action);
    (void)snprintf(
        top->payload, sizeof top->payload,
        "{\"action\":\"%s\",\"workflow_job\":{\"id\":%lld,\"run_id\":1,\"status\":\"%s\","
        "\"labels\":[\"self-hosted\"],\"conclusion\":null},"
        "\"repository\":{\"full_name\":\"acme/app\"},"
        "\"organization\":{\"login\":\"acme\"},\"installation\":{\"id\":11}}",
        action, (long long)job_id, action);
    return top;
}

bool github_hook_of(const struct config *c, struct github_hook *out)
{
    (void)c;
    *out = (struct github_hook){.id = 7};
    return world.has_hook;
}

/* The cursor is the id of the page's first entry. */
int github_list_deliveries(struct github *g, const struct github_hook *h, const char *cursor,
                           github_delivery_fn *each, void *arg, char next[GITHUB_CURSOR_BYTES],
                           struct err *e)
{
    size_t i = 0;
    size_t n = 0;
    (void)g;
    (void)h;
    world.list_calls++;
    next[0] = '\0';
    if (world_called(CALL_LIST_DELIVERIES, e) != 0) {
        return -1;
    }
    while (cursor[0] != '\0' && i < world.delivery_count &&
           world.deliveries[i].entry.id != strtoll(cursor, NULL, 10)) {
        i++;
    }
    for (; i < world.delivery_count && n < world.page_size; i++, n++) {
        if (each(arg, &world.deliveries[i].entry) != 0) {
            n++;
            i++;
            break;
        }
    }
    if (i < world.delivery_count) {
        (void)snprintf(next, GITHUB_CURSOR_BYTES, "%lld", (long long)world.deliveries[i].entry.id);
    }
    return 0;
}

static struct world_delivery *delivery(int64_t id)
{
    for (size_t i = 0; i < world.delivery_count; i++) {
        if (world.deliveries[i].entry.id == id) {
            return &world.deliveries[i];
        }
    }
    abort(); /* the test has no such delivery */
}

int github_delivery_payload(struct github *g, const struct github_hook *h, int64_t id,
                            struct buf *out, struct err *e)
{
    const struct world_delivery *d = delivery(id);
    (void)g;
    (void)h;
    world.payload_calls++;
    if (world_called(CALL_PAYLOAD, e) != 0) {
        return -1;
    }
    if (d->payload_fails != ERR_NONE) {
        return err_set(e, d->payload_fails, 403, "scripted");
    }
    buf_append_cstr(out, d->payload);
    return 0;
}

int github_redeliver(struct github *g, const struct github_hook *h, int64_t id, struct err *e)
{
    const struct world_delivery *d = delivery(id);
    (void)g;
    (void)h;
    world.redeliver_calls++;
    return d->redeliver_fails == ERR_NONE ? 0 : err_set(e, d->redeliver_fails, 403, "scripted");
}
