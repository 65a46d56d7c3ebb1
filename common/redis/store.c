/*
 * Calls on a Redis store: sends commands and scripts in one write, and reads their replies.
 *
 * A connection returns to the pool only when every reply to what was sent on it has been read; any
 * other is closed, so no call reads another call's reply.
 */
#include "common/redis/store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/redis/pool.h"

#define SCRIPTS_KNOWN 64
#define SHA_HEX 41
#define USUAL_COMMAND_BYTES 256 /* beside the arguments; loading a script takes more */
#define CONFIRM_SPARE_MS 50     /* so that WAIT's timeout ends before the call's deadline */

struct known_script {
    const struct redis_script *script;
    char sha[SHA_HEX];
};

struct redis_store {
    struct redis_url url;
    struct redis_pool *pool;
    char root[96];
    char server[320];
    pthread_mutex_t lock; /* of the scripts */
    struct known_script scripts[SCRIPTS_KNOWN];
    size_t script_count;
};

/* --- scripts --- */
/* EVALSHA identifies a script by the SHA-1 of its text. */
static void sha_of(struct redis_store *s, const struct redis_script *script, char *sha)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    pthread_mutex_lock(&s->lock);
    size_t i = 0;
    while (i < s->script_count && s->scripts[i].script != script) {
        i++;
    }
    if (i == s->script_count) {
        ASSERT(s->script_count < SCRIPTS_KNOWN);
        ASSERT(EVP_Digest(script->text, strlen(script->text), digest, &len, EVP_sha1(), NULL) == 1);
        s->scripts[i].script = script;
        codec_hex(digest, len, s->scripts[i].sha);
        s->script_count++;
    }
    memcpy(sha, s->scripts[i].sha, SHA_HEX);
    pthread_mutex_unlock(&s->lock);
}

/* --- one exchange --- */
struct exchange {
    struct redis_store *s;
    const struct redis_script *script; /* NULL: a plain command */
    const struct redis_args *args;
    bool confirm; /* then wait for replicas or the disk */
    bool load;    /* send the script's text first */
    int64_t deadline_mono;
    struct redis_reply *reply;
};

static bool needs_confirmation(const struct exchange *x)
{
    return x->confirm && (x->s->url.wait_aof || x->s->url.wait_replicas > 0);
}

static void wire_command(struct exchange *x, struct buf *wire)
{
    char sha[SHA_HEX];
    ASSERT(!x->args->wire.failed);
    if (x->script == NULL) {
        redis_wire(wire, NULL, 0, x->args);
        return;
    }
    if (x->load) {
        struct slice load[] = {SLICE("SCRIPT"), SLICE("LOAD"), slice_of(x->script->text)};
        redis_wire(wire, load, COUNT_OF(load), NULL);
    }
    sha_of(x->s, x->script, sha);
    struct slice eval[] = {SLICE("EVALSHA"), slice_of(sha), SLICE("1"), slice_of(x->s->root)};
    redis_wire(wire, eval, COUNT_OF(eval), x->args);
}

static void wire_confirm(const struct exchange *x, struct buf *wire)
{
    char replicas[16];
    char limit[24];
    int64_t left = x->deadline_mono - clock_mono_ms() - CONFIRM_SPARE_MS;
    (void)snprintf(replicas, sizeof replicas, "%d", x->s->url.wait_replicas);
    (void)snprintf(limit, sizeof limit, "%lld", (long long)(left < 1 ? 1 : left));
    if (x->s->url.wait_aof) {
        struct slice args[] = {SLICE("WAITAOF"), SLICE("1"), slice_of(replicas), slice_of(limit)};
        redis_wire(wire, args, COUNT_OF(args), NULL);
    } else {
        struct slice args[] = {SLICE("WAIT"), slice_of(replicas), slice_of(limit)};
        redis_wire(wire, args, COUNT_OF(args), NULL);
    }
}

static int send_commands(struct exchange *x, struct redis_conn *c, struct err *e)
{
    struct buf wire;
    buf_init(&wire, 2 * (size_t)REDIS_ARGS_MAX_BYTES);
    buf_reserve(&wire, x->args->wire.len + USUAL_COMMAND_BYTES);
    wire_command(x, &wire);
    if (needs_confirmation(x)) {
        wire_confirm(x, &wire);
    }
    ASSERT(!wire.failed);
    int rc = redis_conn_send(c, buf_slice(&wire), x->deadline_mono, e);
    buf_fini(&wire);
    return rc;
}

static int read_replies(struct exchange *x, struct redis_conn *c, struct redis_reply **confirmed,
                        struct err *e)
{
    struct redis_reply *loaded = NULL;
    if (x->load && redis_conn_read(c, x->deadline_mono, &loaded, e) != 0) {
        return -1;
    }
    int rc = redis_conn_read(c, x->deadline_mono, &x->reply, e);
    /* If loading failed, its error is more useful than NOSCRIPT. */
    if (rc == 0 && redis_reply_is_error(x->reply, "NOSCRIPT") && loaded != NULL) {
        redis_reply_free(x->reply);
        x->reply = loaded;
        loaded = NULL;
    }
    redis_reply_free(loaded);
    if (rc != 0) {
        return err_wrap(e, "%s", x->script != NULL ? x->script->name : "command");
    }
    return needs_confirmation(x) ? redis_conn_read(c, x->deadline_mono, confirmed, e) : 0;
}

static int check_confirmed(const struct exchange *x, const struct redis_reply *r, struct err *e)
{
    const struct redis_url *u = &x->s->url;
    if (!needs_confirmation(x)) {
        return 0;
    }
    if (redis_reply_check(r, e) != 0) {
        return err_wrap(e, "written, but not confirmed");
    }
    int64_t disks = u->wait_aof ? redis_reply_int(redis_reply_at(r, 0), 0) : 1;
    int64_t replicas = redis_reply_int(u->wait_aof ? redis_reply_at(r, 1) : r, 0);
    if (disks < 1 || replicas < u->wait_replicas) {
        return err_set(e, ERR_RETRY, 0,
                       "Redis at %s wrote, but confirmed in time only %lld of %d replicas%s",
                       x->s->server, (long long)replicas, u->wait_replicas,
                       disks < 1 ? " and not its own disk" : "");
    }
    return 0;
}

static void free_reply(struct exchange *x)
{
    redis_reply_free(x->reply);
    x->reply = NULL;
}

static int exchange(struct exchange *x, struct redis_conn *c, struct err *e)
{
    struct redis_reply *confirmed = NULL;
    struct err redis_error;
    x->load = false;
    int rc = send_commands(x, c, e) != 0 || read_replies(x, c, &confirmed, e) != 0 ? -1 : 0;
    if (rc == 0 && x->script != NULL && redis_reply_is_error(x->reply, "NOSCRIPT")) {
        free_reply(x);
        redis_reply_free(confirmed);
        confirmed = NULL;
        x->load = true;
        rc = send_commands(x, c, e) != 0 || read_replies(x, c, &confirmed, e) != 0 ? -1 : 0;
    }
    bool broken = rc != 0;
    /* A failed command needs no confirmation. */
    if (rc == 0 && redis_reply_check(x->reply, &redis_error) == 0) {
        rc = check_confirmed(x, confirmed, e);
    }
    redis_reply_free(confirmed);
    redis_pool_give(x->s->pool, c, broken);
    return rc;
}

/* If the reply redirects to another server, makes the next connections go there. Returns whether to
 * repeat the call at once: nothing was executed. */
static bool follow_redirect(struct exchange *x)
{
    if (redis_reply_is_error(x->reply, "MOVED")) {
        const redisReply *text = (const void *)x->reply;
        return redis_pool_move(x->s->pool, (struct slice){text->str, text->len});
    }
    if (redis_reply_is_error(x->reply, "READONLY") ||
        redis_reply_is_error(x->reply, "MASTERDOWN")) {
        redis_pool_renew(x->s->pool);
    }
    return false;
}

static int exchange_following(struct exchange *x, struct err *e)
{
    x->deadline_mono = clock_mono_ms() + x->s->url.timeout_ms;
    for (int attempt = 0;; attempt++) {
        struct redis_conn *c = NULL;
        if (redis_pool_take(x->s->pool, x->deadline_mono, &c, e) != 0 || exchange(x, c, e) != 0) {
            return -1;
        }
        if (!follow_redirect(x) || attempt > 0) {
            return 0;
        }
        free_reply(x);
    }
}

static int run_exchange(struct exchange *x, struct redis_reply **out, struct err *e)
{
    if (exchange_following(x, e) != 0) {
        free_reply(x);
        return -1;
    }
    if (redis_reply_check(x->reply, e) != 0) {
        free_reply(x);
        return err_wrap(e, "%s at %s", x->script != NULL ? x->script->name : "command",
                        x->s->server);
    }
    *out = x->reply;
    return 0;
}

/* --- the interface --- */
int redis_store_call(struct redis_store *s, const struct redis_args *args, struct redis_reply **out,
                     struct err *e)
{
    return run_exchange(&(struct exchange){.s = s, .args = args}, out, e);
}

int redis_store_eval(struct redis_store *s, const struct redis_script *script,
                     const struct redis_args *args, struct redis_reply **out, struct err *e)
{
    return run_exchange(&(struct exchange){.s = s, .script = script, .args = args}, out, e);
}

int redis_store_write(struct redis_store *s, const struct redis_script *script,
                      const struct redis_args *args, struct redis_reply **out, struct err *e)
{
    return run_exchange(&(struct exchange){.s = s, .script = script, .args = args, .confirm = true},
                        out, e);
}

const char *redis_store_root(const struct redis_store *s)
{
    return s->root;
}

const char *redis_store_server(const struct redis_store *s)
{
    return s->server;
}

int redis_store_ping(struct redis_store *s, struct err *e)
{
    struct redis_args args;
    struct redis_reply *reply = NULL;
    redis_args_init(&args);
    redis_arg_text(&args, "PING");
    int rc = redis_store_call(s, &args, &reply, e);
    redis_reply_free(reply);
    redis_args_fini(&args);
    return rc;
}

struct redis_pool *redis_store_pool(struct redis_store *s)
{
    return s->pool;
}

const struct redis_url *redis_store_url(const struct redis_store *s)
{
    return &s->url;
}

int redis_store_open(const char *url, struct redis_store **out, struct err *e)
{
    SSL_CTX *tls = NULL;
    struct redis_store *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    if (redis_url_parse(url, &s->url, e) != 0 ||
        (s->url.tls && redis_tls_context(&s->url, &tls, e) != 0)) {
        redis_store_close(s);
        return -1;
    }
    (void)snprintf(s->root, sizeof s->root, "{mayfly:%s}", s->url.prefix);
    if (s->url.socket[0] != '\0') {
        (void)snprintf(s->server, sizeof s->server, "%s", s->url.socket);
    } else {
        (void)snprintf(s->server, sizeof s->server, "%s:%d", s->url.host, s->url.port);
    }
    s->pool = redis_pool_new(&s->url, tls);
    if (redis_store_greet(s, e) != 0) {
        redis_store_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void redis_store_close(struct redis_store *s)
{
    if (s == NULL) {
        return;
    }
    redis_pool_free(s->pool);
    pthread_mutex_destroy(&s->lock);
    OPENSSL_cleanse(s->url.password, sizeof s->url.password);
    free(s);
}
