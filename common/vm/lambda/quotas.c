/*
 * The account's quotas on MicroVMs, by region.
 *
 * No document says which quota code is which, so the quota's name in the response decides.
 */
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "common/aws/aws.h"
#include "common/base/buf.h"
#include "common/vm/lambda/check.h"

#define OPERATION "GetServiceQuota"
#define TIMEOUT_MS 10000
#define MEMORY_FACTOR 4 /* a VM counts this many times its size */
#define NAME_BYTES_MAX 120

static const char *const codes[] = {"L-CD1C0CC4", "L-535CA9B6", "L-91B95582"};

struct quota {
    const char *code;
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
        double vms_allowed = quota_mib / (double)(MEMORY_FACTOR * k->memory_mib);
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
    double wanted = (double)(MEMORY_FACTOR * wanted_mib(r));
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

static void report_rate_quota(const struct region *r, const struct quota *q, const char *setting,
                              double configured)
{
    bool fits = configured > 0 && configured <= q->value;
    const struct check_finding f = {
        .level = fits ? CHECK_OK : CHECK_WARN,
        .subject = r->subject,
        .request = q->name,
        .hint = fits ? NULL
                     : "lower the setting, or have the quota raised: faster calls are throttled"};
    check_say(r->check, &f, "%g a second, %s is %g%s", q->value, setting, configured,
              configured > 0 ? "" : " (no limit)");
}

static void report_quota(const struct region *r, const struct quota *q)
{
    const struct config_limits *limits = &r->check->config->limits;
    if (name_contains(q->name, "memory")) {
        report_memory_quota(r, q);
    } else if (name_contains(q->name, "terminat")) {
        report_rate_quota(r, q, "limits.terminate_rate", limits->terminate_rate.per_second);
    } else if (name_contains(q->name, "RunMicro") || name_contains(q->name, "run micro")) {
        report_rate_quota(r, q, "limits.launch_rate", limits->launch_rate.per_second);
    } else {
        const struct check_finding f = {
            .level = CHECK_OK, .subject = r->subject, .request = q->name};
        check_say(r->check, &f, "%g %s; nothing here is compared with it", q->value, q->unit);
    }
}

/* --- requests --- */

static void copy_quota_text(const json_t *o, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, key));
    (void)snprintf(out, size, "%s", text != NULL ? text : "");
}

static int fetch_quotas(struct aws_client *service, const char *code, struct quota *out,
                        struct err *e)
{
    struct http_response answer;
    char body[96];
    (void)snprintf(body, sizeof body, "{\"ServiceCode\":\"lambda\",\"QuotaCode\":\"%s\"}", code);
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
    *out = (struct quota){.code = code, .value = ok ? json_number_value(value) : 0};
    copy_quota_text(quota, "QuotaName", out->name, sizeof out->name);
    if (out->name[0] == '\0') {
        (void)snprintf(out->name, sizeof out->name, "%s", code);
    }
    copy_quota_text(quota, "Unit", out->unit, sizeof out->unit);
    json_decref(root);
    http_response_fini(&answer);
    return ok ? 0 : err_set(e, ERR_RETRY, 0, OPERATION ": the answer has no quota: try again");
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
    struct aws_client_options options = {
        .service = "servicequotas", .region = r->name, .timeout_ms = TIMEOUT_MS};
    if (aws_client_open(&options, &service, &e) != 0) {
        check_say_error(r->check, CHECK_WARN, r->subject, OPERATION, &e);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct quota q;
        if (fetch_quotas(service, codes[i], &q, &e) == 0) {
            report_quota(r, &q);
        } else {
            report_unreadable(r, codes[i], &e);
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
