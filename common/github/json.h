/*
 * What all readers of GitHub's answers share: the answer's text as JSON, and members of it.
 *
 * For parse.c, app.c and deliveries_parse.c alone. Answers come from outside:
 * whatever is not as expected reads as nothing (NULL, "", an empty slice), and the reader judges
 * whether it can do without. Texts are borrowed from the JSON. Pure functions, any thread.
 */
#ifndef MAYFLY_GITHUB_JSON_H
#define MAYFLY_GITHUB_JSON_H

#include <jansson.h>

#include "common/base/err.h"
#include "common/base/slice.h"

/* NULL unless the body is JSON; owned, to be ended by json_decref. */
json_t *github_json_load(struct slice body);
/* The empty slice when it is no string. */
struct slice github_json_text(const json_t *object, const char *key);
/* A text that is longer than its place is none that we know: "" then. */
void github_json_copy(const json_t *object, const char *key, char *out, size_t size);

/* Returns -1 with ERR_RETRY: the answer is no `what`. */
int github_json_senseless(struct err *e, const char *what);

#endif
