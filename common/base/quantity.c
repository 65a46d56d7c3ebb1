#include "common/base/quantity.h"

#include <stdio.h>
#include <string.h>

#define UNITS 5

struct unit {
    const char *name;
    int64_t amount;
};

static const struct unit units[][UNITS] = {
    [QUANTITY_DURATION] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}},
    [QUANTITY_SIZE] = {{"B", 1},
                       {"KiB", (int64_t)1 << 10},
                       {"MiB", (int64_t)1 << 20},
                       {"GiB", (int64_t)1 << 30},
                       {"TiB", (int64_t)1 << 40}}};
static const char *const unit_names[] = {
    [QUANTITY_DURATION] = "ms, s, m, h or d", [QUANTITY_SIZE] = "B, KiB, MiB, GiB or TiB"};
static const char *const zero[] = {[QUANTITY_DURATION] = "0s", [QUANTITY_SIZE] = "0B"};

const char *quantity_text(enum quantity_kind kind, int64_t amount, char out[QUANTITY_TEXT_SIZE])
{
    const struct unit *u = &units[kind][UNITS - 1];
    while (amount % u->amount != 0) {
        u--;
    }
    if (amount == 0) {
        (void)snprintf(out, QUANTITY_TEXT_SIZE, "%s", zero[kind]);
    } else {
        (void)snprintf(out, QUANTITY_TEXT_SIZE, "%lld%s", (long long)(amount / u->amount), u->name);
    }
    return out;
}

static const struct unit *find_unit(enum quantity_kind kind, struct slice name)
{
    for (size_t i = 0; i < UNITS; i++) {
        if (slice_eq_cstr(name, units[kind][i].name)) {
            return &units[kind][i];
        }
    }
    return NULL;
}

static bool has_digit(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= '0' && s.ptr[i] <= '9') {
            return true;
        }
    }
    return false;
}

/* What is wrong with a value that is not digits and a unit. */
static const char *form_trouble(struct slice digits, struct slice unit)
{
    if (digits.len == 0 && unit.len > 0 && unit.ptr[0] == '-') {
        return "is negative";
    }
    if (digits.len == 0) {
        return "does not begin with a number";
    }
    if (unit.len == 0) {
        return "has no unit";
    }
    if (unit.ptr[0] == '.') {
        return "is a fraction";
    }
    return has_digit(unit) ? "has more than one unit" : "has an unknown unit";
}

bool quantity_read(const struct quantity *q, struct slice value, int64_t *out, struct buf *why)
{
    char min[QUANTITY_TEXT_SIZE];
    char max[QUANTITY_TEXT_SIZE];
    struct slice digits = {value.len > 0 ? value.ptr : "", 0};
    while (digits.len < value.len && value.ptr[digits.len] >= '0' && value.ptr[digits.len] <= '9') {
        digits.len++;
    }
    struct slice name = {digits.ptr + digits.len, value.len - digits.len};
    const struct unit *unit = find_unit(q->kind, name);
    int64_t number = 0;
    (void)quantity_text(q->kind, q->min, min);
    (void)quantity_text(q->kind, q->max, max);
    if (digits.len == 0 || unit == NULL) {
        buf_printf(why, "%s: write a whole number and its unit (%s), such as %s, from %s to %s",
                   form_trouble(digits, name), unit_names[q->kind],
                   q->example != NULL ? q->example : max, min, max);
        return false;
    }
    /* A number that does not fit an int64_t is above every maximum. */
    if (!slice_to_range(digits, 0, q->max / unit->amount, &number) ||
        number * unit->amount < q->min) {
        buf_printf(why, "must be from %s to %s", min, max);
        return false;
    }
    *out = number * unit->amount;
    return true;
}
