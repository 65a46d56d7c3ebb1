#include "common/job/lane.h"

#include <stdio.h>
#include <string.h>

#include "common/base/attr.h"

#define PREFIX "launch."

const char *launch_lane(const char *class_name, char out[LAUNCH_LANE_SIZE])
{
    int n = snprintf(out, LAUNCH_LANE_SIZE, PREFIX "%s", class_name);
    ASSERT(n > 0 && (size_t)n < LAUNCH_LANE_SIZE);
    return out;
}

const char *launch_lane_class(const char *lane)
{
    size_t len = sizeof PREFIX - 1;
    return strncmp(lane, PREFIX, len) == 0 && lane[len] != '\0' ? lane + len : NULL;
}
