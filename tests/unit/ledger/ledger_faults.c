#include "tests/unit/ledger/ledger_faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/job/vm_name.h"
#include "common/ledger/front.h"
#include "tests/unit/ledger/ledger_fault_steps.h"

/* --- clock and names --- */
static int64_t wall_ms;

static int64_t wall_now(void)
{
    return wall_ms;
}

static int64_t mono_now_us(void)
{
    struct timespec ts;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Of the VMs. */
static int named;

void __wrap_vm_name_make(const char *deployment, const char *class_name, char out[VM_NAME_SIZE]);

void __wrap_vm_name_make(const char *deployment, const char *class_name, char out[VM_NAME_SIZE])
{
    (void)snprintf(out, VM_NAME_SIZE, "mf-%s-%s-%d", deployment, class_name, named++);
}

/* --- one attempt --- */
static struct ledger *begin(const struct faults_store *s, const struct fault_step *step)
{
    static const struct clock_source fixed = {.mono_us = mono_now_us, .wall_ms = wall_now};
    wall_ms = FAULTS_WALL_MS;
    clock_set_source(&fixed);
    ledger_set_store_clock(wall_now);
    struct ledger *l = s->open();
    named = 0;
    if (step->prepare != NULL) {
        step->prepare(l);
    }
    wall_ms += step->later_ms;
    return l;
}

static void end(const struct faults_store *s, struct ledger *l)
{
    s->close(l);
    ledger_set_store_clock(NULL);
    clock_set_source(NULL);
}

struct attempt {
    int rc;
    struct faults_seen seen;
    union fault_output out;
    struct err e;
};

/* Attempts of one number make the same names. fault: the request that fails; 0: none. */
static void attempt_step(const struct faults_store *s, struct ledger *l,
                         const struct fault_step *step, int number, int fault, struct attempt *a)
{
    memset(a, 0, sizeof *a);
    memset(&a->out, 0xa5, sizeof a->out);
    named = 1000 * number;
    (void)s->arm(fault);
    a->rc = step->run(l, step, &a->out, &a->e);
    a->seen = s->arm(0);
    if (a->rc == 0 && step->lists) {
        free(a->out.list.items);
    }
}

static void must_have_failed(const struct faults_store *s, const struct fault_step *step, int fault,
                             const struct attempt *a)
{
    union fault_output untouched;
    memset(&untouched, 0xa5, sizeof untouched);
    if (a->rc != -1 || a->e.class != s->fails || a->e.message[0] == '\0') {
        fail_msg("%s, request %d: returned %d: %s: \"%s\"", step->name, fault, a->rc,
                 err_class_name(a->e.class), a->e.message);
    }
    if (memcmp(&a->out, &untouched, sizeof untouched) != 0) {
        fail_msg("%s, request %d: the outputs of a step that failed were changed", step->name,
                 fault);
    }
}

static void must_have_succeeded(const struct fault_step *step, int fault, const struct attempt *a)
{
    if (a->rc != 0) {
        fail_msg("%s, request %d: %s: %s", step->name, fault, err_class_name(a->e.class),
                 a->e.message);
    }
}

static void must_be(const struct fault_step *step, int fault, const char *expected,
                    const char *found)
{
    const char *line = found;
    if (strcmp(expected, found) == 0) {
        return;
    }
    for (size_t i = 0; expected[i] == found[i]; i++) {
        line = found[i] == '\n' ? found + i + 1 : line;
    }
    fail_msg("%s, request %d: the rows are not what they should be: %.300s\n; expected: %.300s",
             step->name, fault, line, expected + (line - found));
}

static void must_be_stored(const struct faults_store *s, const struct fault_step *step, int fault,
                           const char *expected)
{
    char *found = s->dump();
    must_be(step, fault, expected, found);
    free(found);
}

/* --- what runs without a failure leave --- */
struct runs {
    char *before; /* NULL: not yet run */
    char *once;
    char *twice;
    int second;              /* what the second one returned */
    struct faults_seen seen; /* of the first */
};

static const struct runs *run_without_failure(const struct faults_store *s,
                                              const struct fault_step *step)
{
    static struct runs known[FAULT_STEPS_MAX];
    struct runs *r = &known[step - fault_steps];
    struct attempt a;
    if (r->before != NULL) {
        return r;
    }
    struct ledger *l = begin(s, step);
    r->before = s->dump();
    attempt_step(s, l, step, 1, 0, &a);
    must_have_succeeded(step, 0, &a);
    if (step->reserves) {
        assert_int_equal(a.out.reservation.outcome, step->to);
    }
    r->seen = a.seen;
    assert_true(r->seen.all > 0);
    r->once = s->dump();
    attempt_step(s, l, step, 2, 0, &a);
    r->second = a.rc;
    r->twice = s->dump();
    end(s, l);
    return r;
}

static bool is_in_parts(const struct faults_store *s, const struct fault_step *step)
{
    return (s->in_parts && step->in_parts) || (s->tokens_apart && step->tokens);
}

/* --- requests that are refused --- */
static void refuse_each(const struct faults_store *s, const struct fault_step *step)
{
    const struct runs *r = run_without_failure(s, step);
    struct attempt a;
    struct ledger *l = begin(s, step);
    for (int n = 1;; n++) {
        attempt_step(s, l, step, 1, n, &a);
        if (a.seen.all < n) {
            break;
        }
        must_have_failed(s, step, n, &a);
        if (!is_in_parts(s, step)) {
            must_be_stored(s, step, n, r->before);
        }
    }
    must_have_succeeded(step, 0, &a);
    must_be_stored(s, step, 0, r->once);
    end(s, l);
}

/* --- answers that are lost --- */
static void repeat_lost(const struct faults_store *s, struct ledger *l,
                        const struct fault_step *step, const struct runs *r, int n)
{
    struct attempt a;
    char *found = s->dump();
    bool nothing_done = strcmp(found, r->before) == 0;
    free(found);
    attempt_step(s, l, step, nothing_done ? 1 : 2, 0, &a);
    assert_int_equal(a.rc, nothing_done ? 0 : r->second);
    must_be_stored(s, step, n, nothing_done ? r->once : r->twice);
}

static void lose_each(const struct faults_store *s, const struct fault_step *step)
{
    const struct runs *r = run_without_failure(s, step);
    for (int n = 1; n <= r->seen.writes; n++) {
        struct attempt a;
        struct ledger *l = begin(s, step);
        attempt_step(s, l, step, 1, n, &a);
        if (a.seen.writes < n) {
            must_have_succeeded(step, n, &a); /* scripts are known by now */
        } else if (s->asks_again) {
            must_have_succeeded(step, n, &a);
            must_be_stored(s, step, n, r->once);
        } else {
            must_have_failed(s, step, n, &a);
            if (!is_in_parts(s, step)) {
                repeat_lost(s, l, step, r, n);
            }
        }
        end(s, l);
    }
}

/* --- all steps --- */
static void each_step(const struct faults_store *s,
                      void (*check)(const struct faults_store *s, const struct fault_step *step))
{
    size_t one_in = s->one_in > 0 ? s->one_in : 1;
    for (size_t i = random_below(one_in); i < fault_step_count; i += one_in) {
        const struct fault_step *step = &fault_steps[i];
        if ((s->repairs || !step->only_where_repaired) && (!s->slow || !step->slow)) {
            check(s, step);
        }
    }
}

void faults_refuse(const struct faults_store *s)
{
    each_step(s, refuse_each);
}

void faults_lose(const struct faults_store *s)
{
    each_step(s, lose_each);
}
