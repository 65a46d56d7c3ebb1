#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/base/random.h"
#include "common/base/url_options.h"
#include "deploy/ctl/app/app.h"

#define START "/start/"
#define RETURN "/created"

void app_session_init(struct app_session *s, int port)
{
    *s = (struct app_session){.opened = false};
    (void)snprintf(s->origin, sizeof s->origin, "http://127.0.0.1:%d", port);
    (void)snprintf(s->cookie_name, sizeof s->cookie_name, "mayfly_app_%d", port);
    random_hex(s->token, APP_SECRET_DIGITS / 2);
    random_hex(s->cookie, APP_SECRET_DIGITS / 2);
    random_hex(s->state, APP_SECRET_DIGITS / 2);
}

/* In constant time: others on this machine can measure it. */
static bool is_secret(struct slice given, const char secret[APP_SECRET_DIGITS + 1])
{
    return given.len == APP_SECRET_DIGITS &&
           CRYPTO_memcmp(given.ptr, secret, APP_SECRET_DIGITS) == 0;
}

/* Of "a=b; name=value": several programs on 127.0.0.1 share a browser's cookies. */
static bool has_cookie(const struct app_session *s, const char *header)
{
    struct slice rest = slice_of(header);
    while (rest.len > 0) {
        struct slice one;
        struct slice name;
        struct slice value;
        (void)slice_cut(rest, ';', &one, &rest);
        (void)slice_cut(slice_trim(one), '=', &name, &value);
        if (slice_eq_cstr(name, s->cookie_name) && is_secret(value, s->cookie)) {
            return true;
        }
    }
    return false;
}

static void refuse(struct app_verdict *v, int status, const char *reason)
{
    v->step = APP_REFUSE;
    v->status = status;
    v->reason = reason;
}

/* --- GitHub's return --- */

struct returned {
    struct slice code;
    struct slice state;
    bool twice; /* one of them */
};

static struct returned read_return(struct slice query)
{
    struct returned r = {.twice = false};
    struct slice name;
    struct slice value;
    while (url_next_parameter(&query, &name, &value)) {
        struct slice *to = slice_eq_cstr(name, "code")    ? &r.code
                           : slice_eq_cstr(name, "state") ? &r.state
                                                          : NULL;
        r.twice = r.twice || (to != NULL && to->ptr != NULL);
        if (to != NULL) {
            *to = value;
        }
    }
    return r;
}

/* GitHub's codes are letters and digits; what needs no encoding in a path is passed on. */
static bool read_code(struct slice text, char out[APP_CODE_SIZE])
{
    struct buf encoded;
    buf_init(&encoded, (size_t)3 * APP_CODE_SIZE);
    codec_percent(&encoded, text);
    bool good = text.len > 0 && slice_eq(buf_slice(&encoded), text) && !slice_eq_cstr(text, ".") &&
                !slice_eq_cstr(text, "..") && slice_to_cstr(text, out, APP_CODE_SIZE);
    buf_fini(&encoded);
    return good;
}

static void judge_return(struct app_session *s, const struct app_request *r, bool known,
                         struct app_verdict *v)
{
    struct returned got = read_return(r->query);
    if (!known) {
        refuse(v, 403, "This is not the browser in which the command's URL was opened.");
    } else if (got.twice || !is_secret(got.state, s->state)) {
        refuse(v, 403, "This return from GitHub does not belong to this run of the command.");
    } else if (!read_code(got.code, v->code)) {
        refuse(v, 400, "GitHub returned without a code: create the App once more.");
    } else {
        v->step = APP_EXCHANGE;
        v->status = 200;
    }
}

static void judge_start(struct app_session *s, bool known, struct app_verdict *v)
{
    if (s->opened && !known) {
        refuse(v, 403,
               "This URL was opened in another browser before. Go on there, or end the command "
               "with Ctrl-C and begin anew.");
        return;
    }
    s->opened = true;
    v->step = APP_SHOW;
    v->status = 200;
    v->set_cookie = true;
}

void app_session_judge(struct app_session *s, const struct app_request *r, struct app_verdict *out)
{
    struct slice host = slice_of(r->host);
    bool known = s->opened && has_cookie(s, r->cookie);
    size_t start = strlen(START);
    *out = (struct app_verdict){.step = APP_REFUSE};
    /* A page of another name that resolves to this address (DNS rebinding) sends its own name. */
    if (!slice_eq_cstr(host, s->origin + strlen("http://"))) {
        refuse(out, 421, "This page is served at 127.0.0.1 alone.");
    } else if (slice_eq_cstr(r->path, RETURN)) {
        judge_return(s, r, known, out);
    } else if (slice_starts_with(r->path, SLICE(START)) &&
               is_secret((struct slice){r->path.ptr + start, r->path.len - start}, s->token)) {
        judge_start(s, known, out);
    } else {
        refuse(out, 404, "There is no such page.");
    }
}
