/*
 * Shared by all readers of GitHub's responses: the text as JSON, and its members.
 *
 * Only for parse.c, app.c and deliveries_parse.c. An unexpected member reads as absent (NULL, "",
 * an empty slice); the caller decides whether it is required. Texts are borrowed from the JSON.
 * Pure functions, any thread.
 */
#ifndef MAYFLY_GITHUB_JSON_H
#define MAYFLY_GITHUB_JSON_H

#include <jansson.h>

#include "common/base/err.h"
#include "common/base/slice.h"

/* NULL unless the body is JSON; owned (json_decref). */
json_t *github_json_load(struct slice body);
/* Empty if it is not a string. */
struct slice github_json_text(const json_t *object, const char *key);
/* A text that does not fit becomes "". */
void github_json_copy(const json_t *object, const char *key, char *out, size_t size);

/* Returns -1 with ERR_RETRY: the response is not a `what`. */
int github_json_senseless(struct err *e, const char *what);

#endif
