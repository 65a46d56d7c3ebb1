#include <string.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"
#include "common/base/codec.h"
#include "common/base/fs.h"

#define TIMEOUT_MS 5000
#define FORM_LIMIT_BYTES ((size_t)64 << 10)
#define TOKEN_LIMIT_BYTES ((size_t)32 << 10)
#define SESSION_NAME "mayfly"

static void wipe_form(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

static void append_parameter(struct buf *form, const char *name, const char *value)
{
    if (value != NULL) {
        buf_printf(form, "&%s=", name);
        codec_percent(form, slice_of(value));
    }
}

static void append_role(struct buf *form, const char *operation, const struct aws_role *role)
{
    buf_printf(form, "Action=%s&Version=2011-06-15", operation);
    append_parameter(form, "RoleArn", role->arn);
    append_parameter(form, "RoleSessionName",
                     role->session_name != NULL ? role->session_name : SESSION_NAME);
    append_parameter(form, "DurationSeconds", role->duration);
    append_parameter(form, "ExternalId", role->external_id);
}

/* STS refuses because of the role or the keys, which an operator must correct, unless it is
 * unreachable. */
static int as_credentials_error(struct err *e)
{
    bool transient = e->class == ERR_RETRY || e->class == ERR_THROTTLED;
    if (!transient) {
        e->class = ERR_AUTH;
    }
    return -1;
}

static int call_sts(const struct aws_role *role, const char *operation, const struct aws_keys *with,
                    struct slice form, const char *source, struct aws_keys *out, struct err *e)
{
    struct aws_client *sts = NULL;
    struct http_response r;
    struct aws_client_options o = {
        .service = "sts", .region = role->region, .timeout_ms = TIMEOUT_MS, .max_idle = 1};
    const struct aws_call call = {
        .operation = operation, .content_type = "application/x-www-form-urlencoded", .body = form};
    if (aws_client_open_with(&o, with, &sts, e) != 0) {
        return as_credentials_error(e);
    }
    int rc = aws_send(sts, &call, &r, NULL, e);
    if (rc == 0) {
        rc = aws_keys_from_sts(buf_slice(&r.body), source, out, e);
        http_response_fini(&r);
    }
    aws_client_close(sts);
    return rc == 0 ? 0 : as_credentials_error(e);
}

int aws_sts_assume(const struct aws_role *role, const struct aws_keys *with, struct aws_keys *out,
                   struct err *e)
{
    struct buf form;
    buf_init(&form, FORM_LIMIT_BYTES);
    append_role(&form, "AssumeRole", role);
    int rc = form.failed ? err_set(e, ERR_AUTH, 0, "role_arn or a parameter beside it is too long")
                         : call_sts(role, "AssumeRole", with, buf_slice(&form), "role", out, e);
    buf_fini(&form);
    return rc;
}

static int read_token(const char *path, struct buf *out, struct err *e)
{
    if (fs_read_regular(path, out, e) != 0) {
        e->class = e->class == ERR_RETRY ? ERR_RETRY : ERR_AUTH;
        return -1;
    }
    struct slice token = slice_trim(buf_slice(out));
    if (token.len == 0) {
        return err_set(e, ERR_AUTH, 0, "%s is empty", path);
    }
    return 0;
}

int aws_sts_web_identity(const struct aws_role *role, const char *token_file, const char *source,
                         struct aws_keys *out, struct err *e)
{
    struct buf token;
    struct buf form;
    buf_init(&token, TOKEN_LIMIT_BYTES);
    buf_init(&form, 4 * FORM_LIMIT_BYTES);
    int rc = read_token(token_file, &token, e);
    if (rc == 0) {
        append_role(&form, "AssumeRoleWithWebIdentity", role);
        buf_append_cstr(&form, "&WebIdentityToken=");
        codec_percent(&form, slice_trim(buf_slice(&token)));
        rc = form.failed
                 ? err_set(e, ERR_AUTH, 0, "role_arn, or the token in %s, is too long", token_file)
                 : call_sts(role, "AssumeRoleWithWebIdentity", NULL, buf_slice(&form), source, out,
                            e);
    }
    wipe_form(&token);
    wipe_form(&form);
    return rc;
}
