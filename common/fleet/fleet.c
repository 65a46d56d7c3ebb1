#include "common/fleet/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/fleet/internal.h"
#include "common/fleet/output.h"
#include "common/github/budget.h"

/* Trouble that the class's settings or its files explain. */
static bool is_of_class(const struct err *e)
{
    return e->class == ERR_PERMANENT || e->class == ERR_NOT_FOUND || e->class == ERR_AUTH;
}

/* One that cannot be opened stops the program only if no other can, or without `failed`. */
static int open_classes(struct fleet *f, const struct config *c, fleet_class_failed_fn *failed,
                        struct err *e)
{
    struct err last = {0};
    size_t opened = 0;
    for (size_t i = 0; i < c->place_count; i++) {
        if (fleet_add_place(f, c, c->places[i], NULL, &last) == 0) {
            opened++;
        } else if (failed == NULL || !is_of_class(&last)) {
            *e = last;
            return -1;
        } else {
            *e = last;
            failed(c->places[i], &last);
        }
    }
    return opened > 0 || c->place_count == 0 ? 0 : -1;
}

int fleet_open(const struct config *c, const char *host, struct ledger *ledger,
               struct github *github, struct fleet **out, struct err *e)
{
    return fleet_open_most(c, host, ledger, github, NULL, out, e);
}

int fleet_open_most(const struct config *c, const char *host, struct ledger *ledger,
                    struct github *github, fleet_class_failed_fn *failed, struct fleet **out,
                    struct err *e)
{
    struct fleet *f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    f->ledger = ledger;
    f->github = github;
    f->grace_ms = c->reaper.deadline_grace_period_ms;
    f->launch_rate = c->limits.launch_rate;
    f->terminate_rate = c->limits.terminate_rate;
    f->describe_rate = c->limits.describe_rate;
    f->list_rate = c->limits.list_rate;
    ASSERT(pthread_mutex_init(&f->slower, NULL) == 0);
    wakeup_init(&f->calls);
    ASSERT(slice_to_cstr(slice_of(host), f->host, sizeof f->host));
    if (open_classes(f, c, failed, e) != 0) {
        fleet_close(f);
        return -1;
    }
    *out = f;
    return 0;
}

static void free_class(struct fleet_class *class)
{
    if (class->provider != NULL) {
        vm_close(class->provider);
    }
    while (class->former != NULL) {
        struct fleet_former *first = class->former;
        class->former = first->next;
        vm_close(first->provider);
        free(first);
    }
    free(class->name);
    free(class);
}

void fleet_close(struct fleet *f)
{
    if (f == NULL) {
        return;
    }
    struct fleet_class *next = f->classes;
    while (next != NULL) {
        struct fleet_class *class = next;
        next = class->next;
        free_class(class);
    }
    pthread_mutex_destroy(&f->slower);
    wakeup_fini(&f->calls);
    free(f);
}

/* Before its class is published, or in place of the one it has. */
static int open_provider(struct fleet_class *entry, const struct config *c,
                         const struct config_class *class, struct err *e)
{
    struct vm_provider *p = NULL;
    const struct vm_pace pace = fleet_pace_of(entry);
    if (vm_open_paced(class, c->deployment, &pace, &p, e) != 0) {
        return err_wrap(e, "class %s cannot launch VMs", class->name);
    }
    struct vm_provider *before = entry->provider;
    if (before != NULL) {
        struct fleet_former *former = calloc(1, sizeof *former);
        ASSERT(former != NULL);
        *former = (struct fleet_former){.next = entry->former, .provider = before};
        entry->former = former;
    }
    entry->opening = class->opening;
    entry->max_duration_ms = class->max_duration_ms;
    entry->provider = p;
    return 0;
}

int fleet_add_place(struct fleet *f, const struct config *c, const struct config_class *class,
                    bool *changed, struct err *e)
{
    struct fleet_class *entry = f->classes;
    bool ignored = false;
    changed = changed != NULL ? changed : &ignored;
    while (entry != NULL && strcmp(entry->name, class->name) != 0) {
        entry = entry->next;
    }
    *changed = entry == NULL || entry->opening != class->opening;
    if (entry != NULL) {
        entry->has_former = class->has_former;
        entry->max_duration_ms = class->max_duration_ms;
        return *changed ? open_provider(entry, c, class, e) : 0;
    }
    entry = calloc(1, sizeof *entry);
    ASSERT(entry != NULL);
    entry->fleet = f;
    entry->name = slice_dup(slice_of(class->name));
    entry->has_former = class->has_former;
    if (open_provider(entry, c, class, e) != 0) {
        free_class(entry);
        return -1;
    }
    entry->next = f->classes;
    f->classes = entry;
    return 0;
}

const char *fleet_host(const struct fleet *f)
{
    return f->host;
}

const struct fleet_class *fleet_first_class(const struct fleet *f)
{
    return f->classes;
}

struct fleet_class *fleet_class_find(const struct fleet *f, const char *name)
{
    struct fleet_class *class = f->classes;
    while (class != NULL && strcmp(class->name, name) != 0) {
        class = class->next;
    }
    return class;
}

struct vm_provider *fleet_provider(const struct fleet *f, const char *class_name)
{
    const struct fleet_class *class = fleet_class_find(f, class_name);
    return class != NULL ? class->provider : NULL;
}

/* The target where the class launched before it had targets. */
static const struct fleet_class *find_former(const struct fleet *f, const char *class_name)
{
    size_t n = strlen(class_name);
    const struct fleet_class *c = fleet_first_class(f);
    while (c != NULL &&
           !(c->has_former && strncmp(c->name, class_name, n) == 0 && c->name[n] == '@')) {
        c = c->next;
    }
    return c;
}

const struct fleet_class *fleet_class_of(const struct fleet *f, const struct ledger_vm *vm)
{
    char place[PLACE_NAME_SIZE];
    place_name_make(vm->class_name, vm->target, place);
    const struct fleet_class *found = fleet_class_find(f, place);
    return found == NULL && vm->target[0] == '\0' ? find_former(f, vm->class_name) : found;
}

void fleet_place_of(const struct fleet *f, const struct ledger_vm *vm, char out[PLACE_NAME_SIZE])
{
    const struct fleet_class *class = fleet_class_of(f, vm);
    if (class != NULL) {
        (void)snprintf(out, PLACE_NAME_SIZE, "%s", class->name);
    } else {
        place_name_make(vm->class_name, vm->target, out);
    }
}

bool fleet_serves(const struct fleet *f, const char *class_name)
{
    size_t n = strlen(class_name);
    for (const struct fleet_class *c = fleet_first_class(f); c != NULL; c = c->next) {
        if (strncmp(c->name, class_name, n) == 0 && (c->name[n] == '\0' || c->name[n] == '@')) {
            return true;
        }
    }
    return false;
}

struct vm_provider *fleet_provider_of(const struct fleet *f, const struct ledger_vm *vm)
{
    const struct fleet_class *class = fleet_class_of(f, vm);
    return class != NULL ? class->provider : NULL;
}

bool fleet_reaches(const struct fleet *f, const struct ledger_vm *vm)
{
    const struct vm_provider *p = fleet_provider_of(f, vm);
    return p != NULL && (!vm_host_bound(p) || strcmp(vm->host, f->host) == 0);
}

/* By its id; a crash between GitHub's response and its record leaves a registration whose id is
 * unknown. */
static int find_runner(struct fleet *f, const struct ledger_vm *vm, struct github_runner *out,
                       struct err *e)
{
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    return vm->runner_id > 0 ? github_get_runner(f->github, &scope, vm->runner_id, out, e)
                             : github_find_runner(f->github, &scope, vm->name, out, e);
}

/* For a VM that is over: what cannot be deleted now is left to the reaper's task stale_runners. */
static void delete_leftover_registration(struct fleet *f, const struct ledger_vm *vm)
{
    struct err ignored = {0};
    struct github_runner runner = {.id = vm->runner_id};
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    int64_t calls = vm->runner_id > 0 ? 1 : 2;
    if (github_budget_take(f->github, &scope, GITHUB_RECONCILE, calls, &ignored) == 0 &&
        (vm->runner_id > 0 || find_runner(f, vm, &runner, &ignored) == 0)) {
        (void)!github_delete_runner(f->github, &scope, runner.id, &ignored);
    }
}

/* Whether the VM is terminated only if nothing runs on it. */
static bool spares(const struct fleet_termination *how)
{
    return how->evidence < FLEET_OVER && !how->nothing_runs;
}

static int move_row(struct fleet *f, const struct ledger_vm *vm, enum ledger_vm_state to,
                    const struct fleet_termination *how, struct err *e)
{
    struct ledger_advance a = {.vm = vm->name, .to = to};
    if (to == VM_ENDING) {
        a.reason = how->reason;
        a.image_failed = how->image_failed;
        a.seen = spares(how) ? vm : NULL;
    }
    return ledger_vm_advance(f->ledger, &a, NULL, e);
}

/* "Not found" may mean that access was lost. */
static int set_not_found(const struct ledger_vm *vm, struct err *e)
{
    return err_set(e, ERR_RETRY, 404,
                   "GitHub does not find the runner of VM %s, which it also answers when access is "
                   "lost: its runner list decides",
                   vm->name);
}

/* Deletes the registration of a runner that has no job. */
static int delete_registration(struct fleet *f, const struct ledger_vm *vm,
                               enum fleet_evidence evidence, struct err *e)
{
    struct github_runner runner;
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    enum github_purpose purpose =
        evidence < FLEET_REQUESTED ? GITHUB_EARLY_END : GITHUB_LAUNCH; /* an operator waits */
    if (github_budget_take(f->github, &scope, purpose, 2, e) != 0) {
        return -1;
    }
    if (find_runner(f, vm, &runner, e) != 0) {
        return e->class == ERR_NOT_FOUND ? set_not_found(vm, e) : -1;
    }
    if (runner.online && !runner.busy && evidence < FLEET_REQUESTED) {
        return err_set(e, ERR_CONFLICT, 0, "the runner of VM %s is online", vm->name);
    }
    bool busy = runner.busy;
    int rc = busy ? err_set(e, ERR_CONFLICT, 422, "GitHub reports the runner busy") : 0;
    if (rc == 0) {
        rc = github_delete_runner(f->github, &scope, runner.id, e);
        busy = rc != 0 && e->class == ERR_CONFLICT;
    }
    if (busy && vm->state != VM_ENDING) {
        struct err ignored = {0};
        (void)!move_row(f, vm, VM_BUSY, NULL, &ignored); /* the event was lost or is late */
    }
    if (rc != 0 && e->class == ERR_NOT_FOUND) {
        return set_not_found(vm, e);
    }
    return rc == 0 ? 0 : err_wrap(e, "the registration of VM %s was not deleted", vm->name);
}

int fleet_delete_registration(struct fleet *f, const struct ledger_vm *vm, struct err *e)
{
    return delete_registration(f, vm, FLEET_SUSPECT, e);
}

/* Before a VM that may run a job is terminated, its row must be as the caller saw it, and GitHub
 * must delete its registration. The row cannot become `ending` first, since a busy VM could not
 * return from there; so the row is read again right before. A reserved row has no VM. */
static int check_spared(struct fleet *f, const struct ledger_vm *vm,
                        const struct fleet_termination *how, struct err *e)
{
    struct ledger_vm now;
    if (ledger_vm_get(f->ledger, vm->name, &now, e) != 0) {
        return -1;
    }
    if (!ledger_vm_is_still(&now, vm)) {
        return err_set(e, ERR_CONFLICT, 0, "VM %s is %s and no longer as it was seen", vm->name,
                       ledger_vm_state_name(now.state));
    }
    bool decided = vm->state == VM_RESERVED || vm->state == VM_ENDING;
    return decided || how->evidence == FLEET_RUNNER_GONE
               ? 0
               : delete_registration(f, vm, how->evidence, e);
}

/* The provider's id; a named VM is known by its name before its launch was recorded. */
static const char *provider_vm_id(const struct vm_provider *p, const struct ledger_vm *vm)
{
    if (vm->vm_id[0] != '\0') {
        return vm->vm_id;
    }
    return vm_is_named(p) ? vm->name : NULL;
}

/* The provider gets its request only after the registration was recorded in the row. */
bool fleet_vm_id_unknown(const struct fleet *f, const struct ledger_vm *vm)
{
    const struct vm_provider *p = fleet_provider_of(f, vm);
    bool asked = vm->registered_ms > 0 || vm->runner_id > 0 || vm->job_id > 0;
    return p != NULL && asked && provider_vm_id(p, vm) == NULL;
}

int64_t fleet_slot_hold_ms(const struct fleet *f, const struct ledger_vm *vm)
{
    if (!fleet_vm_id_unknown(f, vm)) {
        return 0;
    }
    /* A VM of this row was started before the row was `ending`. */
    const struct fleet_class *class = fleet_class_of(f, vm);
    int64_t now = clock_wall_ms();
    int64_t since = vm->state == VM_ENDING && vm->ending_ms > 0 ? vm->ending_ms : now;
    int64_t until = since + class->max_duration_ms + f->grace_ms;
    return until > now ? until - now : 0;
}

static int keep_slot_if_id_unknown(const struct fleet *f, const struct ledger_vm *vm, struct err *e)
{
    if (!fleet_vm_id_unknown(f, vm)) {
        return 0;
    }
    return err_set(
        e, ERR_RETRY, 0,
        "the launch of VM %s got no response, so a VM with an unknown id may run: its slot "
        "is held until the provider's list shows no VM that matches, or until such a VM "
        "would be past its maximum duration (%lld s from now)",
        vm->name, (long long)(fleet_slot_hold_ms(f, vm) / 1000));
}

static int terminate_at_provider(struct fleet *f, const struct ledger_vm *vm, int64_t grace_ms,
                                 struct err *e)
{
    struct vm_provider *p = fleet_provider_of(f, vm);
    const char *id = provider_vm_id(p, vm);
    if (id == NULL || vm_terminate(p, id, grace_ms, e) == 0) {
        return 0;
    }
    return e->class == ERR_NOT_FOUND ? 0 : err_wrap(e, "VM %s could not be terminated", vm->name);
}

/* The row becomes `ending` unless it is. A VM whose id the caller holds is terminated even if its
 * row is gone, as when the launch was taken over meanwhile (*no_row): no other process would
 * terminate it. Nor does another delete the registration of a launch whose row was lost. */
static int set_row_ending(struct fleet *f, const struct ledger_vm *vm,
                          const struct fleet_termination *how, bool *no_row, struct err *e)
{
    if (vm->state == VM_ENDING || move_row(f, vm, VM_ENDING, how, e) == 0) {
        return 0;
    }
    bool has_id = vm->vm_id[0] != '\0';
    *no_row = !spares(how) && ((has_id && e->class == ERR_CONFLICT) ||
                               ((has_id || how->nothing_runs) && e->class == ERR_NOT_FOUND));
    return *no_row ? 0 : -1;
}

/* What a VM of this host ended with is in its directory: that costs no call. */
static bool says_failure(struct fleet *f, const struct ledger_vm *vm)
{
    struct vm_provider *p = fleet_provider_of(f, vm);
    const char *id = p != NULL ? provider_vm_id(p, vm) : NULL;
    struct vm_info info;
    struct err ignored;
    return id != NULL && vm_host_bound(p) && vm_describe(p, id, &info, &ignored) == 0 &&
           info.state == VM_RUN_ENDED && !fleet_ended_well(info.reason);
}

int fleet_terminate_vm(struct fleet *f, const struct ledger_vm *vm,
                       const struct fleet_termination *how, struct err *e)
{
    bool may_be_registered =
        vm->job_id == 0 && vm->state != VM_RESERVED && !spares(how) && !how->leave_registration;
    if (fleet_provider_of(f, vm) == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "VM %s is of class %s%s%s, which this configuration does not know: put it "
                       "back, with max_vms or weight 0, until its VMs have ended",
                       vm->name, vm->class_name, vm->target[0] != '\0' ? " at target " : "",
                       vm->target);
    }
    if (!fleet_reaches(f, vm)) {
        return err_set(e, ERR_NOT_FOUND, 0, "VM %s of class %s runs on host %s, out of reach here",
                       vm->name, vm->class_name, vm->host);
    }
    if (spares(how) && check_spared(f, vm, how, e) != 0) {
        return -1;
    }
    bool no_row = false;
    if (set_row_ending(f, vm, how, &no_row, e) != 0) {
        return -1;
    }
    if (!how->nothing_runs && keep_slot_if_id_unknown(f, vm, e) != 0) {
        if (vm->state != VM_ENDING && may_be_registered) {
            /* Without its registration the runner of such a VM gets no job. Once is enough. */
            delete_leftover_registration(f, vm);
        }
        return -1;
    }
    if (terminate_at_provider(f, vm, how->grace_ms, e) != 0) {
        return -1;
    }
    if (may_be_registered) {
        /* The VM is gone, so its slot must not wait for GitHub, which may report a dead runner as
         * busy for minutes. */
        delete_leftover_registration(f, vm);
    }
    if (no_row) {
        return 0;
    }
    if (move_row(f, vm, VM_GONE, how, e) != 0) {
        return -1;
    }
    if (!how->nothing_runs && (how->failed || says_failure(f, vm))) {
        fleet_output_keep(f, vm); /* its slot does not wait for it */
    }
    return 0;
}
