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

static void redrive_all_goes_beyond_one_list(void **state)
{
    char all[] = "all";
    struct ctl c = {.argc = 1, .argv = (char *[]){all}};
    struct err e = {0};
    json_t *answer = NULL;
    MUST(queue_open("memory://ctl-dlq", &c.queue, &e));
    dead_letter(c.queue, MESSAGES);
    MUST(ctl_dlq_redrive(&c, &answer, &e));
    assert_int_equal(ctl_int(answer, "count"), MESSAGES);
    json_decref(answer);
    MUST(ctl_dlq_list(&c, &answer, &e));
    assert_int_equal(json_array_size(answer), 0);
    json_decref(answer);
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
        cmocka_unit_test(redrive_all_goes_beyond_one_list),
        cmocka_unit_test(redrive_all_of_none_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
