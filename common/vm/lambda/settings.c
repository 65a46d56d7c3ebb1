#include "common/vm/lambda/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/quantity.h"
#include "common/config/rows.h"

#define AT(member) offsetof(struct lambda_settings, member)
#define IN_TARGET(member) offsetof(struct config_target, member)

/* arn:partition:service:region:account:resource; the last part may contain colons. */
static bool is_arn(struct slice s)
{
    struct slice part;
    for (int i = 0; i < 5; i++) {
        if (!slice_cut(s, ':', &part, &s) || (i == 0 && !slice_eq_cstr(part, "arn"))) {
            return false;
        }
    }
    return s.len > 0 && memchr(s.ptr, ' ', s.len) == NULL;
}

static struct slice part_of(struct slice arn, int n)
{
    struct slice part = {NULL, 0};
    for (int i = 0; i <= n; i++) {
        (void)slice_cut(arn, ':', &part, &arn);
    }
    return part;
}

/* Of a kind: "arn:…:lambda:…:…:<kind>:NAME". */
static bool is_of_kind(struct slice s, const char *kind)
{
    return is_arn(s) && slice_eq_cstr(part_of(s, 2), "lambda") &&
           slice_eq_cstr(part_of(s, 5), kind) && part_of(s, 6).len > 0;
}

static bool is_image(struct slice s)
{
    return is_of_kind(s, "microvm-image");
}

static bool is_connector(struct slice s)
{
    return is_of_kind(s, "network-connector");
}

static bool has_only(struct slice s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (c == '\0' || (!word && strchr(more, c) == NULL)) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_role(struct slice s)
{
    struct slice account = part_of(s, 4);
    struct slice role = part_of(s, 5);
    return is_arn(s) && slice_eq_cstr(part_of(s, 2), "iam") && part_of(s, 3).len == 0 &&
           account.len == 12 && has_only(account, "") && slice_starts_with(role, SLICE("role/")) &&
           has_only((struct slice){role.ptr + 5, role.len - 5}, "_+=,.@-/");
}

static bool is_log_group(struct slice s)
{
    return has_only(s, "_-/.#");
}

static bool is_version(struct slice s)
{
    return has_only(s, "._-$");
}

/* The patterns of the service's model (botocore, lambda-microvms). */
static const struct setting_form form_arn = {
    "an ARN, such as arn:aws:kms:us-east-1:123456789012:key/ID", .fits = is_arn};
static const struct setting_form form_image = {
    "an image's ARN, such as arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly",
    .fits = is_image};
static const struct setting_form form_connector = {
    "a network connector's ARN, such as "
    "arn:aws:lambda:us-east-1:123456789012:network-connector:vpc",
    .fits = is_connector};
static const struct setting_form form_role = {
    "a role's ARN, such as arn:aws:iam::123456789012:role/mayfly-vm", .fits = is_role};
static const struct setting_form form_log_group = {
    "a log group's name of letters, digits and _ - / . #", .fits = is_log_group};
static const struct setting_form form_version = {"a version, such as 3.0", .fits = is_version};

static const struct setting rows[] = {
    TEXT("classes[].lambda.endpoint", AT(endpoint), "", 0, TEXT_MAX, .form = &form_http_url,
         .readers = FOR_FLEET,
         .help = "URL of the Lambda MicroVMs service. Empty: the service's own host in the "
                 "region."),
    TEXT("classes[].lambda.region", AT(region), "", 0, 32, .form = &form_name, .readers = FOR_FLEET,
         .help = "AWS region. Empty: the region in the image's ARN."),
    TEXT("classes[].lambda.image", AT(image), "", 0, 2048, .form = &form_image,
         .readers = FOR_FLEET,
         .help = "ARN of the MicroVM image. MicroVMs have no tags, so the image identifies this "
                 "class's VMs: no other deployment and no other class may use it."),
    TEXT("classes[].lambda.image_version", AT(image_version), "", 0, 64, .form = &form_version,
         .readers = FOR_FLEET,
         .help =
             "Version of the image, such as `3.0`, for all launches. Empty: the good one of the "
             "ledger, while a newer one is tried with a share of the launches (lambda.md)."),
    TEXT("classes[].lambda.execution_role", AT(execution_role), "", 0, 2048, .form = &form_role,
         .readers = FOR_FLEET,
         .help =
             "ARN of an IAM role for the VM. A job can read its credentials. Empty: no role; the "
             "worker terminates the VMs, which cannot do so themselves."),
    TEXT("classes[].lambda.log_group", AT(log_group), "", 0, 512, .form = &form_log_group,
         .readers = FOR_FLEET,
         .help =
             "CloudWatch log group for the VMs' output, with one stream for each VM, named like "
             "its runner. Needs `lambda.execution_role` with permission to write there. Empty: "
             "no logs are kept."),
    TEXT("classes[].lambda.kms_key", AT(kms_key), "", 0, 512, .form = &form_arn,
         .readers = FOR_FLEET,
         .help = "ARN of a KMS key, or of its alias, that the service encrypts the VM's data with; "
                 "the worker must be allowed to use it. Empty: the service's own key."),
    BOOL("classes[].lambda.shell", AT(shell), "false", .readers = FOR_FLEET,
         .help = "Adds the connectors HTTP_INGRESS and SHELL_INGRESS, so that anyone with "
                 "permission for CreateMicrovmShellAuthToken can open a shell in a running VM. For "
                 "debugging: a shell sees the job's secrets."),
    LIST("classes[].lambda.egress_connectors", AT(egress_connectors), 0, 10,
         .form = &form_connector, .readers = FOR_FLEET,
         .help = "ARNs of the network connectors for outgoing traffic. Empty: INTERNET_EGRESS."),
    LIST("classes[].lambda.ingress_connectors", AT(ingress_connectors), 0, 10,
         .form = &form_connector, .readers = FOR_FLEET,
         .help = "ARNs of the network connectors for incoming traffic. A runner needs none. Empty: "
                 "NO_INGRESS, unless `lambda.shell` is set."),
    DURATION("classes[].lambda.timeout", AT(timeout_ms), "10s", MILLISECONDS(100), MINUTES(10),
             .readers = FOR_FLEET,
             .help = "Time limit of one call to the service. A call that takes longer fails as a "
                     "transient error."),
    TEXT("classes[].targets[].name", IN_TARGET(name), "", 1, 32, .form = &form_name,
         .readers = FOR_FLEET | FOR_CTL, .required = FOR_FLEET, .example = "name: europe",
         .help = "Name of one account and region where the class's VMs are launched "
                 "(deploy/docs/targets.md). A launch goes to the target with the "
                 "largest free share, and to another one at once if that fails. Classes that name "
                 "the same target share its limits."),
    TEXT("classes[].targets[].image", IN_TARGET(image), "", 1, 2048, .form = &form_image,
         .readers = FOR_FLEET | FOR_CTL, .required = FOR_FLEET,
         .example = "image: arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly",
         .help = "ARN of the class's MicroVM image there, as `lambda.image`, which beside targets "
                 "names where its VMs were launched before: those that still run there are "
                 "looked after."),
    TEXT("classes[].targets[].region", IN_TARGET(region), "", 0, 32, .form = &form_name,
         .readers = FOR_FLEET | FOR_CTL,
         .help = "AWS region. Empty: the region in the image's ARN."),
    TEXT("classes[].targets[].role_arn", IN_TARGET(role_arn), "", 0, 2048, .form = &form_role,
         .readers = FOR_FLEET | FOR_CTL,
         .help = "ARN of the IAM role that the process's credentials assume for calls to this "
                 "target, of another account as a rule. Empty: these credentials themselves."),
    WHOLE("classes[].targets[].max_vms", IN_TARGET(max_vms), "0", 0, 1000000,
          .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET | FOR_CTL,
          .help = "Most VMs at once at this target, of all classes. At the limit launches go to "
                  "other targets, and wait if all are full. 0: `limits.max_vms`."),
    NUMBER("classes[].targets[].launch_rate.per_second", IN_TARGET(launch_rate.per_second), "5", 0,
           RATE_MAX, .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET | FOR_CTL,
           .help = "Launches per second at this target, of all classes, in place of "
                   "`limits.launch_rate`. Launches above it go to other targets, and wait if none "
                   "has a token. 0: no limit."),
    WHOLE("classes[].targets[].launch_rate.burst", IN_TARGET(launch_rate.burst), "5", 1, RATE_MAX,
          .flags = SETTING_RELOADABLE | SETTING_AUTO, .readers = FOR_FLEET | FOR_CTL,
          .help = "Launches that may be made at once after a quiet time."),
    WHOLE("classes[].targets[].weight", IN_TARGET(weight), "1", 0, 1000,
          .flags = SETTING_RELOADABLE, .readers = FOR_FLEET | FOR_CTL,
          .help = "A launch goes where the free share of `max_vms`, times this, is the largest. 0: "
                  "nothing is launched there, and its VMs run to their end: set it before you "
                  "remove a target."),
};

const struct lambda_settings *lambda_settings_of(const struct config_class *class)
{
    ASSERT(strcmp(class->provider, lambda_config.name) == 0 && class->settings != NULL);
    return class->settings;
}

struct slice lambda_arn_part(const char *arn, int n)
{
    struct slice rest = slice_of(arn);
    struct slice part = {NULL, 0};
    bool more = true;
    for (int i = 0; i <= n; i++) {
        if (!more) {
            return (struct slice){NULL, 0};
        }
        more = slice_cut(rest, ':', &part, &rest);
    }
    return part;
}

struct slice lambda_region(const struct lambda_settings *s)
{
    return s->region[0] != '\0' ? slice_of(s->region) : lambda_arn_part(s->image, 3);
}

/* Its strings are the class's and the target's. */
static void *at_target(const void *settings, const struct config_target *target)
{
    struct lambda_settings *s = malloc(sizeof *s);
    ASSERT(s != NULL);
    *s = *(const struct lambda_settings *)settings;
    s->image = target->image;
    s->region = target->region;
    s->role_arn = target->role_arn;
    return s;
}

static bool has_own_place(const void *settings)
{
    const struct lambda_settings *s = settings;
    return s->image[0] != '\0';
}

static bool is_own_place(const void *settings, const struct config_target *target)
{
    const struct lambda_settings *s = settings;
    return s->image[0] != '\0' && strcmp(s->image, target->image) == 0;
}

static struct slice aws_region(const void *settings)
{
    return lambda_region(settings);
}

void lambda_domain_of(const void *settings, struct buf *out)
{
    const struct lambda_settings *s = settings;
    struct slice region = lambda_region(s);
    struct slice account = lambda_arn_part(s->image, 4);
    buf_append_cstr(out, "lambda/");
    buf_append(out, (struct slice){region.ptr, region.len < 40 ? region.len : 40});
    buf_append_byte(out, '/');
    buf_append(out, (struct slice){account.ptr, account.len < 20 ? account.len : 20});
}

/* Published prices of arm64 MicroVMs, USD a second, August 2026. Only what runs is in them: no snapshot storage,
 * reads or writes, and no use above the baseline. */
#define VCPU_SECOND 0.0000276944
#define GB_SECOND 0.0000036667
static const struct region_price {
    const char *region;
    double factor; /* of the price in us-east-1 */
} region_prices[] = {
    {"us-east-1", 1},    {"us-east-2", 1},         {"us-west-2", 1},
    {"eu-west-1", 1.05}, {"ap-northeast-1", 1.16},
};

static bool lambda_price(const void *settings, struct config_price *out)
{
    struct slice region = lambda_region(settings);
    for (size_t i = 0; i < COUNT_OF(region_prices); i++) {
        if (slice_eq_cstr(region, region_prices[i].region)) {
            out->vcpu_hour = 3600 * VCPU_SECOND * region_prices[i].factor;
            out->gb_hour = 3600 * GB_SECOND * region_prices[i].factor;
            return true;
        }
    }
    return false;
}

/* MicroVMs have no tags: only the image identifies their owner. A class may have launched before where one of
 * its targets is. */
static bool is_image_of_place_before(const struct config *c, const struct config_class *place)
{
    const char *image = lambda_settings_of(place)->image;
    for (size_t i = 0; i < c->place_count && c->places[i] != place; i++) {
        bool own = config_place_class(c->places[i]) == place;
        if (!own && strcmp(c->places[i]->provider, lambda_config.name) == 0 &&
            strcmp(lambda_settings_of(c->places[i])->image, image) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_same_rate(const struct config_rate *a, const struct config_rate *b)
{
    return !(a->per_second < b->per_second) && !(a->per_second > b->per_second) &&
           a->burst == b->burst;
}

static bool is_same_domain(const struct config_class *a, const struct config_class *b)
{
    struct slice region = lambda_region(lambda_settings_of(a));
    struct slice account = lambda_arn_part(lambda_settings_of(a)->image, 4);
    struct slice other = lambda_region(lambda_settings_of(b));
    return slice_eq(region, other) &&
           slice_eq(account, lambda_arn_part(lambda_settings_of(b)->image, 4));
}

/* What makes a target of two classes two places: its limits are one account's and region's. */
static const char *difference_of(const struct config_class *a, const struct config_class *b)
{
    const struct config_target *x = a->target;
    const struct config_target *y = b->target;
    return !is_same_domain(a, b)                             ? "another account or region"
           : strcmp(x->role_arn, y->role_arn) != 0           ? "another role_arn"
           : x->max_vms != y->max_vms                        ? "another max_vms"
           : !is_same_rate(&x->launch_rate, &y->launch_rate) ? "another launch_rate"
                                                             : NULL;
}

/* Of the places before it. */
static void check_target_among_others(const struct config_class_check *c,
                                      const struct config_class *place, const char *key)
{
    const struct config *all = c->config;
    for (size_t i = 0; i < all->place_count && all->places[i] != place; i++) {
        const struct config_class *other = all->places[i];
        if (strcmp(other->provider, lambda_config.name) != 0 || other->target == NULL) {
            continue;
        }
        bool named_alike = strcmp(other->target->name, place->target->name) == 0;
        const char *difference = named_alike ? difference_of(place, other) : NULL;
        if (difference != NULL) {
            config_check_complain(c, key,
                                  "has %s than %s: classes that name one target share its "
                                  "account's limits there: make them equal, or rename one",
                                  difference, other->name);
        } else if (!named_alike && is_same_domain(place, other)) {
            bool same_class = config_place_class(other) == config_place_class(place);
            config_check_complain(c, key,
                                  "is in the account and region of %s, whose limits it would use "
                                  "too: %s",
                                  other->name,
                                  same_class ? "leave it out"
                                             : "give it that target's name, or leave it out");
        }
    }
}

/* An ARN names the account and region that its resource is in; IAM's name no region. */
static void check_arn_at(const struct config_class_check *c, const struct config_class *place,
                         const char *key, const char *arn)
{
    const struct lambda_settings *s = lambda_settings_of(place);
    struct slice region = lambda_arn_part(arn, 3);
    struct slice account = lambda_arn_part(arn, 4);
    bool elsewhere = (region.len > 0 && !slice_eq(region, lambda_region(s))) ||
                     (account.len > 0 && !slice_eq_cstr(account, "aws") &&
                      !slice_eq(account, lambda_arn_part(s->image, 4)));
    if (arn[0] != '\0' && elsewhere) {
        config_check_complain(c, key,
                              "is not in the account and region of target %s: leave it out, or "
                              "make a class for the targets that have it",
                              place->target->name);
    }
}

static void check_arns_at(const struct config_class_check *c, const struct config_class *place)
{
    const struct lambda_settings *s = lambda_settings_of(place);
    check_arn_at(c, place, "lambda.execution_role", s->execution_role);
    check_arn_at(c, place, "lambda.kms_key", s->kms_key);
    for (size_t i = 0; i < s->egress_connectors.count; i++) {
        check_arn_at(c, place, "lambda.egress_connectors", s->egress_connectors.items[i]);
    }
    for (size_t i = 0; i < s->ingress_connectors.count; i++) {
        check_arn_at(c, place, "lambda.ingress_connectors", s->ingress_connectors.items[i]);
    }
}

static void check_targets(const struct config_class_check *c, const struct config_class *class)
{
    const struct config_class *const *places = NULL;
    size_t n = class->target_count > 0 ? config_launch_places(c->config, class, &places) : 0;
    for (size_t i = 0; i < n; i++) {
        char key[64];
        const struct lambda_settings *s = lambda_settings_of(places[i]);
        (void)snprintf(key, sizeof key, "targets[%zu].image", i);
        if (s->image[0] == '\0') {
            continue; /* that it is required is said already */
        }
        if (is_image_of_place_before(c->config, places[i])) {
            config_check_complain(c, key,
                                  "is also another place's: nothing else identifies a MicroVM's "
                                  "owner, so give each class an image of its own at each target");
        }
        (void)snprintf(key, sizeof key, "targets[%zu]", i);
        check_target_among_others(c, places[i], key);
        check_arns_at(c, places[i]);
    }
}

static bool promises_x64(const struct config_class *class)
{
    for (size_t i = 0; i < class->labels.count; i++) {
        struct slice label = slice_of(class->labels.items[i]);
        if (slice_eq_nocase(label, SLICE("x64")) || slice_eq_nocase(label, SLICE("x86_64")) ||
            slice_eq_nocase(label, SLICE("amd64"))) {
            return true;
        }
    }
    return false;
}

static void check_lambda_class(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    const struct lambda_settings *s = lambda_settings_of(class);
    char most[QUANTITY_TEXT_SIZE];
    if (!config_check_asks(c, FOR_FLEET)) {
        return;
    }
    check_targets(c, class);
    if (s->image[0] == '\0' && class->target_count == 0) {
        config_check_complain(c, "lambda.image",
                              "is required, unless the class has targets: add \"lambda: {image: "
                              "arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME}\"");
    } else if (s->image[0] != '\0' && is_image_of_place_before(c->config, class)) {
        config_check_complain(c, "lambda.image",
                              "is also another class's: give each class an image of its own, since "
                              "nothing else identifies a MicroVM's owner");
    }
    if (s->log_group[0] != '\0' && s->execution_role[0] == '\0') {
        config_check_complain(c, "lambda.log_group",
                              "needs lambda.execution_role, since a VM writes its log with its "
                              "role's rights: add one that may write there, or remove it");
    }
    if (class->shell) {
        config_check_complain(c, "shell",
                              "is for the provider qemu alone: how the terminal of a MicroVM "
                              "speaks is not documented: remove it");
    }
    if (class->hold_on_failure_ms > 0) {
        config_check_complain(c, "hold_on_failure",
                              "is for VMs on hosts of your own alone: nobody can look into a "
                              "MicroVM, and one that is held would only cost: remove it");
    }
    if (promises_x64(class)) {
        config_check_warn(c, "labels",
                          "promise x64, and images are for arm64 unless they were published for "
                          "x86_64: check the image's architecture");
    }
    if (class->max_duration_ms > SECONDS(LAMBDA_SECONDS_MAX)) {
        config_check_complain(c, "max_duration",
                              "is above %s, the longest life of a MicroVM: lower it",
                              quantity_text(QUANTITY_DURATION, SECONDS(LAMBDA_SECONDS_MAX), most));
    }
}

const struct config_provider lambda_config = {
    .name = "lambda",
    .size = sizeof(struct lambda_settings),
    .settings = rows,
    .setting_count = COUNT_OF(rows),
    .check = check_lambda_class,
    .aws_region = aws_region,
    .domain = lambda_domain_of,
    .at_target = at_target,
    .has_own_place = has_own_place,
    .is_own_place = is_own_place,
    .price = lambda_price,
};
