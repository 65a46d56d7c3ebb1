/*
 * The VMs as their providers list them.
 *
 * A service lists a whole account and region, 50 VMs a request, most of which ended within the last
 * hour. So one listing serves all classes of a target, begins every reaper.vm_list_interval (sooner on
 * suspicion: sweep_list_soon), and is read for READ_MS a sweep until it is complete, whatever its
 * length. The sweep that completes it compares it with its rows: `fresh`. What it named without a
 * row of a launch is kept for the sweeps until the next one, `known`: a reason to ask the provider
 * again, no more. An incomplete listing is nothing. VMs of this host are listed in each sweep.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "reaper/reaper.h"

#define READ_MS 2000                    /* of a sweep, for a target */
#define READERS_MAX 10                  /* threads that list; more targets take turns */
#define LISTING_AGE_MAX_MS (15 * 60000) /* no view of the present any more */

static bool is_too_old(int64_t began_ms)
{
    return clock_mono_ms() - began_ms > LISTING_AGE_MAX_MS;
}

/* --- targets --- */

static void drop_reading(struct reaper_target *t)
{
    vm_listing_free(t->reading);
    t->reading = NULL;
}

static void drop_kept(struct reaper_target *t)
{
    for (size_t i = 0; i < t->class_count; i++) {
        free(t->kept[i].list);
        t->kept[i] = (struct reaper_vms){.count = 0};
    }
    t->has_kept = false;
}

static void free_target(struct reaper_target *t)
{
    drop_reading(t);
    drop_kept(t);
    free(t->kept);
    free((void *)t->providers);
    free(t);
}

void reaper_free_targets(struct reaper *r)
{
    for (size_t i = 0; i < r->target_count; i++) {
        free_target(r->targets[i]);
    }
    free((void *)r->targets);
    r->targets = NULL;
    r->target_count = 0;
}

static bool is_target_of(const struct reaper_target *t, struct vm_provider *const *providers,
                         size_t n, int64_t fence)
{
    bool same = t->fence == fence && t->class_count == n;
    for (size_t i = 0; same && i < n; i++) {
        same = t->providers[i] == providers[i];
    }
    return same;
}

static struct reaper_target *find_target(struct reaper *r, struct vm_provider *const *providers,
                                         size_t n, int64_t fence)
{
    for (size_t i = 0; i < r->target_count; i++) {
        if (is_target_of(r->targets[i], providers, n, fence)) {
            return r->targets[i];
        }
    }
    struct reaper_target *t = calloc(1, sizeof *t);
    ASSERT(t != NULL);
    t->class_count = n;
    t->fence = fence;
    t->providers = calloc(n, sizeof(struct vm_provider *));
    t->kept = calloc(n, sizeof *t->kept);
    r->targets = (struct reaper_target **)reallocarray((void *)r->targets, r->target_count + 1,
                                                       sizeof(struct reaper_target *));
    ASSERT(t->providers != NULL && t->kept != NULL && r->targets != NULL);
    for (size_t i = 0; i < n; i++) {
        t->providers[i] = providers[i];
    }
    r->targets[r->target_count++] = t;
    return t;
}

/* Those of another lease, or of classes that are configured no more. */
static void drop_unused_targets(struct reaper *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->target_count; i++) {
        if (r->targets[i]->used) {
            r->targets[i]->used = false;
            r->targets[kept++] = r->targets[i];
        } else {
            free_target(r->targets[i]);
        }
    }
    r->target_count = kept;
}

/* The target of that class and of those after it that are listed together with it. */
static void assign_target(struct sweep *s, size_t first)
{
    struct vm_provider **together = calloc(s->listing_count, sizeof(struct vm_provider *));
    size_t n = 0;
    ASSERT(together != NULL);
    for (size_t i = first; i < s->listing_count; i++) {
        struct sweep_listing *m = &s->listings[i];
        if (m->target == NULL && vm_listed_together(s->listings[first].provider, m->provider)) {
            m->place = n;
            together[n++] = m->provider;
        }
    }
    struct reaper_target *t =
        find_target(s->reaper, together, n, sweep_lease_of(s, s->listings[first].provider)->fence);
    for (size_t i = first; i < s->listing_count; i++) {
        struct sweep_listing *m = &s->listings[i];
        if (m->target == NULL && m->place < n && together[m->place] == m->provider) {
            m->target = t;
        }
    }
    t->used = true;
    free((void *)together);
}

/* --- reading --- */

static void begin_listing(const struct sweep *s, struct reaper_target *t)
{
    t->reading = vm_listing_new(t->providers, t->class_count);
    t->reading_began_ms = clock_mono_ms();
    t->reading_began_wall_ms = s->now_ms;
    t->due_ms = t->reading_began_ms + s->config->reaper.vm_list_interval_ms;
}

/* A page that was throttled, or got no response, is asked for again; a cursor that is refused leads
 * nowhere. */
static void reading_failed(struct reaper_target *t, const char *class_name, const struct err *e)
{
    t->failed = true;
    log_warn("vm_list_failed", LOG_STR("class", class_name), LOG_ERR(e),
             LOG_STR("action",
                     "this sweep skips the checks that need the VM list of the class, and "
                     "of those that are listed with it"));
    if ((e->class != ERR_THROTTLED && e->class != ERR_RETRY) || is_too_old(t->reading_began_ms)) {
        drop_reading(t);
        t->due_ms = 0; /* the next sweep begins a new one */
    }
}

/* What a sweep reads of one target's listing. */
struct reading {
    const struct sweep_listing *of; /* the first of its classes */
    struct sweep_call call;
    int64_t pages; /* before */
    bool complete;
    int rc;
    struct err e;
};

/* The targets that are read side by side: one whose calls hang does not keep the others waiting. */
struct readings {
    struct reading *list;
    size_t count;
    _Atomic size_t next;
};

/* Whether the target is read in this sweep. */
static bool begin_reading(struct sweep *s, const struct sweep_listing *m, struct reading *r)
{
    struct reaper_target *t = m->target;
    t->fresh = false;
    t->failed = false;
    if (t->reading == NULL && !vm_host_bound(m->provider) && clock_mono_ms() < t->due_ms) {
        return false;
    }
    *r = (struct reading){.of = m};
    if (!sweep_begin_provider_call(s, m->provider, &r->call)) {
        t->failed = true;
        return false;
    }
    if (t->reading == NULL) {
        begin_listing(s, t);
    }
    r->pages = vm_listing_pages(t->reading);
    return true;
}

static void *read_until_none_is_left(void *arg)
{
    struct readings *all = arg;
    for (size_t i = all->next++; i < all->count; i = all->next++) {
        struct reading *r = &all->list[i];
        struct vm_listing *listing = r->of->target->reading;
        r->rc = vm_listing_read(listing, clock_mono_ms() + READ_MS, &r->complete, &r->e);
    }
    return NULL;
}

static void end_reading(struct sweep *s, struct reading *r)
{
    struct reaper_target *t = r->of->target;
    metric_add(metrics_counter("mayfly_reaper_vm_list_pages_total", ""),
               vm_listing_pages(t->reading) - r->pages);
    sweep_end_call(s, &r->call, r->rc, &r->e);
    if (r->rc != 0) {
        reading_failed(t, r->of->class->name, &r->e);
    } else if (r->complete) {
        t->fresh = true;
    } else if (is_too_old(t->reading_began_ms)) {
        (void)err_set(&r->e, ERR_PERMANENT, 0,
                      "the list was not complete after %d minutes: raise limits.list_rate, or "
                      "find out why it is so long",
                      LISTING_AGE_MAX_MS / 60000);
        reading_failed(t, r->of->class->name, &r->e);
    }
}

/* This thread reads too, so that it goes on without others. */
static void read_targets(struct sweep *s)
{
    struct readings all = {.list = calloc(s->listing_count + 1, sizeof(struct reading))};
    struct threads helpers = {0};
    struct err ignored = {0};
    ASSERT(all.list != NULL);
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        all.count += m->place == 0 && begin_reading(s, m, &all.list[all.count]);
    }
    size_t more = all.count < READERS_MAX ? all.count : READERS_MAX;
    if (more > 1) { /* else, or without them, one target after another */
        (void)!threads_start(&helpers, more - 1, "a thread that lists VMs", read_until_none_is_left,
                             &all, &ignored);
    }
    (void)read_until_none_is_left(&all);
    threads_join(&helpers);
    for (size_t i = 0; i < all.count; i++) {
        end_reading(s, &all.list[i]);
    }
    free(all.list);
}

/* --- what the tasks see --- */

static void show_class(struct sweep_listing *m)
{
    const struct reaper_target *t = m->target;
    if (t->fresh) {
        m->list = vm_listing_vms(t->reading, m->place, &m->count);
        m->began_ms = t->reading_began_wall_ms;
    } else if (t->has_kept && !is_too_old(t->kept_began_ms)) {
        m->list = t->kept[m->place].list;
        m->count = t->kept[m->place].count;
    }
    m->fresh = t->fresh;
    m->known = t->fresh || (!t->failed && t->has_kept && !is_too_old(t->kept_began_ms));
    m->failed = t->failed;
}

void sweep_list_vms(struct sweep *s)
{
    s->listings = calloc(s->config->place_count + 1, sizeof s->listings[0]);
    ASSERT(s->listings != NULL);
    for (size_t i = 0; i < s->config->place_count; i++) {
        const struct config_class *class = s->config->places[i];
        struct vm_provider *p = fleet_provider(s->reaper->fleet, class->name);
        if (p != NULL && sweep_holds_lease_for(s, p)) {
            s->listings[s->listing_count++] = (struct sweep_listing){.class = class, .provider = p};
        }
    }
    for (size_t i = 0; i < s->listing_count; i++) {
        if (s->listings[i].target == NULL) {
            assign_target(s, i);
        }
    }
    read_targets(s);
    for (size_t i = 0; i < s->listing_count; i++) {
        show_class(&s->listings[i]);
    }
    drop_unused_targets(s->reaper);
}

const struct sweep_listing *sweep_class_of(const struct sweep *s, const struct ledger_vm *vm)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        if (config_place_is_of(s->listings[i].class, vm->class_name, vm->target)) {
            return &s->listings[i];
        }
    }
    return NULL;
}

const struct sweep_listing *sweep_listing_of(const struct sweep *s, const struct ledger_vm *vm)
{
    const struct sweep_listing *m = sweep_class_of(s, vm);
    return m != NULL && m->known ? m : NULL;
}

void sweep_list_soon(const struct sweep *s, const struct sweep_listing *m)
{
    struct reaper_target *t = m->target;
    int64_t soon_ms = t->reading_began_ms + s->config->reaper.confirm_after_ms;
    t->due_ms = soon_ms < t->due_ms ? soon_ms : t->due_ms;
}

/* --- what the next sweeps see --- */

/* One whose row a recent sweep saw was an orphan in this sweep, if at all. */
static void keep_unmatched(const struct sweep *s, const struct sweep_listing *m)
{
    struct reaper_vms *kept = &m->target->kept[m->place];
    for (size_t i = 0; i < m->count; i++) {
        const struct ledger_vm *row = sweep_row_of(s, &m->list[i]);
        if (row == NULL ? reaper_recent_row(s->reaper, m->list[i].id) == NULL
                        : ledger_vm_is_adopted(row)) {
            kept->list = reallocarray(kept->list, kept->count + 1, sizeof *kept->list);
            ASSERT(kept->list != NULL);
            kept->list[kept->count++] = m->list[i];
        }
    }
}

void sweep_keep_listings(struct sweep *s)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        if (s->listings[i].fresh && s->listings[i].place == 0) {
            drop_kept(s->listings[i].target);
        }
    }
    for (size_t i = 0; i < s->listing_count; i++) {
        if (s->listings[i].fresh) {
            keep_unmatched(s, &s->listings[i]);
        }
    }
    for (size_t i = 0; i < s->listing_count; i++) {
        struct reaper_target *t = s->listings[i].target;
        if (t->fresh) {
            t->fresh = false;
            t->has_kept = true;
            t->kept_began_ms = t->reading_began_ms;
            drop_reading(t);
        }
        s->listings[i].list = NULL;
    }
}

/* --- the rows of the last sweeps -------------------------------------------------------------- */

/* A VM without a row may be one whose row ended a moment ago, since lists lag; its former row, which is
 * `gone`, is found by its name. A row that is not in the ledger at all was lost. */

static int compare_ids(const void *a, const void *b)
{
    const struct reaper_row *x = a;
    const struct reaper_row *y = b;
    return strcmp(x->vm_id, y->vm_id);
}

const struct reaper_row *reaper_recent_row(const struct reaper *r, const char *vm_id)
{
    struct reaper_row key;
    if (r->row_count == 0 || !slice_to_cstr(slice_of(vm_id), key.vm_id, sizeof key.vm_id)) {
        return NULL;
    }
    return bsearch(&key, r->rows, r->row_count, sizeof *r->rows, compare_ids);
}

/* The newer one of two with the same id stays. */
static size_t drop_doubles(struct reaper_row *rows, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && compare_ids(&rows[kept - 1], &rows[i]) == 0) {
            if (rows[i].seen_ms > rows[kept - 1].seen_ms) {
                rows[kept - 1] = rows[i];
            }
        } else {
            rows[kept++] = rows[i];
        }
    }
    return kept;
}

void sweep_remember_rows(struct sweep *s)
{
    struct reaper *r = s->reaper;
    int64_t now_ms = clock_mono_ms();
    struct reaper_row *all = reallocarray(NULL, r->row_count + s->vm_count + 1, sizeof *all);
    size_t n = 0;
    ASSERT(all != NULL);
    for (size_t i = 0; i < r->row_count; i++) {
        if (now_ms - r->rows[i].seen_ms < s->config->reaper.startup_timeout_ms) {
            all[n++] = r->rows[i];
        }
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (vm->vm_id[0] != '\0') {
            all[n] = (struct reaper_row){.seen_ms = now_ms};
            memcpy(all[n].vm_id, vm->vm_id, sizeof all[n].vm_id);
            memcpy(all[n++].name, vm->name, sizeof all[n].name);
        }
    }
    qsort(all, n, sizeof *all, compare_ids);
    free(r->rows);
    r->rows = all;
    r->row_count = drop_doubles(all, n);
}
