/*
 * Open circuits: for `status` all of them, for `why` the one that stops a job; `mayflyctl circuits`, and
 * `circuits close SUBJECT`.
 */
#include "deploy/ctl/circuits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/config/provider.h"
#include "common/github/github.h"
#include "common/ledger/programs.h"

static bool is_live(const struct circuit *c)
{
    return circuit_is_open(c, clock_wall_ms());
}

int ctl_circuits(struct ctl *c, struct ctl_circuit **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    *n = 0;
    if (ledger_cell_list(c->ledger, CIRCUIT_KIND, &cells, &count, e) != 0) {
        return -1;
    }
    *out = calloc(count + 1, sizeof **out);
    ASSERT(*out != NULL);
    for (size_t i = 0; i < count; i++) {
        struct ctl_circuit *o = &(*out)[*n];
        circuit_decode(cells[i].value, &o->circuit);
        memcpy(o->subject, cells[i].name, sizeof o->subject);
        *n += is_live(&o->circuit) ? 1 : 0;
    }
    free(cells);
    return 0;
}

int ctl_add_circuits(struct ctl *c, json_t *answer, struct err *e)
{
    struct ctl_circuit *all = NULL;
    size_t n = 0;
    json_t *list = json_array();
    json_object_set_new(answer, "circuits", list);
    if (ctl_circuits(c, &all, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        const struct circuit *o = &all[i].circuit;
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o, s:I, s:b, s:o}", "subject", ctl_text(all[i].subject),
                            "open_since", ctl_time(o->since_ms), "next_probe",
                            ctl_time(o->open_until_ms > o->probe_until_ms ? o->open_until_ms
                                                                          : o->probe_until_ms),
                            "next_probe_in_ms", (json_int_t)circuit_wait_ms(o, clock_wall_ms()),
                            "probing", o->probe[0] != '\0', "why", ctl_text(o->why)));
    }
    free(all);
    return 0;
}

void ctl_circuits_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "circuits"), i, o)
    {
        if (i == 0) {
            printable_line(stdout, "%s", "");
        }
        printable_line(stdout, "circuit open since %s: %s", ctl_str(o, "open_since"),
                       ctl_str(o, "subject"));
        int64_t wait_ms = ctl_int(o, "next_probe_in_ms");
        char in[24];
        printable_line(stdout, "  the next probe is %s%s; it said: %s", wait_ms > 0 ? "in " : "due",
                       wait_ms > 0 ? ctl_duration(wait_ms, in) : "", ctl_str(o, "why"));
    }
}

/* --- the commands --- */
int ctl_circuits_list(struct ctl *c, json_t **out, struct err *e)
{
    json_t *answer = json_object();
    if (ctl_add_circuits(c, answer, e) != 0) {
        json_decref(answer);
        return -1;
    }
    *out = answer;
    return 0;
}

void ctl_circuits_list_print(const json_t *answer)
{
    if (json_array_size(json_object_get(answer, "circuits")) == 0) {
        printable_line(stdout, "%s", "no circuit is open");
        return;
    }
    ctl_circuits_print(answer);
}

static int refuse_subject(const struct ctl_circuit *all, size_t n, const char *subject,
                          struct err *e)
{
    struct buf names;
    buf_init(&names, 400);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&names, "%s%s", i > 0 ? ", " : "; open are: ", all[i].subject);
    }
    err_set(e, ERR_NOT_FOUND, 0, "no circuit is open for \"%.190s\"%s", subject,
            n == 0 ? "; none is open" : names.data);
    buf_fini(&names);
    return -1;
}

static enum circuit_change close_step(struct circuit *c, void *arg)
{
    *(struct circuit *)arg = *c;
    return circuit_close(c, clock_wall_ms());
}

static json_t *describe_closed(const char *subject, const struct circuit *was)
{
    char since[32];
    char did[LEDGER_CELL_NAME + CIRCUIT_WHY_SIZE + 200];
    clock_format_utc(was->since_ms, since, sizeof since);
    (void)snprintf(
        did, sizeof did,
        "the circuit of %s is closed, which was open since %s (%s): what depends on it is "
        "tried again within seconds, and opens it again if it still fails",
        subject, since, was->why);
    return json_pack("{s:o, s:o, s:o, s:o}", "subject", ctl_text(subject), "open_since",
                     ctl_time(was->since_ms), "why", ctl_text(was->why), "did", ctl_text(did));
}

int ctl_circuit_close(struct ctl *c, json_t **out, struct err *e)
{
    const char *subject = c->argv[0];
    struct ctl_circuit *all = NULL;
    struct circuit was = {0};
    struct circuit after;
    enum circuit_change did = CIRCUIT_UNCHANGED;
    size_t n = 0;
    size_t i = 0;
    if (ctl_circuits(c, &all, &n, e) != 0) {
        return -1;
    }
    while (i < n && strcasecmp(all[i].subject, subject) != 0) {
        i++;
    }
    int rc = i == n ? refuse_subject(all, n, subject, e)
                    : circuit_update(c->ledger, all[i].subject, close_step, &was, &after, &did, e);
    if (rc == 0) {
        *out = describe_closed(all[i].subject, was.since_ms > 0 ? &was : &all[i].circuit);
    }
    free(all);
    return rc;
}

/* --- the one that stops a job --- */

/* A place where the job's class is launched. */
struct spot {
    const struct config_class *place;
    char domain[LEDGER_CELL_NAME]; /* of the provider; "": its VMs run on the worker's host */
};

/* What the launch of a job depends on, as fleet/subject.h names it. */
struct dependence {
    const struct job *job;
    const struct config_class *class;
    const char *group; /* of runners */
    const char *owner;
    struct spot *spots;
    size_t spot_count;
};

static PRINTF(2, 3) bool is_named(const char *subject, const char *fmt, ...)
{
    char name[LEDGER_CELL_NAME];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return n > 0 && strcasecmp(subject, name) == 0;
}

void ctl_domain_of(const struct config_class *place, char out[LEDGER_CELL_NAME])
{
    const struct config_provider *p = config_provider_find(place->provider);
    struct buf domain;
    out[0] = '\0';
    buf_init(&domain, LEDGER_CELL_NAME);
    if (p != NULL && p->domain != NULL) {
        p->domain(place->settings, &domain);
        (void)!slice_to_cstr(buf_slice(&domain), out, LEDGER_CELL_NAME);
    }
    buf_fini(&domain);
}

/* Wherever it is launched. */
static bool stops_everywhere(const char *subject, const struct dependence *d)
{
    const char *slash = d->group[0] != '\0' ? "/" : "";
    return is_named(subject, "repository:%s", d->job->repository) ||
           is_named(subject, "runner_group:%s%s%s", d->owner, slash, d->group) ||
           is_named(subject, "labels:%s/%s", d->owner, d->class->name) ||
           is_named(subject, "installation:%s", d->owner) || is_named(subject, "github:api");
}

static bool stops_place(const char *subject, const struct spot *at)
{
    return at->domain[0] != '\0' && (is_named(subject, "class:%s", at->place->name) ||
                                     is_named(subject, "target:%s", at->domain));
}

static bool stops_on(const char *subject, const struct spot *at, const char *host)
{
    return is_named(subject, "credentials:github@%s", host) ||
           is_named(subject, "github:api@%s", host) ||
           is_named(subject, "proxy:environment@%s", host) ||
           (at->domain[0] != '\0' && is_named(subject, "target:%s@%s", at->domain, host)) ||
           (at->domain[0] == '\0' && (is_named(subject, "class:%s@%s", at->place->name, host) ||
                                      is_named(subject, "host:%s", host)));
}

static bool is_longer(const struct ctl_circuit *one, const struct ctl_circuit *than)
{
    return one->circuit.open_until_ms > than->circuit.open_until_ms;
}

const struct ctl_circuit *ctl_circuit_of_place(const struct ctl_circuit *all, size_t n,
                                               const struct config_class *place)
{
    struct spot at = {.place = place};
    const struct ctl_circuit *found = NULL;
    ctl_domain_of(place, at.domain);
    for (size_t i = 0; i < n; i++) {
        if (stops_place(all[i].subject, &at) && (found == NULL || is_longer(&all[i], found))) {
            found = &all[i];
        }
    }
    return found;
}

/* The longest that stops its launch at each place from a worker of that host ("": none lives); of these
 * the shortest, since there it goes on first. */
static struct ctl_circuit find_on_host(const struct ctl_circuit *all, size_t n,
                                       const struct dependence *d, const char *host)
{
    struct ctl_circuit first = {.subject = ""};
    for (size_t s = 0; s < d->spot_count; s++) {
        struct ctl_circuit here = {.subject = ""};
        for (size_t i = 0; i < n; i++) {
            bool stops = stops_everywhere(all[i].subject, d) ||
                         stops_place(all[i].subject, &d->spots[s]) ||
                         stops_on(all[i].subject, &d->spots[s], host);
            here = stops && is_longer(&all[i], &here) ? all[i] : here;
        }
        if (here.subject[0] == '\0') {
            return here;
        }
        first = first.subject[0] == '\0' || is_longer(&first, &here) ? here : first;
    }
    return first;
}

/* A job waits for a host's trouble only if each host that has a worker is in some: for the first of
 * these circuits. */
static int find_on_all_hosts(struct ctl *c, const struct ctl_circuit *all, size_t n,
                             const struct dependence *d, struct ctl_circuit *out, struct err *e)
{
    struct ledger_program *programs = NULL;
    size_t count = 0;
    size_t workers = 0;
    bool free_host = false;
    if (ledger_program_list(c->ledger, &programs, &count, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count && !free_host; i++) {
        if (strcmp(programs[i].program, "mayfly-worker") != 0) {
            continue;
        }
        const struct ctl_circuit here = find_on_host(all, n, d, programs[i].host);
        free_host = here.subject[0] == '\0';
        *out = workers++ == 0 || free_host || is_longer(out, &here) ? here : *out;
    }
    free(programs);
    if (workers == 0) {
        *out = find_on_host(all, n, d, "");
    }
    return 0;
}

/* Those that get launches. */
static void find_spots(const struct ctl *c, const struct config_class *class,
                       struct dependence *out)
{
    const struct config_class *const *places = NULL;
    size_t n = config_launch_places(c->config, class, &places);
    out->spots = calloc(n + 1, sizeof out->spots[0]);
    ASSERT(out->spots != NULL);
    for (size_t i = 0; i < n; i++) {
        if (places[i]->target == NULL || places[i]->target->weight > 0) {
            struct spot *at = &out->spots[out->spot_count++];
            at->place = places[i];
            ctl_domain_of(places[i], at->domain);
        }
    }
}

int ctl_circuit_of_job(struct ctl *c, const struct job *job, const struct config_class *class,
                       struct ctl_circuit *out, struct err *e)
{
    struct ctl_circuit *all = NULL;
    size_t n = 0;
    char owner[sizeof job->repository];
    struct slice first;
    struct slice rest;
    *out = (struct ctl_circuit){.subject = ""};
    if (ctl_circuits(c, &all, &n, e) != 0) {
        return -1;
    }
    const struct github_scope scope = github_scope_of(c->config, class, job);
    (void)slice_cut(slice_of(scope.name), '/', &first, &rest);
    (void)snprintf(owner, sizeof owner, "%.*s", SLICE_ARG(first));
    const char *mapped = config_mapped_group(c->config, job->repository);
    struct dependence d = {.job = job,
                           .class = class,
                           .group =
                               mapped[0] != '\0' ? mapped : config_class_group(c->config, class),
                           .owner = owner};
    find_spots(c, class, &d);
    int rc = find_on_all_hosts(c, all, n, &d, out, e);
    free(d.spots);
    free(all);
    return rc;
}
