/*
 * The account's quotas on MicroVMs, by region.
 */
#include <jansson.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "common/aws/aws.h"
#include "common/base/buf.h"
#include "common/vm/lambda/quotas.h"

#define OPERATION "GetServiceQuota"
#define TIMEOUT_MS 10000
#define NAME_BYTES_MAX 120
#define MEMORY_CODE "L-CD1C0CC4"

struct limit {
    const char *code;
    const char *setting; /* NULL: memory, which max_vms is compared with */
    bool is_burst;
    size_t rate; /* its offset in struct config_limits */
};

#define RATE(member) offsetof(struct config_limits, member)
static const struct limit limits[] = {
    {MEMORY_CODE, NULL, false, 0},
    {"L-535CA9B6", "limits.launch_rate.per_second", false, RATE(launch_rate)},
    {"L-91B95582", "limits.launch_rate.burst", true, RATE(launch_rate)},
    {"L-74787B8A", "limits.terminate_rate.per_second", false, RATE(terminate_rate)},
    {"L-2CCA0501", "limits.terminate_rate.burst", true, RATE(terminate_rate)},
    {"L-CE98C9E3", "limits.describe_rate.per_second", false, RATE(describe_rate)},
    {"L-C9C2110E", "limits.describe_rate.burst", true, RATE(describe_rate)},
};

struct quota {
    const struct limit *limit;
    char name[NAME_BYTES_MAX];
    char unit[40];
    double value;
};

struct region {
    struct check *check;
    const struct lambda_check_class *classes;
    size_t n;
    const char *name;
    char subject[80];
};

static bool name_contains(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

/* --- what the configuration needs --- */

/* The most memory that the region's VMs may use by the caps: the largest classes fill the fleet's
 * cap first. Classes of unknown size are left out. */
static int64_t wanted_mib(const struct region *r)
{
    int64_t left = r->check->config->limits.max_vms;
    int64_t total = 0;
    int64_t below = INT64_MAX;
    while (left > 0) {
        int64_t size = 0;
        int64_t vms = 0;
        for (size_t i = 0; i < r->n; i++) {
            const struct lambda_check_class *k = &r->classes[i];
            bool here = strcmp(k->region, r->name) == 0;
            if (here && k->memory_mib < below && k->memory_mib > size) {
                size = k->memory_mib;
                vms = 0;
            }
            vms += here && size > 0 && k->memory_mib == size ? k->class->max_vms : 0;
        }
        if (size == 0) {
            return total;
        }
        vms = vms < left ? vms : left;
        total += vms * size;
        left -= vms;
        below = size;
    }
    return total;
}

static double unit_mib(const struct quota *q)
{
    if (name_contains(q->unit, "tera") || name_contains(q->unit, "tebi")) {
        return 1024.0 * 1024.0;
    }
    return name_contains(q->unit, "mega") || name_contains(q->unit, "mebi") ? 1.0 : 1024.0;
}

static void report_capacity(const struct region *r, const struct quota *q, double quota_mib)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct lambda_check_class *k = &r->classes[i];
        if (strcmp(k->region, r->name) != 0 || k->memory_mib <= 0) {
            continue;
        }
        double vms_allowed = quota_mib / (double)(LAMBDA_MEMORY_FACTOR * k->memory_mib);
        bool fits = (double)k->class->max_vms <= vms_allowed;
        const struct check_finding f = {
            .level = fits ? CHECK_OK : CHECK_WARN,
            .subject = r->subject,
            .request = q->name,
            .hint = fits ? NULL
                         : "lower the class's max_vms, or have the quota raised: until then "
                           "launches above it are refused and wait"};
        check_say(r->check, &f, "%.0f %s allow %lld VMs of class %s alone (max_vms %lld)", q->value,
                  q->unit, (long long)vms_allowed, k->class->name, (long long)k->class->max_vms);
    }
}

static void report_memory_quota(const struct region *r, const struct quota *q)
{
    double quota_mib = q->value * unit_mib(q);
    double wanted = (double)(LAMBDA_MEMORY_FACTOR * wanted_mib(r));
    bool fits = wanted <= quota_mib;
    const struct check_finding f = {
        .level = fits ? CHECK_OK : CHECK_WARN,
        .subject = r->subject,
        .request = q->name,
        .hint = fits ? NULL : "lower limits.max_vms, or have the quota raised"};
    report_capacity(r, q, quota_mib);
    check_say(r->check, &f, "all classes at their caps need %.0f GiB of %.0f", wanted / 1024.0,
              quota_mib / 1024.0);
}

/* A rate with a rate, a burst with a burst. */
static void report_rate_quota(const struct region *r, const struct quota *q)
{
    const char *limits_at = (const char *)&r->check->config->limits;
    const struct config_rate *rate = (const struct config_rate *)(limits_at + q->limit->rate);
    double configured = q->limit->is_burst ? (double)rate->burst : rate->per_second;
    bool unlimited = rate->per_second <= 0;
    bool fits = !unlimited && configured <= q->value;
    const struct check_finding f = {
        .level = fits ? CHECK_OK : CHECK_WARN,
        .subject = r->subject,
        .request = q->name,
        .hint = fits ? NULL
                     : "lower the setting, or have the quota raised: faster calls are throttled"};
    check_say(r->check, &f, "%g %s, %s is %g%s", q->value,
              q->limit->is_burst ? "at once" : "a second", q->limit->setting, configured,
              unlimited ? " (the rate has no limit)" : "");
}

static void report_quota(const struct region *r, const struct quota *q)
{
    if (q->limit->setting == NULL) {
        report_memory_quota(r, q);
    } else {
        report_rate_quota(r, q);
    }
}

/* --- requests --- */

static void copy_quota_text(const json_t *o, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, key));
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static int fetch_quota(struct aws_client *service, const struct limit *limit, struct quota *out,
                       struct err *e)
{
    struct http_response answer;
    char body[96];
    (void)snprintf(body, sizeof body, "{\"ServiceCode\":\"lambda\",\"QuotaCode\":\"%s\"}",
                   limit->code);
    const struct aws_call call = {.operation = OPERATION,
                                  .target = "ServiceQuotasV20190624",
                                  .content_type = "application/x-amz-json-1.1",
                                  .body = slice_of(body)};
    if (aws_send(service, &call, &answer, NULL, e) != 0) {
        return -1;
    }
    json_t *root =
        json_loadb(answer.body.len > 0 ? answer.body.data : "", answer.body.len, 0, NULL);
    const json_t *quota = json_object_get(root, "Quota");
    const json_t *value = json_object_get(quota, "Value");
    bool ok = json_is_number(value);
    *out = (struct quota){.limit = limit, .value = ok ? json_number_value(value) : 0};
    copy_quota_text(quota, "QuotaName", out->name, sizeof out->name);
    if (out->name[0] == '\0') {
        (void)snprintf(out->name, sizeof out->name, "%s", limit->code);
    }
    copy_quota_text(quota, "Unit", out->unit, sizeof out->unit);
    json_decref(root);
    http_response_fini(&answer);
    return ok ? 0 : err_set(e, ERR_RETRY, 0, OPERATION ": the answer has no quota: try again");
}

/* The service's quotas in a region; close it with aws_client_close. */
static int open_quotas(const char *region, const char *role_arn, struct aws_client **out,
                       struct err *e)
{
    struct aws_client_options options = {.service = "servicequotas",
                                         .region = region,
                                         .role_arn = role_arn,
                                         .timeout_ms = TIMEOUT_MS};
    return aws_client_open(&options, out, e);
}

static int read_value(struct aws_client *service, const char *code, double *out, struct err *e)
{
    const struct limit limit = {.code = code};
    struct quota q;
    if (fetch_quota(service, &limit, &q, e) != 0) {
        return err_wrap(e, "the quota %s: allow servicequotas:GetServiceQuota", code);
    }
    *out = strcmp(code, MEMORY_CODE) == 0 ? q.value * unit_mib(&q) : q.value;
    return 0;
}

int lambda_read_quotas(const char *region, const char *role_arn, struct lambda_quotas *out,
                       struct err *e)
{
    struct aws_client *service = NULL;
    if (open_quotas(region, role_arn, &service, e) != 0) {
        return -1;
    }
    bool failed = read_value(service, MEMORY_CODE, &out->memory_mib, e) != 0 ||
                  read_value(service, "L-535CA9B6", &out->run, e) != 0 ||
                  read_value(service, "L-91B95582", &out->run_burst, e) != 0 ||
                  read_value(service, "L-74787B8A", &out->terminate, e) != 0 ||
                  read_value(service, "L-2CCA0501", &out->terminate_burst, e) != 0;
    aws_client_close(service);
    return failed ? -1 : 0;
}

static void report_unreadable(const struct region *r, const char *code, const struct err *e)
{
    const struct check_finding f = {
        .level = CHECK_WARN,
        .subject = r->subject,
        .request = OPERATION,
        .hint = "allow servicequotas:GetServiceQuota, or compare the console's page of quotas with "
                "limits by hand"};
    check_say(r->check, &f, "%s could not be read: %s", code, e->message);
}

static void check_region(const struct region *r)
{
    struct err e = {0};
    struct aws_client *service = NULL;
    if (open_quotas(r->name, "", &service, &e) != 0) {
        check_say_error(r->check, CHECK_WARN, r->subject, OPERATION, &e);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct quota q;
        if (fetch_quota(service, &limits[i], &q, &e) == 0) {
            report_quota(r, &q);
        } else {
            report_unreadable(r, limits[i].code, &e);
        }
    }
    aws_client_close(service);
}

static bool is_first_of_its_region(const struct lambda_check_class *classes, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(classes[k].region, classes[i].region) == 0) {
            return false;
        }
    }
    return classes[i].region[0] != '\0';
}

void lambda_check_quotas(struct check *c, const struct lambda_check_class *classes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_first_of_its_region(classes, i)) {
            struct region r = {.check = c, .classes = classes, .n = n, .name = classes[i].region};
            (void)snprintf(r.subject, sizeof r.subject, "quotas %.60s", r.name);
            check_region(&r);
        }
    }
}
