/*
 * `mayflyctl hosts`, `workers`, `host drain`, `host undrain` and `host forget`.
 *
 * A host is one that runs VMs itself; its id is in the heartbeats of its programs, in the rows of its
 * VMs and in a cell of its own, and each of the three may be left alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/ledger/circuit.h"
#include "common/ledger/hosts.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/ctl.h"

#define PAGE 500
#define PREFIX_MIN 4
#define FORGOTTEN "host forgotten with mayflyctl host forget"

struct view {
    struct ledger_host host;
    int64_t beat_ms; /* wall clock of its newest heartbeat; 0: none */
    size_t programs;
    size_t vms;
};

struct views {
    struct view *list;
    size_t count;
};

static struct view *view_of(struct views *all, const char *id)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->list[i].host.id, id) == 0) {
            return &all->list[i];
        }
    }
    all->list = reallocarray(all->list, all->count + 1, sizeof *all->list);
    ASSERT(all->list != NULL);
    struct view *v = &all->list[all->count++];
    *v = (struct view){.beat_ms = 0};
    (void)snprintf(v->host.id, sizeof v->host.id, "%s", id);
    return v;
}

static int add_cells(struct ctl *c, struct views *all, struct err *e)
{
    struct ledger_host *hosts = NULL;
    size_t n = 0;
    if (ledger_host_list(c->ledger, &hosts, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        view_of(all, hosts[i].id)->host = hosts[i];
    }
    free(hosts);
    return 0;
}

static int add_programs(struct ctl *c, struct views *all, struct err *e)
{
    struct ledger_program *programs = NULL;
    size_t n = 0;
    if (ledger_program_list(c->ledger, &programs, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (programs[i].is_host) {
            struct view *v = view_of(all, programs[i].host);
            v->programs++;
            v->beat_ms = programs[i].at_ms > v->beat_ms ? programs[i].at_ms : v->beat_ms;
        }
    }
    free(programs);
    return 0;
}

/* Called for each row of a host; -1 ends the walk. */
typedef int row_fn(void *arg, const struct ledger_vm *vm, struct err *e);

static int for_each_row(struct ctl *c, row_fn *row, void *arg, struct err *e)
{
    char after[VM_NAME_SIZE] = "";
    for (;;) {
        struct ledger_vm *vms = NULL;
        size_t n = 0;
        int rc = ledger_vm_list(c->ledger, ~(1u << VM_GONE), after, PAGE, &vms, &n, e);
        for (size_t i = 0; i < n && rc == 0; i++) {
            memcpy(after, vms[i].name, sizeof after);
            rc = vms[i].host[0] != '\0' ? row(arg, &vms[i], e) : 0;
        }
        free(vms);
        if (rc != 0 || n < PAGE) {
            return rc;
        }
    }
}

static int count_row(void *arg, const struct ledger_vm *vm, struct err *e)
{
    (void)e;
    view_of(arg, vm->host)->vms++;
    return 0;
}

static int read_views(struct ctl *c, struct views *out, struct err *e)
{
    int rc = add_cells(c, out, e) != 0 || add_programs(c, out, e) != 0 ||
                     for_each_row(c, count_row, out, e) != 0
                 ? -1
                 : 0;
    if (rc != 0) {
        free(out->list);
    }
    return rc;
}

static const char *state_of(const struct view *v)
{
    if (v->programs == 0) {
        return "silent";
    }
    return v->host.drained_ms != 0 ? "drained" : "up";
}

int ctl_hosts(struct ctl *c, json_t **out, struct err *e)
{
    struct views all = {.count = 0};
    if (read_views(c, &all, e) != 0) {
        return -1;
    }
    *out = json_array();
    for (size_t i = 0; i < all.count; i++) {
        const struct view *v = &all.list[i];
        json_array_append_new(
            *out, json_pack("{s:o, s:o, s:s, s:b, s:I, s:I, s:o}", "host", ctl_text(v->host.id),
                            "name", ctl_text(v->host.name), "state", state_of(v), "drained",
                            v->host.drained_ms != 0, "programs", (json_int_t)v->programs, "vms",
                            (json_int_t)v->vms, "heartbeat", ctl_time(v->beat_ms)));
    }
    free(all.list);
    return 0;
}

void ctl_hosts_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    printable_line(stdout, "%-32s %-24s %-8s %8s %6s  %s", "HOST", "NAME", "STATE", "PROGRAMS",
                   "VMS", "HEARTBEAT");
    json_array_foreach(answer, i, o)
    {
        printable_line(stdout, "%-32s %-24s %-8s %8lld %6lld  %s", ctl_str(o, "host"),
                       ctl_str(o, "name"), ctl_str(o, "state"), (long long)ctl_int(o, "programs"),
                       (long long)ctl_int(o, "vms"), ctl_str(o, "heartbeat"));
    }
}

int ctl_workers(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_program *all = NULL;
    size_t n = 0;
    if (ledger_program_list(c->ledger, &all, &n, e) != 0) {
        return -1;
    }
    *out = json_array();
    for (size_t i = 0; i < n; i++) {
        const struct ledger_program *p = &all[i];
        json_array_append_new(*out, json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:I}", "id",
                                              ctl_text(p->id), "program", ctl_text(p->program),
                                              "version", ctl_text(p->version), "host",
                                              ctl_text(p->is_host ? p->host : ""), "name",
                                              ctl_text(p->is_host ? p->host_name : p->host), "boot",
                                              ctl_text(p->boot_id), "waiting", p->waiting,
                                              "classes", ctl_text(p->classes), "heartbeat_age_ms",
                                              (json_int_t)(clock_wall_ms() - p->at_ms)));
    }
    free(all);
    return 0;
}

void ctl_workers_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    char age[24];
    printable_line(stdout, "%-14s %-20s %-24s %-32s %-9s %s", "PROGRAM", "VERSION", "NAME", "HOST",
                   "HEARTBEAT", "CLASSES");
    json_array_foreach(answer, i, o)
    {
        printable_line(stdout, "%-14s %-20s %-24s %-32s %-9s %s%s", ctl_str(o, "program"),
                       ctl_str(o, "version"), ctl_str(o, "name"), ctl_str(o, "host"),
                       ctl_duration(ctl_int(o, "heartbeat_age_ms"), age), ctl_str(o, "classes"),
                       json_is_true(json_object_get(o, "waiting")) ? " (waits: host_id_in_use)"
                                                                   : "");
    }
}

/* By its id, the beginning of one, or its name. */
static bool is_meant(const struct view *v, const char *given)
{
    size_t n = strlen(given);
    return (n >= PREFIX_MIN && strncmp(v->host.id, given, n) == 0) ||
           (n > 0 && strcmp(v->host.name, given) == 0); /* one that only rows name has no name */
}

static int find_host(struct ctl *c, struct view *out, struct err *e)
{
    struct views all = {.count = 0};
    size_t found = 0;
    if (read_views(c, &all, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < all.count; i++) {
        if (is_meant(&all.list[i], c->argv[0])) {
            *out = all.list[i];
            found++;
        }
    }
    free(all.list);
    if (found != 1) {
        return err_set(e, ERR_NOT_FOUND, 0, "%s: %s hosts: give the id that mayflyctl hosts shows",
                       c->argv[0], found == 0 ? "none of the" : "the id or name of several");
    }
    return 0;
}

static json_t *answer_of(const struct view *v, const char *did)
{
    char text[400];
    (void)snprintf(text, sizeof text, "host %s (%s) %s", v->host.id, v->host.name, did);
    return json_pack("{s:o, s:o}", "host", ctl_text(v->host.id), "did", ctl_text(text));
}

static int set_drained(struct ctl *c, bool drained, const char *did, json_t **out, struct err *e)
{
    struct view v;
    if (find_host(c, &v, e) != 0 || ledger_host_drain(c->ledger, v.host.id, drained, e) != 0) {
        return -1;
    }
    *out = answer_of(&v, did);
    return 0;
}

int ctl_host_drain(struct ctl *c, json_t **out, struct err *e)
{
    return set_drained(c, true,
                       "launches no VM from its worker's next heartbeat on; its VMs finish their "
                       "jobs: mayflyctl hosts shows how many are left",
                       out, e);
}

int ctl_host_undrain(struct ctl *c, json_t **out, struct err *e)
{
    return set_drained(c, false, "launches VMs again, from its worker's next heartbeat on", out, e);
}

struct forgetting {
    struct ledger *ledger;
    const char *id;
    size_t vms;
};

static int forget_row(void *arg, const struct ledger_vm *vm, struct err *e)
{
    struct forgetting *f = arg;
    struct ledger_advance ending = {.vm = vm->name, .to = VM_ENDING, .reason = FORGOTTEN};
    struct ledger_advance gone = {.vm = vm->name, .to = VM_GONE};
    if (strcmp(vm->host, f->id) != 0) {
        return 0;
    }
    if ((vm->state != VM_ENDING && ledger_vm_advance(f->ledger, &ending, NULL, e) != 0) ||
        ledger_vm_advance(f->ledger, &gone, NULL, e) != 0) {
        return err_wrap(e, "VM %s was not forgotten: run the command again", vm->name);
    }
    f->vms++;
    return 0;
}

/* What only that host sees: "host:<id>", "class:small@<id>". */
static bool is_subject_of(const char *subject, const char *id)
{
    const char *at = strrchr(subject, '@');
    return (at != NULL && strcmp(at + 1, id) == 0) ||
           (strncmp(subject, "host:", 5) == 0 && strcmp(subject + 5, id) == 0);
}

static int forget_circuits(struct ctl *c, const char *id, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int rc = ledger_cell_list(c->ledger, CIRCUIT_KIND, &cells, &n, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (is_subject_of(cells[i].name, id)) {
            rc = ledger_cell_put(c->ledger, CIRCUIT_KIND, cells[i].name, NULL, cells[i].version,
                                 NULL, e);
        }
    }
    free(cells);
    return rc;
}

int ctl_host_forget(struct ctl *c, json_t **out, struct err *e)
{
    struct view v;
    char did[200];
    if (find_host(c, &v, e) != 0) {
        return -1;
    }
    if (v.programs > 0) {
        return err_set(
            e, ERR_CONFLICT, 0,
            "host %s (%s) had a heartbeat %lld s ago: stop its worker and reaper, or, if "
            "it is gone, try again later: its last heartbeat counts for 30 intervals, at most five "
            "minutes",
            v.host.id, v.host.name, (long long)((clock_wall_ms() - v.beat_ms) / 1000));
    }
    struct forgetting f = {.ledger = c->ledger, .id = v.host.id};
    if (for_each_row(c, forget_row, &f, e) != 0 || forget_circuits(c, v.host.id, e) != 0 ||
        ledger_host_remove(c->ledger, v.host.id, e) != 0) {
        return -1;
    }
    (void)snprintf(
        did, sizeof did,
        "is forgotten, and the slots of its %zu VMs are free: if it still runs, they run "
        "beyond the caps",
        f.vms);
    *out = answer_of(&v, did);
    return 0;
}
