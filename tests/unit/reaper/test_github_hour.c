/*
 * An hour of the reaper over a fleet of 10,000 busy runners, on a clock of its own, against the real
 * client of GitHub's API and a transport that counts requests as GitHub does: 5,000 an hour.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/http/client.h"
#include "common/ledger/kinds.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_vms.h"

#define RUNNERS 10000
#define LIMIT 5000
#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define CALL_MS 100
#define BEGAN_MS INT64_C(1800000000000)

static const char config[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"limits\": {\"max_vms\": 20000},"
    " \"classes\": [{\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"lambda\","
    " \"max_vms\": 20000, \"max_duration\": \"8h\", \"lambda\":"
    " {\"image\": \"arn:aws:lambda:us-east-1:123456789012:microvm-image:ci\"}}]}";

/* --- time --- */

static int64_t passed_ms;

static int64_t mono_us(void)
{
    return (passed_ms + 1000) * 1000;
}

static int64_t wall_ms(void)
{
    return BEGAN_MS + passed_ms;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (clock != CLOCK_BOOTTIME) {
        return __real_clock_gettime(clock, ts);
    }
    *ts = (struct timespec){.tv_sec = wall_ms() / 1000, .tv_nsec = wall_ms() % 1000 * 1000000};
    return 0;
}

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);
bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    passed_ms += timeout_ms;
    return wakeup_raised(s);
}

void __wrap_clock_sleep_until(int64_t mono_ms);
void __wrap_clock_sleep_until(int64_t mono_ms)
{
    passed_ms = mono_ms > clock_mono_ms() ? passed_ms + mono_ms - clock_mono_ms() : passed_ms;
}

const struct ledger_program *presence_self(const struct presence *p)
{
    (void)p;
    return NULL;
}

int64_t presence_format(const struct presence *p)
{
    (void)p;
    return 1;
}

/* --- GitHub --- */

struct runner {
    char name[VM_NAME_SIZE];
    bool online;
    bool busy;
    bool gone;
};

static struct github_side {
    struct runner runners[RUNNERS];
    int count;
    int requests; /* of the reaper */
    int lists;    /* first pages */
    int used;     /* of the window's LIMIT */
} hub;

static void append_runner(struct buf *out, int i)
{
    const struct runner *r = &hub.runners[i];
    buf_printf(out, "{\"id\":%d,\"name\":\"%s\",\"status\":\"%s\",\"busy\":%s}", i + 1, r->name,
               r->online ? "online" : "offline", r->busy ? "true" : "false");
}

static void append_page(struct buf *out, int page)
{
    int left = 0;
    int at = 0;
    for (int i = 0; i < hub.count; i++) {
        left += hub.runners[i].gone ? 0 : 1;
    }
    buf_printf(out, "{\"total_count\":%d,\"runners\":[", left);
    for (int i = 0, n = 0; i < hub.count && n < 100; i++) {
        if (!hub.runners[i].gone && at++ >= (page - 1) * 100) {
            buf_append_cstr(out, n++ > 0 ? "," : "");
            append_runner(out, i);
        }
    }
    buf_append_cstr(out, "]}");
    hub.lists += page == 1;
}

static int answer_runner(const char *method, int id, struct buf *out)
{
    struct runner *r = &hub.runners[id - 1];
    if (id < 1 || id > hub.count || r->gone) {
        buf_append_cstr(out, "{\"message\":\"Not Found\"}");
        return 404;
    }
    if (strcmp(method, "DELETE") == 0) {
        r->gone = !r->busy;
        return r->busy ? 422 : 204;
    }
    append_runner(out, id - 1);
    return 200;
}

static int answer(const char *method, const char *path, struct buf *out)
{
    const char *page = strstr(path, "&page=");
    const char *id = strstr(path, "/actions/runners/");
    if (page != NULL && strstr(path, "/actions/runners?") != NULL) {
        append_page(out, (int)strtol(page + 6, NULL, 10));
        return 200;
    }
    if (id != NULL) {
        return answer_runner(method, (int)strtol(id + strlen("/actions/runners/"), NULL, 10), out);
    }
    buf_append_cstr(out, "{\"message\":\"Not Found\"}");
    return 404;
}

int __wrap_http_send(struct http_client *c, const struct http_request *r, struct http_response *out,
                     struct err *e);
int __wrap_http_send(struct http_client *c, const struct http_request *r, struct http_response *out,
                     struct err *e)
{
    (void)c;
    (void)e;
    passed_ms += CALL_MS;
    hub.requests++;
    hub.used++;
    *out = (struct http_response){.sends = 1};
    buf_init(&out->body, (size_t)1024 * 1024);
    buf_init(&out->headers, 1024);
    out->status = answer(r->method, r->url, &out->body);
    buf_printf(&out->headers,
               "HTTP/1.1 %d\r\nx-ratelimit-limit: %d\r\nx-ratelimit-remaining: %d\r\n"
               "x-ratelimit-reset: %lld\r\nx-ratelimit-resource: core\r\n\r\n",
               out->status, LIMIT, hub.used < LIMIT ? LIMIT - hub.used : 0,
               (long long)(BEGAN_MS + HOUR_MS) / 1000);
    return 0;
}

/* --- the fleet --- */

static struct reaper reaper;

static void must_advance(const char *vm, enum ledger_vm_state to, int64_t runner_id,
                         const char *vm_id)
{
    struct err e;
    const struct ledger_advance a = {.vm = vm,
                                     .to = to,
                                     .runner_id = runner_id,
                                     .vm_id = vm_id,
                                     .deadline_ms = vm_id != NULL ? wall_ms() + 8 * HOUR_MS : 0};
    MUST(ledger_vm_advance(reaper.ledger, &a, NULL, &e));
}

/* A VM whose runner has a job, and whether the ledger knows that. */
static void add_vm(int i, bool is_known)
{
    struct err e = {0};
    char vm_id[32];
    struct launch_request request = {.reason = "queued", .class_name = "large"};
    struct ledger_reservation taken;
    struct ledger_effect effect;
    request.job = (struct job){.id = i + 1, .class_name = "large", .organization = "acme"};
    (void)snprintf(request.job.repository, sizeof request.job.repository, "acme/app");
    const struct ledger_reserve reserve = {.request = &request,
                                           .scope = "acme",
                                           .caps = {.fleet = 20000, .class_max = 20000},
                                           .deployment = "t",
                                           .provider = "lambda",
                                           .host = ""};
    MUST(ledger_reserve(reaper.ledger, &reserve, &taken, &e));
    assert_int_equal(taken.outcome, LEDGER_RESERVED);
    const char *name = taken.vm.name;
    (void)snprintf(vm_id, sizeof vm_id, "id-%d", i);
    must_advance(name, VM_REGISTERED, i + 1, NULL);
    must_advance(name, VM_LAUNCHED, 0, vm_id);
    hub.runners[i] = (struct runner){.online = true, .busy = true};
    memcpy(hub.runners[i].name, name, sizeof taken.vm.name);
    struct job_event event = {.action = JOB_ACTION_IN_PROGRESS,
                              .job = request.job,
                              .runner_id = i + 1,
                              .received_ms = wall_ms(),
                              .status = "in_progress"};
    memcpy(event.job.runner_name, name, sizeof taken.vm.name);
    if (is_known) {
        MUST(ledger_apply_event(reaper.ledger, &event, "acme", &effect, &e));
    }
}

/* Its runner disappears, and its VM runs on. */
static void lose_runner(int i)
{
    char vm_id[32];
    (void)snprintf(vm_id, sizeof vm_id, "%d", i);
    (void)scripted_vms_add("large", vm_id, VM_RUN_RUNNING); /* its id is id-<i> */
    hub.runners[i].gone = true;
}

static void open_reaper(void)
{
    static int times;
    struct err e;
    struct config *c = NULL;
    char url[32];
    (void)snprintf(url, sizeof url, "memory://hour-%d", ++times);
    MUST(config_parse(slice_of(config), "test", CONFIG_FOR_REAPER, &c, NULL, &e));
    MUST(ledger_open(url, &reaper.ledger, &e));
    MUST(queue_open(url, &reaper.queue, &e));
    MUST(github_open(c, reaper.ledger, &reaper.github, &e));
    MUST(fleet_open(c, "this-host", reaper.ledger, reaper.github, &reaper.fleet, &e));
    reaper.config = config_live_new(c, NULL, CONFIG_FOR_REAPER);
    (void)snprintf(reaper.holder, sizeof reaper.holder, "one");
    reaper.circuits = circuits_new(reaper.ledger);
    wakeup_init(&reaper.stop);
}

static void begin(int runners)
{
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    log_set_level(LOG_ERROR);
    clock_set_source(&source);
    passed_ms = 0;
    calls_reset();
    scripted_vms_reset();
    memset(&hub, 0, sizeof hub);
    memset(&reaper, 0, sizeof reaper);
    open_reaper();
    hub.count = runners;
    for (int i = 0; i < runners; i++) {
        add_vm(i, true);
    }
    /* The provider's list is away: GitHub alone decides. */
    calls_plan(&(struct call_plan){.function = "vm_list", .fails = ERR_THROTTLED});
}

static int set_up(void **state)
{
    (void)state;
    begin(RUNNERS);
    return 0;
}

static int set_up_half(void **state)
{
    (void)state;
    begin(RUNNERS / 2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wakeup_fini(&reaper.stop);
    circuits_free(reaper.circuits);
    fleet_close(reaper.fleet);
    github_close(reaper.github);
    config_live_free(reaper.config);
    signs_fini(&reaper.fleet_signs);
    signs_fini(&reaper.host_signs);
    free(reaper.rows);
    free(reaper.scans);
    reaper_free_targets(&reaper);
    queue_close(reaper.queue);
    ledger_close(reaper.ledger);
    return 0;
}

/* Sweeps a minute apart, as lists are read. */
static void pass_minutes(int from, int to, void (*each_minute)(int minute))
{
    for (int minute = from; minute < to; minute++) {
        if (each_minute != NULL) {
            each_minute(minute);
        }
        sweep(&reaper);
        passed_ms = passed_ms < (minute + 1) * MINUTE_MS ? (minute + 1) * MINUTE_MS : passed_ms;
    }
}

static void fleet_that_works_is_listed_every_ten_minutes(void **state)
{
    (void)state;
    pass_minutes(0, 60, NULL);
    print_message("requests %d, lists %d\n", hub.requests, hub.lists);
    assert_in_range(hub.lists, 6, 7);
    assert_in_range(hub.requests, 600, 700);
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static int lost;

static void lose_one(int minute)
{
    lose_runner(37 * minute);
    lost++;
}

/* Each minute a VM loses its runner, and so there is always a reason to read the list. */
static void suspicion_reads_sooner_within_a_fifth_of_the_limit(void **state)
{
    (void)state;
    lost = 0;
    pass_minutes(0, 60, lose_one);
    print_message("requests %d, lists %d, ended %zu of %d\n", hub.requests, hub.lists,
                  calls_count("vm_terminate", NULL), lost);
    assert_true(hub.requests <= LIMIT / 5);
    assert_true(hub.lists > 7);
    assert_true(calls_count("vm_terminate", NULL) > 30);
}

static bool is_noticed(void)
{
    struct err e;
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    bool found = false;
    MUST(ledger_cell_list(reaper.ledger, LEDGER_KIND_NOTICE, &cells, &n, &e));
    for (size_t i = 0; i < n; i++) {
        found = found || strstr(cells[i].value, "questions about acme were put off") != NULL;
    }
    free(cells);
    return found;
}

static void use_most_of_the_limit(int minute)
{
    if (minute == 1) {
        hub.used = LIMIT * 86 / 100; /* launches */
    }
}

/* One more list's first page shows how little remains. */
static void lists_wait_while_launches_have_used_the_limit(void **state)
{
    (void)state;
    pass_minutes(0, 20, use_most_of_the_limit);
    print_message("requests %d, lists %d\n", hub.requests, hub.lists);
    assert_in_range(hub.requests, 51, 55); /* a list, and a first page */
    assert_true(is_noticed());
}

/* A list of 5,000 runners is read every five minutes; the webhook that said that this runner has a job
 * was lost a minute after one. */
static void vm_without_news_is_asked_about_by_itself(void **state)
{
    struct err e;
    struct ledger_vm vm;
    (void)state;
    pass_minutes(0, 1, NULL);
    hub.count++;
    add_vm(hub.count - 1, false);
    pass_minutes(1, 7, NULL);
    MUST(ledger_vm_get(reaper.ledger, hub.runners[hub.count - 1].name, &vm, &e));
    assert_int_equal(vm.state, VM_LAUNCHED);
    int before = hub.requests;
    pass_minutes(7, 8, NULL);
    assert_int_equal(hub.requests, before + 1);
    MUST(ledger_vm_get(reaper.ledger, vm.name, &vm, &e));
    assert_int_equal(vm.state, VM_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fleet_that_works_is_listed_every_ten_minutes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(suspicion_reads_sooner_within_a_fifth_of_the_limit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(vm_without_news_is_asked_about_by_itself, set_up_half,
                                        tear_down),
        cmocka_unit_test_setup_teardown(lists_wait_while_launches_have_used_the_limit, set_up_half,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
