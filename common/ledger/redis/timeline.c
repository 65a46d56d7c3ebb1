#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/redis/redis.h"

/* A line in Redis is seq NUL at NUL job NUL vm NUL text. The text is either
 *   l what NUL detail                  as messages.c made it, or
 *   r outcome NUL a NUL b NUL name     what reserve.lua decided, with the numbers it saw; the
 *                                      sentence is made when it is read.
 * The job is written as its field is; "0": only about a VM. */

#define FIELDS 5
#define VMS_MAX 1000 /* of one job */

/* --- adding --- */
void ledger_redis_write_line(struct ledger_redis_writes *w, int64_t job_id, const char *vm,
                             const struct ledger_line *line)
{
    struct ledger_redis_name id = ledger_redis_id(job_id);
    struct ledger_redis_name key =
        ledger_redis_named("lines:%c:%s", job_id != 0 ? 'j' : 'v', job_id != 0 ? id.text : vm);
    struct ledger_redis_name most = ledger_redis_named("%d", LEDGER_LINES_MAX);
    struct ledger_redis_name first = ledger_redis_named("%d", LEDGER_LINES_FIRST);
    if (line->what == NULL) {
        return;
    }
    struct ledger_redis_name text = ledger_redis_named("l%s|%s", line->what, line->detail);
    text.text[1 + strlen(line->what)] = '\0';
    LEDGER_REDIS_WRITE(w, "log_line", ledger_redis_slice(&key), ledger_redis_slice(&most),
                       ledger_redis_slice(&first),
                       job_id != 0 ? ledger_redis_slice(&id) : SLICE("0"), slice_of(vm),
                       ledger_redis_slice(&text));
    if (job_id != 0 && vm[0] != '\0') {
        struct ledger_redis_name jobs = ledger_redis_named("vm_jobs:%s", vm);
        LEDGER_REDIS_WRITE(w, "SADD", ledger_redis_slice(&jobs), ledger_redis_slice(&id));
    }
}

/* --- reading one line --- */
struct numbered {
    int64_t seq;
    struct ledger_entry entry;
};

static int64_t number_of(struct slice s)
{
    int64_t n;
    return slice_to_int64(s, &n) ? n : 0;
}

static void redis_copy_text(struct slice s, char *out, size_t size)
{
    if (s.len >= size) {
        s.len = size - 1;
    }
    if (!slice_to_cstr(s, out, size)) {
        out[0] = '\0';
    }
}

/* Formats the decision of reserve.lua. */
static void redis_format_outcome(struct slice text, struct ledger_entry *out)
{
    struct slice field[5]; /* the fifth is missing in lines of the version before */
    char target[TARGET_NAME_SIZE];
    struct launch_request request = {.job.id = out->job_id};
    struct ledger_reserve r = {.request = &request};
    struct ledger_reservation res = {.outcome = LEDGER_OBSOLETE};
    struct ledger_line line = {.what = NULL};
    for (size_t i = 0; i < COUNT_OF(field); i++) {
        (void)slice_cut(text, '\0', &field[i], &text);
    }
    int64_t outcome = number_of(field[0]);
    int64_t a = number_of(field[1]);
    int64_t b = number_of(field[2]);
    if (outcome < 0 || outcome >= LEDGER_OUTCOMES) {
        return;
    }
    struct ledger_usage u = {.demand = a,
                             .supply = b,
                             .spare = number_of(field[3]),
                             .fleet_used = a,
                             .class_used = a,
                             .repository_used = a,
                             .target_used = a};
    r.caps = (struct ledger_caps){.fleet = b, .class_max = b, .repository = b, .target_max = b};
    redis_copy_text(field[4], target, sizeof target);
    r.target = target;
    redis_copy_text(field[3], request.class_name, sizeof request.class_name);
    redis_copy_text(field[3], request.job.repository, sizeof request.job.repository);
    res.outcome = (enum ledger_outcome)outcome;
    res.wait_ms = a;
    (void)snprintf(res.vm.name, sizeof res.vm.name, "%s", out->vm);
    ledger_line_reserve(&line, &r, &u, &res);
    if (line.what != NULL) {
        (void)snprintf(out->what, sizeof out->what, "%s", line.what);
        (void)snprintf(out->detail, sizeof out->detail, "%s", line.detail);
    }
}

static void read_line(struct slice line, struct numbered *out)
{
    struct slice field[FIELDS - 1];
    for (size_t i = 0; i < COUNT_OF(field); i++) {
        (void)slice_cut(line, '\0', &field[i], &line);
    }
    out->seq = number_of(field[0]);
    out->entry = (struct ledger_entry){.at_ms = number_of(field[1])};
    /* Leading zeros do not change the number. */
    out->entry.job_id = number_of(field[2]);
    redis_copy_text(field[3], out->entry.vm, sizeof out->entry.vm);
    if (line.len == 0) {
        return;
    }
    struct slice text = {line.ptr + 1, line.len - 1};
    if (line.ptr[0] == 'r') {
        redis_format_outcome(text, &out->entry);
        return;
    }
    struct slice what;
    struct slice detail;
    (void)slice_cut(text, '\0', &what, &detail);
    redis_copy_text(what, out->entry.what, sizeof out->entry.what);
    redis_copy_text(detail, out->entry.detail, sizeof out->entry.detail);
}

/* --- reading all of a job --- */
/* Adds the lines of a key; of_vm not NULL: only those that name it. */
static int read_key(struct ledger_redis *l, const char *key, const char *of_vm,
                    struct ledger_list *lines, struct err *e)
{
    static const char *const all[] = {"0", "-1", NULL};
    struct redis_reply *r = NULL;
    if (ledger_redis_call(l, "LRANGE", key, all, &r, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < redis_reply_count(r); i++) {
        struct numbered line;
        read_line(redis_reply_bytes(redis_reply_at(r, i)), &line);
        if (of_vm == NULL || strcmp(line.entry.vm, of_vm) == 0) {
            *(struct numbered *)ledger_list_add(lines) = line;
        }
    }
    redis_reply_free(r);
    return 0;
}

/* The VM's own lines, and those of other jobs that name it. */
static int redis_read_vm(struct ledger_redis *l, const char *vm, const char *job,
                         struct ledger_list *lines, struct err *e)
{
    struct ledger_redis_name own = ledger_redis_named("lines:v:%s", vm);
    struct ledger_redis_name jobs = ledger_redis_named("vm_jobs:%s", vm);
    struct redis_reply *r = NULL;
    if (read_key(l, own.text, NULL, lines, e) != 0 ||
        ledger_redis_call(l, "SMEMBERS", jobs.text, NULL, &r, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < redis_reply_count(r); i++) {
        char id[24];
        redis_reply_text(redis_reply_at(r, i), id, sizeof id);
        struct ledger_redis_name key = ledger_redis_named("lines:j:%s", id);
        rc = strcmp(id, job) != 0 ? read_key(l, key.text, vm, lines, e) : 0;
    }
    redis_reply_free(r);
    return rc;
}

static int read_vms(struct ledger_redis *l, const char *job, struct ledger_list *lines,
                    struct err *e)
{
    struct ledger_redis_name key = ledger_redis_named("job_vms:%s", job);
    struct redis_reply *r = NULL;
    if (ledger_redis_call(l, "SMEMBERS", key.text, NULL, &r, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < redis_reply_count(r) && i < VMS_MAX; i++) {
        char vm[VM_NAME_SIZE];
        redis_reply_text(redis_reply_at(r, i), vm, sizeof vm);
        rc = redis_read_vm(l, vm, job, lines, e);
    }
    redis_reply_free(r);
    return rc;
}

static int by_seq(const void *a, const void *b)
{
    const struct numbered *x = a;
    const struct numbered *y = b;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

int ledger_redis_timeline(void *state, int64_t job_id, struct ledger_entry **out, size_t *n,
                          struct err *e)
{
    struct ledger_list lines = {.item_size = sizeof(struct numbered)};
    struct ledger_list entries = {.item_size = sizeof(struct ledger_entry)};
    struct ledger_redis_name id = ledger_redis_id(job_id);
    struct ledger_redis_name own = ledger_redis_named("lines:j:%s", id.text);
    if (read_key(state, own.text, NULL, &lines, e) != 0 ||
        read_vms(state, id.text, &lines, e) != 0) {
        free(lines.items);
        return -1;
    }
    const struct numbered *sorted = lines.items;
    if (lines.count > 1) {
        qsort(lines.items, lines.count, sizeof *sorted, by_seq);
    }
    for (size_t i = 0; i < lines.count; i++) {
        /* Two VMs may share a job whose lines name both. */
        if (i == 0 || sorted[i].seq != sorted[i - 1].seq) {
            *(struct ledger_entry *)ledger_list_add(&entries) = sorted[i].entry;
        }
    }
    free(lines.items);
    *out = entries.items;
    *n = entries.count;
    return 0;
}
