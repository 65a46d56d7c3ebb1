#include "common/github/github.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/hash.h"
#include "common/config/app_key.h"
#include "common/github/internal.h"

#define CONNECT_TIMEOUT_MS 5000

/* --- open and close --------------------------------------------------------------------------- */

/* Installations come from outside, so the number of buckets is bounded. */
struct github_bucket *github_bucket(struct github *g, const char *name)
{
    size_t i = 0;
    pthread_mutex_lock(&g->lock);
    while (i < g->bucket_count && strcmp(g->buckets[i].name, name) != 0) {
        i++;
    }
    if (i == g->bucket_count && i < GITHUB_BUCKETS_MAX) {
        (void)snprintf(g->buckets[i].name, sizeof g->buckets[i].name, "%s", name);
        g->buckets[i].left = -1;
        g->bucket_count++;
    }
    pthread_mutex_unlock(&g->lock);
    return &g->buckets[i];
}

static int check_api_url(const char *text, struct err *e)
{
    struct slice url = slice_of(text);
    if (slice_starts_with(url, SLICE("https://")) || slice_starts_with(url, SLICE("http://"))) {
        return 0;
    }
    return err_set(e, ERR_PERMANENT, 0,
                   "github.api_url is \"%s\": give https://api.github.com, or "
                   "https://HOST/api/v3 for GitHub Enterprise Server",
                   text);
}

static int check_token(const char *token, struct err *e)
{
    for (const char *p = token; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~') {
            return err_set(e, ERR_PERMANENT, 0,
                           "github.token holds a space, a line break or another character that no "
                           "token has: give the token alone");
        }
    }
    return strlen(token) > GITHUB_TOKEN_BYTES
               ? err_set(e, ERR_PERMANENT, 0, "github.token is too long")
               : 0;
}

static struct slice without_slash(const char *url)
{
    struct slice s = slice_of(url);
    while (s.len > 0 && s.ptr[s.len - 1] == '/') {
        s.len--;
    }
    return s;
}

static int open_http_client(const struct config_github *c, struct http_client **out, struct err *e)
{
    const struct http_client_options o = {.user_agent = "mayfly/" MAYFLY_VERSION,
                                          .proxy = c->proxy,
                                          .proxy_setting = "github.proxy",
                                          .ca_file = c->ca,
                                          .ca_setting = "github.ca",
                                          .connect_timeout_ms = c->timeout_ms < CONNECT_TIMEOUT_MS
                                                                    ? c->timeout_ms
                                                                    : CONNECT_TIMEOUT_MS,
                                          .timeout_ms = c->timeout_ms};
    return http_client_new(&o, out, e);
}

/* --- Apps, and a token ------------------------------------------------------------------------ */

/* "kms:KEY" names a key in KMS; any other text is the key. */
static int open_signer(const char *text, struct github_signer **out, struct err *e)
{
    struct slice key = slice_of(text);
    struct github_signer *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->holders = 1;
    s->text = hash_text(text);
    int rc = aws_kms_is(key) ? aws_kms_open(key, &s->kms, e) : app_key_read(key, &s->key, e);
    if (rc != 0) {
        github_signer_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

static void copy_owners(const struct config_list *from, struct config_list *to)
{
    config_list_fini(to);
    for (size_t i = 0; i < from->count; i++) {
        config_list_add(to, slice_of(from->items[i]));
    }
}

struct app {
    const char *id;
    const char *key;
    const char *api_url;
    const struct config_list *owners;
};

/* github.app is the short form of a single one, which serves every owner. */
static struct app app_of(const struct config_github *c, size_t i)
{
    static const struct config_list every = {NULL, 0};
    const struct config_app *a = c->app_count > 0 ? &c->apps[i] : NULL;
    if (a == NULL) {
        return (struct app){c->app_id, c->app_key, c->api_url, &every};
    }
    return (struct app){a->id, a->key, a->api_url[0] != '\0' ? a->api_url : c->api_url,
                        &a->organizations};
}

static size_t apps_of(const struct config_github *c)
{
    return c->app_count > 0 ? c->app_count : c->app_id[0] != '\0' ? 1 : 0;
}

static int of_app(const struct config_github *c, size_t i, struct err *e)
{
    return c->app_count > 0 ? err_wrap(e, "github.apps[%zu].private_key", i)
                            : err_wrap(e, "github.app.private_key");
}

static struct github_identity *add_identity(struct github *g, const char *app_id,
                                            const char *api_url, const char *pat)
{
    struct github_identity *i = &g->identities[g->identity_count++];
    i->app_id = slice_dup(slice_of(app_id));
    i->api_url = slice_dup(without_slash(api_url));
    i->pat = slice_dup(slice_of(pat));
    i->jwts = github_cache_new();
    i->tokens = github_cache_new();
    i->installations = github_cache_new();
    return i;
}

/* Buckets are every process's, so their names follow from the configuration alone. Two servers may
 * give two installations one id. */
static void name_buckets(struct github *g, struct github_identity *i, const char *usual_url)
{
    char both[512];
    struct slice usual = without_slash(usual_url);
    (void)snprintf(both, sizeof both, "%s %s", i->app_id, i->api_url);
    (void)snprintf(i->bucket, sizeof i->bucket, "%s", GITHUB_APP_BUCKET);
    if (i != &g->identities[0]) {
        (void)snprintf(i->bucket, sizeof i->bucket, "%s-%08x", GITHUB_APP_BUCKET,
                       (unsigned)(hash_text(both) & 0xffffffffU));
    }
    if (!slice_eq_cstr(usual, i->api_url)) {
        (void)snprintf(i->suffix, sizeof i->suffix, "@%08x",
                       (unsigned)(hash_text(i->api_url) & 0xffffffffU));
    }
    g->several_servers = g->several_servers || strcmp(i->api_url, g->identities[0].api_url) != 0;
}

static int add_app(struct github *g, const struct config_github *c, size_t k, struct err *e)
{
    const struct app app = app_of(c, k);
    struct github_identity *i = add_identity(g, app.id, app.api_url, "");
    g->app_count++;
    if (check_api_url(app.api_url, e) != 0) {
        return -1;
    }
    if (open_signer(app.key, &i->signer, e) != 0) {
        return of_app(c, k, e);
    }
    copy_owners(app.owners, &i->owners);
    name_buckets(g, i, c->api_url);
    return 0;
}

static int add_token(struct github *g, const struct config_github *c, struct err *e)
{
    if (check_api_url(c->api_url, e) != 0 || check_token(c->token, e) != 0) {
        return -1;
    }
    struct github_identity *i = add_identity(g, "", c->api_url, c->token);
    (void)snprintf(i->bucket, sizeof i->bucket, "github:token");
    return 0;
}

static int add_identities(struct github *g, const struct config_github *c, struct err *e)
{
    for (size_t k = 0; k < apps_of(c); k++) {
        if (add_app(g, c, k, e) != 0) {
            return -1;
        }
    }
    if (c->token[0] != '\0') {
        return add_token(g, c, e);
    }
    return g->identity_count > 0 ? 0
                                 : err_set(e, ERR_PERMANENT, 0,
                                           "give either github.app (id and private_key), "
                                           "github.apps or github.token");
}

static void close_identity(struct github_identity *i)
{
    github_cache_free(i->jwts);
    github_cache_free(i->tokens);
    github_cache_free(i->installations);
    github_signer_free(i->signer);
    config_list_fini(&i->owners);
    free(i->listed);
    explicit_bzero(i->pat, strlen(i->pat));
    free(i->pat);
    free(i->app_id);
    free(i->api_url);
}

/* --- the handle ------------------------------------------------------------------------------- */

int github_open(const struct config *c, struct ledger *ledger, struct github **out, struct err *e)
{
    const struct config_github *cg = &c->github;
    struct github *g = calloc(1, sizeof *g);
    ASSERT(g != NULL);
    ASSERT(pthread_mutex_init(&g->lock, NULL) == 0);
    g->ledger = ledger;
    g->api_version = slice_dup(slice_of(cg->api_version));
    g->installation = cg->installation;
    g->timeout_ms = cg->timeout_ms;
    g->secondary_limit_backoff_ms = cg->secondary_limit_backoff_ms;
    g->rate = cg->rate;
    g->jit_rate = cg->jit_rate;
    g->registration_rate = cg->registration_rate;
    g->reconcile_percent = cg->reconcile_percent;
    g->reserve_percent = cg->reserve_percent;
    g->buckets[GITHUB_BUCKETS_MAX].shared = true;
    g->groups = github_cache_new();
    g->sets = github_cache_new();
    if (add_identities(g, cg, e) != 0 || open_http_client(cg, &g->http, e) != 0) {
        github_close(g);
        return -1;
    }
    *out = g;
    return 0;
}

void github_close(struct github *g)
{
    if (g == NULL) {
        return;
    }
    http_client_free(g->http);
    github_cache_free(g->groups);
    github_cache_free(g->sets);
    for (size_t k = 0; k < g->identity_count; k++) {
        close_identity(&g->identities[k]);
    }
    free(g->api_version);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* What the old key signed is not used again. */
static void forget_jwt(struct github_identity *i)
{
    struct buf jwt;
    buf_init(&jwt, GITHUB_TOKEN_BYTES);
    if (github_cache_peek(i->jwts, GITHUB_JWT_KEY, &jwt)) {
        github_cache_drop(i->jwts, GITHUB_JWT_KEY, buf_slice(&jwt));
    }
    buf_fini(&jwt);
}

static void replace(struct github *g, const struct config_github *c, size_t k,
                    struct github_signer *fresh, struct buf *changed)
{
    struct github_identity *i = &g->identities[k];
    const struct app app = app_of(c, k);
    pthread_mutex_lock(&g->lock);
    struct github_signer *old = i->signer;
    bool same = old->text == fresh->text;
    i->signer = same ? old : fresh;
    copy_owners(app.owners, &i->owners);
    pthread_mutex_unlock(&g->lock);
    github_signer_drop(g, same ? fresh : old);
    if (!same) {
        forget_jwt(i);
        buf_printf(changed, "%s%s", changed->len > 0 ? " " : "", i->app_id);
    }
}

int github_reload(struct github *g, const struct config *c, struct buf *changed, struct err *e)
{
    struct github_signer *fresh[GITHUB_IDENTITIES_MAX] = {NULL};
    const struct config_github *cg = &c->github;
    int rc = 0;
    ASSERT(apps_of(cg) == g->app_count); /* another number needs a restart */
    for (size_t k = 0; rc == 0 && k < g->app_count; k++) {
        rc = open_signer(app_of(cg, k).key, &fresh[k], e) == 0 ? 0 : of_app(cg, k, e);
    }
    for (size_t k = 0; k < g->app_count; k++) {
        if (rc == 0) {
            replace(g, cg, k, fresh[k], changed);
        } else {
            github_signer_free(fresh[k]);
        }
    }
    return rc;
}
