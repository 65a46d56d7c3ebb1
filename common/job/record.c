#include "common/job/record.h"

#include <jansson.h>
#include <string.h>

#include "common/queue/queue.h"

#define USUAL_BYTES 700

/* The exchange test builds the programs a second time, as a release with a newer record format: it
 * requires a member that this release does not know. */
#ifdef MAYFLY_TEST_NEXT_FORMAT
#define NEWEST_FORMAT 2
#define NEXT_MEMBER "next"
#else
#define NEWEST_FORMAT 1
#endif

int64_t record_newest_format(void)
{
    return NEWEST_FORMAT;
}

static void append_key(struct buf *out, const struct record_field *f)
{
    buf_append(out, SLICE(",\""));
    buf_append_cstr(out, f->key);
    buf_append(out, SLICE("\":"));
}

static const char *word_at(const struct record_field *f, const char *at)
{
    int word = 0;
    memcpy(&word, at, sizeof word);
    return f->words[word];
}

static void append_field(struct buf *out, const void *value, const struct record_field *f)
{
    const char *at = (const char *)value + f->offset;
    int64_t number = 0;
    if (f->kind == RECORD_NUMBER) {
        memcpy(&number, at, sizeof number);
        if (number != 0) {
            append_key(out, f);
            buf_append_int(out, number);
        }
        return;
    }
    const char *text = f->kind == RECORD_WORD ? word_at(f, at) : at;
    if (text[0] != '\0') {
        append_key(out, f);
        buf_append_json(out, slice_of(text));
    }
}

static void append_record(struct buf *out, const struct record_field *fields, const void *value,
                          int64_t format, bool with_optional)
{
    buf_append(out, SLICE("{\"v\":"));
    buf_append_int(out, format);
#ifdef MAYFLY_TEST_NEXT_FORMAT
    if (format > 1) {
        buf_append(out, SLICE(",\"" NEXT_MEMBER "\":1"));
    }
#endif
    for (const struct record_field *f = fields; f->key != NULL; f++) {
        if (with_optional || !f->optional) {
            append_field(out, value, f);
        }
    }
    buf_append_byte(out, '}');
}

void record_encode(const struct record_field *fields, const void *value, int64_t format,
                   struct buf *out)
{
    struct buf record;
    ASSERT(format >= 1 && format <= NEWEST_FORMAT);
    buf_init(&record, RECORD_MAX_BYTES);
    buf_reserve(&record, USUAL_BYTES);
    append_record(&record, fields, value, format, true);
    /* Escaping may enlarge names and labels beyond the limit; the rest always fits. */
    if (record.failed) {
        buf_reset(&record);
        append_record(&record, fields, value, format, false);
    }
    ASSERT(!record.failed);
    buf_append(out, buf_slice(&record));
    buf_fini(&record);
}

/* --- decoding --- */

static int read_number(const char *what, const json_t *member, const struct record_field *f,
                       char *at, struct err *e)
{
    if (!json_is_integer(member) || json_integer_value(member) < 0) {
        return err_set(e, ERR_PERMANENT, 0, "%s: member '%s' is not an integer of at least 0", what,
                       f->key);
    }
    int64_t number = json_integer_value(member);
    memcpy(at, &number, sizeof number);
    return 0;
}

static int read_text(const char *what, const json_t *member, const struct record_field *f, char *at,
                     struct err *e)
{
    if (!json_is_string(member)) {
        return err_set(e, ERR_PERMANENT, 0, "%s: member '%s' is not a string", what, f->key);
    }
    struct slice text = {json_string_value(member), json_string_length(member)};
    if (!slice_to_cstr(text, at, f->size)) {
        return err_set(e, ERR_PERMANENT, 0, "%s: member '%s' is longer than %zu bytes", what,
                       f->key, f->size - 1);
    }
    return 0;
}

static int read_word(const char *what, const json_t *member, const struct record_field *f, char *at,
                     struct err *e)
{
    const char *text = json_string_value(member);
    for (int i = 0; text != NULL && f->words[i] != NULL; i++) {
        if (strcmp(text, f->words[i]) == 0) {
            memcpy(at, &i, sizeof i);
            return 0;
        }
    }
    return err_set(e, ERR_PERMANENT, 0, "%s: unknown or missing %s", what, f->key);
}

static int read_field(const char *what, const json_t *root, const struct record_field *f,
                      char *value, struct err *e)
{
    const json_t *member = json_object_get(root, f->key);
    if (f->kind == RECORD_WORD) {
        return read_word(what, member, f, value + f->offset, e);
    }
    if (member == NULL) {
        return 0;
    }
    return (f->kind == RECORD_NUMBER ? read_number : read_text)(what, member, f, value + f->offset,
                                                                e);
}

/* Of a newer format only the version is checked: its members and its size limit are unknown. */
static int check_format(const char *what, const json_t *root, size_t bytes, struct err *e)
{
    const json_t *format = json_object_get(root, "v");
    if (!json_is_integer(format) || json_integer_value(format) < 1) {
        return err_set(e, ERR_PERMANENT, 0, "%s: no version", what);
    }
    if (json_integer_value(format) > NEWEST_FORMAT) {
        return err_set(e, ERR_CONFLICT, RECORD_NEWER_FORMAT,
                       "%s: format %lld, written by a newer Mayfly; this one reads up to %d", what,
                       (long long)json_integer_value(format), NEWEST_FORMAT);
    }
    if (bytes > RECORD_MAX_BYTES) {
        return err_set(e, ERR_PERMANENT, 0, "%s: %zu bytes, want 1 to %d", what, bytes,
                       RECORD_MAX_BYTES);
    }
#ifdef MAYFLY_TEST_NEXT_FORMAT
    if (json_integer_value(format) > 1 && json_object_get(root, NEXT_MEMBER) == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "%s: no member '" NEXT_MEMBER "'", what);
    }
#endif
    return 0;
}

int record_decode(const char *what, const struct record_field *fields, struct slice record,
                  void *value, struct err *e)
{
    json_error_t where;
    json_t *root = NULL;
    int result = -1;
    if (record.len == 0 || record.len > QUEUE_BODY_MAX_BYTES) {
        return err_set(e, ERR_PERMANENT, 0, "%s: %zu bytes, want 1 to %d", what, record.len,
                       QUEUE_BODY_MAX_BYTES);
    }
    root = json_loadb(record.ptr, record.len, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(root)) {
        err_set(e, ERR_PERMANENT, 0, "%s: not a JSON object%s%s", what, root == NULL ? ": " : "",
                root == NULL ? where.text : "");
        goto out;
    }
    result = check_format(what, root, record.len, e);
    for (const struct record_field *f = fields; result == 0 && f->key != NULL; f++) {
        result = read_field(what, root, f, value, e);
    }
out:
    json_decref(root);
    return result;
}
