/*
 * What a person calls costs the same however many jobs are known: counted in what the store does, not in
 * time. SQLite: steps of its virtual machine, and of them those of a full scan. Redis: commands, those of
 * scripts too, and bytes sent. DynamoDB: requests, none of which is a Scan, and bytes read.
 *
 *   test_ctl_cost LEDGER-URL
 */
#include "tests/lib/cmocka.h"

#include <sqlite3.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/job/lane.h"
#include "common/ledger/circuit.h"
#include "common/redis/store.h"
#include "deploy/ctl/console/console.h"
#include "tests/lib/must.h"
#include "tests/unit/ctl/ctl_bed.h"

static const char text[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"token\": \"x\"}, \"classes\": ["
    "{\"name\": \"small\", \"labels\": [\"linux\", \"x64\"], \"qemu\": {\"image\": \"/i\"}}]}";

static const char *url;
static bool is_slow; /* each call goes over HTTP to a stand-in */
/* --- the measures --- */
struct cost {
    int64_t steps; /* or commands, or requests */
    int64_t scans; /* which must not be */
    int64_t bytes;
};
static struct cost here; /* of this process's calls */

int __real_sqlite3_step(sqlite3_stmt *s);
int __wrap_sqlite3_step(sqlite3_stmt *s);
int __wrap_sqlite3_step(sqlite3_stmt *s)
{
    int rc = __real_sqlite3_step(s);
    here.steps += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
    return rc;
}

int __real_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e);
int __wrap_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e);
int __wrap_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e)
{
    int rc = __real_aws_send(c, call, out, refusal, e);
    here.steps++;
    here.scans += strcmp(call->operation, "Scan") == 0 ? 1 : 0;
    here.bytes += rc == 0 ? (int64_t)out->body.len : 0;
    return rc;
}

static void read_info(struct redis_store *store, const char *section, char *out, size_t size)
{
    struct redis_args args;
    struct redis_reply *r = NULL;
    struct err e;
    redis_args_init(&args);
    redis_arg_text(&args, "INFO");
    redis_arg_text(&args, section);
    MUST(redis_store_call(store, &args, &r, &e));
    (void)!slice_to_cstr(redis_reply_bytes(r), out, size);
    redis_reply_free(r);
    redis_args_fini(&args);
}

/* What the server has done so far, whoever wanted it. */
static struct cost cost_of_redis(void)
{
    static char info[256 * 1024];
    struct cost c = {0};
    struct redis_store *store = NULL;
    struct err e;
    MUST(redis_store_open(url, &store, &e));
    read_info(store, "commandstats", info, sizeof info);
    for (const char *at = info; (at = strstr(at, "cmdstat_")) != NULL; at++) {
        int64_t calls = strtoll(strstr(at, "calls=") + strlen("calls="), NULL, 10);
        bool is_scan = strncmp(at, "cmdstat_keys:", 13) == 0 ||
                       strncmp(at, "cmdstat_scan:", 13) == 0 ||
                       strncmp(at, "cmdstat_hscan:", 14) == 0;
        bool of_opening = strncmp(at, "cmdstat_info:", 13) == 0 ||
                          strncmp(at, "cmdstat_hello:", 14) == 0 ||
                          strncmp(at, "cmdstat_client", 14) == 0;
        c.steps += of_opening ? 0 : calls;
        c.scans += is_scan ? calls : 0;
    }
    read_info(store, "stats", info, sizeof info);
    c.bytes = strtoll(strstr(info, "total_net_output_bytes:") + strlen("total_net_output_bytes:"),
                      NULL, 10);
    redis_store_close(store);
    return c;
}

static struct cost cost_so_far(void)
{
    return strncmp(url, "redis", 5) == 0 ? cost_of_redis() : here;
}

/* --- the ledger --- */
static int64_t next_id;
static int64_t a_job;

static void apply(int64_t id, enum job_action action, const char *runner)
{
    ctl_bed_apply(id, action, "small", runner);
}

/* A VM that was launched, ran its job, and is gone. */
static void add_gone_vm(int64_t id)
{
    struct ledger_reservation got;
    struct launch_request request = {.reason = "job", .class_name = "small"};
    struct ledger_reserve r = {.request = &request,
                               .scope = "acme",
                               .caps = {.fleet = 1000000, .class_max = 1000000},
                               .deployment = "t",
                               .provider = "qemu",
                               .host = "box"};
    struct ledger_advance gone = {.to = VM_GONE, .reason = "test"};
    struct err e;
    request.job =
        (struct job){.id = id, .run_id = 7, .repository = "acme/app", .class_name = "small"};
    MUST(ledger_reserve(ctl.ledger, &r, &got, &e));
    assert_int_equal(got.outcome, LEDGER_RESERVED);
    struct ledger_advance ending = {.vm = got.vm.name, .to = VM_ENDING, .reason = "test"};
    MUST(ledger_vm_advance(ctl.ledger, &ending, NULL, &e));
    gone.vm = got.vm.name;
    MUST(ledger_vm_advance(ctl.ledger, &gone, NULL, &e));
}

/* n jobs of each state, and a tenth as many VMs that are gone. */
static void add_jobs(int n)
{
    for (int i = 0; i < n; i++) {
        apply(++next_id, JOB_ACTION_WAITING, "");
        apply(++next_id, JOB_ACTION_IN_PROGRESS, "elsewhere");
        apply(++next_id, JOB_ACTION_COMPLETED, "elsewhere");
        apply(++next_id, JOB_ACTION_COMPLETED, "");
        if (i % 10 == 0) { /* while few wait, so that each reserves */
            add_gone_vm(++next_id);
        }
        apply(++next_id, JOB_ACTION_QUEUED, "");
    }
}

/* --- the commands --- */
static char a_job_text[24];
static char *words[] = {a_job_text};
static const struct ctl_given ended[] = {{"--limit", "10"}, {"--state", "ended"}};
static const struct ctl_given seen[] = {{"--limit", "10"}, {"--state", "seen"}};
static const struct ctl_given running[] = {{"--limit", "10"}, {"--state", "running"}};
static const struct ctl_given waiting[] = {{"--limit", "10"}, {"--state", "waiting"}};

static const struct command {
    const char *name;
    ctl_build_fn *build;
    const struct ctl_given *given;
} commands[] = {
    {"status", ctl_status, NULL},
    {"classes", ctl_classes, NULL},
    {"circuits", ctl_circuits_list, NULL},
    {"jobs --state ended", ctl_jobs, ended},
    {"jobs --state seen", ctl_jobs, seen},
    {"jobs --state running", ctl_jobs, running},
    {"jobs --state waiting", ctl_jobs, waiting},
    {"vms", ctl_vms, NULL},
    {"hosts", ctl_hosts, NULL},
    {"workers", ctl_workers, NULL},
    {"why", ctl_why, NULL},
};

static struct cost cost_of(const struct command *command)
{
    json_t *answer = NULL;
    struct err e;
    ctl.given = command->given;
    ctl.given_count = command->given != NULL ? 2 : 0;
    ctl.argc = 1;
    ctl.argv = words;
    struct cost before = cost_so_far();
    MUST(command->build(&ctl, &answer, &e));
    struct cost after = cost_so_far();
    json_decref(answer);
    return (struct cost){after.steps - before.steps, after.scans - before.scans,
                         after.bytes - before.bytes};
}

static void read_costs(struct cost *out)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        (void)cost_of(&commands[i]); /* what the first call prepares */
        out[i] = cost_of(&commands[i]);
    }
}

/* A quarter is for longer numbers, and for the server's own talk. */
static bool is_more(int64_t many, int64_t few)
{
    return many > few + few / 4 + 20;
}

static void what_a_person_calls_costs_the_same_for_many_jobs(void **state)
{
    struct cost few[COUNT_OF(commands)];
    struct cost many[COUNT_OF(commands)];
    /* DynamoDB counts in 64 items, which few jobs do not fill. */
    const int64_t spread = is_slow ? 64 * (int64_t)100 : 0;
    int failed = 0;
    (void)state;
    add_jobs(12); /* a page of ten, and more */
    a_job = next_id;
    (void)snprintf(a_job_text, sizeof a_job_text, "%lld", (long long)a_job);
    read_costs(few);
    add_jobs(is_slow ? 50 : 500);
    read_costs(many);
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        printf("%-24s few %6lld steps %8lld bytes; many %6lld steps %8lld bytes\n",
               commands[i].name, (long long)few[i].steps, (long long)few[i].bytes,
               (long long)many[i].steps, (long long)many[i].bytes);
        assert_int_equal(many[i].scans, 0);
        assert_true(few[i].steps > 0);
        failed += is_more(many[i].steps, few[i].steps) ||
                  (strncmp(url, "memory", 6) != 0 &&
                   is_more(many[i].bytes, few[i].bytes + spread + 1000));
    }
    assert_int_equal(failed, 0);
}

/* Where few jobs fit, a page ends early and says how to go on. */
static void page_of_what_hardly_occurs_looks_at_a_bounded_number_of_jobs(void **state)
{
    static const struct ctl_given rare[] = {{"--limit", "10"}, {"--state", "cancelled"}};
    static const struct command command = {"jobs --state cancelled", ctl_jobs, rare};
    json_t *answer = NULL;
    struct err e;
    (void)state;
    if (is_slow) {
        skip();
    }
    for (int i = 0; i < 2 * LEDGER_JOBS_LOOKED_AT; i++) {
        apply(++next_id, JOB_ACTION_COMPLETED, "elsewhere");
    }
    ctl.given = rare;
    ctl.given_count = 2;
    MUST(ctl_jobs(&ctl, &answer, &e));
    assert_int_equal(json_array_size(json_object_get(answer, "jobs")), 0);
    assert_string_not_equal(ctl_str(answer, "next"), "");
    json_decref(answer);
    struct cost two = cost_of(&command);
    for (int i = 0; i < LEDGER_JOBS_LOOKED_AT; i++) {
        apply(++next_id, JOB_ACTION_COMPLETED, "elsewhere");
    }
    struct cost three = cost_of(&command);
    assert_false(is_more(three.steps, two.steps));
    assert_int_equal(three.scans, 0);
}

/* What the console reads by itself: a snapshot a second, and what is usual. The jobs of the test before fill its
 * lists. */
static int build_snapshot(struct ctl *c, json_t **out, struct err *e)
{
    struct snapshot s = {.count = 0};
    c->serves = true;
    int rc = snapshot_build(&s, c, out, e);
    c->serves = false;
    snapshot_fini(&s);
    return rc;
}

static int build_usual(struct ctl *c, json_t **out, struct err *e)
{
    return usual_build(c, "small", out, e);
}

static const struct ctl_given of_repository[] = {{"--repository", "acme/app"}, {"--limit", "10"}};
static const struct command of_console[] = {
    {"console: a snapshot", build_snapshot, NULL},
    {"console: what is usual", build_usual, NULL},
    {"jobs --repository", ctl_jobs, of_repository},
};

static void what_the_console_reads_costs_the_same_for_many_jobs(void **state)
{
    struct cost few[COUNT_OF(of_console)];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(of_console); i++) {
        (void)cost_of(&of_console[i]);
        few[i] = cost_of(&of_console[i]);
    }
    add_jobs(is_slow ? 0 : CONSOLE_JOBS_OF_LATENCY);
    for (size_t i = 0; i < COUNT_OF(of_console); i++) {
        struct cost many = cost_of(&of_console[i]);
        printf("%-24s few %6lld steps %8lld bytes; many %6lld steps %8lld bytes\n",
               of_console[i].name, (long long)few[i].steps, (long long)few[i].bytes,
               (long long)many.steps, (long long)many.bytes);
        assert_int_equal(many.scans, 0);
        assert_false(is_more(many.steps, few[i].steps));
        assert_true(!is_slow || many.steps < 600); /* requests, with three causes */
    }
}

static int setup(void **state)
{
    (void)state;
    ctl_bed_open(text, url);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_person_calls_costs_the_same_for_many_jobs),
        cmocka_unit_test(what_the_console_reads_costs_the_same_for_many_jobs),
        cmocka_unit_test(page_of_what_hardly_occurs_looks_at_a_bounded_number_of_jobs),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s LEDGER-URL\n", argv[0]);
        return 2;
    }
    url = argv[1];
    is_slow = strncmp(url, "dynamodb", 8) == 0;
    return cmocka_run_group_tests(tests, setup, ctl_bed_close);
}
