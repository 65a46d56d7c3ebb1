#include "tests/unit/github/github_fixture.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"

/* --- the ledger ------------------------------------------------------------------------------- */

int ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                     int64_t *wait_ms, struct err *e)
{
    pthread_mutex_lock(&l->lock);
    l->cost = cost;
    (void)snprintf(l->taken, sizeof l->taken, "%s", b->name);
    size_t used = strlen(l->all_taken);
    (void)snprintf(l->all_taken + used, sizeof l->all_taken - used, " %s", b->name);
    l->per_second = b->per_second;
    l->burst = b->burst;
    *wait_ms = l->takes < l->wait_count ? l->waits[l->takes] : 0;
    l->takes++;
    int rc = l->broken ? err_set(e, ERR_RETRY, 5, "the store is away") : 0;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

int ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e)
{
    (void)e;
    pthread_mutex_lock(&l->lock);
    (void)snprintf(l->paused, sizeof l->paused, "%s", name);
    l->paused_until_ms = until_ms;
    l->pauses++;
    pthread_mutex_unlock(&l->lock);
    return 0;
}

bool fixture_took(const struct fixture *f, const char *prefix)
{
    char wanted[80];
    (void)snprintf(wanted, sizeof wanted, " %s", prefix);
    return strstr(f->ledger.all_taken, wanted) != NULL;
}

/* --- key and clock ---------------------------------------------------------------------------- */

static EVP_PKEY *app_key;
static char *app_key_pem;
static int64_t clock_offset_ms;

EVP_PKEY *fixture_key(void)
{
    if (app_key == NULL) {
        app_key = EVP_RSA_gen(2048);
        ASSERT(app_key != NULL);
    }
    return app_key;
}

const char *fixture_key_pem(void)
{
    if (app_key_pem == NULL) {
        char *text = NULL;
        BIO *bio = BIO_new(BIO_s_mem());
        ASSERT(bio != NULL);
        ASSERT(PEM_write_bio_PrivateKey(bio, fixture_key(), NULL, NULL, 0, NULL, NULL) == 1);
        long length = BIO_get_mem_data(bio, &text);
        app_key_pem = slice_dup((struct slice){text, (size_t)length});
        BIO_free(bio);
    }
    return app_key_pem;
}

char *fixture_other_key_pem(void)
{
    char *text = NULL;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    ASSERT(key != NULL && bio != NULL);
    ASSERT(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
    long length = BIO_get_mem_data(bio, &text);
    char *copy = slice_dup((struct slice){text, (size_t)length});
    BIO_free(bio);
    EVP_PKEY_free(key);
    return copy;
}

static void forget_key(void)
{
    EVP_PKEY_free(app_key);
    free(app_key_pem);
}

static int64_t real_mono_us(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t moved_wall_ms(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 +
           __atomic_load_n(&clock_offset_ms, __ATOMIC_RELAXED);
}

void fixture_main_clock(void)
{
    static const struct clock_source source = {real_mono_us, moved_wall_ms};
    clock_set_source(&source);
    ASSERT(atexit(forget_key) == 0);
}

void fixture_move_clock(int64_t ms)
{
    __atomic_fetch_add(&clock_offset_ms, ms, __ATOMIC_RELAXED);
}

/* --- the scripted GitHub ---------------------------------------------------------------------- */

static void mint(struct fixture *f, struct served_answer *a)
{
    char expires[32];
    int number = ++f->minted;
    if (f->mint_waits_for > 0) {
        http_server_release(f->server);
        while (github_cache_waiting(f->github->identities[0].tokens) < f->mint_waits_for) {
            sched_yield();
        }
        http_server_regain(f->server);
    }
    clock_format_utc(clock_wall_ms() + f->token_life_ms, expires, sizeof expires);
    a->status = 201;
    buf_printf(&a->body, "{\"token\":\"ghs_%d\",\"expires_at\":\"%s\"}", number, expires);
}

static struct route *match(struct fixture *f, const struct served_request *q)
{
    char line[1100];
    (void)snprintf(line, sizeof line, "%s %s", q->method, q->target);
    for (size_t i = 0; i < f->route_count; i++) {
        struct route *r = &f->routes[i];
        if (r->times >= 0 && slice_starts_with(slice_of(line), slice_of(r->line))) {
            return r;
        }
    }
    return NULL;
}

static void play(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct fixture *f = arg;
    struct route *r = match(f, q);
    if (r != NULL) {
        a->status = r->status;
        buf_append_cstr(&a->headers, r->headers != NULL ? r->headers : "");
        buf_append_cstr(&a->body, r->body != NULL ? r->body : "");
        r->times = r->times == 1 ? -1 : r->times - (r->times > 0 ? 1 : 0);
    } else if (f->script != NULL) {
        f->script(f, q, a);
    } else if (strcmp(q->target, "/app/installations/42/access_tokens") == 0) {
        mint(f, a);
    } else {
        a->status = 404;
        buf_append_cstr(&a->body, "{\"message\":\"Not Found\",\"status\":\"404\"}");
    }
}

void fixture_route(struct fixture *f, struct route r)
{
    ASSERT(f->route_count < ROUTES_MAX);
    memmove(&f->routes[1], &f->routes[0], f->route_count * sizeof f->routes[0]);
    f->routes[0] = r;
    f->route_count++;
}

struct github_scope fixture_org(void)
{
    return github_scope_parse("acme", 42);
}

struct github_scope fixture_repository(void)
{
    return github_scope_parse("acme/site", 42);
}

/* --- set-up ----------------------------------------------------------------------------------- */

static void make(struct fixture *f, bool as_app)
{
    ASSERT(pthread_mutex_init(&f->ledger.lock, NULL) == 0);
    f->token_life_ms = INT64_C(3600) * 1000;
    f->server = http_server_start(play, f);
    f->config.github.api_url = slice_dup(slice_of(http_server_url(f->server)));
    f->config.github.app_id = slice_dup(slice_of(as_app ? "Iv23liTest" : ""));
    f->config.github.app_key = slice_dup(slice_of(as_app ? fixture_key_pem() : ""));
    f->config.github.token = slice_dup(slice_of(as_app ? "" : "ghp_personal"));
    f->config.github.scope = slice_dup(SLICE("organization"));
    f->config.github.runner_group = slice_dup(SLICE("Default"));
    f->config.github.api_version = slice_dup(SLICE("2022-11-28"));
    f->config.github.proxy = slice_dup(SLICE(""));
    f->config.github.timeout_ms = 20000;
    f->config.github.secondary_limit_backoff_ms = 60000;
    f->config.github.rate = (struct config_rate){1.5, 60};
    f->config.github.reconcile_percent = 20;
    f->config.github.reserve_percent = 15;
    f->config.github.registration_rate = (struct config_rate){0, 75};
}

void fixture_make(struct fixture *f)
{
    make(f, false);
    f->config.github.token[0] = '\0';
}

static int set_up(void **state, bool as_app)
{
    struct err e;
    struct fixture *f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    make(f, as_app);
    *state = f;
    return github_open(&f->config, &f->ledger, &f->github, &e);
}

int fixture_set_up_app(void **state)
{
    return set_up(state, true);
}

int fixture_set_up_token(void **state)
{
    return set_up(state, false);
}

int fixture_tear_down(void **state)
{
    struct fixture *f = *state;
    struct config_github *c = &f->config.github;
    char *owned[] = {c->api_url, c->app_id,       c->app_key,     c->token,
                     c->scope,   c->runner_group, c->api_version, c->proxy};
    github_close(f->github);
    http_server_stop(f->server);
    for (size_t i = 0; i < COUNT_OF(owned); i++) {
        free(owned[i]);
    }
    pthread_mutex_destroy(&f->ledger.lock);
    free(f);
    return 0;
}
