/*
 * Open circuits: for `status` all of them, for `why` the one that stops a job.
 */
#include "deploy/ctl/circuits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"

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
            list, json_pack("{s:o, s:o, s:o, s:b, s:o}", "subject", ctl_text(all[i].subject),
                            "open_since", ctl_time(o->since_ms), "next_probe",
                            ctl_time(o->open_until_ms > o->probe_until_ms ? o->open_until_ms
                                                                          : o->probe_until_ms),
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
        printf("%scircuit open since %s: %s\n  next probe %s; it said: %s\n", i == 0 ? "\n" : "",
               ctl_str(o, "open_since"), ctl_str(o, "subject"), ctl_str(o, "next_probe"),
               ctl_str(o, "why"));
    }
}

/* "kind:name" (fleet/subject.h), and what follows an '@' or '/' does not matter. */
static bool is_subject(const char *subject, const char *kind, const char *name)
{
    size_t len = strlen(kind);
    if (strncmp(subject, kind, len) != 0 || subject[len] != ':') {
        return false;
    }
    const char *rest = subject + len + 1;
    size_t n = strlen(name);
    return strncasecmp(rest, name, n) == 0 &&
           (n == 0 || rest[n] == '\0' || rest[n] == '@' || rest[n] == '/');
}

static bool stops(const char *subject, const struct job *job, const struct config_class *class)
{
    char owner[sizeof job->repository];
    struct slice first;
    struct slice rest;
    (void)slice_cut(slice_of(job->repository), '/', &first, &rest);
    (void)snprintf(owner, sizeof owner, "%.*s", SLICE_ARG(first));
    return is_subject(subject, "repository", job->repository) ||
           is_subject(subject, "installation", owner) ||
           is_subject(subject, "runner_group", owner) || is_subject(subject, "github", "") ||
           is_subject(subject, "credentials", "") || is_subject(subject, "proxy", "") ||
           is_subject(subject, "class", class->name) ||
           is_subject(subject, "target", class->provider);
}

int ctl_circuit_of_job(struct ctl *c, const struct job *job, const struct config_class *class,
                       struct ctl_circuit *out, struct err *e)
{
    struct ctl_circuit *all = NULL;
    size_t n = 0;
    *out = (struct ctl_circuit){.subject = ""};
    if (ctl_circuits(c, &all, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (stops(all[i].subject, job, class) &&
            all[i].circuit.open_until_ms > out->circuit.open_until_ms) {
            *out = all[i];
        }
    }
    free(all);
    return 0;
}
