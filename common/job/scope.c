#include "common/job/scope.h"

#include <stdio.h>
#include <string.h>

void scope_name_make(const char *place, const char *group, char out[SCOPE_SIZE])
{
    (void)snprintf(out, SCOPE_SIZE, "%s%s%s", place, group[0] != '\0' ? "#" : "", group);
}

struct slice scope_place(const char *scope)
{
    struct slice place;
    struct slice group;
    (void)slice_cut(slice_of(scope), '#', &place, &group);
    return place;
}

struct slice scope_group(const char *scope)
{
    struct slice place;
    struct slice group = {"", 0};
    return slice_cut(slice_of(scope), '#', &place, &group) ? group : (struct slice){"", 0};
}

const char *scope_set(const char *group)
{
    static const char begin[] = SCOPE_SET;
    size_t length = sizeof begin - 1;
    return strncmp(group, begin, length) == 0 && group[length] != '\0' ? group + length : NULL;
}
