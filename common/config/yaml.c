#include "common/config/private.h"

#include <string.h>
#include <yaml.h>

/* Reads one document from the parser's events. After a failure (`broken`) nothing more is read. */
struct reader {
    yaml_parser_t parser;
    struct config_tree *tree;
    struct complaints *complaints;
    size_t nodes;
    bool broken;
};

static json_t *read_node(struct reader *r, yaml_event_t *event, const char *path, int depth);

static int line_of(const yaml_event_t *event)
{
    return (int)event->start_mark.line + 1;
}

static void record_line(struct reader *r, const char *path, int line)
{
    int failed = json_object_set_new_nocheck(r->tree->lines, path, json_integer(line));
    ASSERT(failed == 0);
}

static void complain_syntax(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    complain(r->complaints, (int)p->problem_mark.line + 1, "",
             "this is not YAML: %s%s%s (column %zu): fix the indentation, quotes or brackets",
             p->context != NULL ? p->context : "", p->context != NULL ? ", " : "",
             p->problem != NULL ? p->problem : "it cannot be read", p->problem_mark.column + 1);
    r->broken = true;
}

/* Fetches the next event; false (and broken) at a syntax error. */
static bool next_event(struct reader *r, yaml_event_t *event)
{
    if (!yaml_parser_parse(&r->parser, event)) {
        complain_syntax(r);
        return false;
    }
    return true;
}

static bool has_control_byte(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* Anchors could make a small text a large tree; the table defines types, not tags. */
static void reject_anchor_and_tag(struct reader *r, const yaml_event_t *event, const char *path,
                                  const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL) {
        complain(r->complaints, line_of(event), path,
                 "anchors (&name) are not supported: remove it and write the value where it is "
                 "needed");
    }
    if (tag != NULL) {
        complain(r->complaints, line_of(event), path,
                 "tags (!name) are not supported: remove it, each key knows its type");
    }
}

static json_t *read_text_node(struct reader *r, const yaml_event_t *event, const char *path)
{
    struct slice text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    reject_anchor_and_tag(r, event, path, event->data.scalar.anchor, event->data.scalar.tag);
    if (plain && (text.len == 0 || slice_eq_cstr(text, "~") || slice_eq_cstr(text, "null"))) {
        return json_null();
    }
    if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL) {
        complain(r->complaints, line_of(event), path, "contains a NUL byte: remove it");
        return json_null();
    }
    json_t *value = json_stringn(text.ptr, text.len);
    if (value == NULL) {
        complain(r->complaints, line_of(event), path, "is not UTF-8: write it in UTF-8");
        return json_null();
    }
    return value;
}

/* Copies the key's text; false, with a complaint, if it is not a valid key. */
static bool read_yaml_key(struct reader *r, const yaml_event_t *event, const char *path, char *key,
                          size_t size)
{
    struct slice text = {NULL, 0};
    if (event->type == YAML_SCALAR_EVENT) {
        text = (struct slice){(const char *)event->data.scalar.value, event->data.scalar.length};
        reject_anchor_and_tag(r, event, path, event->data.scalar.anchor, event->data.scalar.tag);
    }
    if (text.len == 0 || has_control_byte(text) || !slice_to_cstr(text, key, size)) {
        complain(r->complaints, line_of(event), path,
                 "a key must be a text of at most %d bytes: write \"key: value\"",
                 CONFIG_KEY_LIMIT_BYTES);
        return false;
    }
    return true;
}

/* Reads one member of a map, whose key has been fetched. */
static void read_map_entry(struct reader *r, const yaml_event_t *key_event, json_t *map,
                           const char *path, int depth)
{
    char key[CONFIG_KEY_LIMIT_BYTES + 1];
    struct buf child;
    yaml_event_t event;
    if (!read_yaml_key(r, key_event, path, key, sizeof key)) {
        r->broken = true; /* what follows could not be distinguished from its value */
        return;
    }
    buf_init(&child, (size_t)CONFIG_DEPTH_LIMIT * (CONFIG_KEY_LIMIT_BYTES + 16));
    buf_printf(&child, "%s%s%s", path, path[0] != '\0' ? "." : "", key);
    ASSERT(!child.failed);
    bool twice = json_object_get(map, key) != NULL;
    if (twice) {
        complain(r->complaints, line_of(key_event), child.data,
                 "is given twice, first on line %d: remove one of them",
                 config_tree_line(r->tree, child.data));
    } else {
        record_line(r, child.data, line_of(key_event));
    }
    if (next_event(r, &event)) {
        json_t *value = read_node(r, &event, child.data, depth + 1);
        yaml_event_delete(&event);
        if (twice || value == NULL) {
            json_decref(value);
        } else {
            int failed = json_object_set_new_nocheck(map, key, value);
            ASSERT(failed == 0);
        }
    }
    buf_fini(&child);
}

static json_t *read_mapping(struct reader *r, const char *path, int depth)
{
    yaml_event_t event;
    json_t *map = json_object();
    ASSERT(map != NULL);
    while (!r->broken && next_event(r, &event)) {
        bool end = event.type == YAML_MAPPING_END_EVENT;
        if (!end) {
            read_map_entry(r, &event, map, path, depth);
        }
        yaml_event_delete(&event);
        if (end) {
            break;
        }
    }
    return map;
}

static json_t *read_sequence(struct reader *r, const char *path, int depth)
{
    yaml_event_t event;
    json_t *list = json_array();
    ASSERT(list != NULL);
    while (!r->broken && next_event(r, &event)) {
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end) {
            struct buf child;
            buf_init(&child, (size_t)CONFIG_DEPTH_LIMIT * (CONFIG_KEY_LIMIT_BYTES + 16));
            buf_printf(&child, "%s[%zu]", path, json_array_size(list));
            ASSERT(!child.failed);
            record_line(r, child.data, line_of(&event));
            json_t *value = read_node(r, &event, child.data, depth + 1);
            if (value != NULL) {
                int failed = json_array_append_new(list, value);
                ASSERT(failed == 0);
            }
            buf_fini(&child);
        }
        yaml_event_delete(&event);
        if (end) {
            break;
        }
    }
    return list;
}

/* Whether the limits allow one more value. */
static bool within_bounds(struct reader *r, const yaml_event_t *event, const char *path, int depth)
{
    if (depth > CONFIG_DEPTH_LIMIT) {
        complain(r->complaints, line_of(event), path, "is nested more than %d deep: no setting is",
                 CONFIG_DEPTH_LIMIT);
        r->broken = true;
    } else if (++r->nodes > CONFIG_NODE_LIMIT) {
        complain(r->complaints, line_of(event), path,
                 "the text has more than %d values: shorten it", CONFIG_NODE_LIMIT);
        r->broken = true;
    }
    return !r->broken;
}

/* Reads the value that begins with `event` (still the caller's). NULL only when broken. */
static json_t *read_node(struct reader *r, yaml_event_t *event, const char *path, int depth)
{
    if (!within_bounds(r, event, path, depth)) {
        return NULL;
    }
    if (event->type == YAML_SCALAR_EVENT) {
        return read_text_node(r, event, path);
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        reject_anchor_and_tag(r, event, path, event->data.mapping_start.anchor,
                              event->data.mapping_start.tag);
        return read_mapping(r, path, depth);
    }
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        reject_anchor_and_tag(r, event, path, event->data.sequence_start.anchor,
                              event->data.sequence_start.tag);
        return read_sequence(r, path, depth);
    }
    complain(r->complaints, line_of(event), path,
             "aliases (*name) are not supported: write the value out");
    return json_null();
}

/* Skips to the document's content; false when there is none. */
static bool find_content(struct reader *r, yaml_event_t *event)
{
    while (next_event(r, event)) {
        bool skip =
            event->type == YAML_STREAM_START_EVENT || event->type == YAML_DOCUMENT_START_EVENT;
        if (!skip) {
            return event->type != YAML_STREAM_END_EVENT;
        }
        yaml_event_delete(event);
    }
    return false;
}

/* Only the ends of the document and of the stream may follow. */
static void expect_end(struct reader *r)
{
    yaml_event_t event;
    bool done = false;
    while (!done && !r->broken && next_event(r, &event)) {
        if (event.type == YAML_DOCUMENT_START_EVENT) {
            complain(r->complaints, line_of(&event), "",
                     "a second document begins here: one file holds one, remove the rest");
            done = true;
        }
        done = done || event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
}

static void read_document(struct reader *r)
{
    yaml_event_t event = {0};
    if (find_content(r, &event)) {
        r->tree->root = read_node(r, &event, "", 0);
        expect_end(r);
    } else if (!r->broken) {
        r->tree->root = json_object();
    }
    yaml_event_delete(&event);
}

void config_yaml_read(struct slice text, struct config_tree *out, struct complaints *c)
{
    struct reader r = {.tree = out, .complaints = c};
    *out = (struct config_tree){.lines = json_object()};
    ASSERT(out->lines != NULL);
    if (text.len > CONFIG_TEXT_LIMIT_BYTES) {
        complain(c, 1, "", "the text is larger than %zu bytes: shorten it",
                 CONFIG_TEXT_LIMIT_BYTES);
        return;
    }
    int ready = yaml_parser_initialize(&r.parser);
    ASSERT(ready != 0);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.ptr ? text.ptr : ""),
                                 text.len);
    read_document(&r);
    yaml_parser_delete(&r.parser);
    if (r.broken) {
        json_decref(out->root);
        out->root = NULL;
    }
}

void config_tree_fini(struct config_tree *t)
{
    json_decref(t->root);
    json_decref(t->lines);
    *t = (struct config_tree){0};
}

int config_tree_line(const struct config_tree *t, const char *path)
{
    char at[1200];
    size_t len = strlen(path);
    if (len >= sizeof at) {
        return 1;
    }
    memcpy(at, path, len + 1);
    while (len > 0) {
        const json_t *line = json_object_get(t->lines, at);
        if (line != NULL) {
            return (int)json_integer_value(line);
        }
        while (len > 0 && at[len - 1] != '.' && at[len - 1] != '[') {
            len--;
        }
        len = len > 0 ? len - 1 : 0;
        at[len] = '\0';
    }
    return 1;
}
