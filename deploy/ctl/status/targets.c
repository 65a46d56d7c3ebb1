/*
 * `mayflyctl targets`: the accounts and regions where classes launch, how full each is, and what stops it.
 */
#include "deploy/ctl/status/targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/fleet/caps.h"
#include "common/job/vm_name.h"
#include "deploy/ctl/circuits.h"

#define PAGE 500

/* What is asked of all targets at once: one of each name, as the first place that is it has it. */
struct targets {
    struct ctl *c;
    const struct config_class **places;
    struct ledger_target_use *uses;
    size_t count;
    struct ctl_circuit *circuits;
    size_t circuit_count;
};

static void add_place(struct targets *t, const struct config_class *place)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->uses[i].name, place->target->name) == 0) {
            return;
        }
    }
    const struct ledger_caps caps = fleet_caps(t->c->config, place);
    t->places[t->count] = place;
    t->uses[t->count++] = (struct ledger_target_use){.name = place->target->name,
                                                     .rate_per_second = caps.rate_per_second,
                                                     .rate_burst = caps.rate_burst};
}

static void find_targets(struct ctl *c, struct targets *out)
{
    const struct config *config = c->config;
    *out = (struct targets){.c = c};
    out->places = calloc(config->target_place_count + 1, sizeof(struct config_class *));
    out->uses = calloc(config->target_place_count + 1, sizeof out->uses[0]);
    ASSERT(out->places != NULL && out->uses != NULL);
    for (size_t i = 0; i < config->target_place_count; i++) {
        add_place(out, &config->target_places[i]);
    }
}

static void free_targets(struct targets *t)
{
    free((void *)t->places);
    free(t->uses);
    free(t->circuits);
}

/* --- as JSON --- */

/* The provider's domain is lambda/REGION/ACCOUNT. */
static json_t *part_of_domain(const char *domain, int n)
{
    struct slice rest = slice_of(domain);
    struct slice part = {"", 0};
    char text[LEDGER_CELL_NAME];
    for (int i = 0; i <= n; i++) {
        (void)slice_cut(rest, '/', &part, &rest);
    }
    (void)snprintf(text, sizeof text, "%.*s", SLICE_ARG(part));
    return ctl_text(text);
}

static json_t *describe_circuit(const struct ctl_circuit *o, const char *class_name)
{
    return json_pack("{s:o, s:o, s:o, s:I, s:o}", "subject", ctl_text(o->subject), "class",
                     class_name[0] != '\0' ? ctl_text(class_name) : json_null(), "open_since",
                     ctl_time(o->circuit.since_ms), "next_probe_in_ms",
                     (json_int_t)circuit_wait_ms(&o->circuit, clock_wall_ms()), "why",
                     ctl_text(o->circuit.why));
}

/* The circuits that stop launches there: of the target itself, also as one host alone sees it, and of a
 * class there. *stopped: it gets no launches at all. */
static json_t *describe_circuits(const struct targets *t, const char *name, const char *domain,
                                 bool *stopped)
{
    char target[LEDGER_CELL_NAME + 8];
    json_t *list = json_array();
    int n = snprintf(target, sizeof target, "target:%s", domain);
    *stopped = false;
    for (size_t i = 0; i < t->circuit_count; i++) {
        const char *subject = t->circuits[i].subject;
        const char *at = strchr(subject, '@');
        bool of_target =
            strncmp(subject, target, (size_t)n) == 0 && (subject[n] == '\0' || subject[n] == '@');
        bool of_class =
            strncmp(subject, "class:", 6) == 0 && at != NULL && strcmp(at + 1, name) == 0;
        *stopped = *stopped || (of_target && subject[n] == '\0');
        if (of_target || of_class) {
            char class_name[CLASS_NAME_SIZE] = "";
            if (of_class) {
                (void)snprintf(class_name, sizeof class_name, "%.*s", (int)(at - subject - 6),
                               subject + 6);
            }
            json_array_append_new(list, describe_circuit(&t->circuits[i], class_name));
        }
    }
    return list;
}

static json_t *describe_classes(const struct config *c, const char *name)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->target_place_count; i++) {
        const struct config_class *place = &c->target_places[i];
        if (strcmp(place->target->name, name) == 0) {
            json_array_append_new(list, ctl_text(config_place_class_name(place)));
        }
    }
    return list;
}

static json_t *describe(const struct targets *t, size_t i)
{
    const struct config_class *place = t->places[i];
    const struct config_target *target = place->target;
    const struct config *config = t->c->config;
    char domain[LEDGER_CELL_NAME];
    bool stopped = false;
    ctl_domain_of(place, domain);
    json_t *circuits = describe_circuits(t, target->name, domain, &stopped);
    const char *state = target->weight == 0 ? "drained" : stopped ? "stopped" : "open";
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:{s:f, s:I}, s:I, s:I, s:o}", "target",
        ctl_text(target->name), "state", state, "account", part_of_domain(domain, 2), "region",
        part_of_domain(domain, 1), "role", ctl_text(target->role_arn), "classes",
        describe_classes(config, target->name), "vms", (json_int_t)t->uses[i].used, "max_vms",
        (json_int_t)(target->max_vms > 0 ? target->max_vms : config->limits.max_vms), "launch_rate",
        "per_second", target->launch_rate.per_second, "burst",
        (json_int_t)target->launch_rate.burst, "token_in_ms", (json_int_t)t->uses[i].rate_wait_ms,
        "weight", (json_int_t)target->weight, "circuits", circuits);
}

int ctl_add_targets(struct ctl *c, json_t *answer, struct err *e)
{
    struct targets t;
    json_t *list = json_array();
    find_targets(c, &t);
    json_object_set_new(answer, "targets", list);
    int rc = t.count > 0 ? ledger_targets_read(c->ledger, t.uses, t.count, e) : 0;
    rc = rc == 0 && t.count > 0 ? ctl_circuits(c, &t.circuits, &t.circuit_count, e) : rc;
    for (size_t i = 0; rc == 0 && i < t.count; i++) {
        json_array_append_new(list, describe(&t, i));
    }
    free_targets(&t);
    return rc;
}

/* --- those that the configuration does not have --- */

static json_t *of_unknown(json_t *list, const char *name)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o)
    {
        if (strcmp(ctl_str(o, "target"), name) == 0) {
            return o;
        }
    }
    o = json_pack("{s:o, s:i}", "target", ctl_text(name), "vms", 0);
    json_array_append_new(list, o);
    return o;
}

/* Of a target that was removed too early: no program with this configuration reaches its VMs. */
static int add_unknown(struct ctl *c, json_t *answer, struct err *e)
{
    char after[VM_NAME_SIZE] = "";
    json_t *list = json_array();
    json_object_set_new(answer, "not_configured", list);
    for (size_t n = PAGE; n == PAGE;) {
        struct ledger_vm *vms = NULL;
        if (ledger_vm_list(c->ledger, ~(1U << VM_GONE), after, PAGE, &vms, &n, e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < n; i++) {
            const char *name = vms[i].target;
            if (name[0] != '\0' && config_target_by_name(c->config, name) == NULL) {
                json_t *o = of_unknown(list, name);
                json_object_set_new(o, "vms", json_integer(ctl_int(o, "vms") + 1));
            }
            memcpy(after, vms[i].name, sizeof after);
        }
        free(vms);
    }
    return 0;
}

int ctl_targets(struct ctl *c, json_t **out, struct err *e)
{
    json_t *answer = json_object();
    if (ctl_add_targets(c, answer, e) != 0 || add_unknown(c, answer, e) != 0) {
        json_decref(answer);
        return -1;
    }
    *out = answer;
    return 0;
}

/* --- as text --- */

static void render_circuits(const json_t *target, struct screen *s)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(target, "circuits"), i, o)
    {
        int64_t wait_ms = ctl_int(o, "next_probe_in_ms");
        char in[24];
        screen_add(s, STYLE_BAD, "  stopped since %s: %s", ctl_str(o, "open_since"),
                   ctl_str(o, "subject"));
        screen_add(s, STYLE_PLAIN, "; the next probe is %s%s; it said: %s",
                   wait_ms > 0 ? "in " : "due", wait_ms > 0 ? ctl_duration(wait_ms, in) : "",
                   ctl_str(o, "why"));
        screen_end_line(s);
    }
}

static void render_classes(const json_t *target, struct screen *s)
{
    size_t i;
    const json_t *name;
    json_array_foreach(json_object_get(target, "classes"), i, name)
    {
        screen_add(s, STYLE_PLAIN, "%s%s", i > 0 ? ", " : "", json_string_value(name));
    }
}

static void render_target(const json_t *o, struct screen *s)
{
    const char *state = ctl_str(o, "state");
    const json_t *rate = json_object_get(o, "launch_rate");
    bool full = ctl_int(o, "vms") >= ctl_int(o, "max_vms");
    char vms[48];
    char per_second[32] = "no limit";
    (void)snprintf(vms, sizeof vms, "%lld/%lld", (long long)ctl_int(o, "vms"),
                   (long long)ctl_int(o, "max_vms"));
    double launches = json_number_value(json_object_get(rate, "per_second"));
    if (launches > 0) {
        (void)snprintf(per_second, sizeof per_second, "%g/s", launches);
    }
    screen_add(s, STYLE_PLAIN, "%-20s ", ctl_str(o, "target"));
    screen_add(s, strcmp(state, "open") == 0 ? STYLE_PLAIN : STYLE_WARN, "%-8s ", state);
    screen_add(s, STYLE_PLAIN, "%-12s %-16s ", ctl_str(o, "account"), ctl_str(o, "region"));
    screen_add(s, full ? STYLE_WARN : STYLE_PLAIN, "%11s ", vms);
    screen_add(s, ctl_int(o, "token_in_ms") > 0 ? STYLE_WARN : STYLE_PLAIN, "%9s ", per_second);
    screen_add(s, STYLE_PLAIN, "%6lld  ", (long long)ctl_int(o, "weight"));
    render_classes(o, s);
    screen_end_line(s);
}

void ctl_targets_render(const json_t *answer, bool with_circuits, struct screen *s)
{
    size_t i;
    json_t *o;
    if (json_array_size(json_object_get(answer, "targets")) > 0) {
        screen_add(s, STYLE_BOLD, "%-20s %-8s %-12s %-16s %11s %9s %6s  %s", "TARGET", "STATE",
                   "ACCOUNT", "REGION", "VMS", "RATE", "WEIGHT", "CLASSES");
        screen_end_line(s);
    }
    json_array_foreach(json_object_get(answer, "targets"), i, o)
    {
        render_target(o, s);
        if (with_circuits) {
            render_circuits(o, s);
        }
    }
}

void ctl_targets_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    struct screen s;
    screen_init(&s);
    ctl_targets_render(answer, true, &s);
    if (json_array_size(json_object_get(answer, "targets")) == 0) {
        screen_add(&s, STYLE_PLAIN, "no class has targets");
        screen_end_line(&s);
    }
    json_array_foreach(json_object_get(answer, "not_configured"), i, o)
    {
        screen_add(&s, STYLE_WARN, "! %s is not configured, and has %lld VMs", ctl_str(o, "target"),
                   (long long)ctl_int(o, "vms"));
        screen_add(&s, STYLE_PLAIN, ": put it back, with weight: 0, until they have ended");
        screen_end_line(&s);
    }
    (void)fwrite(s.out.data, 1, s.out.len, stdout);
    screen_fini(&s);
}
