#include "common/vm/qemu/notice.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/vm/qemu/state.h"

#define NOTICE "notice.json"
#define NOTICE_MAX 16384

const char *qemu_event_name(enum qemu_event e)
{
    static const char *const names[] = {[QEMU_EVENT_IO_ERROR] = "io_error",
                                        [QEMU_EVENT_PAUSED] = "paused",
                                        [QEMU_EVENT_RESUMED] = "resumed",
                                        [QEMU_EVENT_CONSOLE_DROPPED] = "console_dropped",
                                        [QEMU_EVENT_STATUS_DROPPED] = "status_dropped",
                                        [QEMU_EVENT_PROCESS_LIMIT] = "process_limit",
                                        [QEMU_EVENT_SHELL_OPENED] = "shell_opened",
                                        [QEMU_EVENT_SHELL_CLOSED] = "shell_closed"};
    ASSERT((size_t)e < COUNT_OF(names));
    return names[e];
}

static bool event_parse(struct slice name, enum qemu_event *out)
{
    for (int i = 0; i < QEMU_EVENTS; i++) {
        if (slice_eq_cstr(name, qemu_event_name((enum qemu_event)i))) {
            *out = (enum qemu_event)i;
            return true;
        }
    }
    return false;
}

static void append_item(json_t *list, const char *kind, const struct qemu_refused *r)
{
    if (r->count > 0) {
        json_t *item = json_pack("{s:s,s:I,s:b,s:s}", "kind", kind, "count", (json_int_t)r->count,
                                 "first", (int)r->first, "text", r->text);
        ASSERT(json_array_append_new(list, item) == 0);
    }
}

static json_t *notice_json(const struct qemu_notice *n)
{
    json_t *refused = json_array();
    json_t *events = json_array();
    for (int kind = 0; kind < NET_KINDS; kind++) {
        append_item(refused, net_kind_name((enum net_kind)kind), &n->refused[kind]);
    }
    for (int kind = 0; kind < QEMU_EVENTS; kind++) {
        append_item(events, qemu_event_name((enum qemu_event)kind), &n->events[kind]);
    }
    return json_pack("{s:i,s:o,s:o,s:s}", "version", QEMU_RECORD_VERSION, "refused", refused,
                     "events", events, "shared_network", n->shared_network);
}

int qemu_notice_write(const char *dir, const struct qemu_notice *n, struct err *e)
{
    char path[PATH_MAX];
    if (qemu_marked(dir, NOTICE)) {
        return 0;
    }
    json_t *tree = notice_json(n);
    char *text = json_dumps(tree, 0);
    json_decref(tree);
    ASSERT(text != NULL);
    int rc = fs_write_atomic(qemu_path(path, dir, NOTICE), slice_of(text), 0644, e);
    free(text);
    return rc == 0 ? 1 : -1;
}

static void read_text(const json_t *tree, const char *key, char *out, size_t size)
{
    (void)!slice_to_cstr(slice_of(json_string_value(json_object_get(tree, key))), out, size);
}

static void read_item(const json_t *item, struct qemu_refused *r)
{
    r->count = json_integer_value(json_object_get(item, "count"));
    r->first = json_is_true(json_object_get(item, "first"));
    read_text(item, "text", r->text, sizeof r->text);
}

static struct slice kind_of(const json_t *item)
{
    return slice_of(json_string_value(json_object_get(item, "kind")));
}

static void read_notice(const json_t *tree, struct qemu_notice *out)
{
    size_t i;
    const json_t *item;
    *out = (struct qemu_notice){.shared_network = ""};
    read_text(tree, "shared_network", out->shared_network, sizeof out->shared_network);
    json_array_foreach(json_object_get(tree, "refused"), i, item)
    {
        enum net_kind kind;
        if (net_kind_parse(kind_of(item), &kind)) {
            read_item(item, &out->refused[kind]);
        }
    }
    json_array_foreach(json_object_get(tree, "events"), i, item)
    {
        enum qemu_event event;
        if (event_parse(kind_of(item), &event)) {
            read_item(item, &out->events[event]);
        }
    }
}

bool qemu_notice_take(const char *dir, struct qemu_notice *out)
{
    char path[PATH_MAX];
    char own[PATH_MAX];
    char name[32] = "notice.";
    struct buf text;
    struct err e;
    json_t *tree = NULL;
    random_hex(name + 7, 8);
    if (rename(qemu_path(path, dir, NOTICE), qemu_path(own, dir, name)) != 0) {
        return false;
    }
    buf_init(&text, NOTICE_MAX);
    if (fs_read(own, &text, &e) == 0) {
        tree = json_loadb(text.data, text.len, 0, NULL);
    }
    (void)unlink(own);
    bool good = json_is_object(tree);
    if (good) {
        read_notice(tree, out);
    }
    json_decref(tree);
    buf_fini(&text);
    return good;
}
