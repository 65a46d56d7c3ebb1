#include "common/base/quantity.h"

#include <stdio.h>

#define UNITS 5
#define FRACTION_DIGITS 6 /* of the largest unit, still an int64_t */

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
static const char *const also[] = {
    [QUANTITY_DURATION] = ", 1.5h or 1h30m", [QUANTITY_SIZE] = " or 1.5GiB"};
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

static size_t count_digits(struct slice s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9') {
        n++;
    }
    return n;
}

static struct slice skip(struct slice s, size_t n)
{
    return (struct slice){s.ptr + n, s.len - n};
}

/* One number with its unit, as written. */
struct term {
    struct slice whole;    /* digits */
    struct slice fraction; /* those after the point; empty: none */
    const struct unit *unit;
};

/* Removes the next term from the value. NULL, or what is wrong with it. */
static const char *next_term(enum quantity_kind kind, struct slice *value, struct term *out)
{
    struct slice rest = *value;
    size_t n = count_digits(rest);
    if (n == 0) {
        return rest.len > 0 && rest.ptr[0] == '-' ? "is negative" : "does not begin with a number";
    }
    *out = (struct term){.whole = {rest.ptr, n}};
    rest = skip(rest, n);
    n = rest.len > 1 && rest.ptr[0] == '.' ? count_digits(skip(rest, 1)) : 0;
    if (n > 0) {
        out->fraction = (struct slice){rest.ptr + 1, n};
        rest = skip(rest, n + 1);
    }
    if (rest.len == 0) {
        return "has no unit";
    }
    n = 0;
    while (n < rest.len && (rest.ptr[n] < '0' || rest.ptr[n] > '9')) {
        n++;
    }
    out->unit = find_unit(kind, (struct slice){rest.ptr, n});
    *value = skip(rest, n);
    return out->unit == NULL ? "has an unknown unit" : NULL;
}

/* Adds a/10^digits of the unit; false: not a whole amount. */
static bool add_fraction(const struct term *t, int64_t *total)
{
    int64_t part = 0;
    int64_t divisor = 1;
    if (t->fraction.len > FRACTION_DIGITS || !slice_to_int64(t->fraction, &part)) {
        return false;
    }
    for (size_t i = 0; i < t->fraction.len; i++) {
        divisor *= 10;
    }
    *total += part * t->unit->amount / divisor;
    return part * t->unit->amount % divisor == 0;
}

/* NULL, or what is wrong. *total: at most q->max, or -1 for an amount that is larger. */
static const char *add_terms(const struct quantity *q, struct slice value, int64_t *total)
{
    struct term t;
    int64_t unit_before = INT64_MAX;
    bool single = true;
    *total = 0;
    do {
        int64_t number = 0;
        const char *wrong = next_term(q->kind, &value, &t);
        if (wrong != NULL) {
            return wrong;
        }
        if (t.unit->amount >= unit_before) {
            return "has a larger unit after a smaller one";
        }
        single = single && value.len == 0;
        if (t.fraction.len > 0 && !single) {
            return "has a fraction beside another unit";
        }
        /* A number that does not fit an int64_t is above every maximum. */
        if (*total >= 0 &&
            slice_to_range(t.whole, 0, (q->max - *total) / t.unit->amount, &number)) {
            *total += number * t.unit->amount;
        } else {
            *total = -1;
        }
        unit_before = t.unit->amount;
    } while (value.len > 0);
    if (t.fraction.len > 0 && *total >= 0 && *total <= INT64_MAX - t.unit->amount &&
        !add_fraction(&t, total)) {
        return "has too fine a fraction";
    }
    return NULL;
}

bool quantity_read(const struct quantity *q, struct slice value, int64_t *out, struct buf *why)
{
    char min[QUANTITY_TEXT_SIZE];
    char max[QUANTITY_TEXT_SIZE];
    int64_t total = 0;
    value = value.len > 0 ? value : SLICE("");
    const char *wrong = add_terms(q, value, &total);
    (void)quantity_text(q->kind, q->min, min);
    (void)quantity_text(q->kind, q->max, max);
    if (wrong != NULL) {
        buf_printf(why, "%s: write a number and its unit (%s), such as %s%s, from %s to %s", wrong,
                   unit_names[q->kind], q->example != NULL ? q->example : max, also[q->kind], min,
                   max);
        return false;
    }
    if (total < q->min || total > q->max) {
        buf_printf(why, "must be from %s to %s", min, max);
        return false;
    }
    *out = total;
    return true;
}
