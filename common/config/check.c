#include "common/config/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/quantity.h"
#include "common/job/record.h"

/* Adds a complaint about a path, with its line. */
#define COMPLAIN(r, path, ...)                                                                     \
    complain((r)->complaints, config_tree_line((r)->tree, path), path, __VA_ARGS__)

static bool is_for_program(const struct config_reading *r, unsigned programs)
{
    return (r->who & programs) != 0;
}

/* "classes[2].proxy.http" from "classes[].proxy.http". */
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
    if (!is_for_program(r, s->required) || !setting_is_empty(s, base)) {
        return;
    }
    buf_init(&path, 256);
    path_of(&path, s, class_index);
    /* A rejected value is not missing, and one complaint about it is enough. */
    if (!complaints_about(r->complaints, path.data)) {
        COMPLAIN(r, path.data, "is required: add \"%s\"", s->example);
    }
    buf_fini(&path);
}

static void check_all_required(struct config_reading *r)
{
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        for (size_t k = 0; setting_is_of_class(s) && k < r->config->class_count; k++) {
            check_required(r, s, config_class_base(s, &r->config->classes[k]), k);
        }
        if (!setting_is_of_class(s)) {
            check_required(r, s, r->config, 0);
        }
    }
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
    bool token = g->token[0] != '\0';
    bool refused = complaints_about(r->complaints, "github.app.id") ||
                   complaints_about(r->complaints, "github.app.private_key") ||
                   complaints_about(r->complaints, "github.token");
    if (!is_for_program(r, FOR_WORKER | FOR_REAPER) || refused) {
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
    if (is_for_program(r, FOR_WORKER) && c->worker.launch_threads < (int64_t)c->class_count &&
        !complaints_about(r->complaints, "worker.launch_threads")) {
        COMPLAIN(r, "worker.launch_threads",
                 "is %lld, below the number of classes (%zu), each of which needs one: raise it",
                 (long long)c->worker.launch_threads, c->class_count);
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

void config_check_complain(const struct config_class_check *c, const char *key, const char *fmt,
                           ...)
{
    char path[128];
    char text[512];
    va_list ap;
    (void)snprintf(path, sizeof path, "classes[%zu].%s", c->index, key);
    if (complaints_about(c->reading->complaints, path)) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    COMPLAIN(c->reading, path, "%s", text);
}

static void check_class_name(const struct config_class_check *c)
{
    const struct config_class *classes = c->config->classes;
    const char *name = classes[c->index].name;
    for (size_t k = 0; k < c->index && name[0] != '\0'; k++) {
        if (strcmp(classes[k].name, name) == 0) {
            config_check_complain(
                c, "name", "\"%s\" is the name of classes[%zu] too: give each its own", name, k);
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

void config_check(struct config_reading *r)
{
    check_all_required(r);
    check_credentials(r);
    check_hook_settings(r);
    check_ingress(r);
    check_record_format(r);
    check_retry(r);
    check_launch_threads(r);
    check_reaper(r);
    for (size_t i = 0; i < r->config->class_count; i++) {
        const struct config_class_check c = {.reading = r, .config = r->config, .index = i};
        const struct config_provider *p = config_provider_find(r->config->classes[i].provider);
        check_class_name(&c);
        check_required_labels(&c);
        if (p != NULL) { /* NULL: its value is remote and was not fetched */
            p->check(&c);
        }
    }
}
