/* Launch requests, their lanes, and what a delivery becomes on the queue. */

#include <string.h>

#include "common/job/publish.h"
#include "tests/lib/cmocka.h"

static struct job_event queued_event(void)
{
    return (struct job_event){.action = JOB_ACTION_QUEUED,
                              .job = {.id = 42,
                                      .run_id = 7,
                                      .run_attempt = 2,
                                      .installation_id = 5,
                                      .created_ms = 1795198323000,
                                      .repository = "octo/app",
                                      .organization = "octo",
                                      .class_name = "small",
                                      .name = "build",
                                      .workflow = "CI",
                                      .labels = "self-hosted,linux"},
                              .received_ms = 1795198324567,
                              .delivery = "72d3162e",
                              .status = "queued"};
}

static int decode(const char *record, struct launch_request *out, struct err *e)
{
    return launch_request_decode(slice_of(record), out, e);
}

static void request_of_a_job_keeps_its_facts(void **state)
{
    struct job_event ev = queued_event();
    struct launch_request before = launch_request_of(&ev);
    struct launch_request after;
    struct buf record;
    struct err e = {0};
    buf_init(&record, 8192);
    launch_request_encode(&before, 1, &record);
    assert_int_equal(launch_request_decode(buf_slice(&record), &after, &e), 0);
    buf_fini(&record);
    assert_string_equal(after.class_name, "small");
    assert_string_equal(after.scope, "");
    assert_string_equal(after.reason, "queued");
    assert_string_equal(after.delivery, "72d3162e");
    assert_int_equal(after.requested_ms, ev.received_ms);
    assert_int_equal(after.job.id, 42);
    assert_int_equal(after.job.run_id, 7);
    assert_int_equal(after.job.run_attempt, 2);
    assert_int_equal(after.job.installation_id, 5);
    assert_int_equal(after.job.created_ms, ev.job.created_ms);
    assert_string_equal(after.job.repository, "octo/app");
    assert_string_equal(after.job.organization, "octo");
    assert_string_equal(after.job.class_name, "small");
    assert_string_equal(after.job.name, "build");
    assert_string_equal(after.job.workflow, "CI");
    assert_string_equal(after.job.labels, "self-hosted,linux");
}

static void request_without_a_job_names_a_scope(void **state)
{
    struct launch_request r;
    struct err e = {0};
    assert_int_equal(decode("{\"v\":1,\"scope\":\"octo\",\"class\":\"small\",\"reason\":\"warm\","
                            "\"installation\":5,\"repository\":\"octo/app\"}",
                            &r, &e),
                     0);
    assert_int_equal(r.job.id, 0);
    assert_int_equal(r.job.installation_id, 5);
    assert_string_equal(r.job.repository, ""); /* nothing of a job that there is not */
    assert_string_equal(r.scope, "octo");
    assert_int_equal(r.spare, 0); /* of the version before */
}

static void request_for_spare_vms_says_how_many(void **state)
{
    struct launch_request before = {
        .scope = "octo", .class_name = "small", .reason = "idle", .spare = 3};
    struct launch_request after;
    struct err e = {0};
    struct buf record;
    (void)state;
    buf_init(&record, 8192);
    launch_request_encode(&before, 1, &record);
    assert_int_equal(launch_request_decode(buf_slice(&record), &after, &e), 0);
    buf_fini(&record);
    assert_int_equal(after.spare, 3);
    assert_int_equal(after.job.id, 0);
}

static void request_that_nobody_can_carry_out_is_refused(void **state)
{
    static const char *const records[] = {
        "",
        "[]",
        "{\"scope\":\"octo\",\"class\":\"small\"}",
        "{\"v\":1,\"scope\":\"octo\"}",
        "{\"v\":1,\"class\":\"small\"}",
        "{\"v\":1,\"class\":\"small\",\"job\":42}",
        "{\"v\":1,\"class\":\"small\",\"job\":-1,\"repository\":\"octo/app\"}",
        "{\"v\":1,\"class\":\"small\",\"scope\":\"octo\",\"job\":-1,\"repository\":\"octo/app\"}",
        "{\"v\":1,\"class\":7,\"scope\":\"octo\"}",
        "{\"v\":1,\"class\":\"small\",\"scope\":\"octo\",\"spare\":-1}",
        "{\"v\":1,\"class\":\"small\",\"scope\":\"octo\",\"spare\":100001}",
    };
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        struct launch_request r;
        struct launch_request untouched;
        struct err e = {0};
        memset(&r, 0x55, sizeof r);
        memset(&untouched, 0x55, sizeof untouched);
        assert_int_equal(decode(records[i], &r, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_memory_equal(&r, &untouched, sizeof r);
    }
}

/* Whatever else has changed: its meaning is not known here. */
static void request_of_a_newer_format_is_for_a_newer_reader(void **state)
{
    struct launch_request r;
    struct err e = {0};
    assert_int_equal(decode("{\"v\":1000001,\"class\":7}", &r, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(e.code, RECORD_NEWER_FORMAT);
}

/* A JSON object of that format that is longer than a record may be today. */
static void long_record(int format, struct buf *out)
{
    buf_init(out, QUEUE_BODY_MAX_BYTES + 1);
    buf_printf(out, "{\"v\":%d,\"scope\":\"octo\",\"class\":\"small\",\"later\":\"", format);
    while (out->len < RECORD_MAX_BYTES) {
        buf_append_byte(out, 'x');
    }
    buf_append_cstr(out, "\"}");
    assert_false(out->failed);
}

static void limit_of_the_size_is_that_of_the_format(void **state)
{
    struct launch_request r;
    struct err e = {0};
    struct buf record;
    long_record(1000001, &record);
    assert_int_equal(launch_request_decode(buf_slice(&record), &r, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(e.code, RECORD_NEWER_FORMAT);
    while (record.len <= QUEUE_BODY_MAX_BYTES) {
        buf_append_byte(&record, ' ');
    }
    assert_false(record.failed);
    assert_int_equal(launch_request_decode(buf_slice(&record), &r, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT); /* no queue carries that */
    buf_fini(&record);
    long_record(1, &record);
    assert_int_equal(launch_request_decode(buf_slice(&record), &r, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    buf_fini(&record);
}

static void lane_names_its_class_and_only_launch_lanes_do(void **state)
{
    char lane[LAUNCH_LANE_SIZE];
    assert_string_equal(launch_lane("small", lane), "launch.small");
    assert_string_equal(launch_lane_class(lane), "small");
    assert_string_equal(launch_lane_class("launch.a.b"), "a.b");
    assert_null(launch_lane_class(EVENTS_LANE));
    assert_null(launch_lane_class("launch."));
    assert_null(launch_lane_class("launch"));
}

/* --- on the queue --- */
static void take_one(struct queue *q, const char *lane, struct queue_message *m)
{
    struct err e = {0};
    size_t got = 0;
    assert_int_equal(queue_receive(q, lane, 1, 60000, 0, m, &got, &e), 0);
    assert_int_equal(got, 1);
}

static void publish_puts_each_on_its_lane_under_its_job(void **state)
{
    struct job_event ev = queued_event();
    struct queue *q = NULL;
    struct job_messages messages;
    struct queue_message m = {0};
    struct launch_request request;
    struct job_event event;
    struct err e = {0};
    assert_int_equal(queue_open("memory://publish", &q, &e), 0);

    job_messages_of_delivery(&ev, true, 1, &messages);
    assert_int_equal(messages.count, 2);
    assert_string_equal(messages.list[0].group, "octo/app");
    assert_int_equal(job_publish_all(q, &messages, &e), 0);
    job_messages_fini(&messages);
    take_one(q, "launch.small", &m);
    assert_string_equal(m.key, "42");
    assert_int_equal(launch_request_decode((struct slice){m.body, m.body_len}, &request, &e), 0);
    queue_message_fini(&m);

    take_one(q, "events", &m);
    assert_string_equal(m.key, "42");
    assert_int_equal(job_event_decode((struct slice){m.body, m.body_len}, &event, &e), 0);
    assert_string_equal(event.job.class_name, "small");
    assert_int_equal(event.action, JOB_ACTION_QUEUED);
    queue_message_fini(&m);

    job_messages_of_delivery(&ev, false, 1, &messages);
    assert_int_equal(messages.count, 1);
    assert_string_equal(messages.list[0].lane, "events");
    job_messages_fini(&messages);
    queue_close(q);
}

static void message_without_a_job_is_grouped_by_scope(void **state)
{
    struct launch_request r = {.scope = "octo", .class_name = "small", .reason = "warm"};
    struct job_message message;
    job_message_of_launch(&r, 1, &message);
    assert_string_equal(message.lane, "launch.small");
    assert_string_equal(message.key, "");
    assert_string_equal(message.group, "octo");
    job_message_fini(&message);
}

static void recorded_vm_goes_to_the_events_lane(void **state)
{
    const struct vm_recorded before = {
        .name = "mf-1", .vm_id = "microvm-1", .deadline_ms = 1795198323000};
    struct vm_recorded after = {.name = ""};
    struct job_event ev;
    struct job_message m;
    struct err e = {0};
    job_message_of_vm_recorded(&before, 1, &m);
    assert_string_equal(m.lane, EVENTS_LANE);
    assert_string_equal(m.key, "");
    assert_string_equal(m.group, "mf-1");
    assert_int_equal(vm_recorded_decode(buf_slice(&m.body), &after, &e), 0);
    assert_string_equal(after.name, "mf-1");
    assert_string_equal(after.vm_id, "microvm-1");
    assert_int_equal(after.deadline_ms, 1795198323000);
    assert_int_equal(job_event_decode(buf_slice(&m.body), &ev, &e), -1); /* it is no other */
    job_message_fini(&m);
}

static void recorded_vm_without_a_name_or_an_id_is_refused(void **state)
{
    static const char *const records[] = {
        "{\"v\":1,\"action\":\"vm_recorded\",\"vm\":\"mf-1\"}",
        "{\"v\":1,\"action\":\"vm_recorded\",\"vm_id\":\"microvm-1\"}",
        "{\"v\":1,\"action\":\"queued\",\"vm\":\"mf-1\",\"vm_id\":\"microvm-1\"}",
        "{\"v\":1,\"vm\":\"mf-1\",\"vm_id\":\"microvm-1\"}"};
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        struct vm_recorded r = {.deadline_ms = 7};
        struct err e = {0};
        assert_int_equal(vm_recorded_decode(slice_of(records[i]), &r, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_int_equal(r.deadline_ms, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_of_a_job_keeps_its_facts),
        cmocka_unit_test(request_without_a_job_names_a_scope),
        cmocka_unit_test(request_for_spare_vms_says_how_many),
        cmocka_unit_test(request_that_nobody_can_carry_out_is_refused),
        cmocka_unit_test(request_of_a_newer_format_is_for_a_newer_reader),
        cmocka_unit_test(limit_of_the_size_is_that_of_the_format),
        cmocka_unit_test(lane_names_its_class_and_only_launch_lanes_do),
        cmocka_unit_test(publish_puts_each_on_its_lane_under_its_job),
        cmocka_unit_test(message_without_a_job_is_grouped_by_scope),
        cmocka_unit_test(recorded_vm_goes_to_the_events_lane),
        cmocka_unit_test(recorded_vm_without_a_name_or_an_id_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
