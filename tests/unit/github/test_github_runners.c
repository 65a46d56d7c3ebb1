#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

#define RUNNERS "/orgs/acme/actions/runners"
#define JITCONFIG "POST " RUNNERS "/generate-jitconfig"
#define GROUPS "GET /orgs/acme/actions/runner-groups"
#define TAKEN "{\"message\":\"Already exists - A runner with the name *** already exists.\"}"

static const struct route jit_route = {JITCONFIG, 201, NULL, JIT_BODY, 0};
static const struct route groups_route = {GROUPS, 200, NULL, GROUPS_BODY, 0};

static char label_a[] = "self-hosted";
static char label_b[] = "micro\"vm";
static char *label_items[] = {label_a, label_b};
static const struct config_list labels = {label_items, 2};

static int register_as(struct fixture *f, const struct github_scope *s, const char *name,
                       const char *group, struct err *e)
{
    struct github_jit jit = {.config = NULL};
    const struct github_register r = {.scope = s, .name = name, .labels = &labels, .group = group};
    int rc = github_register_runner(f->github, &r, &jit, e);
    if (rc == 0) {
        assert_int_equal(jit.runner_id, 23);
        assert_string_equal(jit.config, "eyJhIjoxfQ==");
    } else {
        assert_null(jit.config);
    }
    github_jit_fini(&jit);
    return rc;
}

static int register_org(struct fixture *f, const char *group, struct err *e)
{
    struct github_scope s = fixture_org();
    return register_as(f, &s, "mf-1", group, e);
}

static const struct served_request *find_request(struct fixture *f, const char *target)
{
    for (size_t i = http_server_count(f->server, ""); i > 0; i--) {
        const struct served_request *q = http_server_request(f->server, i - 1);
        if (strcmp(q->target, target) == 0) {
            return q;
        }
    }
    fail_msg("no request for %s", target);
    return NULL;
}

static json_t *body_sent(struct fixture *f, const char *target)
{
    json_t *root = json_loads(find_request(f, target)->body.data, 0, NULL);
    assert_non_null(root);
    return root;
}

/* --- registering ------------------------------------------------------------------------------ */

static void registering_in_an_organisation_sends_what_github_wants(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, groups_route);
    assert_int_equal(register_org(f, "Fast ones", &e), 0);
    json_t *body = body_sent(f, RUNNERS "/generate-jitconfig");
    const json_t *sent = json_object_get(body, "labels");
    assert_int_equal(json_array_size(sent), 2);
    assert_string_equal(json_string_value(json_array_get(sent, 0)), "self-hosted");
    assert_string_equal(json_string_value(json_array_get(sent, 1)), "micro\"vm");
    assert_string_equal(json_string_value(json_object_get(body, "name")), "mf-1");
    assert_int_equal(json_integer_value(json_object_get(body, "runner_group_id")), 7);
    assert_string_equal(json_string_value(json_object_get(body, "work_folder")), "_work");
    json_decref(body);
    assert_string_equal(
        served_header(find_request(f, RUNNERS "/generate-jitconfig"), "Content-Type"),
        "application/json");
}

static void registering_in_a_repository_uses_group_one_without_asking(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_scope s = fixture_repository();
    fixture_route(f, (struct route){"POST /repos/acme/site/actions/runners/generate-jitconfig", 201,
                                    NULL, JIT_BODY, 0});
    assert_int_equal(register_as(f, &s, "mf-1", "Fast ones", &e), 0);
    json_t *body = body_sent(f, "/repos/acme/site/actions/runners/generate-jitconfig");
    assert_int_equal(json_integer_value(json_object_get(body, "runner_group_id")), 1);
    json_decref(body);
    assert_int_equal(http_server_count(f->server, ""), 2);
}

static void many_registrations_cost_one_call_each(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, groups_route);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(register_org(f, "Default", &e), 0);
    }
    assert_int_equal(http_server_count(f->server, JITCONFIG), 50);
    assert_int_equal(http_server_count(f->server, ""), 52);
    assert_int_equal(f->ledger.takes, 52);
}

static void the_groups_are_read_again_after_ten_minutes(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, groups_route);
    assert_int_equal(register_org(f, "", &e), 0);
    fixture_move_clock(INT64_C(9) * 60 * 1000);
    assert_int_equal(register_org(f, "", &e), 0);
    assert_int_equal(http_server_count(f->server, GROUPS), 1);
    fixture_move_clock(INT64_C(2) * 60 * 1000);
    assert_int_equal(register_org(f, "", &e), 0);
    assert_int_equal(http_server_count(f->server, GROUPS), 2);
}

static void a_group_on_the_second_page_is_found(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, (struct route){GROUPS "?per_page=100&page=2", 200, NULL, GROUPS_BODY, 0});
    fixture_route(f, (struct route){GROUPS "?per_page=100&page=1", 200,
                                    "Link: <https://x/?page=2>; rel=\"next\"\r\n",
                                    "{\"runner_groups\":[{\"id\":3,\"name\":\"Slow\"}]}", 0});
    assert_int_equal(register_org(f, "fast ONES", &e), 0);
    assert_int_equal(http_server_count(f->server, GROUPS), 2);
}

static void whether_a_group_admits_a_repository_is_asked_once(void **state)
{
    struct fixture *f = *state;
    struct github_scope s = fixture_org();
    struct err e;
    bool admits = false;
    fixture_route(f, groups_route);
    fixture_route(f,
                  (struct route){GROUPS "?per_page=100&page=1&visible_to_repository=se.cr-et", 200,
                                 NULL, "{\"runner_groups\":[{\"id\":3,\"name\":\"Slow\"}]}", 0});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(github_group_admits(f->github, &s, "Fast Ones", "acme/app", &admits, &e),
                         0);
        assert_true(admits);
        assert_int_equal(
            github_group_admits(f->github, &s, "Fast Ones", "acme/se.cr-et", &admits, &e), 0);
        assert_false(admits);
    }
    assert_int_equal(http_server_count(f->server, GROUPS), 2);
    assert_int_equal(github_group_admits(f->github, &s, "Fast Ones", "acme/a&b", &admits, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(http_server_count(f->server, GROUPS), 2);
}

static void an_unknown_group_is_permanent_and_names_the_mend(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, groups_route);
    assert_int_equal(register_org(f, "Nowhere", &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "\"Nowhere\""));
    assert_non_null(strstr(e.message, "runner_group"));
}

static void a_group_made_anew_is_looked_up_again(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, groups_route);
    assert_int_equal(register_org(f, "Default", &e), 0);
    fixture_route(f, (struct route){JITCONFIG, 404, NULL, "{\"message\":\"Not Found\"}", 1});
    assert_int_equal(register_org(f, "Default", &e), 0);
    assert_int_equal(http_server_count(f->server, GROUPS), 2);
    fixture_route(f, (struct route){JITCONFIG, 404, NULL, "{\"message\":\"Not Found\"}", 0});
    assert_int_equal(register_org(f, "Default", &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(http_server_count(f->server, JITCONFIG), 5);
}

static void a_name_that_is_taken_is_deleted_and_made_anew(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, groups_route);
    fixture_route(f, (struct route){JITCONFIG, 409, NULL, TAKEN, 1});
    fixture_route(f, (struct route){"GET " RUNNERS "?name=mf-1&", 200, NULL,
                                    "{\"total_count\":2,\"runners\":["
                                    "{\"id\":8,\"name\":\"mf-10\"},{\"id\":9,\"name\":\"mf-1\"}]}",
                                    0});
    fixture_route(f, (struct route){"DELETE " RUNNERS "/9", 204, NULL, NULL, 1});
    assert_int_equal(register_org(f, "Default", &e), 0);
    assert_int_equal(http_server_count(f->server, JITCONFIG), 2);
    assert_int_equal(http_server_count(f->server, "DELETE " RUNNERS "/9"), 1);
    assert_int_equal(http_server_count(f->server, "DELETE "), 1);
}

static void a_taken_name_that_is_gone_meanwhile_is_made_anew(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, jit_route);
    fixture_route(f, groups_route);
    fixture_route(f, (struct route){JITCONFIG, 409, NULL, TAKEN, 1});
    fixture_route(f, (struct route){"GET " RUNNERS "?name=", 200, NULL, "{\"runners\":[]}", 0});
    assert_int_equal(register_org(f, "Default", &e), 0);
    assert_int_equal(http_server_count(f->server, "DELETE "), 0);
}

static void a_taken_name_at_work_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, groups_route);
    fixture_route(f, (struct route){JITCONFIG, 409, NULL, TAKEN, 0});
    fixture_route(f,
                  (struct route){"GET " RUNNERS "?name=", 200, NULL,
                                 "{\"runners\":[{\"id\":9,\"name\":\"mf-1\",\"busy\":true}]}", 0});
    fixture_route(f, (struct route){"DELETE " RUNNERS "/9", 422, NULL,
                                    "{\"message\":\"Runner is currently running a job\"}", 0});
    assert_int_equal(register_org(f, "Default", &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_non_null(strstr(e.message, "mf-1"));
    assert_int_equal(http_server_count(f->server, JITCONFIG), 1);
}

static void a_name_taken_twice_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, groups_route);
    fixture_route(f, (struct route){JITCONFIG, 409, NULL, TAKEN, 0});
    fixture_route(f, (struct route){"GET " RUNNERS "?name=", 200, NULL,
                                    "{\"runners\":[{\"id\":9,\"name\":\"mf-1\"}]}", 0});
    fixture_route(f, (struct route){"DELETE " RUNNERS "/9", 204, NULL, NULL, 0});
    assert_int_equal(register_org(f, "Default", &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(http_server_count(f->server, JITCONFIG), 2);
}

static void what_github_would_refuse_is_not_sent(void **state)
{
    struct fixture *f = *state;
    struct err e;
    char longer[70];
    struct github_scope s = fixture_org();
    struct github_jit jit;
    const struct config_list none = {NULL, 0};
    struct github_register r = {.scope = &s, .name = "mf-1", .labels = &none, .group = ""};
    memset(longer, 'a', 65);
    longer[65] = '\0';
    assert_int_equal(github_register_runner(f->github, &r, &jit, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(register_as(f, &s, "", "", &e), -1);
    assert_int_equal(register_as(f, &s, longer, "", &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(http_server_count(f->server, ""), 0);
}

static void an_answer_that_is_no_configuration_is_retry(void **state)
{
    static const char *const bodies[] = {
        "", "{}", "{\"runner\":{\"id\":23},\"encoded_jit_config\":\"\"}",
        "{\"runner\":{\"id\":0},\"encoded_jit_config\":\"AAAA\"}",
        "{\"runner\":{\"id\":23},\"encoded_jit_config\":\"<script>\"}"};
    struct fixture *f = *state;
    fixture_route(f, groups_route);
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct err e;
        fixture_route(f, (struct route){JITCONFIG, 201, NULL, bodies[i], 1});
        assert_int_equal(register_org(f, "Default", &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
    }
}

static void answer_at_length(struct fixture *f, const struct served_request *q,
                             struct served_answer *a)
{
    (void)f;
    (void)q;
    buf_append_cstr(&a->body, "{\"runner\":{\"id\":23},\"encoded_jit_config\":\"");
    for (int i = 0; i < 300 * 1024; i++) {
        buf_append_byte(&a->body, 'A');
    }
    buf_append_cstr(&a->body, "\"}");
}

static void an_oversized_configuration_is_permanent(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, groups_route);
    f->script = answer_at_length;
    assert_int_equal(register_org(f, "Default", &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "limit"));
}

/* --- finding, listing, deleting --------------------------------------------------------------- */

static void finding_takes_the_exact_name_only(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_runner r;
    struct github_scope s = fixture_org();
    fixture_route(f,
                  (struct route){"GET " RUNNERS "?name=mf%201%26x&per_page=100&page=1", 200, NULL,
                                 "{\"runners\":[{\"id\":8,\"name\":\"mf 1&xy\"},"
                                 "{\"id\":9,\"name\":\"mf 1&x\",\"status\":\"online\"}]}",
                                 0});
    assert_int_equal(github_find_runner(f->github, &s, "mf 1&x", &r, &e), 0);
    assert_int_equal(r.id, 9);
    assert_true(r.online);
    assert_false(r.busy);
    fixture_route(f, (struct route){"GET " RUNNERS "?name=mf-1&", 200, NULL,
                                    "{\"runners\":[{\"id\":8,\"name\":\"mf-10\"}]}", 0});
    assert_int_equal(github_find_runner(f->github, &s, "mf-1", &r, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
}

static void a_runner_that_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_runner r;
    struct github_scope s = fixture_org();
    assert_int_equal(github_get_runner(f->github, &s, 77, &r, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
}

static void deleting_what_github_does_not_find_is_told(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_scope s = fixture_repository();
    assert_int_equal(github_delete_runner(f->github, &s, 77, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(http_server_count(f->server, "DELETE /repos/acme/site/actions/runners/77"), 1);
    fixture_route(f, (struct route){"DELETE ", 204, NULL, NULL, 0});
    assert_int_equal(github_delete_runner(f->github, &s, 78, &e), 0);
}

static void deleting_a_busy_runner_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_scope s = fixture_org();
    fixture_route(f, (struct route){"DELETE ", 422, NULL, "{\"message\":\"busy\"}", 0});
    assert_int_equal(github_delete_runner(f->github, &s, 77, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(e.code, 422);
}

struct seen {
    int64_t ids[512];
    size_t count;
    size_t stop_after;
};

static int note(void *arg, const struct github_runner *r)
{
    struct seen *seen = arg;
    assert_true(seen->count < COUNT_OF(seen->ids));
    seen->ids[seen->count++] = r->id;
    return seen->stop_after != 0 && seen->count == seen->stop_after ? 1 : 0;
}

/* 250 runners; pages by the query's numbers, with or without a Link header. */
static bool with_link;

static void serve_pages(struct fixture *f, const struct served_request *q, struct served_answer *a)
{
    const char *at = strstr(q->target, "page=100&page=");
    int64_t page = 0;
    (void)f;
    if (at == NULL || !slice_to_int64(slice_of(at + 14), &page)) {
        a->status = 201;
        buf_append_cstr(&a->body, "{\"token\":\"ghs_1\"}");
        return;
    }
    buf_append_cstr(&a->body, "{\"total_count\":250,\"runners\":[");
    for (int64_t id = (page - 1) * 100 + 1; id <= page * 100 && id <= 250; id++) {
        buf_printf(&a->body, "%s{\"id\":%lld,\"name\":\"r-%lld\"}", id % 100 == 1 ? "" : ",",
                   (long long)id, (long long)id);
    }
    buf_append_cstr(&a->body, "]}");
    if (with_link) {
        buf_printf(&a->headers, "Link: <https://api/x?page=%lld>; rel=\"%s\"\r\n", (long long)page,
                   page < 3 ? "next" : "prev");
    }
}

static void listing_walks_all_pages(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_scope s = fixture_org();
    f->script = serve_pages;
    for (int round = 0; round < 2; round++) {
        struct seen seen = {.count = 0};
        with_link = round == 1;
        assert_int_equal(github_list_runners(f->github, &s, GITHUB_RECONCILE, note, &seen, &e), 0);
        assert_int_equal(seen.count, 250);
        for (size_t i = 0; i < seen.count; i++) {
            assert_int_equal(seen.ids[i], i + 1);
        }
    }
    assert_int_equal(http_server_count(f->server, "GET " RUNNERS), 6);
}

static void listing_ends_when_the_caller_has_enough(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct seen seen = {.stop_after = 120};
    struct github_scope s = fixture_org();
    f->script = serve_pages;
    assert_int_equal(github_list_runners(f->github, &s, GITHUB_RECONCILE, note, &seen, &e), 0);
    assert_int_equal(seen.count, 120);
    assert_int_equal(http_server_count(f->server, "GET " RUNNERS), 2);
}

static void listing_that_fails_on_a_page_fails(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct seen seen = {.count = 0};
    struct github_scope s = fixture_org();
    f->script = serve_pages;
    fixture_route(f, (struct route){"GET " RUNNERS "?per_page=100&page=2", 502, NULL, "", 0});
    assert_int_equal(github_list_runners(f->github, &s, GITHUB_RECONCILE, note, &seen, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(seen.count, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_CASE(registering_in_an_organisation_sends_what_github_wants),
        APP_CASE(registering_in_a_repository_uses_group_one_without_asking),
        APP_CASE(many_registrations_cost_one_call_each),
        APP_CASE(the_groups_are_read_again_after_ten_minutes),
        APP_CASE(a_group_on_the_second_page_is_found),
        APP_CASE(an_unknown_group_is_permanent_and_names_the_mend),
        APP_CASE(whether_a_group_admits_a_repository_is_asked_once),
        APP_CASE(a_group_made_anew_is_looked_up_again),
        APP_CASE(a_name_that_is_taken_is_deleted_and_made_anew),
        APP_CASE(a_taken_name_that_is_gone_meanwhile_is_made_anew),
        APP_CASE(a_taken_name_at_work_is_a_conflict),
        APP_CASE(a_name_taken_twice_is_a_conflict),
        APP_CASE(what_github_would_refuse_is_not_sent),
        APP_CASE(an_answer_that_is_no_configuration_is_retry),
        TOKEN_CASE(an_oversized_configuration_is_permanent),
        APP_CASE(finding_takes_the_exact_name_only),
        APP_CASE(a_runner_that_is_not_there_is_not_found),
        APP_CASE(deleting_what_github_does_not_find_is_told),
        APP_CASE(deleting_a_busy_runner_is_a_conflict),
        APP_CASE(listing_walks_all_pages),
        APP_CASE(listing_ends_when_the_caller_has_enough),
        APP_CASE(listing_that_fails_on_a_page_fails),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
