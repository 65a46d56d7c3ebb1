#include "common/ledger/circuit.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"

#define TRIES_MAX 20 /* of one update, against conflicts */

/* --- the rule --- */

bool circuit_is_open(const struct circuit *c)
{
    return c->open_until_ms > 0;
}

int64_t circuit_wait_ms(const struct circuit *c, int64_t now_ms)
{
    int64_t until_ms = c->open_until_ms > c->probe_until_ms ? c->open_until_ms : c->probe_until_ms;
    return circuit_is_open(c) && until_ms > now_ms ? until_ms - now_ms : 0;
}

enum circuit_change circuit_begin_probe(struct circuit *c, const char *holder, int64_t until_ms,
                                        int64_t now_ms)
{
    if (!circuit_is_open(c) || circuit_wait_ms(c, now_ms) > 0) {
        return CIRCUIT_UNCHANGED;
    }
    c->probe_until_ms = until_ms;
    (void)snprintf(c->probe, sizeof c->probe, "%s", holder);
    return CIRCUIT_COUNTED;
}

static bool holds_probe(const struct circuit *c, const char *holder)
{
    return holder[0] != '\0' && strcmp(c->probe, holder) == 0;
}

enum circuit_change circuit_extend_probe(struct circuit *c, const char *holder, int64_t until_ms)
{
    if (!holds_probe(c, holder)) {
        return CIRCUIT_UNCHANGED;
    }
    c->probe_until_ms = until_ms;
    return CIRCUIT_COUNTED;
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

static int64_t pause_after_opens(const struct circuit_limits *limits, int64_t opens)
{
    int64_t pause_ms = limits->pause_ms;
    for (int64_t i = 1; i < opens && pause_ms < limits->max_pause_ms; i++) {
        pause_ms *= 2;
    }
    return pause_ms < limits->max_pause_ms ? pause_ms : limits->max_pause_ms;
}

static void open_circuit(struct circuit *c, const struct circuit_limits *limits, int64_t now_ms)
{
    c->opens++;
    c->open_until_ms = now_ms + pause_after_opens(limits, c->opens);
}

enum circuit_change circuit_refused(struct circuit *c, const struct circuit_limits *limits,
                                    int64_t job_id, const char *holder, int64_t now_ms)
{
    if (limits->failures == 0) {
        return CIRCUIT_UNCHANGED;
    }
    if (circuit_drop_probe(c, holder) != CIRCUIT_UNCHANGED) {
        open_circuit(c, limits, now_ms);
        return CIRCUIT_REOPENED;
    }
    if (circuit_is_open(c) || (c->failures > 0 && c->last_job == job_id)) {
        return CIRCUIT_UNCHANGED;
    }
    c->failures++;
    c->last_job = job_id;
    if (c->failures < limits->failures) {
        return CIRCUIT_COUNTED;
    }
    open_circuit(c, limits, now_ms);
    return CIRCUIT_OPENED;
}

enum circuit_change circuit_succeeded(struct circuit *c)
{
    bool was_open = circuit_is_open(c);
    bool clean = c->failures == 0 && c->opens == 0 && !was_open;
    *c = (struct circuit){0};
    if (clean) {
        return CIRCUIT_UNCHANGED;
    }
    return was_open ? CIRCUIT_CLOSED : CIRCUIT_COUNTED;
}

/* --- the record --- */

#define NUMBER(member)                                                                             \
    {                                                                                              \
#member, offsetof(struct circuit, member)                                                  \
    }
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {NUMBER(failures), NUMBER(last_job), NUMBER(opens), NUMBER(open_until_ms),
               NUMBER(probe_until_ms)};

void circuit_encode(const struct circuit *c, char out[LEDGER_CELL_VALUE])
{
    struct buf text;
    buf_init(&text, LEDGER_CELL_VALUE);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        int64_t value;
        memcpy(&value, (const char *)c + numbers[i].offset, sizeof value);
        buf_printf(&text, "%s=%lld ", numbers[i].name, (long long)value);
    }
    buf_printf(&text, "probe=%s", c->probe);
    ASSERT(slice_to_cstr(buf_slice(&text), out, LEDGER_CELL_VALUE));
    buf_fini(&text);
}

static void decode_field(struct slice name, struct slice value, struct circuit *out)
{
    int64_t number;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (slice_eq_cstr(name, numbers[i].name) && slice_to_int64(value, &number)) {
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
        (void)slice_cut(rest, ' ', &field, &rest);
        if (slice_cut(field, '=', &name, &text)) {
            decode_field(name, text, out);
        }
    }
}

void circuit_subject_of_class(const char *class_name, char out[LEDGER_CELL_NAME])
{
    int n = snprintf(out, LEDGER_CELL_NAME, "class:%s", class_name);
    ASSERT(n > 0 && n < LEDGER_CELL_NAME);
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

static bool is_blank(const struct circuit *c)
{
    return c->failures == 0 && c->opens == 0 && !circuit_is_open(c);
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
            ledger_cell_put(l, CIRCUIT_KIND, subject, is_blank(&c) ? NULL : value, cell.version,
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
