/* A scale set's thread, turn by turn: what it requests, what it does with messages, and its trouble. The service is scripted here. */
#include <stdlib.h>

#include "reaper/scale_sets/internal.h"
#include "tests/unit/reaper/world.h"

#define SCOPE "acme#set:blue"
#define LANE "launch.small"

const char world_config[] = WORLD_CONFIG(
    "\"sources\": [{\"scale_set\": \"blue\", \"class\": \"small\", \"organization\": \"acme\"}]",
    WORLD_SMALL("\"max_vms\": 6"));

/* --- the service ------------------------------------------------------------------------------ */

struct github_set_session {
    int number;
};

static struct {
    struct github_set_session session;
    struct github_set_statistics statistics;
    struct github_set_job jobs[4];
    size_t job_count;
    int64_t message_id;        /* that polls return until it is deleted; 0: none */
    enum err_class open_fails; /* for one call */
    enum err_class poll_fails;
    int64_t capacity;
    int64_t acquired;
    int opened;
    int closed;
    int deleted;
} service;

int github_set_open(struct github *g, const struct github_scale_set *set, const char *owner,
                    struct github_set_statistics *statistics, struct github_set_session **out,
                    struct err *e)
{
    (void)g;
    (void)owner;
    assert_string_equal(set->name, "blue");
    assert_string_equal(set->scope.name, "acme");
    if (service.open_fails != ERR_NONE) {
        (void)err_set(e, service.open_fails, 409, "another has it");
        service.open_fails = ERR_NONE;
        return err_said_by(e, ERR_FROM_GITHUB);
    }
    service.opened++;
    *statistics = service.statistics;
    *out = &service.session;
    return 0;
}

int github_set_poll(struct github_set_session *s, int64_t capacity, http_wait_fn *wait,
                    void *wait_arg, struct github_set_message *m, struct err *e)
{
    assert_ptr_equal(s, &service.session);
    assert_true(wait(wait_arg));
    service.capacity = capacity;
    if (service.poll_fails != ERR_NONE) {
        (void)err_set(e, service.poll_fails, 404, "gone");
        service.poll_fails = ERR_NONE;
        return err_said_by(e, ERR_FROM_GITHUB);
    }
    *m = (struct github_set_message){.id = service.message_id, .statistics = service.statistics};
    if (m->id > 0) {
        m->count = service.job_count;
        m->jobs = calloc(service.job_count + 1, sizeof *m->jobs);
        assert_non_null(m->jobs);
        memcpy(m->jobs, service.jobs, service.job_count * sizeof *m->jobs);
    }
    return 0;
}

int github_set_delete_message(struct github_set_session *s, int64_t id, struct err *e)
{
    (void)s;
    (void)e;
    assert_int_equal(id, service.message_id);
    service.message_id = 0;
    service.deleted++;
    return 0;
}

int github_set_acquire(struct github_set_session *s, const int64_t *ids, size_t n, struct err *e)
{
    (void)s;
    (void)e;
    assert_int_equal(n, 1);
    service.acquired = ids[0];
    return 0;
}

void github_set_message_fini(struct github_set_message *m)
{
    free(m->jobs);
    *m = (struct github_set_message){.id = 0};
}

void github_set_close(struct github_set_session *s)
{
    service.closed += s != NULL ? 1 : 0;
}

/* --- the set ---------------------------------------------------------------------------------- */

static struct scale_set *set_new(void)
{
    static struct scale_set set;
    static char begun[SET_BEGUN_MAX][VM_NAME_SIZE];
    memset(begun, 0, sizeof begun);
    memset(&service, 0, sizeof service);
    world_empty_queue();
    set = (struct scale_set){.r = &reaper,
                             .name = "blue",
                             .class_name = "small",
                             .group = "Default",
                             .scope = github_scope_parse(SCOPE, 0),
                             .scope_name = SCOPE,
                             .lease = "scale_set/" SCOPE,
                             .begun = begun};
    set.metrics = (struct set_metrics){
        .assigned =
            metrics_gauge("mayfly_reaper_scale_set_assigned_jobs", "scope=\"acme\",set=\"blue\""),
        .running =
            metrics_gauge("mayfly_reaper_scale_set_running_jobs", "scope=\"acme\",set=\"blue\""),
        .session = metrics_gauge("mayfly_reaper_scale_set_session", "scope=\"acme\",set=\"blue\""),
        .messages = metrics_counter("mayfly_reaper_scale_set_messages_total",
                                    "scope=\"acme\",set=\"blue\""),
        .requests = metrics_counter("mayfly_reaper_scale_set_requests_total",
                                    "scope=\"acme\",set=\"blue\""),
        .errors =
            metrics_counter("mayfly_reaper_scale_set_errors_total", "scope=\"acme\",set=\"blue\"")};
    return &set;
}

static struct ledger_vm *add_vm(const char *name, enum ledger_vm_state state)
{
    struct ledger_vm *vm = world_add_vm(name, state, MINUTE_MS);
    (void)snprintf(vm->scope, sizeof vm->scope, SCOPE);
    return vm;
}

static void turn(struct scale_set *s)
{
    (void)set_turn(s);
    world_pass(2 * SECOND_MS);
}

/* All in one put. */
static void assert_requests(int n, const char *spare)
{
    char count[16];
    (void)snprintf(count, sizeof count, " n=%d", n);
    assert_int_equal(world_puts(), 1);
    assert_non_null(strstr(calls_args("queue_put", NULL, 1), count));
    assert_string_equal(world_put(0, "lane"), LANE);
    assert_non_null(strstr(world_put(0, "body"), SCOPE));
    assert_non_null(strstr(world_put(0, "body"), spare));
}

static void set_message(int64_t id, int64_t assigned, int64_t running)
{
    service.message_id = id;
    service.statistics = (struct github_set_statistics){.assigned = assigned, .running = running};
}

static void add_job(enum github_set_event what, const char *runner)
{
    struct github_set_job *job = &service.jobs[service.job_count++];
    *job = (struct github_set_job){.what = what, .request_id = 77};
    job->event.job = (struct job){.id = GITHUB_SET_JOB_ID_MIN + 5, .run_id = 9};
    job->event.action = what == SET_JOB_COMPLETED ? JOB_ACTION_COMPLETED : JOB_ACTION_IN_PROGRESS;
    (void)snprintf(job->event.status, sizeof job->event.status, "%s",
                   what == SET_JOB_COMPLETED ? "completed" : "in_progress");
    (void)snprintf(job->event.job.repository, sizeof job->event.job.repository, "acme/web");
    (void)snprintf(job->event.job.runner_name, sizeof job->event.job.runner_name, "%s", runner);
}

/* --- the plan --------------------------------------------------------------------------------- */

static void plan_requests_what_is_missing_and_not_on_its_way(void **state)
{
    struct set_plan p = {.outstanding = 0};
    struct set_view v = {.waiting = 5, .free = 2, .lane = 0, .now_ms = 1000};
    (void)state;
    assert_int_equal(set_plan_requests(&p, &v), 3);
    v.lane = 3;
    assert_int_equal(set_plan_requests(&p, &v), 0); /* they are in the lane */
    v.waiting = 6;
    assert_int_equal(set_plan_requests(&p, &v), 1);
    v.free = 4; /* two have become VMs */
    v.appeared = 2;
    v.lane = 2;
    assert_int_equal(set_plan_requests(&p, &v), 0);
    v.appeared = 0;
    v.lane = 0; /* the others have vanished */
    assert_int_equal(set_plan_requests(&p, &v), 2);
}

static void plan_believes_an_estimate_later(void **state)
{
    struct set_plan p = {.outstanding = 0};
    struct set_view v = {.waiting = 2, .lane = 0, .now_ms = 1000, .grace_ms = 10000};
    (void)state;
    assert_int_equal(set_plan_requests(&p, &v), 2);
    v.now_ms = 5000;
    assert_int_equal(set_plan_requests(&p, &v), 0);
    v.now_ms = 11000;
    assert_int_equal(set_plan_requests(&p, &v), 2);
    v.lane = -1; /* nobody knows */
    v.now_ms = 99000;
    assert_int_equal(set_plan_requests(&p, &v), 0);
}

static void plan_requests_nothing_for_less_demand(void **state)
{
    struct set_plan p = {.outstanding = 0};
    struct set_view v = {.waiting = 2, .free = 5, .now_ms = 1000};
    (void)state;
    assert_int_equal(set_plan_requests(&p, &v), 0);
    assert_int_equal(p.outstanding, 0);
}

/* --- turns ------------------------------------------------------------------------------------ */

static void statistics_of_a_new_session_are_the_first_demand(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    set_message(0, 4, 1);
    (void)add_vm("mf-c28ee50a-t-a", VM_BUSY);
    (void)add_vm("mf-c28ee50a-t-b", VM_LAUNCHED);
    (void)world_add_vm("mf-c28ee50a-t-c", VM_LAUNCHED, MINUTE_MS); /* of no set */
    turn(s);
    assert_int_equal(service.opened, 1);
    assert_int_equal(service.capacity, 6);
    assert_requests(2, "\"spare\":3");
    turn(s); /* none came: the same demand, and both are on their way */
    assert_int_equal(world_puts(), 1);
}

static void demand_above_the_class_is_cut(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    set_message(0, 50, 0);
    turn(s);
    assert_requests(6, "\"spare\":6");
}

static void vm_whose_job_has_begun_is_no_supply_before_the_ledger_knows(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    (void)add_vm("mf-c28ee50a-t-a", VM_LAUNCHED);
    set_message(0, 1, 0);
    turn(s);
    assert_int_equal(world_puts(), 0);
    set_message(7, 2, 1);
    add_job(SET_JOB_STARTED, "mf-c28ee50a-t-a");
    turn(s);
    assert_int_equal(world_puts(), 2);
    assert_string_equal(world_put(0, "lane"), "events");
    assert_string_equal(world_put(1, "lane"), LANE);
    assert_non_null(strstr(world_put(1, "body"), "\"spare\":2")); /* one of them is that VM */
}

static void message_is_deleted_after_it_was_acted_on(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    turn(s);
    set_message(8, 1, 1);
    add_job(SET_JOB_AVAILABLE, "");
    add_job(SET_JOB_STARTED, "mf-c28ee50a-t-a");
    add_job(SET_JOB_COMPLETED, ""); /* cancelled before it had a runner */
    world_fail("queue_put", NULL, ERR_RETRY);
    turn(s);
    assert_int_equal(service.deleted, 0);
    assert_int_equal(service.acquired, 0);
    world_heal();
    world_pass(MINUTE_MS);
    turn(s);
    assert_int_equal(service.deleted, 1);
    assert_int_equal(service.acquired, 77);
    assert_int_equal(world_puts_for(GITHUB_SET_JOB_ID_MIN + 5), 1);
    assert_non_null(strstr(world_put(0, "body"), "\"class\":\"small\""));
    assert_non_null(strstr(world_put(0, "body"), "\"organization\":\"acme\""));
}

static void session_of_another_is_waited_for(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    service.open_fails = ERR_CONFLICT;
    int64_t wait_ms = set_turn(s);
    assert_in_range(wait_ms, 1000, 10000);
    assert_int_equal(s->failures, 0);
    turn(s);
    assert_int_equal(service.opened, 1);
}

static void session_that_is_gone_is_opened_again(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    turn(s);
    service.poll_fails = ERR_NOT_FOUND;
    turn(s);
    assert_null(s->session);
    turn(s);
    assert_int_equal(service.opened, 2);
    assert_int_equal(s->failures, 0);
}

static void poll_that_fails_keeps_its_session(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    turn(s);
    service.poll_fails = ERR_RETRY;
    int64_t wait_ms = set_turn(s);
    assert_in_range(wait_ms, 1, 30000);
    turn(s);
    assert_int_equal(service.opened, 1);
    assert_int_equal(service.closed, 0);
}

static void lease_of_another_ends_the_session(void **state)
{
    struct scale_set *s = set_new();
    (void)state;
    turn(s);
    world_take_lease(s->lease);
    world_pass(HOUR_MS);
    (void)set_turn(s);
    assert_int_equal(service.closed, 1);
    assert_null(s->session);
    assert_int_equal(service.opened, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_requests_what_is_missing_and_not_on_its_way),
        cmocka_unit_test(plan_believes_an_estimate_later),
        cmocka_unit_test(plan_requests_nothing_for_less_demand),
        CASE(statistics_of_a_new_session_are_the_first_demand),
        CASE(demand_above_the_class_is_cut),
        CASE(vm_whose_job_has_begun_is_no_supply_before_the_ledger_knows),
        CASE(message_is_deleted_after_it_was_acted_on),
        CASE(session_of_another_is_waited_for),
        CASE(session_that_is_gone_is_opened_again),
        CASE(poll_that_fails_keeps_its_session),
        CASE(lease_of_another_ends_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
