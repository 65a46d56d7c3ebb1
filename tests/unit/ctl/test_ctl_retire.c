/* `mayflyctl class retire`. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/job/lane.h"
#include "common/job/publish.h"
#include "common/ledger/circuit.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"classes\": ["
    "{\"name\": \"old\", \"labels\": [\"linux\", \"x64\"], \"max_vms\": 0, \"qemu\": {\"image\": "
    "\"/i\"}},"
    "{\"name\": \"new\", \"labels\": [\"linux\", \"x64\"], \"qemu\": {\"image\": \"/i\"}}]}";

static int setup(void **state)
{
    (void)state;
    ctl_bed_open(text, NULL);
    return 0;
}

static struct job_event queued(int64_t id, const char *labels, const char *class_name)
{
    struct job_event ev = {
        .action = JOB_ACTION_QUEUED,
        .status = "queued",
        .job = {.id = id, .run_id = 1, .repository = "acme/app", .organization = "acme"}};
    (void)snprintf(ev.job.labels, sizeof ev.job.labels, "%s", labels);
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    return ev;
}

static void put(const struct job_event *ev)
{
    const struct launch_request request = launch_request_of(ev);
    struct job_message m;
    struct err e;
    job_message_of_launch(&request, 1, &m);
    MUST(job_publish(ctl.queue, &m, &e));
    job_message_fini(&m);
}

static void set_waiting(const struct job_event *ev)
{
    struct ledger_effect effect;
    struct err e;
    MUST(ledger_apply_event(ctl.ledger, ev, "acme", &effect, &e));
}

static struct queue_depth depth(const char *lane)
{
    struct queue_depth *d = NULL;
    size_t n = 0;
    struct err e;
    MUST(queue_depths(ctl.queue, lane, &d, &n, &e));
    assert_int_equal(n, 1);
    struct queue_depth one = d[0];
    free(d);
    return one;
}

static int retire(const char *class_name, json_t **out, struct err *e)
{
    char word[64];
    char *argv[] = {word};
    (void)snprintf(word, sizeof word, "%s", class_name);
    ctl.argc = 1;
    ctl.argv = argv;
    return ctl_class_retire(&ctl, out, e);
}

static void jobs_of_a_retired_class_go_where_their_labels_say(void **state)
{
    struct err e;
    json_t *out = NULL;
    (void)state;
    const struct job_event in_lane = queued(1, "linux,x64", "old");
    const struct job_event unroutable = queued(2, "linux,arm", "old");
    const struct job_event lost = queued(3, "LINUX", "old"); /* its message is */
    const struct job_event lost_and_unroutable = queued(4, "arm", "old");
    const struct job_event other = queued(5, "linux", "third");
    put(&in_lane);
    put(&unroutable);
    set_waiting(&in_lane);
    set_waiting(&lost);
    set_waiting(&lost_and_unroutable);
    set_waiting(&other);
    MUST(ledger_cell_put(ctl.ledger, CIRCUIT_KIND, "class:old", "x", 0, NULL, &e));
    MUST(ledger_cell_put(ctl.ledger, CIRCUIT_KIND, "class:old@box", "x", 0, NULL, &e));
    MUST(ledger_cell_put(ctl.ledger, CIRCUIT_KIND, "class:older", "x", 0, NULL, &e));
    MUST(retire("old", &out, &e));
    assert_int_equal(ctl_int(out, "routed"), 2);
    assert_int_equal(ctl_int(out, "dead"), 1);
    assert_int_equal(ctl_int(out, "unroutable"), 1);
    assert_int_equal(ctl_int(out, "rest"), 0);
    json_decref(out);
    assert_int_equal(depth("launch.new").ready, 2);
    assert_int_equal(depth("launch.old").ready, 0);
    assert_int_equal(depth("launch.old").dead, 1);
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    MUST(ledger_cell_list(ctl.ledger, CIRCUIT_KIND, &cells, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(cells[0].name, "class:older");
    free(cells);
}

static int64_t waiting_of(const char *class_name)
{
    struct ledger_count *counts = NULL;
    size_t n = 0;
    int64_t waiting = 0;
    struct err e;
    MUST(ledger_counts(ctl.ledger, &counts, &n, &e));
    for (size_t i = 0; i < n; i++) {
        waiting += strcmp(counts[i].class_name, class_name) == 0 ? counts[i].jobs[JOB_WAITING] : 0;
    }
    free(counts);
    return waiting;
}

/* However long they wait in the lane of their new class. */
static void jobs_that_were_routed_wait_for_their_new_class(void **state)
{
    struct err e;
    json_t *out = NULL;
    struct ledger_job job;
    (void)state;
    struct job_event in_lane = queued(1, "linux,x64", "old");
    const struct job_event lost = queued(2, "linux", "old");
    const struct job_event unroutable = queued(3, "arm", "old");
    in_lane.received_ms = clock_wall_ms() - 60000;
    put(&in_lane); /* the ledger does not know it */
    set_waiting(&lost);
    set_waiting(&unroutable);
    MUST(retire("old", &out, &e));
    json_decref(out);
    assert_int_equal(waiting_of("old"), 1);
    assert_int_equal(waiting_of("new"), 2);
    MUST(ledger_job_get(ctl.ledger, 1, &job, &e));
    assert_string_equal(job.facts.class_name, "new");
    assert_int_equal(job.waiting_ms, in_lane.received_ms);
    MUST(ctl_status(&ctl, &out, &e));
    const json_t *old = json_array_get(json_object_get(out, "classes"), 0);
    assert_string_equal(ctl_str(old, "class"), "old");
    assert_int_equal(ctl_int(old, "jobs_waiting"), 1);
    json_decref(out);
}

/* More than the page that is read at once, before and behind those that no class accepts. */
static void all_jobs_of_a_scope_are_routed(void **state)
{
    enum { ROUTABLE = 700, UNROUTABLE = 520 };
    struct err e;
    json_t *out = NULL;
    (void)state;
    for (int i = 0; i < UNROUTABLE; i++) {
        const struct job_event ev = queued(1 + i, "arm", "old");
        set_waiting(&ev);
    }
    for (int i = 0; i < ROUTABLE; i++) {
        const struct job_event ev = queued(10000 + i, "linux", "old");
        set_waiting(&ev);
    }
    MUST(retire("old", &out, &e));
    assert_int_equal(ctl_int(out, "routed"), ROUTABLE);
    assert_int_equal(ctl_int(out, "unroutable"), UNROUTABLE);
    json_decref(out);
    assert_int_equal(waiting_of("new"), ROUTABLE);
    assert_int_equal(waiting_of("old"), UNROUTABLE);
}

static void class_that_nobody_knows_is_an_error(void **state)
{
    struct err e;
    json_t *out = NULL;
    (void)state;
    assert_int_equal(retire("nosuch", &out, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "there is no class nosuch"));
    MUST(retire("old", &out, &e)); /* it is configured, and has nothing */
    json_decref(out);
}

static void what_names_no_class_is_refused(void **state)
{
    static const char *const wrong[] = {"", "x y", "../old", "Old",
                                        "a-name-of-more-than-thirty-two-characters"};
    struct err e;
    json_t *out = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(retire(wrong[i], &out, &e), -1);
        assert_non_null(strstr(e.message, "is not the name of a class"));
        assert_null(strstr(e.message, "again"));
    }
}

static void request_names_its_new_class(void **state)
{
    struct err e;
    json_t *out = NULL;
    struct queue_message m = {0};
    struct launch_request r;
    size_t got = 0;
    (void)state;
    const struct job_event ev = queued(1, "linux", "gone"); /* a class that is not configured */
    put(&ev);
    MUST(retire("gone", &out, &e));
    json_decref(out);
    MUST(queue_receive(ctl.queue, "launch.new", 1, 60000, 0, &m, &got, &e));
    assert_int_equal(got, 1);
    assert_string_equal(m.key, "1");
    MUST(launch_request_decode((struct slice){m.body, m.body_len}, &r, &e));
    assert_string_equal(r.class_name, "new");
    assert_string_equal(r.job.class_name, "new");
    assert_int_equal(r.job.id, 1);
    queue_message_fini(&m);
}

static void class_in_use_is_not_retired(void **state)
{
    struct err e;
    json_t *out = NULL;
    (void)state;
    const struct job_event ev = queued(1, "linux", "new");
    put(&ev);
    assert_int_equal(retire("new", &out, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(depth("launch.new").ready, 1);
}

static void message_that_a_worker_has_is_counted(void **state)
{
    struct err e;
    json_t *out = NULL;
    struct queue_message m = {0};
    size_t got = 0;
    (void)state;
    const struct job_event ev = queued(1, "linux", "old");
    put(&ev);
    MUST(queue_receive(ctl.queue, "launch.old", 1, 60000, 0, &m, &got, &e));
    MUST(retire("old", &out, &e));
    assert_int_equal(ctl_int(out, "rest"), 1);
    assert_int_equal(ctl_int(out, "routed"), 0);
    json_decref(out);
    queue_message_fini(&m);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, ctl_bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(jobs_of_a_retired_class_go_where_their_labels_say),
        CASE(jobs_that_were_routed_wait_for_their_new_class),
        CASE(all_jobs_of_a_scope_are_routed),
        CASE(class_that_nobody_knows_is_an_error),
        CASE(request_names_its_new_class),
        CASE(what_names_no_class_is_refused),
        CASE(class_in_use_is_not_retired),
        CASE(message_that_a_worker_has_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
