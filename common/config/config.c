#include "common/config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/hash.h"
#include "common/config/private.h"
#include "common/config/provider.h"

/* --- making and freeing the struct ------------------------------------------------------------ */

const struct config_provider *config_provider_find(const char *name)
{
    for (size_t i = 0; i < config_provider_count; i++) {
        if (strcmp(config_providers[i]->name, name) == 0) {
            return config_providers[i];
        }
    }
    return NULL;
}

void *config_class_locate(const char *key, const void *object)
{
    static const char prefix[] = "classes[].";
    const struct config_class *class = object;
    ASSERT(strncmp(key, prefix, sizeof prefix - 1) == 0);
    const char *name = key + sizeof prefix - 1;
    for (size_t i = 0; i < config_provider_count; i++) {
        size_t n = strlen(config_providers[i]->name);
        if (strncmp(name, config_providers[i]->name, n) == 0 && name[n] == '.') {
            return class->blocks != NULL ? class->blocks[i] : NULL;
        }
    }
    return (void *)(uintptr_t) class;
}

void config_class_make_blocks(void *object)
{
    struct config_class *class = object;
    class->blocks = calloc(config_provider_count, sizeof class->blocks[0]);
    ASSERT(class->blocks != NULL);
    for (size_t i = 0; i < config_provider_count; i++) {
        class->blocks[i] = calloc(1, config_providers[i]->size);
        ASSERT(class->blocks[i] != NULL);
    }
}

void config_class_free_blocks(void *object)
{
    struct config_class *class = object;
    for (size_t i = 0; class->blocks != NULL && i < config_provider_count; i++) {
        free(class->blocks[i]);
    }
    free(class->blocks);
}

void config_complete_classes(struct config *c)
{
    for (size_t i = 0; i < c->class_count; i++) {
        struct config_class *class = &c->classes[i];
        class->state_dir = c->state_dir;
        for (size_t k = 0; k < config_provider_count; k++) {
            if (strcmp(config_providers[k]->name, class->provider) == 0) {
                class->settings = class->blocks[k];
            }
        }
    }
    config_make_places(c);
}

struct config *config_new_with_defaults(void)
{
    struct config *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    object_init(&config_root, c);
    return c;
}

void config_list_fini(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (struct config_list){0};
}

void config_list_add(struct config_list *list, struct slice text)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    ASSERT(items != NULL);
    items[list->count] = slice_dup(text);
    *list = (struct config_list){items, list->count + 1};
}

void config_free(struct config *c)
{
    if (c == NULL) {
        return;
    }
    config_free_places(c);
    object_fini(&config_root, c);
    config_list_fini(&c->unfetched);
    config_list_fini(&c->automatic);
    config_list_fini(&c->warnings);
    free(c->path);
    free(c);
}

/* --- remote values ---------------------------------------------------------------------------- */

static config_fetch_fn *fetcher;

void config_set_fetcher(config_fetch_fn *fetch)
{
    fetcher = fetch;
}

config_fetch_fn *config_fetcher(void)
{
    return fetcher;
}

/* --- limits from quotas ---------------------------------------------------------------------- */

static config_quota_fn *quota_reader;

void config_set_quota_reader(config_quota_fn *read)
{
    quota_reader = read;
}

bool config_is_automatic(const struct config *c, const char *path)
{
    for (size_t i = 0; i < c->automatic.count; i++) {
        if (strcmp(c->automatic.items[i], path) == 0) {
            return true;
        }
    }
    return false;
}

/* A check of the text alone makes no calls: it has no fetcher either. */
static void read_quotas(struct config *c)
{
    if (c->automatic.count > 0 && quota_reader != NULL && fetcher != NULL) {
        quota_reader(c);
    }
}

bool config_is_remote(const char *written)
{
    return strncmp(written, "ssm:", 4) == 0 || strncmp(written, "secretsmanager:", 15) == 0;
}

/* --- from a text ------------------------------------------------------------------------------ */

static unsigned programs_of(enum config_for who)
{
    if (who == CONFIG_FOR_CHECK) {
        return FOR_ALL;
    }
    return who == CONFIG_FOR_CTL_GITHUB ? FOR_CTL | FOR_CTL_GITHUB : 1U << who;
}

/* The directory of a path, owned; "" for the current one. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return slice_dup((struct slice){NULL, 0});
    }
    /* "/mayfly.yaml" is in "/"; a second slash after it is harmless. */
    return slice_dup((struct slice){path, slash == path ? 1 : (size_t)(slash - path)});
}

/* It would be doubled in every URL made from it. */
static void trim_slash(char *url)
{
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/') {
        url[--n] = '\0';
    }
}

static void trim_api_urls(struct config *c)
{
    trim_slash(c->github.api_url);
    for (size_t i = 0; i < c->github.app_count; i++) {
        trim_slash(c->github.apps[i].api_url);
    }
}

static void keep_warnings(struct complaints *list, const char *origin, struct config *c)
{
    struct buf all;
    buf_init(&all, (size_t)CONFIG_COMPLAINT_LIMIT * 8192);
    complaints_render(list, origin, &all);
    struct slice rest = buf_slice(&all);
    while (rest.len > 0) {
        struct slice line;
        (void)slice_cut(rest, '\n', &line, &rest);
        config_list_add(&c->warnings, line);
    }
    buf_fini(&all);
}

/* The first complaint into *e, all of them into *out. */
static int fail_with_complaints(struct complaints *list, const char *origin, struct buf *out,
                                struct err *e)
{
    struct buf all;
    struct slice first;
    struct slice rest;
    buf_init(&all, (size_t)CONFIG_COMPLAINT_LIMIT * 8192);
    complaints_render(list, origin, &all);
    (void)slice_cut(buf_slice(&all), '\n', &first, &rest);
    err_set(e, ERR_PERMANENT, 0, "%.*s", SLICE_ARG(first));
    if (out != NULL) {
        buf_append(out, buf_slice(&all));
    }
    buf_fini(&all);
    return -1;
}

static void read_revisions(struct config *c)
{
    for (size_t i = 0; i < c->class_count; i++) {
        struct config_class *class = &c->classes[i];
        const struct config_provider *p = config_provider_find(class->provider);
        class->revision = p->revision == NULL ? 0 : p->revision(class->settings);
    }
}

int config_parse(struct slice text, const char *origin, enum config_for who, struct config **out,
                 struct buf *complaints, struct err *e)
{
    struct config_tree tree;
    struct complaints *list = calloc(1, sizeof *list);
    struct complaints *warnings = calloc(1, sizeof *warnings);
    char *directory = directory_of(origin);
    int rc = 0;
    ASSERT(list != NULL && warnings != NULL);
    struct config_reading r = {.tree = &tree,
                               .directory = directory,
                               .who = programs_of(who),
                               .config = config_new_with_defaults(),
                               .complaints = list,
                               .warnings = warnings};
    config_yaml_read(text, &tree, list);
    if (tree.root != NULL) {
        config_read_tree(&r);
        config_complete_classes(r.config);
        config_check(&r);
    }
    if (list->count > 0) {
        rc = fail_with_complaints(list, origin, complaints, e);
        config_free(r.config);
    } else {
        trim_api_urls(r.config);
        keep_warnings(warnings, origin, r.config);
        r.config->text_hash = hash_bytes(HASH_START, text);
        read_quotas(r.config);
        read_revisions(r.config);
        *out = r.config;
    }
    config_tree_fini(&tree);
    complaints_fini(list);
    complaints_fini(warnings);
    free(list);
    free(warnings);
    free(directory);
    return rc;
}

/* It may be a pipe, as of a shell's <(…), and SIGTERM is not taken until it is read. */
#define READ_MS 10000

static int read_file(const char *path, struct buf *out, struct buf *complaints, struct err *e)
{
    if (fs_read_within(path, READ_MS, out, e) == 0) {
        return 0;
    }
    err_wrap(e, "configuration");
    if (complaints != NULL) {
        buf_append_cstr(complaints, e->message);
    }
    return -1;
}

static int load_from_file(const char *path, enum config_for who, struct config **out,
                          struct buf *complaints, struct err *e)
{
    struct buf text;
    buf_init(&text, CONFIG_TEXT_LIMIT_BYTES);
    int rc = read_file(path, &text, complaints, e);
    if (rc == 0) {
        rc = config_parse(buf_slice(&text), path, who, out, complaints, e);
    }
    if (rc == 0) {
        (*out)->path = realpath(path, NULL);
    }
    buf_fini(&text);
    return rc;
}

const char *config_ctl(const struct config *c, char out[CONFIG_CTL_SIZE])
{
    bool plain = c == NULL || c->path == NULL || strcmp(c->path, CONFIG_DEFAULT_PATH) == 0;
    (void)snprintf(out, CONFIG_CTL_SIZE, "mayflyctl%s%s", plain ? "" : " --config ",
                   plain ? "" : c->path);
    return out;
}

/* One that cannot be reached is not absent: reading it says why. */
static bool is_absent(const char *path)
{
    return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

int config_load(const char *path, enum config_for who, struct config **out, struct buf *complaints,
                struct err *e)
{
    const char *text = getenv("MAYFLY_CONFIG");
    if (path != NULL) {
        return load_from_file(path, who, out, complaints, e);
    }
    if (text != NULL) {
        return config_parse(slice_of(text), "MAYFLY_CONFIG", who, out, complaints, e);
    }
    if (!is_absent(CONFIG_DEFAULT_PATH)) {
        return load_from_file(CONFIG_DEFAULT_PATH, who, out, complaints, e);
    }
    err_set(e, ERR_PERMANENT, 0,
            "there is no configuration: --config is not given, MAYFLY_CONFIG is not set, and there "
            "is no " CONFIG_DEFAULT_PATH ": give --config FILE, the text in MAYFLY_CONFIG, or "
            "write that file");
    if (complaints != NULL) {
        buf_append_cstr(complaints, e->message);
    }
    return -1;
}

/* --- queries ---------------------------------------------------------------------------------- */

bool config_calls_service(const struct config_class *class)
{
    const struct config_provider *p = config_provider_find(class->provider);
    return p != NULL && p->domain != NULL;
}

/* The totals of a class do not say at which of its targets its VMs ran: they cost what the first one's do. */
static bool provider_price(const struct config_provider *p, const struct config_class *class,
                           struct config_price *out)
{
    void *at = class->target_count > 0 && p->at_target != NULL
                   ? p->at_target(class->settings, &class->targets[0])
                   : NULL;
    bool known = p->price(at != NULL ? at : class->settings, out);
    free(at);
    return known;
}

bool config_price_of(const struct config_class *class, struct config_price *out)
{
    const struct config_provider *p = config_provider_find(class->provider);
    const struct config_cost *own = &class->cost;
    bool both = own->vcpu_hour[0] != '\0' && own->gb_hour[0] != '\0';
    *out = (struct config_price){.vcpu_hour = 0};
    if (p != NULL && p->price != NULL && !provider_price(p, class, out) && !both) {
        return false;
    }
    out->vcpu_hour = own->vcpu_hour[0] != '\0' ? strtod(own->vcpu_hour, NULL) : out->vcpu_hour;
    out->gb_hour = own->gb_hour[0] != '\0' ? strtod(own->gb_hour, NULL) : out->gb_hour;
    return true;
}

const struct config_class *config_class_by_name(const struct config *c, struct slice name)
{
    for (size_t i = 0; i < c->class_count; i++) {
        if (slice_eq_cstr(name, c->classes[i].name)) {
            return &c->classes[i];
        }
    }
    return NULL;
}

bool config_admits_repository(const struct config *c, struct slice full_name)
{
    struct slice owner;
    struct slice name;
    if (!slice_cut(full_name, '/', &owner, &name) || owner.len == 0 || name.len == 0) {
        return false;
    }
    for (size_t i = 0; i < c->github.repositories.count; i++) {
        struct slice admitted_owner;
        struct slice admitted_name;
        (void)slice_cut(slice_of(c->github.repositories.items[i]), '/', &admitted_owner,
                        &admitted_name);
        if (slice_eq_nocase(owner, admitted_owner) &&
            (slice_eq_cstr(admitted_name, "*") || slice_eq_nocase(name, admitted_name))) {
            return true;
        }
    }
    return c->github.repositories.count == 0;
}

bool config_allows_public_repositories(const struct config *c)
{
    return strcmp(c->github.public_repositories, "allow") == 0;
}

bool config_has_app(const struct config *c)
{
    return c->github.app_id[0] != '\0' || c->github.app_count > 0;
}

bool config_has_app_keys(const struct config *c)
{
    for (size_t i = 0; i < c->github.app_count; i++) {
        if (c->github.apps[i].key[0] == '\0') {
            return false;
        }
    }
    return c->github.app_count > 0 || (config_has_app(c) && c->github.app_key[0] != '\0');
}

/* --- where runners register --- */

enum config_scope config_scope_of(const struct config *c, const struct config_class *class)
{
    const char *scope = class != NULL && class->scope[0] != '\0' ? class->scope : c->github.scope;
    return strcmp(scope, "repository") == 0   ? CONFIG_REPOSITORY
           : strcmp(scope, "enterprise") == 0 ? CONFIG_ENTERPRISE
                                              : CONFIG_ORGANIZATION;
}

bool config_uses_scope(const struct config *c, enum config_scope scope)
{
    for (size_t i = 0; i < c->class_count; i++) {
        if (config_scope_of(c, &c->classes[i]) == scope) {
            return true;
        }
    }
    return c->class_count == 0 && config_scope_of(c, NULL) == scope;
}

static const char *group_of_key(const struct config *c, struct slice wanted)
{
    for (size_t i = 0; i < c->github.groups.count; i++) {
        struct slice key;
        struct slice group;
        (void)slice_cut(slice_of(c->github.groups.items[i]), '=', &key, &group);
        if (slice_eq_nocase(key, wanted)) {
            return group.ptr;
        }
    }
    return "";
}

const char *config_mapped_group(const struct config *c, const char *repository)
{
    char all[160];
    struct slice owner;
    struct slice name;
    const char *own = group_of_key(c, slice_of(repository));
    if (own[0] != '\0' || !slice_cut(slice_of(repository), '/', &owner, &name) ||
        owner.len >= sizeof all - 2) {
        return own;
    }
    (void)snprintf(all, sizeof all, "%.*s/*", SLICE_ARG(owner));
    return group_of_key(c, slice_of(all));
}

const char *config_class_group(const struct config *c, const struct config_class *class)
{
    return class->runner_group[0] != '\0' ? class->runner_group : c->github.runner_group;
}
