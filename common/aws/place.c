#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"

#define ENDPOINT_MAX 1024

/* --- regions and their partitions ------------------------------------------------------------- */

/* What follows the region in a host's name. The first row whose prefix matches the region
 * applies. */
static const struct partition {
    const char *prefix;
    const char *suffix;
    const char *dual_stack_suffix;
} partitions[] = {
    {"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
    {"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
    {"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
    {"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
    {"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
    {"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
    {"", "amazonaws.com", "api.aws"},
};

/* In GovCloud the ordinary hosts of these services are the FIPS ones. */
static bool plain_is_fips(const char *service, const char *region)
{
    static const char *const services[] = {"sqs", "dynamodb", "sts", "ssm"};
    for (size_t i = 0; i < COUNT_OF(services); i++) {
        if (strcmp(services[i], service) == 0) {
            return strncmp(region, "us-gov-", 7) == 0;
        }
    }
    return false;
}

/* The ordinary hosts of this service are dual-stack, where it has ordinary ones. */
static bool plain_is_dual_stack(const char *service, const struct partition *p)
{
    return strcmp(service, "secretsmanager") == 0 &&
           strncmp(p->suffix, "amazonaws.com", strlen("amazonaws.com")) == 0;
}

void aws_host(const char *service, const char *region, bool fips, bool dual_stack, struct buf *out)
{
    const struct partition *p = partitions;
    while (strncmp(region, p->prefix, strlen(p->prefix)) != 0) {
        p++;
    }
    bool marked = fips && (dual_stack || !plain_is_fips(service, region));
    bool other_suffix = dual_stack && !plain_is_dual_stack(service, p);
    buf_printf(out, "%s%s.%s.%s", service, marked ? "-fips" : "", region,
               other_suffix ? p->dual_stack_suffix : p->suffix);
}

static bool is_region(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n < 64 && text[n] == '\0' && text[0] != '-';
}

/* The shared files, read once for one lookup. */
struct search {
    const struct aws_client_options *options;
    struct aws_profiles profiles;
    const char *profile;
};

static const char *first_of(const char *const *found, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (found[i] != NULL && found[i][0] != '\0') {
            return found[i];
        }
    }
    return NULL;
}

static int no_region(const struct search *s, struct err *e)
{
    return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                   "no AWS region: it is set in none of the setting, aws.region, AWS_REGION, "
                   "AWS_DEFAULT_REGION, `region` of the profile %.64s, and the metadata of "
                   "container or instance: set aws.region",
                   s->profile);
}

static int find_region(const struct search *s, char **out, struct err *e)
{
    const char *const given[] = {s->options->region, aws_defaults_now()->region,
                                 aws_env("AWS_REGION"), aws_env("AWS_DEFAULT_REGION"),
                                 aws_profile_get(&s->profiles, s->profile, "region")};
    const char *region = first_of(given, COUNT_OF(given));
    char *found = NULL;
    if (region != NULL) {
        found = slice_dup(slice_of(region));
    } else if (aws_metadata_region(&found, e) != 0) {
        return no_region(s, e);
    }
    if (!is_region(found)) {
        (void)err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                      "\"%.64s\" is not an AWS region: set one like eu-west-1", found);
        free(found);
        return -1;
    }
    *out = found;
    return 0;
}

/* --- endpoints -------------------------------------------------------------------------------- */

/* Names of services in AWS_ENDPOINT_URL_<NAME> and a profile's `services` that differ from the
 * host's first label. */
static const struct {
    const char *service;
    const char *name;
} long_names[] = {
    {"lambda", "lambda_microvms"},
    {"logs", "cloudwatch_logs"},
    {"secretsmanager", "secrets_manager"},
    {"servicequotas", "service_quotas"},
};

static const char *endpoint_by_service(const char *service)
{
    struct buf name;
    buf_init(&name, 128);
    buf_append_cstr(&name, "AWS_ENDPOINT_URL_");
    for (const char *c = service; *c != '\0'; c++) {
        buf_append_byte(&name, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
    }
    const char *found = name.failed ? NULL : aws_env(name.data);
    buf_fini(&name);
    return found;
}

static const char *long_name(const char *service)
{
    for (size_t i = 0; i < COUNT_OF(long_names); i++) {
        if (strcmp(long_names[i].service, service) == 0) {
            return long_names[i].name;
        }
    }
    return service;
}

static bool is_true(const char *text)
{
    return text != NULL && strcasecmp(text, "true") == 0;
}

static const char *configured_endpoint(const struct search *s)
{
    const char *service = s->options->service;
    const char *const configured[] = {s->options->endpoint, aws_defaults_now()->endpoint};
    const char *found = first_of(configured, COUNT_OF(configured));
    if (found != NULL || aws_env_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") ||
        is_true(aws_profile_get(&s->profiles, s->profile, "ignore_configured_endpoint_urls"))) {
        return found;
    }
    const char *const theirs[] = {
        endpoint_by_service(long_name(service)), endpoint_by_service(service),
        aws_env("AWS_ENDPOINT_URL"),
        aws_profile_endpoint(&s->profiles, s->profile, long_name(service)),
        aws_profile_endpoint(&s->profiles, s->profile, service)};
    return first_of(theirs, COUNT_OF(theirs));
}

/* scheme://host[:port][/path] only: a user name in it would not be sent, but would be logged. */
static bool is_endpoint(const char *url)
{
    bool scheme = strncmp(url, "https://", 8) == 0 || strncmp(url, "http://", 7) == 0;
    const char *host = scheme ? strstr(url, "://") + 3 : "";
    for (const char *c = url; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f || strchr("?#@\"<>\\", *c) != NULL) {
            return false;
        }
    }
    return host[0] != '\0' && host[0] != '/' && strlen(url) < ENDPOINT_MAX;
}

/* A flag of the configuration, of the environment, or of the profile. */
static bool is_on(const struct search *s, bool configured, const char *variable, const char *key)
{
    return configured || aws_env_true(variable) ||
           (aws_env(variable) == NULL && is_true(aws_profile_get(&s->profiles, s->profile, key)));
}

static int find_endpoint(const struct search *s, const char *region, char **out, struct err *e)
{
    struct buf url;
    const char *configured = configured_endpoint(s);
    const struct aws_defaults *d = aws_defaults_now();
    if (configured != NULL && !is_endpoint(configured)) {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                       "the endpoint is not a URL like https://HOST[:PORT][/PATH]: check the "
                       "setting, aws.endpoint, AWS_ENDPOINT_URL and endpoint_url of the profile "
                       "%.64s",
                       s->profile);
    }
    buf_init(&url, ENDPOINT_MAX);
    if (configured != NULL) {
        buf_append_cstr(&url, configured);
        while (url.data[url.len - 1] == '/') {
            url.data[--url.len] = '\0';
        }
    } else {
        buf_append_cstr(&url, "https://");
        aws_host(s->options->service, region,
                 is_on(s, d->fips, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint"),
                 is_on(s, d->dual_stack, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint"),
                 &url);
    }
    *out = buf_take(&url);
    return 0;
}

int aws_place_find(const struct aws_client_options *o, struct aws_place *out, struct err *e)
{
    struct search s = {.options = o, .profile = aws_profile_name(NULL)};
    struct aws_place place = {NULL, NULL, NULL};
    if (aws_profiles_load(&s.profiles, e) != 0) {
        return -1;
    }
    int rc = find_region(&s, &place.region, e);
    if (rc == 0) {
        rc = find_endpoint(&s, place.region, &place.endpoint, e);
    }
    const char *ca_file = aws_env("AWS_CA_BUNDLE");
    ca_file = ca_file != NULL ? ca_file : aws_profile_get(&s.profiles, s.profile, "ca_bundle");
    place.ca_file = slice_dup(slice_of(ca_file != NULL ? ca_file : ""));
    if (rc == 0) {
        *out = place;
    } else {
        aws_place_fini(&place);
    }
    aws_profiles_fini(&s.profiles);
    return rc;
}

void aws_place_fini(struct aws_place *p)
{
    free(p->region);
    free(p->endpoint);
    free(p->ca_file);
}
