#include "common/config/forms.h"
#include "common/base/id_range.h"

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

static bool is_store_url(struct slice s)
{
    struct slice scheme;
    struct slice rest;
    return slice_cut(s, ':', &scheme, &rest) && all_of(scheme, "+") &&
           slice_starts_with(rest, SLICE("//")) && rest.len > 2 &&
           !slice_eq(scheme, SLICE("memory"));
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

static bool is_repository(struct slice s)
{
    struct slice owner;
    struct slice name;
    return slice_cut(s, '/', &owner, &name) && all_of(owner, "-_.") &&
           (slice_eq_cstr(name, "*") || all_of(name, "-_."));
}

/* The group becomes a part of a scope's name (common/job/scope.h). */
static bool is_repository_group(struct slice s)
{
    struct slice repository;
    struct slice group;
    return slice_cut(s, '=', &repository, &group) && is_repository(repository) && group.len > 0 &&
           group.len <= 100;
}

static bool is_scope(struct slice s)
{
    return slice_eq_cstr(s, "organization") || slice_eq_cstr(s, "repository");
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

static bool is_app_key(struct slice s)
{
    struct slice text = slice_trim(s);
    if (slice_starts_with(s, SLICE("kms:"))) {
        return all_of((struct slice){s.ptr + 4, s.len - 4}, ":/_-");
    }
    return slice_starts_with(text, SLICE("-----BEGIN ")) &&
           memmem(text.ptr, text.len, "PRIVATE KEY-----", 16) != NULL;
}

/* Shorter ones can be guessed from one signed delivery. */
static bool is_secret(struct slice s)
{
    return s.len >= 8;
}

const struct setting_form form_secret = {
    "at least 8 bytes long (openssl rand -hex 32 makes a good one)", is_secret};
const struct setting_form form_name = {"lower-case letters, digits and -", is_lower_name};
const struct setting_form form_address = {"address:port, such as 0.0.0.0:8080 or [::]:8080",
                                          is_address};
const struct setting_form form_http_url = {"a URL that begins with http:// or https://",
                                           is_http_url};
const struct setting_form form_store_url = {"a store's URL, such as sqlite:///PATH/TO/FILE "
                                            "(memory:// is for tests: no other process sees it)",
                                            is_store_url};
const struct setting_form form_kafka_topic = {
    "kafka://HOST:PORT,…/TOPIC, with a topic of at most 64 letters, digits and . _ -",
    is_kafka_topic};
const struct setting_form form_url_path = {"a path that begins with /", is_url_path};
const struct setting_form form_scope = {"organization or repository", is_scope};
const struct setting_form form_repository = {"owner/name or owner/*", is_repository};
const struct setting_form form_repository_group = {
    "owner/name or owner/*, each with a group's name of 1 to 100 bytes", is_repository_group};
const struct setting_form form_id_range = {
    "a range of at most 65536 ids from 1000 on, such as 2100000000-2100004095", is_id_range};
const struct setting_form form_label = {"a label without commas and without spaces at its ends",
                                        is_label};
const struct setting_form form_app_key = {
    "the text of a PEM private key, file:PATH of a file with it, credential:NAME, or kms:KEY",
    is_app_key};
