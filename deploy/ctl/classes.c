/*
 * `mayflyctl classes`: the runner classes of the configuration, and those that it does not have but that are
 * in use or paused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/printable.h"
#include "common/ledger/images.h"
#include "common/ledger/pauses.h"
#include "deploy/ctl/ctl.h"

int ctl_refuse_class(const struct ctl *c, const char *class_name, struct err *e)
{
    struct buf names;
    buf_init(&names, 400);
    for (size_t i = 0; i < c->config->class_count; i++) {
        buf_printf(&names, "%s%s", i > 0 ? ", " : "", c->config->classes[i].name);
    }
    err_set(e, ERR_NOT_FOUND, 0, "no class is named \"%.64s\"; the configuration has: %s",
            class_name, names.len > 0 ? names.data : "none");
    buf_fini(&names);
    return -1;
}

struct known { /* by the ledger */
    struct ledger_count *counts;
    size_t count_count;
    struct ledger_balance *balances;
    size_t balance_count;
    struct ledger_pause *pauses;
    size_t pause_count;
    struct ledger_image *images;
    size_t image_count;
    int64_t now_ms;
};

static int read_known(struct ctl *c, struct known *out, struct err *e)
{
    *out = (struct known){.now_ms = ledger_now_ms(c->ledger)};
    return ledger_counts(c->ledger, &out->counts, &out->count_count, e) != 0 ||
                   ledger_balances(c->ledger, &out->balances, &out->balance_count, e) != 0 ||
                   ledger_pause_list(c->ledger, &out->pauses, &out->pause_count, e) != 0 ||
                   ledger_image_list(c->ledger, &out->images, &out->image_count, e) != 0
               ? -1
               : 0;
}

static void free_known(struct known *k)
{
    free(k->counts);
    free(k->balances);
    free(k->pauses);
    free(k->images);
}

/* How long the job that waits for longest waits; 0: none does. */
static int64_t longest_wait_ms(const struct known *k, const char *class_name)
{
    int64_t oldest = k->now_ms;
    for (size_t i = 0; i < k->balance_count; i++) {
        const struct ledger_balance *b = &k->balances[i];
        bool waits = strcmp(b->class_name, class_name) == 0 && b->oldest_waiting_ms > 0;
        oldest = waits && b->oldest_waiting_ms < oldest ? b->oldest_waiting_ms : oldest;
    }
    return k->now_ms - oldest;
}

static json_t *describe_pause(const struct known *k, const char *class_name)
{
    const struct ledger_pause *p = ledger_pause_of(k->pauses, k->pause_count, class_name);
    if (p == NULL) {
        return json_null();
    }
    return json_pack("{s:o, s:I, s:o, s:o}", "since", ctl_time(p->since_ms), "for_ms",
                     (json_int_t)(k->now_ms - p->since_ms), "by", ctl_text(p->by), "reason",
                     ctl_text(p->reason));
}

/* One, or one at each of its targets. */
static json_t *describe_images(const struct known *k, const char *class_name)
{
    json_t *list = json_array();
    size_t n = strlen(class_name);
    for (size_t i = 0; i < k->image_count; i++) {
        const char *place = k->images[i].class_name;
        if (strncmp(place, class_name, n) == 0 && (place[n] == '\0' || place[n] == '@')) {
            json_array_append_new(list, ctl_image_describe(&k->images[i]));
        }
    }
    return list;
}

/* class NULL: it is not configured. */
static json_t *describe(const struct known *k, const char *name, const struct config_class *class)
{
    const struct ledger_count *count = ledger_count_of(k->counts, k->count_count, name);
    json_t *labels = json_array();
    for (size_t i = 0; class != NULL && i < class->labels.count; i++) {
        json_array_append_new(labels, ctl_text(class->labels.items[i]));
    }
    return json_pack("{s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
                     "class", ctl_text(name), "configured", class != NULL, "retired",
                     class == NULL || config_class_is_retired(class), "paused",
                     describe_pause(k, name), "images", describe_images(k, name), "provider",
                     class != NULL ? ctl_text(class->provider) : json_null(), "labels", labels,
                     "max_vms", (json_int_t)(class != NULL ? class->max_vms : 0), "slots_used",
                     (json_int_t)ledger_count_slots(count), "jobs_waiting",
                     (json_int_t)count->jobs[JOB_WAITING], "jobs_running",
                     (json_int_t)count->jobs[JOB_RUNNING], "longest_wait_ms",
                     (json_int_t)longest_wait_ms(k, name), "idle_wanted",
                     (json_int_t)(class != NULL ? config_idle_wanted(class, k->now_ms) : 0),
                     "vms_launched", (json_int_t)count->vms[VM_LAUNCHED]);
}

static bool is_in_use(const struct ledger_count *count)
{
    return ledger_count_slots(count) > 0 || count->jobs[JOB_WAITING] > 0 ||
           count->jobs[JOB_RUNNING] > 0;
}

static bool is_configured(const struct ctl *c, const char *name)
{
    return config_class_by_name(c->config, slice_of(name)) != NULL;
}

int ctl_classes(struct ctl *c, json_t **out, struct err *e)
{
    struct known k;
    if (read_known(c, &k, e) != 0) {
        free_known(&k);
        return -1;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < c->config->class_count; i++) {
        const struct config_class *class = &c->config->classes[i];
        json_array_append_new(list, describe(&k, class->name, class));
    }
    for (size_t i = 0; i < k.count_count; i++) {
        const char *name = k.counts[i].class_name;
        if (name[0] != '\0' && !is_configured(c, name) && is_in_use(&k.counts[i])) {
            json_array_append_new(list, describe(&k, name, NULL));
        }
    }
    for (size_t i = 0; i < k.pause_count; i++) {
        const char *name = k.pauses[i].class_name;
        if (!is_configured(c, name) && !is_in_use(ledger_count_of(k.counts, k.count_count, name))) {
            json_array_append_new(list, describe(&k, name, NULL));
        }
    }
    free_known(&k);
    *out = list;
    return 0;
}

static void join_labels(const json_t *labels, char *out, size_t size)
{
    size_t i;
    json_t *label;
    size_t len = 0;
    out[0] = '\0';
    json_array_foreach(labels, i, label)
    {
        int n = snprintf(out + len, size - len, "%s%s", i > 0 ? "," : "", json_string_value(label));
        len = n > 0 && (size_t)n < size - len ? len + (size_t)n : size - 1;
    }
}

static const char *state_of(const json_t *class)
{
    if (!json_is_true(json_object_get(class, "configured"))) {
        return "not configured";
    }
    if (json_is_true(json_object_get(class, "retired"))) {
        return "retired";
    }
    return json_is_object(json_object_get(class, "paused")) ? "paused" : "-";
}

static void print_pauses(const json_t *answer)
{
    size_t i;
    json_t *o;
    char for_ms[24];
    json_array_foreach(answer, i, o)
    {
        const json_t *p = json_object_get(o, "paused");
        if (json_is_object(p)) {
            printable_line(stdout, "class %s is paused since %s (%s) by %s%s%s",
                           ctl_str(o, "class"), ctl_str(p, "since"),
                           ctl_duration(ctl_int(p, "for_ms"), for_ms), ctl_str(p, "by"),
                           ctl_str(p, "reason")[0] != '\0' ? ": " : "", ctl_str(p, "reason"));
        }
    }
}

static void print_idle(const json_t *answer)
{
    size_t i;
    json_t *o;
    json_array_foreach(answer, i, o)
    {
        if (ctl_int(o, "idle_wanted") > 0) {
            printable_line(stdout, "class %s keeps %lld VMs idle, and has %lld without a job",
                           ctl_str(o, "class"), (long long)ctl_int(o, "idle_wanted"),
                           (long long)ctl_int(o, "vms_launched"));
        }
    }
}

void ctl_classes_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    char labels[200];
    char slots[32];
    char wait[24];
    printable_line(stdout, "%-20s %-14s %-9s %9s %8s %8s %9s  %s", "CLASS", "STATE", "PROVIDER",
                   "SLOTS", "WAITING", "RUNNING", "LONGEST", "LABELS");
    json_array_foreach(answer, i, o)
    {
        const char *provider = ctl_str(o, "provider");
        join_labels(json_object_get(o, "labels"), labels, sizeof labels);
        (void)snprintf(slots, sizeof slots, "%lld/%lld", (long long)ctl_int(o, "slots_used"),
                       (long long)ctl_int(o, "max_vms"));
        printable_line(stdout, "%-20s %-14s %-9s %9s %8lld %8lld %9s  %s", ctl_str(o, "class"),
                       state_of(o), provider[0] != '\0' ? provider : "-", slots,
                       (long long)ctl_int(o, "jobs_waiting"), (long long)ctl_int(o, "jobs_running"),
                       ctl_int(o, "longest_wait_ms") > 0
                           ? ctl_duration(ctl_int(o, "longest_wait_ms"), wait)
                           : "-",
                       labels);
    }
    print_pauses(answer);
    print_idle(answer);
    json_array_foreach(answer, i, o)
    {
        size_t k;
        json_t *image;
        json_array_foreach(json_object_get(o, "images"), k, image)
        {
            ctl_image_print(image);
        }
    }
}
