/*
 * Where the App is installed: lists that must be complete, or fail.
 */
#include "tests/unit/github/github_fixture.h"

#include <stdio.h>

#include "tests/lib/cmocka.h"

#define ALL "/app/installations?per_page=100&page="
#define REPOSITORIES "/installation/repositories?per_page=100&page="
#define NEXT "Link: <https://x/next>; rel=\"next\"\r\n"
#define ONE(id, login, type, suspended)                                                            \
    "{\"id\":" id ",\"account\":{\"login\":\"" login "\",\"type\":\"" type                         \
    "\"},\"suspended_at\":" suspended "}"

struct seen {
    struct github_installation list[8];
    char repositories[8][REPOSITORY_SIZE];
    size_t count;
    size_t stop_at; /* 0: never */
};

static int see(void *arg, const struct github_installation *i)
{
    struct seen *s = arg;
    s->list[s->count++] = *i;
    return s->count == s->stop_at ? 1 : 0;
}

static int see_repository(void *arg, const char *repository)
{
    struct seen *s = arg;
    (void)snprintf(s->repositories[s->count++], REPOSITORY_SIZE, "%s", repository);
    return s->count == s->stop_at ? 1 : 0;
}

static void installations_of_every_page_are_told(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.count = 0};
    struct err e;
    fixture_route(f, (struct route){"GET " ALL "1", 200, NEXT,
                                    "[" ONE("41", "acme", "Organization", "null") "]", 0});
    fixture_route(
        f, (struct route){"GET " ALL "2", 200, NULL,
                          "[" ONE("42", "someone", "User", "\"2026-11-20T18:12:03Z\"") "]", 0});
    assert_int_equal(github_list_installations(f->github, see, &seen, &e), 0);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.list[0].id, 41);
    assert_string_equal(seen.list[0].owner, "acme");
    assert_true(seen.list[0].is_organization);
    assert_false(seen.list[0].suspended);
    assert_int_equal(seen.list[1].id, 42);
    assert_false(seen.list[1].is_organization);
    assert_true(seen.list[1].suspended);
    seen = (struct seen){.stop_at = 1};
    assert_int_equal(github_list_installations(f->github, see, &seen, &e), 0);
    assert_int_equal(seen.count, 1);
}

/* Without an item the list would be a shorter one. */
static void list_with_an_item_that_cannot_be_read_is_an_error(void **state)
{
    static const char *const bodies[] = {
        "[{\"id\":41}]", "[" ONE("0", "acme", "Organization", "null") "]", "{}", "[7]"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct fixture *f = *state;
        struct seen seen = {.count = 0};
        struct err e;
        fixture_route(f, (struct route){"GET " ALL "1", 200, NULL, bodies[i], 1});
        assert_int_equal(github_list_installations(f->github, see, &seen, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_int_equal(seen.count, 0);
    }
}

static void page_that_fails_fails_the_list(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.count = 0};
    struct err e;
    fixture_route(f, (struct route){"GET " ALL "1", 200, NEXT,
                                    "[" ONE("41", "acme", "Organization", "null") "]", 0});
    fixture_route(f, (struct route){"GET " ALL "2", 502, NULL, "", 0});
    assert_int_equal(github_list_installations(f->github, see, &seen, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
}

static void repositories_are_those_of_the_installation(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.count = 0};
    struct err e;
    fixture_route(f, (struct route){"GET " REPOSITORIES "1", 200, NEXT,
                                    "{\"repositories\":[{\"full_name\":\"acme/a\"}]}", 0});
    fixture_route(f, (struct route){"GET " REPOSITORIES "2", 200, NULL,
                                    "{\"repositories\":[{\"full_name\":\"acme/b\"}]}", 1});
    assert_int_equal(github_list_repositories(f->github, 42, see_repository, &seen, &e), 0);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.repositories[0], "acme/a");
    assert_string_equal(seen.repositories[1], "acme/b");
    assert_int_equal(http_server_count(f->server, "POST /app/installations/42/access_tokens"), 1);
    fixture_route(f, (struct route){"GET " REPOSITORIES "2", 200, NULL,
                                    "{\"repositories\":[{\"id\":7}]}", 0});
    assert_int_equal(github_list_repositories(f->github, 42, see_repository, &seen, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
}

static void personal_token_has_no_installations(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.count = 0};
    struct err e;
    assert_int_equal(github_list_installations(f->github, see, &seen, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
}

int main(void)
{
    fixture_main_clock();
    const struct CMUnitTest tests[] = {
        APP_CASE(installations_of_every_page_are_told),
        APP_CASE(list_with_an_item_that_cannot_be_read_is_an_error),
        APP_CASE(page_that_fails_fails_the_list),
        APP_CASE(repositories_are_those_of_the_installation),
        TOKEN_CASE(personal_token_has_no_installations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
