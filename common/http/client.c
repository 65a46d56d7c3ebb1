#include "common/http/client.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/liveness.h"
#include "common/http/url.h"

#define MAX_IDLE_DEFAULT 16
#define REDIRECTS_MAX 5
#define BODY_LIMIT_DEFAULT (8u * 1024 * 1024)
#define HEADERS_LIMIT (64u * 1024)
#define CONNECTION_MAX_IDLE_S 60L

struct http_client {
    char *user_agent;
    char *proxy;
    char *ca_file;     /* "": this host's */
    char *unix_socket; /* "": none */
    const char *proxy_setting;
    bool no_proxy;
    bool no_redirects;
    int64_t connect_timeout_ms;
    int64_t timeout_ms;
    pthread_mutex_t lock; /* over what follows */
    CURL **idle;          /* a stack: the handle used last has the warmest connection */
    size_t idle_count;
    size_t max_idle;
    size_t lent;
};

/* One call on its way: what the callbacks fill. */
struct transfer {
    struct http_response response;
    bool headers_done; /* later header lines are trailers */
    bool too_large;
    size_t body_limit;
    char detail[CURL_ERROR_SIZE];
    bool left_host;      /* the response redirects to another host */
    long connect_status; /* of a proxy's response to CONNECT; 0: none */
    int dialled_port;    /* of the last connection that was begun; 0: none */
    bool connected;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static bool curl_ready;

static void init_curl(void)
{
    curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

/* "": the CA certificates of this host. */
static const char *find_ca_file(const struct http_client_options *o, const char **setting)
{
    const char *named = getenv("SSL_CERT_FILE");
    bool own = o->ca_file != NULL && o->ca_file[0] != '\0';
    *setting = own && o->ca_setting != NULL ? o->ca_setting : "SSL_CERT_FILE";
    return own ? o->ca_file : named != NULL ? named : "";
}

int http_client_new(const struct http_client_options *o, struct http_client **out, struct err *e)
{
    const char *setting;
    const char *ca_file = find_ca_file(o, &setting);
    if (ca_file[0] != '\0' && (fs_check_regular(ca_file, e) != 0 || access(ca_file, R_OK) != 0)) {
        return err_errno(e, ERR_PERMANENT, errno,
                         "cannot read the CA certificates of %s, %s: correct it, or its rights",
                         setting, ca_file);
    }
    ASSERT(pthread_once(&curl_once, init_curl) == 0);
    if (!curl_ready) {
        return err_set(e, ERR_PERMANENT, 0, "libcurl cannot start: check its installation");
    }
    struct http_client *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->user_agent = slice_dup(slice_of(o->user_agent));
    c->proxy = slice_dup(slice_of(o->proxy));
    c->ca_file = slice_dup(slice_of(ca_file));
    c->unix_socket = slice_dup(slice_of(o->unix_socket));
    c->proxy_setting = o->proxy_setting != NULL ? o->proxy_setting : "the proxy setting";
    c->no_proxy = o->no_proxy;
    c->no_redirects = o->no_redirects;
    c->connect_timeout_ms = o->connect_timeout_ms;
    c->timeout_ms = o->timeout_ms;
    c->max_idle = o->max_idle > 0 ? o->max_idle : MAX_IDLE_DEFAULT;
    c->idle = calloc(c->max_idle, sizeof *c->idle);
    ASSERT(c->idle != NULL);
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
    *out = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (c == NULL) {
        return;
    }
    ASSERT(c->lent == 0);
    for (size_t i = 0; i < c->idle_count; i++) {
        curl_easy_cleanup(c->idle[i]);
    }
    pthread_mutex_destroy(&c->lock);
    free(c->idle);
    free(c->proxy);
    free(c->ca_file);
    free(c->unix_socket);
    free(c->user_agent);
    free(c);
}

static CURL *borrow_handle(struct http_client *c)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->idle_count > 0) {
        curl = c->idle[--c->idle_count];
    }
    c->lent++;
    pthread_mutex_unlock(&c->lock);
    if (curl == NULL) {
        curl = curl_easy_init();
        ASSERT(curl != NULL);
    }
    return curl;
}

/* The reset clears the request and its secrets; the connections stay with the handle. */
static void return_handle(struct http_client *c, CURL *curl)
{
    curl_easy_reset(curl);
    pthread_mutex_lock(&c->lock);
    c->lent--;
    if (c->idle_count < c->max_idle) {
        c->idle[c->idle_count++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (curl != NULL) {
        curl_easy_cleanup(curl);
    }
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    buf_append(&t->response.body, (struct slice){data, size * n});
    t->too_large = t->too_large || t->response.body.failed;
    return t->too_large ? 0 : size * n;
}

/* Called once a line, for every response of the transfer, including redirects and 100-continue.
 * Only the last header block is kept, without trailers. */
static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct slice line = {data, size * n};
    if (slice_starts_with(line, SLICE("HTTP/"))) {
        buf_reset(&t->response.headers);
        t->headers_done = false;
    }
    if (!t->headers_done) {
        buf_append(&t->response.headers, line);
        t->headers_done = slice_trim(line).len == 0;
    }
    t->too_large = t->too_large || t->response.headers.failed;
    return t->too_large ? 0 : line.len;
}

/* Host and path of a URL, for messages; without user, query and fragment, which may hold
 * secrets. */
static struct slice host_and_path(const char *url)
{
    struct slice s = slice_of(url);
    const char *start = strstr(url, "://");
    if (start != NULL) {
        s = slice_of(start + 3);
    }
    s.len = s.len == 0 ? 0 : strcspn(s.ptr, "?#");
    size_t authority = 0;
    while (authority < s.len && s.ptr[authority] != '/') {
        authority++;
    }
    for (size_t i = authority; i > 0; i--) {
        if (s.ptr[i - 1] == '@') {
            return (struct slice){s.ptr + i, s.len - i};
        }
    }
    return s;
}

static enum err_class error_class_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_NOT_BUILT_IN:
        return ERR_PERMANENT;
    default:
        return ERR_RETRY;
    }
}

static const char *hint_for(CURLcode code)
{
    switch ((int)code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return "check the URL";
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return "check the host name and the DNS of this host";
    case CURLE_COULDNT_CONNECT:
        return "check that it runs and that no firewall or proxy stands between";
    case CURLE_OPERATION_TIMEDOUT:
        return "it is slow or unreachable; raise the timeout if that is normal";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return "check its certificate and the CA certificates of this host";
    case CURLE_TOO_MANY_REDIRECTS:
        return "check the URL: it redirects in a loop";
    default:
        return "try again";
    }
}

/* libcurl quotes a proxy's URL that it cannot parse, and that may hold a password. */
static const char *detail_of(const struct transfer *t, CURLcode code)
{
    bool usable = t->detail[0] != '\0' && strchr(t->detail, '@') == NULL;
    return usable ? t->detail : curl_easy_strerror(code);
}

/* The host's DNS said no, or nothing until the time to connect was over. */
static bool is_unresolved(const struct transfer *t, CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST ||
           (code == CURLE_OPERATION_TIMEDOUT && t->dialled_port == 0 && t->response.sends == 0);
}

static int set_transfer_error(const struct http_request *r, const struct transfer *t, CURLcode code,
                              struct err *e)
{
    struct slice place = host_and_path(r->url);
    if (code == CURLE_ABORTED_BY_CALLBACK && r->wait != NULL) {
        return err_set(e, ERR_RETRY, HTTP_STOPPED, "%s %.*s: the wait was ended", r->method,
                       SLICE_ARG(place));
    }
    if (t->too_large) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "%s %.*s: the response is larger than the limit of %zu bytes: check that the "
            "URL is the right service",
            r->method, SLICE_ARG(place), t->body_limit);
    }
    if (t->left_host) {
        char *location = slice_dup(http_header(&t->response, "location"));
        struct slice to = host_and_path(location);
        (void)err_set(e, ERR_RETRY, 0,
                      "%s %.*s: it redirects (%d) to %.*s, which is not followed since it is "
                      "another host, port or scheme: check that the URL is the right service, and "
                      "that no gateway stands between",
                      r->method, SLICE_ARG(place), t->response.status, SLICE_ARG(to));
        free(location);
        return -1;
    }
    (void)err_set(e, error_class_of(code), t->response.sends == 0 ? HTTP_NOT_SENT : 0,
                  "%s %.*s: no response: %s: %s", r->method, SLICE_ARG(place), detail_of(t, code),
                  hint_for(code));
    e->of_this_host = is_unresolved(t, code);
    return -1;
}

/* --- proxies --- */

static bool is_https(const char *url)
{
    return strncasecmp(url, "https:", 6) == 0;
}

/* The proxy that libcurl takes for this URL, unless NO_PROXY names its host; "" none. *setting:
 * where it was set. */
static const char *proxy_of(const struct http_client *c, const char *url, const char **setting)
{
    static const char *const names[][4] = {
        {"http_proxy", "all_proxy", "ALL_PROXY", NULL},
        {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}};
    const char *const *env = names[is_https(url) ? 1 : 0];
    *setting = c->proxy_setting;
    if (c->proxy[0] != '\0') {
        return c->proxy;
    }
    for (size_t i = 0; i < COUNT_OF(names[0]) && env[i] != NULL && !c->no_proxy; i++) {
        const char *value = getenv(env[i]);
        if (value != NULL && value[0] != '\0') {
            *setting = env[i];
            return value;
        }
    }
    return "";
}

/* libcurl's default is 1080. */
static int64_t proxy_port(struct slice host_and_port)
{
    struct slice port = {host_and_port.ptr, 0};
    int64_t number = 1080;
    for (size_t i = host_and_port.len; i > 0 && port.len == 0; i--) {
        if (host_and_port.ptr[i - 1] == ':') {
            port = (struct slice){host_and_port.ptr + i, host_and_port.len - i};
        }
    }
    return slice_to_int64(port, &number) ? number : 1080;
}

/* A proxy that refuses, or cannot be reached, says nothing about the service behind it. */
static bool set_proxy_error(const struct http_client *c, const struct http_request *r,
                            const struct transfer *t, CURLcode code, struct err *e)
{
    const char *setting;
    struct slice proxy = host_and_path(proxy_of(c, r->url, &setting));
    struct slice place = host_and_path(r->url);
    bool refused = t->connect_status >= 400 || (t->response.status == 407 && !is_https(r->url));
    bool dialled = t->dialled_port != 0 && t->dialled_port == proxy_port(proxy);
    bool away =
        code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_PROXY || (dialled && !t->connected);
    if (proxy.len == 0 || (!refused && (code == CURLE_OK || !away))) {
        return false;
    }
    if (refused) {
        int status = t->connect_status >= 400 ? (int)t->connect_status : t->response.status;
        (void)err_set(e, ERR_RETRY, HTTP_NOT_SENT, /* to the service */
                      "%s %.*s: the proxy %.*s answered %d: check its %s in %s", r->method,
                      SLICE_ARG(place), SLICE_ARG(proxy), status,
                      status == 407 ? "user and password" : "rules for this host", setting);
    } else {
        (void)err_set(e, ERR_RETRY, HTTP_NOT_SENT,
                      "%s %.*s: the proxy %.*s cannot be reached: %s: check that it runs, and %s",
                      r->method, SLICE_ARG(place), SLICE_ARG(proxy), detail_of(t, code), setting);
    }
    e->from = ERR_FROM_PROXY;
    return true;
}

/* Options with valid strings or numbers fail only when out of memory. */
static void must_set(CURLcode code)
{
    ASSERT(code == CURLE_OK);
}

static void set_method(CURL *curl, const struct http_request *r)
{
    bool is_post = strcmp(r->method, "POST") == 0;
    bool has_body = r->body.len > 0 || is_post || strcmp(r->method, "PUT") == 0 ||
                    strcmp(r->method, "PATCH") == 0;
    if (strcmp(r->method, "HEAD") == 0) {
        must_set(curl_easy_setopt(curl, CURLOPT_NOBODY, 1L));
    } else if (has_body) {
        must_set(curl_easy_setopt(curl, CURLOPT_POST, 1L));
        must_set(curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body.len > 0 ? r->body.ptr : ""));
        must_set(curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len));
    }
    if (!is_post && strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0) {
        must_set(curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method));
    }
}

static void set_timeouts(CURL *curl, const struct http_client *c)
{
    must_set(curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms));
    must_set(curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L));
    must_set(curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L));
    must_set(curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, CONNECTION_MAX_IDLE_S));
    /* A handle carries one call at a time, so HTTP/2 would add nothing but its own failures. */
    must_set(curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
}

/* A connection is open, and the request is about to be sent on it. */
static int on_send(void *arg, char *peer, char *self, int peer_port, int self_port)
{
    struct transfer *t = arg;
    (void)peer;
    (void)self;
    (void)peer_port;
    (void)self_port;
    t->response.sends++;
    return CURL_PREREQFUNC_OK;
}

/* The port shows whether the host or its proxy is dialled: NO_PROXY is libcurl's to read. */
static curl_socket_t on_dial(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct transfer *t = arg;
    in_port_t port = 0;
    (void)purpose;
    if (to->family == AF_INET) {
        port = ((const struct sockaddr_in *)(const void *)&to->addr)->sin_port;
    } else if (to->family == AF_INET6) {
        port = ((const struct sockaddr_in6 *)(const void *)&to->addr)->sin6_port;
    }
    t->dialled_port = ntohs(port);
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* libcurl calls it about once a second while nothing comes, more often while something does. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct http_request *r = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    liveness_beat();
    return r->wait(r->wait_arg) ? 0 : 1;
}

static void set_wait(CURL *curl, const struct http_request *r)
{
    if (r->wait != NULL) {
        must_set(curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress));
        must_set(curl_easy_setopt(curl, CURLOPT_XFERINFODATA, r));
        must_set(curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L));
    }
}

static void set_transfer(CURL *curl, struct transfer *t)
{
    must_set(curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_dial));
    must_set(curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, t));
    must_set(curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, on_send));
    must_set(curl_easy_setopt(curl, CURLOPT_PREREQDATA, t));
    must_set(curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, t->detail));
    must_set(curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body));
    must_set(curl_easy_setopt(curl, CURLOPT_WRITEDATA, t));
    must_set(curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header));
    must_set(curl_easy_setopt(curl, CURLOPT_HEADERDATA, t));
    must_set(curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
}

/* "Expect:" keeps libcurl from waiting a second for a 100-continue that proxies swallow. */
static struct curl_slist *header_list(const struct http_request *r)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    ASSERT(list != NULL);
    for (size_t i = 0; i < r->header_count; i++) {
        struct curl_slist *longer = curl_slist_append(list, r->headers[i]);
        ASSERT(longer != NULL);
        list = longer;
    }
    return list;
}

/* --- redirects --- */

/* Prepares the next request. A redirected POST stays a POST with its body, except after 303, as
 * GitHub's REST API asks. Returns false when there is none: the response is final. */
static bool follow_redirect(CURL *curl, const struct http_request *r, struct transfer *t)
{
    char *next = NULL;
    long status = 0;
    must_set(curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next));
    must_set(curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status));
    t->left_host = next != NULL && !url_same_host(r->url, next);
    if (next == NULL || t->left_host) {
        return false;
    }
    if (status == 303 && strcmp(r->method, "HEAD") != 0) {
        must_set(curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL));
        must_set(curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L));
    }
    must_set(curl_easy_setopt(curl, CURLOPT_URL, next));
    buf_reset(&t->response.body);
    return true;
}

/* Redirects are followed here: libcurl would follow them to any host, and so send requests into a
 * network that only this host reaches. */
static CURLcode perform(struct http_client *c, CURL *curl, const struct http_request *r,
                        struct transfer *t)
{
    int64_t until_ms = clock_mono_ms() + (r->timeout_ms > 0 ? r->timeout_ms : c->timeout_ms);
    for (int redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
        int64_t left_ms = until_ms - clock_mono_ms();
        if (left_ms <= 0) {
            return CURLE_OPERATION_TIMEDOUT;
        }
        must_set(curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)left_ms));
        CURLcode code = curl_easy_perform(curl);
        if (code != CURLE_OK || c->no_redirects || !follow_redirect(curl, r, t)) {
            return code;
        }
    }
    return CURLE_TOO_MANY_REDIRECTS;
}

static CURLcode run_transfer(struct http_client *c, CURL *curl, const struct http_request *r,
                             struct transfer *t)
{
    long status = 0;
    struct curl_slist *headers = header_list(r);
    must_set(curl_easy_setopt(curl, CURLOPT_URL, r->url));
    must_set(curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers));
    must_set(curl_easy_setopt(curl, CURLOPT_USERAGENT, c->user_agent));
    if (c->proxy[0] != '\0' || c->no_proxy) { /* an empty string means no proxy */
        must_set(curl_easy_setopt(curl, CURLOPT_PROXY, c->proxy));
    }
    if (c->unix_socket[0] != '\0') {
        must_set(curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, c->unix_socket));
    }
    must_set(curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https"));
    if (c->ca_file[0] != '\0') {
        must_set(curl_easy_setopt(curl, CURLOPT_CAINFO, c->ca_file));
        must_set(curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, c->ca_file));
    }
    set_method(curl, r);
    set_timeouts(curl, c);
    set_transfer(curl, t);
    set_wait(curl, r);
    int64_t begun_us = clock_mono_us();
    CURLcode code = perform(c, curl, r, t);
    t->response.elapsed_us = clock_mono_us() - begun_us;
    if (code == CURLE_OK) {
        code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    t->response.status = (int)status;
    long local_port = 0;
    must_set(curl_easy_getinfo(curl, CURLINFO_HTTP_CONNECTCODE, &t->connect_status));
    must_set(curl_easy_getinfo(curl, CURLINFO_LOCAL_PORT, &local_port));
    t->connected = local_port > 0;
    curl_slist_free_all(headers);
    return code;
}

int http_send(struct http_client *c, const struct http_request *r, struct http_response *out,
              struct err *e)
{
    struct transfer t = {.body_limit = r->response_limit_bytes > 0 ? r->response_limit_bytes
                                                                   : BODY_LIMIT_DEFAULT};
    buf_init(&t.response.body, t.body_limit);
    buf_init(&t.response.headers, HEADERS_LIMIT);
    CURL *curl = borrow_handle(c);
    liveness_beat();
    CURLcode code = run_transfer(c, curl, r, &t);
    liveness_beat();
    return_handle(c, curl);
    if (set_proxy_error(c, r, &t, code, e)) {
        http_response_fini(&t.response);
        return -1;
    }
    if (code != CURLE_OK || t.left_host) {
        (void)set_transfer_error(r, &t, code, e);
        http_response_fini(&t.response);
        return -1;
    }
    *out = t.response;
    return 0;
}

void http_response_fini(struct http_response *r)
{
    if (r->body.data != NULL) {
        explicit_bzero(r->body.data, r->body.cap); /* it may hold a token */
    }
    buf_fini(&r->body);
    buf_fini(&r->headers);
}

struct slice http_header(const struct http_response *r, const char *name)
{
    struct slice line = {NULL, 0};
    struct slice key = {NULL, 0};
    struct slice value = {NULL, 0};
    struct slice rest = buf_slice(&r->headers);
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        if (slice_cut(line, ':', &key, &value) && slice_eq_nocase(key, slice_of(name))) {
            return slice_trim(value);
        }
    }
    return (struct slice){NULL, 0};
}
