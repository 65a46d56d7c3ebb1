#include <string.h>

#include "common/config/config.h"
#include "common/job/event.h"

static bool list_has(const struct config_list *list, struct slice label)
{
    for (size_t i = 0; i < list->count; i++) {
        if (slice_eq_nocase(slice_of(list->items[i]), label)) {
            return true;
        }
    }
    return false;
}

static bool labels_have(const struct slice *labels, size_t n, struct slice label)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq_nocase(labels[i], label)) {
            return true;
        }
    }
    return false;
}

static bool class_accepts(const struct config_class *class, const struct slice *labels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!list_has(&class->labels, labels[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < class->required_labels.count; i++) {
        if (!labels_have(labels, n, slice_of(class->required_labels.items[i]))) {
            return false;
        }
    }
    return n > 0;
}

const struct config_class *config_route(const struct config *c, const struct slice *labels,
                                        size_t n)
{
    for (size_t i = 0; i < c->class_count; i++) {
        if (!config_class_is_retired(&c->classes[i]) && class_accepts(&c->classes[i], labels, n)) {
            return &c->classes[i];
        }
    }
    return NULL;
}

const struct config_class *config_route_joined(const struct config *c, const char *labels)
{
    struct slice split[JOB_LABELS_MAX];
    size_t n = job_labels_split(labels, split);
    return config_route(c, split, n);
}

/* --- the nearest class ------------------------------------------------------------------------ */

/* GitHub gives these to every self-hosted runner, by its system. */
static bool is_default_label(struct slice label)
{
    static const char *const labels[] = {"self-hosted", "linux", "windows", "macos",
                                         "x64",         "arm64", "arm"};
    for (size_t i = 0; i < COUNT_OF(labels); i++) {
        if (slice_eq_nocase(slice_of(labels[i]), label)) {
            return true;
        }
    }
    return false;
}

static bool has_own_labels(const struct config_class *class)
{
    for (size_t i = 0; i < class->labels.count; i++) {
        if (!is_default_label(slice_of(class->labels.items[i]))) {
            return true;
        }
    }
    return false;
}

/* How one class differs from a job's labels. */
struct difference {
    size_t count;
    size_t common;
    size_t common_defaults; /* of these, GitHub's own */
    struct slice first;
    enum config_mismatch kind; /* of the first */
};

static void add_difference(struct difference *d, enum config_mismatch kind, struct slice label)
{
    if (d->count++ == 0) {
        d->kind = kind;
        d->first = label;
    }
}

static struct difference compare(const struct config_class *class, const struct slice *labels,
                                 size_t n)
{
    struct difference d = {0};
    for (size_t i = 0; i < n; i++) {
        if (list_has(&class->labels, labels[i])) {
            d.common++;
            d.common_defaults += is_default_label(labels[i]);
        } else {
            add_difference(&d, CONFIG_LABEL_UNKNOWN, labels[i]);
        }
    }
    for (size_t i = 0; i < class->required_labels.count; i++) {
        struct slice required = slice_of(class->required_labels.items[i]);
        if (!labels_have(labels, n, required)) {
            add_difference(&d, CONFIG_LABEL_NOT_CARRIED, required);
        }
    }
    if (d.count == 0) {
        d.kind = config_class_is_retired(class) ? CONFIG_CLASS_RETIRED : CONFIG_MATCHES;
    }
    return d;
}

static bool is_nearer(const struct difference *a, const struct difference *b)
{
    return a->count != b->count ? a->count < b->count : a->common > b->common;
}

/* Whether the label is a list with labels of a class in it: runs-on was a text with commas. */
static bool is_list_in_one(const struct config *c, struct slice label, bool *defaults_only)
{
    struct slice rest = {label.ptr + 1, label.len > 2 ? label.len - 2 : 0}; /* without its quotes */
    struct slice part;
    bool found = false;
    *defaults_only = true;
    while (rest.len > 0 && memchr(label.ptr, ',', label.len) != NULL) {
        (void)slice_cut(rest, ',', &part, &rest);
        part = slice_trim(part);
        for (size_t i = 0; i < c->class_count; i++) {
            if (list_has(&c->classes[i].labels, part)) {
                found = true;
                *defaults_only =
                    *defaults_only && is_default_label(part) && has_own_labels(&c->classes[i]);
            }
        }
    }
    return found;
}

void config_nearest_class(const struct config *c, const char *labels, struct config_nearest *out)
{
    struct slice split[JOB_LABELS_MAX];
    size_t n = job_labels_split(labels, split);
    struct difference best = {0};
    *out = (struct config_nearest){.mismatch = n > 0 ? CONFIG_NO_COMMON_LABEL : CONFIG_NO_LABELS};
    const struct config_class *accepts = config_route(c, split, n);
    if (accepts != NULL) {
        *out = (struct config_nearest){.mismatch = CONFIG_MATCHES, .class = accepts};
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bool defaults_only;
        if (is_list_in_one(c, split[i], &defaults_only)) {
            *out = (struct config_nearest){.mismatch = CONFIG_LABELS_IN_ONE,
                                           .label = split[i],
                                           .shares_defaults_only = defaults_only};
            return;
        }
    }
    for (size_t i = 0; i < c->class_count; i++) {
        const struct config_class *class = &c->classes[i];
        struct difference d = compare(class, split, n);
        bool counts = d.common > 0 && (!config_class_is_retired(class) || d.count == 0);
        if (counts && (out->class == NULL || is_nearer(&d, &best))) {
            best = d;
            *out = (struct config_nearest){.mismatch = d.kind,
                                           .class = class,
                                           .label = d.first,
                                           .more = d.count > 0 ? d.count - 1 : 0,
                                           .shares_defaults_only = d.common == d.common_defaults &&
                                                                   has_own_labels(class)};
        }
    }
}

const char *config_mismatch_name(enum config_mismatch m)
{
    static const char *const names[] = {
        [CONFIG_MATCHES] = "none",
        [CONFIG_NO_LABELS] = "no_labels",
        [CONFIG_NO_COMMON_LABEL] = "no_common_label",
        [CONFIG_LABEL_UNKNOWN] = "label_unknown",
        [CONFIG_LABEL_NOT_CARRIED] = "label_not_carried",
        [CONFIG_CLASS_RETIRED] = "class_retired",
        [CONFIG_LABELS_IN_ONE] = "labels_in_one",
    };
    return names[m];
}

static void describe_class(const struct config_nearest *nearest, struct buf *out)
{
    const char *name = nearest->class->name;
    if (nearest->mismatch == CONFIG_MATCHES) {
        buf_printf(out, "class %s accepts its labels", name);
    } else if (nearest->mismatch == CONFIG_CLASS_RETIRED) {
        buf_printf(out, "class %s has its labels, but is retired (max_vms: 0)", name);
    } else if (nearest->mismatch == CONFIG_LABEL_UNKNOWN) {
        buf_printf(out, "the nearest class, %s, does not have the label \"%.*s\"", name,
                   SLICE_ARG(nearest->label));
    } else {
        buf_printf(out, "the nearest class, %s, requires the label \"%.*s\", which the job lacks",
                   name, SLICE_ARG(nearest->label));
    }
    if (nearest->more > 0) {
        buf_printf(out, " (and %zu more differ)", nearest->more);
    }
}

void config_nearest_describe(const struct config_nearest *nearest, struct buf *out)
{
    if (nearest->class != NULL) {
        describe_class(nearest, out);
    } else if (nearest->mismatch == CONFIG_NO_LABELS) {
        buf_append_cstr(out, "the job has no labels");
    } else if (nearest->mismatch == CONFIG_LABELS_IN_ONE) {
        struct slice list = {nearest->label.ptr + 1, nearest->label.len - 2};
        buf_printf(out, "%.*s is one label with commas in it: write runs-on as a list, [%.*s]",
                   SLICE_ARG(nearest->label), SLICE_ARG(list));
    } else {
        buf_append_cstr(out, "no class has any of its labels: it may be for GitHub's own runners");
    }
}
