#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"

#define TIMEOUT_MS 10000
#define CONNECT_TIMEOUT_MS 5000

/* --- clients ---------------------------------------------------------------------------------- */

/* Without the default port, since proxies and load balancers remove it too. */
static void split_endpoint(struct aws_client *c)
{
    struct slice url = slice_of(c->place.endpoint);
    bool secure = slice_starts_with(url, SLICE("https:"));
    struct slice port = secure ? SLICE(":443") : SLICE(":80");
    size_t start = secure ? 8 : 7;
    struct slice rest = {url.ptr + start, url.len - start};
    struct slice path;
    (void)slice_cut(rest, '/', &c->host, &path);
    c->base = (struct slice){c->host.ptr + c->host.len, rest.len - c->host.len};
    if (c->host.len > port.len &&
        memcmp(c->host.ptr + c->host.len - port.len, port.ptr, port.len) == 0) {
        c->host.len -= port.len;
    }
}

int aws_client_open_with(const struct aws_client_options *o, const struct aws_keys *keys,
                         struct aws_client **out, struct err *e)
{
    struct http_client *http = NULL;
    struct aws_place place = {NULL, NULL, NULL};
    aws_defaults_pin(1);
    if (aws_place_find(o, &place, e) != 0) {
        aws_defaults_pin(-1);
        return err_wrap(e, "%s", o->service);
    }
    int64_t timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : TIMEOUT_MS;
    struct http_client_options ho = {
        .user_agent = "mayfly/" MAYFLY_VERSION,
        .proxy = aws_defaults_now()->proxy,
        .proxy_setting = "aws.proxy",
        .ca_file = place.ca_file,
        .ca_setting = "AWS_CA_BUNDLE or the profile's ca_bundle",
        .connect_timeout_ms = timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS,
        .timeout_ms = timeout_ms,
        .max_idle = o->max_idle,
        .no_redirects = true};
    if (http_client_new(&ho, &http, e) != 0) {
        aws_place_fini(&place);
        aws_defaults_pin(-1);
        return err_wrap(e, "%s", o->service);
    }
    struct aws_client *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->http = http;
    c->place = place;
    c->service = slice_dup(slice_of(o->service));
    c->keys = keys;
    c->rules = o->rules;
    c->timeout_ms = timeout_ms;
    split_endpoint(c);
    sigv4_cache_init(&c->cache);
    *out = c;
    return 0;
}

int aws_client_open(const struct aws_client_options *o, struct aws_client **out, struct err *e)
{
    struct aws_client *c = NULL;
    if (aws_client_open_with(o, NULL, &c, e) != 0) {
        return -1;
    }
    c->credentials =
        aws_credentials_acquire_role(o->role_arn != NULL ? o->role_arn : "", c->place.region);
    *out = c;
    return 0;
}

void aws_client_close(struct aws_client *c)
{
    if (c == NULL) {
        return;
    }
    aws_credentials_release(c->credentials);
    http_client_free(c->http);
    aws_place_fini(&c->place);
    sigv4_cache_fini(&c->cache);
    free(c->service);
    free(c);
    aws_defaults_pin(-1);
}

const char *aws_client_region(const struct aws_client *c)
{
    return c->place.region;
}

const char *aws_client_endpoint(const struct aws_client *c)
{
    return c->place.endpoint;
}
