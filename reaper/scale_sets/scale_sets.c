#include "reaper/scale_sets/scale_sets.h"

#include <stdio.h>
#include <stdlib.h>

#include "reaper/scale_sets/internal.h"

struct scale_sets {
    struct scale_set *list;
    size_t count;
};

static void register_metrics(struct scale_set *s)
{
    struct buf label;
    buf_init(&label, 2 * SCOPE_SIZE);
    metrics_label(&label, "scope", s->scope.name);
    metrics_label(&label, "set", s->name);
    s->metrics =
        (struct set_metrics){metrics_gauge("mayfly_reaper_scale_set_assigned_jobs", label.data),
                             metrics_gauge("mayfly_reaper_scale_set_running_jobs", label.data),
                             metrics_gauge("mayfly_reaper_scale_set_session", label.data),
                             metrics_counter("mayfly_reaper_scale_set_messages_total", label.data),
                             metrics_counter("mayfly_reaper_scale_set_requests_total", label.data),
                             metrics_counter("mayfly_reaper_scale_set_errors_total", label.data)};
    buf_fini(&label);
}

static void set_init(struct scale_set *s, struct reaper *r, const struct config *c,
                     const struct config_source *source)
{
    *s = (struct scale_set){.r = r};
    (void)snprintf(s->name, sizeof s->name, "%s", source->scale_set);
    (void)snprintf(s->class_name, sizeof s->class_name, "%s", source->class_name);
    (void)snprintf(s->group, sizeof s->group, "%s", config_source_group(c, source));
    config_source_scope(source, s->scope_name, sizeof s->scope_name);
    s->scope = github_scope_parse(s->scope_name, c->github.installation);
    (void)snprintf(s->lease, sizeof s->lease, "scale_set/%s", s->scope_name);
    s->begun = calloc(SET_BEGUN_MAX, sizeof *s->begun);
    ASSERT(s->begun != NULL);
    register_metrics(s);
}

struct scale_sets *scale_sets_new(struct reaper *r)
{
    const struct config *c = config_live_get(r->config);
    struct scale_sets *sets = NULL;
    if (c->source_count > 0) {
        sets = calloc(1, sizeof *sets);
        ASSERT(sets != NULL);
        sets->list = calloc(c->source_count, sizeof *sets->list);
        ASSERT(sets->list != NULL);
        for (size_t i = 0; i < c->source_count; i++) {
            set_init(&sets->list[sets->count++], r, c, &c->sources[i]);
        }
    }
    config_live_put(r->config, c);
    return sets;
}

void scale_sets_free(struct scale_sets *s)
{
    if (s == NULL) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        free(s->list[i].begun);
    }
    free(s->list);
    free(s);
}

int scale_sets_start(struct scale_sets *s, struct err *e)
{
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        if (threads_start(&s->list[i].thread, 1, "a thread of sources[]", set_poll_until_stopped,
                          &s->list[i], e) != 0) {
            return -1;
        }
    }
    return 0;
}

void scale_sets_stop(struct scale_sets *s)
{
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        threads_join(&s->list[i].thread);
    }
}
