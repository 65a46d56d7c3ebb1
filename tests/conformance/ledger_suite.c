/*
 * Conformance of a ledger backend: what all parts of the suite share, and opening.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/ledger/front.h"

/* --- the clock --- */
static _Atomic int64_t now_ms;

static int64_t test_wall_ms(void)
{
    return atomic_load(&now_ms);
}

static int64_t true_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static const struct clock_source test_clock = {true_mono_us, test_wall_ms};

void clock_at(int64_t ms)
{
    atomic_store(&now_ms, START_MS + ms);
}

void clock_system(void)
{
    clock_set_source(NULL);
    ledger_set_store_clock(NULL);
}

/* --- fixture --- */
struct ledger *must_open(const char *url)
{
    struct ledger *l = NULL;
    struct err e;
    MUST(ledger_open(url, &l, &e));
    return l;
}

struct ledger *must_open_again(struct ledger *l, const char *url)
{
    struct ledger *again = conformance_is("memory") ? must_open(url) : NULL;
    ledger_close(l);
    return again != NULL ? again : must_open(url);
}

bool ledger_store_tells(const char *url)
{
    return strncmp(url, "redis", 5) == 0;
}

static bool belongs_to_one_process(void)
{
    bool one = conformance_is("memory");
    if (one) {
        print_message("[  LIMIT   ] memory belongs to one process\n");
    }
    return one;
}

int ledger_times(const char *url, int many, int least)
{
    int times = strncmp(url, "dynamodb:", 9) == 0 ? many / 10 : many;
    return times > least ? times : least;
}

int ledger_fixture_setup(void **state)
{
    struct ledger_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    clock_set_source(&test_clock);
    ledger_set_store_clock(test_wall_ms);
    clock_at(0);
    conformance_store_init(&f->store);
    f->l = must_open(f->store.url);
    *state = f;
    return 0;
}

int ledger_fixture_teardown(void **state)
{
    struct ledger_fixture *f = *state;
    ledger_close(f->l);
    conformance_store_fini(&f->store);
    clock_system();
    free(f);
    return 0;
}

/* --- deliveries --- */
static struct job_event delivery(int64_t job_id, enum job_action action, const char *status)
{
    struct job_event ev = {.action = action,
                           .job.id = job_id,
                           .job.run_id = 7000 + job_id,
                           .job.run_attempt = 1,
                           .job.installation_id = 99,
                           .job.created_ms = START_MS - 5000,
                           .job.repository = "octo/app",
                           .job.organization = "octo",
                           .job.name = "build",
                           .job.workflow = "CI",
                           .job.labels = "self-hosted,microvm",
                           .job.class_name = "small"};
    (void)snprintf(ev.delivery, sizeof ev.delivery, "guid-%lld-%s", (long long)job_id,
                   job_action_name(action));
    (void)snprintf(ev.status, sizeof ev.status, "%s", status);
    return ev;
}

struct job_event queued(int64_t job_id)
{
    return delivery(job_id, JOB_ACTION_QUEUED, "queued");
}

struct job_event held(int64_t job_id)
{
    return delivery(job_id, JOB_ACTION_QUEUED, "waiting");
}

struct job_event waiting(int64_t job_id)
{
    return delivery(job_id, JOB_ACTION_WAITING, "waiting");
}

struct job_event in_progress(int64_t job_id, const char *runner)
{
    struct job_event ev = delivery(job_id, JOB_ACTION_IN_PROGRESS, "in_progress");
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    ev.runner_id = 4242;
    return ev;
}

struct job_event completed(int64_t job_id, const char *runner, const char *conclusion)
{
    struct job_event ev = delivery(job_id, JOB_ACTION_COMPLETED, "completed");
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "%s", conclusion);
    ev.runner_id = runner[0] != '\0' ? 4242 : 0;
    return ev;
}

/* The effect carries the VM's row as it stands in the store after the step. */
static void must_be_as_stored(struct ledger *l, const struct ledger_vm *vm)
{
    struct ledger_vm stored = must_see_vm(l, vm->name);
    assert_int_equal(vm->state, stored.state);
    assert_int_equal(vm->job_id, stored.job_id);
    assert_int_equal(vm->runner_id, stored.runner_id);
    assert_int_equal(vm->deadline_ms, stored.deadline_ms);
    assert_int_equal(vm->ending_ms, stored.ending_ms);
    assert_string_equal(vm->provider, stored.provider);
    assert_string_equal(vm->class_name, stored.class_name);
    assert_string_equal(vm->host, stored.host);
    assert_string_equal(vm->vm_id, stored.vm_id);
    assert_string_equal(vm->end_reason, stored.end_reason);
}

struct ledger_effect must_apply(struct ledger *l, struct job_event ev)
{
    struct ledger_effect effect;
    struct err e;
    MUST(ledger_apply_event(l, &ev, SCOPE, &effect, &e));
    if (effect.vm.name[0] != '\0') {
        must_be_as_stored(l, &effect.vm);
    }
    return effect;
}

struct ledger_job must_get(struct ledger *l, int64_t job_id)
{
    struct ledger_job job;
    struct err e;
    MUST(ledger_job_get(l, job_id, &job, &e));
    return job;
}

/* --- VMs --- */
struct ledger_caps wide_caps(void)
{
    return (struct ledger_caps){.fleet = 1000000, .class_max = 1000000};
}

struct ledger_reserve ask(const struct launch_request *request, struct ledger_caps caps)
{
    return (struct ledger_reserve){.request = request,
                                   .scope = SCOPE,
                                   .caps = caps,
                                   .deployment = "test",
                                   .provider = "qemu",
                                   .host = "box1"};
}

struct ledger_reservation must_reserve(struct ledger *l, struct job_event ev,
                                       struct ledger_caps caps)
{
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = ask(&request, caps);
    struct ledger_reservation out;
    struct err e;
    MUST(ledger_reserve(l, &r, &out, &e));
    return out;
}

struct ledger_vm must_get_vm(struct ledger *l, int64_t job_id)
{
    struct ledger_reservation r = must_reserve(l, queued(job_id), wide_caps());
    assert_string_equal(ledger_outcome_name(r.outcome), "reserved");
    return r.vm;
}

struct ledger_vm must_see_vm(struct ledger *l, const char *name)
{
    struct ledger_vm vm;
    struct err e;
    MUST(ledger_vm_get(l, name, &vm, &e));
    return vm;
}

struct ledger_advance step(const char *vm, enum ledger_vm_state to)
{
    struct ledger_advance a = {.vm = vm, .to = to};
    if (to == VM_REGISTERED) {
        a.runner_id = 12;
    }
    if (to == VM_LAUNCHED) {
        a.vm_id = "vm-1";
        a.deadline_ms = START_MS + HOUR_MS;
    }
    if (to == VM_ENDING) {
        a.reason = "the test says so";
    }
    return a;
}

bool must_advance(struct ledger *l, const char *vm, enum ledger_vm_state to)
{
    struct ledger_advance a = step(vm, to);
    bool changed;
    struct err e;
    MUST(ledger_vm_advance(l, &a, &changed, &e));
    return changed;
}

void bring(struct ledger *l, const struct ledger_vm *vm, enum ledger_vm_state to)
{
    for (int s = VM_REGISTERED; s <= (int)to; s++) {
        assert_true(must_advance(l, vm->name, (enum ledger_vm_state)s));
    }
}

/* --- counts --- */
struct ledger_balance must_balance(struct ledger *l)
{
    struct ledger_balance *all = NULL;
    struct ledger_balance found = {.demand = 0};
    size_t n = 0;
    struct err e;
    MUST(ledger_balances(l, &all, &n, &e));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i].scope, SCOPE) == 0 && strcmp(all[i].class_name, "small") == 0) {
            found = all[i];
        }
    }
    free(all);
    return found;
}

int64_t slots_used(struct ledger *l)
{
    struct ledger_caps caps = wide_caps();
    struct ledger_capacity room;
    struct err e;
    MUST(ledger_capacity(l, "small", &caps, &room, &e));
    return room.fleet_used;
}

int lines_of(struct ledger *l, int64_t job_id, const char *what, const char *detail)
{
    struct ledger_entry *lines = NULL;
    size_t n = 0;
    int found = 0;
    struct err e;
    MUST(ledger_timeline(l, job_id, &lines, &n, &e));
    for (size_t i = 0; i < n; i++) {
        bool same = detail[0] == '\0' || strcmp(lines[i].detail, detail) == 0;
        found += strcmp(lines[i].what, what) == 0 && same ? 1 : 0;
    }
    free(lines);
    return found;
}

/* --- consistency --- */
struct tally {
    int64_t jobs[5];
    int64_t vms[6];
};

static struct tally count_rows(struct ledger *l, int64_t max_job)
{
    struct tally t = {.jobs = {0}};
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_vm_list(l, ~0U, "", 1000000, &vms, &n, &e));
    for (size_t i = 0; i < n; i++) {
        t.vms[vms[i].state]++;
    }
    free(vms);
    for (int64_t id = 1; id <= max_job; id++) {
        struct ledger_job job;
        if (ledger_job_get(l, id, &job, &e) == 0) {
            t.jobs[job.state]++;
        } else {
            assert_string_equal(err_class_name(e.class), err_class_name(ERR_NOT_FOUND));
        }
    }
    return t;
}

static struct tally ask_counts(struct ledger *l)
{
    struct tally t = {.jobs = {0}};
    struct ledger_count *counts = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_counts(l, &counts, &n, &e));
    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s < COUNT_OF(t.jobs); s++) {
            t.jobs[s] += counts[i].jobs[s];
        }
        for (size_t s = 0; s < COUNT_OF(t.vms); s++) {
            t.vms[s] += counts[i].vms[s];
        }
    }
    free(counts);
    return t;
}

void must_be_consistent(struct ledger *l, int64_t max_job)
{
    struct tally rows = count_rows(l, max_job);
    struct tally told = ask_counts(l);
    struct ledger_balance *b = NULL;
    size_t n = 0;
    int64_t demand = 0;
    int64_t supply = 0;
    struct err e;
    assert_memory_equal(&rows, &told, sizeof rows);
    MUST(ledger_balances(l, &b, &n, &e));
    for (size_t i = 0; i < n; i++) {
        demand += b[i].demand;
        supply += b[i].supply;
    }
    free(b);
    assert_int_equal(demand, rows.jobs[JOB_WAITING]);
    assert_int_equal(supply,
                     rows.vms[VM_RESERVED] + rows.vms[VM_REGISTERED] + rows.vms[VM_LAUNCHED]);
    assert_int_equal(slots_used(l), supply + rows.vms[VM_BUSY] + rows.vms[VM_ENDING]);
}

/* --- opening --- */
static void open_again_finds_what_was_there(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    f->l = must_open_again(f->l, f->store.url);
    assert_string_equal(must_see_vm(f->l, vm.name).class_name, "small");
    assert_int_equal(must_get(f->l, 1).state, JOB_WAITING);
    must_be_consistent(f->l, 1);
}

static void open_unknown_scheme_is_refused_without_telling_the_rest(void **state)
{
    struct ledger *l = NULL;
    struct err e;
    (void)state;
    must_fail(ledger_open("nosuch://user:hush@host/1", &l, &e), &e, ERR_PERMANENT);
    assert_null(strstr(e.message, "hush"));
    assert_non_null(strstr(e.message, "nosuch"));
    must_fail(ledger_open("/no/scheme", &l, &e), &e, ERR_PERMANENT);
    assert_null(l);
}

static void ping_answers(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    MUST(ledger_ping(f->l, &e));
}

static const struct CMUnitTest open_tests[] = {
    LEDGER_TEST(open_again_finds_what_was_there),
    LEDGER_TEST(open_unknown_scheme_is_refused_without_telling_the_rest),
    LEDGER_TEST(ping_answers),
};

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        const struct CMUnitTest *tests;
        size_t count;
    } parts[] = {
        {"ledger", open_tests, COUNT_OF(open_tests)},
        {"ledger jobs", ledger_job_tests, ledger_job_test_count},
        {"ledger order", ledger_order_tests, ledger_order_test_count},
        {"ledger observer", ledger_observer_tests, ledger_observer_test_count},
        {"ledger VMs", ledger_vm_tests, ledger_vm_test_count},
        {"ledger reserve", ledger_reserve_tests, ledger_reserve_test_count},
        {"ledger shared", ledger_shared_tests, ledger_shared_test_count},
        {"ledger cells", ledger_cell_tests, ledger_cell_test_count},
        {"ledger for people", ledger_people_tests, ledger_people_test_count},
        {"ledger targets", ledger_target_tests, ledger_target_test_count},
        {"ledger totals", ledger_total_tests, ledger_total_test_count},
        {"ledger model", ledger_model_tests, ledger_model_test_count},
        {"ledger races", ledger_race_tests, ledger_race_test_count},
    };
    int failed = 0;
    int child = conformance_start(argc, argv, ledger_children);
    if (child >= 0) {
        return child;
    }
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        failed +=
            _cmocka_run_group_tests(parts[i].name, parts[i].tests, parts[i].count, NULL, NULL);
    }
    if (!belongs_to_one_process()) {
        failed += _cmocka_run_group_tests("ledger processes", ledger_process_tests,
                                          ledger_process_test_count, NULL, NULL);
    }
    return failed == 0 ? 0 : 1;
}
