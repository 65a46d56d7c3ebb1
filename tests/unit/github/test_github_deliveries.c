/*
 * The log of webhook deliveries: whose it is, how its pages are walked, and what an entry means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

#define LOG "/app/hook/deliveries"
#define ORG_LOG "/orgs/acme/hooks/9/deliveries"

#define ENTRY(id, guid, code, status)                                                              \
    "{\"id\":" id ",\"guid\":\"" guid "\",\"delivered_at\":\"2026-11-20T18:12:03Z\","              \
    "\"redelivery\":false,\"duration\":0.27,\"status\":\"" status "\",\"status_code\":" code ","   \
    "\"event\":\"workflow_job\",\"action\":\"queued\",\"installation_id\":42,"                     \
    "\"repository_id\":1,\"throttled_at\":null}"

static const struct github_hook app_hook = {.id = 0};

static struct github_hook org_hook(void)
{
    return (struct github_hook){.id = 9, .scope = fixture_org()};
}

struct seen {
    struct github_delivery entries[8];
    size_t count;
    size_t stop_at; /* 0: never */
};

static int see(void *arg, const struct github_delivery *d)
{
    struct seen *s = arg;
    assert_true(s->count < COUNT_OF(s->entries));
    s->entries[s->count++] = *d;
    return s->count == s->stop_at ? 1 : 0;
}

static void pages_are_walked_by_the_cursor_of_the_link(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct seen seen = {.count = 0};
    char next[GITHUB_CURSOR_BYTES] = "?";
    char cursor[GITHUB_CURSOR_BYTES] = "";
    fixture_route(f, (struct route){"GET " LOG "?per_page=100&cursor=v1_12%3D", 200, NULL,
                                    "[" ENTRY("12", "c", "202", "OK") "]", 0});
    fixture_route(f, (struct route){"GET " LOG "?per_page=100", 200,
                                    "Link: <https://x/app/hook/deliveries?per_page=100&cursor="
                                    "v1_12%3D>; rel=\"next\"\r\n",
                                    "[" ENTRY("14", "a", "503", "Service Unavailable") "," ENTRY(
                                        "13", "b", "202", "OK") "]",
                                    1});
    assert_int_equal(github_list_deliveries(f->github, &app_hook, "", see, &seen, next, &e), 0);
    assert_string_equal(next, "v1_12%3D");
    memcpy(cursor, next, sizeof cursor);
    assert_int_equal(github_list_deliveries(f->github, &app_hook, cursor, see, &seen, next, &e), 0);
    assert_string_equal(next, "");
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.entries[0].id, 14);
    assert_false(seen.entries[0].ok);
    assert_int_equal(seen.entries[0].status_code, 503);
    assert_true(seen.entries[1].ok);
    assert_string_equal(seen.entries[2].guid, "c");
    assert_int_equal(seen.entries[2].delivered_ms, clock_parse_utc("2026-11-20T18:12:03Z"));
    /* As the App itself: an installation's token opens no App's log. */
    assert_int_equal(f->minted, 0);
    assert_string_equal(f->ledger.taken, "github:app");
}

static void organisations_log_is_read_with_the_installations_token(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct seen seen = {.count = 0};
    struct github_hook h = org_hook();
    char next[GITHUB_CURSOR_BYTES];
    fixture_route(f, (struct route){"GET " ORG_LOG, 200, NULL,
                                    "[" ENTRY("14", "a", "0", "timed out") "]", 0});
    assert_int_equal(github_list_deliveries(f->github, &h, "", see, &seen, next, &e), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(f->minted, 1);
}

static void entry_counts_as_delivered_only_with_a_2xx_and_ok(void **state)
{
    struct err e;
    struct seen seen = {.count = 0};
    struct slice page =
        slice_of("[" ENTRY("1", "a", "200", "OK") "," ENTRY("2", "b", "200", "timed out") "," ENTRY(
            "3", "c", "302", "OK") "," ENTRY("4", "d", "null", "") "]");
    assert_int_equal(github_parse_deliveries(page, see, &seen, &e), 0);
    assert_int_equal(seen.count, 4);
    assert_true(seen.entries[0].ok);
    for (size_t i = 1; i < 4; i++) {
        assert_false(seen.entries[i].ok);
    }
}

static void walk_ends_when_enough_was_seen(void **state)
{
    struct err e;
    struct seen seen = {.stop_at = 1};
    struct slice page =
        slice_of("[" ENTRY("2", "a", "200", "OK") "," ENTRY("1", "b", "200", "OK") "]");
    assert_int_equal(github_parse_deliveries(page, see, &seen, &e), 0);
    assert_int_equal(seen.count, 1);
}

static void answers_that_make_no_sense_are_transient_or_left_out(void **state)
{
    static const char *const senseless[] = {"", "{}", "[", "null", "{\"message\":\"x\"}"};
    struct err e;
    struct buf out;
    struct seen seen = {.count = 0};
    for (size_t i = 0; i < COUNT_OF(senseless); i++) {
        assert_int_equal(github_parse_deliveries(slice_of(senseless[i]), see, &seen, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
    }
    assert_int_equal(github_parse_deliveries(SLICE("[1,null,{},{\"id\":1},{\"id\":2,\"guid\":\"g\","
                                                   "\"delivered_at\":\"soon\"}]"),
                                             see, &seen, &e),
                     0);
    assert_int_equal(seen.count, 0);
    buf_init(&out, 100);
    assert_int_equal(github_parse_payload(SLICE("[]"), &out, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(github_parse_payload(SLICE("{\"request\":{\"payload\":null}}"), &out, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void cursor_that_is_none_ends_the_walk(void **state)
{
    char out[16];
    assert_false(github_next_cursor(SLICE(""), out, sizeof out));
    assert_false(github_next_cursor(SLICE("<https://x?cursor=a>; rel=\"prev\""), out, sizeof out));
    assert_false(github_next_cursor(SLICE("<https://x?page=2>; rel=\"next\""), out, sizeof out));
    assert_false(github_next_cursor(SLICE("<https://x?cursor=>; rel=\"next\""), out, sizeof out));
    assert_false(
        github_next_cursor(SLICE("<https://x?cursor=a b>; rel=\"next\""), out, sizeof out));
    assert_false(github_next_cursor(SLICE("<https://x?cursor=0123456789abcdef>; rel=\"next\""), out,
                                    sizeof out));
    assert_false(github_next_cursor(SLICE("cursor=a; rel=\"next\""), out, sizeof out));
    assert_true(github_next_cursor(
        SLICE("<https://x?cursor=z>; rel=\"prev\", <https://x?cursor=v1_2&per_page=100>; "
              "rel=\"next\""),
        out, sizeof out));
    assert_string_equal(out, "v1_2");
}

static void payload_comes_as_the_text_that_was_sent(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct buf out;
    fixture_route(f, (struct route){"GET " LOG "/14", 200, NULL,
                                    "{\"id\":14,\"request\":{\"headers\":{},\"payload\":"
                                    "{\"action\": \"queued\", \"n\": 9007199254740993}}}",
                                    0});
    buf_init(&out, 1000);
    assert_int_equal(github_delivery_payload(f->github, &app_hook, 14, &out, &e), 0);
    assert_string_equal(out.data, "{\"action\":\"queued\",\"n\":9007199254740993}");
    buf_fini(&out);
}

static void payload_that_is_larger_than_its_place_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct buf out;
    fixture_route(f, (struct route){"GET " LOG "/14", 200, NULL,
                                    "{\"request\":{\"payload\":{\"action\":\"queued\"}}}", 0});
    buf_init(&out, 8);
    assert_int_equal(github_delivery_payload(f->github, &app_hook, 14, &out, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    buf_fini(&out);
}

static void redelivery_is_asked_for_at_the_hook(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_hook h = org_hook();
    fixture_route(f, (struct route){"POST " LOG "/14/attempts", 202, NULL, "{}", 0});
    fixture_route(f, (struct route){"POST " ORG_LOG "/15/attempts", 202, NULL, "{}", 0});
    assert_int_equal(github_redeliver(f->github, &app_hook, 14, &e), 0);
    assert_int_equal(github_redeliver(f->github, &h, 15, &e), 0);
    assert_int_equal(github_redeliver(f->github, &h, 16, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
}

static void personal_token_opens_no_apps_log(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct seen seen = {.count = 0};
    char next[GITHUB_CURSOR_BYTES];
    assert_int_equal(github_list_deliveries(f->github, &app_hook, "", see, &seen, next, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(http_server_count(f->server, ""), 0);
}

static void hook_is_the_configured_one_or_the_apps_own(void **state)
{
    static char none[] = "";
    static char acme[] = "acme";
    static char site[] = "acme/site";
    static char app[] = "Iv23liTest";
    struct config c = {.github = {.app_id = none}};
    struct github_hook h;
    c.github.hook = (struct config_hook){.organization = none, .repository = none};
    assert_false(github_hook_of(&c, &h));
    c.github.app_id = app;
    assert_true(github_hook_of(&c, &h));
    assert_int_equal(h.id, 0);
    c.github.hook = (struct config_hook){.id = 9, .organization = acme, .repository = none};
    assert_true(github_hook_of(&c, &h));
    assert_int_equal(h.id, 9);
    assert_string_equal(h.scope.name, "acme");
    c.github.hook = (struct config_hook){.id = 9, .organization = none, .repository = site};
    assert_true(github_hook_of(&c, &h));
    assert_true(h.scope.is_repository);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_CASE(pages_are_walked_by_the_cursor_of_the_link),
        APP_CASE(organisations_log_is_read_with_the_installations_token),
        cmocka_unit_test(entry_counts_as_delivered_only_with_a_2xx_and_ok),
        cmocka_unit_test(walk_ends_when_enough_was_seen),
        cmocka_unit_test(answers_that_make_no_sense_are_transient_or_left_out),
        cmocka_unit_test(cursor_that_is_none_ends_the_walk),
        APP_CASE(payload_comes_as_the_text_that_was_sent),
        APP_CASE(payload_that_is_larger_than_its_place_is_refused),
        APP_CASE(redelivery_is_asked_for_at_the_hook),
        TOKEN_CASE(personal_token_opens_no_apps_log),
        cmocka_unit_test(hook_is_the_configured_one_or_the_apps_own),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
