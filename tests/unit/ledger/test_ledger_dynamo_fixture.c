#include "tests/unit/ledger/test_ledger_dynamo.h"

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/http/client.h"

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
    MUST(ledger_open(url, &l, &e));
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
    MUST(ledger_ops_dynamo.open(f->url, &raw, &e));
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
static void control(const char *method, const char *path, const char *body,
                    struct http_response *out)
{
    struct http_client_options o = {
        .user_agent = "test", .proxy = "", .connect_timeout_ms = 5000, .timeout_ms = 20000};
    struct http_client *c = NULL;
    char url[256];
    struct err e;
    (void)snprintf(url, sizeof url, "%s%s", fake_url, path);
    MUST(http_client_new(&o, &c, &e));
    const char *headers[] = {"Content-Type: application/json"};
    struct http_request r = {.method = method,
                             .url = url,
                             .headers = headers,
                             .header_count = COUNT_OF(headers),
                             .body = slice_of(body)};
    MUST(http_send(c, &r, out, &e));
    assert_in_range(out->status, 200, 299);
    http_client_free(c);
}

void dynamo_fixture_faults(const char *json)
{
    struct http_response r;
    control(json != NULL ? "POST" : "DELETE", "/_fake/faults", json, &r);
    http_response_fini(&r);
}

void dynamo_fixture_lag(int ms)
{
    struct http_response r;
    char body[48];
    (void)snprintf(body, sizeof body, "{\"read_lag_ms\":%d}", ms);
    control("POST", "/_fake/config", body, &r);
    http_response_fini(&r);
}

/* A number of the state, in the object `of` or at its top (NULL); 0 if it is not there. */
static int64_t state_number(const char *of, const char *name)
{
    struct http_response r;
    control("GET", "/_fake/state", NULL, &r);
    json_t *root = json_loadb(r.body.data, r.body.len, 0, NULL);
    assert_true(json_is_object(root));
    const json_t *object = of != NULL ? json_object_get(root, of) : root;
    int64_t value = json_integer_value(json_object_get(object, name));
    json_decref(root);
    http_response_fini(&r);
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

/* --- the way of a job --- */
struct job_event dynamo_fixture_event(int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = {.action = action,
                           .job_id = id,
                           .run_id = id,
                           .run_attempt = 1,
                           .installation_id = 99,
                           .repository = "octo/app",
                           .status = "queued",
                           .name = "build",
                           .class_name = "small"};
    (void)snprintf(ev.runner_name, sizeof ev.runner_name, "%s", runner);
    return ev;
}

struct ledger_caps dynamo_fixture_caps(void)
{
    return (struct ledger_caps){.fleet = 1000000, .class_max = 1000000};
}

struct ledger_reservation dynamo_fixture_reserve(struct ledger *l, int64_t id,
                                                 struct ledger_caps caps)
{
    struct job_event ev = dynamo_fixture_event(id, JOB_ACTION_QUEUED, "");
    struct ledger_reserve r = {.job = &ev,
                               .scope = "octo",
                               .caps = caps,
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box"};
    struct ledger_reservation out;
    struct err e;
    MUST(ledger_reserve(l, &r, &out, &e));
    return out;
}

void dynamo_fixture_note(struct ledger *l, int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = dynamo_fixture_event(id, action, runner);
    struct ledger_effect effect;
    struct err e;
    MUST(ledger_note(l, &ev, "octo", &effect, &e));
}

void dynamo_fixture_bring(struct ledger *l, const char *vm, enum ledger_vm_state to)
{
    for (int s = VM_REGISTERED; s <= (int)to; s++) {
        struct ledger_advance a = {.vm = vm, .to = (enum ledger_vm_state)s};
        bool changed = false;
        struct err e;
        a.runner_id = s == VM_REGISTERED ? 7 : 0;
        a.vm_id = s == VM_LAUNCHED ? "vm-1" : NULL;
        MUST(ledger_vm_advance(l, &a, &changed, &e));
        assert_true(changed);
    }
}

int64_t dynamo_fixture_used(struct ledger *l)
{
    struct ledger_caps caps = dynamo_fixture_caps();
    struct ledger_room room;
    struct err e;
    MUST(ledger_room(l, "small", &caps, &room, &e));
    assert_int_equal(room.fleet_used, room.class_used);
    return room.fleet_used;
}

int dynamo_fixture_lines(struct ledger *l, int64_t job_id, const char *what)
{
    struct ledger_entry *lines = NULL;
    size_t n = 0;
    int found = 0;
    struct err e;
    MUST(ledger_timeline(l, job_id, &lines, &n, &e));
    for (size_t i = 0; i < n; i++) {
        found += strcmp(lines[i].what, what) == 0 ? 1 : 0;
    }
    free(lines);
    return found;
}
