/*
 * What the tests of common/github share: a scripted GitHub, a scripted ledger, an App's key and a
 * clock that can be moved.
 *
 * The ledger here is a stand-in at link time: the test program defines the two functions that
 * common/github calls, so the real one is not linked. Routes are tried in order; a route with
 * `times` > 0 is used up. Without a matching route the answer is GitHub's 404. The App's token is
 * minted by the fixture itself unless a route comes first: "ghs_1", "ghs_2", …
 */
#ifndef MAYFLY_TESTS_GITHUB_FIXTURE_H
#define MAYFLY_TESTS_GITHUB_FIXTURE_H

#include "common/github/internal.h"
#include "common/ledger/ledger.h"
#include "tests/unit/http/http_server.h"

#define ROUTES_MAX 32

struct route {
    const char *line; /* what "METHOD /target" begins with */
    int status;
    const char *headers; /* whole lines with CRLF; NULL none */
    const char *body;    /* NULL: empty */
    int times;           /* 0: for ever */
};

/* The stand-in for the ledger. */
struct ledger {
    pthread_mutex_t lock;
    int64_t waits[8]; /* what the next takes answer, in order; 0 afterwards */
    size_t wait_count;
    size_t takes;
    bool broken;
    double per_second; /* of the last take */
    int64_t burst;
    int64_t cost;
    char taken[64];       /* the bucket of the last take */
    char all_taken[4096]; /* of all takes, as far as they fit, each after a space */
    char paused[64];
    int64_t paused_until_ms;
    size_t pauses;
};

struct fixture {
    struct http_server *server;
    struct github *github;
    struct config config;
    struct ledger ledger;
    struct route routes[ROUTES_MAX];
    size_t route_count;
    int minted;
    int64_t token_life_ms;
    size_t mint_waits_for; /* the mint holds its answer until so many threads wait in the cache */
    void (*script)(struct fixture *f, const struct served_request *q, struct served_answer *a);
};

/* The App's key, made once per program. */
EVP_PKEY *fixture_key(void);
const char *fixture_key_pem(void);

/* Another one, owned by the caller. */
char *fixture_other_key_pem(void);
/* Whether calls were taken from a bucket whose name begins so. */
bool fixture_took(const struct fixture *f, const char *prefix);

/* Moves the wall clock by so much; fixture_main_clock() comes first in main(). */
void fixture_main_clock(void);
void fixture_move_clock(int64_t ms);

int fixture_set_up_app(void **state);
int fixture_set_up_token(void **state);
int fixture_tear_down(void **state);
/* A server, and a configuration without App and token; f: zeros, on the heap. */
void fixture_make(struct fixture *f);

/* Adds before those that are there. */
void fixture_route(struct fixture *f, struct route r);

/* Scopes of installation 42. */
struct github_scope fixture_org(void);
struct github_scope fixture_repository(void);

#define JIT_BODY                                                                                   \
    "{\"runner\":{\"id\":23,\"name\":\"mf-1\",\"os\":\"unknown\",\"status\":\"offline\","          \
    "\"busy\":false,\"labels\":[]},\"encoded_jit_config\":\"eyJhIjoxfQ==\"}"
#define GROUPS_BODY                                                                                \
    "{\"total_count\":2,\"runner_groups\":[{\"id\":1,\"name\":\"Default\"},"                       \
    "{\"id\":7,\"name\":\"Fast ones\"}]}"

#define APP_CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_app, fixture_tear_down)
#define TOKEN_CASE(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, fixture_set_up_token, fixture_tear_down)

#endif
