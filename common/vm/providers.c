/* The configuration of every provider; ops.c has their operations. */
#include "common/vm/lambda/settings.h"
#include "common/vm/qemu/settings.h"

const struct config_provider *const config_providers[] = {&qemu_config, &lambda_config};
const size_t config_provider_count = COUNT_OF(config_providers);
const char config_provider_names[] = "qemu lambda";
const char config_provider_default[] = "qemu";
