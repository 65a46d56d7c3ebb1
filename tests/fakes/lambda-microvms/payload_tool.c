/*
 * Packs and unpacks payloads line by line, so that the fake's own unpacker can be held against the
 * agent's: one JSON object a line in, one out.
 *
 *   {"op": "pack", "jit_config": …, "idle_seconds": …, …}  ->  {"packed": …} or {"error": …}
 *   {"op": "unpack", "packed": …}                          ->  the members, or {"error": …}
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/payload/payload.h"

static struct slice text_of(const json_t *in, const char *key)
{
    const json_t *value = json_object_get(in, key);
    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : slice_of("");
}

static json_t *error_of(const struct err *e)
{
    return json_pack("{s:s}", "error", e->message);
}

static json_t *json_of(struct slice s)
{
    return json_stringn(s.len > 0 ? s.ptr : "", s.len);
}

static json_t *pack(const json_t *in)
{
    struct err e = {0};
    struct buf packed;
    json_t *out;
    struct payload p = {
        .jit_config = text_of(in, "jit_config"),
        .idle_seconds = json_integer_value(json_object_get(in, "idle_seconds")),
        .max_duration_seconds = json_integer_value(json_object_get(in, "max_duration_seconds")),
        .http_proxy = text_of(in, "http_proxy"),
        .https_proxy = text_of(in, "https_proxy"),
        .no_proxy = text_of(in, "no_proxy"),
        .runner_name = text_of(in, "runner_name"),
    };
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    if (payload_pack(&p, &packed, &e) != 0) {
        out = error_of(&e);
    } else {
        out = json_pack("{s:o}", "packed", json_of(buf_slice(&packed)));
    }
    buf_fini(&packed);
    return out;
}

static json_t *unpack(const json_t *in)
{
    struct err e = {0};
    struct payload p;
    if (payload_unpack(text_of(in, "packed"), &p, &e) != 0) {
        return error_of(&e);
    }
    json_t *out = json_pack(
        "{s:o, s:I, s:I, s:o, s:o, s:o, s:o}", "jit_config", json_of(p.jit_config), "idle_seconds",
        (json_int_t)p.idle_seconds, "max_duration_seconds", (json_int_t)p.max_duration_seconds,
        "http_proxy", json_of(p.http_proxy), "https_proxy", json_of(p.https_proxy), "no_proxy",
        json_of(p.no_proxy), "runner_name", json_of(p.runner_name));
    payload_fini(&p);
    return out;
}

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        json_t *in = json_loads(line, 0, NULL);
        json_t *out = slice_eq_cstr(text_of(in, "op"), "pack") ? pack(in) : unpack(in);
        if (out == NULL) {
            out = json_pack("{s:s}", "error", "no text");
        }
        (void)json_dumpf(out, stdout, JSON_COMPACT | JSON_SORT_KEYS);
        (void)fputc('\n', stdout);
        json_decref(out);
        json_decref(in);
    }
    free(line);
    return 0;
}
