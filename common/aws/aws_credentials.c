#include "common/aws/aws_credentials.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws_internal.h"

struct aws_credentials {
    int users;
};

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct aws_credentials *shared;

static void wipe(char *s)
{
    if (s != NULL) {
        explicit_bzero(s, strlen(s));
    }
    free(s);
}

void aws_keys_fini(struct aws_keys *k)
{
    free(k->access_key);
    wipe(k->secret_key);
    wipe(k->session_token);
    *k = (struct aws_keys){0};
}

struct aws_credentials *aws_credentials_acquire(void)
{
    pthread_mutex_lock(&shared_lock);
    if (shared == NULL) {
        shared = calloc(1, sizeof *shared);
        ASSERT(shared != NULL);
    }
    shared->users++;
    struct aws_credentials *c = shared;
    pthread_mutex_unlock(&shared_lock);
    return c;
}

void aws_credentials_release(struct aws_credentials *c)
{
    if (c == NULL) {
        return;
    }
    pthread_mutex_lock(&shared_lock);
    if (--c->users == 0) {
        shared = NULL;
        free(c);
    }
    pthread_mutex_unlock(&shared_lock);
}

int aws_credentials_get(struct aws_credentials *c, struct aws_keys *out, struct err *e)
{
    const char *access_key = aws_env("AWS_ACCESS_KEY_ID");
    const char *secret_key = aws_env("AWS_SECRET_ACCESS_KEY");
    const char *token = aws_env("AWS_SESSION_TOKEN");
    (void)c;
    if (access_key == NULL || secret_key == NULL) {
        return err_set(e, ERR_AUTH, HTTP_NOT_SENT,
                       "no AWS credentials: environment: AWS_ACCESS_KEY_ID and "
                       "AWS_SECRET_ACCESS_KEY are not both set");
    }
    *out = (struct aws_keys){.access_key = slice_dup(slice_of(access_key)),
                             .secret_key = slice_dup(slice_of(secret_key)),
                             .session_token = slice_dup(slice_of(token)),
                             .source = "environment"};
    return 0;
}

bool aws_credentials_refused(struct aws_credentials *c, const char *access_key)
{
    const char *now = aws_env("AWS_ACCESS_KEY_ID");
    (void)c;
    return now != NULL && strcmp(now, access_key) != 0;
}
