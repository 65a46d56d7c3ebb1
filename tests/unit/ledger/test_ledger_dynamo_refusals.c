/*
 * What DynamoDB refuses is the table's trouble, never that of a job or a VM: no error of a step is
 * permanent, not found or a conflict for it, and the same step succeeds when it is over.
 */
#include "tests/unit/ledger/test_ledger_dynamo.h"

static const struct {
    const char *fault; /* without the operation */
    enum err_class class;
    const char *says;
} refusals[] = {
    {"\"error\":\"AccessDeniedException\",\"status\":400", ERR_AUTH, "allow the operation"},
    {"\"error\":\"ExpiredTokenException\",\"status\":400", ERR_AUTH, "renew them"},
    {"\"error\":\"UnrecognizedClientException\",\"status\":400", ERR_AUTH, "check the credentials"},
    {"\"error\":\"ResourceNotFoundException\",\"status\":400", ERR_AUTH, "create the table"},
    {"\"error\":\"ValidationException\",\"status\":400", ERR_AUTH, "deploy/docs/dynamodb.md"},
    {"\"error\":\"SerializationException\",\"status\":400", ERR_AUTH, "check the endpoint"},
    {"\"error\":\"ItemCollectionSizeLimitExceededException\",\"status\":400", ERR_AUTH,
     "no local index"},
    {"\"error\":\"LimitExceededException\",\"status\":400", ERR_CAPACITY, "a quota"},
    {"\"preset\":\"throttle\"", ERR_THROTTLED, "ProvisionedThroughputExceeded"},
    {"\"preset\":\"throttling-exception\"", ERR_THROTTLED, "Throttling"},
    {"\"preset\":\"request-limit\"", ERR_THROTTLED, "RequestLimitExceeded"},
    {"\"preset\":\"internal\"", ERR_RETRY, "InternalServerError"},
    {"\"status\":503,\"body\":\"\"", ERR_RETRY, "503"},
    {"\"status\":502,\"body\":\"<html>Bad Gateway</html>\"", ERR_RETRY, "502"},
    {"\"status\":403,\"body\":\"<html>Forbidden</html>\"", ERR_AUTH, "the proxy"},
    {"\"status\":413,\"body\":\"\"", ERR_AUTH, "413"},
    {"\"drop\":\"before\"", ERR_RETRY, "no response"},
};

static const char *const writes[] = {"TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem"};

static void refuse(const char *const *operations, size_t n, const char *fault)
{
    for (size_t i = 0; i < n; i++) {
        char json[256];
        (void)snprintf(json, sizeof json, "{\"operation\":\"%s\",%s}", operations[i], fault);
        dynamo_fixture_faults(json);
    }
}

static struct ledger *hasty_ledger(const struct dynamo_fixture *f)
{
    char url[600];
    (void)snprintf(url, sizeof url, "%s&timeout=500ms", f->url);
    return dynamo_fixture_open(url);
}

static int try_reserve(struct ledger *l, int64_t id, struct err *e)
{
    struct job_event ev = way_event(id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reservation out;
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = way_caps(),
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box"};
    return ledger_reserve(l, &r, &out, e);
}

static void all_writes_fail(struct ledger *l, const char *vm, enum err_class class,
                            const char *says)
{
    struct ledger_bucket bucket = {.name = "github:1", .per_second = 1, .burst = 5};
    struct job_event ev = way_event(1, JOB_ACTION_IN_PROGRESS, vm);
    struct ledger_effect effect;
    int64_t n;
    bool held;
    struct err e;
    must_fail_saying(try_reserve(l, 2, &e), &e, class, says);
    if (class == ERR_RETRY || class == ERR_THROTTLED) {
        return; /* each call takes all of its time */
    }
    must_fail_saying(ledger_apply_event(l, &ev, "octo", &effect, &e), &e, class, says);
    must_fail_saying(
        ledger_vm_advance(l, &(struct ledger_advance){.vm = vm, .to = VM_ENDING}, NULL, &e), &e,
        class, says);
    must_fail_saying(ledger_lease(l, "sweep", "me", 60000, &held, &n, &e), &e, class, says);
    must_fail_saying(ledger_rate_take(l, &bucket, 1, &n, &e), &e, class, says);
    must_fail_saying(ledger_log_event(l, 1, "", "note", "x", &e), &e, class, says);
}

static void refused_writes_are_the_tables_trouble_and_reads_go_on(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger *l = hasty_ledger(f);
    struct ledger_vm vm = way_launch(f->l, 1);
    struct ledger_job job;
    struct err e;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        refuse(writes, COUNT_OF(writes), refusals[i].fault);
        all_writes_fail(l, vm.name, refusals[i].class, refusals[i].says);
        MUST(ledger_job_get(f->l, 1, &job, &e));
        MUST(ledger_vm_get(f->l, vm.name, &vm, &e));
        dynamo_fixture_faults(NULL);
    }
    MUST(try_reserve(f->l, 2, &e));
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, vm.name);
    way_complete(f->l, 1, vm.name);
    ledger_close(l);
}

static void refused_reads_are_no_missing_rows(void **state)
{
    static const char *const reads[] = {"BatchGetItem", "Query"};
    struct dynamo_fixture *f = *state;
    struct ledger *l = hasty_ledger(f);
    struct ledger_vm vm = way_launch(f->l, 1);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        enum err_class class = refusals[i].class;
        struct ledger_vm *vms = NULL;
        struct ledger_job job;
        size_t n = 0;
        struct err e;
        refuse(reads, COUNT_OF(reads), refusals[i].fault);
        must_fail_saying(ledger_job_get(l, 1, &job, &e), &e, class, refusals[i].says);
        if (class == ERR_RETRY || class == ERR_THROTTLED) {
            dynamo_fixture_faults(NULL);
            continue;
        }
        must_fail_saying(ledger_vm_get(l, vm.name, &vm, &e), &e, class, refusals[i].says);
        must_fail_saying(ledger_vm_heartbeat(l, vm.name, &e), &e, class, refusals[i].says);
        must_fail_saying(ledger_vm_list(l, 1U << VM_LAUNCHED, "", 10, &vms, &n, &e), &e, class,
                         refusals[i].says);
        dynamo_fixture_faults(NULL);
    }
    ledger_close(l);
}

static void refused_parts_of_a_transaction_are_the_tables_trouble(void **state)
{
    static const struct {
        const char *reason;
        enum err_class class;
    } cases[] = {
        {"ProvisionedThroughputExceeded", ERR_THROTTLED},
        {"ThrottlingError", ERR_THROTTLED},
        {"ValidationError", ERR_AUTH},
        {"ItemCollectionSizeLimitExceeded", ERR_AUTH},
        {"TransactionConflict", ERR_RETRY},
        {"AccessDenied", ERR_RETRY},
    };
    struct dynamo_fixture *f = *state;
    struct ledger *l = hasty_ledger(f);
    (void)way_launch(f->l, 1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char fault[160];
        struct err e;
        (void)snprintf(fault, sizeof fault,
                       "{\"operation\":\"TransactWriteItems\",\"reasons\":[\"%s\"]}",
                       cases[i].reason);
        dynamo_fixture_faults(fault);
        must_fail(ledger_log_event(l, 1, "", "note", "x", &e), &e, cases[i].class);
        dynamo_fixture_faults(NULL);
    }
    ledger_close(l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(refused_writes_are_the_tables_trouble_and_reads_go_on),
        DYNAMO_TEST(refused_reads_are_no_missing_rows),
        DYNAMO_TEST(refused_parts_of_a_transaction_are_the_tables_trouble),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
