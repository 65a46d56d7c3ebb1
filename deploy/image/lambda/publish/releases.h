/*
 * The newest release of GitHub's runner, as its releases API names it: without credentials, since the
 * repository is public. One blocking call, through the environment's proxy.
 */
#ifndef MAYFLY_PUBLISH_RELEASES_H
#define MAYFLY_PUBLISH_RELEASES_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

struct runner_release {
    char version[32];     /* "2.337.0" */
    char sha256[65];      /* of the archive for the architecture */
    int64_t published_ms; /* wall clock; <= 0 unknown */
};

/* api_url: https://api.github.com. runner_arch: "arm64", "x64". ERR_RETRY: it did not say. */
MUST_CHECK int releases_newest(const char *api_url, const char *runner_arch,
                               struct runner_release *out, struct err *e);

#endif
