#include "reaper/pull/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/kinds.h"

void records_fini(struct records *r)
{
    free(r->list);
    r->list = NULL;
    r->count = 0;
}

static void remember_record(struct records *r, const char *name, int64_t version, int64_t until_ms)
{
    struct record *list = reallocarray(r->list, r->count + 1, sizeof *list);
    ASSERT(list != NULL);
    r->list = list;
    list[r->count] = (struct record){.version = version, .until_ms = until_ms};
    (void)snprintf(list[r->count].name, sizeof list[r->count].name, "%s", name);
    r->count++;
}

/* "<until> <hash> <hash> …", the hashes in hexadecimal. What cannot be read was not written here, and is
 * passed over: at worst a delivery is handled again. */
static int64_t read_record(struct slice value, struct seen *seen)
{
    struct slice word;
    int64_t until_ms = 0;
    (void)slice_cut(value, ' ', &word, &value);
    if (!slice_to_int64(word, &until_ms)) {
        return 0;
    }
    while (value.len > 0) {
        char text[24];
        char *end = text;
        (void)slice_cut(value, ' ', &word, &value);
        if (slice_to_cstr(word, text, sizeof text)) {
            uint64_t guid = strtoull(text, &end, 16);
            if (end != text && *end == '\0') {
                seen_handle(seen, guid, until_ms);
            }
        }
    }
    return until_ms;
}

static bool is_of_log(const struct records *r, const char *name)
{
    size_t n = strlen(r->log);
    return strncmp(name, r->log, n) == 0 && name[n] == '/';
}

int records_load(struct records *r, struct seen *seen, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    records_fini(r);
    if (ledger_cell_list(r->ledger, LEDGER_KIND_PULLED, &cells, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        bool ours = is_of_log(r, cells[i].name);
        int64_t until_ms = ours ? read_record(slice_of(cells[i].value), seen) : 0;
        remember_record(r, cells[i].name, cells[i].version, until_ms);
    }
    free(cells);
    return 0;
}

int records_add(struct records *r, const struct seen_handled *batch, size_t n, struct err *e)
{
    struct record made = {.until_ms = 0};
    struct buf value;
    ASSERT(n >= 1 && n <= RECORDS_BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        made.until_ms =
            batch[i].delivered_ms > made.until_ms ? batch[i].delivered_ms : made.until_ms;
    }
    buf_init(&value, LEDGER_CELL_VALUE);
    buf_printf(&value, "%" PRId64, made.until_ms);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&value, " %" PRIx64, batch[i].guid);
    }
    ASSERT(!value.failed);
    (void)snprintf(made.name, sizeof made.name, "%s/%" PRId64 "-%" PRId64, r->log, r->fence,
                   r->next);
    int rc =
        ledger_cell_put(r->ledger, LEDGER_KIND_PULLED, made.name, value.data, 0, &made.version, e);
    buf_fini(&value);
    if (rc != 0) {
        r->next += e->class == ERR_CONFLICT; /* an unclear answer: it was written after all */
        return -1;
    }
    r->next++;
    remember_record(r, made.name, made.version, made.until_ms);
    return 0;
}

int records_trim(struct records *r, int64_t before_ms, struct err *e)
{
    size_t kept = 0;
    int failed = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct record *one = &r->list[i];
        if (failed == 0 && one->until_ms < before_ms) {
            failed = ledger_cell_put(r->ledger, LEDGER_KIND_PULLED, one->name, NULL, one->version,
                                     NULL, e);
            if (failed != 0 && e->class == ERR_CONFLICT) {
                failed = 0; /* gone already */
            }
            if (failed == 0) {
                continue;
            }
        }
        r->list[kept++] = *one;
    }
    r->count = kept;
    return failed;
}
