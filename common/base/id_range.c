#include "common/base/id_range.h"

bool id_range_parse(struct slice text, struct id_range *out)
{
    struct slice word;
    struct slice rest;
    int64_t first;
    int64_t last;
    if (!slice_cut(text, '-', &word, &rest) ||
        !slice_to_range(word, ID_RANGE_MIN, ID_RANGE_MAX, &first) ||
        !slice_to_range(rest, first, ID_RANGE_MAX, &last) || last - first >= ID_RANGE_COUNT_MAX) {
        return false;
    }
    *out = (struct id_range){(uint32_t)first, (uint32_t)last};
    return true;
}
