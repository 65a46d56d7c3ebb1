/*
 * The quotas on MicroVMs, by account and region.
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
    size_t rate;         /* its offset in struct config_limits */
    bool is_of_launches; /* a target has one of its own */
};

#define RATE(member) offsetof(struct config_limits, member)
static const struct limit limits[] = {
    {MEMORY_CODE, NULL, false, 0, false},
    {"L-535CA9B6", "launch_rate.per_second", false, RATE(launch_rate), true},
    {"L-91B95582", "launch_rate.burst", true, RATE(launch_rate), true},
    {"L-74787B8A", "terminate_rate.per_second", false, RATE(terminate_rate), false},
    {"L-2CCA0501", "terminate_rate.burst", true, RATE(terminate_rate), false},
    {"L-CE98C9E3", "describe_rate.per_second", false, RATE(describe_rate), false},
    {"L-C9C2110E", "describe_rate.burst", true, RATE(describe_rate), false},
};

struct quota {
    const struct limit *limit;
    char name[NAME_BYTES_MAX];
    char unit[40];
    double value;
};

/* An account and region: what of the configuration its quotas hold for. */
struct domain {
    struct check *check;
    const struct lambda_check_class *classes;
    size_t n;
    const struct lambda_check_class *first; /* of those there */
    const struct config_target *target;     /* NULL: none is there */
    bool has_others;                        /* classes without targets are there too */
    char subject[80];
};

static bool name_contains(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

/* --- what the configuration needs --- */

static struct slice account_of(const struct lambda_check_class *k)
{
    return lambda_arn_part(lambda_settings_of(k->class)->image, 4);
}

static bool is_same_domain(const struct lambda_check_class *a, const struct lambda_check_class *b)
{
    return strcmp(a->region, b->region) == 0 && slice_eq(account_of(a), account_of(b));
}

/* Where a class with targets launched before it had them, it launches no more. */
static bool launches_at(const struct domain *d, const struct lambda_check_class *k)
{
    return is_same_domain(d->first, k) && k->class->target_count == 0;
}

/* Most VMs there, of all classes. */
static int64_t cap_of(const struct domain *d)
{
    bool own = d->target != NULL && !d->has_others && d->target->max_vms > 0;
    return own ? d->target->max_vms : d->check->config->limits.max_vms;
}

/* Most of one class there. */
static int64_t class_cap(const struct lambda_check_class *k)
{
    const struct config_target *t = k->class->target;
    bool lower = t != NULL && t->max_vms > 0 && t->max_vms < k->class->max_vms;
    return lower ? t->max_vms : k->class->max_vms;
}

/* The most memory that the VMs there may use by the caps: the largest classes fill the cap of all
 * first. Classes of unknown size are left out. */
static int64_t wanted_mib(const struct domain *r)
{
    int64_t left = cap_of(r);
    int64_t total = 0;
    int64_t below = INT64_MAX;
    while (left > 0) {
        int64_t size = 0;
        int64_t vms = 0;
        for (size_t i = 0; i < r->n; i++) {
            const struct lambda_check_class *k = &r->classes[i];
            bool here = launches_at(r, k);
            if (here && k->memory_mib < below && k->memory_mib > size) {
                size = k->memory_mib;
                vms = 0;
            }
            vms += here && size > 0 && k->memory_mib == size ? class_cap(k) : 0;
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

static void report_capacity(const struct domain *r, const struct quota *q, double quota_mib)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct lambda_check_class *k = &r->classes[i];
        if (!launches_at(r, k) || k->memory_mib <= 0) {
            continue;
        }
        double vms_allowed = quota_mib / (double)(LAMBDA_MEMORY_FACTOR * k->memory_mib);
        bool fits = (double)class_cap(k) <= vms_allowed;
        const struct check_finding f = {
            .level = fits ? CHECK_OK : CHECK_WARN,
            .subject = r->subject,
            .request = q->name,
            .hint = fits ? NULL
                         : "lower max_vms, of the target if it is one, or have the quota raised: "
                           "until then launches above it are refused and wait"};
        check_say(r->check, &f, "%.0f %s allow %lld VMs of class %s alone (max_vms %lld)", q->value,
                  q->unit, (long long)vms_allowed, k->class->name, (long long)class_cap(k));
    }
}

static void report_memory_quota(const struct domain *r, const struct quota *q)
{
    double quota_mib = q->value * unit_mib(q);
    double wanted = (double)(LAMBDA_MEMORY_FACTOR * wanted_mib(r));
    bool fits = wanted <= quota_mib;
    const struct check_finding f = {
        .level = fits ? CHECK_OK : CHECK_WARN,
        .subject = r->subject,
        .request = q->name,
        .hint = fits ? NULL : "lower max_vms of limits or target, or have the quota raised"};
    report_capacity(r, q, quota_mib);
    check_say(r->check, &f, "all classes at their caps need %.0f GiB of %.0f", wanted / 1024.0,
              quota_mib / 1024.0);
}

/* A rate with a rate, a burst with a burst. */
static void compare_rate(const struct domain *r, const struct quota *q,
                         const struct config_rate *rate, const char *of)
{
    double configured = q->limit->is_burst ? (double)rate->burst : rate->per_second;
    bool unlimited = rate->per_second <= 0;
    bool fits = !unlimited && configured <= q->value;
    const struct check_finding f = {
        .level = fits ? CHECK_OK : CHECK_WARN,
        .subject = r->subject,
        .request = q->name,
        .hint = fits ? NULL
                     : "lower the setting, or have the quota raised: faster calls are throttled"};
    check_say(r->check, &f, "%g %s, %s.%s is %g%s", q->value,
              q->limit->is_burst ? "at once" : "a second", of, q->limit->setting, configured,
              unlimited ? " (the rate has no limit)" : "");
}

static void report_rate_quota(const struct domain *r, const struct quota *q)
{
    const char *limits_at = (const char *)&r->check->config->limits;
    if (q->limit->is_of_launches && r->target != NULL) {
        compare_rate(r, q, &r->target->launch_rate, "targets[]");
    }
    if (!q->limit->is_of_launches || r->target == NULL || r->has_others) {
        compare_rate(r, q, (const struct config_rate *)(limits_at + q->limit->rate), "limits");
    }
}

static void report_quota(const struct domain *r, const struct quota *q)
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

/* The service's quotas in a region, of the role's account; close it with aws_client_close. */
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

static void report_unreadable(const struct domain *r, const char *code, const struct err *e)
{
    const struct check_finding f = {
        .level = CHECK_WARN,
        .subject = r->subject,
        .request = OPERATION,
        .hint = "allow servicequotas:GetServiceQuota (to the target's role if it has one), or "
                "compare the console's page of quotas with limits by hand"};
    check_say(r->check, &f, "%s could not be read: %s", code, e->message);
}

static void check_domain(const struct domain *r)
{
    struct err e = {0};
    struct aws_client *service = NULL;
    const char *role_arn = lambda_settings_of(r->first->class)->role_arn;
    if (open_quotas(r->first->region, role_arn, &service, &e) != 0) {
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

static bool is_first_of_its_domain(const struct lambda_check_class *classes, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (is_same_domain(&classes[k], &classes[i])) {
            return false;
        }
    }
    return classes[i].region[0] != '\0';
}

/* A domain has at most one target, and its name says more than the region's. */
static void find_target(struct domain *d)
{
    (void)snprintf(d->subject, sizeof d->subject, "quotas %.60s", d->first->region);
    for (size_t i = 0; i < d->n; i++) {
        const struct config_class *place = d->classes[i].class;
        if (launches_at(d, &d->classes[i])) {
            d->target = place->target != NULL ? place->target : d->target;
            d->has_others = d->has_others || place->target == NULL;
        }
    }
    if (d->target != NULL) {
        (void)snprintf(d->subject, sizeof d->subject, "quotas of target %s", d->target->name);
    }
}

void lambda_check_quotas(struct check *c, const struct lambda_check_class *classes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_first_of_its_domain(classes, i)) {
            struct domain d = {.check = c, .classes = classes, .n = n, .first = &classes[i]};
            find_target(&d);
            check_domain(&d);
        }
    }
}
