/* GitHub's ranges: what is taken from an answer, and what stays in use when there is none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "ingress/peer/hook_ranges.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/http/http_server.h"

#define WAIT_MS 30000

static const char good[] = "{\"api\":[\"1.0.0.0/24\"],\"hooks\":[\"192.30.252.0/22\","
                           "\"2a0a:a440::\\/29\"],\"web\":[]}";

/* --- one answer ------------------------------------------------------------------------------- */

static void answer_gives_its_hooks_alone(void **state)
{
    struct ip_prefix list[4];
    size_t count = 0;
    assert_null(hook_ranges_parse(SLICE("{\"hooks\":[\"192.30.252.0/22\",\"2a0a:a440::/29\"]}"),
                                  list, 4, &count));
    assert_int_equal(count, 2);
    assert_int_equal(list[0].bits, 22);
    assert_true(list[1].base.v6);
}

static void answer_that_is_not_what_it_must_be_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "<html>",
        "[]",
        "{}",
        "{\"hooks\":[]}",
        "{\"hooks\":null}",
        "{\"hooks\":\"192.30.252.0/22\"}",
        "{\"hooks\":[1]}",
        "{\"hooks\":[\"github.com\"]}",
        "{\"hooks\":[\"192.30.252.1/22\"]}",
        "{\"hooks\":[\"0.0.0.0/0\"]}",
        "{\"hooks\":[\"1.0.0.0/24\",\"::/0\"]}",
        "{\"hooks\":[\"1.0.0.0/24\",\"2.0.0.0/24\",\"3.0.0.0/24\"]}", /* more than max */
        "{\"hooks\":[\"1.0.0.0/24\"],\"hooks\":[\"2.0.0.0/24\"]}",
    };
    struct ip_prefix list[2];
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        size_t count = 77;
        assert_non_null(hook_ranges_parse(slice_of(bad[i]), list, 2, &count));
        assert_int_equal(count, 77);
    }
}

/* --- the thread ------------------------------------------------------------------------------- */

struct github {
    int failures; /* answers that are to fail first */
    const char *body;
};

static void serve_meta(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct github *g = arg;
    assert_string_equal(q->target, "/api/meta");
    assert_string_equal(served_header(q, "Authorization"), "");
    a->status = g->failures > 0 ? 503 : 200;
    g->failures--;
    buf_append_cstr(&a->body, g->body);
}

static struct hook_ranges *start(struct http_server *server, const char *file)
{
    char url[128];
    struct err e = {0};
    struct hook_ranges *h = NULL;
    (void)snprintf(url, sizeof url, "%s/api", http_server_url(server));
    const struct hook_ranges_options o = {.api_url = url, .ca_file = "", .file = file};
    MUST(hook_ranges_start(&o, &h, &e));
    return h;
}

static void wait_until_known(struct hook_ranges *h)
{
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (!hook_ranges_known(h, NULL)) {
        assert_true(clock_mono_ms() < until_ms);
        clock_sleep_until(clock_mono_ms() + 5);
    }
}

static void wait_for_requests(struct http_server *server, size_t n)
{
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    while (http_server_count(server, "GET ") < n) {
        assert_true(clock_mono_ms() < until_ms);
        clock_sleep_until(clock_mono_ms() + 5);
    }
}

static bool contain(struct hook_ranges *h, const char *text)
{
    struct ip_address a;
    assert_true(ip_address_parse(slice_of(text), &a));
    return hook_ranges_contain(h, &a);
}

static void failure_is_tried_again_and_nobody_is_known_until_then(void **state)
{
    struct github github = {.failures = 1, .body = good};
    struct http_server *server = http_server_start(serve_meta, &github);
    struct hook_ranges *h = start(server, "");
    wait_until_known(h);
    assert_int_equal(http_server_count(server, "GET "), 2);
    assert_true(contain(h, "192.30.255.255"));
    assert_true(contain(h, "2a0a:a440::1"));
    assert_false(contain(h, "1.0.0.1"));
    hook_ranges_stop(h);
    http_server_stop(server);
}

static void without_any_copy_the_reason_is_given(void **state)
{
    struct github github = {.failures = 0, .body = "{\"hooks\":[]}"};
    struct buf why;
    struct http_server *server = http_server_start(serve_meta, &github);
    struct hook_ranges *h = start(server, "");
    wait_for_requests(server, 2); /* so that the first answer has been judged */
    buf_init(&why, 1024);
    assert_false(hook_ranges_known(h, &why));
    assert_non_null(strstr(why.data, "allow_from: GitHub's ranges are not known yet: GET http"));
    assert_non_null(strstr(why.data, "the answer has `hooks` that is no list"));
    assert_false(contain(h, "192.30.252.1"));
    buf_fini(&why);
    hook_ranges_stop(h);
    http_server_stop(server);
}

static void copy_in_the_file_is_used_while_github_is_away(void **state)
{
    char directory[] = "/tmp/hook-ranges-XXXXXX";
    char file[64];
    struct err e = {0};
    struct github github = {.failures = 0, .body = good};
    assert_non_null(mkdtemp(directory));
    (void)snprintf(file, sizeof file, "%s/spool.hook-ranges", directory);

    struct http_server *server = http_server_start(serve_meta, &github);
    struct hook_ranges *h = start(server, file);
    wait_until_known(h);
    hook_ranges_stop(h); /* after the write, which is of the same turn */
    github = (struct github){.failures = 1000, .body = good};
    h = start(server, file);
    assert_true(hook_ranges_known(h, NULL));
    assert_true(contain(h, "192.30.252.1"));
    wait_for_requests(server, 3);
    assert_true(contain(h, "2a0a:a440::1"));
    hook_ranges_stop(h);

    MUST(fs_write_atomic(file, SLICE("{\"hooks\":[\"0.0.0.0/0\"]}"), 0640, &e));
    h = start(server, file);
    assert_false(hook_ranges_known(h, NULL));
    hook_ranges_stop(h);
    http_server_stop(server);
    MUST(fs_remove_tree(directory, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer_gives_its_hooks_alone),
        cmocka_unit_test(answer_that_is_not_what_it_must_be_is_refused),
        cmocka_unit_test(failure_is_tried_again_and_nobody_is_known_until_then),
        cmocka_unit_test(without_any_copy_the_reason_is_given),
        cmocka_unit_test(copy_in_the_file_is_used_while_github_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
