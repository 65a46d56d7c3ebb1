#include "common/check/github_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/aws/errors.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/http/client.h"

#define SUBJECT "github"
#define REQUEST "GET /rate_limit"
#define URL_BYTES 2048
#define CONNECT_MS 5000
/* GitHub refuses an App's token that was issued in its future, or that is older than ten minutes;
 * common/github/jwt.c dates it one minute back. */
#define SKEW_WARN_MS 5000
#define SKEW_FAIL_MS 60000

static const char api_hint[] =
    "set github.api_url to https://api.github.com, or to https://YOUR-SERVER/api/v3 of a GitHub "
    "Enterprise Server; behind a proxy that asks for a login, set github.proxy";

static bool is_page(const struct http_response *r)
{
    struct slice type = http_header(r, "Content-Type");
    struct slice body = slice_trim(buf_slice(&r->body));
    return slice_starts_with(type, SLICE("text/html")) || slice_starts_with(body, SLICE("<"));
}

static void say_skew(struct check *c, const struct http_response *r)
{
    int64_t there_ms = aws_http_date(http_header(r, "Date"));
    if (there_ms <= 0) {
        return;
    }
    /* The header has whole seconds: half of one is added, and the way back is not known. */
    int64_t skew_ms = clock_wall_ms() - (there_ms + 500);
    int64_t size_ms = llabs(skew_ms);
    struct check_finding f = {.level = size_ms >= SKEW_FAIL_MS   ? CHECK_FAIL
                                       : size_ms >= SKEW_WARN_MS ? CHECK_WARN
                                                                 : CHECK_OK,
                              .subject = SUBJECT,
                              .request = "this host's clock"};
    if (f.level == CHECK_OK) {
        check_say(c, &f, "it differs from GitHub's by less than %d s", SKEW_WARN_MS / 1000);
        return;
    }
    f.hint = "synchronize it (chrony, systemd-timesyncd): GitHub refuses an App's tokens, and AWS "
             "signatures, of another time";
    check_say(c, &f, "it is %" PRId64 ".%" PRId64 " s %s GitHub's", size_ms / 1000,
              size_ms % 1000 / 100, skew_ms > 0 ? "ahead of" : "behind");
}

static bool judge_answer(struct check *c, const char *api_url, const struct http_response *r)
{
    struct check_finding f = {
        .level = CHECK_FAIL, .subject = SUBJECT, .request = REQUEST, .hint = api_hint};
    if (r->status >= 300 && r->status < 400) {
        struct slice to = http_header(r, "Location");
        struct slice query;
        (void)slice_cut(to, '?', &to, &query);
        check_say(c, &f,
                  "%s redirects (%d) to %.*s: this is not GitHub's API, or a login is before it",
                  api_url, r->status, SLICE_ARG(to));
        return false;
    }
    if (is_page(r)) {
        check_say(c, &f, "%s answers %d with a web page: this is not GitHub's API", api_url,
                  r->status);
        return false;
    }
    say_skew(c, r);
    return true;
}

bool check_github_api(struct check *c, const char *api_url)
{
    struct err e = {0};
    struct buf url;
    struct http_client *http = NULL;
    struct http_response r;
    bool is_api = false;
    const struct http_client_options options = {.user_agent = "mayfly",
                                                .proxy = c->config->github.proxy,
                                                .proxy_setting = "github.proxy",
                                                .ca_file = c->config->github.ca,
                                                .ca_setting = "github.ca",
                                                .connect_timeout_ms = CONNECT_MS,
                                                .timeout_ms = c->config->github.timeout_ms,
                                                .no_redirects = true};
    buf_init(&url, URL_BYTES);
    buf_printf(&url, "%s/rate_limit", api_url);
    const struct http_request request = {.method = "GET", .url = url.data};
    if (http_client_new(&options, &http, &e) != 0 || http_send(http, &request, &r, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, REQUEST, &e);
    } else {
        is_api = judge_answer(c, api_url, &r);
        http_response_fini(&r);
    }
    http_client_free(http);
    buf_fini(&url);
    return is_api;
}
