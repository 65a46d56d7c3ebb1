#include "common/config/config_private.h"

#include <string.h>

#include "common/job/record.h"

/* Complaints about one path, with its line. */
#define COMPLAIN(r, path, ...)                                                                     \
    complain((r)->complaints, config_tree_line((r)->tree, path), path, __VA_ARGS__)

static bool asks(const struct config_reading *r, unsigned programs)
{
    return (r->who & programs) != 0;
}

/* "classes[2].qemu.image" from "classes[].qemu.image". */
static void path_of(struct buf *out, const struct setting *s, size_t class_index)
{
    if (setting_is_of_class(s)) {
        buf_printf(out, "classes[%zu]%s", class_index, s->key + strlen("classes[]"));
    } else {
        buf_append_cstr(out, s->key);
    }
}

static void check_required(struct config_reading *r, const struct setting *s, const void *base,
                           size_t class_index)
{
    struct buf path;
    if (!asks(r, s->required) || !setting_is_empty(s, base)) {
        return;
    }
    buf_init(&path, 256);
    path_of(&path, s, class_index);
    /* A value that was refused is not missing, and one complaint about it is enough. */
    if (!complaints_about(r->complaints, path.data)) {
        COMPLAIN(r, path.data, "is required: add \"%s\"", s->example);
    }
    buf_fini(&path);
}

static void check_all_required(struct config_reading *r)
{
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct setting *s = &config_settings[i];
        for (size_t k = 0; setting_is_of_class(s) && k < r->config->class_count; k++) {
            check_required(r, s, &r->config->classes[k], k);
        }
        if (!setting_is_of_class(s)) {
            check_required(r, s, r->config, 0);
        }
    }
    if (asks(r, FOR_INGRESS | FOR_WORKER | FOR_REAPER) && r->config->class_count == 0 &&
        !complaints_about(r->complaints, "classes")) {
        COMPLAIN(r, "classes",
                 "is required: add one runner class, \"classes: [{name: small, labels: "
                 "[self-hosted, linux, x64, microvm], …}]\"");
    }
}

static void check_credentials(struct config_reading *r)
{
    const struct config_github *g = &r->config->github;
    bool app = g->app_id[0] != '\0' || g->app_key[0] != '\0';
    bool token = g->token[0] != '\0';
    bool refused = complaints_about(r->complaints, "github.app.id") ||
                   complaints_about(r->complaints, "github.app.private_key") ||
                   complaints_about(r->complaints, "github.token");
    if (!asks(r, FOR_WORKER | FOR_REAPER) || refused) {
        return;
    }
    if (app && token) {
        COMPLAIN(r, "github.token", "excludes github.app: remove one of the two");
    } else if (!app && !token) {
        COMPLAIN(r, "github.app",
                 "is required, or github.token: add \"app: {id: …, private_key: "
                 "file:/etc/mayfly/app.pem}\"");
    } else if (app && g->app_id[0] == '\0') {
        COMPLAIN(r, "github.app.id", "is required with a private key: add the App's id");
    } else if (app && g->app_key[0] == '\0') {
        COMPLAIN(r, "github.app.private_key",
                 "is required with an App's id: add \"private_key: file:/etc/mayfly/app.pem\"");
    }
}

/* A hook is found by its id and by whom it belongs to; half of it finds nothing. */
static void check_hook(struct config_reading *r)
{
    const struct config_hook *hook = &r->config->github.hook;
    bool organization = hook->organization[0] != '\0';
    bool repository = hook->repository[0] != '\0';
    if (!asks(r, FOR_REAPER) || complaints_about(r->complaints, "github.hook.id") ||
        complaints_about(r->complaints, "github.hook.repository")) {
        return;
    }
    if (organization && repository) {
        COMPLAIN(r, "github.hook.repository",
                 "excludes github.hook.organization: a webhook belongs to one of them");
    } else if (hook->id > 0 && !organization && !repository) {
        COMPLAIN(r, "github.hook.organization",
                 "is required with github.hook.id, or github.hook.repository: say whose webhook "
                 "it is");
    } else if (hook->id == 0 && (organization || repository)) {
        COMPLAIN(r, "github.hook.id",
                 "is required: add the number at the end of the webhook's address in GitHub's "
                 "settings");
    }
}

static void check_record_format(struct config_reading *r)
{
    if (asks(r, FOR_INGRESS) && r->config->ingress.record_format > record_newest_format()) {
        COMPLAIN(r, "ingress.record_format",
                 "is %lld, newer than this program writes: set it to %lld or less, or upgrade the "
                 "ingress first",
                 (long long)r->config->ingress.record_format, (long long)record_newest_format());
    }
}

static void check_ingress(struct config_reading *r)
{
    const struct config_ingress *in = &r->config->ingress;
    bool certificate = in->tls_certificate[0] != '\0';
    bool key = in->tls_key[0] != '\0';
    if (!asks(r, FOR_INGRESS)) {
        return;
    }
    if (certificate != key) {
        const char *missing = certificate ? "ingress.tls.key" : "ingress.tls.certificate";
        if (!complaints_about(r->complaints, missing)) {
            COMPLAIN(r, missing, "is required with its other half: add it, or remove %s",
                     certificate ? "ingress.tls.certificate" : "ingress.tls.key");
        }
    }
    size_t n = strlen(in->listen);
    bool kernel_chooses = n < 2 || strcmp(in->listen + n - 2, ":0") == 0;
    if (!kernel_chooses && strcmp(in->listen, in->admin_listen) == 0) {
        COMPLAIN(r, "ingress.admin_listen",
                 "is the same as ingress.listen: give it a port of its own");
    }
}

static void check_retry(struct config_reading *r)
{
    const struct config_retry *x = &r->config->retry;
    if (x->base_ms > x->cap_ms) {
        COMPLAIN(r, "retry.cap_ms", "is %lld, below retry.base_ms (%lld): raise it or lower that",
                 (long long)x->cap_ms, (long long)x->base_ms);
    }
}

static void check_launch_threads(struct config_reading *r)
{
    const struct config *c = r->config;
    if (asks(r, FOR_WORKER) && c->worker.launch_threads < (int64_t)c->class_count &&
        !complaints_about(r->complaints, "worker.launch_threads")) {
        COMPLAIN(r, "worker.launch_threads",
                 "is %lld, below the number of classes (%zu), each of which needs one: raise it",
                 (long long)c->worker.launch_threads, c->class_count);
    }
}

/* A launch that is given up before its VM had the time to boot would be tried again for ever. */
static void check_startup_timeout(struct config_reading *r, size_t i)
{
    const struct config_class *class = &r->config->classes[i];
    int64_t startup_ms = r->config->reaper.startup_timeout_ms;
    if (asks(r, FOR_WORKER | FOR_REAPER) && class->qemu.boot_timeout_ms >= startup_ms &&
        !complaints_about(r->complaints, "reaper.startup_timeout_ms")) {
        COMPLAIN(r, "reaper.startup_timeout_ms",
                 "is %lld, not above classes[%zu].qemu.boot_timeout_ms (%lld): raise it or lower "
                 "that",
                 (long long)startup_ms, i, (long long)class->qemu.boot_timeout_ms);
    }
}

/* A lease that may end between two sweeps would change hands for nothing, and each new holder has
 * to see for itself what the last one saw. */
static void check_reaper(struct config_reading *r)
{
    const struct config_reaper *x = &r->config->reaper;
    if (asks(r, FOR_REAPER) && x->lease_ms < 3 * x->interval_ms &&
        !complaints_about(r->complaints, "reaper.lease_ms") &&
        !complaints_about(r->complaints, "reaper.interval_ms")) {
        COMPLAIN(r, "reaper.lease_ms",
                 "is %lld, less than three times reaper.interval_ms (%lld): set it to %lld or more",
                 (long long)x->lease_ms, (long long)x->interval_ms,
                 (long long)(3 * x->interval_ms));
    }
}

/* --- classes --------------------------------------------------------------------------------- */

static void check_class_name(struct config_reading *r, size_t i)
{
    const struct config_class *classes = r->config->classes;
    for (size_t k = 0; k < i && classes[i].name[0] != '\0'; k++) {
        if (strcmp(classes[k].name, classes[i].name) == 0) {
            char path[64];
            struct buf b;
            buf_init(&b, sizeof path);
            buf_printf(&b, "classes[%zu].name", i);
            COMPLAIN(r, b.data, "\"%s\" is the name of classes[%zu] too: give each its own",
                     classes[i].name, k);
            buf_fini(&b);
            return;
        }
    }
}

static bool has_label(const struct config_list *labels, const char *label)
{
    for (size_t i = 0; i < labels->count; i++) {
        if (slice_eq_nocase(slice_of(labels->items[i]), slice_of(label))) {
            return true;
        }
    }
    return false;
}

/* A required label that no runner of the class has would make the class take no job at all. */
static void check_required_labels(struct config_reading *r, size_t i)
{
    const struct config_class *class = &r->config->classes[i];
    for (size_t k = 0; k < class->required_labels.count; k++) {
        const char *label = class->required_labels.items[k];
        struct buf b;
        if (class->labels.count == 0 || has_label(&class->labels, label)) {
            continue;
        }
        buf_init(&b, 128);
        buf_printf(&b, "classes[%zu].required_labels[%zu]", i, k);
        COMPLAIN(r, b.data,
                 "is not among the class's labels, so that no job could match: add it to labels, "
                 "or remove it here");
        buf_fini(&b);
    }
}

static void check_qemu(struct config_reading *r, size_t i)
{
    const struct config_class *class = &r->config->classes[i];
    struct buf b;
    buf_init(&b, 128);
    buf_printf(&b, "classes[%zu].qemu.image", i);
    if (asks(r, FOR_WORKER) && class->qemu.image[0] == '\0' &&
        !complaints_about(r->complaints, b.data)) {
        COMPLAIN(r, b.data, "is required: add \"qemu: {image: /var/lib/mayfly/image}\"");
    }
    bool proxy = class->proxy.http[0] != '\0' || class->proxy.https[0] != '\0';
    buf_reset(&b);
    buf_printf(&b, "classes[%zu].qemu.network", i);
    if (asks(r, FOR_WORKER) && strcmp(class->qemu.network, "proxy") == 0 && !proxy) {
        COMPLAIN(r, b.data,
                 "is proxy, and the class has none: add \"proxy: {http: http://…, https: "
                 "http://…}\" to it, or say network: user");
    }
    buf_fini(&b);
}

#define LAMBDA_SECONDS_MAX 28800

/* Complains about classes[i].<key> unless something was said about it already. */
static void complain_class(struct config_reading *r, size_t i, const char *key, const char *text)
{
    struct buf b;
    buf_init(&b, 128);
    buf_printf(&b, "classes[%zu].%s", i, key);
    if (!complaints_about(r->complaints, b.data)) {
        COMPLAIN(r, b.data, "%s", text);
    }
    buf_fini(&b);
}

/* MicroVMs have no tags: what says whose they are is their image alone. */
static void check_lambda_image(struct config_reading *r, size_t i)
{
    const struct config_class *classes = r->config->classes;
    for (size_t k = 0; k < i; k++) {
        if (strcmp(classes[k].provider, "lambda") == 0 &&
            strcmp(classes[k].lambda.image, classes[i].lambda.image) == 0) {
            complain_class(r, i, "lambda.image",
                           "is another class's too: give each class an image of its own, since "
                           "nothing else tells whose a MicroVM is");
            return;
        }
    }
}

static void check_lambda(struct config_reading *r, size_t i)
{
    const struct config_class *class = &r->config->classes[i];
    if (!asks(r, FOR_WORKER | FOR_REAPER)) {
        return;
    }
    if (class->lambda.image[0] == '\0') {
        complain_class(r, i, "lambda.image",
                       "is required: add \"lambda: {image: "
                       "arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME}\"");
    } else {
        check_lambda_image(r, i);
    }
    if (class->lambda.log_group[0] != '\0' && class->lambda.execution_role[0] == '\0') {
        complain_class(r, i, "lambda.log_group",
                       "needs lambda.execution_role, since a VM writes its log with its role's "
                       "rights: add one that may write there, or remove it");
    }
    if (class->max_duration_seconds > LAMBDA_SECONDS_MAX) {
        complain_class(r, i, "max_duration_seconds",
                       "is above 28800, the longest life of a MicroVM: lower it");
    }
}

void config_check(struct config_reading *r)
{
    check_all_required(r);
    check_credentials(r);
    check_hook(r);
    check_ingress(r);
    check_record_format(r);
    check_retry(r);
    check_launch_threads(r);
    check_reaper(r);
    for (size_t i = 0; i < r->config->class_count; i++) {
        check_class_name(r, i);
        check_required_labels(r, i);
        if (strcmp(r->config->classes[i].provider, "qemu") == 0) {
            check_qemu(r, i);
            check_startup_timeout(r, i);
        } else if (strcmp(r->config->classes[i].provider, "lambda") == 0) {
            check_lambda(r, i);
        }
    }
}
