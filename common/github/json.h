/*
 * Shared by all readers of GitHub's responses: the text as JSON, and its members.
 *
 * Only for the files of this folder. An unexpected member reads as absent (NULL, "",
 * an empty slice); the caller decides whether it is required. Texts are borrowed from the JSON.
 * Pure functions, any thread.
 */
#ifndef MAYFLY_GITHUB_JSON_H
#define MAYFLY_GITHUB_JSON_H

#include <jansson.h>

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/github/app_needs.h"

/* NULL unless the body is JSON; owned (json_decref). */
json_t *github_json_load(struct slice body);
/* Empty if it is not a string. */
struct slice github_json_text(const json_t *object, const char *key);
/* A text that does not fit becomes "". */
void github_json_copy(const json_t *object, const char *key, char *out, size_t size);

/* Whether a list has that text. */
bool github_json_contains(const json_t *list, const char *wanted);
/* What "permissions" of an App or an installation has for each of its needs. */
void github_json_levels(const json_t *permissions, struct github_levels *out);

/* Returns -1 with ERR_RETRY: the response is not a `what`. */
int github_json_senseless(struct err *e, const char *what);

#endif
