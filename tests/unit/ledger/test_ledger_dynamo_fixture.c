#include "tests/unit/ledger/test_ledger_dynamo.h"

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tests/lib/fake.h"

static const char *table_url = "";
static const char *fake_url = "";

bool dynamo_fixture_start(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s TABLE-URL ADDRESS-OF-THE-STAND-IN\n", argv[0]);
        return false;
    }
    table_url = argv[1];
    fake_url = argv[2];
    return true;
}

/* --- ledgers --- */
struct ledger *dynamo_fixture_open(const char *url)
{
    struct ledger *l = NULL;
    struct err e;
    while (ledger_open(url, &l, &e) != 0) { /* the stand-in has little of a busy processor */
        assert_int_equal(e.class, ERR_RETRY);
    }
    return l;
}

void dynamo_fixture_url(const char *table, const char *more, char *out, size_t size)
{
    const char *options = strchr(table_url, '?');
    if (table[0] == '\0') {
        (void)snprintf(out, size, "%s%s", table_url, more);
    } else {
        (void)snprintf(out, size, "dynamodb://%s%s%s", table, options, more);
    }
}

int dynamo_fixture_setup(void **state)
{
    struct dynamo_fixture *f = calloc(1, sizeof *f);
    char more[64];
    char unique[17];
    void *raw = NULL;
    struct err e;
    assert_non_null(f);
    random_hex(unique, 8);
    (void)snprintf(more, sizeof more, "&prefix=%s", unique);
    dynamo_fixture_url("", more, f->url, sizeof f->url);
    f->l = dynamo_fixture_open(f->url);
    MUST(ledger_ops_dynamo.open(f->url, false, &raw, &e));
    f->d = raw;
    *state = f;
    return 0;
}

int dynamo_fixture_teardown(void **state)
{
    struct dynamo_fixture *f = *state;
    clock_set_source(NULL);
    dynamo_fixture_faults(NULL);
    dynamo_fixture_lag(0);
    ledger_close(f->l);
    ledger_ops_dynamo.close(f->d);
    free(f);
    return 0;
}

/* --- the stand-in's control --- */
void dynamo_fixture_faults(const char *json)
{
    fake_faults(fake_url, json);
}

void dynamo_fixture_lag(int ms)
{
    char body[48];
    (void)snprintf(body, sizeof body, "{\"read_lag_ms\":%d}", ms);
    fake_post(fake_url, "/config", body);
}

/* A number of the state, in the object `of` or at its top (NULL); 0 if it is not there. */
static int64_t state_number(const char *of, const char *name)
{
    json_t *root = fake_call(fake_url, "GET", "/state", "");
    assert_true(json_is_object(root));
    const json_t *object = of != NULL ? json_object_get(root, of) : root;
    int64_t value = json_integer_value(json_object_get(object, name));
    json_decref(root);
    return value;
}

int64_t dynamo_fixture_counter(const char *name)
{
    return state_number(NULL, name);
}

int64_t dynamo_fixture_calls(const char *operation)
{
    return state_number("operations", operation);
}

/* --- behind the ledger --- */
int64_t dynamo_fixture_number(struct dynamo_fixture *f, struct ledger_dynamo_key key,
                              const char *attribute)
{
    struct ledger_dynamo_got got;
    struct err e;
    MUST(ledger_dynamo_get(f->d, &key, 1, &got, &e));
    int64_t n = ledger_dynamo_read_number(got.items[0], attribute);
    ledger_dynamo_got_fini(&got);
    return n;
}

void dynamo_fixture_add(struct dynamo_fixture *f, struct ledger_dynamo_key key,
                        const char *attribute, int64_t by)
{
    struct ledger_dynamo_expr x;
    bool held;
    struct err e;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_add(&x, attribute, by);
    MUST(ledger_dynamo_update_one(f->d, &key, &x, &held, &e));
    ledger_dynamo_expr_fini(&x);
}

size_t dynamo_fixture_items(struct dynamo_fixture *f, const char *pk)
{
    struct ledger_dynamo_got got;
    char full[160];
    struct err e;
    (void)snprintf(full, sizeof full, "%s:%s", f->d->url.prefix, pk);
    struct ledger_dynamo_query q = {.pk = full};
    MUST(ledger_dynamo_query(f->d, &q, &got, &e));
    size_t n = got.count;
    ledger_dynamo_got_fini(&got);
    return n;
}
