

#include <jansson.h>
#include <string.h>

#include "common/job/event.h"
#include "tests/lib/cmocka.h"

static struct job_event full_event(void)
{
    return (struct job_event){.action = JOB_ACTION_COMPLETED,
                              .job.id = INT64_MAX,
                              .job.run_id = 33714470481,
                              .job.run_attempt = 3,
                              .job.installation_id = 7,
                              .runner_id = 9,
                              .job.created_ms = 1795198323000,
                              .received_ms = 1795198324567,
                              .delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958",
                              .status = "completed",
                              .job.conclusion = "success",
                              .job.repository = "octo-org/octo-repo",
                              .job.organization = "octo-org",
                              .job.runner_name = "mayfly-1",
                              .job.name = "build \"x\"\n\xc3\xbc \x7f",
                              .job.workflow = "CI \xf0\x9f\x9a\x80",
                              .job.labels = "self-hosted,linux",
                              .job.class_name = "small"};
}

static void encode_decode_keeps_every_field(void **state)
{
    struct job_event before = full_event();
    struct job_event after;
    struct buf record;
    struct err e = {0};
    buf_init(&record, 8192);
    job_event_encode(&before, 1, &record);
    assert_false(record.failed);
    assert_null(memchr(record.data, '\n', record.len));
    memset(&after, 0x55, sizeof after);
    assert_int_equal(job_event_decode(buf_slice(&record), &after, &e), 0);
    assert_int_equal(after.action, before.action);
    assert_true(after.job.id == before.job.id && after.job.run_id == before.job.run_id);
    assert_int_equal(after.job.run_attempt, before.job.run_attempt);
    assert_int_equal(after.job.installation_id, before.job.installation_id);
    assert_int_equal(after.runner_id, before.runner_id);
    assert_true(after.job.created_ms == before.job.created_ms &&
                after.received_ms == before.received_ms);
    assert_string_equal(after.delivery, before.delivery);
    assert_string_equal(after.status, before.status);
    assert_string_equal(after.job.conclusion, before.job.conclusion);
    assert_string_equal(after.job.repository, before.job.repository);
    assert_string_equal(after.job.organization, before.job.organization);
    assert_string_equal(after.job.runner_name, before.job.runner_name);
    assert_string_equal(after.job.name, before.job.name);
    assert_string_equal(after.job.workflow, before.job.workflow);
    assert_string_equal(after.job.labels, before.job.labels);
    assert_string_equal(after.job.class_name, before.job.class_name);
    buf_fini(&record);
}

static void encode_is_json_with_a_version(void **state)
{
    struct job_event ev = full_event();
    struct buf record;
    buf_init(&record, 8192);
    job_event_encode(&ev, 1, &record);
    json_t *root = json_loadb(record.data, record.len, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_integer_value(json_object_get(root, "v")), 1);
    assert_string_equal(json_string_value(json_object_get(root, "name")), ev.job.name);
    json_decref(root);
    buf_fini(&record);
}

/* Every byte of the free text needs six in JSON: the record stays within its limit all the same,
 * and keeps what machines need. */
static void encode_that_would_be_too_long_drops_what_people_read(void **state)
{
    struct job_event ev = full_event();
    struct job_event after = {0};
    struct buf record;
    struct err e = {0};
    memset(ev.job.labels, 1, sizeof ev.job.labels - 1);
    memset(ev.job.name, 2, sizeof ev.job.name - 1);
    memset(ev.job.workflow, 11, sizeof ev.job.workflow - 1);
    memset(ev.job.repository, 3, sizeof ev.job.repository - 1);
    ev.job.repository[5] = '/';
    memset(ev.job.runner_name, 4, sizeof ev.job.runner_name - 1);
    memset(ev.job.organization, 5, sizeof ev.job.organization - 1);
    memset(ev.status, 6, sizeof ev.status - 1);
    memset(ev.job.conclusion, 7, sizeof ev.job.conclusion - 1);
    memset(ev.delivery, 8, sizeof ev.delivery - 1);
    memset(ev.job.class_name, 9, sizeof ev.job.class_name - 1);
    buf_init(&record, 8192);
    job_event_encode(&ev, 1, &record);
    assert_true(record.len <= 4096);
    assert_int_equal(job_event_decode(buf_slice(&record), &after, &e), 0);
    assert_string_equal(after.job.repository, ev.job.repository);
    assert_string_equal(after.job.runner_name, ev.job.runner_name);
    assert_string_equal(after.job.labels, "");
    assert_string_equal(after.job.workflow, "");
    buf_fini(&record);
}

static void decode_ignores_members_it_does_not_know(void **state)
{
    struct job_event ev;
    struct err e = {0};
    assert_int_equal(
        job_event_decode(SLICE("{\"v\":1,\"action\":\"waiting\",\"job\":5,\"repository\":"
                               "\"a/b\",\"later\":{\"x\":[1]}}"),
                         &ev, &e),
        0);
    assert_int_equal(ev.action, JOB_ACTION_WAITING);
    assert_int_equal(ev.job.run_id, 0);
    assert_string_equal(ev.job.labels, "");
}

static void decode_of_a_newer_version_says_so(void **state)
{
    struct job_event ev;
    struct err e = {0};
    assert_int_equal(
        job_event_decode(SLICE("{\"v\":2,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\"}"),
                         &ev, &e),
        -1);
    assert_int_equal(e.code, RECORD_NEWER_FORMAT);
    assert_int_not_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "newer"));
    e = (struct err){0};
    assert_int_equal(
        job_event_decode(SLICE("{\"v\":1000001,\"action\":[\"fly\"],\"job\":\"5\"}"), &ev, &e), -1);
    assert_int_equal(e.code, RECORD_NEWER_FORMAT); /* whatever else it holds */
}

static void decode_of_hostile_records_is_refused(void **state)
{
    static const char *const records[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"v\":1}",
        "{\"v\":0,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\"}",
        "{\"v\":\"1\",\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":\"fly\",\"job\":5,\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":7,\"job\":5,\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":0,\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":-5,\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":\"5\",\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":5.0,\"repository\":\"a/b\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":\"ab\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":7}",
        "{\"v\":1,\"action\":\"queued\",\"job\":5,\"job\":6,\"repository\":\"a/b\"}",
        ("{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\",\"status\":"
         "\"more than fifteen\"}"),
        "{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\",\"name\":\"\\u0000\"}",
        "{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\"} x",
        "{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\",\"run\":-1}",
        ("{\"v\":1,\"action\":\"queued\",\"job\":5,\"repository\":\"a/b\",\"received_ms\":"
         "-9223372036854775808}"),
    };
    struct job_event ev;
    struct job_event untouched;
    memset(&ev, 0x55, sizeof ev);
    memset(&untouched, 0x55, sizeof untouched);
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        struct err e = {0};
        assert_int_equal(job_event_decode(slice_of(records[i]), &ev, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_true(e.message[0] != '\0');
    }
    assert_memory_equal(&ev, &untouched, sizeof ev);
}

static void wants_runner_only_a_queued_job_that_is_not_held_back(void **state)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED, .status = "queued"};
    assert_true(job_event_wants_runner(&ev));
    ev.status[0] = '\0';
    assert_true(job_event_wants_runner(&ev));
    memcpy(ev.status, "waiting", 8);
    assert_false(job_event_wants_runner(&ev));
    ev = (struct job_event){.action = JOB_ACTION_IN_PROGRESS, .status = "queued"};
    assert_false(job_event_wants_runner(&ev));
}

static void labels_joined_and_split_are_what_they_were(void **state)
{
    static const char *const labels[][4] = {
        {"self-hosted", "microvm"}, {"self-hosted,microvm"}, {"a", "", "b"}, {"", "a"}, {"a", ""},
        {"\"a", "b\",small", "c"},  {"x\",small,\"y"}};
    static const char *const joined[] = {"self-hosted,microvm",
                                         "\"self-hosted,microvm\"",
                                         "a,\"\",b",
                                         "\"\",a",
                                         "a,\"\"",
                                         NULL,
                                         NULL};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        struct slice given[4];
        struct slice split[JOB_LABELS_MAX];
        char text[JOB_LABELS_SIZE];
        size_t n = 0;
        for (; n < COUNT_OF(given) && labels[i][n] != NULL; n++) {
            given[n] = slice_of(labels[i][n]);
        }
        job_labels_join(given, n, text);
        if (joined[i] != NULL) {
            assert_string_equal(text, joined[i]);
            assert_int_equal(job_labels_split(text, split), n);
        }
        /* Whatever is in them, the first of a list with a comma inside is no label of a class. */
        (void)job_labels_split(text, split);
        assert_true(strchr(labels[i][0], ',') == NULL || split[0].ptr[0] == '"');
    }
}

static void labels_that_do_not_fit_end_with_one_that_no_class_has(void **state)
{
    struct slice given[JOB_LABELS_MAX];
    struct slice split[JOB_LABELS_MAX];
    char text[JOB_LABELS_SIZE];
    char long_label[JOB_LABELS_SIZE + 100];
    (void)state;
    memset(long_label, 'x', sizeof long_label);
    for (size_t len = 1; len < sizeof long_label; len++) {
        for (size_t i = 0; i < COUNT_OF(given); i++) {
            given[i] = (struct slice){long_label, len};
        }
        job_labels_join(given, COUNT_OF(given), text);
        size_t n = job_labels_split(text, split);
        assert_true(n == COUNT_OF(given) || slice_eq(split[n - 1], SLICE(JOB_LABELS_CUT)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_decode_keeps_every_field),
        cmocka_unit_test(encode_is_json_with_a_version),
        cmocka_unit_test(encode_that_would_be_too_long_drops_what_people_read),
        cmocka_unit_test(decode_ignores_members_it_does_not_know),
        cmocka_unit_test(decode_of_a_newer_version_says_so),
        cmocka_unit_test(decode_of_hostile_records_is_refused),
        cmocka_unit_test(wants_runner_only_a_queued_job_that_is_not_held_back),
        cmocka_unit_test(labels_joined_and_split_are_what_they_were),
        cmocka_unit_test(labels_that_do_not_fit_end_with_one_that_no_class_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
