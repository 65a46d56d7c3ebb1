#include "common/ledger/programs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"

#define KIND "program"
#define FORMAT_KIND "format"
#define FORMAT_NAME "record"
#define TRIES_MAX 8 /* of a compare-and-set, against conflicts */

/* Sets the value (NULL: removes the cell) unconditionally. *version: of the cell, if known. */
static int overwrite(struct ledger *l, const char *id, const char *value, int64_t *version,
                     struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell = {.version = *version};
        if (cell.version == 0 && ledger_cell_get(l, KIND, id, &cell, e) != 0) {
            return -1;
        }
        if (ledger_cell_put(l, KIND, id, value, cell.version, version, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
        *version = 0;
    }
    return -1;
}

/* A heartbeat is words: "" is written "-", and a space within a word "_". */
static void append_word(struct buf *out, const char *text)
{
    buf_append_cstr(out, text[0] != '\0' ? " " : " -");
    for (const char *p = text; *p != '\0'; p++) {
        buf_append_byte(out, *p == ' ' ? '_' : *p);
    }
}

int ledger_program_beat(struct ledger *l, const struct ledger_program *p, int64_t *version,
                        struct err *e)
{
    char number[24];
    struct buf value;
    (void)snprintf(number, sizeof number, "%" PRId64, p->interval_ms);
    const char *const words[] = {
        p->version,   number,     p->is_host ? "host" : "", p->waiting ? "waiting" : "",
        p->host_name, p->boot_id, p->pid_namespace,         p->classes};
    buf_init(&value, LEDGER_CELL_VALUE);
    buf_printf(&value, "%" PRId64 " %" PRId64 " %" PRId64, clock_wall_ms(), p->oldest_format,
               p->newest_format);
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        append_word(&value, words[i]);
    }
    int rc = overwrite(l, p->id, value.data, version, e);
    buf_fini(&value);
    return rc;
}

int ledger_program_leave(struct ledger *l, const char *id, struct err *e)
{
    int64_t unknown = 0;
    return overwrite(l, id, NULL, &unknown, e);
}

static void read_word(struct slice *rest, char *out, size_t size)
{
    struct slice word;
    (void)slice_cut(*rest, ' ', &word, rest);
    if (slice_eq_cstr(word, "-") || !slice_to_cstr(word, out, size)) {
        out[0] = '\0';
    }
}

/* An older version wrote none of these. A newer one may have appended more. */
static void read_where(struct slice rest, struct ledger_program *out)
{
    char word[16];
    read_word(&rest, word, sizeof word);
    if (!slice_to_int64(slice_of(word), &out->interval_ms) || out->interval_ms < 0) {
        out->interval_ms = 0;
    }
    read_word(&rest, word, sizeof word);
    out->is_host = strcmp(word, "host") == 0;
    read_word(&rest, word, sizeof word);
    out->waiting = strcmp(word, "waiting") == 0;
    read_word(&rest, out->host_name, sizeof out->host_name);
    read_word(&rest, out->boot_id, sizeof out->boot_id);
    read_word(&rest, out->pid_namespace, sizeof out->pid_namespace);
    read_word(&rest, out->classes, sizeof out->classes);
}

static void read_id(struct ledger_program *p)
{
    struct slice program;
    struct slice host;
    struct slice rest;
    if (!slice_cut(slice_of(p->id), '/', &program, &rest) || !slice_cut(rest, '/', &host, &rest) ||
        !slice_to_cstr(program, p->program, sizeof p->program) ||
        !slice_to_cstr(host, p->host, sizeof p->host)) {
        p->program[0] = '\0';
        p->host[0] = '\0';
    }
}

/* False if it is malformed. */
static bool read_heartbeat(const struct ledger_cell *cell, struct ledger_program *out)
{
    struct slice word;
    struct slice rest = slice_of(cell->value);
    int64_t *const numbers[] = {&out->at_ms, &out->oldest_format, &out->newest_format};
    *out = (struct ledger_program){.at_ms = 0};
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (!slice_cut(rest, ' ', &word, &rest) || !slice_to_int64(word, numbers[i])) {
            return false;
        }
    }
    read_word(&rest, out->version, sizeof out->version);
    for (char *p = out->version; *p != '\0'; p++) {
        *p = *p == '_' ? ' ' : *p;
    }
    read_where(rest, out);
    if (!slice_to_cstr(slice_of(cell->name), out->id, sizeof out->id)) {
        return false;
    }
    read_id(out);
    return true;
}

/* An older version wrote no interval. */
static int64_t valid_ms(const struct ledger_program *p)
{
    bool few =
        p->interval_ms > 0 && p->interval_ms < LEDGER_HEARTBEAT_VALID_MS / LEDGER_HEARTBEATS_VALID;
    return few ? p->interval_ms * LEDGER_HEARTBEATS_VALID : LEDGER_HEARTBEAT_VALID_MS;
}

/* A heartbeat too far in the future expires too: its writer's clock was ahead. */
static bool is_expired(const struct ledger_program *p)
{
    int64_t age_ms = clock_wall_ms() - p->at_ms;
    return age_ms > valid_ms(p) || age_ms < -valid_ms(p);
}

int ledger_program_list(struct ledger *l, struct ledger_program **out, size_t *n, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    size_t kept = 0;
    if (ledger_cell_list(l, KIND, &cells, &count, e) != 0) {
        return -1;
    }
    struct ledger_program *list = calloc(count + 1, sizeof *list);
    ASSERT(list != NULL);
    for (size_t i = 0; i < count; i++) {
        if (read_heartbeat(&cells[i], &list[kept]) && !is_expired(&list[kept])) {
            kept++;
        }
    }
    free(cells);
    *out = list;
    *n = kept;
    return 0;
}

/* By compare-and-set, so that a heartbeat renewed meanwhile stays. */
static int remove_if_expired(struct ledger *l, const struct ledger_cell *cell, struct err *e)
{
    struct ledger_program p;
    if (read_heartbeat(cell, &p) && !is_expired(&p)) {
        return 0;
    }
    if (ledger_cell_put(l, KIND, cell->name, NULL, cell->version, NULL, e) != 0) {
        return e->class == ERR_CONFLICT ? 0 : -1;
    }
    return 0;
}

bool ledger_program_has_class(const struct ledger_program *p, const char *class_name)
{
    struct slice rest = slice_of(p->classes);
    struct slice name;
    while (rest.len > 0) {
        (void)slice_cut(rest, ',', &name, &rest);
        if (slice_eq_cstr(name, class_name) || slice_eq_cstr(name, "...")) {
            return true;
        }
    }
    return false;
}

int ledger_program_tidy(struct ledger *l, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t count = 0;
    if (ledger_cell_list(l, KIND, &cells, &count, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = remove_if_expired(l, &cells[i], e);
    }
    free(cells);
    return rc;
}

/* --- the format --- */
static int load_format(struct ledger *l, struct ledger_cell *cell, int64_t *out, struct err *e)
{
    int64_t format = 1;
    if (ledger_cell_get(l, FORMAT_KIND, FORMAT_NAME, cell, e) != 0) {
        return -1;
    }
    if (cell->version != 0 && (!slice_to_int64(slice_of(cell->value), &format) || format < 1)) {
        return err_set(e, ERR_PERMANENT, 0, "the ledger's record format \"%.40s\" is not a number",
                       cell->value);
    }
    *out = format;
    return 0;
}

int ledger_format_get(struct ledger *l, int64_t *out, struct err *e)
{
    struct ledger_cell cell;
    return load_format(l, &cell, out, e);
}

int ledger_format_raise(struct ledger *l, int64_t format, struct err *e)
{
    char value[24];
    (void)snprintf(value, sizeof value, "%" PRId64, format);
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        int64_t present;
        if (load_format(l, &cell, &present, e) != 0) {
            return -1;
        }
        if (present >= format ||
            ledger_cell_put(l, FORMAT_KIND, FORMAT_NAME, value, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}
