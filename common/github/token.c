#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/internal.h"

#define MINUTE_MS INT64_C(60000)
#define TOKEN_FRESH_MIN_MS MINUTE_MS /* even if it has expired by the local clock */
#define TOKEN_RENEW_BEFORE_MS (5 * MINUTE_MS)
#define TOKEN_UNKNOWN_LIFE_MS (15 * MINUTE_MS)
#define INSTALLATION_FRESH_MS (60 * MINUTE_MS)
#define NOT_INSTALLED_MS MINUTE_MS
#define INSTALLATION_VALID_MS (120 * MINUTE_MS)
#define JWT_FRESH_MS (4 * MINUTE_MS) /* of its lifetime of nine: GitHub's clock may be ahead */
#define JWT_VALID_MS (6 * MINUTE_MS)
#define ANSWER_LIMIT_BYTES ((size_t)1024 * 1024)

struct mint {
    struct github *g;
    struct github_identity *identity;
    int64_t installation;
};

struct lookup {
    struct github *g;
    struct github_identity *identity;
    const struct github_scope *scope;
};

struct signing {
    struct github *g;
    struct github_identity *identity;
};

void github_pass_fini(struct github_pass *p)
{
    if (p->token.data != NULL) {
        explicit_bzero(p->token.data, p->token.cap);
    }
    buf_fini(&p->token);
}

static void pass_init(struct github_pass *p, struct github_identity *i)
{
    *p = (struct github_pass){.identity = i};
    buf_init(&p->token, GITHUB_TOKEN_BYTES);
}

/* --- the App itself --------------------------------------------------------------------------- */

static int sign(struct github *g, struct github_identity *i, struct buf *out, struct err *e)
{
    struct github_signer *s = github_signer_hold(g, i);
    int rc = github_jwt_sign(s, i->app_id, clock_wall_ms(), out, e);
    github_signer_drop(g, s);
    return rc;
}

static int sign_jwt(void *arg, struct github_fetched *out, struct err *e)
{
    const struct signing *s = arg;
    int64_t now_ms = clock_wall_ms();
    out->fresh_ms = now_ms + JWT_FRESH_MS;
    out->valid_ms = now_ms + JWT_VALID_MS;
    return sign(s->g, s->identity, &out->value, e);
}

/* Each signature by KMS is a paid call, so a token signed by it is used for some minutes. */
static int get_jwt(struct github *g, struct github_identity *i, struct github_pass *pass,
                   struct err *e)
{
    struct signing s = {g, i};
    struct github_signer *signer = github_signer_hold(g, i);
    bool by_kms = signer->kms != NULL;
    github_signer_drop(g, signer);
    if (!by_kms) {
        return sign(g, i, &pass->token, e);
    }
    return github_cache_get(i->jwts, GITHUB_JWT_KEY, sign_jwt, &s, &pass->token, &pass->cached, e);
}

static int call_as_app(struct github *g, struct github_identity *i, const struct github_call *call,
                       bool *worn_out, struct http_response *out, struct err *e)
{
    struct github_pass pass;
    pass_init(&pass, i);
    (void)snprintf(pass.bucket, sizeof pass.bucket, "%s", i->bucket);
    memcpy(pass.paced, pass.bucket, sizeof pass.paced);
    if (call->installation > 0) {
        (void)snprintf(pass.paced, sizeof pass.paced, "%s/%" PRId64, i->bucket, call->installation);
    }
    int rc = get_jwt(g, i, &pass, e);
    if (rc == 0) {
        rc = github_call_with(g, &pass, call, out, e);
    }
    *worn_out = rc != 0 && pass.cached && e->code == 401;
    if (*worn_out) {
        github_cache_drop(i->jwts, GITHUB_JWT_KEY, buf_slice(&pass.token));
    }
    github_pass_fini(&pass);
    if (rc != 0) {
        (void)err_said_by(e, ERR_FROM_APP);
        return github_error_of(g, i, e);
    }
    return 0;
}

int github_call_app(struct github *g, struct github_identity *i, const struct github_call *call,
                    struct http_response *out, struct err *e)
{
    bool worn_out = false;
    if (!github_is_app(i)) {
        return err_set(e, ERR_AUTH, 0,
                       "a personal token cannot authenticate as an App: give github.app");
    }
    int rc = call_as_app(g, i, call, &worn_out, out, e);
    return worn_out ? call_as_app(g, i, call, &worn_out, out, e) : rc;
}

/* --- its installations ------------------------------------------------------------------------ */

/* Renewed five minutes before it expires. A token that has expired by the local clock is still used
 * for a minute: if the clock is wrong, a new token for every call would not help, and if it is
 * right, GitHub's 401 invalidates the token. */
static void set_life(struct github_fetched *out, int64_t expires_ms)
{
    int64_t now_ms = clock_wall_ms();
    int64_t end_ms = expires_ms > 0 ? expires_ms : now_ms + TOKEN_UNKNOWN_LIFE_MS;
    out->fresh_ms = end_ms - TOKEN_RENEW_BEFORE_MS;
    if (out->fresh_ms < now_ms + TOKEN_FRESH_MIN_MS) {
        out->fresh_ms = now_ms + TOKEN_FRESH_MIN_MS;
    }
    out->valid_ms = end_ms > out->fresh_ms ? end_ms : out->fresh_ms;
}

static int mint_token(void *arg, struct github_fetched *out, struct err *e)
{
    const struct mint *m = arg;
    struct http_response r;
    char path[96];
    int64_t expires_ms = -1;
    (void)snprintf(path, sizeof path, "/app/installations/%" PRId64 "/access_tokens",
                   m->installation);
    const struct github_call call = {.op = GITHUB_OP_MINT_TOKEN,
                                     .method = "POST",
                                     .path = path,
                                     .limit_bytes = ANSWER_LIMIT_BYTES,
                                     .installation = m->installation};
    if (github_call_app(m->g, m->identity, &call, &r, e) != 0) {
        return -1;
    }
    int rc = github_parse_token(buf_slice(&r.body), &out->value, &expires_ms, e);
    http_response_fini(&r);
    if (rc != 0) {
        return err_said_by(e, ERR_FROM_APP);
    }
    set_life(out, expires_ms);
    return 0;
}

/* An App has one installation for each account, so the result applies to all repositories of the
 * owner. */
static int ask_installation(const struct lookup *l, int64_t *id, struct err *e)
{
    struct http_response r;
    struct buf path;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_scope(&path, l->scope, e);
    if (rc == 0) {
        buf_append_cstr(&path, "/installation");
        const struct github_call call = {.op = GITHUB_OP_FIND_INSTALLATION,
                                         .method = "GET",
                                         .path = path.data,
                                         .limit_bytes = ANSWER_LIMIT_BYTES};
        rc = github_call_app(l->g, l->identity, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return -1;
    }
    rc = github_parse_installation(buf_slice(&r.body), id, e);
    http_response_fini(&r);
    return rc == 0 ? 0 : err_said_by(e, ERR_FROM_APP);
}

static void set_installation(struct github_fetched *out, int64_t id)
{
    buf_printf(&out->value, "%" PRId64, id);
    out->fresh_ms = clock_wall_ms() + (id > 0 ? INSTALLATION_FRESH_MS : NOT_INSTALLED_MS);
    out->valid_ms = id > 0 ? clock_wall_ms() + INSTALLATION_VALID_MS : out->fresh_ms;
}

/* Where other Apps serve the owner too, that this one is not installed is kept: it would be asked
 * for each registration. */
static int find_installation(void *arg, struct github_fetched *out, struct err *e)
{
    const struct lookup *l = arg;
    int64_t id = 0;
    if (ask_installation(l, &id, e) != 0 && (l->g->app_count < 2 || e->class != ERR_NOT_FOUND)) {
        return -1;
    }
    set_installation(out, id);
    return 0;
}

/* A 404 is ERR_AUTH here: an operator must install the App. */
static int not_installed(const struct github_identity *i, const struct github_scope *s,
                         struct err *e)
{
    struct err cause = *e;
    (void)err_set(e, ERR_AUTH, cause.code,
                  "the App %s is not installed on %s: install it there (GitHub: Settings, GitHub "
                  "Apps), or check the App's id and github.installation",
                  i->app_id, s->name);
    return err_said_by(e, ERR_FROM_APP);
}

static int look_up_installation(struct github *g, struct github_identity *i,
                                const struct github_scope *s, int64_t *id, bool *cached,
                                struct err *e)
{
    char key[sizeof s->name];
    struct buf text;
    struct lookup l = {g, i, s};
    github_owner_key(s, key, sizeof key);
    buf_init(&text, 32);
    int rc = github_cache_get(i->installations, key, find_installation, &l, &text, cached, e);
    if (rc == 0 && !slice_to_int64(buf_slice(&text), id)) {
        rc = err_set(e, ERR_RETRY, 0, "installation of %s: the id is not a number", s->name);
    }
    buf_fini(&text);
    if (rc == 0 && *id == 0) {
        rc = err_set(e, ERR_NOT_FOUND, 404, "it is not installed there");
    }
    return rc != 0 && e->class == ERR_NOT_FOUND ? not_installed(i, s, e) : rc;
}

static int token_for(struct github *g, int64_t installation, struct github_pass *p, struct err *e)
{
    char key[24];
    struct mint m = {g, p->identity, installation};
    (void)snprintf(key, sizeof key, "%" PRId64, installation);
    github_installation_bucket(p->identity, installation, p->bucket);
    memcpy(p->paced, p->bucket, sizeof p->paced);
    p->installation = installation;
    buf_reset(&p->token);
    return github_cache_get(p->identity->tokens, key, mint_token, &m, &p->token, NULL, e);
}

/* The installation may have been removed and created again since it was looked up, so a 404 with a
 * cached id is retried once with a new lookup. */
static int token_by_lookup(struct github *g, const struct github_scope *s, struct github_pass *p,
                           struct err *e)
{
    char key[sizeof s->name];
    char value[24];
    int64_t id = 0;
    bool cached = false;
    github_owner_key(s, key, sizeof key);
    for (int tries = 0; tries < 2; tries++) {
        if (look_up_installation(g, p->identity, s, &id, &cached, e) != 0) {
            return -1;
        }
        if (token_for(g, id, p, e) == 0) {
            return 0;
        }
        if (e->class != ERR_NOT_FOUND) {
            return -1;
        }
        (void)snprintf(value, sizeof value, "%" PRId64, id);
        github_cache_drop(p->identity->installations, key, slice_of(value));
        if (!cached) {
            break;
        }
    }
    return -1;
}

/* Whether the owner's installation was looked up before: then a webhook's id was unknown. */
static bool was_looked_up(struct github_identity *i, const struct github_scope *s)
{
    char key[sizeof s->name];
    struct buf ignored;
    github_owner_key(s, key, sizeof key);
    buf_init(&ignored, 32);
    bool found = github_cache_peek(i->installations, key, &ignored);
    buf_fini(&ignored);
    return found;
}

/* The installation that is known without a call; 0: none. With several Apps a delivery's id may be
 * another App's, unless a call is about that installation and no owner. */
static int64_t given_installation(const struct github *g, const struct github_scope *s)
{
    if (g->installation > 0) {
        return g->installation;
    }
    return g->app_count < 2 || s->name[0] == '\0' ? s->installation_id : 0;
}

/* The webhook names the installation. One that GitHub does not know (the App was installed anew, or
 * the deliveries are another App's) is replaced by the owner's. */
static int app_pass(struct github *g, const struct github_scope *s, struct github_pass *p,
                    struct err *e)
{
    int rc = -1;
    int64_t given = given_installation(g, s);
    if (g->installation > 0) {
        rc = token_for(g, g->installation, p, e);
    } else if (given <= 0 || was_looked_up(p->identity, s)) {
        rc = token_by_lookup(g, s, p, e);
    } else {
        rc = token_for(g, given, p, e);
        if (rc != 0 && e->class == ERR_NOT_FOUND) {
            rc = token_by_lookup(g, s, p, e);
        }
    }
    return rc != 0 && e->class == ERR_NOT_FOUND ? not_installed(p->identity, s, e) : rc;
}

int github_pass_get(struct github *g, struct github_identity *i, const struct github_scope *s,
                    struct github_pass *out, struct err *e)
{
    struct github_pass p;
    pass_init(&p, i);
    if (!github_is_app(i)) {
        (void)snprintf(p.bucket, sizeof p.bucket, "%s", i->bucket);
        memcpy(p.paced, p.bucket, sizeof p.paced);
        buf_append_cstr(&p.token, i->pat);
    } else if (app_pass(g, s, &p, e) != 0) {
        github_pass_fini(&p);
        return -1;
    }
    *out = p;
    return 0;
}

static bool cached_installation(struct github_identity *i, const struct github_scope *s,
                                int64_t *id)
{
    char key[sizeof s->name];
    struct buf text;
    github_owner_key(s, key, sizeof key);
    buf_init(&text, 32);
    bool found =
        github_cache_peek(i->installations, key, &text) && slice_to_int64(buf_slice(&text), id);
    buf_fini(&text);
    return found;
}

bool github_bucket_of(struct github *g, struct github_identity *i, const struct github_scope *s,
                      char out[GITHUB_BUCKET_NAME])
{
    int64_t id = g->installation;
    if (!github_is_app(i)) {
        (void)snprintf(out, GITHUB_BUCKET_NAME, "%s", i->bucket);
        return true;
    }
    if (id <= 0 && !cached_installation(i, s, &id)) {
        id = given_installation(g, s);
    }
    github_installation_bucket(i, id, out);
    return id > 0;
}

bool github_known_bucket(struct github *g, const struct github_scope *s,
                         char out[GITHUB_BUCKET_NAME])
{
    struct github_choice c;
    struct err ignored = {0};
    return github_choose(g, s, GITHUB_BY_SHARE, &c, &ignored) == 0 &&
           github_bucket_of(g, c.list[0], s, out);
}

static int take_id(void *arg, struct github_fetched *out, struct err *e)
{
    (void)e;
    const int64_t *id = arg;
    set_installation(out, *id);
    return 0;
}

void github_note_owner(struct github *g, struct github_identity *i,
                       const struct github_installation *of)
{
    char key[SCOPE_SIZE];
    struct buf ignored;
    struct err e = {0};
    int64_t id = of->id;
    const struct github_scope s = github_scope_parse(of->owner, 0);
    github_note_installation(g, i, id);
    github_owner_key(&s, key, sizeof key);
    buf_init(&ignored, 32);
    (void)!github_cache_get(i->installations, key, take_id, &id, &ignored, NULL, &e);
    buf_fini(&ignored);
}

static void token_key(const struct github_pass *p, char out[24])
{
    (void)snprintf(out, 24, "%" PRId64, p->installation);
}

int64_t github_pass_age_ms(const struct github_pass *p)
{
    char key[24];
    token_key(p, key);
    return p->installation > 0 ? github_cache_age_ms(p->identity->tokens, key, buf_slice(&p->token))
                               : INT64_MAX;
}

void github_pass_drop(const struct github_pass *p)
{
    char key[24];
    token_key(p, key);
    if (p->installation > 0) {
        github_cache_drop(p->identity->tokens, key, buf_slice(&p->token));
    }
}
