/*
 * VM providers of a test: in the place of the real ones (vm_all_ops), behind the real front. Which
 * machines there are is an array that the test fills and looks at; the calls are recorded and made
 * to fail by calls.h, as "vm_run", "vm_terminate", "vm_describe", "vm_forget" and "vm_list", with
 * the class first: "class=small id=id-a grace_ms=0".
 *
 * The provider "qemu" is bound to its host and its machines carry names; those of "lambda" carry
 * none, and its service counts its calls over `domain`. A machine's id is never its name. A call
 * that names a machine of another class finds none.
 */
#ifndef MAYFLY_TEST_SCRIPTED_VMS_H
#define MAYFLY_TEST_SCRIPTED_VMS_H

#include "common/vm/vm.h"

#define SCRIPTED_VMS_MAX 1024
#define SCRIPTED_PAYLOAD_MAX 4096

struct scripted_vm {
    const char *class_name;
    struct vm_info info;
};

extern struct scripted_vms {
    struct scripted_vm list[SCRIPTED_VMS_MAX];
    size_t count;
    bool end_does_nothing; /* although the provider says yes */
    const char *domain;
    char payload[SCRIPTED_PAYLOAD_MAX]; /* of the machine that was run last */
    size_t payload_len;
} scripted_vms;

/* None, and none that was ended runs on. */
void scripted_vms_reset(void);
/* Its id is id-<name>; name "" for what tells none is the caller's to set. */
struct vm_info *scripted_vms_add(const char *class_name, const char *name, enum vm_run_state state);

#endif
