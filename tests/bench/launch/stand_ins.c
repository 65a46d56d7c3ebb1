#include "tests/bench/launch/stand_ins.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/fleet/output.h"
#include "common/fleet/reconcile.h"
#include "common/ledger/kinds.h"
#include "common/vm/vm.h"

#define REFERENCE_WRITES 500

struct fleet {
    struct ledger *ledger;
};

struct stand_in_hooks stand_in_hooks;

/* --- the machines --- */
struct fleet *stand_in_fleet(struct ledger *l)
{
    struct fleet *f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    f->ledger = l;
    return f;
}

const char *fleet_host(const struct fleet *f)
{
    (void)f;
    return "bench";
}

struct vm_provider *fleet_provider(const struct fleet *f, const char *class_name)
{
    static char never_looked_into;
    (void)f;
    (void)class_name;
    return (struct vm_provider *)&never_looked_into;
}

bool fleet_serves(const struct fleet *f, const char *class_name)
{
    return fleet_provider(f, class_name) != NULL;
}

struct vm_provider *fleet_provider_of(const struct fleet *f, const struct ledger_vm *vm)
{
    return fleet_provider(f, vm->class_name);
}

void fleet_place_of(const struct fleet *f, const struct ledger_vm *vm, char out[PLACE_NAME_SIZE])
{
    (void)f;
    place_name_make(vm->class_name, vm->target, out);
}

/* Of a fleet of its own (common/fleet/internal.h): nothing is noted about its calls. */
struct fleet_class;
struct fleet_class *fleet_class_find(const struct fleet *f, const char *name);
struct fleet_class *fleet_class_find(const struct fleet *f, const char *name)
{
    (void)f;
    (void)name;
    return NULL;
}

bool fleet_reaches(const struct fleet *f, const struct ledger_vm *vm)
{
    (void)vm;
    return f != NULL;
}

bool fleet_vm_id_unknown(const struct fleet *f, const struct ledger_vm *vm)
{
    (void)f;
    (void)vm;
    return false;
}

bool vm_run_left_nothing(const struct err *e)
{
    return e->class != ERR_RETRY;
}

/* The calls to the ledger are the real one's. */
int fleet_reconciled(struct fleet *f, const char *class_name, struct fleet_knowledge *out,
                     struct err *e)
{
    struct ledger_cell cell;
    char history[LEDGER_HISTORY_SIZE];
    *out = (struct fleet_knowledge){.state = FLEET_RECONCILED};
    return ledger_history(f->ledger, history, e) == 0
               ? ledger_cell_get(f->ledger, LEDGER_KIND_RECONCILED, class_name, &cell, e)
               : -1;
}

int fleet_reconcile(struct fleet *f, const struct config_class *class, int64_t lease_ms,
                    struct fleet_comparison *out, struct err *e)
{
    (void)f;
    (void)class;
    (void)lease_ms;
    (void)e;
    *out = (struct fleet_comparison){.done = true};
    return 0;
}

int fleet_terminate_turn(struct fleet *f, const char *class_name, const struct config_rate *rate,
                         int64_t *wait_ms, struct err *e)
{
    (void)f;
    (void)class_name;
    (void)rate;
    (void)e;
    *wait_ms = 0;
    return 0;
}

int fleet_advance_registered(struct fleet *f, const char *class_name,
                             const struct config_rate *rate, const struct ledger_advance *a,
                             int64_t *wait_ms, struct err *e)
{
    (void)class_name;
    (void)rate;
    *wait_ms = 0;
    return ledger_vm_advance(f->ledger, a, NULL, e);
}

void fleet_output_keep_text(struct fleet *f, const char *vm, struct slice raw)
{
    (void)f;
    (void)vm;
    (void)raw;
}

int fleet_terminate_vm(struct fleet *f, const struct ledger_vm *vm,
                       const struct fleet_termination *how, struct err *e)
{
    struct ledger_advance to = {.vm = vm->name, .to = VM_GONE};
    (void)how;
    if (f == NULL) {
        return err_set(e, ERR_RETRY, 0, "this bench ends no VMs");
    }
    if (ledger_vm_advance(f->ledger, &to, NULL, e) != 0) {
        return -1;
    }
    if (stand_in_hooks.gone != NULL) {
        stand_in_hooks.gone();
    }
    return 0;
}

bool vm_host_bound(const struct vm_provider *p)
{
    (void)p;
    return false;
}

int vm_describe(struct vm_provider *p, const char *id, struct vm_info *out, struct err *e)
{
    (void)p;
    (void)out;
    return err_set(e, ERR_NOT_FOUND, 0, "no VM %s", id);
}

const char *vm_domain(const struct vm_provider *p)
{
    (void)p;
    return "stand-in";
}

int vm_probe(struct vm_provider *p, struct err *e)
{
    (void)p;
    (void)e;
    return 0;
}

int vm_room(struct vm_provider *p, struct err *e)
{
    (void)p;
    (void)e;
    return 0;
}

void vm_room_release(struct vm_provider *p)
{
    (void)p;
}

int vm_run(struct vm_provider *p, const struct vm_spec *spec, char *out_id, struct err *e)
{
    (void)p;
    (void)e;
    stand_in_hooks.launched(spec->name);
    (void)snprintf(out_id, VM_ID_MAX + 1, "%s", spec->name);
    return 0;
}

/* --- the disk --- */
double stand_in_durable_writes(const char *directory)
{
    char path[4096];
    char block[4096] = {0};
    (void)snprintf(path, sizeof path, "%s/reference", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ASSERT(fd >= 0);
    int64_t start = clock_mono_us();
    int n = 0;
    for (; n < REFERENCE_WRITES; n++) {
        ASSERT(pwrite(fd, block, sizeof block, (off_t)n % 16 * 4096) == sizeof block);
        ASSERT(fdatasync(fd) == 0);
    }
    close(fd);
    return n * 1e6 / (double)(clock_mono_us() - start);
}

/* Its images have no versions. */
bool vm_image_of(const struct config_class *class, struct vm_image *out)
{
    (void)class;
    (void)out;
    return false;
}

int vm_image_versions(const struct config_class *class, struct vm_image_version **out, size_t *n,
                      struct err *e)
{
    (void)out;
    (void)n;
    return err_set(e, ERR_PERMANENT, 0, "class %s: no versions", class->name);
}

const struct vm_image_version *vm_image_newest(const struct vm_image_version *list, size_t n,
                                               vm_image_refused_fn *refused, const void *arg)
{
    (void)list;
    (void)n;
    (void)refused;
    (void)arg;
    return NULL;
}

const struct vm_image_version *vm_image_find(const struct vm_image_version *list, size_t n,
                                             const char *version)
{
    (void)list;
    (void)n;
    (void)version;
    return NULL;
}
