#include "common/ledger/circuit.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/buf.h"

#define TRIES_MAX 20               /* of one update, against conflicts */
#define UNTRIED_APART_MS 2000      /* probes of a widened circuit by those that have not failed */
#define NUMBER_MAX (INT64_MAX / 4) /* sums and differences of times do not overflow */
#define CLOCK_STEP_MS 60000 /* a larger step back means that a clock was set, not host skew */

/* --- the rule --- */

/* Where the clock that wrote it was ahead, its times say nothing: the next probe may begin now. */
static struct circuit as_of(const struct circuit *c, int64_t now_ms)
{
    struct circuit out = *c;
    if (c->changed_ms - now_ms > CLOCK_STEP_MS) {
        out.since_ms = c->since_ms < now_ms ? c->since_ms : now_ms;
        out.changed_ms = now_ms;
        out.open_until_ms = now_ms;
        out.probe_until_ms = 0;
    }
    return out;
}

bool circuit_is_open(const struct circuit *c, int64_t now_ms)
{
    return c->since_ms > 0 && now_ms - c->changed_ms < CIRCUIT_LIFE_MS;
}

int64_t circuit_wait_ms(const struct circuit *c, int64_t now_ms)
{
    struct circuit now = as_of(c, now_ms);
    int64_t until_ms =
        now.open_until_ms > now.probe_until_ms ? now.open_until_ms : now.probe_until_ms;
    return circuit_is_open(c, now_ms) && until_ms > now_ms ? until_ms - now_ms : 0;
}

int64_t circuit_untried_wait_ms(const struct circuit *c, int64_t now_ms)
{
    int64_t wait_ms = circuit_wait_ms(c, now_ms);
    int64_t early_ms = c->changed_ms + UNTRIED_APART_MS;
    int64_t until_ms = early_ms > c->probe_until_ms ? early_ms : c->probe_until_ms;
    if (c->widened == 0 || c->stated != 0 || until_ms - now_ms > wait_ms) {
        return wait_ms;
    }
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

enum circuit_change circuit_begin_probe(struct circuit *c, const char *holder, bool untried,
                                        int64_t until_ms, int64_t now_ms)
{
    int64_t wait_ms = untried ? circuit_untried_wait_ms(c, now_ms) : circuit_wait_ms(c, now_ms);
    if (!circuit_is_open(c, now_ms) || wait_ms > 0) {
        return CIRCUIT_UNCHANGED;
    }
    *c = as_of(c, now_ms);
    c->probe_until_ms = until_ms;
    c->changed_ms = now_ms;
    (void)snprintf(c->probe, sizeof c->probe, "%s", holder);
    return CIRCUIT_COUNTED;
}

static bool holds_probe(const struct circuit *c, const char *holder)
{
    return holder[0] != '\0' && strcmp(c->probe, holder) == 0;
}

enum circuit_change circuit_drop_probe(struct circuit *c, const char *holder)
{
    if (!holds_probe(c, holder)) {
        return CIRCUIT_UNCHANGED;
    }
    c->probe_until_ms = 0;
    c->probe[0] = '\0';
    return CIRCUIT_COUNTED;
}

static int64_t next_pause_ms(const struct circuit *c, const struct circuit_opening *o)
{
    int attempt = c->opens < 60 ? (int)c->opens : 60;
    return o->wait_ms > 0 ? o->wait_ms
                          : backoff_full_jitter_ms(o->pause_ms, o->max_pause_ms, attempt);
}

static void keep_why(struct circuit *c, const struct circuit_opening *o)
{
    slice_shorten(o->why, c->why, sizeof c->why);
    for (char *p = c->why; *p != '\0'; p++) {
        *p = (unsigned char)*p < ' ' ? ' ' : *p;
    }
}

enum circuit_change circuit_open(struct circuit *c, const struct circuit_opening *o,
                                 const char *holder, int64_t now_ms)
{
    *c = as_of(c, now_ms);
    bool was_open = circuit_is_open(c, now_ms);
    bool probed = was_open && circuit_drop_probe(c, holder) != CIRCUIT_UNCHANGED;
    if (was_open && !probed) {
        if (o->wait_ms == 0 || now_ms + o->wait_ms <= c->open_until_ms) {
            return CIRCUIT_UNCHANGED;
        }
        c->open_until_ms = now_ms + o->wait_ms;
        c->stated = 1;
        c->changed_ms = now_ms;
        keep_why(c, o);
        return CIRCUIT_COUNTED;
    }
    if (!was_open) {
        *c = (struct circuit){.since_ms = now_ms};
    }
    c->opens++;
    c->changed_ms = now_ms;
    c->open_until_ms = now_ms + next_pause_ms(c, o);
    c->stated = o->wait_ms > 0 ? 1 : 0;
    c->needs_launch = o->needs_launch ? 1 : 0;
    c->widened = o->widened ? 1 : 0;
    keep_why(c, o);
    return was_open ? CIRCUIT_REOPENED : CIRCUIT_OPENED;
}

enum circuit_change circuit_hasten(struct circuit *c, int64_t now_ms)
{
    if (!circuit_is_open(c, now_ms) || c->open_until_ms <= now_ms) {
        return CIRCUIT_UNCHANGED;
    }
    c->open_until_ms = now_ms;
    c->changed_ms = now_ms;
    return CIRCUIT_COUNTED;
}

enum circuit_change circuit_close(struct circuit *c, int64_t now_ms)
{
    bool was_open = circuit_is_open(c, now_ms);
    bool blank = c->since_ms == 0;
    *c = (struct circuit){0};
    if (blank) {
        return CIRCUIT_UNCHANGED;
    }
    return was_open ? CIRCUIT_CLOSED : CIRCUIT_COUNTED;
}

/* --- the record: "name=number … probe=holder why=the rest" --- */

#define NUMBER(member)                                                                             \
    {                                                                                              \
#member, offsetof(struct circuit, member)                                                  \
    }
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {NUMBER(since_ms), NUMBER(changed_ms),   NUMBER(opens),   NUMBER(open_until_ms),
               NUMBER(stated),   NUMBER(needs_launch), NUMBER(widened), NUMBER(probe_until_ms)};

void circuit_encode(const struct circuit *c, char out[LEDGER_CELL_VALUE])
{
    struct buf text;
    buf_init(&text, LEDGER_CELL_VALUE);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        int64_t value;
        memcpy(&value, (const char *)c + numbers[i].offset, sizeof value);
        buf_printf(&text, "%s=%lld ", numbers[i].name, (long long)value);
    }
    buf_printf(&text, "probe=%s why=%s", c->probe, c->why);
    ASSERT(slice_to_cstr(buf_slice(&text), out, LEDGER_CELL_VALUE));
    buf_fini(&text);
}

static void decode_field(struct slice name, struct slice value, struct circuit *out)
{
    int64_t number;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (slice_eq_cstr(name, numbers[i].name) && slice_to_int64(value, &number) && number >= 0 &&
            number <= NUMBER_MAX) {
            memcpy((char *)out + numbers[i].offset, &number, sizeof number);
        }
    }
    if (slice_eq_cstr(name, "probe") && !slice_to_cstr(value, out->probe, sizeof out->probe)) {
        out->probe_until_ms = 0; /* no holder */
    }
}

void circuit_decode(const char *value, struct circuit *out)
{
    struct slice rest = slice_of(value);
    *out = (struct circuit){0};
    while (rest.len > 0) {
        struct slice field;
        struct slice name;
        struct slice text;
        if (slice_starts_with(rest, SLICE("why="))) {
            rest.ptr += strlen("why=");
            rest.len -= strlen("why=");
            (void)snprintf(out->why, sizeof out->why, "%.*s", SLICE_ARG(rest));
            return;
        }
        (void)slice_cut(rest, ' ', &field, &rest);
        if (slice_cut(field, '=', &name, &text)) {
            decode_field(name, text, out);
        }
    }
}

int circuit_load(struct ledger *l, const char *subject, struct circuit *out, struct err *e)
{
    struct ledger_cell cell;
    if (ledger_cell_get(l, CIRCUIT_KIND, subject, &cell, e) != 0) {
        return -1;
    }
    circuit_decode(cell.value, out);
    return 0;
}

int circuit_update(struct ledger *l, const char *subject, circuit_step_fn *step, void *arg,
                   struct circuit *out, enum circuit_change *change, struct err *e)
{
    for (int try = 1;; try++) {
        struct ledger_cell cell;
        struct circuit c;
        char value[LEDGER_CELL_VALUE];
        if (ledger_cell_get(l, CIRCUIT_KIND, subject, &cell, e) != 0) {
            return -1;
        }
        circuit_decode(cell.value, &c);
        enum circuit_change did = step(&c, arg);
        circuit_encode(&c, value);
        if (did == CIRCUIT_UNCHANGED ||
            ledger_cell_put(l, CIRCUIT_KIND, subject, c.since_ms > 0 ? value : NULL, cell.version,
                            NULL, e) == 0) {
            *out = c;
            *change = did;
            return 0;
        }
        if (e->class != ERR_CONFLICT || try == TRIES_MAX) {
            return -1;
        }
    }
}

int circuits_tidy(struct ledger *l, int64_t now_ms, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int rc = 0;
    if (ledger_cell_list(l, CIRCUIT_KIND, &cells, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct circuit c;
        circuit_decode(cells[i].value, &c);
        if (!circuit_is_open(&c, now_ms) &&
            ledger_cell_put(l, CIRCUIT_KIND, cells[i].name, NULL, cells[i].version, NULL, e) != 0) {
            rc = e->class == ERR_CONFLICT ? 0 : -1;
        }
    }
    free(cells);
    return rc;
}
