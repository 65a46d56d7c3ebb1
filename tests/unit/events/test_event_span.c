/* The spans of a job and of its VM, against deploy/docs/traces.md. tests/integration/system/traces has them parsed by the official
 * messages. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/events/span.h"
#include "tests/lib/cmocka.h"

static const struct ledger_job done = {.facts = {.id = 42,
                                                 .run_id = 7,
                                                 .created_ms = 1000,
                                                 .repository = "octo/app",
                                                 .class_name = "small",
                                                 .name = "build \"x\"\n",
                                                 .workflow = "CI",
                                                 .conclusion = "success",
                                                 .runner_name = "mf-1"},
                                       .state = JOB_DONE,
                                       .scope = "octo",
                                       .waiting_ms = 2000,
                                       .running_ms = 5000,
                                       .ended_ms = 9000};
static const struct ledger_vm gone = {.name = "mf-1",
                                      .class_name = "small",
                                      .provider = "lambda",
                                      .for_job = 41,
                                      .job_id = 42,
                                      .state = VM_GONE,
                                      .reserved_ms = 2100,
                                      .registered_ms = 2500,
                                      .launched_ms = 3000,
                                      .busy_ms = 5000,
                                      .ending_ms = 9000,
                                      .gone_ms = 9900};

static json_t *spans_of(const struct ledger_job *job, const struct ledger_vm *vm)
{
    json_error_t why;
    struct buf text;
    buf_init(&text, SPANS_MAX_BYTES + 2);
    buf_append_byte(&text, '[');
    spans_append(&text, &(struct ledger_transition){.at_ms = 1, .job = job, .vm = vm});
    buf_append_byte(&text, ']');
    assert_false(text.failed);
    json_t *json = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    assert_non_null(json);
    buf_fini(&text);
    return json;
}

static const char *text_of(json_t *span, const char *key)
{
    const char *found = json_string_value(json_object_get(span, key));
    return found != NULL ? found : "";
}

static void is_span(json_t *spans, size_t i, const char *name, const char *from, const char *to)
{
    json_t *span = json_array_get(spans, i);
    assert_string_equal(text_of(span, "name"), name);
    assert_string_equal(text_of(span, "startTimeUnixNano"), from);
    assert_string_equal(text_of(span, "endTimeUnixNano"), to);
}

static void spans_of_a_job_are_its_steps_in_one_trace(void **state)
{
    json_t *spans = spans_of(&done, NULL);
    assert_int_equal(json_array_size(spans), 4);
    is_span(spans, 0, "job", "1000000000", "9000000000");
    is_span(spans, 1, "queued", "1000000000", "2000000000");
    is_span(spans, 2, "waiting", "2000000000", "5000000000");
    is_span(spans, 3, "running", "5000000000", "9000000000");
    for (size_t i = 0; i < 4; i++) {
        json_t *span = json_array_get(spans, i);
        /* printf 'mayfly-job-42' | sha256sum; the root's span: mayfly-job-42/job */
        assert_string_equal(text_of(span, "traceId"), "dd494513fd8b711e94f47b644bea457d");
        assert_string_equal(text_of(span, i == 0 ? "spanId" : "parentSpanId"), "419054810644f1eb");
    }
    json_decref(spans);
    (void)state;
}

static void spans_of_its_vm_are_below_the_jobs_root(void **state)
{
    json_t *spans = spans_of(NULL, &gone);
    assert_int_equal(json_array_size(spans), 6);
    is_span(spans, 0, "vm", "2100000000", "9900000000");
    is_span(spans, 1, "reserved", "2100000000", "2500000000");
    is_span(spans, 5, "ending", "9000000000", "9900000000");
    assert_string_equal(text_of(json_array_get(spans, 0), "parentSpanId"), "419054810644f1eb");
    const char *vm = text_of(json_array_get(spans, 0), "spanId");
    for (size_t i = 1; i < 6; i++) {
        assert_string_equal(text_of(json_array_get(spans, i), "parentSpanId"), vm);
    }
    json_decref(spans);
    (void)state;
}

static void only_an_end_has_spans(void **state)
{
    struct ledger_job job = done;
    struct ledger_vm vm = gone;
    job.state = JOB_RUNNING;
    vm.state = VM_ENDING;
    json_t *running = spans_of(&job, NULL);
    json_t *ending = spans_of(NULL, &vm);
    vm = gone;
    vm.job_id = 0;
    json_t *idle = spans_of(NULL, &vm);
    assert_int_equal(json_array_size(running) + json_array_size(ending) + json_array_size(idle), 0);
    json_decref(running);
    json_decref(ending);
    json_decref(idle);
    (void)state;
}

static void unknown_times_have_no_span_and_none_ends_before_it_begins(void **state)
{
    struct ledger_job job = done;
    job.state = JOB_CANCELLED;
    job.facts.created_ms = 2500; /* another clock's */
    job.running_ms = 0;
    json_t *spans = spans_of(&job, NULL);
    assert_int_equal(json_array_size(spans), 3);
    is_span(spans, 1, "queued", "2500000000", "2500000000");
    is_span(spans, 2, "waiting", "2000000000", "9000000000");
    json_decref(spans);
    (void)state;
}

static void largest_rows_fit(void **state)
{
    struct ledger_job job = done;
    struct ledger_vm vm = gone;
    memset(job.facts.name, 1, sizeof job.facts.name - 1);
    memset(job.facts.workflow, 1, sizeof job.facts.workflow - 1);
    memset(job.facts.repository, 1, sizeof job.facts.repository - 1);
    memset(job.facts.class_name, 1, sizeof job.facts.class_name - 1);
    memset(job.facts.conclusion, 1, sizeof job.facts.conclusion - 1);
    memset(job.facts.runner_name, 1, sizeof job.facts.runner_name - 1);
    memset(vm.name, 1, sizeof vm.name - 1);
    memset(vm.vm_id, 1, sizeof vm.vm_id - 1);
    memset(vm.repository, 1, sizeof vm.repository - 1);
    memset(vm.host, 1, sizeof vm.host - 1);
    memset(vm.end_reason, 1, sizeof vm.end_reason - 1);
    json_decref(spans_of(&job, NULL));
    json_decref(spans_of(NULL, &vm));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_of_a_job_are_its_steps_in_one_trace),
        cmocka_unit_test(spans_of_its_vm_are_below_the_jobs_root),
        cmocka_unit_test(only_an_end_has_spans),
        cmocka_unit_test(unknown_times_have_no_span_and_none_ends_before_it_begins),
        cmocka_unit_test(largest_rows_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
