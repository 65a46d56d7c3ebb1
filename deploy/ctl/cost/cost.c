/*
 * `mayflyctl cost [--by KEY] [--since DURATION]`: what VMs used and cost, from the daily totals of the ledger, and
 * for --by job and workflow from the rows that it still has. An estimate (prices.h).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/printable.h"
#include "common/ledger/list.h"
#include "deploy/ctl/cost/prices.h"
#include "deploy/ctl/ctl.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define SINCE_DEFAULT_MS (30 * DAY_MS)
#define ROWS_MAX 20000 /* VMs that --by job and workflow look at, the oldest first */
#define ESTIMATE                                                                                   \
    "an estimate: of each VM its vCPUs and memory from launch to end at list prices; what it "     \
    "used "                                                                                        \
    "above its baseline, storage and transfer are not known here"

enum by { BY_REPOSITORY, BY_CLASS, BY_DAY, BY_JOB, BY_WORKFLOW };
static const char *const by_names[] = {
    [BY_REPOSITORY] = "repository", [BY_CLASS] = "class", [BY_DAY] = "day", [BY_JOB] = "job",
    [BY_WORKFLOW] = "workflow",
};

struct row {
    char key[REPOSITORY_SIZE];
    char name[JOB_NAME_SIZE]; /* of the job or workflow, whose key is the repository; else "" */
    struct ledger_total total;
    struct cost_money money;
};

struct report {
    struct ctl *c;
    enum by by;
    int64_t from_ms;
    int64_t now_ms;
    struct ledger_list rows;    /* of struct row */
    struct ledger_list classes; /* of struct ledger_total, with the class's name alone */
    bool cut;                   /* there were more VMs than ROWS_MAX */
};

_Static_assert(WORKFLOW_SIZE <= JOB_NAME_SIZE, "a row has room for either");

/* The daily totals have neither. */
static bool is_from_rows(enum by by)
{
    return by == BY_JOB || by == BY_WORKFLOW;
}

/* --- rows --- */
static const struct config_class *class_of(const struct report *r, const char *name)
{
    return config_class_by_name(r->c->config, slice_of(name));
}

static const char *key_of(const struct report *r, const char *day, const struct ledger_total *t)
{
    switch (r->by) {
    case BY_CLASS:
        return t->class_name;
    case BY_DAY:
        return day;
    case BY_REPOSITORY:
    case BY_JOB:
    case BY_WORKFLOW:
        break;
    }
    return t->repository;
}

static void add_row(struct report *r, const char *day, const char *name,
                    const struct ledger_total *t)
{
    struct row *row = ledger_list_add(&r->rows);
    (void)snprintf(row->key, sizeof row->key, "%s", key_of(r, day, t));
    (void)snprintf(row->name, sizeof row->name, "%s", name);
    row->total = *t;
    row->money = cost_of(class_of(r, t->class_name), t);
}

static int compare_keys(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : strcmp(x->name, y->name);
}

/* What costs most comes first; of the same price what ran longest. */
static int compare_money(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    if (x->money.usd != y->money.usd) {
        return x->money.usd > y->money.usd ? -1 : 1;
    }
    if (x->total.vm_ms != y->total.vm_ms) {
        return x->total.vm_ms > y->total.vm_ms ? -1 : 1;
    }
    return compare_keys(a, b);
}

static void sort_rows(struct ledger_list *rows, int (*compare)(const void *, const void *))
{
    if (rows->count > 1) {
        qsort(rows->items, rows->count, rows->item_size, compare);
    }
}

/* Leaves one row for each key. */
static void merge_rows(struct ledger_list *rows)
{
    struct row *all = rows->items;
    size_t kept = 0;
    sort_rows(rows, compare_keys);
    for (size_t i = 0; i < rows->count; i++) {
        if (kept > 0 && compare_keys(&all[kept - 1], &all[i]) == 0) {
            ledger_total_add(&all[kept - 1].total, &all[i].total);
            cost_add(&all[kept - 1].money, &all[i].money);
        } else {
            all[kept++] = all[i];
        }
    }
    rows->count = kept;
}

/* --- from the daily totals --- */
typedef void total_fn(struct report *r, const char *day, const struct ledger_total *t);

static int each_total(struct report *r, total_fn *fn, struct err *e)
{
    struct ledger_total_day *days = NULL;
    char first[LEDGER_DAY_SIZE];
    size_t n = 0;
    ledger_total_day_of(r->from_ms, first);
    int rc = ledger_total_days(r->c->ledger, &days, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct ledger_total *totals = NULL;
        size_t count = 0;
        if (strcmp(days[i].name, first) < 0) {
            continue;
        }
        rc = ledger_totals_of(r->c->ledger, days[i].name, &totals, &count, e);
        for (size_t k = 0; rc == 0 && k < count; k++) {
            fn(r, days[i].name, &totals[k]);
        }
        free(totals);
        merge_rows(&r->rows);
    }
    free(days);
    return rc;
}

static void add_total(struct report *r, const char *day, const struct ledger_total *t)
{
    add_row(r, day, "", t);
}

/* --- by job or workflow: from the rows that the ledger still has --- */
static struct ledger_total *sum_of_class(struct report *r, const char *class_name)
{
    struct ledger_total *all = r->classes.items;
    for (size_t i = 0; i < r->classes.count; i++) {
        if (strcmp(all[i].class_name, class_name) == 0) {
            return &all[i];
        }
    }
    struct ledger_total *sum = ledger_list_add(&r->classes);
    (void)snprintf(sum->class_name, sizeof sum->class_name, "%s", class_name);
    return sum;
}

static void add_to_class(struct report *r, const char *day, const struct ledger_total *t)
{
    (void)day;
    ledger_total_add(sum_of_class(r, t->class_name), t);
}

/* The reaper knows the size of a VM; of a class that is its average. */
static struct ledger_vm_size size_of_class(struct report *r, const char *class_name)
{
    const struct ledger_total *sum = sum_of_class(r, class_name);
    int64_t sized_ms = sum->vm_ms - sum->unsized_ms;
    struct ledger_vm_size size = {.milli_vcpus = 0};
    if (sized_ms > 0) {
        size.milli_vcpus = llround((double)sum->vcpu_ms * 1000 / (double)sized_ms);
        size.mib = llround((double)sum->mib_s * 1000 / (double)sized_ms);
    }
    return size;
}

static const char *name_of(const struct report *r, const struct ledger_job *job)
{
    return r->by == BY_JOB ? job->facts.name : job->facts.workflow;
}

static int add_vm(struct report *r, const struct ledger_vm *vm, struct err *e)
{
    struct ledger_job job = {.state = JOB_SEEN};
    struct ledger_total t = {.vms = 0};
    const struct ledger_vm_size size = size_of_class(r, vm->class_name);
    bool known = vm->job_id != 0;
    if (known && ledger_job_get(r->c->ledger, vm->job_id, &job, e) != 0) {
        if (e->class != ERR_NOT_FOUND) {
            return -1;
        }
        known = false;
    }
    (void)snprintf(t.class_name, sizeof t.class_name, "%s", vm->class_name);
    (void)snprintf(t.repository, sizeof t.repository, "%s", vm->repository);
    if (ledger_total_add_vm(&t, vm, known ? &job : NULL, &size)) {
        add_row(r, "", known ? name_of(r, &job) : "", &t);
    }
    return 0;
}

static int add_vms(struct report *r, struct err *e)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    int rc = ledger_vms_gone(r->c->ledger, r->from_ms, r->now_ms, ROWS_MAX + 1, &vms, &n, e);
    r->cut = n > ROWS_MAX;
    for (size_t i = 0; rc == 0 && i < n && i < ROWS_MAX; i++) {
        rc = add_vm(r, &vms[i], e);
    }
    free(vms);
    merge_rows(&r->rows);
    return rc;
}

/* --- the answer --- */
static json_int_t seconds(int64_t ms)
{
    return (json_int_t)((ms + 500) / 1000);
}

/* To a millionth; json_real prints what a double has. */
static json_t *money(double usd)
{
    return json_real(round(usd * 1e6) / 1e6);
}

static json_t *describe(const struct ledger_total *t, const struct cost_money *m)
{
    bool priced = m->unpriced_ms < t->vm_ms || t->vm_ms == 0;
    bool compared = m->uncompared_minutes < t->job_minutes || t->job_minutes == 0;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o, s:I}", "vms", (json_int_t)t->vms,
        "jobs", (json_int_t)t->jobs, "vm_seconds", seconds(t->vm_ms), "vcpu_seconds",
        seconds(t->vcpu_ms), "gb_seconds", (json_int_t)((t->mib_s + 512) / 1024), "queue_seconds",
        seconds(t->queue_ms), "job_minutes", (json_int_t)t->job_minutes, "cost",
        priced ? money(m->usd) : json_null(), "unpriced_vm_seconds", seconds(m->unpriced_ms),
        "github_cost", compared ? money(m->github_usd) : json_null(), "uncompared_job_minutes",
        (json_int_t)m->uncompared_minutes);
}

static json_t *describe_row(const struct report *r, const struct row *row)
{
    json_t *o = describe(&row->total, &row->money);
    if (is_from_rows(r->by)) {
        json_object_set_new(o, by_names[BY_REPOSITORY], ctl_text(row->key));
        json_object_set_new(o, by_names[r->by], ctl_text(row->name));
    } else {
        json_object_set_new(o, by_names[r->by], ctl_text(row->key));
    }
    return o;
}

static json_t *describe_report(struct report *r, int64_t until_ms)
{
    const struct row *all = r->rows.items;
    struct row sum = {.key = ""};
    json_t *rows = json_array();
    json_t *notes = json_array();
    sort_rows(&r->rows, r->by == BY_DAY ? compare_keys : compare_money);
    for (size_t i = 0; i < r->rows.count; i++) {
        json_array_append_new(rows, describe_row(r, &all[i]));
        ledger_total_add(&sum.total, &all[i].total);
        cost_add(&sum.money, &all[i].money);
    }
    json_array_append_new(notes, json_string(ESTIMATE));
    if (r->cut) {
        json_array_append_new(
            notes,
            json_string("there were more VMs than this looks at: a shorter --since has them all"));
    }
    if (sum.money.unpriced_ms > 0) {
        json_array_append_new(
            notes,
            json_string("some VM time has no price: its class is not in the configuration, its "
                        "region is not in the table (set classes[].cost), or the size of its "
                        "VMs was not known"));
    }
    return json_pack("{s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "estimate", 1, "currency", "USD",
                     "by", by_names[r->by], "since", ctl_time(r->from_ms), "counted_until",
                     ctl_time(until_ms), "total", describe(&sum.total, &sum.money), "rows", rows,
                     "notes", notes);
}

static int read_by(struct ctl *c, enum by *out, struct err *e)
{
    const char *given = ctl_option(c, "--by");
    *out = BY_REPOSITORY;
    for (size_t i = 0; given != NULL && i < COUNT_OF(by_names); i++) {
        if (strcmp(given, by_names[i]) == 0) {
            *out = (enum by)i;
            return 0;
        }
    }
    if (given == NULL) {
        return 0;
    }
    c->exit_code = CTL_EXIT_USAGE;
    return err_set(e, ERR_PERMANENT, 0, "--by %.40s: it is repository, class, day, job or workflow",
                   given);
}

int ctl_cost(struct ctl *c, json_t **out, struct err *e)
{
    struct report r = {.c = c,
                       .rows = {.item_size = sizeof(struct row)},
                       .classes = {.item_size = sizeof(struct ledger_total)}};
    int64_t back_ms;
    int64_t until_ms = 0;
    if (read_by(c, &r.by, e) != 0 ||
        ctl_option_duration(c, "--since", 1000, LEDGER_TOTAL_DAYS * DAY_MS, SINCE_DEFAULT_MS,
                            &back_ms, e) != 0 ||
        ledger_totals_until(c->ledger, &until_ms, e) != 0) {
        return -1;
    }
    r.now_ms = ledger_now_ms(c->ledger);
    r.from_ms = r.now_ms - back_ms;
    int rc = each_total(&r, is_from_rows(r.by) ? add_to_class : add_total, e);
    rc = rc == 0 && is_from_rows(r.by) ? add_vms(&r, e) : rc;
    *out = rc == 0 ? describe_report(&r, until_ms) : *out;
    free(r.rows.items);
    free(r.classes.items);
    return rc;
}

/* --- for people --- */
static void print_money(const json_t *value, char out[24])
{
    double usd = json_real_value(value);
    if (!json_is_real(value)) {
        (void)snprintf(out, 24, "-");
    } else {
        (void)snprintf(out, 24, usd > 0 && usd < 0.01 ? "<0.01" : "%.2f", usd);
    }
}

static void print_row(const char *key, const char *name, const json_t *o)
{
    char usd[24];
    char github[24];
    char lived[24];
    char queued[24];
    print_money(json_object_get(o, "cost"), usd);
    print_money(json_object_get(o, "github_cost"), github);
    printable_line(stdout, "%-36s %7lld %7lld %10s %10s %10s %12s  %s", key[0] != '\0' ? key : "-",
                   (long long)ctl_int(o, "vms"), (long long)ctl_int(o, "jobs"),
                   ctl_duration(ctl_int(o, "vm_seconds") * 1000, lived),
                   ctl_duration(ctl_int(o, "queue_seconds") * 1000, queued), usd, github, name);
}

static void write_title(const char *key, char out[24])
{
    (void)snprintf(out, 24, "%s", key);
    for (char *at = out; *at != '\0'; at++) {
        *at = (char)(*at - ('a' - 'A'));
    }
}

void ctl_cost_print(const json_t *answer)
{
    const char *by = ctl_str(answer, "by");
    bool is_named = strcmp(by, by_names[BY_JOB]) == 0 || strcmp(by, by_names[BY_WORKFLOW]) == 0;
    const char *key = is_named ? by_names[BY_REPOSITORY] : by;
    char key_title[24];
    char name_title[24];
    size_t i;
    json_t *o;
    write_title(key, key_title);
    write_title(is_named ? by : "", name_title);
    printable_line(stdout, "%-36s %7s %7s %10s %10s %10s %12s  %s", key_title, "VMS", "JOBS",
                   "VM TIME", "QUEUED", "COST USD", "GITHUB USD", name_title);
    json_array_foreach(json_object_get(answer, "rows"), i, o)
    {
        const char *name = is_named ? ctl_str(o, by) : "";
        print_row(ctl_str(o, key), is_named && name[0] == '\0' ? "-" : name, o);
    }
    print_row("TOTAL", "", json_object_get(answer, "total"));
    json_array_foreach(json_object_get(answer, "notes"), i, o)
    {
        printable_line(stdout, "%s", json_string_value(o));
    }
}
