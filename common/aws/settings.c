#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects pins */
static int pins; /* while above 0, nothing below changes, and it is read without the lock */
static struct aws_defaults defaults = {"", "", "", "", false, false};

static void replace_text(const char **at, const char *value)
{
    static const char nothing[] = "";
    union {
        const char *in;
        char *out;
    } old = {*at};
    bool owned = old.out[0] != '\0'; /* an empty one is a literal */
    *at = value == NULL || value[0] == '\0' ? nothing : slice_dup(slice_of(value));
    if (owned) {
        free(old.out);
    }
}

void aws_set_defaults(const struct aws_defaults *d)
{
    pthread_mutex_lock(&lock);
    if (pins == 0) {
        replace_text(&defaults.region, d->region);
        replace_text(&defaults.profile, d->profile);
        replace_text(&defaults.endpoint, d->endpoint);
        replace_text(&defaults.proxy, d->proxy);
        defaults.fips = d->fips;
        defaults.dual_stack = d->dual_stack;
    }
    pthread_mutex_unlock(&lock);
}

void aws_defaults_pin(int by)
{
    pthread_mutex_lock(&lock);
    pins += by;
    ASSERT(pins >= 0);
    pthread_mutex_unlock(&lock);
}

const struct aws_defaults *aws_defaults_now(void)
{
    return &defaults;
}

const char *aws_env(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool aws_env_true(const char *name)
{
    const char *value = aws_env(name);
    return value != NULL && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
}
