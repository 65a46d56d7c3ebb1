/*
 * `mayflyctl shell VM`: a shell of root in a VM of this host, through its supervisor
 * (worker/supervisor/shell.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ledger/hosts.h"
#include "common/vm/vm.h"
#include "deploy/ctl/ctl.h"
#include "deploy/ctl/shell/session.h"

static int refuse_other_host(const struct ctl *c, const struct ledger_vm *vm, struct err *e)
{
    struct ledger_host *hosts = NULL;
    size_t n = 0;
    char name[72];
    if (ledger_host_list(c->ledger, &hosts, &n, e) != 0) {
        return -1;
    }
    (void)snprintf(name, sizeof name, "%s", vm->host);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(hosts[i].id, vm->host) == 0) {
            (void)snprintf(name, sizeof name, "%.71s", hosts[i].name);
        }
    }
    free(hosts);
    return err_set(e, ERR_CONFLICT, 0,
                   "VM %s is not one of this host: on %s, as root or the worker's user, run: "
                   "mayflyctl shell %s",
                   vm->name, name, vm->name);
}

static int connect_shell(const struct ctl *c, const struct ledger_vm *vm, int *fd, struct err *e)
{
    const struct config_class *class = config_class_by_name(c->config, slice_of(vm->class_name));
    if (vm->state == VM_GONE) {
        return err_set(e, ERR_CONFLICT, 0, "VM %s has ended: %s", vm->name, vm->end_reason);
    }
    if (class == NULL) {
        return err_set(e, ERR_CONFLICT, 0, "the class %s of VM %s is not configured any more",
                       vm->class_name, vm->name);
    }
    int rc = vm_shell(class, c->config->deployment, vm->name, fd, e);
    return rc != 0 && e->class == ERR_NOT_FOUND ? refuse_other_host(c, vm, e) : rc;
}

int ctl_shell(struct ctl *c, struct err *e)
{
    struct ledger_vm vm;
    char who[64];
    int fd = -1;
    if (ledger_vm_get(c->ledger, c->argv[0], &vm, e) != 0) {
        return err_wrap(e, "no VM %s (mayflyctl vms lists them)", c->argv[0]);
    }
    if (connect_shell(c, &vm, &fd, e) != 0) {
        return -1;
    }
    ctl_operator(who, sizeof who);
    int rc = shell_session_run(fd, who, &c->exit_code, e);
    close(fd);
    return rc;
}
