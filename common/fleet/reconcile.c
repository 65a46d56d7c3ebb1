#include "common/fleet/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/fleet/internal.h"
#include "common/ledger/kinds.h"

#define ROWS_PER_PAGE 500
#define VALID_MS (5 * 60 * 1000LL)
#define RENEWED_MS (60 * 1000LL)
#define PAUSE_SHARE 3 /* of a lease, between two comparisons */
#define KEPT_MS (24 * 60 * 60 * 1000LL)

/* --- the cell --- */

static void cell_name(const struct fleet *f, const char *class_name, char out[LEDGER_CELL_NAME])
{
    const struct vm_provider *p = fleet_provider(f, class_name);
    bool bound = p != NULL && vm_host_bound(p);
    (void)snprintf(out, LEDGER_CELL_NAME, "%s%s%s", class_name, bound ? "/" : "",
                   bound ? f->host : "");
}

/* "<wall clock ms> <history> <since when, wall clock ms>" */
struct words {
    struct slice at;
    struct slice history;
    struct slice since;
};

static struct words words_of(const struct ledger_cell *cell)
{
    struct words w;
    struct slice rest;
    (void)slice_cut(slice_of(cell->value), ' ', &w.at, &rest);
    (void)slice_cut(rest, ' ', &w.history, &w.since);
    return w;
}

static int64_t age_ms(const struct ledger_cell *cell)
{
    int64_t at_ms = 0;
    if (!slice_to_int64(words_of(cell).at, &at_ms)) {
        return INT64_MAX;
    }
    int64_t age = clock_wall_ms() - at_ms;
    return age >= 0 ? age : -age; /* a clock that was wrong */
}

/* The history first: a cell that is read later cannot be of an earlier one. */
static int read_cell(struct fleet *f, const char *class_name, char history[LEDGER_HISTORY_SIZE],
                     struct ledger_cell *out, struct err *e)
{
    char name[LEDGER_CELL_NAME];
    cell_name(f, class_name, name);
    return ledger_history(f->ledger, history, e) == 0
               ? ledger_cell_get(f->ledger, LEDGER_KIND_RECONCILED, name, out, e)
               : -1;
}

static enum fleet_reconciled state_of(const struct ledger_cell *cell, const char *history)
{
    if (cell->version == 0) {
        return FLEET_NEVER_RECONCILED;
    }
    if (!slice_eq_cstr(words_of(cell).history, history)) {
        return FLEET_HISTORY_BROKEN;
    }
    return age_ms(cell) <= VALID_MS ? FLEET_RECONCILED : FLEET_RECONCILED_LONG_AGO;
}

/* A ledger that was only not in use knows what it knew. */
static int64_t since_ms(const struct ledger_cell *cell, const char *history)
{
    int64_t since = 0;
    enum fleet_reconciled state = state_of(cell, history);
    bool knows = state == FLEET_RECONCILED || state == FLEET_RECONCILED_LONG_AGO;
    return knows && slice_to_int64(words_of(cell).since, &since) ? since : 0;
}

/* Another process may write it at the same time, and for the same reason. */
static int write_cell(struct fleet *f, const struct ledger_cell *seen, const char *history,
                      int64_t since, struct err *e)
{
    char value[48 + LEDGER_HISTORY_SIZE];
    (void)snprintf(value, sizeof value, "%lld %s %lld", (long long)clock_wall_ms(), history,
                   (long long)since);
    int rc = ledger_cell_put(f->ledger, LEDGER_KIND_RECONCILED, seen->name, value, seen->version,
                             NULL, e);
    return rc != 0 && e->class == ERR_CONFLICT ? 0 : rc;
}

int fleet_reconciled(struct fleet *f, const char *class_name, struct fleet_knowledge *out,
                     struct err *e)
{
    struct ledger_cell cell;
    char history[LEDGER_HISTORY_SIZE];
    if (read_cell(f, class_name, history, &cell, e) != 0) {
        return -1;
    }
    *out = (struct fleet_knowledge){state_of(&cell, history), since_ms(&cell, history)};
    return 0;
}

int fleet_still_reconciled(struct fleet *f, const char *class_name, struct err *e)
{
    struct ledger_cell cell;
    char history[LEDGER_HISTORY_SIZE];
    if (read_cell(f, class_name, history, &cell, e) != 0) {
        return -1;
    }
    bool due = state_of(&cell, history) == FLEET_RECONCILED && age_ms(&cell) > RENEWED_MS;
    return due ? write_cell(f, &cell, history, since_ms(&cell, history), e) : 0;
}

int fleet_tidy_reconciled(struct ledger *l, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int failed = ledger_cell_list(l, LEDGER_KIND_RECONCILED, &cells, &n, e);
    for (size_t i = 0; failed == 0 && i < n; i++) {
        if (age_ms(&cells[i]) > KEPT_MS &&
            ledger_cell_put(l, LEDGER_KIND_RECONCILED, cells[i].name, NULL, cells[i].version, NULL,
                            e) != 0 &&
            e->class != ERR_CONFLICT) {
            failed = -1;
        }
    }
    free(cells);
    return failed;
}

/* --- adoption --- */

void fleet_adopted_name(const struct vm_info *listed, char out[VM_NAME_SIZE])
{
    if (listed->name[0] != '\0') {
        (void)snprintf(out, VM_NAME_SIZE, "%s", listed->name);
    } else {
        (void)snprintf(out, VM_NAME_SIZE, "adopted-%016llx",
                       (unsigned long long)hash_text(listed->id));
    }
}

/* The provider knows best when it will end the VM. */
int fleet_adopt(struct fleet *f, const struct config_class *class, const struct vm_info *listed,
                bool *added, struct err *e)
{
    struct vm_provider *p = fleet_provider(f, class->name);
    struct vm_info info;
    char name[VM_NAME_SIZE];
    *added = false;
    if (vm_describe(p, listed->id, &info, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    if (info.state == VM_RUN_ENDED || info.state == VM_RUN_ENDING) {
        return 0;
    }
    int64_t longest_ms = info.max_duration_ms > 0 ? info.max_duration_ms : class->max_duration_ms;
    int64_t started_ms = listed->started_ms > 0 ? listed->started_ms : clock_wall_ms();
    fleet_adopted_name(listed, name);
    const struct ledger_adoption a = {
        .name = name,
        .class_name = config_place_class_name(class),
        .target = config_place_target(class),
        .provider = class->provider,
        .host = vm_host_bound(p) ? f->host : "",
        .vm_id = listed->id,
        .started_ms = started_ms,
        .deadline_ms = started_ms + longest_ms,
    };
    return ledger_vm_adopt(f->ledger, &a, added, e);
}

bool fleet_may_belong_to_row(const struct fleet *f, const struct ledger_vm *row,
                             const struct vm_info *listed, int64_t now_ms)
{
    int64_t requested_until_ms = row->state == VM_ENDING ? row->ending_ms : now_ms;
    return listed->started_ms == 0 || (listed->started_ms >= row->reserved_ms - f->grace_ms &&
                                       listed->started_ms <= requested_until_ms + f->grace_ms);
}

/* --- a comparison --- */

struct comparison {
    struct fleet *fleet;
    const struct config_class *class;
    struct vm_info *list; /* the id of a VM that a row accounts for becomes "" */
    size_t count;
    struct ledger_vm *unclear; /* rows of the class whose VM id is unknown */
    size_t unclear_count;
    struct fleet_comparison *out;
};

static bool has_row(const struct ledger_vm *row, const struct vm_info *listed)
{
    return strcmp(row->vm_id, listed->id) == 0 ||
           (listed->name[0] != '\0' && strcmp(row->name, listed->name) == 0);
}

static void add_rows(struct comparison *c, const struct ledger_vm *rows, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < c->count; i++) {
            if (c->list[i].id[0] != '\0' && has_row(&rows[k], &c->list[i])) {
                c->list[i].id[0] = '\0';
            }
        }
        if (config_place_is_of(c->class, rows[k].class_name, rows[k].target) &&
            fleet_vm_id_unknown(c->fleet, &rows[k])) {
            c->unclear = reallocarray(c->unclear, c->unclear_count + 1, sizeof c->unclear[0]);
            ASSERT(c->unclear != NULL);
            c->unclear[c->unclear_count++] = rows[k];
        }
    }
}

/* A row is written before its VM is requested (invariant 4), so rows that are read after the list leave
 * out no VM in it but those that end now. */
static int read_rows(struct comparison *c, struct err *e)
{
    char after[VM_NAME_SIZE] = "";
    for (size_t got = ROWS_PER_PAGE; got == ROWS_PER_PAGE;) {
        struct ledger_vm *rows = NULL;
        if (ledger_vm_list(c->fleet->ledger, ~(1u << VM_GONE), after, ROWS_PER_PAGE, &rows, &got,
                           e) != 0) {
            return -1;
        }
        add_rows(c, rows, got);
        if (got > 0) {
            memcpy(after, rows[got - 1].name, sizeof after);
        }
        free(rows);
    }
    return 0;
}

static bool is_under_way(const struct comparison *c, const struct ledger_vm *row, int64_t lease_ms)
{
    return (row->state == VM_RESERVED || row->state == VM_REGISTERED) &&
           ledger_now_ms(c->fleet->ledger) <=
               row->heartbeat_ms + ledger_heartbeat_limit_ms(lease_ms);
}

/* One VM may be that of a launch that got no response, and then holds no second slot; all others
 * that may need a row. While the launch is under way its VM may not be listed yet. */
static void leave_one_to_each_unclear_row(struct comparison *c, int64_t lease_ms)
{
    int64_t now_ms = clock_wall_ms();
    for (size_t k = 0; k < c->unclear_count; k++) {
        const struct ledger_vm *row = &c->unclear[k];
        for (size_t i = 0; i < c->count; i++) {
            struct vm_info *listed = &c->list[i];
            if (listed->id[0] != '\0' && listed->name[0] == '\0' &&
                fleet_may_belong_to_row(c->fleet, row, listed, now_ms)) {
                listed->id[0] = '\0';
                c->out->under_way += is_under_way(c, row, lease_ms);
                break;
            }
        }
    }
}

static bool is_running(const struct vm_info *listed)
{
    return listed->state == VM_RUN_PENDING || listed->state == VM_RUN_RUNNING;
}

static int adopt_the_rest(struct comparison *c, struct err *e)
{
    for (size_t i = 0; i < c->count; i++) {
        bool added = false;
        if (c->list[i].id[0] == '\0' || !is_running(&c->list[i])) {
            continue;
        }
        if (fleet_adopt(c->fleet, c->class, &c->list[i], &added, e) != 0) {
            return -1;
        }
        c->out->adopted += added;
    }
    return 0;
}

static int compare(struct comparison *c, int64_t lease_ms, struct err *e)
{
    if (vm_list(fleet_provider(c->fleet, c->class->name), &c->list, &c->count, e) != 0) {
        return -1;
    }
    int failed = c->count > 0 ? read_rows(c, e) : 0;
    if (failed == 0) {
        leave_one_to_each_unclear_row(c, lease_ms);
        failed = adopt_the_rest(c, e);
    }
    free(c->unclear);
    free(c->list);
    return failed;
}

/* The lease goes to whoever asks first, and expires: it is the pause between two comparisons. One
 * that failed may be repeated at once. */
int fleet_reconcile(struct fleet *f, const struct config_class *class, int64_t lease_ms,
                    struct fleet_comparison *out, struct err *e)
{
    struct ledger_cell before;
    char history[LEDGER_HISTORY_SIZE];
    char lease[LEDGER_CELL_NAME];
    char holder[33];
    int64_t fence;
    struct comparison c = {.fleet = f, .class = class, .out = out};
    *out = (struct fleet_comparison){.done = false};
    random_hex(holder, sizeof holder / 2);
    if (read_cell(f, class->name, history, &before, e) != 0) {
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    (void)snprintf(lease, sizeof lease, "reconcile/%.180s", before.name);
    if (ledger_lease(f->ledger, lease, holder, lease_ms / PAUSE_SHARE, &out->done, &fence, e) !=
        0) {
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    if (!out->done) {
        return 0;
    }
    if (compare(&c, lease_ms, e) != 0) {
        struct err ignored = {0};
        (void)!ledger_lease_release(f->ledger, lease, holder, &ignored);
        return -1;
    }
    if (!fleet_comparison_is_clear(out)) {
        return 0;
    }
    out->since_ms = state_of(&before, history) == FLEET_RECONCILED_LONG_AGO
                        ? since_ms(&before, history)
                        : clock_wall_ms();
    return write_cell(f, &before, history, out->since_ms, e);
}
