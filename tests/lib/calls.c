#include "tests/lib/calls.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "tests/lib/cmocka.h"

#define PLANS_MAX 64
#define WAIT_S 30

struct record {
    const char *function; /* static */
    char *args;
    bool done;
};

struct plan {
    struct call_plan p;
    int seen; /* calls that it applied to */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct record *records; /* the lock protects the variables below */
static size_t record_count;
static struct plan plans[PLANS_MAX];
static size_t plan_count;

void calls_reset(void)
{
    calls_replan(NULL, 0);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < record_count; i++) {
        free(records[i].args);
    }
    free(records);
    records = NULL;
    record_count = 0;
    pthread_mutex_unlock(&lock);
}

static void add_plan(const struct call_plan *p)
{
    ASSERT(plan_count < PLANS_MAX);
    plans[plan_count++] = (struct plan){.p = *p};
}

void calls_plan(const struct call_plan *p)
{
    pthread_mutex_lock(&lock);
    add_plan(p);
    pthread_mutex_unlock(&lock);
}

void calls_replan(const struct call_plan *now, size_t n)
{
    pthread_mutex_lock(&lock);
    plan_count = 0;
    for (size_t i = 0; i < n; i++) {
        add_plan(&now[i]);
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* --- looking back --- */
static bool fits(const struct record *r, const char *function, const char *with)
{
    return strcmp(r->function, function) == 0 && (with == NULL || strstr(r->args, with) != NULL);
}

static size_t count(const char *function, const char *with, bool done)
{
    size_t n = 0;
    for (size_t i = 0; i < record_count; i++) {
        n += fits(&records[i], function, with) && (records[i].done || !done);
    }
    return n;
}

static size_t count_locked(const char *function, const char *with, bool done)
{
    pthread_mutex_lock(&lock);
    size_t n = count(function, with, done);
    pthread_mutex_unlock(&lock);
    return n;
}

size_t calls_count(const char *function, const char *with)
{
    return count_locked(function, with, false);
}

size_t calls_done(const char *function, const char *with)
{
    return count_locked(function, with, true);
}

void calls_wait_count(const char *function, const char *with, size_t n)
{
    struct timespec until;
    int rc = 0;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&lock);
    while (count(function, with, false) < n && rc == 0) {
        rc = pthread_cond_timedwait(&changed, &lock, &until);
    }
    size_t there = count(function, with, false);
    pthread_mutex_unlock(&lock);
    if (there < n) {
        fail_msg("%zu of %zu calls of %s(%s)", there, n, function, with != NULL ? with : "");
    }
}

const char *calls_args(const char *function, const char *with, size_t n)
{
    const char *args = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < record_count && n > 0; i++) {
        if (fits(&records[i], function, with) && --n == 0) {
            args = records[i].args;
        }
    }
    pthread_mutex_unlock(&lock);
    if (args == NULL) {
        fail_msg("there was no such call of %s(%s)", function, with != NULL ? with : "");
    }
    return args;
}

void calls_assert(const char *pattern)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < record_count; i++) {
        buf_printf(&text, "%s %s\n", records[i].function, records[i].args);
    }
    pthread_mutex_unlock(&lock);
    if (fnmatch(pattern, text.data, 0) != 0) {
        assert_string_equal(text.data, pattern);
    }
    buf_fini(&text);
}

/* --- a call --- */
static size_t add_record(const char *function, char *args)
{
    records = reallocarray(records, record_count + 1, sizeof *records);
    ASSERT(records != NULL);
    records[record_count] = (struct record){.function = function, .args = args};
    pthread_cond_broadcast(&changed);
    return record_count++;
}

/* Finds the plans for the call and counts it. */
static size_t plans_for(const struct record *r, struct call_plan *out)
{
    size_t n = 0;
    for (size_t i = 0; i < plan_count; i++) {
        struct plan *plan = &plans[i];
        if (!fits(r, plan->p.function, plan->p.with)) {
            continue;
        }
        int place = plan->seen++ - plan->p.skip;
        if (place >= 0 && (plan->p.times == 0 || place < plan->p.times)) {
            out[n++] = plan->p;
        }
    }
    return n;
}

static bool held(const char *function)
{
    for (size_t i = 0; i < plan_count; i++) {
        if (plans[i].p.waits && strcmp(plans[i].p.function, function) == 0) {
            return true;
        }
    }
    return false;
}

static void wait_while_held(const char *function)
{
    pthread_mutex_lock(&lock);
    while (held(function)) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static int fail_as_planned(const struct call *c, struct err *e)
{
    ASSERT(e != NULL);
    (void)err_set(e, c->fails, c->code, "scripted");
    e->retry_after_ms = c->retry_after_ms;
    e->of_this_host = c->of_this_host;
    return err_said_by(e, c->from);
}

struct call call_begin(const char *function, struct err *e, const char *format, ...)
{
    struct call_plan mine[PLANS_MAX];
    struct call c = {.goes_on = true, .fails = ERR_NONE};
    char *args = NULL;
    va_list values;
    va_start(values, format);
    ASSERT(vasprintf(&args, format, values) >= 0);
    va_end(values);
    pthread_mutex_lock(&lock);
    c.number = add_record(function, args);
    size_t n = plans_for(&records[c.number], mine);
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++) {
        if (mine[i].happens != NULL) {
            mine[i].happens();
        }
        if (mine[i].waits) {
            wait_while_held(function);
        }
        if (mine[i].fails != ERR_NONE && c.fails == ERR_NONE) {
            c.fails = mine[i].fails;
            c.code = mine[i].code;
            c.from = mine[i].from;
            c.of_this_host = mine[i].of_this_host;
            c.retry_after_ms = mine[i].retry_after_ms;
            c.lost = mine[i].carried_out;
        }
    }
    c.goes_on = c.fails == ERR_NONE || c.lost;
    if (!c.goes_on) {
        (void)fail_as_planned(&c, e);
    }
    return c;
}

int call_end(const struct call *c, int rc, struct err *e)
{
    if (!c->goes_on) {
        return -1;
    }
    if (rc == 0 && c->lost) {
        return fail_as_planned(c, e);
    }
    pthread_mutex_lock(&lock);
    if (c->number < record_count) { /* NULL: it began before calls_reset */
        records[c->number].done = rc == 0;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}
