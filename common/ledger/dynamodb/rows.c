#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/columns.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* Rows as items. What is empty or zero is left out. */

#define EXPIRES_AFTER_S (400LL * 24 * 3600) /* what tidying would have removed long ago */

/* --- columns --- */
static void dynamo_pack_row(const struct ledger_columns *columns, const void *row, struct buf *out)
{
    for (size_t i = 0; i < columns->count; i++) {
        const struct ledger_column *c = &columns->at[i];
        if (c->kind == LEDGER_TEXT) {
            ledger_dynamo_put_text(out, c->attribute, ledger_column_text(c, row));
        } else {
            ledger_dynamo_put_number(out, c->attribute, ledger_column_number(c, row));
        }
    }
}

static bool dynamo_unpack_row(const struct ledger_columns *columns, const json_t *item, void *row)
{
    for (size_t i = 0; i < columns->count; i++) {
        const struct ledger_column *c = &columns->at[i];
        if (c->kind == LEDGER_TEXT) {
            ledger_dynamo_read_text(item, c->attribute, ledger_column_space(c, row), c->size);
        } else if (!ledger_column_set(columns, c, row,
                                      ledger_dynamo_read_number(item, c->attribute))) {
            return false;
        }
    }
    return true;
}

/* --- what a newer version put into an item: it is put back with it --- */
static bool is_known(const struct ledger_columns *columns, const char *attribute)
{
    static const char *const beside[] = {"pk",      "sk",  "waits_logged", "order",
                                         "version", "vms", "lines",        "lines_ever",
                                         "ix",      "age", "expires"};
    for (size_t i = 0; i < columns->count; i++) {
        if (strcmp(columns->at[i].attribute, attribute) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        if (strcmp(beside[i], attribute) == 0) {
            return true;
        }
    }
    return false;
}

/* Returns false if it is more than a row can carry. */
static bool unpack_more(const struct ledger_columns *columns, json_t *item, char *out, size_t size)
{
    struct buf text;
    const char *name;
    json_t *value;
    buf_init(&text, size - 1);
    json_object_foreach(item, name, value)
    {
        char *json = is_known(columns, name) ? NULL : json_dumps(value, JSON_COMPACT);
        if (json != NULL) {
            buf_append_byte(&text, ',');
            buf_append_json(&text, slice_of(name));
            buf_printf(&text, ":%s", json);
            free(json);
        }
    }
    bool fits = !text.failed && slice_to_cstr(buf_slice(&text), out, size);
    buf_fini(&text);
    return fits;
}

/* --- lines: order, at, vm, what, detail; US between them, RS behind each --- */
#define BETWEEN '\x1f'
#define BEHIND '\x1e'
#define LINE_FIELDS 5

/* No control character of a peer's text can end a field; a newline is between the lines of a console. */
static void put_field(struct buf *out, const char *text, char end)
{
    for (; *text != '\0'; text++) {
        bool control = (unsigned char)*text < ' ' && *text != '\n';
        buf_append_byte(out, control ? ' ' : *text);
    }
    buf_append_byte(out, end);
}

void ledger_dynamo_pack_lines(const struct ledger_dynamo_line *lines, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%" PRId64 "%c%" PRId64 "%c", lines[i].order, BETWEEN, lines[i].at_ms,
                   BETWEEN);
        put_field(out, lines[i].vm, BETWEEN);
        put_field(out, lines[i].what, BETWEEN);
        put_field(out, lines[i].detail, BEHIND);
    }
}

static void dynamo_copy_text(struct slice s, char *out, size_t size)
{
    s.len = s.len < size ? s.len : size - 1;
    if (!slice_to_cstr(s, out, size)) {
        out[0] = '\0';
    }
}

size_t ledger_dynamo_unpack_lines(struct slice packed, struct ledger_dynamo_line *out)
{
    struct slice line;
    size_t n = 0;
    while (n < LEDGER_DYNAMO_TAIL && slice_cut(packed, BEHIND, &line, &packed)) {
        struct slice field[LINE_FIELDS];
        for (size_t i = 0; i < LINE_FIELDS; i++) {
            (void)slice_cut(line, BETWEEN, &field[i], &line);
        }
        out[n] = (struct ledger_dynamo_line){.order = 0};
        if (!slice_to_int64(field[0], &out[n].order) || !slice_to_int64(field[1], &out[n].at_ms)) {
            continue;
        }
        dynamo_copy_text(field[2], out[n].vm, sizeof out[n].vm);
        dynamo_copy_text(field[3], out[n].what, sizeof out[n].what);
        dynamo_copy_text(field[4], out[n].detail, sizeof out[n].detail);
        n++;
    }
    return n;
}

static void pack_tail(const struct ledger_dynamo_lines *lines, struct buf *out)
{
    struct buf text;
    buf_init(&text, sizeof lines->tail * 2);
    ledger_dynamo_pack_lines(lines->tail, lines->n, &text);
    ledger_dynamo_put_text(out, "lines", text.data != NULL ? text.data : "");
    ledger_dynamo_put_number(out, "lines_ever", lines->count);
    out->failed = out->failed || text.failed;
    buf_fini(&text);
}

static void unpack_tail(const json_t *item, struct ledger_dynamo_lines *out)
{
    out->count = ledger_dynamo_read_number(item, "lines_ever");
    out->n = ledger_dynamo_unpack_lines(ledger_dynamo_read_slice(item, "lines"), out->tail);
}

/* --- what finds a row by its age --- */
static void put_index(const struct ledger_dynamo *l, const char *ix, const char *age,
                      struct buf *out)
{
    char text[320];
    (void)snprintf(text, sizeof text, "%s:%s", l->url.prefix, ix);
    ledger_dynamo_put_text(out, "ix", text);
    ledger_dynamo_put_text(out, "age", age);
}

void ledger_dynamo_age(int64_t at_ms, int64_t job_id, char out[LEDGER_DYNAMO_AGE])
{
    (void)snprintf(out, LEDGER_DYNAMO_AGE, "%015" PRId64 ":%020" PRId64, at_ms, job_id);
}

static void put_job_age(const struct ledger_dynamo *l, const char *ix, int64_t at_ms,
                        const struct ledger_job *job, struct buf *out)
{
    char age[LEDGER_DYNAMO_AGE];
    ledger_dynamo_age(at_ms, job->facts.id, age);
    put_index(l, ix, age, out);
}

static void put_expiry(int64_t ended_ms, struct buf *out)
{
    ledger_dynamo_put_number(out, "expires", ended_ms / 1000 + EXPIRES_AFTER_S);
}

static void put_job_index(const struct ledger_dynamo *l, const struct ledger_job *job,
                          struct buf *out)
{
    char ix[208];
    switch (job->state) {
    case JOB_SEEN:
        put_job_age(l, "seen", job->updated_ms, job, out);
        break;
    case JOB_WAITING:
        (void)snprintf(ix, sizeof ix, "waiting:%s|%s", job->scope, job->facts.class_name);
        put_job_age(l, ix, job->waiting_ms, job, out);
        break;
    case JOB_RUNNING:
        put_job_age(l, "running", job->updated_ms, job, out);
        break;
    case JOB_DONE:
    case JOB_CANCELLED:
        put_job_age(l, "ended", job->ended_ms, job, out);
        put_expiry(job->ended_ms, out);
        break;
    }
}

/* --- jobs --- */
static void pack_vms(const struct ledger_dynamo_job *row, struct buf *out)
{
    struct buf text;
    buf_init(&text, sizeof row->vms * 2);
    for (size_t i = 0; i < row->vm_count; i++) {
        buf_printf(&text, "%s%s", i > 0 ? " " : "", row->vms[i]);
    }
    ledger_dynamo_put_text(out, "vms", text.data != NULL ? text.data : "");
    buf_fini(&text);
}

static void unpack_vms(struct slice text, struct ledger_dynamo_job *out)
{
    struct slice name;
    while (text.len > 0 && out->vm_count < LEDGER_DYNAMO_JOB_VMS) {
        (void)slice_cut(text, ' ', &name, &text);
        dynamo_copy_text(name, out->vms[out->vm_count++], sizeof out->vms[0]);
    }
}

void ledger_dynamo_pack_job(const struct ledger_dynamo *l, const struct ledger_dynamo_job *row,
                            struct buf *attributes)
{
    dynamo_pack_row(&ledger_job_columns, &row->job, attributes);
    ledger_dynamo_put_number(attributes, "waits_logged", row->waits_logged);
    ledger_dynamo_put_number(attributes, "order", row->order);
    ledger_dynamo_put_text(attributes, "version", row->version);
    pack_vms(row, attributes);
    pack_tail(&row->lines, attributes);
    put_job_index(l, &row->job, attributes);
    buf_append_cstr(attributes, row->more);
}

int ledger_dynamo_unpack_job(json_t *item, struct ledger_dynamo_job *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (item == NULL) {
        return 0;
    }
    out->known = true;
    if (!dynamo_unpack_row(&ledger_job_columns, item, &out->job) ||
        !unpack_more(&ledger_job_columns, item, out->more, sizeof out->more)) {
        return err_set(e, ERR_PERMANENT, 0, "a job's row in DynamoDB cannot be read");
    }
    out->waits_logged = ledger_dynamo_read_number(item, "waits_logged");
    out->order = ledger_dynamo_read_number(item, "order");
    ledger_dynamo_read_text(item, "version", out->version, sizeof out->version);
    unpack_vms(ledger_dynamo_read_slice(item, "vms"), out);
    unpack_tail(item, &out->lines);
    return 0;
}

/* --- VMs --- */
static void put_gone_vm_age(const struct ledger_dynamo *l, const struct ledger_vm *vm,
                            struct buf *out)
{
    char age[LEDGER_DYNAMO_AGE];
    (void)snprintf(age, sizeof age, "%015" PRId64 ":%s", vm->gone_ms, vm->name);
    put_index(l, "gone", age, out);
}

void ledger_dynamo_pack_vm(const struct ledger_dynamo *l, const struct ledger_dynamo_vm *row,
                           struct buf *attributes)
{
    dynamo_pack_row(&ledger_vm_columns, &row->vm, attributes);
    ledger_dynamo_put_number(attributes, "order", row->order);
    ledger_dynamo_put_text(attributes, "version", row->version);
    pack_tail(&row->lines, attributes);
    buf_append_cstr(attributes, row->more);
    if (row->vm.state == VM_ENDING) {
        put_index(l, "ending", row->vm.name, attributes);
    }
    if (row->vm.state == VM_GONE) {
        put_gone_vm_age(l, &row->vm, attributes);
        put_expiry(row->vm.gone_ms, attributes);
    }
}

int ledger_dynamo_unpack_vm(json_t *item, struct ledger_dynamo_vm *out, struct err *e)
{
    memset(out, 0, sizeof *out);
    if (item == NULL) {
        return 0;
    }
    out->known = true;
    if (!dynamo_unpack_row(&ledger_vm_columns, item, &out->vm) ||
        out->vm.name[0] == '\0' || /* its key is made from it */
        !unpack_more(&ledger_vm_columns, item, out->more, sizeof out->more)) {
        return err_set(e, ERR_PERMANENT, 0, "a VM's row in DynamoDB cannot be read");
    }
    out->order = ledger_dynamo_read_number(item, "order");
    ledger_dynamo_read_text(item, "version", out->version, sizeof out->version);
    unpack_tail(item, &out->lines);
    return 0;
}

/* --- reading one --- */
int ledger_dynamo_find_job(struct ledger_dynamo *l, int64_t id, struct ledger_dynamo_job *out,
                           struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_job_key(l, id);
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(l, &key, 1, &got, e) != 0) {
        return -1;
    }
    int rc = ledger_dynamo_unpack_job(got.items[0], out, e);
    ledger_dynamo_got_fini(&got);
    return rc;
}

/* The keys of one request are not read atomically: a VM that becomes gone meanwhile may be found in
 * neither place. It moves in one direction only, so a later read of the target finds it. */
static int find_vm_among(struct ledger_dynamo *l, const char *name, json_t *const places[2],
                         struct ledger_dynamo_vm *out, struct err *e)
{
    struct ledger_dynamo_key gone = ledger_dynamo_gone_key(l, name);
    struct ledger_dynamo_got got;
    json_t *item = places[1] != NULL ? places[1] : places[0];
    if (item != NULL) {
        return ledger_dynamo_unpack_vm(item, out, e);
    }
    if (ledger_dynamo_get(l, &gone, 1, &got, e) != 0) {
        return -1;
    }
    int rc = ledger_dynamo_unpack_vm(got.items[0], out, e);
    ledger_dynamo_got_fini(&got);
    return rc;
}

int ledger_dynamo_find_vm(struct ledger_dynamo *l, const char *name, struct ledger_dynamo_vm *out,
                          struct err *e)
{
    struct ledger_dynamo_key keys[2] = {ledger_dynamo_vm_key(l, name),
                                        ledger_dynamo_gone_key(l, name)};
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(l, keys, 2, &got, e) != 0) {
        return -1;
    }
    int rc = find_vm_among(l, name, got.items, out, e);
    ledger_dynamo_got_fini(&got);
    return rc;
}

int ledger_dynamo_find_both(struct ledger_dynamo *l, int64_t id, const char *name,
                            struct ledger_dynamo_job *job, struct ledger_dynamo_vm *vm,
                            struct err *e)
{
    struct ledger_dynamo_got got;
    memset(vm, 0, sizeof *vm);
    if (name[0] == '\0') {
        return ledger_dynamo_find_job(l, id, job, e);
    }
    struct ledger_dynamo_key keys[3] = {ledger_dynamo_vm_key(l, name),
                                        ledger_dynamo_gone_key(l, name),
                                        ledger_dynamo_job_key(l, id)};
    if (ledger_dynamo_get(l, keys, 3, &got, e) != 0) {
        return -1;
    }
    int rc = ledger_dynamo_unpack_job(got.items[2], job, e);
    rc = rc == 0 ? find_vm_among(l, name, got.items, vm, e) : rc;
    ledger_dynamo_got_fini(&got);
    return rc;
}
