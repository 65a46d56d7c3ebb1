/* Whether what answers at github.api_url is GitHub's API, and what time it is there. */
#ifndef MAYFLY_CHECK_GITHUB_API_H
#define MAYFLY_CHECK_GITHUB_API_H

#include "common/check/check.h"

/* One request without credentials. False if something else answers, or nothing: then no further
 * question makes sense. */
bool check_github_api(struct check *c, const char *api_url);

#endif
