

#include <stdio.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/github/webhook.h"
#include "common/job/vm_name.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/webhook_body.h"

/* docs.github.com, "Validating webhook deliveries", recomputed. */
#define DOC_SECRET "It's a Secret to Everybody"
#define DOC_BODY "Hello, World!"
#define DOC_SIGNATURE "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

static const char config_text[] =
    "queue: sqlite:///q.db\n"
    "ledger: sqlite:///l.db\n"
    "github:\n"
    "  webhook_secrets: [\"secret number one\"]\n"
    "  repositories: [octo-org/*, other/one]\n"
    "classes:\n"
    "  - {name: big, labels: [self-hosted, linux, x64, big], required_labels: [big],\n"
    "     provider: qemu, qemu: {image: /nowhere}}\n"
    "  - {name: small, labels: [self-hosted, linux, x64], required_labels: [self-hosted],\n"
    "     provider: qemu, qemu: {image: /nowhere}}\n";

static int load_config(void **state)
{
    struct err e = {0};
    struct config *c = NULL;
    if (config_parse(slice_of(config_text), "test", CONFIG_FOR_INGRESS, &c, NULL, &e) != 0) {
        fprintf(stderr, "%s\n", e.message);
        return -1;
    }
    *state = c;
    return 0;
}

static int free_config(void **state)
{
    config_free(*state);
    return 0;
}

/* --- signatures ------------------------------------------------------------------------------ */

static bool verify(const char *body, const char *signature, const char *first, const char *second)
{
    char a[64];
    char b[64];
    char *items[] = {a, b};
    const struct config_list secrets = {items, second != NULL ? 2 : 1};
    assert_true(slice_to_cstr(slice_of(first), a, sizeof a));
    assert_true(slice_to_cstr(slice_of(second), b, sizeof b));
    return webhook_verify(slice_of(body), slice_of(signature), &secrets);
}

static void verify_githubs_vector_is_valid(void **state)
{
    assert_true(verify(DOC_BODY, DOC_SIGNATURE, DOC_SECRET, NULL));
}

static void verify_any_of_several_secrets_will_do(void **state)
{
    assert_true(verify(DOC_BODY, DOC_SIGNATURE, "the new one", DOC_SECRET));
    assert_true(verify(DOC_BODY, DOC_SIGNATURE, DOC_SECRET, "the new one"));
    assert_false(verify(DOC_BODY, DOC_SIGNATURE, "the new one", "the old one"));
}

static void verify_changed_body_is_invalid(void **state)
{
    assert_false(verify("Hello, World?", DOC_SIGNATURE, DOC_SECRET, NULL));
    assert_false(verify("", DOC_SIGNATURE, DOC_SECRET, NULL));
}

static void verify_other_forms_of_signature_are_invalid(void **state)
{
    static const char *const forms[] = {
        "",
        "sha256=",
        "sha1=757107ea0eb2509fc211221cce984b8a37570b6d",
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "SHA256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        (DOC_SIGNATURE "0"),
        (DOC_SIGNATURE " "),
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1g",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e18",
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        assert_false(verify(DOC_BODY, forms[i], DOC_SECRET, NULL));
    }
}

static void verify_without_a_secret_is_invalid(void **state)
{
    /* The HMAC of the body under an empty key: still nobody's signature. */
    static const char empty_key[] =
        "sha256=2bbcfa9524f3218c7a34b30e6936f8b1a4516cb097f1a85a1c7d98b5977ec769";
    const struct config_list none = {NULL, 0};
    assert_false(webhook_verify(SLICE(DOC_BODY), SLICE(DOC_SIGNATURE), &none));
    assert_false(verify(DOC_BODY, empty_key, "", NULL));
}

/* --- routing ---------------------------------------------------------------------------------- */

struct outcome {
    enum webhook_verdict verdict;
    const char *reason;
    struct job_event ev;
};

static struct outcome parse_text(const struct config *c, const char *event, const char *type,
                                 struct slice body)
{
    struct outcome o = {.reason = ""};
    const struct webhook_request r = {
        slice_of(event), SLICE("72d3162e-cc78-11e3-81ab-4c9367dc0958"), slice_of(type), body};
    memset(&o.ev, 0x55, sizeof o.ev);
    o.verdict = webhook_parse(&r, c, &o.ev, &o.reason);
    return o;
}

static struct outcome parse_body(const struct config *c, const struct webhook_body *b)
{
    struct buf body;
    buf_init(&body, 65536);
    webhook_body_append(&body, b);
    assert_false(body.failed);
    struct outcome o = parse_text(c, "workflow_job", "application/json", buf_slice(&body));
    buf_fini(&body);
    return o;
}

static void expect(struct outcome o, enum webhook_verdict verdict, const char *reason)
{
    assert_string_equal(o.reason, reason);
    assert_int_equal(o.verdict, verdict);
}

static void parse_queued_job_launches_its_class(void **state)
{
    const struct webhook_body queued = webhook_body_queued();
    struct outcome o = parse_body(*state, &queued);
    expect(o, WEBHOOK_LAUNCH, "");
    assert_string_equal(o.ev.job.class_name, "small");
    assert_int_equal(o.ev.action, JOB_ACTION_QUEUED);
    assert_true(o.ev.job.id == 100520616165);
    assert_true(o.ev.job.run_id == 33714470481);
    assert_int_equal(o.ev.job.run_attempt, 2);
    assert_int_equal(o.ev.job.installation_id, 6003001);
    assert_int_equal(o.ev.runner_id, 0);
    assert_true(o.ev.job.created_ms == 1795198323000);
    assert_true(o.ev.received_ms > 0);
    assert_string_equal(o.ev.delivery, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    assert_string_equal(o.ev.status, "queued");
    assert_string_equal(o.ev.job.conclusion, "");
    assert_string_equal(o.ev.job.repository, "octo-org/octo-repo");
    assert_string_equal(o.ev.job.organization, "octo-org");
    assert_string_equal(o.ev.job.runner_name, "");
    assert_string_equal(o.ev.job.name, "build (ubuntu, \xc3\xbc)");
    assert_string_equal(o.ev.job.workflow, "CI");
    assert_string_equal(o.ev.job.labels, "self-hosted,linux,x64");
}

static void parse_labels_choose_the_class(void **state)
{
    struct webhook_body b = webhook_body_queued();
    b.labels = "[\"SELF-hosted\",\"\\u0042ig\"]";
    struct outcome o = parse_body(*state, &b);
    expect(o, WEBHOOK_LAUNCH, "");
    assert_string_equal(o.ev.job.class_name, "big");
    assert_string_equal(o.ev.job.labels, "SELF-hosted,Big");
}

static void parse_facts_about_jobs_are_events(void **state)
{
    struct webhook_body b = webhook_body_queued();
    b.status = "\"waiting\"";
    expect(parse_body(*state, &b), WEBHOOK_EVENT, "");
    b.action = "\"waiting\"";
    expect(parse_body(*state, &b), WEBHOOK_EVENT, "");
    b.action = "\"in_progress\"";
    b.status = "\"in_progress\"";
    b.runner_id = "42";
    b.runner_name = "\"mayfly-1\"";
    struct outcome o = parse_body(*state, &b);
    expect(o, WEBHOOK_EVENT, "");
    assert_int_equal(o.ev.runner_id, 42);
    assert_string_equal(o.ev.job.runner_name, "mayfly-1");
    b.action = "\"completed\"";
    b.conclusion = "\"cancelled\"";
    b.runner_id = "0";
    o = parse_body(*state, &b);
    expect(o, WEBHOOK_EVENT, "");
    assert_int_equal(o.ev.action, JOB_ACTION_COMPLETED);
    assert_string_equal(o.ev.job.conclusion, "cancelled");
}

static void parse_what_is_not_for_us_is_ignored(void **state)
{
    struct webhook_body b = webhook_body_queued();
    b.labels = "[\"ubuntu-latest\"]";
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "labels_not_matched");
    b.labels = "[]";
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "no_labels");
    b.labels = "null";
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "no_labels");
    b.labels = NULL;
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "no_labels");
    b = webhook_body_queued();
    b.full_name = "\"stranger/repo\"";
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "repository_not_allowed");
    b = webhook_body_queued();
    b.action = "\"transferred\"";
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "action_unknown");
    b.action = "\"an action with a name far longer than any we know of today\"";
    expect(parse_body(*state, &b), WEBHOOK_IGNORED, "action_unknown");
}

/* A class that was renamed or removed has jobs that run. */
static void parse_event_of_our_runner_is_followed_whatever_its_labels(void **state)
{
    static const char *const labels[] = {"[\"former\"]", "[]", "null", NULL};
    const struct config *c = *state;
    char name[VM_NAME_SIZE];
    char ours[VM_NAME_SIZE + 2];
    vm_name_make(c->deployment, "former", name);
    (void)snprintf(ours, sizeof ours, "\"%s\"", name);
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        struct webhook_body b = webhook_body_queued();
        b.labels = labels[i];
        b.runner_name = ours;
        expect(parse_body(*state, &b), WEBHOOK_IGNORED,
               i == 0 ? WEBHOOK_REASON_LABELS : WEBHOOK_REASON_NO_LABELS); /* queued */
        b.action = "\"in_progress\"";
        struct outcome o = parse_body(*state, &b);
        expect(o, WEBHOOK_EVENT, "");
        assert_string_equal(o.ev.job.class_name, "");
        assert_string_equal(o.ev.job.runner_name, name);
        b.runner_name = "\"somebody-elses\"";
        assert_int_equal(parse_body(*state, &b).verdict, WEBHOOK_IGNORED);
        b.action = "\"completed\"";
        assert_int_equal(parse_body(*state, &b).verdict, WEBHOOK_IGNORED);
        b.runner_name = "null"; /* cancelled while it waited */
        expect(parse_body(*state, &b), WEBHOOK_EVENT, "");
        b.full_name = "\"stranger/repo\"";
        expect(parse_body(*state, &b), WEBHOOK_IGNORED, "repository_not_allowed");
    }
}

/* It counts as public unless both members say otherwise; what runs already is followed. */
static void parse_job_of_a_public_repository_is_refused_unless_allowed(void **state)
{
    static const struct {
        const char *is_private;
        const char *visibility;
        bool refused;
    } cases[] = {{"true", "\"private\"", false},
                 {"true", "\"internal\"", false},
                 {"true", NULL, false},
                 {"false", "\"public\"", true},
                 {"false", NULL, true},
                 {"true", "\"public\"", true},
                 {NULL, NULL, true},
                 {"null", "\"private\"", true},
                 {"\"true\"", NULL, true}};
    struct config allowing = *(struct config *)*state;
    char allow[] = "allow";
    allowing.github.public_repositories = allow;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct webhook_body b = webhook_body_queued();
        b.is_private = cases[i].is_private;
        b.visibility = cases[i].visibility;
        struct outcome o = parse_body(*state, &b);
        expect(o, cases[i].refused ? WEBHOOK_REFUSED : WEBHOOK_LAUNCH,
               cases[i].refused ? WEBHOOK_REASON_PUBLIC : "");
        assert_true(o.ev.job.id == 100520616165);
        assert_string_equal(o.ev.job.repository, "octo-org/octo-repo");
        expect(parse_body(&allowing, &b), WEBHOOK_LAUNCH, "");
        b.action = "\"waiting\"";
        expect(parse_body(*state, &b), cases[i].refused ? WEBHOOK_REFUSED : WEBHOOK_EVENT,
               cases[i].refused ? WEBHOOK_REASON_PUBLIC : "");
        b.action = "\"in_progress\"";
        expect(parse_body(*state, &b), WEBHOOK_EVENT, "");
        b.action = "\"completed\"";
        expect(parse_body(*state, &b), WEBHOOK_EVENT, "");
        b = webhook_body_queued();
        b.is_private = "false";
        b.labels = "[\"ubuntu-latest\"]";
        expect(parse_body(*state, &b), WEBHOOK_IGNORED, "labels_not_matched");
    }
}

static void parse_job_null_is_ignored(void **state)
{
    expect(parse_text(*state, "workflow_job", "application/json",
                      SLICE("{\"action\":\"queued\",\"workflow_job\":null}")),
           WEBHOOK_IGNORED, "job_null");
}

static void parse_other_events_are_ignored_unread(void **state)
{
    expect(parse_text(*state, "ping", "application/json", SLICE("not json")), WEBHOOK_IGNORED,
           "ping");
    expect(parse_text(*state, "push", "application/json", SLICE("{}")), WEBHOOK_IGNORED,
           "event_unsupported");
}

static void parse_malformed_job_is_refused(void **state)
{
    static const struct {
        size_t member;
        const char *json;
        const char *reason;
    } cases[] = {
        {offsetof(struct webhook_body, action), NULL, "no_action"},
        {offsetof(struct webhook_body, action), "7", "no_action"},
        {offsetof(struct webhook_body, id), NULL, "no_job_id"},
        {offsetof(struct webhook_body, id), "0", "no_job_id"},
        {offsetof(struct webhook_body, id), "1.5", "no_job_id"},
        {offsetof(struct webhook_body, id), "\"1\"", "no_job_id"},
        {offsetof(struct webhook_body, status), "{}", "bad_job"},
        {offsetof(struct webhook_body, runner_id), "-1", "bad_job"},
        {offsetof(struct webhook_body, runner_id), "true", "bad_job"},
        {offsetof(struct webhook_body, runner_name), "[]", "bad_job"},
        {offsetof(struct webhook_body, labels), "\"linux\"", "bad_labels"},
        {offsetof(struct webhook_body, labels), "[1]", "bad_labels"},
        {offsetof(struct webhook_body, full_name), NULL, "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"octo-org\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"/x\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a/b/c\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a/..\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a/.\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a b/c\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a/c?d\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a.b/c\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a/\\u00e9\"", "no_repository"},
        {offsetof(struct webhook_body, full_name), "\"a/b\\u0000\"", "no_repository"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct webhook_body b = webhook_body_queued();
        memcpy((char *)&b + cases[i].member, &cases[i].json, sizeof cases[i].json);
        expect(parse_body(*state, &b), WEBHOOK_MALFORMED, cases[i].reason);
    }
}

static void parse_too_many_labels_is_refused(void **state)
{
    struct buf labels;
    struct webhook_body b = webhook_body_queued();
    buf_init(&labels, 4096);
    for (int i = 0; i <= JOB_LABELS_MAX; i++) {
        buf_append_cstr(&labels, i == 0 ? "[\"linux\"" : ",\"linux\"");
    }
    buf_append_byte(&labels, ']');
    b.labels = labels.data;
    expect(parse_body(*state, &b), WEBHOOK_MALFORMED, "bad_labels");
    buf_fini(&labels);
}

static void parse_malformed_text_is_refused(void **state)
{
    static const struct {
        const char *type;
        const char *body;
        const char *reason;
    } cases[] = {
        {"application/json", "", "not_json"},
        {"application/json", "[]", "not_json"},
        {"application/json", "{\"action\":\"queued\"}", "no_job"},
        {"application/json", "{\"action\":\"queued\",\"workflow_job\":7}", "no_job"},
        {"text/plain", "{}", "content_type"},
        {"", "{}", "content_type"},
        {"application/jsonx", "{}", "content_type"},
        {"application/x-www-form-urlencoded", "", "bad_form"},
        {"application/x-www-form-urlencoded", "other={}", "bad_form"},
        {"application/x-www-form-urlencoded", "payload=%7", "bad_form"},
        {"application/x-www-form-urlencoded", "payload=%7B%7D&payload=%7B%7D", "bad_form"},
        {"application/x-www-form-urlencoded", "payload=%7B", "not_json"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        expect(parse_text(*state, "workflow_job", cases[i].type, slice_of(cases[i].body)),
               WEBHOOK_MALFORMED, cases[i].reason);
    }
}

static void parse_headers_are_demanded(void **state)
{
    static const struct {
        struct slice event;
        struct slice delivery;
        const char *reason;
    } cases[] = {
        {{NULL, 0}, {"x", 1}, "no_event"},
        {{"ping", 4}, {NULL, 0}, "bad_delivery_id"},
        {{"ping", 4}, {"a b", 3}, "bad_delivery_id"},
        {{"ping", 4},
         {"0123456789012345678901234567890123456789012345678901234567890123", 64},
         "bad_delivery_id"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct outcome o = {.reason = ""};
        const struct webhook_request r = {cases[i].event, cases[i].delivery,
                                          SLICE("application/json"), SLICE("{}")};
        o.verdict = webhook_parse(&r, *state, &o.ev, &o.reason);
        expect(o, WEBHOOK_MALFORMED, cases[i].reason);
    }
}

static void parse_form_body_is_as_good_as_json(void **state)
{
    const struct webhook_body queued = webhook_body_queued();
    struct buf json;
    struct buf form;
    buf_init(&json, 65536);
    buf_init(&form, 4 * 65536);
    webhook_body_append(&json, &queued);
    buf_append_cstr(&form, "before=1&payload=");
    codec_percent(&form, buf_slice(&json));
    buf_append_cstr(&form, "&after=x%");
    struct outcome o =
        parse_text(*state, "workflow_job", "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
                   buf_slice(&form));
    expect(o, WEBHOOK_LAUNCH, "");
    assert_string_equal(o.ev.job.name, "build (ubuntu, \xc3\xbc)");
    buf_fini(&form);
    buf_fini(&json);
}

static void parse_long_texts_are_cut_at_a_character(void **state)
{
    struct webhook_body b = webhook_body_queued();
    struct buf name;
    buf_init(&name, 1024);
    buf_append_byte(&name, '"');
    for (int i = 0; i < 100; i++) {
        buf_append_cstr(&name, "\xe2\x82\xac");
    }
    buf_append_byte(&name, '"');
    b.name = name.data;
    struct outcome o = parse_body(*state, &b);
    expect(o, WEBHOOK_LAUNCH, "");
    assert_int_equal(strlen(o.ev.job.name), 102);
    buf_fini(&name);
}

/* As parse_long_texts_are_cut_at_a_character, of characters of four bytes, and written with escapes. */
static void parse_name_of_a_workflow_is_optional_and_bounded(void **state)
{
    static const char *const missing[] = {NULL, "null", "\"\""};
    struct webhook_body b = webhook_body_queued();
    struct buf name;
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        b.workflow_name = missing[i];
        struct outcome o = parse_body(*state, &b);
        expect(o, WEBHOOK_LAUNCH, "");
        assert_string_equal(o.ev.job.workflow, "");
    }
    b.workflow_name = "7";
    expect(parse_body(*state, &b), WEBHOOK_MALFORMED, "bad_job");
    buf_init(&name, 1024);
    buf_append_cstr(&name, "\"\\ud83d\\ude80\xf0\x9f\x9a\x80");
    for (int i = 0; i < 60; i++) {
        buf_append_cstr(&name, "\xf0\x9f\x9a\x80");
    }
    buf_append_byte(&name, '"');
    b.workflow_name = name.data;
    struct outcome o = parse_body(*state, &b);
    expect(o, WEBHOOK_LAUNCH, "");
    assert_int_equal(strlen(o.ev.job.workflow), 100);
    for (size_t at = 0; at < 100; at += 4) {
        assert_memory_equal(o.ev.job.workflow + at, "\xf0\x9f\x9a\x80", 4);
    }
    buf_fini(&name);
}

static void parse_ignored_job_is_still_described(void **state)
{
    struct webhook_body b = webhook_body_queued();
    b.labels = "[\"self-hosted\", \"ubuntu-latest\"]";
    struct outcome o = parse_body(*state, &b);
    expect(o, WEBHOOK_IGNORED, WEBHOOK_REASON_LABELS);
    assert_true(o.ev.job.id == 100520616165);
    assert_int_equal(o.ev.action, JOB_ACTION_QUEUED);
    assert_string_equal(o.ev.job.repository, "octo-org/octo-repo");
    assert_string_equal(o.ev.job.labels, "self-hosted,ubuntu-latest");
    assert_string_equal(o.ev.job.class_name, "");
    o = parse_text(*state, "ping", "application/json", SLICE("{}"));
    expect(o, WEBHOOK_IGNORED, "ping");
    assert_true(o.ev.job.id == 0);
}

static void parse_malformed_body_leaves_the_event_alone(void **state)
{
    struct webhook_body b = webhook_body_queued();
    struct job_event untouched;
    memset(&untouched, 0x55, sizeof untouched);
    b.labels = "[1]";
    struct outcome o = parse_body(*state, &b);
    expect(o, WEBHOOK_MALFORMED, "bad_labels");
    assert_memory_equal(&o.ev, &untouched, sizeof untouched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify_githubs_vector_is_valid),
        cmocka_unit_test(verify_any_of_several_secrets_will_do),
        cmocka_unit_test(verify_changed_body_is_invalid),
        cmocka_unit_test(verify_other_forms_of_signature_are_invalid),
        cmocka_unit_test(verify_without_a_secret_is_invalid),
        cmocka_unit_test(parse_queued_job_launches_its_class),
        cmocka_unit_test(parse_labels_choose_the_class),
        cmocka_unit_test(parse_facts_about_jobs_are_events),
        cmocka_unit_test(parse_what_is_not_for_us_is_ignored),
        cmocka_unit_test(parse_event_of_our_runner_is_followed_whatever_its_labels),
        cmocka_unit_test(parse_job_of_a_public_repository_is_refused_unless_allowed),
        cmocka_unit_test(parse_job_null_is_ignored),
        cmocka_unit_test(parse_other_events_are_ignored_unread),
        cmocka_unit_test(parse_malformed_job_is_refused),
        cmocka_unit_test(parse_too_many_labels_is_refused),
        cmocka_unit_test(parse_malformed_text_is_refused),
        cmocka_unit_test(parse_headers_are_demanded),
        cmocka_unit_test(parse_form_body_is_as_good_as_json),
        cmocka_unit_test(parse_long_texts_are_cut_at_a_character),
        cmocka_unit_test(parse_name_of_a_workflow_is_optional_and_bounded),
        cmocka_unit_test(parse_ignored_job_is_still_described),
        cmocka_unit_test(parse_malformed_body_leaves_the_event_alone),
    };
    return cmocka_run_group_tests(tests, load_config, free_config);
}
