/*
 * Scripted VM providers: replace the real ones (vm_all_ops) behind the real front. The VMs are an
 * array that the test fills and inspects; calls.h records the calls and makes them fail, as
 * "vm_room", "vm_run", "vm_terminate", "vm_describe", "vm_forget" and "vm_list", with the class first:
 * "class=small id=id-a grace_ms=0". A list names all its classes, "class=small,other", and the page by
 * so many x: "cursor=xx".
 *
 * The provider "qemu" is bound to its host and its VMs have names; those of "lambda" have none, and
 * its service counts its calls over `domain`. Its images have versions once scripted_vms_add_version was called; then
 * "vm_image_versions" and "vm_image_deactivate version=2.0" are calls too. A VM's id is never its name. A call with a VM of
 * another class is ERR_NOT_FOUND.
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

#define SCRIPTED_VERSIONS_MAX 16
#define SCRIPTED_IMAGE "arn:scripted:image"

extern struct scripted_vms {
    struct scripted_vm list[SCRIPTED_VMS_MAX];
    size_t count;
    size_t more_pages;     /* of each list; they are empty */
    bool end_does_nothing; /* although the provider returns success */
    const char *domain;
    int64_t image_built_ms; /* of the one in the cloud; 0: not known */
    struct vm_image_version versions[SCRIPTED_VERSIONS_MAX];
    size_t version_count;
    int64_t vcpus;                      /* of each VM, with 2 GiB each; 0: unknown */
    const char *pinned;                 /* the version that each class names; NULL: none */
    char payload[SCRIPTED_PAYLOAD_MAX]; /* of the VM that was launched last */
    size_t payload_len;
    const char *console; /* of every VM; NULL: it has none. "vm_console" is a call */
} scripted_vms;

/* Removes all VMs and resets all settings. */
void scripted_vms_reset(void);
/* Adds a VM whose id is id-<name>; for a provider without names the caller sets name to "". */
struct vm_info *scripted_vms_add(const char *class_name, const char *name, enum vm_run_state state);

struct vm_image_version *scripted_vms_add_version(const char *name, bool active);

#endif
