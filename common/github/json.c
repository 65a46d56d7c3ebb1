#include "common/github/json.h"

#include <string.h>

json_t *github_json_load(struct slice body)
{
    return json_loadb(body.len > 0 ? body.ptr : "", body.len, 0, NULL);
}

struct slice github_json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : (struct slice){NULL, 0};
}

void github_json_copy(const json_t *object, const char *key, char *out, size_t size)
{
    bool fits = slice_to_cstr(github_json_text(object, key), out, size);
    (void)fits;
}

int github_json_senseless(struct err *e, const char *what)
{
    return err_set(
        e, ERR_RETRY, 0,
        "GitHub's response is not a %s: try again; if this persists, check github.api_url", what);
}

bool github_json_contains(const json_t *list, const char *wanted)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *text = json_string_value(item);
        if (text != NULL && strcmp(text, wanted) == 0) {
            return true;
        }
    }
    return false;
}

void github_json_levels(const json_t *permissions, struct github_levels *out)
{
    for (size_t i = 0; i < GITHUB_APP_NEEDS; i++) {
        github_json_copy(permissions, github_app_needs[i].name, out->of[i], sizeof out->of[i]);
    }
}
