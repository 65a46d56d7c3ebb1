/* Source: docs.github.com, "Create a GitHub App from a manifest". */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "common/config/app_key.h"
#include "common/http/client.h"
#include "deploy/ctl/app/app.h"

#define CONNECT_MS 10000
#define TIMEOUT_MS 30000
#define ANSWER_LIMIT_BYTES ((size_t)256 * 1024)
#define KEY_LIMIT_BYTES ((size_t)64 * 1024)
#define SECRET_LIMIT_BYTES 1024

static const char lost_hint[] =
    "if GitHub lists the App all the same (Settings, Developer settings, GitHub Apps), delete it "
    "there and begin anew";

static void wipe(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

void app_credentials_init(struct app_credentials *a)
{
    *a = (struct app_credentials){.id = 0};
    buf_init(&a->key, KEY_LIMIT_BYTES);
    buf_init(&a->webhook_secret, SECRET_LIMIT_BYTES);
}

void app_credentials_fini(struct app_credentials *a)
{
    wipe(&a->key);
    wipe(&a->webhook_secret);
}

/* --- the answer --- */

static int refuse(struct err *e, const char *what)
{
    return err_set(e, ERR_PERMANENT, 0, "GitHub's answer has no %s: %s", what, lost_hint);
}

static bool is_key(struct slice pem)
{
    EVP_PKEY *key = NULL;
    struct err ignored = {0};
    bool good = app_key_read(pem, &key, &ignored) == 0;
    EVP_PKEY_free(key);
    return good;
}

/* A link that a person will open: of that server alone. */
static bool read_url(const struct app_plan *plan, const json_t *root, char out[APP_URL_SIZE])
{
    struct slice url = slice_of(ctl_str(root, "html_url"));
    size_t n = strlen(plan->web);
    return slice_starts_with(url, slice_of(plan->web)) && url.len > n && url.ptr[n] == '/' &&
           strpbrk(url.ptr, " \"'<>\\\n\r\t") == NULL && slice_to_cstr(url, out, APP_URL_SIZE);
}

static bool is_slug(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_")] == '\0';
}

/* It is sent as it is; one line of printable characters fits a file and a parameter. */
static bool is_secret(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return s.len >= 8;
}

static int read_members(const struct app_plan *plan, const json_t *root,
                        struct app_credentials *out, struct err *e)
{
    const char *slug = ctl_str(root, "slug");
    struct slice pem = slice_of(ctl_str(root, "pem"));
    struct slice secret = slice_of(ctl_str(root, "webhook_secret"));
    int64_t id = ctl_int(root, "id");
    if (id <= 0 || !is_slug(slug) || !slice_to_cstr(slice_of(slug), out->slug, sizeof out->slug)) {
        return refuse(e, "App's id and name");
    }
    if (!read_url(plan, root, out->url)) {
        return refuse(e, "link to the App's page");
    }
    if (!is_key(pem)) {
        return refuse(e, "private key that can be used");
    }
    if (!is_secret(secret)) {
        return refuse(e, "webhook secret");
    }
    out->id = id;
    buf_append(&out->key, pem);
    buf_append(&out->webhook_secret, secret);
    return out->key.failed || out->webhook_secret.failed ? refuse(e, "credentials of usual length")
                                                         : 0;
}

int app_convert_read(const struct app_plan *plan, struct slice body, struct app_credentials *out,
                     struct err *e)
{
    json_t *root = json_loadb(body.len > 0 ? body.ptr : "", body.len, 0, NULL);
    int rc = json_is_object(root) ? read_members(plan, root, out, e) : refuse(e, "JSON object");
    json_decref(root);
    return rc;
}

/* --- the call --- */

static int judge(const struct app_plan *plan, const struct http_response *r,
                 struct app_credentials *out, struct err *e)
{
    if (r->status == 200 || r->status == 201) {
        return app_convert_read(plan, buf_slice(&r->body), out, e);
    }
    if (r->status == 404 || r->status == 422) {
        return err_set(e, ERR_PERMANENT, r->status,
                       "GitHub does not take the code (%d): it was used before, or is older than "
                       "an hour; %s",
                       r->status, lost_hint);
    }
    if (r->status >= 500 || r->status == 429 || r->status == 403) {
        return err_set(e, ERR_RETRY, r->status, "GitHub answers %d", r->status);
    }
    return err_set(e, ERR_PERMANENT, r->status,
                   "%s answers %d: check --api-url, and the proxy in the environment; %s",
                   plan->api, r->status, lost_hint);
}

/* The client's errors name the URL. */
static void hide(struct err *e, const char *code)
{
    char *at = strstr(e->message, code);
    if (at != NULL) {
        memset(at, '*', strlen(code));
    }
}

int app_convert(const struct app_plan *plan, const char *code, struct app_credentials *out,
                struct err *e)
{
    static const char *const headers[] = {"Accept: application/vnd.github+json",
                                          "X-GitHub-Api-Version: 2022-11-28"};
    const struct http_client_options options = {.user_agent = "mayflyctl",
                                                .proxy = "",
                                                .connect_timeout_ms = CONNECT_MS,
                                                .timeout_ms = TIMEOUT_MS,
                                                .no_redirects = true};
    struct http_client *http = NULL;
    struct http_response r;
    char url[APP_URL_SIZE + APP_CODE_SIZE + 32];
    (void)snprintf(url, sizeof url, "%s/app-manifests/%s/conversions", plan->api, code);
    const struct http_request request = {.method = "POST",
                                         .url = url,
                                         .headers = headers,
                                         .header_count = COUNT_OF(headers),
                                         .response_limit_bytes = ANSWER_LIMIT_BYTES};
    int rc = http_client_new(&options, &http, e);
    if (rc == 0) {
        rc = http_send(http, &request, &r, e);
        hide(e, code);
    }
    if (rc == 0) {
        rc = judge(plan, &r, out, e);
        wipe(&r.body);
        http_response_fini(&r);
    }
    http_client_free(http);
    explicit_bzero(url, sizeof url);
    if (rc != 0) {
        (void)err_said_by(e, ERR_FROM_GITHUB);
    }
    return rc;
}
