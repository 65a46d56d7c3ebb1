#include "common/job/lane.h"

#include <string.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

#define PREFIX "launch."

const char *launch_lane(const char *class_name, char out[LAUNCH_LANE_SIZE])
{
    size_t begin = sizeof PREFIX - 1;
    memcpy(out, PREFIX, begin);
    ASSERT(slice_to_cstr(slice_of(class_name), out + begin, LAUNCH_LANE_SIZE - begin));
    return out;
}

const char *launch_lane_class(const char *lane)
{
    size_t len = sizeof PREFIX - 1;
    return strncmp(lane, PREFIX, len) == 0 && lane[len] != '\0' ? lane + len : NULL;
}
