#include <arpa/inet.h>
#include <jansson.h>
#include <string.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/fs.h"

#define CONTAINER_HOST "http://169.254.170.2"
#define INSTANCE_HOST "http://169.254.169.254"
#define INSTANCE_HOST_IPV6 "http://[fd00:ec2::254]"
#define INSTANCE_ROLES "/latest/meta-data/iam/security-credentials/"
#define CONTAINER_TIMEOUT_MS 2000
#define INSTANCE_TIMEOUT_MS 1000
#define TRIES 3
#define TRY_BASE_MS 100
#define TRY_CAP_MS 1000
#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)
#define TEXT_LIMIT_BYTES 4096
#define TOKEN_LIMIT_BYTES ((size_t)16 << 10)

/* --- one request ------------------------------------------------------------------------------ */

struct ask {
    const char *method;
    const char *url;
    const char *header; /* a line; NULL: none */
    int64_t timeout_ms;
    int tries;
};

/* Never through a proxy: the response is a secret, and the address means another host to a
 * proxy. */
static int open_http(int64_t timeout_ms, struct http_client **out, struct err *e)
{
    struct http_client_options o = {.user_agent = "mayfly/" MAYFLY_VERSION,
                                    .proxy = "",
                                    .connect_timeout_ms = timeout_ms,
                                    .timeout_ms = timeout_ms,
                                    .max_idle = 1,
                                    .no_proxy = true,
                                    .no_redirects = true};
    return http_client_new(&o, out, e);
}

static bool is_busy(int status)
{
    return status == 429 || status >= 500;
}

/* A 200 is success; otherwise e->code is the status, or 0 or HTTP_NOT_SENT without a response. */
static int ask_once(struct http_client *http, const struct ask *a, struct buf *out, struct err *e)
{
    struct http_response r;
    struct http_request q = {.method = a->method,
                             .url = a->url,
                             .headers = &a->header,
                             .header_count = a->header != NULL ? 1 : 0,
                             .response_limit_bytes = ANSWER_LIMIT_BYTES};
    if (http_send(http, &q, &r, e) != 0) {
        return -1;
    }
    int rc = 0;
    if (r.status == 200) {
        buf_append(out, buf_slice(&r.body));
    } else {
        rc = err_set(e, is_busy(r.status) ? ERR_RETRY : ERR_AUTH, r.status, "it returned HTTP %d",
                     r.status);
    }
    http_response_fini(&r);
    return rc;
}

static int ask_for(const struct ask *a, struct buf *out, struct err *e)
{
    struct http_client *http = NULL;
    if (open_http(a->timeout_ms, &http, e) != 0) {
        return -1;
    }
    int rc = ask_once(http, a, out, e);
    for (int i = 1; i < a->tries && rc != 0 && e->class == ERR_RETRY; i++) {
        clock_sleep_until(clock_mono_ms() + backoff_full_jitter_ms(TRY_BASE_MS, TRY_CAP_MS, i));
        rc = ask_once(http, a, out, e);
    }
    http_client_free(http);
    return rc;
}

static void wipe_buffer(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* --- the container's endpoint ----------------------------------------------------------------- */

/* The host of a URL without its port, and without the brackets of IPv6. */
static bool host_of(const char *rest, char *out, size_t size)
{
    bool brackets = rest[0] == '[';
    const char *start = rest + (brackets ? 1 : 0);
    size_t n = strcspn(start, brackets ? "]/?#" : ":/?#");
    bool closed = !brackets || start[n] == ']';
    return closed && memchr(start, '@', n) == NULL &&
           slice_to_cstr((struct slice){start, n}, out, size) && n > 0;
}

bool aws_container_uri_is_near(const char *uri)
{
    static const char *const known[] = {"169.254.170.2", "169.254.170.23"};
    char host[64];
    struct in_addr v4;
    struct in6_addr v6;
    struct in6_addr eks;
    if (strncmp(uri, "https://", 8) == 0) {
        return true;
    }
    if (strncmp(uri, "http://", 7) != 0 || strcspn(uri + 7, "@") < strcspn(uri + 7, "/?#") ||
        !host_of(uri + 7, host, sizeof host)) {
        return false;
    }
    if (strcmp(host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127 || strcmp(host, known[0]) == 0 ||
               strcmp(host, known[1]) == 0;
    }
    if (inet_pton(AF_INET6, host, &v6) != 1 || inet_pton(AF_INET6, "fd00:ec2::23", &eks) != 1) {
        return false;
    }
    return IN6_IS_ADDR_LOOPBACK(&v6) || memcmp(&v6, &eks, sizeof v6) == 0;
}

static int container_url(struct buf *out, struct err *e)
{
    const char *relative = aws_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = aws_env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (relative == NULL && full == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "AWS_CONTAINER_CREDENTIALS_* is not set");
    }
    if (relative != NULL && relative[0] != '/') {
        return err_set(e, ERR_AUTH, 0,
                       "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not start with a slash");
    }
    if (relative == NULL && !aws_container_uri_is_near(full)) {
        return err_set(e, ERR_AUTH, 0,
                       "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or point to this host or "
                       "the ECS or EKS agent");
    }
    buf_printf(out, "%s%s", relative != NULL ? CONTAINER_HOST : "",
               relative != NULL ? relative : full);
    if (out->failed || has_control(buf_slice(out))) {
        return err_set(e, ERR_AUTH, 0, "AWS_CONTAINER_CREDENTIALS_* is not a URI");
    }
    return 0;
}

/* The file is read each time, since the token in it is renewed. */
static int container_authorization(struct buf *out, struct err *e)
{
    const char *file = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *token = aws_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    struct buf text;
    int rc = 0;
    buf_init(&text, TOKEN_LIMIT_BYTES);
    if (file != NULL) {
        rc = fs_read(file, &text, e);
        e->class = rc != 0 && e->class != ERR_RETRY ? ERR_AUTH : e->class;
    } else if (token != NULL) {
        buf_append_cstr(&text, token);
    }
    struct slice value = slice_trim(buf_slice(&text));
    if (rc == 0 && (text.failed || has_control(value))) {
        rc = err_set(e, ERR_AUTH, 0,
                     "the container's authorization token is too long, or has more "
                     "than one line");
    }
    if (rc == 0 && value.len > 0) {
        buf_printf(out, "Authorization: %.*s", SLICE_ARG(value));
    }
    wipe_buffer(&text);
    return rc;
}

static int container_keys(struct buf *url, struct buf *header, struct buf *text,
                          struct aws_keys *out, struct err *e)
{
    if (container_url(url, e) != 0 || container_authorization(header, e) != 0) {
        return -1;
    }
    struct ask a = {.method = "GET",
                    .url = url->data,
                    .header = header->len > 0 ? header->data : NULL,
                    .timeout_ms = CONTAINER_TIMEOUT_MS,
                    .tries = TRIES};
    if (ask_for(&a, text, e) != 0) {
        e->class = e->class == ERR_RETRY ? ERR_RETRY : ERR_AUTH;
        return -1;
    }
    return aws_keys_from_json(buf_slice(text), "Token", "container", out, e);
}

int aws_source_container(struct aws_keys *out, struct err *e)
{
    struct buf url;
    struct buf header;
    struct buf text;
    buf_init(&url, TEXT_LIMIT_BYTES);
    buf_init(&header, TOKEN_LIMIT_BYTES + 64);
    buf_init(&text, ANSWER_LIMIT_BYTES);
    int rc = container_keys(&url, &header, &text, out, e);
    buf_fini(&url);
    wipe_buffer(&header);
    wipe_buffer(&text);
    return rc;
}

/* --- the instance's metadata (IMDSv2) --------------------------------------------------------- */

static const char *instance_host(void)
{
    const char *endpoint = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = aws_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
    if (endpoint != NULL) {
        return endpoint;
    }
    return mode != NULL && strcasecmp(mode, "IPv6") == 0 ? INSTANCE_HOST_IPV6 : INSTANCE_HOST;
}

static void append_instance_url(struct buf *out, const char *path)
{
    struct slice host = slice_of(instance_host());
    while (host.len > 0 && host.ptr[host.len - 1] == '/') {
        host.len--;
    }
    buf_append(out, host);
    buf_append_cstr(out, path);
}

/* No response means that this host is not an instance: not a failure. */
static int as_absent(struct err *e)
{
    return err_set(e, e->code > 0 ? e->class : ERR_NOT_FOUND, e->code, "%s: %.100s",
                   instance_host(),
                   e->code > 0 ? e->message
                               : "no response (not an EC2 instance, or the hop limit is too low)");
}

static int instance_get(const char *path, const char *header, struct buf *out, struct err *e)
{
    struct buf url;
    buf_init(&url, TEXT_LIMIT_BYTES);
    append_instance_url(&url, path);
    struct ask a = {.method = "GET",
                    .url = url.data,
                    .header = header,
                    .timeout_ms = INSTANCE_TIMEOUT_MS,
                    .tries = TRIES};
    int rc = url.failed ? err_set(e, ERR_AUTH, 0, "the metadata's address is too long")
                        : ask_for(&a, out, e);
    buf_fini(&url);
    return rc;
}

/* Appends the header line with the session token. */
static int instance_session(struct buf *header, struct err *e)
{
    struct buf url;
    struct buf token;
    if (aws_env_true("AWS_EC2_METADATA_DISABLED")) {
        return err_set(e, ERR_NOT_FOUND, 0, "AWS_EC2_METADATA_DISABLED is set");
    }
    buf_init(&url, TEXT_LIMIT_BYTES);
    buf_init(&token, TOKEN_LIMIT_BYTES);
    append_instance_url(&url, "/latest/api/token");
    struct ask a = {.method = "PUT",
                    .url = url.data,
                    .header = "X-aws-ec2-metadata-token-ttl-seconds: 300",
                    .timeout_ms = INSTANCE_TIMEOUT_MS,
                    .tries = 1};
    int rc = url.failed ? err_set(e, ERR_AUTH, 1, "the metadata's address is too long")
                        : ask_for(&a, &token, e);
    struct slice value = slice_trim(buf_slice(&token));
    if (rc != 0) {
        rc = as_absent(e);
    } else if (token.failed || value.len == 0 || has_control(value)) {
        rc = err_set(e, ERR_AUTH, 0, "%s: the response is not a token", instance_host());
    } else {
        buf_printf(header, "X-aws-ec2-metadata-token: %.*s", SLICE_ARG(value));
    }
    buf_fini(&url);
    wipe_buffer(&token);
    return rc;
}

/* Appends the name of the instance's role to the path of its keys. */
static int instance_role(const char *header, struct buf *path, struct err *e)
{
    struct buf names;
    struct slice first;
    struct slice rest;
    buf_init(&names, TEXT_LIMIT_BYTES);
    buf_append_cstr(path, INSTANCE_ROLES);
    int rc = instance_get(path->data, header, &names, e);
    (void)slice_cut(buf_slice(&names), '\n', &first, &rest);
    first = slice_trim(first);
    if (rc != 0 && e->code == 404) {
        rc = err_set(e, ERR_NOT_FOUND, 404, "the instance has no role");
    } else if (rc == 0 && (first.len == 0 || has_control(first) || names.failed)) {
        rc = err_set(e, ERR_NOT_FOUND, 0, "the instance has no role");
    } else if (rc == 0) {
        buf_append(path, first);
    }
    buf_fini(&names);
    return rc;
}

int aws_source_instance(struct aws_keys *out, struct err *e)
{
    struct buf header;
    struct buf path;
    struct buf text;
    buf_init(&header, TOKEN_LIMIT_BYTES + 64);
    buf_init(&path, TEXT_LIMIT_BYTES);
    buf_init(&text, ANSWER_LIMIT_BYTES);
    int rc = instance_session(&header, e);
    if (rc == 0) {
        rc = instance_role(header.data, &path, e);
    }
    if (rc == 0) {
        rc = instance_get(path.data, header.data, &text, e);
    }
    if (rc == 0) {
        rc = aws_keys_from_json(buf_slice(&text), "Token", "instance", out, e);
    }
    wipe_buffer(&header);
    buf_fini(&path);
    wipe_buffer(&text);
    return rc;
}

/* --- the region ------------------------------------------------------------------------------- */

/* The fourth part of an ARN. */
static bool region_of_arn(struct slice arn, struct buf *out)
{
    struct slice part = {NULL, 0};
    for (int i = 0; i < 4; i++) {
        (void)slice_cut(arn, ':', &part, &arn);
    }
    buf_append(out, part);
    return part.len > 0;
}

static bool container_region(struct buf *out)
{
    const char *base = aws_env("ECS_CONTAINER_METADATA_URI_V4");
    struct buf url;
    struct buf text;
    struct err e;
    bool found = false;
    if (base == NULL) {
        return false;
    }
    buf_init(&url, TEXT_LIMIT_BYTES);
    buf_init(&text, ANSWER_LIMIT_BYTES);
    buf_printf(&url, "%s/task", base);
    struct ask a = {
        .method = "GET", .url = url.data, .timeout_ms = CONTAINER_TIMEOUT_MS, .tries = TRIES};
    if (!url.failed && aws_container_uri_is_near(url.data) && ask_for(&a, &text, &e) == 0) {
        json_t *task = json_loadb(text.data, text.len, 0, NULL);
        found = region_of_arn(slice_of(json_string_value(json_object_get(task, "TaskARN"))), out);
        json_decref(task);
    }
    buf_fini(&url);
    buf_fini(&text);
    return found;
}

int aws_metadata_region(char **out, struct err *e)
{
    struct buf region;
    struct buf header;
    buf_init(&region, 64);
    buf_init(&header, TOKEN_LIMIT_BYTES + 64);
    int rc = 0;
    if (!container_region(&region)) {
        rc = instance_session(&header, e);
        if (rc == 0) {
            rc = instance_get("/latest/meta-data/placement/region", header.data, &region, e);
        }
    }
    struct slice value = slice_trim(buf_slice(&region));
    if (rc != 0 || region.failed || value.len == 0) {
        rc = err_set(e, ERR_NOT_FOUND, 0, "the metadata have none");
    } else {
        *out = slice_dup(value);
    }
    buf_fini(&region);
    wipe_buffer(&header);
    return rc;
}
