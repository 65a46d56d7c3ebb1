/* The options that a command was given. */
#include <string.h>

#include "common/base/quantity.h"
#include "deploy/ctl/ctl.h"

const char *ctl_option(const struct ctl *c, const char *name)
{
    const char *value = NULL;
    for (int i = 0; i < c->given_count; i++) {
        value = strcmp(c->given[i].name, name) == 0 ? c->given[i].value : value;
    }
    return value;
}

int ctl_option_number(struct ctl *c, const char *name, int64_t least, int64_t most,
                      int64_t otherwise, int64_t *out, struct err *e)
{
    const char *given = ctl_option(c, name);
    int64_t number = otherwise;
    if (given != NULL && !slice_to_range(slice_of(given), least, most, &number)) {
        c->exit_code = CTL_EXIT_USAGE;
        return err_set(e, ERR_PERMANENT, 0, "%s must be a whole number from %lld to %lld", name,
                       (long long)least, (long long)most);
    }
    *out = number;
    return 0;
}

int ctl_option_duration(struct ctl *c, const char *name, int64_t least_ms, int64_t most_ms,
                        int64_t otherwise_ms, int64_t *out_ms, struct err *e)
{
    const char *given = ctl_option(c, name);
    char example[QUANTITY_TEXT_SIZE];
    const struct quantity range = {.kind = QUANTITY_DURATION,
                                   .min = least_ms,
                                   .max = most_ms,
                                   .example =
                                       quantity_text(QUANTITY_DURATION, otherwise_ms, example)};
    struct buf why;
    int rc = 0;
    *out_ms = otherwise_ms;
    buf_init(&why, 400);
    if (given != NULL && !quantity_read(&range, slice_of(given), out_ms, &why)) {
        c->exit_code = CTL_EXIT_USAGE;
        rc = err_set(e, ERR_PERMANENT, 0, "%s %s", name, why.data);
    }
    buf_fini(&why);
    return rc;
}
