#include "common/ledger/job_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/ledger/list.h"

#define SOURCE_PAGE_MIN 8 /* entries that are read of one scope and class at once */

static const struct place {
    const char *name; /* in a cursor */
    enum ledger_job_index index;
    unsigned states;
    bool newest_first;
} places[] = {
    {"waiting", LEDGER_INDEX_WAITING, 1U << JOB_WAITING, false},
    {"running", LEDGER_INDEX_RUNNING, 1U << JOB_RUNNING, false},
    {"seen", LEDGER_INDEX_SEEN, 1U << JOB_SEEN, true},
    {"ended", LEDGER_INDEX_ENDED, 1U << JOB_DONE | 1U << JOB_CANCELLED, true},
};

/* An entry of an index, or the place before its first one. */
struct position {
    int64_t at_ms;
    int64_t id;
};

static struct position start_of(bool newest_first)
{
    return newest_first ? (struct position){INT64_MAX, INT64_MAX} : (struct position){0, 0};
}

static struct position position_of(const struct ledger_indexed_job *entry)
{
    return (struct position){entry->at_ms, entry->id};
}

static bool is_before(const struct position *a, const struct position *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->id < b->id;
}

/* --- one index, oldest first, for the reaper --- */
typedef bool accepts_fn(const struct ledger_job *job, const void *query);

struct walk {
    struct ledger_job_page page;
    int64_t before_ms; /* entries from here on are not wanted */
    accepts_fn *accepts;
    const void *query;
    size_t max;
};

/* Whether more entries may be wanted. */
static bool take_page(struct walk *w, const struct ledger_indexed_job *found, size_t n,
                      struct ledger_list *jobs)
{
    for (size_t i = 0; i < n && jobs->count < w->max; i++) {
        if (found[i].at_ms >= w->before_ms) {
            return false;
        }
        if (found[i].known && w->accepts(&found[i].job, w->query)) {
            *(struct ledger_job *)ledger_list_add(jobs) = found[i].job;
        }
    }
    if (n > 0) {
        w->page.after_ms = found[n - 1].at_ms;
        w->page.after_id = found[n - 1].id;
    }
    return n == w->page.max && jobs->count < w->max;
}

static int walk_index(const struct ledger_ops *ops, void *state, struct walk *w,
                      struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    bool more = w->max > 0;
    w->page.max = LEDGER_JOB_PAGE;
    while (more) {
        struct ledger_indexed_job *found = NULL;
        size_t count = 0;
        if (ops->job_page(state, &w->page, &found, &count, e) != 0) {
            free(jobs.items);
            return -1;
        }
        more = take_page(w, found, count, &jobs);
        free(found);
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

static bool waits_long(const struct ledger_job *job, const void *arg)
{
    const struct ledger_waiting *q = arg;
    return job->state == JOB_WAITING && job->waiting_ms < q->before_ms &&
           job->relaunched_ms < q->before_ms && strcmp(job->scope, q->scope) == 0 &&
           strcmp(job->facts.class_name, q->class_name) == 0;
}

/* The rows' times are the store's, and before_ms is this process's. */
int ledger_list_waiting(const struct ledger_ops *ops, void *state,
                        const struct ledger_waiting *query, struct ledger_job **out, size_t *n,
                        struct err *e)
{
    struct ledger_waiting q = *query;
    q.before_ms += ops->now(state) - clock_wall_ms();
    struct walk w = {
        .page = {.index = LEDGER_INDEX_WAITING, .scope = q.scope, .class_name = q.class_name},
        .before_ms = q.before_ms,
        .accepts = waits_long,
        .query = &q,
        .max = q.max};
    return walk_index(ops, state, &w, out, n, e);
}

static bool runs_without_news(const struct ledger_job *job, const void *arg)
{
    const struct ledger_running *q = arg;
    return job->state == JOB_RUNNING && job->updated_ms >= q->from_ms &&
           job->updated_ms < q->before_ms;
}

int ledger_list_running(const struct ledger_ops *ops, void *state,
                        const struct ledger_running *query, struct ledger_job **out, size_t *n,
                        struct err *e)
{
    struct walk w = {.page = {.index = LEDGER_INDEX_RUNNING, .after_ms = query->from_ms},
                     .before_ms = query->before_ms,
                     .accepts = runs_without_news,
                     .query = query,
                     .max = query->max};
    return walk_index(ops, state, &w, out, n, e);
}

/* --- a page for a person --- */
struct listing {
    const struct ledger_ops *ops;
    void *state;
    const struct ledger_jobs_query *query;
    const struct place *place;
    struct position at; /* the last entry that was looked at */
    struct ledger_list jobs;
    size_t looked_at;
};

static bool is_full(const struct listing *l)
{
    return l->jobs.count == l->query->max || l->looked_at >= LEDGER_JOBS_LOOKED_AT;
}

static bool fits(const struct ledger_jobs_query *q, const struct ledger_job *job)
{
    const struct job *f = &job->facts;
    return (q->class_name == NULL || strcmp(q->class_name, f->class_name) == 0) &&
           (q->repository == NULL || strcasecmp(q->repository, f->repository) == 0) &&
           (q->run_id == 0 || q->run_id == f->run_id);
}

/* The entry may be older than the row: an index may lag. */
static void look_at(struct listing *l, const struct ledger_indexed_job *entry)
{
    const struct ledger_job *job = &entry->job;
    const struct ledger_jobs_query *q = l->query;
    l->looked_at++;
    l->at = position_of(entry);
    if (entry->known && (l->place->states & q->states & 1U << job->state) != 0 && fits(q, job)) {
        *(struct ledger_job *)ledger_list_add(&l->jobs) = *job;
    }
}

/* How many entries of an index are read at once: no more than are certainly wanted, unless some are not. */
static size_t page_size(const struct listing *l)
{
    size_t wanted = l->query->max - l->jobs.count;
    const struct ledger_jobs_query *q = l->query;
    bool all = q->class_name == NULL && q->repository == NULL && q->run_id == 0 &&
               (l->place->states & ~q->states) == 0;
    return all && wanted < LEDGER_JOB_PAGE ? wanted : LEDGER_JOB_PAGE;
}

/* Of running, seen and ended jobs there is one index. *end: it has no more. */
static int list_index(struct listing *l, bool *end, struct err *e)
{
    *end = false;
    while (!*end && !is_full(l)) {
        struct ledger_indexed_job *found = NULL;
        size_t n = 0;
        size_t i = 0;
        struct ledger_job_page page = {.index = l->place->index,
                                       .after_ms = l->at.at_ms,
                                       .after_id = l->at.id,
                                       .newest_first = l->place->newest_first,
                                       .max = page_size(l)};
        if (l->ops->job_page(l->state, &page, &found, &n, e) != 0) {
            return -1;
        }
        for (; i < n && !is_full(l); i++) {
            look_at(l, &found[i]);
        }
        *end = i == n && n < page.max;
        free(found);
    }
    return 0;
}

/* Of waiting jobs each scope and class has one: the lists are merged. */
struct source {
    const struct ledger_balance *pair;
    struct position at; /* the last entry that was read */
    struct ledger_indexed_job *found;
    size_t n;
    size_t next; /* in found */
    bool read;   /* its first page */
    bool end;    /* nothing follows `found` */
};

struct merge {
    struct listing *l;
    struct source *sources; /* the one whose oldest job waits longest is the first */
    size_t count;
    size_t page;
};

static int compare_by_oldest(const void *a, const void *b)
{
    int64_t x = ((const struct source *)a)->pair->oldest_waiting_ms;
    int64_t y = ((const struct source *)b)->pair->oldest_waiting_ms;
    return (x > y) - (x < y);
}

static int read_source(const struct merge *m, struct source *s, struct err *e)
{
    struct ledger_job_page page = {.index = LEDGER_INDEX_WAITING,
                                   .scope = s->pair->scope,
                                   .class_name = s->pair->class_name,
                                   .after_ms = s->at.at_ms,
                                   .after_id = s->at.id,
                                   .max = m->page};
    struct ledger_indexed_job *found = NULL;
    size_t n = 0;
    if (m->l->ops->job_page(m->l->state, &page, &found, &n, e) != 0) {
        return -1;
    }
    free(s->found);
    s->found = found;
    s->n = n;
    s->next = 0;
    s->read = true;
    s->end = n < page.max;
    if (n > 0) {
        s->at = position_of(&found[n - 1]);
    }
    return 0;
}

static bool has_entry(const struct source *s)
{
    return s->next < s->n;
}

/* The source with the oldest entry; NULL: there is none. One whose oldest job is younger than what was found
 * is not read. */
static int find_oldest(const struct merge *m, struct source **out, struct err *e)
{
    struct source *oldest = NULL;
    for (size_t i = 0; i < m->count; i++) {
        struct source *s = &m->sources[i];
        if (!s->read && oldest != NULL &&
            oldest->found[oldest->next].at_ms < s->pair->oldest_waiting_ms) {
            break;
        }
        if (!has_entry(s) && !(s->read && s->end) && read_source(m, s, e) != 0) {
            return -1;
        }
        if (!has_entry(s)) {
            continue;
        }
        struct position mine = position_of(&s->found[s->next]);
        struct position best = oldest != NULL ? position_of(&oldest->found[oldest->next]) : mine;
        oldest = oldest == NULL || is_before(&mine, &best) ? s : oldest;
    }
    *out = oldest;
    return 0;
}

static int merge_sources(const struct merge *m, bool *end, struct err *e)
{
    *end = false;
    while (!*end && !is_full(m->l)) {
        struct source *s = NULL;
        if (find_oldest(m, &s, e) != 0) {
            return -1;
        }
        *end = s == NULL;
        if (s != NULL) {
            look_at(m->l, &s->found[s->next++]);
        }
    }
    return 0;
}

static size_t choose_sources(const struct listing *l, const struct ledger_balance *all, size_t n,
                             struct source *out)
{
    const char *class_name = l->query->class_name;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (all[i].demand > 0 &&
            (class_name == NULL || strcmp(class_name, all[i].class_name) == 0)) {
            out[count++] = (struct source){.pair = &all[i], .at = l->at};
        }
    }
    if (count > 1) {
        qsort(out, count, sizeof *out, compare_by_oldest);
    }
    return count;
}

static int list_waiting(struct listing *l, bool *end, struct err *e)
{
    struct ledger_balance *all = NULL;
    size_t n = 0;
    if (l->ops->balances(l->state, &all, &n, e) != 0) {
        return -1;
    }
    struct merge m = {.l = l, .sources = calloc(n + 1, sizeof *m.sources)};
    ASSERT(m.sources != NULL);
    m.count = choose_sources(l, all, n, m.sources);
    m.page = m.count > 0 ? l->query->max / m.count + 1 : 1;
    m.page = m.page < SOURCE_PAGE_MIN ? SOURCE_PAGE_MIN : m.page;
    m.page = m.page > LEDGER_JOB_PAGE ? LEDGER_JOB_PAGE : m.page;
    int rc = merge_sources(&m, end, e);
    for (size_t i = 0; i < m.count; i++) {
        free(m.sources[i].found);
    }
    free(m.sources);
    free(all);
    return rc;
}

/* --- cursors: "<place>.<at>.<id>" --- */
static int read_cursor(const struct ledger_jobs_query *q, size_t *place, struct position *at,
                       struct err *e)
{
    struct slice name;
    struct slice at_ms;
    struct slice rest;
    if (slice_cut(slice_of(q->after), '.', &name, &rest) && slice_cut(rest, '.', &at_ms, &rest) &&
        slice_to_int64(at_ms, &at->at_ms) && slice_to_int64(rest, &at->id) && at->at_ms >= 0 &&
        at->id >= 0) {
        for (size_t i = 0; i < COUNT_OF(places); i++) {
            if (slice_eq_cstr(name, places[i].name) && (places[i].states & q->states) != 0) {
                *place = i;
                return 0;
            }
        }
    }
    return err_set(
        e, ERR_PERMANENT, 0,
        "\"%.60s\" is not the cursor of a page of these jobs: take the one that the page "
        "before ended with",
        q->after);
}

static void write_cursor(const struct listing *l, char out[LEDGER_CURSOR_SIZE])
{
    (void)snprintf(out, LEDGER_CURSOR_SIZE, "%s.%" PRId64 ".%" PRId64, l->place->name, l->at.at_ms,
                   l->at.id);
}

static int list_place(struct listing *l, bool *end, struct err *e)
{
    if ((l->place->states & l->query->states) == 0) {
        *end = true;
        return 0;
    }
    return l->place->index == LEDGER_INDEX_WAITING ? list_waiting(l, end, e)
                                                   : list_index(l, end, e);
}

int ledger_list_jobs(const struct ledger_ops *ops, void *state,
                     const struct ledger_jobs_query *query, struct ledger_job **out, size_t *n,
                     char next[LEDGER_CURSOR_SIZE], struct err *e)
{
    struct listing l = {.ops = ops,
                        .state = state,
                        .query = query,
                        .at = start_of(places[0].newest_first),
                        .jobs = {.item_size = sizeof(struct ledger_job)}};
    size_t place = 0;
    bool end = true;
    if (query->max == 0 || query->max > LEDGER_JOBS_MAX) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: a page has 1 to %d jobs", LEDGER_JOBS_MAX);
    }
    if (query->after[0] != '\0' && read_cursor(query, &place, &l.at, e) != 0) {
        return -1;
    }
    for (; place < COUNT_OF(places); place++) {
        l.place = &places[place];
        if (list_place(&l, &end, e) != 0) {
            free(l.jobs.items);
            return -1;
        }
        if (!end) {
            break;
        }
        l.at = start_of(place + 1 < COUNT_OF(places) && places[place + 1].newest_first);
    }
    next[0] = '\0';
    if (!end) {
        write_cursor(&l, next);
    }
    *out = l.jobs.items;
    *n = l.jobs.count;
    return 0;
}
