#include "common/aws/sources.h"

#include "common/aws/internal.h"

int aws_source_environment(struct aws_keys *out, struct err *e)
{
    const char *access_key = aws_env("AWS_ACCESS_KEY_ID");
    const char *secret_key = aws_env("AWS_SECRET_ACCESS_KEY");
    if (access_key == NULL && secret_key == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "AWS_ACCESS_KEY_ID is not set");
    }
    if (access_key == NULL || secret_key == NULL) {
        return err_set(e, ERR_AUTH, 0,
                       "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is "
                       "set");
    }
    return aws_keys_make(slice_of(access_key), slice_of(secret_key),
                         slice_of(aws_env("AWS_SESSION_TOKEN")), 0, "environment", out, e);
}

int aws_source_web_identity(struct aws_keys *out, struct err *e)
{
    const char *file = aws_env("AWS_WEB_IDENTITY_TOKEN_FILE");
    const struct aws_role role = {.arn = aws_env("AWS_ROLE_ARN"),
                                  .session_name = aws_env("AWS_ROLE_SESSION_NAME")};
    if (file == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
    }
    if (role.arn == NULL) {
        return err_set(e, ERR_AUTH, 0, "AWS_ROLE_ARN is not set together with the token's file");
    }
    return aws_sts_web_identity(&role, file, "web identity", out, e);
}

struct source {
    const char *name;
    int (*find)(struct aws_keys *out, struct err *e);
};

static const struct source sources[] = {
    {"environment", aws_source_environment},   {"shared files", aws_source_profile},
    {"web identity", aws_source_web_identity}, {"container", aws_source_container},
    {"instance", aws_source_instance},
};

/* If the configuration names a profile, keys in the environment are not used. */
static bool is_asked(size_t i)
{
    return i > 0 || aws_defaults_now()->profile[0] == '\0';
}

int aws_sources_find(struct aws_keys *out, struct err *e)
{
    struct buf reasons;
    struct err last = {.class = ERR_NOT_FOUND};
    int rc = -1;
    buf_init(&reasons, sizeof e->message);
    for (size_t i = 0; i < COUNT_OF(sources) && rc != 0 && last.class == ERR_NOT_FOUND; i++) {
        if (!is_asked(i)) {
            continue;
        }
        rc = sources[i].find(out, &last);
        if (rc != 0) {
            buf_printf(&reasons, "%s%s: %.240s", reasons.len > 0 ? "; " : "", sources[i].name,
                       last.message);
        }
    }
    if (rc != 0) {
        (void)err_set(e, last.class == ERR_NOT_FOUND ? ERR_AUTH : last.class, HTTP_NOT_SENT,
                      "no AWS credentials: %s", reasons.data);
        e->retry_after_ms = last.retry_after_ms;
    }
    buf_fini(&reasons);
    return rc;
}
