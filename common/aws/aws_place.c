#include <stdlib.h>
#include <string.h>

#include "common/aws/aws_internal.h"

#define ENDPOINT_MAX 1024

/* --- regions and their partitions ------------------------------------------------------------- */

/* What stands behind the region in a host's name; by the region's first characters, the first that
 * fits. */
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

/* In GovCloud the plain hosts of these are the FIPS ones. */
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

void aws_host(const char *service, const char *region, bool fips, bool dual_stack, struct buf *out)
{
    const struct partition *p = partitions;
    while (strncmp(region, p->prefix, strlen(p->prefix)) != 0) {
        p++;
    }
    bool marked = fips && (dual_stack || !plain_is_fips(service, region));
    buf_printf(out, "%s%s.%s.%s", service, marked ? "-fips" : "", region,
               dual_stack ? p->dual_stack_suffix : p->suffix);
}

static bool is_region(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n < 64 && text[n] == '\0' && text[0] != '-';
}

int aws_region_find(const char *wanted, char **out, struct err *e)
{
    const char *found[] = {wanted, aws_defaults_now()->region, aws_env("AWS_REGION"),
                           aws_env("AWS_DEFAULT_REGION")};
    const char *region = NULL;
    for (size_t i = 0; i < COUNT_OF(found) && region == NULL; i++) {
        region = found[i] != NULL && found[i][0] != '\0' ? found[i] : NULL;
    }
    if (region == NULL) {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                       "no AWS region: neither aws.region, AWS_REGION nor AWS_DEFAULT_REGION says "
                       "one: set aws.region");
    }
    if (!is_region(region)) {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                       "\"%.64s\" is no AWS region: set one like eu-west-1 as aws.region", region);
    }
    *out = slice_dup(slice_of(region));
    return 0;
}

/* --- endpoints -------------------------------------------------------------------------------- */

/* The services' names in AWS_ENDPOINT_URL_<NAME>, where they are not just in capitals. */
static const struct {
    const char *service;
    const char *name;
} long_names[] = {
    {"lambda", "AWS_ENDPOINT_URL_LAMBDA_MICROVMS"},
    {"secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"},
};

static const char *endpoint_by_service(const char *service)
{
    struct buf name;
    const char *found = NULL;
    for (size_t i = 0; i < COUNT_OF(long_names) && found == NULL; i++) {
        if (strcmp(long_names[i].service, service) == 0) {
            found = aws_env(long_names[i].name);
        }
    }
    buf_init(&name, 128);
    buf_append_cstr(&name, "AWS_ENDPOINT_URL_");
    for (const char *c = service; *c != '\0'; c++) {
        buf_append_byte(&name, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
    }
    found = found == NULL && !name.failed ? aws_env(name.data) : found;
    buf_fini(&name);
    return found;
}

static const char *configured_endpoint(const struct aws_client_options *o)
{
    const char *found[] = {o->endpoint, aws_defaults_now()->endpoint, NULL, NULL};
    if (!aws_env_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")) {
        found[2] = endpoint_by_service(o->service);
        found[3] = aws_env("AWS_ENDPOINT_URL");
    }
    for (size_t i = 0; i < COUNT_OF(found); i++) {
        if (found[i] != NULL && found[i][0] != '\0') {
            return found[i];
        }
    }
    return NULL;
}

/* scheme://host[:port][/path] and no more; a user in it would be sent nowhere, and be shown. */
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

static int find_endpoint(const struct aws_client_options *o, const char *region, char **out,
                         struct err *e)
{
    struct buf url;
    const char *configured = configured_endpoint(o);
    const struct aws_defaults *d = aws_defaults_now();
    if (configured != NULL && !is_endpoint(configured)) {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                       "the endpoint of %s is no URL like https://HOST[:PORT][/PATH]: check the "
                       "setting, aws.endpoint and AWS_ENDPOINT_URL",
                       o->service);
    }
    buf_init(&url, ENDPOINT_MAX);
    if (configured != NULL) {
        buf_append_cstr(&url, configured);
        while (url.data[url.len - 1] == '/') {
            url.data[--url.len] = '\0';
        }
    } else {
        buf_append_cstr(&url, "https://");
        aws_host(o->service, region, d->fips || aws_env_true("AWS_USE_FIPS_ENDPOINT"),
                 d->dual_stack || aws_env_true("AWS_USE_DUALSTACK_ENDPOINT"), &url);
    }
    *out = buf_take(&url);
    return 0;
}

int aws_place_find(const struct aws_client_options *o, struct aws_place *out, struct err *e)
{
    struct aws_place place = {NULL, NULL};
    if (aws_region_find(o->region, &place.region, e) != 0 ||
        find_endpoint(o, place.region, &place.endpoint, e) != 0) {
        aws_place_fini(&place);
        return -1;
    }
    *out = place;
    return 0;
}

void aws_place_fini(struct aws_place *p)
{
    free(p->region);
    free(p->endpoint);
}
