#include "tests/lib/cmocka.h"

#include "deploy/ctl/ctl.h"
#include "tests/lib/must.h"

#define MESSAGES 1201 /* more than one list holds */

static void dead_letter(struct queue *q, size_t count)
{
    struct queue_item item = {.lane = "launch.small", .body = SLICE("{}"), .key = "7", .group = ""};
    struct queue_message m = {0};
    struct err e = {0};
    for (size_t i = 0; i < count; i++) {
        size_t got = 0;
        MUST(queue_put(q, &item, 1, &e));
        MUST(queue_receive(q, item.lane, 1, 60000, 0, &m, &got, &e));
        assert_int_equal(got, 1);
        MUST(queue_dead_letter(q, &m, "why", &e));
        queue_message_fini(&m);
    }
}

static void lists_and_redrives_go_beyond_one_list(void **state)
{
    char all[] = "all";
    char some[] = "some";
    struct ctl c = {.argc = 0, .argv = (char *[]){all}};
    struct err e = {0};
    json_t *answer = NULL;
    MUST(queue_open("memory://ctl-dlq", &c.queue, &e));
    MUST(ledger_open("memory://ctl-dlq-jobs", &c.ledger, &e));
    dead_letter(c.queue, MESSAGES);
    MUST(ctl_dlq_list(&c, &answer, &e));
    assert_int_equal(json_array_size(answer), 100);
    json_decref(answer);
    c.argc = 1;
    MUST(ctl_dlq_list(&c, &answer, &e));
    assert_int_equal(json_array_size(answer), MESSAGES);
    c.argv = (char *[]){some};
    must_fail(ctl_dlq_list(&c, &answer, &e), &e, ERR_PERMANENT);
    char last[64];
    (void)snprintf(last, sizeof last, "%s",
                   ctl_str(json_array_get(answer, MESSAGES - 1), "message"));
    json_decref(answer);
    c.argv = (char *[]){last};
    MUST(ctl_dlq_show(&c, &answer, &e));
    assert_string_equal(ctl_str(answer, "message"), last);
    json_decref(answer);
    c.argv = (char *[]){all};
    MUST(ctl_dlq_redrive(&c, &answer, &e));
    assert_int_equal(ctl_int(answer, "count"), MESSAGES);
    json_decref(answer);
    c.argc = 0;
    MUST(ctl_dlq_list(&c, &answer, &e));
    assert_int_equal(json_array_size(answer), 0);
    json_decref(answer);
    ledger_close(c.ledger);
    queue_close(c.queue);
}

static void dead_letter_says_whether_its_job_is_over(void **state)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED, .status = "queued", .job.id = 7};
    struct ledger_effect effect;
    struct ctl c = {.argc = 0};
    struct err e = {0};
    json_t *answer = NULL;
    MUST(queue_open("memory://ctl-dlq-over", &c.queue, &e));
    MUST(ledger_open("memory://ctl-dlq-over", &c.ledger, &e));
    dead_letter(c.queue, 1);
    MUST(ctl_dlq_list(&c, &answer, &e));
    assert_true(json_is_null(json_object_get(json_array_get(answer, 0), "job_state")));
    json_decref(answer);
    static const char *const states[] = {"waiting", "cancelled"};
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "small");
    (void)snprintf(ev.job.repository, sizeof ev.job.repository, "octo/app");
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        MUST(ledger_apply_event(c.ledger, &ev, "octo", &effect, &e));
        MUST(ctl_dlq_list(&c, &answer, &e));
        assert_string_equal(ctl_str(json_array_get(answer, 0), "job_state"), states[i]);
        ctl_dlq_list_print(answer);
        json_decref(answer);
        ev.action = JOB_ACTION_COMPLETED;
    }
    ledger_close(c.ledger);
    queue_close(c.queue);
}

static void redrive_all_of_none_is_none(void **state)
{
    char all[] = "all";
    struct ctl c = {.argc = 1, .argv = (char *[]){all}};
    struct err e = {0};
    json_t *answer = NULL;
    MUST(queue_open("memory://ctl-dlq-empty", &c.queue, &e));
    MUST(ctl_dlq_redrive(&c, &answer, &e));
    assert_int_equal(ctl_int(answer, "count"), 0);
    json_decref(answer);
    queue_close(c.queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_and_redrives_go_beyond_one_list),
        cmocka_unit_test(dead_letter_says_whether_its_job_is_over),
        cmocka_unit_test(redrive_all_of_none_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
