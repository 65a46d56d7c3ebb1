/* The JSON of records, against deploy/docs/events.md. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/events/record.h"
#include "tests/lib/cmocka.h"

static const struct event_source source = {"mayfly-worker", "prod", "host/0123"};

static json_t *record_of(const struct ledger_transition *t)
{
    json_error_t why;
    struct buf text;
    buf_init(&text, EVENT_MAX_BYTES);
    event_record_append(&text, &source, 7, t);
    assert_false(text.failed);
    json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    assert_non_null(json);
    assert_null(memchr(text.data, '\n', text.len));
    buf_fini(&text);
    return json;
}

static void has_text(json_t *record, const char *key, const char *value)
{
    const char *found = json_string_value(json_object_get(record, key));
    assert_non_null(found);
    assert_string_equal(found, value);
}

static void has_number(json_t *record, const char *key, int64_t value)
{
    json_t *found = json_object_get(record, key);
    assert_true(json_is_integer(found));
    assert_int_equal(json_integer_value(found), value);
}

static void record_of_a_job_has_its_facts_and_known_durations(void **state)
{
    struct ledger_job job = {.facts = {.id = 42,
                                       .run_id = 7,
                                       .run_attempt = 2,
                                       .created_ms = 1000,
                                       .repository = "octo/app",
                                       .class_name = "small",
                                       .name = "build \"x\"\n",
                                       .workflow = "CI",
                                       .runner_name = "mf-1"},
                             .state = JOB_RUNNING,
                             .scope = "octo",
                             .waiting_ms = 2000,
                             .running_ms = 5000};
    struct ledger_transition t = {
        .at_ms = 5000, .job = &job, .from = "waiting", .to = "running", .reason = "on runner mf-1"};
    json_t *r = record_of(&t);
    has_number(r, "schema", 1);
    has_text(r, "time", "1970-01-01T00:00:05.000Z");
    has_text(r, "program", "mayfly-worker");
    has_text(r, "deployment", "prod");
    has_text(r, "instance", "host/0123");
    has_number(r, "seq", 7);
    has_text(r, "kind", "job");
    has_number(r, "job_id", 42);
    has_number(r, "run_id", 7);
    has_number(r, "run_attempt", 2);
    has_text(r, "job_name", "build \"x\"\n");
    has_text(r, "workflow", "CI");
    has_text(r, "repository", "octo/app");
    has_text(r, "scope", "octo");
    has_text(r, "class", "small");
    has_text(r, "from", "waiting");
    has_text(r, "to", "running");
    has_text(r, "reason", "on runner mf-1");
    has_text(r, "runner", "mf-1");
    has_text(r, "created_at", "1970-01-01T00:00:01.000Z");
    has_number(r, "wait_ms", 3000);
    assert_null(json_object_get(r, "run_ms")); /* not known yet */
    assert_null(json_object_get(r, "conclusion"));
    assert_null(json_object_get(r, "vm"));
    assert_int_equal(json_object_size(r), 21);
    json_decref(r);
}

static void record_of_a_vm_names_the_job_that_it_ran(void **state)
{
    struct ledger_vm vm = {.name = "mf-1",
                           .provider = "qemu",
                           .class_name = "small",
                           .scope = "octo#quiet group",
                           .repository = "octo/app",
                           .host = "h1",
                           .vm_id = "vm-9",
                           .for_job = 41,
                           .job_id = 42,
                           .runner_id = 5,
                           .state = VM_GONE,
                           .reserved_ms = 1000,
                           .launched_ms = 1500,
                           .busy_ms = 4000,
                           .ending_ms = 9000,
                           .gone_ms = 9100};
    struct ledger_transition t = {
        .at_ms = 9100, .vm = &vm, .from = "ending", .to = "gone", .reason = "its slot is free"};
    json_t *r = record_of(&t);
    has_text(r, "kind", "vm");
    has_number(r, "job_id", 42);
    has_number(r, "launched_for", 41);
    has_text(r, "vm", "mf-1");
    has_text(r, "vm_id", "vm-9");
    has_text(r, "runner", "mf-1");
    has_number(r, "runner_id", 5);
    has_text(r, "provider", "qemu");
    has_text(r, "host", "h1");
    has_text(r, "scope", "octo");
    has_text(r, "runner_group", "quiet group");
    has_number(r, "launch_ms", 500);
    has_number(r, "idle_ms", 2500);
    has_number(r, "busy_ms", 5000);
    has_number(r, "end_ms", 100);
    has_number(r, "slot_ms", 8100);
    json_decref(r);
    vm.job_id = 0;
    vm.launched_ms = 500; /* another process's clock */
    r = record_of(&t);
    has_number(r, "job_id", 41);
    has_number(r, "launch_ms", 0);
    json_decref(r);
}

static void longest_record_fits(void **state)
{
    static struct ledger_job job;
    static struct ledger_vm vm;
    char reason[320];
    memset(&job.facts.repository, 1, sizeof job.facts.repository - 1);
    memset(&job.facts.class_name, 1, sizeof job.facts.class_name - 1);
    memset(&job.facts.name, 1, sizeof job.facts.name - 1);
    memset(&job.facts.workflow, 1, sizeof job.facts.workflow - 1);
    memset(&job.facts.runner_name, 1, sizeof job.facts.runner_name - 1);
    memset(&job.facts.conclusion, 1, sizeof job.facts.conclusion - 1);
    memset(&job.scope, 1, sizeof job.scope - 1);
    memset(&vm.name, 1, sizeof vm.name - 1);
    memset(&vm.provider, 1, sizeof vm.provider - 1);
    memset(&vm.class_name, 1, sizeof vm.class_name - 1);
    memset(&vm.scope, 1, sizeof vm.scope - 1);
    memset(&vm.repository, 1, sizeof vm.repository - 1);
    memset(&vm.host, 1, sizeof vm.host - 1);
    memset(&vm.vm_id, 1, sizeof vm.vm_id - 1);
    memset(reason, 1, sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    struct ledger_transition t = {
        .at_ms = 1, .job = &job, .from = "", .to = "waiting", .reason = reason};
    json_decref(record_of(&t));
    t.job = NULL;
    t.vm = &vm;
    json_decref(record_of(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_of_a_job_has_its_facts_and_known_durations),
        cmocka_unit_test(record_of_a_vm_names_the_job_that_it_ran),
        cmocka_unit_test(longest_record_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
