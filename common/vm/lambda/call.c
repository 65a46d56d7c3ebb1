#include "common/vm/lambda/call.h"

#include <string.h>

#include "common/vm/vm.h"

#define API_VERSION "/2025-09-09"
#define PATH_MAX_BYTES 4096
#define IDLE_CONNECTIONS 64

/* --- errors ----------------------------------------------------------------------------------- */

#define HINT_SLOWER                                                                                \
    "calls exceed the account's rate: lower limits.launch_rate or "                                \
    "limits.terminate_rate, "                                                                      \
    "or raise the quota"
#define HINT_SETTINGS "check the class's lambda settings"

static const struct aws_error_rule rules[] = {
    {"ThrottlingException", ERR_THROTTLED, HINT_SLOWER},
    {"TooManyRequestsException", ERR_THROTTLED, HINT_SLOWER},
    {"ServiceQuotaExceededException", ERR_CAPACITY,
     "the account's memory quota is full, each VM counts at four times its size: lower max_vms, or "
     "raise the quota"},
    {"AccessDeniedException", ERR_AUTH,
     "allow lambda:RunMicrovm, GetMicrovm, ListMicrovms, TerminateMicrovm and "
     "PassNetworkConnector, with an execution role iam:PassRole too, and check that the image's "
     "ARN has a colon before its name; a change of policy takes a while"},
    {"ValidationException", ERR_PERMANENT, HINT_SETTINGS},
    {"InvalidParameterValueException", ERR_PERMANENT, HINT_SETTINGS},
    {"ConflictException", ERR_CONFLICT, "the token was used for another launch"},
    {"ResourceNotFoundException", ERR_NOT_FOUND, "no resource has that name"},
    {NULL, ERR_NONE, NULL},
};

static bool contains_text(const struct aws_refusal *r, const char *text)
{
    return r->body.len > 0 && memmem(r->body.data, r->body.len, text, strlen(text)) != NULL;
}

/* "Not found" for a launch, whose request names only the image and a version. */
static int no_image(const struct aws_refusal *r, struct err *e)
{
    bool no_version = contains_text(r, "ctive version");
    e->class = ERR_PERMANENT;
    e->code = no_version ? VM_RUN_NO_VERSION : e->code;
    return err_wrap(e, "%s",
                    no_version
                        ? "the image has no ACTIVE version to run: build or activate one, or check "
                          "lambda.image_version"
                        : "the image does not exist: check lambda.image");
}

static int add_hint(const struct lambda_call *call, const struct aws_refusal *r, struct err *e)
{
    bool is_run = strcmp(call->operation, "RunMicrovm") == 0;
    bool known = r->name[0] != '\0';
    if (known && is_run && e->class == ERR_NOT_FOUND) {
        return no_image(r, e);
    }
    if (known && !is_run && e->class == ERR_CONFLICT) {
        e->class = ERR_RETRY; /* the VM is changing its state; there is no token */
    }
    return -1;
}

/* --- clients ---------------------------------------------------------------------------------- */

/* "arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME". The service refuses a slash before the name
 * with a misleading message, so it is refused here with a better one. */
int lambda_check_image(const struct config_class *class, struct err *e)
{
    const char *arn = lambda_settings_of(class)->image;
    if (!slice_eq_cstr(lambda_arn_part(arn, 0), "arn") ||
        !slice_eq_cstr(lambda_arn_part(arn, 2), "lambda") ||
        !slice_eq_cstr(lambda_arn_part(arn, 5), "microvm-image") ||
        lambda_arn_part(arn, 6).len == 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "class %s: lambda.image is not the ARN of a MicroVM image: write "
                       "arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME",
                       class->name);
    }
    return 0;
}

int lambda_client_open(const struct config_class *class, struct aws_client **out, struct err *e)
{
    const struct lambda_settings *c = lambda_settings_of(class);
    char region[64];
    if (!slice_to_cstr(lambda_region(c), region, sizeof region)) {
        return err_set(e, ERR_PERMANENT, 0, "class %s: lambda.image contains no region",
                       class->name);
    }
    struct aws_client_options options = {.service = "lambda",
                                         .region = region,
                                         .endpoint = c->endpoint,
                                         .role_arn = c->role_arn,
                                         .timeout_ms = c->timeout_ms,
                                         .max_idle = IDLE_CONNECTIONS,
                                         .rules = rules};
    if (aws_client_open(&options, out, e) != 0) {
        return err_wrap(e, "class %s", class->name);
    }
    return 0;
}

/* --- the call --------------------------------------------------------------------------------- */

int lambda_send(struct aws_client *c, const struct lambda_call *call, struct http_response *out,
                bool *role_denied, struct err *e)
{
    struct buf path;
    struct aws_refusal refusal = {.status = 0};
    buf_init(&path, PATH_MAX_BYTES);
    buf_append_cstr(&path, API_VERSION);
    buf_append(&path, call->path);
    const struct aws_call sent = {.operation = call->operation,
                                  .method = call->method,
                                  .path = buf_slice(&path),
                                  .query = call->query,
                                  .body = call->body};
    int rc = path.failed ? err_set(e, ERR_PERMANENT, HTTP_NOT_SENT, "%s: the path is too long",
                                   call->operation)
                         : aws_send(c, &sent, out, &refusal, e);
    buf_fini(&path);
    if (role_denied != NULL) {
        *role_denied = rc != 0 && e->class == ERR_AUTH && contains_text(&refusal, "iam:PassRole");
    }
    rc = rc != 0 ? add_hint(call, &refusal, e) : 0;
    aws_refusal_fini(&refusal);
    return rc;
}
