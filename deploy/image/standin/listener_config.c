#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/codec.h"
#include "common/base/fs.h"
#include "deploy/image/standin/listener.h"

static const char *const names[] = {".runner", ".credentials", ".credentials_rsaparams"};

json_t *json_find(json_t *object, const char *key)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        if (strcasecmp(name, key) == 0) {
            return value;
        }
    }
    return NULL;
}

bool json_take(json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_find(object, key));
    return text != NULL && slice_to_cstr(slice_of(text), out, size);
}

static bool is_true(json_t *object, const char *key)
{
    json_t *value = json_find(object, key);
    const char *text = json_string_value(value);
    return json_is_true(value) || (text != NULL && strcasecmp(text, "true") == 0);
}

/* A number of the key, with zeros in front. */
static bool take_number(json_t *object, const char *key, unsigned char out[KEY_BYTES])
{
    const char *text = json_string_value(json_find(object, key));
    struct buf bytes;
    buf_init(&bytes, KEY_BYTES);
    bool ok = text != NULL && codec_unbase64(&bytes, slice_of(text)) && bytes.len > 0;
    if (ok) {
        memset(out, 0, KEY_BYTES);
        memcpy(out + KEY_BYTES - bytes.len, bytes.data, bytes.len);
    }
    buf_fini(&bytes);
    return ok;
}

static void write_file(const struct runner *r, const char *name, struct slice text)
{
    char path[PATH_MAX + 64];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/%s", r->root, name);
    if (r->root[0] != '\0' && fs_write_atomic(path, text, 0600, &e) != 0) {
        say("%s", e.message);
    }
}

/* One file of the configuration, which is written and parsed. Owned by the caller. */
static json_t *unpack(const struct runner *r, json_t *files, const char *name)
{
    const char *text = json_string_value(json_object_get(files, name));
    struct buf plain;
    json_t *tree = NULL;
    buf_init(&plain, ANSWER_MAX);
    if (text != NULL && codec_unbase64(&plain, slice_of(text))) {
        write_file(r, name, buf_slice(&plain));
        size_t mark = plain.len >= 3 && memcmp(plain.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        tree = json_loadb(plain.data + mark, plain.len - mark, 0, NULL);
    }
    buf_fini(&plain);
    return tree;
}

static bool take_all(struct runner *r, json_t *const parts[3])
{
    json_t *data = json_find(parts[1], "data");
    const char *id = json_string_value(json_find(parts[0], "AgentId"));
    r->fips = is_true(data, "requireFipsCryptography");
    if (id == NULL || !slice_to_int64(slice_of(id), &r->agent_id)) {
        r->agent_id = json_integer_value(json_find(parts[0], "AgentId"));
    }
    if (!json_take(parts[0], "WorkFolder", r->work, sizeof r->work)) {
        (void)snprintf(r->work, sizeof r->work, "_work");
    }
    return json_take(parts[0], "AgentName", r->name, sizeof r->name) &&
           json_take(parts[0], "ServerUrlV2", r->broker, sizeof r->broker) &&
           json_take(data, "clientId", r->client_id, sizeof r->client_id) &&
           json_take(data, "authorizationUrl", r->authorization, sizeof r->authorization) &&
           take_number(parts[2], "modulus", r->modulus) &&
           take_number(parts[2], "exponent", r->public_exponent) &&
           take_number(parts[2], "d", r->private_exponent);
}

bool runner_configure(struct runner *r)
{
    const char *text = getenv("ACTIONS_RUNNER_INPUT_JITCONFIG");
    json_t *parts[COUNT_OF(names)] = {NULL};
    json_t *files = NULL;
    struct buf plain;
    buf_init(&plain, ANSWER_MAX);
    if (text != NULL && codec_unbase64(&plain, slice_of(text))) {
        files = json_loadb(plain.data, plain.len, 0, NULL);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        parts[i] = unpack(r, files, names[i]);
    }
    bool ok = take_all(r, parts);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_decref(parts[i]);
    }
    json_decref(files);
    buf_fini(&plain);
    (void)unsetenv("ACTIONS_RUNNER_INPUT_JITCONFIG");
    return ok;
}

void runner_remove_files(const struct runner *r)
{
    char path[PATH_MAX + 64];
    for (size_t i = 0; i < COUNT_OF(names) && r->root[0] != '\0'; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", r->root, names[i]);
        (void)remove(path);
    }
}
