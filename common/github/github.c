#include "common/github/github.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/config/app_key.h"
#include "common/github/internal.h"

#define CONNECT_TIMEOUT_MS 5000

/* --- scopes ----------------------------------------------------------------------------------- */

/* A name that does not fit is not a GitHub name; the empty one fails at the first call. */
static struct github_scope make_scope(struct slice name, bool is_repository,
                                      int64_t installation_id)
{
    struct github_scope s = {.is_repository = is_repository, .installation_id = installation_id};
    bool fits = slice_to_cstr(name, s.name, sizeof s.name);
    (void)fits;
    return s;
}

/* A mapped group that is the class's own makes no other scope. */
static void set_mapped_group(struct github_scope *s, const struct config *c,
                             const struct config_class *class, const char *repository)
{
    const char *mapped = config_mapped_group(c, repository);
    if (class == NULL || strcasecmp(mapped, config_class_group(c, class)) != 0) {
        (void)snprintf(s->group, sizeof s->group, "%s", mapped);
    }
}

struct github_scope github_scope_of(const struct config *c, const struct config_class *class,
                                    const struct job *job)
{
    bool is_repository = config_is_repository_scope(c, class) || job->organization[0] == '\0';
    struct github_scope s =
        make_scope(slice_of(is_repository ? job->repository : job->organization), is_repository,
                   job->installation_id);
    if (!is_repository) {
        set_mapped_group(&s, c, class, job->repository);
    }
    return s;
}

struct github_scope github_scope_parse(const char *name, int64_t installation_id)
{
    struct slice place = scope_place(name);
    bool is_repository = place.len > 0 && memchr(place.ptr, '/', place.len) != NULL;
    struct github_scope s = make_scope(place, is_repository, installation_id);
    struct slice group = scope_group(name);
    (void)snprintf(s.group, sizeof s.group, "%.*s", SLICE_ARG(group));
    return s;
}

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

static int check_settings(const struct config_github *c, struct err *e)
{
    struct slice url = slice_of(c->api_url);
    if (!slice_starts_with(url, SLICE("https://")) && !slice_starts_with(url, SLICE("http://"))) {
        return err_set(e, ERR_PERMANENT, 0,
                       "github.api_url is \"%s\": give https://api.github.com, or "
                       "https://HOST/api/v3 for GitHub Enterprise Server",
                       c->api_url);
    }
    if ((c->token[0] == '\0') == (c->app_id[0] == '\0')) {
        return err_set(e, ERR_PERMANENT, 0,
                       "give either github.app (id and private_key) or "
                       "github.token");
    }
    for (const char *p = c->token; *p != '\0'; p++) {
        if (*p <= ' ' || *p > '~') {
            return err_set(e, ERR_PERMANENT, 0,
                           "github.token holds a space, a line break or another character that no "
                           "token has: give the token alone");
        }
    }
    if (strlen(c->token) > GITHUB_TOKEN_BYTES) {
        return err_set(e, ERR_PERMANENT, 0, "github.token is too long");
    }
    return 0;
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

/* "kms:KEY" names a key in KMS; any other text is the key. */
static int open_signer(const struct config_github *c, struct github_signer *out, struct err *e)
{
    if (!aws_kms_is(slice_of(c->app_key))) {
        return app_key_read(slice_of(c->app_key), &out->key, e) == 0
                   ? 0
                   : err_wrap(e, "github.app.private_key");
    }
    return aws_kms_open(slice_of(c->app_key), &out->kms, e) == 0
               ? 0
               : err_wrap(e, "github.app.private_key");
}

int github_open(const struct config *c, struct ledger *ledger, struct github **out, struct err *e)
{
    const struct config_github *cg = &c->github;
    if (check_settings(cg, e) != 0) {
        return -1;
    }
    struct github *g = calloc(1, sizeof *g);
    ASSERT(g != NULL);
    ASSERT(pthread_mutex_init(&g->lock, NULL) == 0);
    g->ledger = ledger;
    g->api_url = slice_dup(without_slash(cg->api_url));
    g->app_id = slice_dup(slice_of(cg->app_id));
    g->pat = slice_dup(slice_of(cg->token));
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
    g->jwts = github_cache_new();
    g->tokens = github_cache_new();
    g->installations = github_cache_new();
    g->groups = github_cache_new();
    bool as_app = cg->token[0] == '\0';
    if ((as_app && open_signer(cg, &g->signer, e) != 0) || open_http_client(cg, &g->http, e) != 0) {
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
    github_cache_free(g->jwts);
    github_cache_free(g->tokens);
    github_cache_free(g->installations);
    github_cache_free(g->groups);
    EVP_PKEY_free(g->signer.key);
    aws_kms_close(g->signer.kms);
    explicit_bzero(g->pat, strlen(g->pat));
    free(g->pat);
    free(g->api_url);
    free(g->app_id);
    free(g->api_version);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
