/* The lists of objects; objects.h says how to add one. */
#include "common/config/private.h"

const struct object_list config_lists[] = {
    {.key = "classes[]",
     .first = "name",
     .distinct = true,
     .reloadable = true,
     .limit = 64,
     .size = sizeof(struct config_class),
     .items = offsetof(struct config, classes),
     .count = offsetof(struct config, class_count),
     .init = config_class_make_blocks,
     .fini = config_class_free_blocks,
     .locate = config_class_locate},
    {.key = "classes[].targets[]",
     .first = "name",
     .distinct = true,
     .limit = 32,
     .size = sizeof(struct config_target),
     .items = offsetof(struct config_class, targets),
     .count = offsetof(struct config_class, target_count)},
    {.key = "github.apps[]",
     .first = "id",
     .limit = 64,
     .size = sizeof(struct config_app),
     .items = offsetof(struct config, github.apps),
     .count = offsetof(struct config, github.app_count)},
};
const size_t config_list_count = COUNT_OF(config_lists);
