/* Targets: `mayflyctl targets`, `status` and `vms`, and what `why` says where a class has some. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/job/publish.h"
#include "common/ledger/circuit.h"
#include "common/ledger/images.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/circuits.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

#define ARN(region, account) "arn:aws:lambda:" region ":" account ":microvm-image:ci"
#define TARGET(name, region, account, more)                                                        \
    "{\"name\": \"" name "\", \"image\": \"" ARN(region, account) "\"" more "}"
#define EAST "target:lambda/us-east-1/123456789012"
#define WEST "target:lambda/us-west-2/210987654321"

/* `east` and `west` launch, `old` is drained. */
static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"small\"], \"provider\": \"lambda\", \"max_vms\": 9, "
    "\"targets\": [" TARGET("east", "us-east-1", "123456789012", ", \"max_vms\": 2") "," TARGET(
        "west", "us-west-2", "210987654321",
        ", \"max_vms\": 1, \"role_arn\": "
        "\"arn:aws:iam::210987654321:role/mayfly\"") "," TARGET("old", "eu-west-1", "123456789012",
                                                                ", \"weight\": 0") "]},"
                                                                                   "{\"name\": "
                                                                                   "\"idle\", "
                                                                                   "\"labels\": "
                                                                                   "[\"idle\"], "
                                                                                   "\"provider\": "
                                                                                   "\"lambda\", "
                                                                                   "\"targets\": ["
                                                                                   "{\"name\": "
                                                                                   "\"old\", "
                                                                                   "\"weight\": 0, "
                                                                                   "\"image\": "
                                                                                   "\"arn:aws:"
                                                                                   "lambda:eu-west-"
                                                                                   "1:123456789012:"
                                                                                   "microvm-image:"
                                                                                   "ci2\"}]}]}";

static int setup(void **state)
{
    (void)state;
    ctl_bed_open(text, NULL);
    return 0;
}

static void open_circuit(const char *subject, int64_t for_ms)
{
    char value[LEDGER_CELL_VALUE];
    struct err e;
    int64_t now = clock_wall_ms();
    const struct circuit c = {.since_ms = now,
                              .changed_ms = now,
                              .opens = 1,
                              .open_until_ms = now + for_ms,
                              .why = "AccessDenied"};
    circuit_encode(&c, value);
    MUST(ledger_cell_put(ctl.ledger, CIRCUIT_KIND, subject, value, 0, NULL, &e));
}

/* A VM of class small there, for that job; 0: for one of another scope. */
static struct ledger_vm launch(int64_t job, const char *target)
{
    struct launch_request request = {.class_name = "small", .job = {.id = job}, .spare = 100};
    struct ledger_reservation r;
    struct err e;
    (void)snprintf(request.job.repository, sizeof request.job.repository, "acme/app");
    const struct ledger_reserve what = {.request = &request,
                                        .scope = job != 0 ? "acme" : "other",
                                        .caps = {.fleet = 100, .class_max = 100},
                                        .deployment = "t",
                                        .provider = "lambda",
                                        .host = "",
                                        .target = target};
    MUST(ledger_reserve(ctl.ledger, &what, &r, &e));
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    return r.vm;
}

static const json_t *target_of(const json_t *answer, const char *name)
{
    size_t i;
    const json_t *o;
    json_array_foreach(json_object_get(answer, "targets"), i, o)
    {
        if (strcmp(ctl_str(o, "target"), name) == 0) {
            return o;
        }
    }
    fail_msg("no target %s", name);
    return NULL;
}

static json_t *targets(void)
{
    json_t *answer = NULL;
    struct err e;
    MUST(ctl_targets(&ctl, &answer, &e));
    ctl_targets_print(answer);
    return answer;
}

static void each_target_is_listed_once_with_what_its_classes_share(void **state)
{
    (void)state;
    launch(0, "east");
    json_t *answer = targets();
    const json_t *east = target_of(answer, "east");
    const json_t *west = target_of(answer, "west");
    const json_t *old = target_of(answer, "old");
    assert_int_equal(json_array_size(json_object_get(answer, "targets")), 3);
    assert_string_equal(ctl_str(east, "state"), "open");
    assert_string_equal(ctl_str(east, "region"), "us-east-1");
    assert_string_equal(ctl_str(east, "account"), "123456789012");
    assert_int_equal(ctl_int(east, "vms"), 1);
    assert_int_equal(ctl_int(east, "max_vms"), 2);
    assert_string_equal(ctl_str(west, "role"), "arn:aws:iam::210987654321:role/mayfly");
    assert_int_equal(ctl_int(west, "vms"), 0);
    assert_string_equal(ctl_str(old, "state"), "drained");
    assert_int_equal(json_array_size(json_object_get(old, "classes")), 2);
    json_decref(answer);
}

static void circuits_of_a_target_and_of_a_class_there_are_shown_with_it(void **state)
{
    (void)state;
    open_circuit(EAST, 60000);
    open_circuit("class:small@west", 60000);
    open_circuit("class:small", 60000); /* of a class without targets */
    open_circuit(EAST "1", 60000);      /* another's */
    json_t *answer = targets();
    const json_t *east = target_of(answer, "east");
    const json_t *west = target_of(answer, "west");
    const json_t *of_east = json_object_get(east, "circuits");
    const json_t *of_west = json_object_get(west, "circuits");
    assert_string_equal(ctl_str(east, "state"), "stopped");
    assert_int_equal(json_array_size(of_east), 1);
    assert_string_equal(ctl_str(json_array_get(of_east, 0), "why"), "AccessDenied");
    assert_string_equal(ctl_str(west, "state"), "open");
    assert_int_equal(json_array_size(of_west), 1);
    assert_string_equal(ctl_str(json_array_get(of_west, 0), "class"), "small");
    json_decref(answer);
}

static void target_that_is_not_configured_is_named_while_it_has_vms(void **state)
{
    (void)state;
    launch(0, "gone");
    launch(0, "gone");
    json_t *answer = targets();
    const json_t *gone = json_array_get(json_object_get(answer, "not_configured"), 0);
    assert_string_equal(ctl_str(gone, "target"), "gone");
    assert_int_equal(ctl_int(gone, "vms"), 2);
    json_decref(answer);
}

static void status_has_the_targets_and_vms_their_column(void **state)
{
    json_t *answer = NULL;
    struct err e;
    (void)state;
    launch(0, "west");
    MUST(ctl_status(&ctl, &answer, &e));
    assert_int_equal(ctl_int(target_of(answer, "west"), "vms"), 1);
    ctl_status_print(answer);
    json_decref(answer);
    MUST(ctl_vms(&ctl, &answer, &e));
    assert_string_equal(ctl_str(json_array_get(answer, 0), "target"), "west");
    ctl_vms_print(answer);
    json_decref(answer);
}

/* --- the circuit of a job --- */

static const char *stopped_by(const char *class)
{
    static struct ctl_circuit c;
    struct job job = {.repository = "acme/app"};
    struct err e;
    MUST(ctl_circuit_of_job(&ctl, &job, config_class_by_name(config, slice_of(class)), &c, &e));
    return c.subject;
}

static void add_worker(const char *id)
{
    int64_t version = 0;
    struct ledger_program p = {
        .version = "1", .oldest_format = 1, .newest_format = 1, .interval_ms = 10000};
    struct err e;
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    (void)snprintf(p.classes, sizeof p.classes, "small,idle");
    MUST(ledger_program_beat(ctl.ledger, &p, &version, &e));
}

static void circuits_stop_a_class_only_at_all_its_targets(void **state)
{
    (void)state;
    open_circuit(EAST, 60000);
    assert_string_equal(stopped_by("small"), "");
    open_circuit("class:small", 90000); /* not where it is launched */
    assert_string_equal(stopped_by("small"), "");
    open_circuit("class:small@west", 30000);
    assert_string_equal(stopped_by("small"), "class:small@west"); /* which is probed first */
    open_circuit(WEST, 90000);
    assert_string_equal(stopped_by("small"), EAST);
}

static void target_that_one_host_does_not_reach_stops_a_class_there_alone(void **state)
{
    (void)state;
    add_worker("mayfly-worker/box/1");
    open_circuit(EAST, 60000);
    open_circuit(WEST "@box", 30000);
    assert_string_equal(stopped_by("small"), WEST "@box");
    add_worker("mayfly-worker/crate/1");
    assert_string_equal(stopped_by("small"), "");
}

/* --- why --- */

static char job_seven[] = "7";
static char *arguments[] = {job_seven};

static void wait_for(const char *class)
{
    struct job_message m;
    struct err e;
    struct launch_request request = {.job = {.id = 7}, .requested_ms = clock_wall_ms()};
    ctl_bed_apply(7, JOB_ACTION_QUEUED, class, "");
    (void)snprintf(request.class_name, sizeof request.class_name, "%s", class);
    (void)snprintf(request.job.repository, sizeof request.job.repository, "acme/app");
    (void)snprintf(request.job.class_name, sizeof request.job.class_name, "%s", class);
    job_message_of_launch(&request, 1, &m);
    MUST(job_publish(ctl.queue, &m, &e));
    job_message_fini(&m);
    add_worker("mayfly-worker/box/1");
    ctl.argc = 1;
    ctl.argv = arguments;
}

static void assert_why(const char *reason, const char *part)
{
    json_t *answer = NULL;
    struct err e;
    MUST(ctl_why(&ctl, &answer, &e));
    assert_string_equal(ctl_str(answer, "reason"), reason);
    if (strstr(ctl_str(answer, "sentence"), part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, ctl_str(answer, "sentence"));
    }
    json_decref(answer);
}

static void why_says_target_cap_only_if_each_that_no_circuit_stops_is_full(void **state)
{
    (void)state;
    wait_for("small");
    launch(0, "east");
    launch(0, "east");
    assert_why("in_lane", "nothing stops them");
    open_circuit(WEST, 60000);
    assert_why("target_cap", "is full: 2 of 2 VMs at 1 (targets[].max_vms); 1 more are stopped");
}

static void why_counts_the_full_targets(void **state)
{
    (void)state;
    wait_for("small");
    launch(0, "east");
    launch(0, "east");
    launch(0, "west");
    assert_why("target_cap", "is full: 3 of 3 VMs at 2 (targets[].max_vms); 0 requests");
}

static void why_says_rate_if_no_target_has_a_token(void **state)
{
    struct err e;
    (void)state;
    wait_for("small");
    MUST(ledger_rate_pause(ctl.ledger, "launch@east", clock_wall_ms() + 30000, &e));
    assert_why("in_lane", "nothing stops them");
    launch(0, "west");
    assert_why("rate", "(targets[].launch_rate): the next token is there in 29.");
}

static void why_names_the_circuit_that_is_probed_first(void **state)
{
    (void)state;
    wait_for("small");
    open_circuit(EAST, 60000);
    open_circuit(WEST, 30000);
    assert_why("circuit_open", "all its targets are stopped; of the first to be probed, the "
                               "circuit of " WEST " is open");
}

static void why_asks_for_a_weight_if_all_targets_are_drained(void **state)
{
    (void)state;
    wait_for("idle");
    assert_why("targets_drained", "each target of class idle has weight 0");
}

static void why_names_the_target_of_the_vm_and_what_failed_elsewhere(void **state)
{
    json_t *answer = NULL;
    struct err e;
    (void)state;
    wait_for("small");
    const struct ledger_vm first = launch(7, "east");
    MUST(ledger_log_event(ctl.ledger, 7, first.name, "elsewhere",
                          "tried at small@west: at small@east run failed (about " EAST "): 503",
                          &e));
    const struct ledger_advance gone = {.vm = first.name, .to = VM_GONE, .reason = "failed"};
    const struct ledger_advance ending = {.vm = first.name, .to = VM_ENDING, .reason = "failed"};
    MUST(ledger_vm_advance(ctl.ledger, &ending, NULL, &e));
    MUST(ledger_vm_advance(ctl.ledger, &gone, NULL, &e));
    const struct ledger_vm second = launch(7, "west");
    MUST(ctl_why(&ctl, &answer, &e));
    ctl_why_print(answer);
    assert_string_equal(ctl_str(answer, "target"), "west");
    size_t i;
    size_t of_first = 0;
    size_t of_second = 0;
    const json_t *line;
    json_array_foreach(json_object_get(answer, "timeline"), i, line)
    {
        of_first += strcmp(ctl_str(line, "vm"), first.name) == 0;
        of_second += strcmp(ctl_str(line, "vm"), second.name) == 0;
    }
    assert_int_equal(of_first, 1); /* its failure; not its steps */
    assert_true(of_second > 0);
    json_decref(answer);
}

/* --- images --- */

static bool begin(struct ledger_image *i, void *arg)
{
    ledger_image_begin(i, arg, "1.0", clock_wall_ms());
    return true;
}

static int promote(const char *place, json_t **out, struct err *e)
{
    char name[PLACE_NAME_SIZE];
    char version[] = "2.0";
    char *words[] = {name, version};
    (void)snprintf(name, sizeof name, "%s", place);
    ctl.argc = 2;
    ctl.argv = words;
    return ctl_image_promote(&ctl, out, e);
}

static void image_is_one_of_the_class_at_a_target(void **state)
{
    json_t *answer = NULL;
    struct ledger_image after;
    char arn[] = "arn";
    struct err e = {0};
    (void)state;
    MUST(ledger_image_change(ctl.ledger, "small@west", begin, arn, &after, &e));
    must_fail(promote("small", &answer, &e), &e, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "the configuration has: small@east, small@west, small@old"));
    MUST(promote("small@west", &answer, &e));
    assert_string_equal(ctl_str(answer, "good"), "2.0");
    json_decref(answer);
    MUST(ctl_image_list(&ctl, &answer, &e));
    const json_t *image = json_array_get(answer, 0);
    assert_string_equal(ctl_str(image, "place"), "small@west");
    assert_string_equal(ctl_str(image, "class"), "small");
    assert_string_equal(ctl_str(image, "target"), "west");
    json_decref(answer);
    MUST(ctl_classes(&ctl, &answer, &e));
    assert_int_equal(json_array_size(json_object_get(json_array_get(answer, 0), "images")), 1);
    json_decref(answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, ctl_bed_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_target_is_listed_once_with_what_its_classes_share),
        CASE(circuits_of_a_target_and_of_a_class_there_are_shown_with_it),
        CASE(target_that_is_not_configured_is_named_while_it_has_vms),
        CASE(status_has_the_targets_and_vms_their_column),
        CASE(circuits_stop_a_class_only_at_all_its_targets),
        CASE(target_that_one_host_does_not_reach_stops_a_class_there_alone),
        CASE(why_says_target_cap_only_if_each_that_no_circuit_stops_is_full),
        CASE(why_counts_the_full_targets),
        CASE(why_says_rate_if_no_target_has_a_token),
        CASE(why_names_the_circuit_that_is_probed_first),
        CASE(why_asks_for_a_weight_if_all_targets_are_drained),
        CASE(image_is_one_of_the_class_at_a_target),
        CASE(why_names_the_target_of_the_vm_and_what_failed_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
