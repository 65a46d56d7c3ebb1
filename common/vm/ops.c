/* The operations of every provider; providers.c has their configuration. */
#include "common/vm/lambda/settings.h"
#include "common/vm/qemu/settings.h"
#include "common/vm/vm_backend.h"

const struct vm_ops *const vm_all_ops[] = {&vm_ops_qemu, &vm_ops_lambda};
const size_t vm_all_ops_count = COUNT_OF(vm_all_ops);
