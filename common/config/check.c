#include "common/config/private.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/quantity.h"
#include "common/config/app_key.h"
#include "common/config/keys/tls_pair.h"
#include "common/job/record.h"

#define EXPIRES_SOON_MS (14 * 24 * 3600 * 1000LL) /* of a certificate */
/* Adds a complaint about a path, with its line. */
#define COMPLAIN(r, path, ...)                                                                     \
    complain((r)->complaints, config_tree_line((r)->tree, path), path, __VA_ARGS__)
/* About what is allowed, and hardly meant. */
#define WARN(r, path, ...)                                                                         \
    complain((r)->warnings, config_tree_line((r)->tree, path), path, __VA_ARGS__)

static bool is_for_program(const struct config_reading *r, unsigned programs)
{
    return (r->who & programs) != 0;
}

static void check_has_classes(struct config_reading *r)
{
    if (is_for_program(r, FOR_INGRESS | FOR_WORKER | FOR_REAPER) && r->config->class_count == 0 &&
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
    bool apps = g->app_count > 0;
    bool token = g->token[0] != '\0';
    bool refused = complaints_about(r->complaints, "github.app.id") ||
                   complaints_about(r->complaints, "github.app.private_key") ||
                   complaints_about(r->complaints, "github.apps") ||
                   complaints_about(r->complaints, "github.token");
    if (!is_for_program(r, FOR_WORKER | FOR_REAPER) || refused) {
        return;
    }
    if (app && apps) {
        COMPLAIN(r, "github.app", "excludes github.apps: move it there");
    } else if (config_uses_scope(r->config, CONFIG_ENTERPRISE) && !token) {
        COMPLAIN(r, "github.token",
                 "is required with the scope enterprise, which GitHub gives no App: add a classic "
                 "token with manage_runners:enterprise");
    } else if ((app || apps) && token && !config_uses_scope(r->config, CONFIG_ENTERPRISE)) {
        COMPLAIN(r, "github.token", "excludes github.app%s: remove one of the two",
                 apps ? "s" : "");
    } else if (!app && !apps && !token) {
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

/* One that is stored elsewhere, and was not fetched, has no text yet. */
static void check_app_key(struct config_reading *r, const char *path, const char *pem)
{
    EVP_PKEY *key = NULL;
    struct err e;
    struct slice text = slice_of(pem);
    bool is_text = memmem(text.ptr, text.len, "-----BEGIN ", 11) != NULL;
    if (!is_for_program(r, FOR_FLEET) || !is_text || complaints_about(r->complaints, path)) {
        return;
    }
    if (app_key_read(text, &key, &e) != 0) {
        COMPLAIN(r, path, "%s", e.message);
    }
    EVP_PKEY_free(key);
}

static void check_app_keys(struct config_reading *r)
{
    char path[64];
    check_app_key(r, "github.app.private_key", r->config->github.app_key);
    for (size_t i = 0; i < r->config->github.app_count; i++) {
        (void)snprintf(path, sizeof path, "github.apps[%zu].private_key", i);
        check_app_key(r, path, r->config->github.apps[i].key);
    }
}

static const char *url_of(const struct config_github *g, size_t i)
{
    return g->apps[i].api_url[0] != '\0' ? g->apps[i].api_url : g->api_url;
}

static bool share_owner(const struct config_list *a, const struct config_list *b)
{
    for (size_t i = 0; i < a->count; i++) {
        for (size_t k = 0; k < b->count; k++) {
            if (slice_eq_nocase(slice_of(a->items[i]), slice_of(b->items[k]))) {
                return true;
            }
        }
    }
    return a->count == 0 && b->count == 0;
}

/* An App has one limit in an organization, however often it is named. */
static void check_is_other_app(struct config_reading *r, size_t i)
{
    const struct config_github *g = &r->config->github;
    char path[64];
    for (size_t k = 0; k < i; k++) {
        if (strcmp(g->apps[i].id, g->apps[k].id) == 0 && strcmp(url_of(g, i), url_of(g, k)) == 0) {
            (void)snprintf(path, sizeof path, "github.apps[%zu].id", i);
            COMPLAIN(r, path,
                     "is the id of github.apps[%zu] too: name all its organizations in one of the "
                     "two, and remove the other",
                     k);
            return;
        }
    }
}

/* An organization's name says on which server it is. */
static void check_servers(struct config_reading *r, size_t i)
{
    const struct config_github *g = &r->config->github;
    char path[64];
    for (size_t k = 0; k < i; k++) {
        bool other = strcmp(url_of(g, i), url_of(g, k)) != 0;
        if (other && share_owner(&g->apps[i].organizations, &g->apps[k].organizations)) {
            (void)snprintf(path, sizeof path, "github.apps[%zu].organizations", i);
            COMPLAIN(r, path,
                     "names an organization that github.apps[%zu], of another server, serves too "
                     "(empty: all): let each name its own",
                     k);
            return;
        }
    }
}

static void check_enterprise(struct config_reading *r)
{
    if (config_uses_scope(r->config, CONFIG_ENTERPRISE) &&
        r->config->github.enterprise[0] == '\0' &&
        !complaints_about(r->complaints, "github.enterprise")) {
        COMPLAIN(r, "github.enterprise",
                 "is required with the scope enterprise: add the slug of "
                 "github.com/enterprises/SLUG");
    }
}

static void check_apps(struct config_reading *r)
{
    const struct config_github *g = &r->config->github;
    if (!is_for_program(r, FOR_FLEET)) {
        return;
    }
    for (size_t i = 1; i < g->app_count; i++) {
        check_servers(r, i);
        check_is_other_app(r, i);
    }
    if (g->app_count > 1 && g->installation > 0) {
        COMPLAIN(r, "github.installation",
                 "is of one App, and github.apps has several: remove it, they are looked up");
    }
}

/* A hook is identified by its id and its owner together. */
static void check_hook_settings(struct config_reading *r)
{
    const struct config_hook *hook = &r->config->github.hook;
    bool organization = hook->organization[0] != '\0';
    bool repository = hook->repository[0] != '\0';
    if (!is_for_program(r, FOR_REAPER) || complaints_about(r->complaints, "github.hook.id") ||
        complaints_about(r->complaints, "github.hook.repository")) {
        return;
    }
    if (organization && repository) {
        COMPLAIN(r, "github.hook.repository",
                 "excludes github.hook.organization: a webhook belongs to one of them");
    } else if (hook->id > 0 && !organization && !repository) {
        COMPLAIN(r, "github.hook.organization",
                 "is required with github.hook.id, or github.hook.repository: name the webhook's "
                 "owner");
    } else if (hook->id == 0 && (organization || repository)) {
        COMPLAIN(r, "github.hook.id",
                 "is required: add the number at the end of the webhook's address in GitHub's "
                 "settings");
    }
}

/* Without an App the log is a hook's, which must be named. */
static void check_pull(struct config_reading *r)
{
    const struct config_github *g = &r->config->github;
    if (is_for_program(r, FOR_REAPER) && g->pull_interval_ms > 0 && g->app_id[0] == '\0' &&
        g->app_count == 0 && g->hook.id == 0 &&
        !complaints_about(r->complaints, "github.hook.id") &&
        !complaints_about(r->complaints, "github.app.id")) {
        COMPLAIN(r, "github.hook.id",
                 "is required with github.pull unless github.app is used: a token reads the "
                 "delivery log of an organization's or a repository's webhook only");
    }
}

static void check_record_format(struct config_reading *r)
{
    if (is_for_program(r, FOR_INGRESS) &&
        r->config->ingress.record_format > record_newest_format()) {
        COMPLAIN(r, "ingress.record_format",
                 "is %lld, newer than this program writes: set it to %lld or less, or upgrade the "
                 "ingress first",
                 (long long)r->config->ingress.record_format, (long long)record_newest_format());
    }
}

/* The ingress alone has the files. */
static void check_tls_pair(struct config_reading *r)
{
    static const char *const paths[] = {
        [TLS_CERTIFICATE] = "ingress.tls.certificate", [TLS_KEY] = "ingress.tls.key"};
    const struct config_ingress *in = &r->config->ingress;
    enum tls_half at_fault = TLS_CERTIFICATE;
    int64_t until_ms = 0;
    char day[32];
    struct err e;
    if (r->who != FOR_INGRESS || complaints_about(r->complaints, paths[TLS_CERTIFICATE]) ||
        complaints_about(r->complaints, paths[TLS_KEY])) {
        return;
    }
    if (tls_pair_check(in->tls_certificate, in->tls_key, &until_ms, &at_fault, &e) != 0) {
        COMPLAIN(r, paths[at_fault], "%s", e.message);
        return;
    }
    int64_t left_ms = until_ms - clock_wall_ms();
    clock_format_utc(until_ms, day, sizeof day);
    if (left_ms < 0) {
        COMPLAIN(r, paths[TLS_CERTIFICATE],
                 "has expired, at %s: GitHub refuses it; renew it, or set the clock right", day);
    } else if (left_ms < EXPIRES_SOON_MS) {
        WARN(r, paths[TLS_CERTIFICATE], "expires soon, at %s: renew it", day);
    }
}

/* What a whole request needs must fit into each of the limits around it. */
static void check_ingress_limits(struct config_reading *r)
{
    const struct config_ingress *in = &r->config->ingress;
    const struct {
        const char *key;
        int64_t bytes;
        bool is_set;
    } limits[] = {
        {"ingress.max_unverified_memory", in->max_unverified_memory_bytes, true},
        {"ingress.max_peer_unverified_memory", in->max_peer_unverified_memory_bytes,
         in->max_peer_unverified_memory_bytes > 0},
    };
    int64_t request = in->max_body_size_bytes + in->max_header_size_bytes;
    char least[QUANTITY_TEXT_SIZE];
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        if (limits[i].is_set && limits[i].bytes < request) {
            COMPLAIN(r, limits[i].key,
                     "is less than one request may have, ingress.max_body_size and "
                     "ingress.max_header_size: set it to %s or more, or lower them",
                     quantity_text(QUANTITY_SIZE, request, least));
        }
    }
}

/* GitHub publishes ranges for github.com, and a server of an enterprise may; for ghe.com it
 * documents them. */
static void check_allow_from(struct config_reading *r)
{
    const struct config_list *from = &r->config->ingress.allow_from;
    bool ghe_com = strstr(r->config->github.api_url, ".ghe.com") != NULL;
    for (size_t i = 0; ghe_com && i < from->count; i++) {
        if (config_means_github_hooks(from->items[i])) {
            COMPLAIN(r, "ingress.allow_from",
                     "has github-hooks, and no ranges are published for ghe.com: list those that "
                     "GitHub's documentation names for your region");
            return;
        }
    }
}

static void check_ingress(struct config_reading *r)
{
    const struct config_ingress *in = &r->config->ingress;
    bool certificate = in->tls_certificate[0] != '\0';
    bool key = in->tls_key[0] != '\0';
    if (!is_for_program(r, FOR_INGRESS)) {
        return;
    }
    if (certificate != key) {
        const char *missing = certificate ? "ingress.tls.key" : "ingress.tls.certificate";
        if (!complaints_about(r->complaints, missing)) {
            COMPLAIN(r, missing, "is required with its other half: add it, or remove %s",
                     certificate ? "ingress.tls.certificate" : "ingress.tls.key");
        }
    }
    if (certificate && key) {
        check_tls_pair(r);
    }
    check_ingress_limits(r);
    check_allow_from(r);
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
    char base[QUANTITY_TEXT_SIZE];
    char most[QUANTITY_TEXT_SIZE];
    if (x->base_delay_ms > x->max_delay_ms) {
        COMPLAIN(r, "retry.max_delay", "is %s, below retry.base_delay (%s): raise it or lower that",
                 quantity_text(QUANTITY_DURATION, x->max_delay_ms, most),
                 quantity_text(QUANTITY_DURATION, x->base_delay_ms, base));
    }
}

static void check_launch_threads(struct config_reading *r)
{
    const struct config *c = r->config;
    size_t served = 0;
    for (size_t i = 0; i < c->class_count; i++) {
        served += !config_class_is_retired(&c->classes[i]);
    }
    if (is_for_program(r, FOR_WORKER) && c->worker.launch_threads < (int64_t)served &&
        !complaints_about(r->complaints, "worker.launch_threads")) {
        COMPLAIN(r, "worker.launch_threads",
                 "is %lld, below the number of classes (%zu), each of which needs one: raise it",
                 (long long)c->worker.launch_threads, served);
    }
}

/* A lease that may expire between two sweeps would change its holder for no reason, and each new
 * holder must observe again what the last one observed. */
static void check_reaper(struct config_reading *r)
{
    const struct config_reaper *x = &r->config->reaper;
    char lease[QUANTITY_TEXT_SIZE];
    char interval[QUANTITY_TEXT_SIZE];
    char least[QUANTITY_TEXT_SIZE];
    if (is_for_program(r, FOR_REAPER) && x->lease_duration_ms < 3 * x->interval_ms &&
        !complaints_about(r->complaints, "reaper.lease_duration") &&
        !complaints_about(r->complaints, "reaper.interval")) {
        COMPLAIN(r, "reaper.lease_duration",
                 "is %s, less than three times reaper.interval (%s): set it to %s or more",
                 quantity_text(QUANTITY_DURATION, x->lease_duration_ms, lease),
                 quantity_text(QUANTITY_DURATION, x->interval_ms, interval),
                 quantity_text(QUANTITY_DURATION, 3 * x->interval_ms, least));
    }
}

/* --- classes --------------------------------------------------------------------------------- */

bool config_check_asks(const struct config_class_check *c, unsigned programs)
{
    return is_for_program(c->reading, programs);
}

static void add_about_class(const struct config_class_check *c, struct complaints *to,
                            const char *key, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "classes[%zu].%s", c->index, key);
    if (!complaints_about(c->reading->complaints, path)) {
        complain(to, config_tree_line(c->reading->tree, path), path, "%s", text);
    }
}

void config_check_complain(const struct config_class_check *c, const char *key, const char *fmt,
                           ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    add_about_class(c, c->reading->complaints, key, text);
}

void config_check_warn(const struct config_class_check *c, const char *key, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    add_about_class(c, c->reading->warnings, key, text);
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

/* With a required label that no runner of the class has, no job could belong to the class. */
static void check_required_labels(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    for (size_t k = 0; class->labels.count > 0 && k < class->required_labels.count; k++) {
        char key[48];
        (void)snprintf(key, sizeof key, "required_labels[%zu]", k);
        if (!has_label(&class->labels, class->required_labels.items[k])) {
            config_check_complain(c, key,
                                  "is not among the class's labels, so that no job could match: "
                                  "add it to labels, or remove it from required_labels");
        }
    }
}

static bool is_part_of(const struct config_list *part, const struct config_list *whole)
{
    for (size_t i = 0; i < part->count; i++) {
        if (!has_label(whole, part->items[i])) {
            return false;
        }
    }
    return true;
}

/* A job belongs to the first class that takes it: one whose every job another takes before gets
 * none. */
static void check_is_reached(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    bool takes_jobs = class->labels.count > 0 && !config_class_is_retired(class);
    for (size_t k = 0; k < c->index && takes_jobs; k++) {
        const struct config_class *before = &c->config->classes[k];
        if (!config_class_is_retired(before) && is_part_of(&class->labels, &before->labels) &&
            is_part_of(&before->required_labels, &class->required_labels)) {
            config_check_complain(c, "labels",
                                  "every job that class \"%s\" could take goes to class \"%s\", "
                                  "which stands before it: put it first with a required label of "
                                  "its own, or remove it",
                                  class->name, before->name);
            return;
        }
    }
}

static void check_class_limits(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    char idle[QUANTITY_TEXT_SIZE];
    char most[QUANTITY_TEXT_SIZE];
    if (!config_check_asks(c, FOR_FLEET)) {
        return;
    }
    if (class->max_vms > c->config->limits.max_vms) {
        config_check_warn(c, "max_vms",
                          "is %lld, more than limits.max_vms (%lld), which is never exceeded: "
                          "raise that, or lower this",
                          (long long)class->max_vms, (long long)c->config->limits.max_vms);
    }
    if (class->idle_timeout_ms >= class->max_duration_ms) {
        config_check_warn(c, "idle_timeout",
                          "is %s, and max_duration is %s: a VM without a job is kept to its end",
                          quantity_text(QUANTITY_DURATION, class->idle_timeout_ms, idle),
                          quantity_text(QUANTITY_DURATION, class->max_duration_ms, most));
    }
}

/* --- min_idle --- */

static void check_idle_scopes(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    const struct config_list *scopes = &class->min_idle.scopes;
    if (scopes->count == 0) {
        config_check_complain(c, "min_idle.scopes",
                              "is required with min_idle.count: name where idle runners register, "
                              "as scopes: [ORGANIZATION] or [OWNER/NAME]");
    }
    for (size_t i = 0; i < scopes->count; i++) {
        bool of_organization = strchr(scopes->items[i], '/') == NULL;
        char key[48];
        (void)snprintf(key, sizeof key, "min_idle.scopes[%zu]", i);
        if (of_organization && config_scope_of(c->config, class) == CONFIG_REPOSITORY) {
            config_check_complain(c, key,
                                  "is an organization, and runners of the class register with "
                                  "repositories: write owner/name");
        } else if (of_organization && config_scope_of(c->config, class) == CONFIG_ENTERPRISE) {
            config_check_complain(c, key,
                                  "is an organization, and runners of the class register with the "
                                  "enterprise: write enterprises/%s",
                                  c->config->github.enterprise);
        }
    }
}

/* With the sweep that notices it, and the launch of the one that replaces it, there is a quarter of the time
 * left before the VM ends itself. */
static void check_replacement(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    int64_t least_ms = class->min_idle.replace_after_ms / 3 * 4;
    char after[QUANTITY_TEXT_SIZE];
    char idle[QUANTITY_TEXT_SIZE];
    char least[QUANTITY_TEXT_SIZE];
    if (class->idle_timeout_ms < least_ms) {
        config_check_warn(
            c, "min_idle.replace_after",
            "is %s, and idle_timeout is %s: idle VMs end before they are replaced: lower "
            "this, or set idle_timeout to %s or more",
            quantity_text(QUANTITY_DURATION, class->min_idle.replace_after_ms, after),
            quantity_text(QUANTITY_DURATION, class->idle_timeout_ms, idle),
            quantity_text(QUANTITY_DURATION, least_ms, least));
    }
}

static void check_min_idle(const struct config_class_check *c)
{
    const struct config_class *class = &c->config->classes[c->index];
    int64_t all = class->min_idle.count * (int64_t) class->min_idle.scopes.count;
    char max_vms[48];
    (void)snprintf(max_vms, sizeof max_vms, "classes[%zu].max_vms", c->index);
    if (class->min_idle.count == 0 || !config_check_asks(c, FOR_FLEET)) {
        return;
    }
    check_idle_scopes(c);
    check_replacement(c);
    if (all > class->max_vms && !config_class_is_retired(class) &&
        !config_is_automatic(c->config, max_vms)) {
        config_check_warn(c, "min_idle.count",
                          "is %lld in each of %zu scopes, more than max_vms (%lld), which is never "
                          "exceeded: raise that, or lower this",
                          (long long)class->min_idle.count, class->min_idle.scopes.count,
                          (long long)class->max_vms);
    }
}

static void check_may_have_targets(const struct config_class_check *c,
                                   const struct config_provider *p)
{
    if (p->at_target == NULL && c->config->classes[c->index].target_count > 0) {
        config_check_complain(c, "targets", "are nothing for provider %s: remove them", p->name);
    }
}

void config_check(struct config_reading *r)
{
    config_check_objects(r);
    check_has_classes(r);
    check_credentials(r);
    check_app_keys(r);
    check_apps(r);
    check_enterprise(r);
    check_hook_settings(r);
    check_pull(r);
    check_ingress(r);
    check_record_format(r);
    check_retry(r);
    check_launch_threads(r);
    check_reaper(r);
    config_check_fargate(r);
    config_check_sources(r);
    for (size_t i = 0; i < r->config->class_count; i++) {
        const struct config_class_check c = {.reading = r, .config = r->config, .index = i};
        const struct config_provider *p = config_provider_find(r->config->classes[i].provider);
        check_required_labels(&c);
        check_is_reached(&c);
        check_class_limits(&c);
        check_min_idle(&c);
        if (p != NULL) { /* NULL: its value is remote and was not fetched */
            check_may_have_targets(&c, p);
            p->check(&c);
        }
    }
}
