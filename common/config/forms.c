#include "common/config/forms.h"
#include "common/base/id_range.h"
#include "common/config/idle/min_idle.h"
#include "common/job/scope.h"
#include "common/net/address.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool all_of(struct slice s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0' || (!is_alnum(s.ptr[i]) && strchr(more, s.ptr[i]) == NULL)) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_lower_name(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') {
            return false;
        }
    }
    return all_of(s, "-");
}

static bool is_port(struct slice s)
{
    int64_t port = 0;
    return s.len > 0 && s.ptr[0] != '-' && slice_to_int64(s, &port) && port <= 65535;
}

static bool is_address(struct slice s)
{
    char host[64];
    unsigned char parsed[sizeof(struct in6_addr)];
    struct slice address;
    struct slice port;
    if (s.len > 0 && s.ptr[0] == '[') {
        s = (struct slice){s.ptr + 1, s.len - 1};
        return slice_cut(s, ']', &address, &port) && port.len > 1 && port.ptr[0] == ':' &&
               is_port((struct slice){port.ptr + 1, port.len - 1}) &&
               slice_to_cstr(address, host, sizeof host) && inet_pton(AF_INET6, host, parsed) == 1;
    }
    return slice_cut(s, ':', &address, &port) && is_port(port) &&
           slice_to_cstr(address, host, sizeof host) && inet_pton(AF_INET, host, parsed) == 1;
}

static bool is_http_url(struct slice s)
{
    struct slice scheme;
    struct slice rest;
    if (!slice_cut(s, ':', &scheme, &rest) || !slice_starts_with(rest, SLICE("//"))) {
        return false;
    }
    bool http = slice_eq_cstr(scheme, "http") || slice_eq_cstr(scheme, "https");
    return http && rest.len > 2 && rest.ptr[2] != '/' && memchr(s.ptr, ' ', s.len) == NULL;
}

static bool is_http_header(struct slice s)
{
    struct slice name;
    struct slice value;
    if (!slice_cut(s, ':', &name, &value) || name.len == 0 ||
        !slice_starts_with(value, SLICE(" "))) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < ' ' || c == 0x7f || (i < name.len && !is_alnum(s.ptr[i]) && c != '-' && c != '_')) {
            return false;
        }
    }
    return value.len > 1;
}

/* schemes: separated by one space. */
static const char *store_trouble(struct slice s, const char *schemes, const char *says)
{
    struct slice scheme;
    struct slice rest;
    struct slice known = slice_of(schemes);
    bool found = false;
    if (!slice_cut(s, ':', &scheme, &rest) || !slice_starts_with(rest, SLICE("//")) ||
        rest.len == 2) {
        return says;
    }
    while (known.len > 0 && !found) {
        struct slice one;
        (void)slice_cut(known, ' ', &one, &known);
        found = slice_eq(scheme, one);
    }
    if (!found) {
        return says;
    }
    if (!slice_eq_cstr(scheme, "sqlite")) {
        return NULL;
    }
    if (memchr(rest.ptr, '?', rest.len) != NULL) {
        return "has options, and the URL of an SQLite file has none: remove what begins with '?'";
    }
    return rest.ptr[2] != '/'
               ? "must have an absolute path, with three slashes: sqlite:///PATH/TO/FILE"
               : NULL;
}

static const char *queue_trouble(struct slice s)
{
    return store_trouble(s, "sqlite redis rediss sqs kafka",
                         "must be a queue's URL: sqlite:///PATH/TO/FILE, redis://HOST, "
                         "rediss://HOST, sqs://PREFIX or kafka://HOST:PORT/NAME");
}

static const char *ledger_trouble(struct slice s)
{
    return store_trouble(s, "sqlite redis rediss dynamodb",
                         "must be a ledger's URL: sqlite:///PATH/TO/FILE, redis://HOST, "
                         "rediss://HOST or dynamodb://TABLE");
}

static bool ends_with(struct slice s, const char *end)
{
    size_t n = strlen(end);
    return s.len >= n && slice_eq_nocase((struct slice){s.ptr + s.len - n, n}, slice_of(end));
}

static bool is_number_or_dot(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '.' && (s.ptr[i] < '0' || s.ptr[i] > '9')) {
            return false;
        }
    }
    return true;
}

/* The REST API has a host, or a path, of its own. */
static const char *api_trouble(struct slice s)
{
    struct slice scheme;
    struct slice rest;
    struct slice host;
    struct slice path;
    if (!is_http_url(s)) {
        return "must be a URL that begins with http:// or https://";
    }
    (void)slice_cut(s, '/', &scheme, &rest);
    (void)slice_cut((struct slice){rest.ptr + 1, rest.len - 1}, '/', &host, &path);
    if (slice_eq_nocase(host, SLICE("github.com")) ||
        slice_eq_nocase(host, SLICE("www.github.com"))) {
        return "is GitHub's web site, not its API: write https://api.github.com";
    }
    bool domain = memchr(host.ptr, '.', host.len) != NULL &&
                  memchr(host.ptr, ':', host.len) == NULL && !is_number_or_dot(host);
    if (domain && path.len == 0 && !slice_starts_with(host, SLICE("api."))) {
        return ends_with(host, ".ghe.com")
                   ? "is the web site, not the API: write https://api.SUBDOMAIN.ghe.com"
                   : "has no path, so it is the server's web site, not its API: write "
                     "https://HOST/api/v3";
    }
    return NULL;
}

/* The topic is the URL's path, of a broker's legal characters. */
static bool is_kafka_topic(struct slice s)
{
    struct slice place;
    struct slice query;
    struct slice brokers;
    struct slice topic;
    if (!slice_starts_with(s, SLICE("kafka://"))) {
        return false;
    }
    s = (struct slice){s.ptr + strlen("kafka://"), s.len - strlen("kafka://")};
    (void)slice_cut(s, '?', &place, &query);
    return slice_cut(place, '/', &brokers, &topic) && brokers.len > 0 && topic.len <= 64 &&
           all_of(topic, "._-");
}

static bool is_url_path(struct slice s)
{
    return s.len > 0 && s.ptr[0] == '/' && memchr(s.ptr, ' ', s.len) == NULL &&
           memchr(s.ptr, '?', s.len) == NULL && memchr(s.ptr, '#', s.len) == NULL;
}

static bool is_owner(struct slice s)
{
    return all_of(s, "-_.");
}

static bool is_repository(struct slice s)
{
    struct slice owner;
    struct slice name;
    return slice_cut(s, '/', &owner, &name) && all_of(owner, "-_.") &&
           (slice_eq_cstr(name, "*") || all_of(name, "-_."));
}

static bool is_one_repository(struct slice s)
{
    return is_repository(s) && memchr(s.ptr, '*', s.len) == NULL;
}

static bool is_set_name(struct slice s)
{
    return all_of(s, "-_.");
}

/* The group becomes a part of a scope's name (common/job/scope.h). */
static bool is_repository_group(struct slice s)
{
    struct slice repository;
    struct slice group;
    return slice_cut(s, '=', &repository, &group) && is_repository(repository) && group.len > 0 &&
           group.len <= 100 && !slice_starts_with(group, SLICE(SCOPE_SET));
}

static bool is_scope(struct slice s)
{
    return slice_eq_cstr(s, "organization") || slice_eq_cstr(s, "repository") ||
           slice_eq_cstr(s, "enterprise");
}

static bool is_label(struct slice s)
{
    return s.len > 0 && slice_trim(s).len == s.len && memchr(s.ptr, ',', s.len) == NULL;
}

static bool is_id_range(struct slice s)
{
    struct id_range range;
    return id_range_parse(s, &range);
}

/* What is in the PEM is for app_key_read, once all settings are read. */
static bool is_app_key(struct slice s)
{
    static const char begin[] = "-----BEGIN ";
    if (slice_starts_with(s, SLICE("kms:"))) {
        return all_of((struct slice){s.ptr + 4, s.len - 4}, ":/_-");
    }
    return memmem(s.ptr, s.len, begin, sizeof begin - 1) != NULL;
}

/* A Unix socket's path has at most 107 bytes (unix(7)). */
static bool is_admin_address(struct slice s)
{
    struct slice path = {s.ptr + 5, s.len - 5};
    return slice_starts_with(s, SLICE("unix:/")) ? path.len > 1 && path.len <= 107 : is_address(s);
}

static bool is_quoted(struct slice s)
{
    char first = s.ptr[0];
    return s.len > 1 && (first == '"' || first == '\'') && s.ptr[s.len - 1] == first;
}

/* What is around a secret is hardly ever a part of it, and GitHub's side does not have it. Shorter
 * ones can be guessed from one signed delivery. */
static const char *secret_trouble(struct slice s)
{
    if (slice_starts_with(s, SLICE("\xef\xbb\xbf"))) {
        return "begins with a byte order mark, which an editor has added: save it without one";
    }
    if (s.len > 0 && slice_trim(s).len != s.len) {
        return "begins or ends with a blank or a line break: remove it, there and at GitHub";
    }
    if (s.len > 0 && is_quoted(s)) {
        return "is in quotes, which are a part of it here: remove them";
    }
    return s.len >= 8 ? NULL
                      : "must be at least 8 bytes long (openssl rand -hex 32 makes a good one)";
}

static const char *token_trouble(struct slice s)
{
    const char *trouble = secret_trouble(s);
    return s.len >= 8 ? trouble : NULL;
}

/* Peers are compared as IPv4 addresses where they are (ip_address_unmapped). */
static const char *prefix_trouble(struct slice s)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ip_prefix p;
    const char *trouble = ip_prefix_parse(s, &p);
    if (trouble != NULL) {
        return trouble;
    }
    if (p.bits == 0) {
        return "is all addresses: list those that are meant";
    }
    return p.base.v6 && p.bits >= 96 && ip_address_begins(&p.base, mapped, 96)
               ? "is an IPv4 address inside of an IPv6 one: write it as IPv4"
               : NULL;
}

static const char *allow_from_trouble(struct slice s)
{
    return slice_eq_cstr(s, "github-hooks") ? NULL : prefix_trouble(s);
}

const struct setting_form form_trusted_proxy = {
    "an address or prefix, such as 10.0.0.0/16 or 2001:db8::/48", .trouble = prefix_trouble};
const struct setting_form form_allow_from = {"an address or prefix, or github-hooks",
                                             .trouble = allow_from_trouble};
const struct setting_form form_secret = {
    "at least 8 bytes long (openssl rand -hex 32 makes a good one)", .trouble = secret_trouble};
const struct setting_form form_token = {"a token without blanks or quotes around it",
                                        .trouble = token_trouble};
const struct setting_form form_name = {"lower-case letters, digits and -", .fits = is_lower_name};
const struct setting_form form_address = {"address:port, such as 0.0.0.0:8080 or [::]:8080",
                                          .fits = is_address};
const struct setting_form form_admin_address = {
    "address:port, such as 127.0.0.1:9101, or unix:/PATH of at most 107 bytes",
    .fits = is_admin_address};
const struct setting_form form_http_url = {"a URL that begins with http:// or https://",
                                           .fits = is_http_url};
const struct setting_form form_http_header = {"a header, as \"Name: value\"",
                                              .fits = is_http_header};
const struct setting_form form_api_url = {
    "the URL of GitHub's REST API, such as https://api.github.com", .trouble = api_trouble};
const struct setting_form form_queue_url = {"a queue's URL, such as sqlite:///PATH/TO/FILE",
                                            .trouble = queue_trouble};
const struct setting_form form_ledger_url = {"a ledger's URL, such as sqlite:///PATH/TO/FILE",
                                             .trouble = ledger_trouble};
const struct setting_form form_kafka_topic = {
    "kafka://HOST:PORT,…/TOPIC, with a topic of at most 64 letters, digits and . _ -",
    .fits = is_kafka_topic};
const struct setting_form form_url_path = {"a path that begins with /", .fits = is_url_path};
const struct setting_form form_scope = {"organization, repository or enterprise", .fits = is_scope};
const struct setting_form form_owner = {
    "the name of an organization or a user: letters, digits and -", .fits = is_owner};
const struct setting_form form_repository = {"owner/name or owner/*", .fits = is_repository};
const struct setting_form form_one_repository = {"owner/name", .fits = is_one_repository};
const struct setting_form form_set_name = {"letters, digits, - _ and .", .fits = is_set_name};
const struct setting_form form_repository_group = {
    "owner/name or owner/*, each with a group's name of 1 to 100 bytes",
    .fits = is_repository_group};
const struct setting_form form_id_range = {
    "a range of at most 65536 ids from 1000 on, such as 2100000000-2100004095",
    .fits = is_id_range};
const struct setting_form form_label = {"a label without commas and without spaces at its ends",
                                        .fits = is_label};
const struct setting_form form_app_key = {
    "the text of a PEM private key, file:PATH of a file with it, credential:NAME, or kms:KEY",
    .fits = is_app_key};

static bool is_price(struct slice s)
{
    size_t points = 0;
    size_t digits = 0;
    for (size_t i = 0; i < s.len; i++) {
        points += s.ptr[i] == '.' ? 1 : 0;
        digits += s.ptr[i] >= '0' && s.ptr[i] <= '9' ? 1 : 0;
    }
    return digits > 0 && points <= 1 && digits + points == s.len;
}

const struct setting_form form_price = {"a price in USD, such as 0.05 or 0", .fits = is_price};

/* The name of a scope (common/job/scope.h). */
static bool is_idle_scope(struct slice s)
{
    struct slice place;
    struct slice group;
    bool grouped = slice_cut(s, '#', &place, &group);
    return (is_repository(place) || all_of(place, "-_.")) && place.ptr[place.len - 1] != '*' &&
           (!grouped || (group.len > 0 && group.len <= 100));
}

const struct setting_form form_idle_scope = {"an organization or owner/name",
                                             .fits = is_idle_scope};
const struct setting_form form_schedule = {"days, a time range in UTC, or both",
                                           .trouble = schedule_trouble};
