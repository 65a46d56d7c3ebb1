/* `mayflyctl why`: which open circuit stops a job. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/circuits.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\", \"runner_group\": \"Fleet\"}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"small\"], \"provider\": \"qemu\", \"qemu\": "
    "{\"image\": \"/none\"}},"
    "{\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"lambda\", \"lambda\": "
    "{\"image\": \"arn:aws:lambda:us-east-1:123456789012:microvm-image:ci\"}}]}";

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
                              .why = "test"};
    circuit_encode(&c, value);
    MUST(ledger_cell_put(ctl.ledger, CIRCUIT_KIND, subject, value, 0, NULL, &e));
}

static void add_program(const char *id)
{
    int64_t version = 0;
    struct ledger_program p = {.version = "1", .oldest_format = 1, .newest_format = 1};
    struct err e;
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    MUST(ledger_program_beat(ctl.ledger, &p, &version, &e));
}

static const char *stopped_by(const char *class)
{
    static struct ctl_circuit c;
    struct job job = {.repository = "Acme/app"};
    struct err e;
    MUST(ctl_circuit_of_job(&ctl, &job, config_class_by_name(config, slice_of(class)), &c, &e));
    return c.subject;
}

static void circuit_of_what_the_launch_depends_on_stops_it(void **state)
{
    static const char *const both[] = {"repository:acme/app", "installation:acme",
                                       "runner_group:acme/fleet", "github:api"};
    static const char *const large[] = {"labels:acme/large", "class:large",
                                        "target:lambda/us-east-1/123456789012"};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        assert_int_equal(ctl_bed_close(state) + setup(state), 0);
        open_circuit(both[i], 60000);
        assert_string_equal(stopped_by("large"), both[i]);
        assert_string_equal(stopped_by("small"), both[i]);
    }
    for (size_t i = 0; i < COUNT_OF(large); i++) {
        assert_int_equal(ctl_bed_close(state) + setup(state), 0);
        open_circuit(large[i], 60000);
        assert_string_equal(stopped_by("large"), large[i]);
        assert_string_equal(stopped_by("small"), "");
    }
}

static void circuit_of_something_else_stops_nothing(void **state)
{
    static const char *const others[] = {"repository:acme/app2",
                                         "repository:acme",
                                         "installation:acme2",
                                         "runner_group:acme/other",
                                         "runner_group:acme",
                                         "labels:other/large",
                                         "class:larger",
                                         "target:lambda/us-east-1/999999999999",
                                         "target:lambda/us-east-2/123456789012",
                                         "target:lambda",
                                         "host:box"};
    (void)state;
    add_program("mayfly-worker/box/1");
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        open_circuit(others[i], 60000);
    }
    assert_string_equal(stopped_by("large"), "");
}

static void circuit_of_a_host_stops_a_job_that_no_other_host_can_launch(void **state)
{
    (void)state;
    open_circuit("host:box", 60000);
    assert_string_equal(stopped_by("small"), "");
    add_program("mayfly-worker/Box/1");
    add_program("mayfly-reaper/elsewhere/1");
    assert_string_equal(stopped_by("small"), "host:box");
    assert_string_equal(stopped_by("large"), "");
    add_program("mayfly-worker/attic/1");
    assert_string_equal(stopped_by("small"), "");
    open_circuit("class:small@attic", 30000);
    assert_string_equal(stopped_by("small"), "class:small@attic"); /* which is probed first */
    open_circuit("class:small@box", 90000);
    assert_string_equal(stopped_by("small"), "class:small@attic");
    open_circuit("github:api", 120000);
    assert_string_equal(stopped_by("small"), "github:api");
}

static void credentials_and_proxy_are_a_hosts(void **state)
{
    (void)state;
    add_program("mayfly-worker/box/1");
    add_program("mayfly-worker/crate/1");
    open_circuit("proxy:environment@crate", 90000);
    assert_string_equal(stopped_by("large"), "");
    open_circuit("credentials:github@box", 60000);
    assert_string_equal(stopped_by("large"), "credentials:github@box");
}

/* GitHub's API, and a provider's target, as one host resolves their names. */
static void names_that_a_host_does_not_resolve_are_its_own(void **state)
{
    (void)state;
    add_program("mayfly-worker/box/1");
    add_program("mayfly-worker/crate/1");
    open_circuit("target:lambda/us-east-1/123456789012@crate", 90000);
    assert_string_equal(stopped_by("large"), "");
    open_circuit("github:api@box", 60000);
    assert_string_equal(stopped_by("large"), "github:api@box");
    assert_string_equal(stopped_by("small"), "");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, ctl_bed_close)

/* Notices of the programs that do not report. */
static size_t absent(void)
{
    json_t *answer = NULL;
    struct err e;
    MUST(ctl_status(&ctl, &answer, &e));
    size_t n = json_array_size(json_object_get(answer, "notices"));
    json_decref(answer);
    return n;
}

static void status_names_the_programs_that_do_not_report(void **state)
{
    (void)state;
    assert_int_equal(absent(), 2);
    add_program("mayfly-worker/box/1");
    assert_int_equal(absent(), 1);
    add_program("mayfly-reaper/box/1");
    assert_int_equal(absent(), 0);
}

/* --- circuits, circuits close --- */
static int close_circuit(const char *subject, json_t **out, struct err *e)
{
    char name[LEDGER_CELL_NAME];
    char *words[] = {name};
    (void)snprintf(name, sizeof name, "%s", subject);
    ctl.argc = 1;
    ctl.argv = words;
    return ctl_circuit_close(&ctl, out, e);
}

static void open_circuits_are_listed_and_one_is_closed(void **state)
{
    json_t *answer = NULL;
    struct circuit c;
    struct err e;
    (void)state;
    open_circuit("class:small@box", 60000);
    open_circuit("repository:acme/app", 60000);
    MUST(ctl_circuits_list(&ctl, &answer, &e));
    assert_int_equal(json_array_size(json_object_get(answer, "circuits")), 2);
    json_decref(answer);
    MUST(close_circuit("Repository:Acme/App", &answer, &e)); /* as GitHub compares names */
    assert_string_equal(ctl_str(answer, "subject"), "repository:acme/app");
    assert_string_equal(ctl_str(answer, "why"), "test");
    assert_non_null(strstr(ctl_str(answer, "did"), "the circuit of repository:acme/app is closed"));
    json_decref(answer);
    MUST(circuit_load(ctl.ledger, "repository:acme/app", &c, &e));
    assert_int_equal(c.since_ms, 0);
    assert_string_equal(stopped_by("large"), "");
    MUST(ctl_circuits_list(&ctl, &answer, &e));
    assert_int_equal(json_array_size(json_object_get(answer, "circuits")), 1);
    json_decref(answer);
}

static void circuit_that_is_not_open_is_an_error_that_names_the_open(void **state)
{
    json_t *answer = NULL;
    struct err e = {0};
    (void)state;
    must_fail(close_circuit("class:small", &answer, &e), &e, ERR_NOT_FOUND);
    assert_string_equal(e.message, "no circuit is open for \"class:small\"; none is open");
    open_circuit("github:api", 60000);
    must_fail(close_circuit("class:small", &answer, &e), &e, ERR_NOT_FOUND);
    assert_string_equal(e.message, "no circuit is open for \"class:small\"; open are: github:api");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(circuit_of_what_the_launch_depends_on_stops_it),
        CASE(circuit_of_something_else_stops_nothing),
        CASE(circuit_of_a_host_stops_a_job_that_no_other_host_can_launch),
        CASE(status_names_the_programs_that_do_not_report),
        CASE(credentials_and_proxy_are_a_hosts),
        CASE(open_circuits_are_listed_and_one_is_closed),
        CASE(circuit_that_is_not_open_is_an_error_that_names_the_open),
        CASE(names_that_a_host_does_not_resolve_are_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
