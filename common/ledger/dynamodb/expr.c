#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* What requests are made of: keys, attributes, expressions with their placeholders. A placeholder
 * stands for every name and value, so that none can be one of DynamoDB's many reserved words. */

#define EXPR_MAX (256 * 1024)

/* --- keys --- */
static unsigned shard_of(const char *name)
{
    return (unsigned)(hash_text(name) % LEDGER_DYNAMO_VM_SHARDS); /* part of the layout */
}

static void fill_pk(const struct ledger_dynamo *l, const char *pk, struct ledger_dynamo_key *out)
{
    int len = snprintf(out->pk, sizeof out->pk, "%s:%s", l->url.prefix, pk);
    ASSERT(len > 0 && (size_t)len < sizeof out->pk);
}

struct ledger_dynamo_key ledger_dynamo_key(const struct ledger_dynamo *l, const char *pk,
                                           const char *sk_format, ...)
{
    struct ledger_dynamo_key k;
    va_list ap;
    fill_pk(l, pk, &k);
    va_start(ap, sk_format);
    int len = vsnprintf(k.sk, sizeof k.sk, sk_format, ap);
    va_end(ap);
    ASSERT(len > 0 && (size_t)len < sizeof k.sk);
    return k;
}

struct ledger_dynamo_key ledger_dynamo_job_key(const struct ledger_dynamo *l, int64_t id)
{
    char pk[40];
    (void)snprintf(pk, sizeof pk, "job:%" PRId64, id);
    return ledger_dynamo_key(l, pk, "row");
}

static struct ledger_dynamo_key vm_key(const struct ledger_dynamo *l, const char *kind,
                                       const char *name)
{
    char pk[24];
    (void)snprintf(pk, sizeof pk, "%s:%u", kind, shard_of(name));
    return ledger_dynamo_key(l, pk, "%s", name);
}

struct ledger_dynamo_key ledger_dynamo_vm_key(const struct ledger_dynamo *l, const char *name)
{
    return vm_key(l, "vm", name);
}

struct ledger_dynamo_key ledger_dynamo_gone_key(const struct ledger_dynamo *l, const char *name)
{
    return vm_key(l, "gone", name);
}

struct ledger_dynamo_key ledger_dynamo_pair_key(const struct ledger_dynamo *l, const char *scope,
                                                const char *class_name)
{
    return ledger_dynamo_key(l, "pair", "%s|%s", scope, class_name);
}

struct ledger_dynamo_key ledger_dynamo_pair_shard_key(const struct ledger_dynamo *l,
                                                      const char *scope, const char *class_name,
                                                      unsigned shard)
{
    return ledger_dynamo_key(l, "pair", "%s|%s|%u", scope, class_name, shard);
}

struct ledger_dynamo_key ledger_dynamo_shard_key(const struct ledger_dynamo *l, unsigned shard)
{
    return ledger_dynamo_key(l, "shard", "%u", shard);
}

/* Each in a partition of its own: together they are written by every step. */
struct ledger_dynamo_key ledger_dynamo_count_key(const struct ledger_dynamo *l, unsigned count)
{
    char pk[24];
    (void)snprintf(pk, sizeof pk, "count:%u", count);
    return ledger_dynamo_key(l, pk, "main");
}

static void render_key_members(const struct ledger_dynamo_key *key, struct buf *out)
{
    buf_append_cstr(out, "\"pk\":{\"S\":");
    buf_append_json(out, slice_of(key->pk));
    buf_append_cstr(out, "},\"sk\":{\"S\":");
    buf_append_json(out, slice_of(key->sk));
    buf_append_byte(out, '}');
}

void ledger_dynamo_render_key(const struct ledger_dynamo_key *key, struct buf *out)
{
    buf_append_byte(out, '{');
    render_key_members(key, out);
    buf_append_byte(out, '}');
}

void ledger_dynamo_render_item(const struct ledger_dynamo_key *key, const struct buf *attributes,
                               struct buf *out)
{
    buf_append_byte(out, '{');
    render_key_members(key, out);
    if (attributes->len > 0) {
        buf_append_byte(out, ',');
        buf_append(out, buf_slice(attributes));
    }
    buf_append_byte(out, '}');
    out->failed = out->failed || attributes->failed;
}

void ledger_dynamo_version(char out[LEDGER_DYNAMO_VERSION])
{
    random_hex(out, (LEDGER_DYNAMO_VERSION - 1) / 2);
}

/* --- attributes --- */
static void separate(struct buf *b)
{
    if (b->len > 0) {
        buf_append_byte(b, ',');
    }
}

void ledger_dynamo_put_text(struct buf *attributes, const char *name, const char *value)
{
    if (value[0] == '\0') {
        return;
    }
    separate(attributes);
    buf_printf(attributes, "\"%s\":{\"S\":", name);
    buf_append_json(attributes, slice_of(value));
    buf_append_byte(attributes, '}');
}

void ledger_dynamo_put_number(struct buf *attributes, const char *name, int64_t value)
{
    if (value != 0) {
        separate(attributes);
        buf_printf(attributes, "\"%s\":{\"N\":\"%" PRId64 "\"}", name, value);
    }
}

void ledger_dynamo_put_real(struct buf *attributes, const char *name, double value)
{
    separate(attributes);
    buf_printf(attributes, "\"%s\":{\"N\":\"%.17g\"}", name, value);
}

/* --- expressions --- */
void ledger_dynamo_expr_init(struct ledger_dynamo_expr *x)
{
    struct buf *const all[] = {&x->set, &x->add, &x->cond, &x->names, &x->values};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buf_init(all[i], EXPR_MAX);
    }
    x->count = 0;
}

void ledger_dynamo_expr_fini(struct ledger_dynamo_expr *x)
{
    struct buf *const all[] = {&x->set, &x->add, &x->cond, &x->names, &x->values};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buf_fini(all[i]);
    }
}

static struct ledger_dynamo_word next_word(struct ledger_dynamo_expr *x, char kind)
{
    struct ledger_dynamo_word w;
    ASSERT(x->count < 1000000);
    (void)snprintf(w.text, sizeof w.text, "%c%c%u", kind, kind == '#' ? 'n' : 'v', x->count++);
    return w;
}

struct ledger_dynamo_word ledger_dynamo_name(struct ledger_dynamo_expr *x, const char *attribute)
{
    struct ledger_dynamo_word w = next_word(x, '#');
    separate(&x->names);
    buf_printf(&x->names, "\"%s\":", w.text);
    buf_append_json(&x->names, slice_of(attribute));
    return w;
}

static struct ledger_dynamo_word begin_value(struct ledger_dynamo_expr *x, const char *type)
{
    struct ledger_dynamo_word w = next_word(x, ':');
    separate(&x->values);
    buf_printf(&x->values, "\"%s\":{\"%s\":", w.text, type);
    return w;
}

struct ledger_dynamo_word ledger_dynamo_text(struct ledger_dynamo_expr *x, const char *value)
{
    struct ledger_dynamo_word w = begin_value(x, "S");
    buf_append_json(&x->values, slice_of(value));
    buf_append_byte(&x->values, '}');
    return w;
}

struct ledger_dynamo_word ledger_dynamo_number(struct ledger_dynamo_expr *x, int64_t value)
{
    struct ledger_dynamo_word w = begin_value(x, "N");
    buf_printf(&x->values, "\"%" PRId64 "\"}", value);
    return w;
}

struct ledger_dynamo_word ledger_dynamo_real(struct ledger_dynamo_expr *x, double value)
{
    struct ledger_dynamo_word w = begin_value(x, "N");
    buf_printf(&x->values, "\"%.17g\"}", value);
    return w;
}

/* One more part of a list of clauses. */
static void clause(struct buf *list, struct ledger_dynamo_word a, const char *between,
                   struct ledger_dynamo_word b)
{
    separate(list);
    buf_printf(list, "%s%s%s", a.text, between, b.text);
}

void ledger_dynamo_set_text(struct ledger_dynamo_expr *x, const char *attribute, const char *value)
{
    struct ledger_dynamo_word name = ledger_dynamo_name(x, attribute);
    clause(&x->set, name, "=", ledger_dynamo_text(x, value));
}

void ledger_dynamo_set_number(struct ledger_dynamo_expr *x, const char *attribute, int64_t value)
{
    struct ledger_dynamo_word name = ledger_dynamo_name(x, attribute);
    clause(&x->set, name, "=", ledger_dynamo_number(x, value));
}

void ledger_dynamo_add(struct ledger_dynamo_expr *x, const char *attribute, int64_t by)
{
    struct ledger_dynamo_word name = ledger_dynamo_name(x, attribute);
    clause(&x->add, name, " ", ledger_dynamo_number(x, by));
}

void ledger_dynamo_if(struct ledger_dynamo_expr *x, const char *format, ...)
{
    char part[128];
    va_list ap;
    va_start(ap, format);
    int len = vsnprintf(part, sizeof part, format, ap);
    va_end(ap);
    ASSERT(len > 0 && (size_t)len < sizeof part);
    buf_printf(&x->cond, "%s(%s)", x->cond.len > 0 ? " AND " : "", part);
}

void ledger_dynamo_if_number(struct ledger_dynamo_expr *x, const char *attribute, const char *op,
                             int64_t value, bool or_absent)
{
    struct ledger_dynamo_word name = ledger_dynamo_name(x, attribute);
    struct ledger_dynamo_word number = ledger_dynamo_number(x, value);
    if (or_absent) {
        ledger_dynamo_if(x, "attribute_not_exists(%s) OR %s %s %s", name.text, name.text, op,
                         number.text);
    } else {
        ledger_dynamo_if(x, "%s %s %s", name.text, op, number.text);
    }
}

void ledger_dynamo_if_text(struct ledger_dynamo_expr *x, const char *attribute, const char *value)
{
    struct ledger_dynamo_word name = ledger_dynamo_name(x, attribute);
    struct ledger_dynamo_word text = ledger_dynamo_text(x, value);
    ledger_dynamo_if(x, "%s = %s", name.text, text.text);
}

void ledger_dynamo_if_version(struct ledger_dynamo_expr *x, const char *version)
{
    if (version[0] == '\0') {
        ledger_dynamo_if(x, "attribute_not_exists(%s)", ledger_dynamo_name(x, "pk").text);
        return;
    }
    ledger_dynamo_if_text(x, "version", version);
}

static void render_part(struct buf *out, const char *word, const struct buf *list)
{
    if (list->len > 0) {
        buf_printf(out, "%s%s ", out->len > 0 ? " " : "", word);
        buf_append(out, buf_slice(list));
    }
}

/* The lists hold placeholders alone, which JSON needs no escapes for. */
static void render_text(struct buf *out, const char *member, const struct buf *text)
{
    if (text->len > 0) {
        buf_printf(out, ",\"%s\":\"", member);
        buf_append(out, buf_slice(text));
        buf_append_byte(out, '"');
    }
}

static void render_map(struct buf *out, const char *member, const struct buf *map)
{
    if (map->len > 0) {
        buf_printf(out, ",\"%s\":{", member);
        buf_append(out, buf_slice(map));
        buf_append_byte(out, '}');
    }
}

void ledger_dynamo_expr_render(const struct ledger_dynamo_expr *x, struct buf *out)
{
    struct buf update;
    buf_init(&update, EXPR_MAX);
    render_part(&update, "SET", &x->set);
    render_part(&update, "ADD", &x->add);
    render_text(out, "UpdateExpression", &update);
    render_text(out, "ConditionExpression", &x->cond);
    render_map(out, "ExpressionAttributeNames", &x->names);
    render_map(out, "ExpressionAttributeValues", &x->values);
    buf_fini(&update);
    const struct buf *const all[] = {&x->set, &x->add, &x->cond, &x->names, &x->values};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        out->failed = out->failed || all[i]->failed;
    }
}
